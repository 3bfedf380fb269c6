"""Outputs appear whole or not at all: what was in their place stays until the new one is complete, and other layers with it."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from deep_learning_packages.algorithms.detect_objects import DetectObjects
from deep_learning_packages.algorithms.staging import geopackage
from osgeo import gdal, ogr
from outputs import BOXES, FAILING, added, make_inputs, run
from packages import ORACLE, make_package
from qgis.core import (
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProject,
    QgsVectorLayer,
)
from rasters import draw, write_raster

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("provider")


@pytest.fixture
def inputs(tmp_path, cache) -> dict[str, str]:
    return make_inputs(tmp_path)


def old_file(path: Path, count: int = 3, table: str = "") -> None:
    """A layer that somebody had there before."""
    driver = ogr.GetDriverByName(
        {"gpkg": "GPKG", "shp": "ESRI Shapefile", "geojson": "GeoJSON", "fgb": "FlatGeobuf"}[path.suffix[1:]]
    )
    source = driver.Open(str(path), 1) if path.exists() else driver.CreateDataSource(str(path))
    layer = source.CreateLayer(table or path.stem, geom_type=ogr.wkbPolygon)
    layer.CreateField(ogr.FieldDefn("old", ogr.OFTInteger))
    for number in range(count):
        feature = ogr.Feature(layer.GetLayerDefn())
        feature.SetField("old", number)
        feature.SetGeometry(ogr.CreateGeometryFromWkt(f"POLYGON (({number} 0, {number} 1, {number + 1} 1, {number} 0))"))
        layer.CreateFeature(feature)
    source = None


def layers(path: Path) -> dict[str, int]:
    """Names and numbers of features; styles are kept in a layer of their own, which does not count."""
    source = ogr.Open(str(path))
    found = [source.GetLayer(number) for number in range(source.GetLayerCount())]
    return {layer.GetName(): sum(1 for _ in layer) for layer in found if layer.GetName() != "layer_styles"}


def sums(folder: Path, stem: str) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.name.startswith(stem)}


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if "unfinished" in path.name or path.name.endswith("-journal")]


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "geojson", "fgb"])
def test_failing_run_leaves_the_old_file_as_it_was(inputs, tmp_path, suffix):
    path = tmp_path / f"output.{suffix}"
    old_file(path)
    before = sums(tmp_path, "output")
    with pytest.raises(QgsProcessingException, match="ValueError: no"):
        run({**inputs, "MODEL": str(make_package(tmp_path / "failing", FAILING))}, str(path))
    assert sums(tmp_path, "output") == before
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "geojson", "fgb"])
def test_old_file_is_replaced_by_a_run_that_works(inputs, tmp_path, suffix):
    path = tmp_path / f"output.{suffix}"
    old_file(path)
    run(inputs, str(path))
    assert list(layers(path).values()) == [BOXES]
    source = ogr.Open(str(path))
    definition = source.GetLayer(0).GetLayerDefn()
    assert "old" not in [definition.GetFieldDefn(number).GetName() for number in range(definition.GetFieldCount())]
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("named", ["plain", "table", "table in any case"])
def test_geopackage_keeps_its_other_layers(inputs, tmp_path, named):
    path = tmp_path / "output.gpkg"
    table = "output" if named == "plain" else "found"
    for other, count in (("first", 5), (table, 3), ("last", 7)):
        old_file(path, count, other)
    destination = str(path) if named == "plain" else f"ogr:dbname='{path}' table=\"{table}\" (geom)"
    if named == "table in any case":
        destination, table = destination.replace('"found"', '"FOUND"'), "FOUND"
    result = run(inputs, destination)
    assert {name: count for name, count in layers(path).items() if name != "layer_styles"} == {
        "first": 5,
        table: BOXES,
        "last": 7,
    }
    assert result["OUTPUT"] == f"{path}|layername={table}"
    assert_sound(path, {"first": 5, table: BOXES, "last": 7})
    assert leftovers(tmp_path) == []


def assert_sound(path: Path, counts: dict[str, int]) -> None:
    """By SQLite, by the spatial index, and by what describes the layers."""
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    for table, count in counts.items():
        assert database.execute(f'SELECT count(*) FROM "rtree_{table}_geom"').fetchone() == (count,)
        assert database.execute("SELECT count(*) FROM gpkg_contents WHERE table_name = ?", (table,)).fetchone() == (1,)
    database.close()
    source = gdal.OpenEx(str(path))
    for table, count in counts.items():
        layer = source.GetLayerByName(table)
        left, right, low, high = layer.GetExtent()
        layer.SetSpatialFilterRect(left, low, right, high)
        assert layer.GetFeatureCount() == count


def test_layer_that_is_open_in_the_project_shows_the_new_features(inputs, tmp_path):
    path = tmp_path / "output.gpkg"
    old_file(path)
    layer = QgsVectorLayer(str(path), "old", "ogr")
    QgsProject.instance().addMapLayer(layer, False)
    assert layer.featureCount() == 3
    run(inputs, str(path))
    assert len(list(layer.getFeatures())) == BOXES
    QgsProject.instance().removeMapLayer(layer.id())


def test_file_that_only_looks_like_a_geopackage_is_replaced(inputs, tmp_path):
    path = tmp_path / "output.gpkg"
    path.write_bytes(b"something else")
    Path(f"{path}-wal").write_bytes(b"of a database that is gone")
    run(inputs, str(path))
    assert layers(path)["output"] == BOXES
    assert not Path(f"{path}-wal").exists()


def test_destination_is_loaded_on_completion_and_not_the_staged_one(inputs, tmp_path):
    from qgis.core import QgsProcessingContext

    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    definition = QgsProcessingOutputLayerDefinition(str(tmp_path / "output.gpkg"), QgsProject.instance())
    definition.destinationName = "My name"
    algorithm = DetectObjects().create()
    result, done = algorithm.run({**inputs, "OUTPUT": definition}, context, QgsProcessingFeedback())
    assert done
    details = context.layersToLoadOnCompletion()
    assert list(details) == [result["OUTPUT"]] == [str(tmp_path / "output.gpkg")]
    assert details[result["OUTPUT"]].name == "My name"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize("suffix", ["gpkg", "shp", "geojson", "fgb"])
def test_full_disk(tmp_path, cache, suffix):
    """The old file stays, the error says so, what was found is kept, and with room the next run writes it."""
    from deep_learning_packages.inference.journals import forget, kept_journals

    pixels = np.zeros((1, 640, 640), np.uint16)
    for number in range(400):
        left, top = 32 * (number % 20) + 5, 32 * (number // 20) + 5
        draw(pixels[0], (left, top, left + 6, top + 6), number + 1)
    noisy = ORACLE.replace('"Class": "Box"', '"Class": "x" * 4000, "More": os.urandom(2000).hex()')
    inputs = {
        "INPUT": str(write_raster(tmp_path / "raster.tif", pixels)),
        "MODEL": str(make_package(tmp_path / "package", noisy)),
    }
    disk = tmp_path / "disk"
    disk.mkdir()
    size = "128k" if suffix == "shp" else "1m"  # its texts are cut to 254 characters
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], check=True)
    try:
        path = disk / f"output.{suffix}"
        old_file(path)
        before = sums(disk, "output")
        with pytest.raises(QgsProcessingException, match="cannot be written"):
            run(inputs, str(path))
        assert sums(disk, "output") == before
        assert leftovers(disk) == []
        (kept,) = kept_journals()
        assert kept.done == kept.total
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        run(inputs, str(path))
        assert next(iter(layers(path).values())) == 400
        assert kept_journals() == []
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
        for journal in kept_journals():
            forget(journal.folder)


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "geojson"])
def test_appending(inputs, tmp_path, suffix):
    path = tmp_path / f"output.{suffix}"
    old_file(path)
    target = f"ogr:dbname='{path}' table=\"output\" (geom)" if suffix == "gpkg" else str(path)
    assert added(inputs, target) == 3 + BOXES
    assert leftovers(tmp_path) == []


PUBLISHER = """
import sys; sys.path[:0] = [sys.argv[1]]
from pathlib import Path
from deep_learning_packages.algorithms.staging import geopackage
print("ready", flush=True)
geopackage.publish(Path(sys.argv[2]), Path(sys.argv[3]), "found")
"""


def test_power_cut_while_a_layer_is_published(tmp_path):
    """Killed at random moments: the old layer or the new one, whole, with its index; the other layers always."""
    target, staged = tmp_path / "target.gpkg", tmp_path / "staged.gpkg"
    many = 60_000
    for table, count in (("other", 50), ("found", 30)):
        old_file(target, count, table)
    layer = QgsVectorLayer("Point?field=old:integer", "x", "memory")
    from qgis.core import QgsCoordinateTransformContext, QgsFeature, QgsGeometry, QgsPointXY, QgsVectorFileWriter

    features = []
    for number in range(many):
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromPointXY(QgsPointXY(number, number % 7)))
        features.append(feature)
    layer.dataProvider().addFeatures(features)
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.layerName = "found"
    QgsVectorFileWriter.writeAsVectorFormatV3(layer, str(staged), QgsCoordinateTransformContext(), options)
    rng, ends = random.Random(1), {30: 0, many: 0}
    for number in range(12):
        copy = tmp_path / f"copy{number}.gpkg"
        shutil.copy(target, copy)
        process = subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, str(ROOT / "build/plugins"), str(copy), str(staged)], stdout=subprocess.PIPE
        )
        process.stdout.readline()
        time.sleep(rng.random() * 0.12)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        whole = sqlite3.connect(copy)  # takes back what was half done, as every program does that opens it to write
        assert whole.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        whole.close()
        found = layers(copy)
        assert found["other"] == 50
        ends[found["found"]] += 1
        assert_sound(copy, found)
        geopackage.publish(copy, staged, "found")
        assert_sound(copy, {"other": 50, "found": many})
        assert leftovers(tmp_path) == []
        copy.unlink()
    assert ends[30] > 0


def projected(path: Path, table: str, proj: str, x: float) -> None:
    """A layer in a CRS of somebody's own; every GeoPackage numbers such CRSs from the same number on."""
    from osgeo import osr

    crs = osr.SpatialReference()
    crs.ImportFromProj4(proj)
    driver = ogr.GetDriverByName("GPKG")
    source = driver.Open(str(path), 1) if path.exists() else driver.CreateDataSource(str(path))
    layer = source.CreateLayer(table, crs, ogr.wkbPoint)
    feature = ogr.Feature(layer.GetLayerDefn())
    feature.SetGeometry(ogr.CreateGeometryFromWkt(f"POINT ({x} 5)"))
    layer.CreateFeature(feature)
    source = None


