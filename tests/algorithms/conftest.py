"""The fixtures of classify_runs, for all tests here."""

from __future__ import annotations

from classify_runs import images, labels, oracle, pixels, raster  # noqa: F401
