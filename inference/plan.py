"""The plan of a run: everything that decides its result, and what identifies it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .item import Item
from .package import Package
from .raster_function import Hosting

if TYPE_CHECKING:
    from .classification.features import Features

FORMAT = 3
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
    """One run of a package over a raster, or over several one by one.

    Attributes:
        package: The package.
        values: The user's own values of model arguments, as text.
        items: The rasters, each with its own grid and suppression; detections are given in the CRS of the first.
        hosting: Where the raster function runs.
        suppression: How duplicates are removed; None to keep all.
        classes: Names of the classes that are kept; empty for all.
        workers: How many processes; None for one a GPU, or one on the CPU.
        readers: Threads that read the raster, at most.
        block_seconds: How long the function may take for one block.
        restart: Whether to forget what an earlier run of this plan has found.
        names_items: Whether each detection tells the name of its raster, in the field `Image`.
        max_missing: Share (0 to 1) of the pixels that may stay unsearched as they cannot be had.
        features: What is classified; None to detect objects.
        label_field: Name of the field with the label, where features are classified.
        secrets: Those among the values that came from a safe; they are not shown.
    """

    package: Package
    values: Mapping[str, str]
    items: tuple[Item, ...]
    hosting: Hosting
    suppression: SuppressionPlan | None = None
    classes: tuple[str, ...] = ()
    workers: int | None = None
    readers: int = min(os.cpu_count() or 2, 8)
    block_seconds: float = 1800.0
    restart: bool = False
    names_items: bool = False
    max_missing: float = 0.0
    features: Features | None = None
    label_field: str = "ClassLabel"
    secrets: frozenset[str] = frozenset()

    @property
    def crs(self) -> str:
        """Of all detections, as WKT; empty when unknown."""
        return self.items[0].source.grid.crs

    @property
    def pixels(self) -> int:
        """How many there are to search."""
        return sum(item.extent.pixels for item in self.items)

    @property
    def fingerprint(self) -> str:
        """Hexadecimal; equal for runs that find the same: how they are hosted and merged plays no part.

        It names the journal; so the fields count which suppression reads, as the journal keeps their values.
        """
        merged = self.suppression
        facts = [
            FORMAT,
            self.package.identity,
            dict(sorted(self.values.items())),
            [item.facts for item in self.items],
            sorted(self.classes),
            "" if self.features is None else self.features.identity,
            [(merged.confidence_field if merged else "Confidence").casefold(), merged.class_field.casefold() if merged else ""],
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
