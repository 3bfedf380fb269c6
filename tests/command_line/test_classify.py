"""Classify objects through real qgis_process: features, images, tables, and one clear message for each bad input."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from classifiers import CropRule, make_classifier, seen
from deep_learning_packages.inference.sandbox import find_sandbox
from osgeo import gdal
from packages import ORACLE as DETECTOR
from packages import make_package, zip_package
from qgis_process_runs import Ended, layers, trust
from rasters import write_raster

RULE = CropRule(4, 4, True, False)
PLACES = [(20.3, 10.4), (5.2, 50.1), (-9.0, 3.0), (40.1, 41.9)]


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(5).integers(8, 120, (1, 60, 80)).astype(np.uint8)


@pytest.fixture
def image(tmp_path, pixels) -> Path:
    return write_raster(tmp_path / "image.tif", pixels)


@pytest.fixture
def oracle(tmp_path) -> Path:
    return zip_package(make_classifier(tmp_path / "oracle"), tmp_path / "oracle.dlpk")


@pytest.fixture
def labels(pixels) -> list[str | None]:
    found = [seen(pixels[0], np.ones(pixels.shape[1:], bool), shapely.Point(*place), RULE) for place in PLACES]
    assert [each is None for each in found] == [False, False, True, False]
    return [None if each is None else each[0] for each in found]


@pytest.fixture
def points(tmp_path) -> Path:
    """Points in degrees with attributes of their own."""
    collection = {"type": "FeatureCollection", "features": [], "crs": {"type": "name", "properties": {"name": "EPSG:32633"}}}
    for number, (column, row) in enumerate(PLACES):
        geometry = {"type": "Point", "coordinates": [500000 + column / 2, 4000000 - row / 2]}
        properties = {"number": number, "name": "Größe" if number % 2 else None}
        collection["features"].append({"type": "Feature", "geometry": geometry, "properties": properties})
    plane = tmp_path / "plane.geojson"
    plane.write_text(json.dumps(collection))
    gdal.VectorTranslate(str(tmp_path / "points.gpkg"), str(plane), dstSRS="EPSG:4326", reproject=True, layerName="points")
    return tmp_path / "points.gpkg"


@pytest.fixture
def classify(environment, tmp_path):
    """Run dlpk:classifyobjects with these parameters; from standard input where one is no text."""

    def call(**parameters: Any) -> Ended:
        parameters.setdefault("OUTPUT", tmp_path / "output.gpkg")
        parameters.setdefault("ARGUMENTS", RULE.arguments)
        if find_sandbox().program is None and Path(parameters.get("MODEL", "")).exists():
            trust(environment, parameters["MODEL"])
        values = {name: str(value) if isinstance(value, Path) else value for name, value in parameters.items()}
        as_object = any(isinstance(value, dict) for value in values.values())
        options = ["-"] if as_object else [f"--{name}={each}" for name, value in values.items() for each in several(value)]
        done = subprocess.run(
            ["qgis_process", "run", "dlpk:classifyobjects", *options], input=json.dumps({"inputs": values}) if as_object else None,
            env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout + done.stderr)

    return call


def several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def rows(path: Path, *names: str) -> list[tuple[Any, ...]]:
    dataset = gdal.OpenEx(str(path))
    return [tuple(feature.GetField(name) for name in names) for feature in dataset.GetLayer(0)]


def extents(path: Path) -> list[tuple[float, ...] | None]:
    """The envelope of each feature; None where it has no geometry, or an empty one, as QGIS writes it."""
    dataset, found = gdal.OpenEx(str(path)), []
    for feature in dataset.GetLayer(0):
        geometry = feature.GetGeometryRef()
        found.append(None if geometry is None or geometry.IsEmpty() else geometry.GetEnvelope())
    return found


def test_features(classify, image, oracle, points, labels, tmp_path):
    ended = classify(INPUT=image, MODEL=oracle, FEATURES=points, CLASS_LABEL_FIELD="What is it")
    assert ended.status == 0, ended.text
    assert rows(tmp_path / "output.gpkg", "number", "name", "What is it", "Confidence", "Size") == [
        (number, "Größe" if number % 2 else None, label, None if label is None else 0.75, None if label is None else 16)
        for number, label in enumerate(labels)
    ]
    dataset = gdal.OpenEx(str(tmp_path / "output.gpkg"))
    assert dataset.GetLayer(0).GetSpatialRef().GetAuthorityCode(None) == "4326"
    for fact in (
        "Package: Package (", "sha256 ", "Device: ", "Chips: 3 of exactly 4 × 4 pixels with a padding of 0", "4 at a time",
        "Features: 4, of which 3 have a label", "1 features have no label, as they lie outside of the raster", "chips per second",
    ):  # fmt: skip
        assert fact in ended.text, fact
    again = classify(INPUT=image, MODEL=oracle, FEATURES=f"{points}|layername=points", OUTPUT=tmp_path / "again.csv")
    assert again.status == 0, again.text
    assert [label or None for (label,) in rows(tmp_path / "again.csv", "ClassLabel")] == labels


def test_filter_and_arguments_from_standard_input(classify, image, oracle, points, labels, tmp_path):
    arguments = dict(part.split() for part in RULE.arguments.split(";"))
    ended = classify(INPUT=image, MODEL=oracle, FEATURES=f'{points}|subset="number" <> 1', ARGUMENTS=arguments)
    assert ended.status == 0, ended.text
    assert rows(tmp_path / "output.gpkg", "number", "ClassLabel") == [(0, labels[0]), (2, None), (3, labels[3])]


@pytest.fixture
def folder(tmp_path, pixels) -> Path:
    """Images of one value each; two lie somewhere."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name, value, left in (("a", 40, 0), ("b", 80, 40)):
        write_raster(folder / f"{name}.tif", np.full((1, 40, 40), value, np.uint8), (500000 + left / 2, 0.5, 0, 4000000, 0, -0.5))
    write_raster(folder / "c.tif", np.full((1, 10, 10), 60, np.uint8), None, None)
    return folder