@pytest.mark.parametrize("has_more_columns", [False, True])
def test_crs_of_its_own_is_not_taken_for_another_one(tmp_path, has_more_columns):
    target, staged = tmp_path / "target.gpkg", tmp_path / "staged.gpkg"
    projected(target, "old", "+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84", 1)
    projected(staged, "found", "+proj=laea +lat_0=50 +lon_0=-70 +datum=WGS84", 2)
    if has_more_columns:
        database = sqlite3.connect(target)
        database.execute("ALTER TABLE gpkg_spatial_ref_sys ADD COLUMN definition_12_063 TEXT NOT NULL DEFAULT 'undefined'")
        database.commit()
        database.close()
    for _ in range(2):  # the second time the CRS is known
        geopackage.publish(target, staged, "found")
    source = ogr.Open(str(target))
    for table, latitude, x in (("old", 10, 1), ("found", 50, 2)):
        layer = source.GetLayerByName(table)
        assert layer.GetSpatialRef().GetProjParm("latitude_of_center") == latitude
        assert layer.GetNextFeature().GetGeometryRef().GetX() == x
    source = None
    database = sqlite3.connect(target)
    numbers = {row[0] for row in database.execute("SELECT srs_id FROM gpkg_contents")}
    headers = [int.from_bytes(row[0][4:8], "little") for row in database.execute("SELECT geom FROM found")]
    assert len(numbers) == 2
    assert set(headers) <= numbers
    database.close()


