"""What the tests of the engine's classification share: a raster, an oracle, and runs with their labels."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from classifiers import CropRule, make_classifier, seen
from deep_learning_packages.inference.classification.features import Features
from deep_learning_packages.inference.classification.labels import Answer
from deep_learning_packages.inference.fields import Field
from deep_learning_packages.inference.item import Item
from deep_learning_packages.inference.rasters.gdal_raster import GdalRaster
from deep_learning_packages.inference.run import run_plan
from deep_learning_packages.inference.sandbox import Sandbox
from engine_runs import Recorder, make_plan
from rasters import NORTH_UP, write_raster

NODATA = 7
FEATURES = 60


@dataclass(frozen=True)
class Labelled:
    """What a run made of its features: rows of (number of the feature, item, answer)."""

    rows: list[tuple[int, int | None, Answer | None]]
    fields: tuple[Field, ...]
    unlabelled: dict[str, int]
    feedback: Recorder

    @property
    def labels(self) -> list[str | None]:
        return [None if answer is None else answer.label for _, _, answer in self.rows]


def on_the_map(shape: Any, transform: tuple[float, ...]) -> Any:
    """A shape in pixels in map coordinates."""
    x, column_x, row_x, y, column_y, row_y = transform
    return shapely.transform(
        shape, lambda at: np.stack([x + at @ [column_x, row_x], y + at @ [column_y, row_y]], axis=1), include_z=False
    )


def item_of(raster: Path, **settings: Any) -> Item:
    source = GdalRaster(str(raster))
    return Item(source, **{"extent": source.grid.window, **settings})


def classify(
    package: Path, raster: Path | None, shapes: list[Any], arguments: str = "", feedback: Recorder | None = None,
    transform: tuple[float, ...] = NORTH_UP, items: tuple[Item, ...] = (), **settings: Any,
) -> Labelled:  # fmt: skip
    """Classify shapes given in pixels of a raster with this transform."""
    feedback, items = feedback or Recorder(), items or (item_of(raster),)
    written = [None if shape is None else shapely.to_wkb(on_the_map(shape, transform)) for shape in shapes]
    with ExitStack() as stack:
        for item in items:
            stack.enter_context(closing(item.source))
        features = stack.enter_context(closing(Features(items)))
        features.add([b"%d" % number for number in range(len(shapes))], dict.fromkeys(features.crs, written))
        features.seal()
        plan = make_plan(package, None, arguments, items=items, features=features, **settings)
        with run_plan(plan, feedback) as result:
            rows = [(int(row.record), row.item, row.answer) for row in result.rows()]
            result.settle()
            return Labelled(rows, result.fields, dict(result.unlabelled), feedback)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(5).integers(NODATA + 1, 120, (1, 60, 80)).astype(np.uint8)


@pytest.fixture
def raster(tmp_path, pixels) -> Path:
    return write_raster(tmp_path / "raster.tif", pixels)


@pytest.fixture
def oracle(tmp_path) -> Path:
    return make_classifier(tmp_path / "oracle")


def points(count: int) -> list[Any]:
    """Points in rows, each with other pixels around it."""
    return [shapely.Point(3.2 + number % 70, 3.4 + 2 * (number // 70)) for number in range(count)]


def labels_of(pixels: np.ndarray, shapes: list[Any], rule: CropRule) -> list[str | None]:
    found = [seen(pixels[0], pixels[0] != NODATA, shape, rule) for shape in shapes]
    return [None if each is None else each[0] for each in found]


SMALL = CropRule(4, 4, True, False)
BLACK = CropRule(12, 12, True, True)


CHANGED = """
def vectorize(self, **blocks):
    import os
    chips, masks = blocks["rasters_pixels"], blocks["rasters_mask"]
    self.calls = getattr(self, "calls", 0) + 1
    features = [self.feature(number, chip, mask) for number, (chip, mask) in enumerate(zip(chips, masks), 1)]
    {change}
    return {{"output_vectors": json.dumps({{"features": features}})}}
"""


NO_SANDBOX = Sandbox(None, "the package looks at a file of the test's")
