"""Servers on this machine that the tests of remote sources talk to: real ones where one exists, doubles elsewhere."""
