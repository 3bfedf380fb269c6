"""Runs a package over a raster with the engine alone, and keeps what it was told."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from deep_learning_packages.inference.arguments import parse_values
from deep_learning_packages.inference.detections import Detections
from deep_learning_packages.inference.fields import Field
from deep_learning_packages.inference.grid import Bounds, Window
from deep_learning_packages.inference.interpreter import find_interpreter
from deep_learning_packages.inference.item import Item
from deep_learning_packages.inference.package import open_package
from deep_learning_packages.inference.pipeline import Statistics
from deep_learning_packages.inference.plan import InferencePlan, SuppressionPlan
from deep_learning_packages.inference.raster_function import Hosting
from deep_learning_packages.inference.rasters.gdal_raster import GdalRaster
from deep_learning_packages.inference.run import run_plan
from deep_learning_packages.inference.sandbox import Sandbox, find_sandbox


@dataclass
class Recorder:
    """A Feedback that keeps everything, and cancels when told to."""

    infos: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    percents: list[float] = field(default_factory=list)
    canceled: bool = False

    def info(self, text: str) -> None:
        self.infos.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def debug(self, text: str) -> None:
        self.details.append(text)

    def progress(self, percent: float) -> None:
        self.percents.append(percent)

    def is_canceled(self) -> bool:
        return self.canceled


@dataclass(frozen=True)
class Outcome:
    """What a run found."""

    geometries: list[Any]
    rows: list[dict[str, Any]]
    fields: tuple[Field, ...]
    statistics: Statistics
    feedback: Recorder
    outside: int = 0
    other_classes: int = 0


def make_plan(
    package: Path, raster: Path | None, arguments: str = "", extent: Window | None = None, cell_size: float | None = None,
    suppression: SuppressionPlan | None = None, sandbox: Sandbox | None = None, region: Bounds | None = None,
    items: tuple[Item, ...] | None = None, **settings: Any,
) -> InferencePlan:  # fmt: skip
    """A plan with the test's own interpreter."""
    if items is None:
        source = GdalRaster(str(raster), cell_size)
        items = (Item(source, extent or source.grid.window, region),)
    return InferencePlan(
        package=open_package(package),
        values=parse_values(arguments),
        items=items,
        hosting=Hosting(find_interpreter(), sandbox or find_sandbox(), settings.pop("processor", "AUTO")),
        suppression=suppression,
        **settings,
    )


def run(
    package: Path,
    raster: Path | None,
    arguments: str = "",
    feedback: Recorder | None = None,
    settled: bool = True,
    **settings: Any,
) -> Outcome:
    """Run a package and collect everything; unless settled, as a run that could not write its output."""
    feedback = feedback or Recorder()
    plan = make_plan(package, raster, arguments, **settings)
    with closing(plan.items[0].source), run_plan(plan, feedback) as result:
        batches: list[Detections] = list(result.detections())
        geometries = list(np.concatenate([batch.geometries for batch in batches])) if batches else []
        rows = [row for batch in batches for row in batch.rows()]
        assert len(geometries) == result.count == len(rows)
        if settled:
            result.settle()
        tally = result.driven.tally
        return Outcome(geometries, rows, result.fields, result.statistics, feedback, tally.outside, tally.other_classes)