def test_images(classify, oracle, folder, tmp_path):
    """A folder in which some lie somewhere and others nowhere, and a table of the latter."""
    ended = classify(INPUT=folder, MODEL=oracle)
    assert ended.status == 0, ended.text
    assert "1 images have no georeference" in ended.text
    found = rows(tmp_path / "output.gpkg", "ImageId", "Image", "ClassLabel")
    assert found == [(1, "a.tif", "40.000"), (2, "b.tif", "80.000"), (3, "c.tif", "60.000")]
    assert extents(tmp_path / "output.gpkg") == [(500000, 500020, 3999980, 4000000), (500020, 500040, 3999980, 4000000), None]
    table = classify(INPUT=folder / "c.tif", MODEL=oracle, OUTPUT=tmp_path / "table.csv")
    assert table.status == 0, table.text
    assert (tmp_path / "table.csv").read_text().splitlines()[0].split(",")[:3] == ["ImageId", "Image", "ClassLabel"]
    assert rows(tmp_path / "table.csv", "ImageId", "Image", "ClassLabel") == [("1", "c.tif", "60.000")]


def test_mosaic_and_its_pieces(classify, oracle, folder, tmp_path):
    gdal.BuildVRT(str(tmp_path / "both.vrt"), [str(folder / "a.tif"), str(folder / "b.tif")]).FlushCache()
    ended = classify(INPUT=tmp_path / "both.vrt", MODEL=oracle)
    assert ended.status == 0, ended.text
    assert rows(tmp_path / "output.gpkg", "ImageId", "Image", "ClassLabel") == [(1, "both.vrt", "60.000")]
    ended = classify(INPUT=tmp_path / "both.vrt", MODEL=oracle, PROCESSING_MODE="PROCESS_ITEMS_SEPARATELY")
    assert ended.status == 0, ended.text
    assert rows(tmp_path / "output.gpkg", "Image", "ClassLabel") == [("a.tif", "40.000"), ("b.tif", "80.000")]


def test_label_field_that_is_there_already(classify, image, oracle, points, labels, tmp_path):
    ended = classify(INPUT=image, MODEL=oracle, FEATURES=points, CLASS_LABEL_FIELD="NUMBER")
    assert ended.status == 0, ended.text
    assert "The features have a field NUMBER already, so the new one is named NUMBER_1." in ended.text
    assert rows(tmp_path / "output.gpkg", "number", "NUMBER_1") == list(enumerate(labels))


BAD = {
    "unknown path": ({"FEATURES": "/gone/points.gpkg"}, "FEATURES"),
    "a table": ({"FEATURES": "table.csv"}, "without geometry"),
    "no raster": ({"INPUT": None}, "INPUT:\tInput raster"),
    "missing raster": ({"INPUT": "/gone/image.tif"}, "/gone/image.tif"),
    "a detector": ({"MODEL": "detector"}, "Run it with dlpk:detectobjects instead"),
    "no model": ({"MODEL": "/gone.dlpk"}, "/gone.dlpk does not exist"),
}


@pytest.mark.parametrize(("parameters", "message"), list(BAD.values()), ids=list(BAD))
def test_bad_input_is_one_clear_message(classify, image, oracle, points, tmp_path, parameters, message):
    """No traceback, one error, a status that scripts see, and the output that was there stays."""
    make_package(tmp_path / "detector", DETECTOR)
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    (tmp_path / "output.gpkg").write_bytes(b"precious")
    given = {"INPUT": image, "MODEL": oracle, "FEATURES": points, **parameters}
    own = {name: tmp_path / str(value) if str(value) in ("table.csv", "detector") else value for name, value in given.items()}
    ended = classify(**{name: value for name, value in own.items() if value is not None})
    assert ended.status != 0
    assert message in ended.text
    assert "Traceback" not in ended.text
    assert len(ended.errors) == 1, ended.text
    assert (tmp_path / "output.gpkg").read_bytes() == b"precious"


def test_classifier_given_to_the_detector(detect, image, oracle):
    ended = detect(INPUT=image, MODEL=oracle)
    assert ended.status != 0
    assert "Run it with dlpk:classifyobjects instead" in ended.text
    assert len(ended.errors) == 1, ended.text


def test_function_that_loses_a_feature(classify, image, points, labels, tmp_path):
    """The batch has no labels, the run ends well, and the log says why."""
    losing = (
        'def vectorize(self, **blocks):\n    return {\'output_vectors\': \'{"features": [{"attributes": {"Label": "x"}}]}\'}\n'
    )
    package = make_classifier(tmp_path / "losing", losing)
    ended = classify(INPUT=image, MODEL=package, FEATURES=points, ARGUMENTS=f"{RULE.arguments};batch_size 2")
    assert ended.status == 0, ended.text
    assert layers(tmp_path / "output.gpkg") == {"output": 4}
    found = [label for (label,) in rows(tmp_path / "output.gpkg", "ClassLabel")]
    assert sorted(found, key=str) == [None, None, None, "x"]
    assert "2 features have no label" in ended.text
    assert "answered 1 features for 2 chips" in ended.text
