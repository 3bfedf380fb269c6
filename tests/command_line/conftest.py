"""The fixtures of qgis_process_runs, for all tests here."""

from __future__ import annotations

from qgis_process_runs import detect, environment, package, raster  # noqa: F401
