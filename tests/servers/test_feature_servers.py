"""The servers of features give QGIS what is in the file behind them: counts, geometry, fields and NULLs."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from osgeo import gdal
from qgis.core import QgsFeatureRequest, QgsRectangle, QgsVectorLayer

from servers import feature_server as koop
from servers import postgis_table as table
from servers import postgres_server as postgres
from servers import qgis_server as qgis
from servers.wfs_server import wfs_server

COUNT = 3000
CRS = "EPSG:32617"
FIELDS = [("OBJECTID", "Integer", "OBJECTID"), ("NAME", "String", "Name of it"), ("HEIGHT", "Double", "Height (m)")]
NAMES = [name for name, *_ in FIELDS]
CORNER = QgsRectangle(499_999, 3_999_999, 500_009, 4_000_001)  # holds the first three squares
pytestmark = pytest.mark.usefixtures("qgis_new_project")


def square(number: int) -> list[list[list[float]]]:
    left, bottom = 500_000 + number % 60 * 4, 4_000_000 + number // 60 * 4
    return [[[left, bottom], [left + 2, bottom], [left + 2, bottom + 2], [left, bottom + 2], [left, bottom]]]


def row(number: int) -> list[object]:
    return [number + 1, f"tree {number}" if number % 3 else None, number / 4 if number % 5 else None]


@pytest.fixture(scope="module")
def geojson(tmp_path_factory) -> Path:
    """Squares; the last feature has no geometry."""
    features = []
    for number in range(COUNT):
        geometry = {"type": "Polygon", "coordinates": square(number)} if number < COUNT - 1 else None
        features.append({"type": "Feature", "properties": dict(zip(NAMES, row(number))), "geometry": geometry})
    system = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{CRS[5:]}"}}
    content = {"type": "FeatureCollection", "crs": system, "features": features}
    fields = [dict(zip(("name", "type", "alias"), field)) for field in FIELDS]
    content["metadata"] = {"name": "trees", "idField": "OBJECTID", "fields": fields}
    path = tmp_path_factory.mktemp("features") / "features.geojson"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="module")
def geopackage(geojson) -> Path:
    gdal.VectorTranslate(str(path := geojson.with_suffix(".gpkg")), str(geojson), geometryType="MULTIPOLYGON")
    return path


def check(layer: QgsVectorLayer, empty: int = 1) -> None:
    assert layer.isValid(), layer.error().summary()
    assert (layer.crs().authid(), layer.featureCount()) == (CRS, COUNT)
    assert len(list(layer.getFeatures(QgsFeatureRequest(CORNER)))) == 3  # first: QGIS asks no server once it has all features
    features = list(layer.getFeatures())
    assert [[feature[name] or None for name in NAMES] for feature in features] == [row(number) for number in range(COUNT)]
    assert sum(not feature.hasGeometry() for feature in features) == empty
    rings = [square(number)[0] for number in range(COUNT - 1)]
    assert all(feature.geometry().boundingBox() == QgsRectangle(*ring[0], *ring[2]) for feature, ring in zip(features, rings))


def check_qgis_process(source: str, folder: Path) -> None:
    command = ["qgis_process", "run", "native:centroids", f"--INPUT={source}", f"--OUTPUT={folder / 'centroids.gpkg'}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert QgsVectorLayer(str(folder / "centroids.gpkg"), "centroids", "ogr").featureCount() == COUNT


@pytest.fixture(scope="module")
def feature_service(geojson) -> Iterator[koop.FeatureServer]:
    try:
        koop.install()
    except RuntimeError as error:
        pytest.skip(f"Koop cannot be installed: {error}")
    with koop.feature_server(geojson) as server:
        yield server


def test_feature_server(feature_service, tmp_path):
    layer = QgsVectorLayer(feature_service.source(), "trees", "arcgisfeatureserver")
    check(layer)
    assert [layer.attributeAlias(index) for index in range(3)] == ["", "Name of it", "Height (m)"]
    check_qgis_process(feature_service.source_text(), tmp_path)


def test_feature_server_gives_no_more_than_it_announces(feature_service):
    for offset, is_all in ((0, False), (2500, True)):
        with urllib.request.urlopen(f"{feature_service.url}/query?f=json&where=1%3D1&resultOffset={offset}") as answer:
            content = json.loads(answer.read())
        expected = range(1 + offset, 1 + min(COUNT, offset + koop.LARGEST_ANSWER))
        assert [feature["attributes"]["OBJECTID"] for feature in content["features"]] == list(expected)
        assert content["exceededTransferLimit"] == (not is_all)


def test_wfs(geopackage, tmp_path):
    if reason := qgis.missing():
        pytest.skip(reason)
    with wfs_server(geopackage, tmp_path / "server") as server:
        # QGIS's WFS client gives a feature without geometry that of the one before.
        check(QgsVectorLayer(server.source(), "trees", "WFS"), empty=0)
        assert sum("STARTINDEX=" in request and "MAXFEATURES=1000" in request for request in server.requests) >= 3
        check_qgis_process(server.source_text(), tmp_path)


def test_postgis(geopackage, tmp_path):
    if reason := postgres.missing():
        pytest.skip(reason)
    with postgres.postgres_server() as folder:
        table.load(geopackage, folder)
        check(QgsVectorLayer(table.source(folder), "trees", "postgres"))
        check_qgis_process(table.source_text(folder), tmp_path)