def test_other_layers_of_a_spatialite_file_stay(inputs, tmp_path):
    path = tmp_path / "output.sqlite"
    source = ogr.GetDriverByName("SQLite").CreateDataSource(str(path), ["SPATIALITE=YES"])
    layer = source.CreateLayer("precious", geom_type=ogr.wkbPoint)
    layer.CreateFeature(ogr.Feature(layer.GetLayerDefn()))
    source = None
    run(inputs, f"ogr:dbname='{path}' table=\"found\" (geom)")
    found = layers(path)
    assert (found["precious"], found["found"]) == (1, BOXES)
    assert leftovers(tmp_path) == []


def test_report_that_is_made_before_an_output_that_cannot_be_published(inputs, tmp_path, monkeypatch):
    """The run is not settled before its output is in its place."""
    from deep_learning_packages.inference.journals import kept_journals

    def refuse(*arguments):
        raise OSError(13, "Permission denied")

    from deep_learning_packages.algorithms.staging import files

    monkeypatch.setattr(files, "replace", refuse)
    with pytest.raises(QgsProcessingException, match=r"cannot be written: \[Errno 13\] Permission denied"):
        run({**inputs, "REPORT": str(tmp_path / "report.html")}, str(tmp_path / "output.gpkg"))
    assert len(kept_journals()) == 1
