"""Rasters that servers give tile by tile or image by image, whatever carries the requests."""
