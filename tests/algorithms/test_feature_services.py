"""Features from real servers are classified as those of the file behind them, and a database takes what came of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classifiers import CropRule, make_classifier, seen
from osgeo import gdal
from qgis.core import NULL, QgsProcessingException, QgsProcessingFeedback, QgsProject, QgsVectorLayer
from rasters import write_raster
from servers import feature_server as koop
from servers import postgis_table as table
from servers import postgres_server as postgres
from servers import qgis_server as qgis
from servers.postgres_server import execute, postgres_server
from servers.wfs_server import wfs_server
from shapely import Polygon, box

pytestmark = pytest.mark.usefixtures("provider")
COUNT = 1500  # more than a server gives at a time
CRS = "EPSG:32633"
FIELDS = [("OBJECTID", "Integer", "OBJECTID"), ("NAME", "String", "Name of it"), ("HEIGHT", "Double", "Height (m)")]
NAMES = [name for name, *_ in FIELDS]
RULE = CropRule(6, 6, False, True)


def shape(number: int) -> Polygon:
    """A rectangle in pixels of the raster; every hundredth lies beyond it."""
    if number % 100 == 99:
        return box(-30.6, -30.6, -28.4, -28.4)
    left, top = 3.3 + number % 50 * 3, 2.2 + number // 50 * 3
    return box(left, top, left + 1.6 + number % 3, top + 2.7)


def row(number: int) -> list[object]:
    return [number + 1, f"tree {number}" if number % 3 else None, number / 4 if number % 5 else None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("services")


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(5).integers(8, 120, (1, 100, 160)).astype(np.uint8)


@pytest.fixture(scope="module")
def raster(folder, pixels) -> Path:
    return write_raster(folder / "raster.tif", pixels)


@pytest.fixture(scope="module")
def package(folder) -> Path:
    return make_classifier(folder / "package")


@pytest.fixture(scope="module")
def geojson(folder) -> Path:
    features = []
    for number in range(COUNT):
        ring = [[500000 + x / 2, 4000000 - y / 2] for x, y in shape(number).exterior.coords]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "properties": dict(zip(NAMES, row(number))), "geometry": geometry})
    system = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{CRS[5:]}"}}
    fields = [dict(zip(("name", "type", "alias"), field)) for field in FIELDS]
    content = {
        "type": "FeatureCollection",
        "crs": system,
        "features": features,
        "metadata": {"idField": "OBJECTID", "fields": fields},
    }
    (folder / "features.geojson").write_text(json.dumps({**content, "metadata": {"name": "trees", **content["metadata"]}}))
    return folder / "features.geojson"


@pytest.fixture(scope="module")
def geopackage(geojson) -> Path:
    gdal.VectorTranslate(str(path := geojson.with_suffix(".gpkg")), str(geojson), geometryType="MULTIPOLYGON")
    return path


@pytest.fixture(scope="module")
def labels(pixels) -> list[str | None]:
    valid = np.ones(pixels.shape[1:], bool)
    found = [seen(pixels[0], valid, shape(number), RULE) for number in range(COUNT)]
    assert len(set(found)) > COUNT / 3
    return [None if each is None else each[0] for each in found]


def classify(raster: Path, package: Path, features: object, **others: Any) -> QgsVectorLayer:
    from qgis import processing

    values = {"INPUT": str(raster), "MODEL": str(package), "FEATURES": features, "ARGUMENTS": f"{RULE.arguments};batch_size 64"}
    values = {**values, "OUTPUT": "memory:", **others}
    feedback = values.pop("feedback", QgsProcessingFeedback(False))
    found = processing.run("dlpk:classifyobjects", values, feedback=feedback)["OUTPUT"]
    return found if isinstance(found, QgsVectorLayer) else QgsVectorLayer(str(found), "output", "ogr")


def check(found: QgsVectorLayer, labels: list[str | None]) -> None:
    """All features, by their number, with what they brought along and their label."""
    assert found.isValid()
    assert found.featureCount() == COUNT
    features = {feature["OBJECTID"]: feature for feature in found.getFeatures()}
    for number in range(COUNT):
        feature = features[number + 1]
        assert [None if feature[name] == NULL else feature[name] for name in NAMES] == row(number)
        assert (None if feature["ClassLabel"] == NULL else feature["ClassLabel"]) == labels[number]
        left, top, right, bottom = shape(number).bounds
        bounds = feature.geometry().boundingBox()
        assert (bounds.xMinimum(), bounds.yMaximum()) == pytest.approx((500000 + left / 2, 4000000 - top / 2), abs=1e-3)
        assert (bounds.xMaximum(), bounds.yMinimum()) == pytest.approx((500000 + right / 2, 4000000 - bottom / 2), abs=1e-3)


def test_file(raster, package, geopackage, labels):
    found = classify(raster, package, str(geopackage))
    check(found, labels)
    assert [feature["OBJECTID"] for feature in found.getFeatures()] == list(range(1, COUNT + 1))


@pytest.fixture(scope="module")
def feature_service(geojson) -> Iterator[koop.FeatureServer]:
    try:
        koop.install()
    except RuntimeError as error:
        pytest.skip(f"Koop cannot be installed: {error}")
    with koop.feature_server(geojson) as server:
        yield server


def test_feature_server_by_its_address_layer_and_source(raster, package, feature_service, labels, qgis_new_project):
    """In its own system; every page is asked for, and geometry and attributes come along."""
    for value in (feature_service.url, f"{feature_service.url}/", feature_service.source_text()):
        check(classify(raster, package, value), labels)
    layer = QgsVectorLayer(feature_service.source(), "trees", "arcgisfeatureserver")
    QgsProject.instance().addMapLayer(layer)
    check(classify(raster, package, "trees"), labels)
    layer.selectByExpression('"OBJECTID" <= 7')
    from qgis.core import QgsProcessingFeatureSourceDefinition

    some = classify(raster, package, QgsProcessingFeatureSourceDefinition(layer.id(), selectedFeaturesOnly=True))
    assert {feature["OBJECTID"]: feature["ClassLabel"] for feature in some.getFeatures()} == dict(enumerate(labels[:7], 1))


def test_feature_server_in_degrees(raster, package, feature_service, labels, qgis_new_project):
    """The server transforms it there, and QGIS back; what lies in a pixel still does."""
    found = classify(raster, package, feature_service.source_text("EPSG:4326"))
    assert found.crs().authid() == "EPSG:4326"
    given = {feature["OBJECTID"]: feature["ClassLabel"] for feature in found.getFeatures()}
    assert [None if given[number + 1] == NULL else given[number + 1] for number in range(COUNT)] == labels


@pytest.mark.parametrize(
    "change", [("FeatureServer/0", "FeatureServer"), ("127.0.0.1", "127.0.0.2")], ids=["no layer", "nobody there"]
)
def test_address_that_gives_no_features(raster, package, feature_service, change):
    """Said before the package runs, by the name of the parameter."""
    feedback, address = QgsProcessingFeedback(False), feature_service.url.replace(*change)
    with pytest.raises(QgsProcessingException) as caught:
        classify(raster, package, address, feedback=feedback)
    said = f"{caught.value}\n{feedback.textLog()}"
    assert "FEATURES" in said
    assert "cannot be read" in said
    assert "Device:" not in said


def test_wfs(raster, package, geopackage, labels, tmp_path):
    if reason := qgis.missing():
        pytest.skip(reason)
    with wfs_server(geopackage, tmp_path / "server") as server:
        check(classify(raster, package, server.source_text()), labels)
        layer = QgsVectorLayer(server.source(), "trees", "WFS")
        check(classify(raster, package, layer), labels)


@pytest.fixture(scope="module")
def database(geopackage) -> Iterator[Path]:
    if reason := postgres.missing():
        pytest.skip(reason)
    with postgres_server() as folder:
        table.load(geopackage, folder)
        yield folder


def test_postgis_in(raster, package, database, labels):
    check(classify(raster, package, table.source_text(database)), labels)
    check(classify(raster, package, QgsVectorLayer(table.source(database), "trees", "postgres")), labels)


def test_postgis_with_a_filter_in_its_source(raster, package, database, labels):
    found = classify(raster, package, f'{table.source_text(database)} sql="OBJECTID" > 1490')
    assert {feature["OBJECTID"]: feature["ClassLabel"] or None for feature in found.getFeatures()} == dict(
        enumerate(labels[1490:], 1491)
    )


COLUMNS = {
    "object jsonb": "'{\"a\": [1, null]}'", "numbers integer[]": "'{1,2}'", "texts text[]": "'{a,\"b c\"}'",
    "key uuid": "'123e4567-e89b-12d3-a456-426614174000'", "flag boolean": "true", "exact numeric(20,5)": "12345678901234.56789",
    "moment timestamptz": "'2024-02-29 12:00:00+00'", "raw bytea": "'\\x0001ff'", "hour time": "'12:00'", "address inet": "'127.0.0.1'",
}  # fmt: skip
PLACE = {"place geometry(Point, 4326)": "ST_SetSRID(ST_Point(15, 36), 4326)"}


@pytest.mark.parametrize("columns", [COLUMNS, PLACE], ids=["values", "a second geometry"])
def test_postgis_with_columns_of_its_own_kinds(raster, package, database, labels, columns):
    """What QGIS reads is what comes out, and no value takes its neighbours along."""
    points = [f"ST_SetSRID(ST_Point({x}, 3999980.2), 32633)" for x in (500020.1, 500030.1)]
    execute(
        database,
        f"DROP TABLE IF EXISTS odd; CREATE TABLE odd (id serial PRIMARY KEY, first text, {', '.join(columns)}, last text, geom geometry(Point, 32633))",
    )
    execute(
        database,
        f"INSERT INTO odd (first, {', '.join(name.split()[0] for name in columns)}, last, geom) VALUES ('a', {', '.join(columns.values())}, 'z', {points[0]})",
    )
    execute(database, f"INSERT INTO odd (geom) VALUES ({points[1]})")
    layer = QgsVectorLayer(
        f"dbname='postgres' host={database} user='{postgres.USER}' key='id' table=\"public\".\"odd\" (geom)", "odd", "postgres"
    )
    names = layer.fields().names()
    assert names == ["id", "first", *(name.split()[0] for name in columns), "last"]
    found = classify(raster, package, layer)
    assert found.featureCount() == 2
    assert found.fields().names()[: len(names)] == names
    for before, after in zip(layer.getFeatures(), found.getFeatures()):
        assert [as_text(after[name]) for name in names] == [as_text(before[name]) for name in names]
        assert after.geometry().asWkt(2) == before.geometry().asWkt(2)
        assert float(after["ClassLabel"]) > 0


def as_text(value: Any) -> str:
    """A value of any type; further geometries become text, and there are two ways to say that there is none."""
    if value in (None, NULL):
        return "NULL"
    text = repr(value.asWkt() if hasattr(value, "asWkt") else value)
    return "NULL" if text == "''" else text


def test_postgis_out_and_again(raster, package, geopackage, database, labels):
    """A new table, and the same one replaced; two geometry types and all attributes fit."""
    destination = f"postgres://dbname='postgres' host={database} user='{postgres.USER}' table=\"public\".\"What it is\" (geom)"
    for _ in range(2):
        classify(raster, package, str(geopackage), OUTPUT=destination)
        address = f"dbname='postgres' host={database} user='{postgres.USER}' table=\"public\".\"What it is\" (geom)"
        found = QgsVectorLayer(address, "output", "postgres")
        assert found.crs().authid() == CRS
        check(found, labels)


def test_postgis_to_postgis(raster, package, database, labels):
    """The key of one table must not be in the way of the other's."""
    destination = f"postgres://dbname='postgres' host={database} user='{postgres.USER}' table=\"public\".\"labelled\" (geom)"
    classify(raster, package, table.source_text(database), OUTPUT=destination)
    address = f"dbname='postgres' host={database} user='{postgres.USER}' table=\"public\".\"labelled\" (geom)"
    check(QgsVectorLayer(address, "output", "postgres"), labels)


@pytest.mark.parametrize("column", ["", " (geom)"])
def test_images_become_a_table_of_a_database(package, database, tmp_path, column):
    """Also where the destination names a column for geometries, as QGIS's dialog does."""
    image = write_raster(tmp_path / "plain.tif", np.full((1, 12, 16), 70, np.uint8), None, None)
    destination = f"postgres://dbname='postgres' host={database} user='{postgres.USER}' table=\"public\".\"images\"{column}"
    classify(image, package, None, OUTPUT=destination)
    found = QgsVectorLayer(
        f"dbname='postgres' host={database} user='{postgres.USER}' table=\"public\".\"images\"", "t", "postgres"
    )
    assert [(feature["ImageId"], feature["Image"], feature["ClassLabel"]) for feature in found.getFeatures()] == [
        (1, "plain.tif", "70.000")
    ]
