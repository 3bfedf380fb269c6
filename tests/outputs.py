"""Runs the detector into outputs of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from packages import ORACLE, make_package
from qgis import processing
from qgis.core import (
    QgsProcessingOutputLayerDefinition,
    QgsProperty,
    QgsRemappingSinkDefinition,
    QgsVectorLayer,
)
from rasters import draw, write_raster

BOXES = 12
FAILING = ORACLE.replace(
    "    def find(self, pixels, mask):\n", "    def find(self, pixels, mask):\n        raise ValueError('no')\n"
)


def make_inputs(tmp_path: Path) -> dict[str, str]:
    """A raster with a row of boxes, and a package that finds them."""
    pixels = np.zeros((1, 64, 400), np.uint16)
    for number in range(BOXES):
        draw(pixels[0], (5 + 32 * number, 5, 11 + 32 * number, 11), number + 1)
    raster = write_raster(tmp_path / "raster.tif", pixels)
    return {"INPUT": str(raster), "MODEL": str(make_package(tmp_path / "package", ORACLE))}


def run(inputs: dict[str, str], output: object) -> dict[str, object]:
    return processing.run("dlpk:detectobjects", {**inputs, "OUTPUT": output})


def added(inputs, target: str) -> int:
    """Append to a layer that has an integer field `old`; how many features it has then."""
    definition = QgsProcessingOutputLayerDefinition(target)
    provider = QgsVectorLayer(target.replace("postgres://", ""), "x", "postgres") if target.startswith("postgres") else None
    layer = provider or QgsVectorLayer(source_of(target), "x", "ogr")
    mapping = QgsRemappingSinkDefinition()
    mapping.setDestinationFields(layer.fields())
    mapping.setDestinationCrs(layer.crs())
    mapping.setDestinationWkbType(layer.wkbType())
    mapping.setFieldMap({"old": QgsProperty.fromExpression('"Confidence" * 100')})
    definition.setRemappingDefinition(mapping)
    run(inputs, definition)
    layer.dataProvider().reloadData()
    assert sum(1 for feature in layer.getFeatures() if feature["old"] == 90) == BOXES
    return sum(1 for _ in layer.getFeatures())


def source_of(target: str) -> str:
    if target.startswith("ogr:"):
        path, table = target.split("'")[1], target.split('"')[1]
        return f"{path}|layername={table}"
    return target
