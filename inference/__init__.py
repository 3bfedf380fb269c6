"""The engine: runs the raster function of a package over a raster and merges what it finds.

It knows neither QGIS nor torch, so it can be tested in milliseconds and run on any machine.
"""
