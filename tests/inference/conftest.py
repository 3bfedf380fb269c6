"""The fixtures of classification_runs, for all tests here."""

from __future__ import annotations

from classification_runs import oracle, pixels, raster  # noqa: F401
