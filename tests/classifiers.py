"""Synthetic classifiers: an oracle that knows what it sees, and whatever a test replaces in it."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from packages import make_package

ORACLE = '''
import json

import numpy as np


class Function:
    """Labels a chip by the mean of its valid pixels in the first band."""

    def initialize(self, **scalars):
        with open(scalars["model"]) as file:
            self.definition = json.load(file)

    def getParameterInfo(self):
        return [
            {"name": "rasters", "dataType": "rasters", "required": True},
            {"name": "model", "dataType": "string", "required": True},
            {"name": "device", "dataType": "numeric", "required": False},
            {"name": "batch_size", "dataType": "numeric", "value": 4},
            {"name": "tx", "dataType": "numeric", "value": 16},
            {"name": "ty", "dataType": "numeric", "value": 12},
            {"name": "fixed", "dataType": "numeric", "value": 1},
            {"name": "blacken", "dataType": "numeric", "value": 0},
            {"name": "padding", "dataType": "numeric", "value": 0},
        ]

    def getConfiguration(self, **scalars):
        self.scalars = scalars
        self.batch = int(scalars["batch_size"])
        return {
            "tx": int(scalars["tx"]), "ty": int(scalars["ty"]), "batch_size": self.batch, "padding": int(scalars["padding"]),
            "CropSizeFixed": int(scalars["fixed"]), "BlackenAroundFeature": int(scalars["blacken"]), "inputMask": True,
        }

    def getFields(self):
        fields = (("OID", "OID"), ("Confidence", "String"), ("Label", "String"), ("Size", "Integer"), ("Shape", "Geometry"))
        return json.dumps({"fields": [{"name": n, "type": "esriFieldType" + t, "alias": n} for n, t in fields]})

    def getGeometryType(self):
        return 4

    def vectorize(self, **blocks):
        chips, masks = blocks["rasters_pixels"], blocks["rasters_mask"]
        assert 0 < len(chips) <= self.batch, len(chips)
        np.asarray(chips)  # as real functions do; chips of different shapes would fail
        features = [self.feature(number, chip, mask) for number, (chip, mask) in enumerate(zip(chips, masks), 1)]
        return {"output_vectors": json.dumps({"features": features})}

    def feature(self, number, chip, mask):
        assert chip.shape == mask.shape and chip.flags.writeable and mask.any()
        chip[mask == 0] = 0
        mean = float(chip[0].sum() / mask[0].sum())
        bands, height, width = chip.shape
        attributes = {"OID": number, "Label": f"{mean:.3f}", "Confidence": "0.75", "Size": height * width}
        return {"attributes": attributes, "geometry": {"rings": [[[0, 0], [1, 0], [1, 1]]]}}

'''


def make_classifier(folder: Path, methods: str = "", definition: dict[str, Any] | None = None) -> Path:
    """Write a classifier as a folder.

    Args:
        folder: Where; created.
        methods: Methods that replace those of the oracle.
        definition: Keys of its model definition beside those that it needs.
    """
    code = ORACLE + textwrap.indent(textwrap.dedent(methods), "    ")
    known = {"ModelType": "ObjectClassification", "ImageHeight": 12, "ImageWidth": 16, **(definition or {})}
    return make_package(folder, definition=known, code=code)


@dataclass(frozen=True)
class CropRule:
    """How chips are cut (CONTRACT 3.6), as tests reckon it."""

    tx: int
    ty: int
    is_fixed: bool
    blackens: bool
    padding: int = 0

    @property
    def arguments(self) -> str:
        """The rule as arguments of the oracle."""
        switches = f"fixed {int(self.is_fixed)};blacken {int(self.blackens)}"
        return f"tx {self.tx};ty {self.ty};padding {self.padding};{switches}"

    def window(self, shape: Any) -> tuple[int, int, int, int]:
        """First column and row, width and height of the chip of a shape in pixels."""
        left, top, right, bottom = shape.bounds
        first = math.floor(left), math.floor(top)
        size = math.ceil(right) - first[0], math.ceil(bottom) - first[1]
        is_point = left == right and top == bottom
        if self.is_fixed or is_point or size[0] > self.tx or size[1] > self.ty:
            size = self.tx, self.ty
            first = math.floor((left + right) / 2 - size[0] / 2 + 0.5), math.floor((top + bottom) / 2 - size[1] / 2 + 0.5)
        around = self.padding
        return first[0] - around, first[1] - around, size[0] + 2 * around, size[1] + 2 * around


def seen(pixels: np.ndarray, valid: np.ndarray, shape: Any, rule: CropRule) -> tuple[str, int] | None:
    """What the oracle has to say of a feature: its label, and the pixels of its chip; None where it gets no label.

    Args:
        pixels: The first band (height, width).
        valid: Which pixels are valid (height, width).
        shape: In pixels; None for a feature without geometry.
        rule: How chips are cut.
    """
    height, width = pixels.shape
    if shape is None or shape.is_empty:
        return None
    left, top, right, bottom = shape.bounds
    x, y = (left + right) / 2, (top + bottom) / 2
    if not (0 <= x < width and 0 <= y < height):
        return None
    column, row, wide, high = rule.window(shape)
    columns, rows = np.meshgrid(np.arange(column, column + wide), np.arange(row, row + high))
    is_seen = np.ones((high, wide), bool)
    polygons = polygons_of(shape)
    if rule.blackens and polygons:
        is_seen = np.any([shapely.contains_xy(each, columns + 0.5, rows + 0.5) for each in polygons], axis=0)
        if not is_seen.any():
            boxes = shapely.box(columns, rows, columns + 1, rows + 1)
            is_seen = np.any([shapely.intersects(each, boxes) for each in polygons], axis=0)
    is_inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    at = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    is_seen &= is_inside & valid[at]
    if not is_seen.any():
        return None
    return f"{pixels[at][is_seen].astype(float).mean():.3f}", wide * high


def polygons_of(shape: Any) -> list[Any]:
    """The polygons that a shape consists of, if any."""
    if shape.geom_type == "Polygon":
        return [shape]
    return [polygon for part in getattr(shape, "geoms", ()) for polygon in polygons_of(part)]


KINDS = ("point", "multipoint", "line", "multiline", "polygon", "holed", "multipolygon", "collection", "empty", "none")


def some_shape(rng: np.random.Generator, kind: str, width: int, height: int) -> Any:
    """A shape in pixels of a raster of this size: inside it, across its edge or beyond.

    Its edges are not those of pixels, where rounding may decide either way.
    """
    while True:
        shape = _shape(rng, kind, rng.uniform(-4, [width + 4, height + 4]), rng.choice([0.2, 2.0, 7.0, 20.0]))
        if shape is None or shape.is_empty or all(0.02 < edge % 1 < 0.98 for edge in shape.bounds):
            return shape


def _shape(rng: np.random.Generator, kind: str, middle: np.ndarray, size: float) -> Any:
    lines = middle + rng.uniform(-size, size, (2, 3, 2))
    made = {
        "none": lambda: None,
        "empty": shapely.Polygon,
        "point": lambda: shapely.Point(middle),
        "multipoint": lambda: shapely.MultiPoint(lines[0][: rng.integers(1, 4)]),
        "line": lambda: shapely.LineString(lines[0]),
        "multiline": lambda: shapely.MultiLineString(list(lines)),
        "polygon": lambda: _blob(rng, middle, size),
        "holed": lambda: _blob(rng, middle, size, is_holed=True),
        "multipolygon": lambda: shapely.MultiPolygon([_blob(rng, middle + side * size, size) for side in (-1.1, 1.1)]),
        "collection": lambda: shapely.GeometryCollection([_blob(rng, middle, size), shapely.Point(middle + size)]),
    }
    return made[kind]()


def _blob(rng: np.random.Generator, middle: np.ndarray, size: float, is_holed: bool = False) -> shapely.Polygon:
    """A polygon around a place whose corners lie up to `size` away, if wanted with a hole in it."""
    angles = np.linspace(0, 2 * math.pi, 7, endpoint=False)
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    shell = middle + around * rng.uniform(0.6, 1, (7, 1)) * size
    return shapely.Polygon(shell, [middle + around * 0.3 * size] if is_holed else [])
