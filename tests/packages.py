"""Makes synthetic packages: a well-behaved raster function, and whatever a test replaces in it."""

from __future__ import annotations

import json
import textwrap
import zipfile
from pathlib import Path
from typing import Any

BASE = """
import json
import os

import numpy as np


class Function:
    def __init__(self):
        self.name, self.description = "Function", "A function for tests"

    def initialize(self, **scalars):
        self.initial = scalars

    def getParameterInfo(self):
        return [
            {"name": "raster", "dataType": "raster", "required": True},
            {"name": "model", "dataType": "string", "required": True},
            {"name": "device", "dataType": "numeric", "required": False},
            {"name": "tile", "dataType": "numeric", "value": 32},
            {"name": "padding", "dataType": "numeric", "value": 0},
        ]

    def getConfiguration(self, **scalars):
        self.scalars = scalars
        return {"tx": int(scalars["tile"]), "ty": int(scalars["tile"]), "padding": int(scalars["padding"])}

    def getFields(self):
        fields = (("OID", "OID"), ("Class", "String"), ("Confidence", "Double"), ("Shape", "Geometry"))
        return json.dumps({"fields": [{"name": n, "type": "esriFieldType" + t, "alias": n} for n, t in fields]})

    def getGeometryType(self):
        return 4

    def vectorize(self, **blocks):
        features = [self.feature(*found) for found in self.find(blocks["raster_pixels"], blocks["raster_mask"])]
        return {"output_vectors": json.dumps({"features": features})}

    def feature(self, ring, confidence=0.5, **attributes):
        attributes = {"Class": "Thing", "Confidence": confidence, **attributes}
        return {"attributes": attributes, "geometry": {"rings": [ring]}}

    def find(self, pixels, mask):
        return []

"""

ORACLE = '''
    def getParameterInfo(self):
        more = [{"name": name, "dataType": "numeric", "value": value} for name, value in (("batch_size", 1), ("band", 0))]
        return [*super_parameters(self), *more]

    def getConfiguration(self, **scalars):
        self.padding = int(scalars["padding"])
        side = int(int(scalars["batch_size"]) ** 0.5)
        size = int(scalars["tile"]) * side
        return {"tx": size, "ty": size, "padding": self.padding, "extractBands": [int(scalars["band"])]}

    def find(self, pixels, mask):
        """Boxes of equal pixels that are not 0 and lie wholly inside the block."""
        plane = np.where(mask[0] == 0, 0, pixels[0])
        height, width = plane.shape
        for value in np.unique(plane[plane != 0]):
            rows, columns = np.nonzero(plane == value)
            top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
            if 0 in (top, left) or bottom == height or right == width:
                continue
            left, top, right, bottom = (int(edge) - self.padding for edge in (left, top, right, bottom))
            yield [[left, top], [right, top], [right, bottom], [left, bottom]], 0.9, {}

    def feature(self, ring, confidence, extra):
        return {"attributes": {"Class": "Box", "Confidence": confidence}, "geometry": {"rings": [ring]}}


super_parameters = lambda self: [
    {"name": "raster", "dataType": "raster"},
    {"name": "model", "dataType": "string"},
    {"name": "tile", "dataType": "numeric", "value": 32},
    {"name": "padding", "dataType": "numeric", "value": 0},
]
'''

DEFINITION: dict[str, Any] = {
    "ModelType": "ObjectDetection",
    "InferenceFunction": "Function.py",
    "ImageHeight": 256,
    "ImageWidth": 256,
}


def make_package(folder: Path, methods: str = "", definition: dict[str, Any] | None = None, code: str | None = None) -> Path:
    """Write a package as a folder.

    Args:
        folder: Where; created.
        methods: Methods that replace those of BASE, indented or not.
        definition: Keys that replace those of DEFINITION; None as a value removes a key.
        code: The whole source of Function.py instead.
    """
    folder.mkdir(parents=True, exist_ok=True)
    values = {key: value for key, value in {**DEFINITION, **(definition or {})}.items() if value is not None}
    (folder / "Package.emd").write_text(json.dumps(values))
    if code is None:
        indented = methods if methods.startswith("\n    ") else textwrap.indent(textwrap.dedent(methods), "    ")
        code = BASE + indented
    (folder / "Function.py").write_text(code)
    return folder


def zip_package(folder: Path, archive: Path, inside: str = "") -> Path:
    """Zip a package's folder, if wanted inside an outer folder."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                zipped.write(path, f"{inside}{path.relative_to(folder).as_posix()}")
    return archive
