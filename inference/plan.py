"""The plan of a run: everything that decides its result, and what identifies it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from .grid import Window
from .package import Package
from .raster import RasterSource
from .raster_function import Hosting

FORMAT = 1
"""Of journals; part of the fingerprint, so that none of another format is taken up."""


@dataclass(frozen=True)
class SuppressionPlan:
    """How duplicates are removed.

    Attributes:
        confidence_field: Must be a field that the function gives.
        class_field: Empty for Classvalue or Value, where the function gives one of them.
        max_overlap: Greatest ratio of intersection to union that two kept detections may have, 0 to 1.
    """

    confidence_field: str
    class_field: str
    max_overlap: float


@dataclass(frozen=True)
class InferencePlan:
    """One run of a package over a raster.

    Attributes:
        package: The package.
        values: The user's own values of model arguments, as text.
        source: The raster, at the cell size to process.
        extent: The pixels of its grid to process.
        hosting: Where the raster function runs.
        region: The extent in map units (x and y minimum, x and y maximum), where it is smaller than `extent`: a
            detection counts when its inner point is in both.
        suppression: How duplicates are removed; None to keep all.
        classes: Names of the classes that are kept; empty for all.
        workers: How many processes; None for one a GPU, or one on the CPU.
        readers: Threads that read the raster, at most.
        block_seconds: How long the function may take for one block.
        restart: Whether to forget what an earlier run of this plan has found.
        secrets: Those among the values that came from a safe; they are not shown.
    """

    package: Package
    values: Mapping[str, str]
    source: RasterSource
    extent: Window
    hosting: Hosting
    region: tuple[float, float, float, float] | None = None
    suppression: SuppressionPlan | None = None
    classes: tuple[str, ...] = ()
    workers: int | None = None
    readers: int = min(os.cpu_count() or 2, 8)
    block_seconds: float = 1800.0
    restart: bool = False
    secrets: frozenset[str] = frozenset()

    @property
    def fingerprint(self) -> str:
        """Hexadecimal; equal for runs that find the same: how they are hosted and merged plays no part.

        It names the journal; so the fields count which suppression reads, as the journal keeps their values.
        """
        grid, extent, merged = self.source.grid, self.extent, self.suppression
        facts = [
            FORMAT,
            self.package.sha256,
            dict(sorted(self.values.items())),
            self.source.identity,
            [grid.width, grid.height, repr(grid.affine), grid.crs],
            [extent.column, extent.row, extent.width, extent.height, self.region],
            sorted(self.classes),
            [(merged.confidence_field if merged else "Confidence").casefold(), merged.class_field.casefold() if merged else ""],
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
