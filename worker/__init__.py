"""The program that runs in the inference process: it hosts one raster function of one package.

Standard library and numpy only, Python 3.9 or later, and nothing of the rest of the project, so that it
runs in whatever Python has the package's libraries.
"""
