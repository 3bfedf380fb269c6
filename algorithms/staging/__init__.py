"""Outputs that appear whole or not at all: written beside their place, checked, and put there in one step."""
