"""What the tests of dlpk:classifyobjects share: a raster, an oracle, layers, and runs through Processing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from classifiers import CropRule, make_classifier, seen
from osgeo import gdal
from qgis.core import (
    NULL,
    QgsFeature,
    QgsField,
    QgsGeometry,
    QgsProcessingFeedback,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QMetaType
from rasters import NORTH_UP, write_raster

UTM = "EPSG:32633"
RULE = CropRule(4, 4, True, False)
PACKED = QMetaType.Type


def run(**parameters: Any) -> dict[str, Any]:
    from qgis import processing

    feedback = parameters.pop("feedback", None) or QgsProcessingFeedback(False)
    values = {"OUTPUT": "memory:", **parameters}
    values = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    return processing.run("dlpk:classifyobjects", values, feedback=feedback)


def classify(
    raster: object, package: Path, features: object = None, arguments: str = RULE.arguments, **others: Any
) -> QgsVectorLayer:
    found = run(INPUT=raster, MODEL=package, FEATURES=features, ARGUMENTS=arguments, **others)["OUTPUT"]
    return found if isinstance(found, QgsVectorLayer) else opened(found)


def opened(source: object) -> QgsVectorLayer:
    layer = QgsVectorLayer(str(source), "output", "ogr")
    assert layer.isValid(), source
    return layer


def layer_of(
    shapes: list[Any], kind: str = "Point", crs: str = UTM, fields: list[QgsField] = (), rows: list[list[Any]] | None = None
) -> QgsVectorLayer:
    """A temporary layer of shapes in map coordinates, with a field `number` unless others are given."""
    layer = QgsVectorLayer(f"{kind}?crs={crs}", "some features", "memory")
    layer.dataProvider().addAttributes(list(fields) or [QgsField("number", PACKED.Int)])
    layer.updateFields()
    features = []
    for number, shape in enumerate(shapes):
        feature = QgsFeature(layer.fields())
        if shape is not None:
            geometry = QgsGeometry()
            geometry.fromWkb(shapely.to_wkb(shape))
            feature.setGeometry(geometry)
        feature.setAttributes(rows[number] if rows is not None else [number])
        features.append(feature)
    assert layer.dataProvider().addFeatures(features)[0]
    assert layer.featureCount() == len(shapes)
    return layer


def on_the_map(shape: Any, transform: tuple[float, ...] = NORTH_UP) -> Any:
    """A shape in pixels in map coordinates."""
    x, column_x, row_x, y, column_y, row_y = transform
    return None if shape is None else shapely.transform(
        shape, lambda at: np.stack([x + at @ [column_x, row_x], y + at @ [column_y, row_y]], axis=1)
    )  # fmt: skip


def point(column: float, row: float) -> Any:
    return on_the_map(shapely.Point(column, row))


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(5).integers(8, 120, (1, 60, 80)).astype(np.uint8)


@pytest.fixture
def raster(tmp_path, pixels) -> Path:
    return write_raster(tmp_path / "raster.tif", pixels)


@pytest.fixture
def oracle(tmp_path) -> Path:
    return make_classifier(tmp_path / "oracle")


def label_at(pixels: np.ndarray, column: float, row: float) -> str:
    found = seen(pixels[0], np.ones(pixels.shape[1:], bool), shapely.Point(column, row), RULE)
    assert found is not None
    return found[0]


PLACES = [(20.3, 10.4), (5.2, 50.1), (70.7, 30.2), (40.1, 41.9)]


@pytest.fixture
def labels(pixels) -> list[str]:
    return [label_at(pixels, *place) for place in PLACES]


def labels_in(layer: QgsVectorLayer, field: str = "ClassLabel") -> list[Any]:
    return [None if feature[field] in (NULL, None) else feature[field] for feature in layer.getFeatures()]


@pytest.fixture
def images(tmp_path) -> dict[str, float]:
    """Four images in a folder, two of them with a place, and their mean values."""
    folder = tmp_path / "images"
    folder.mkdir()
    made = {
        "east.tif": ((500200.0, 0.5, 0, 4000000.0, 0, -0.5), 32633, 50), "north.tif": ((15.0, 1e-5, 0, 36.2, 0, -1e-5), 4326, 60),
        "plain.tif": (None, None, 70), "photo.png": (None, None, 80),
    }  # fmt: skip
    for name, (transform, epsg, value) in made.items():
        pixels = np.full((1, 24, 32), value, np.uint8)
        written = write_raster(folder / f"{Path(name).stem}.tif", pixels, transform, epsg)
        if name.endswith(".png"):
            gdal.Translate(str(folder / name), str(written), format="PNG").FlushCache()
            written.unlink()
            (folder / f"{name}.aux.xml").unlink(missing_ok=True)
    return {name: float(value) for name, (_, _, value) in made.items()}


def described(layer: QgsVectorLayer) -> dict[str, Any]:
    assert [int(feature["ImageId"]) for feature in layer.getFeatures()] == list(range(1, layer.featureCount() + 1))
    return {feature["Image"]: float(feature["ClassLabel"]) for feature in layer.getFeatures()}
