"""INPUT, MASK, PROCESSING_MODE and their like inside QGIS: every way to give rasters, in any CRS, and what is refused."""

from __future__ import annotations

import socket
import time

import numpy as np
import pytest
from osgeo import gdal
from packages import ORACLE, make_package
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFeature,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingParameterRasterLayer,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from rasters import NORTH_UP, draw, write_raster

pytestmark = [pytest.mark.usefixtures("provider")]


@pytest.fixture
def halves(tmp_path):
    """Two rasters side by side, with a box that lies across their border."""
    pixels = np.zeros((1, 60, 160), np.uint16)
    for number, box in enumerate([(10, 20, 18, 28), (75, 30, 85, 38), (120, 12, 130, 20), (140, 40, 148, 50)], 1):
        draw(pixels[0], box, number)
    whole = write_raster(tmp_path / "whole.tif", pixels)
    (tmp_path / "both").mkdir()
    for name, left in (("left", 0), ("right", 80)):
        gdal.Translate(str(tmp_path / "both" / f"{name}.tif"), str(whole), srcWin=[left, 0, 80, 60]).FlushCache()
    return tmp_path / "both"


@pytest.fixture
def package(tmp_path):
    return make_package(tmp_path / "package", ORACLE)


def search(raster, package, **parameters):
    from qgis import processing

    feedback = QgsProcessingFeedback(False)
    values = {
        "INPUT": raster,
        "MODEL": str(package),
        "ARGUMENTS": "tile 50;padding 12",
        "NMS": True,
        "OUTPUT": "memory:",
        **parameters,
    }
    return processing.run("dlpk:detectobjects", values, feedback=feedback)["OUTPUT"], feedback.textLog()


def test_every_way_to_give_several(halves, package, qgis_new_project):
    left, right = (str(halves / f"{name}.tif") for name in ("left", "right"))
    layers = [QgsRasterLayer(path, path[-8:-4]) for path in (left, right)]
    QgsProject.instance().addMapLayers(layers)
    for value in (
        str(halves),
        [left, right],
        f"{left};{right}",
        f"{left} ; {right}",
        layers,
        [layer.id() for layer in layers],
        [left, layers[1]],
    ):
        layer, log = search(value, package)
        assert layer.featureCount() == 4, value
        assert "Rasters: 2, searched as one mosaic" in log


def test_items_separately(halves, package, tmp_path):
    report = tmp_path / "report.html"
    layer, log = search(str(halves), package, PROCESSING_MODE="PROCESS_ITEMS_SEPARATELY", REPORT=str(report))
    names = sorted(feature["Image"] for feature in layer.getFeatures())
    assert names == ["left.tif"] * 2 + ["right.tif"] * 3  # the box across the border is found in both, as far as it reaches
    assert "Rasters: 2, each searched by itself" in log
    assert "<td>right.tif</td><td>3</td>" in report.read_text()
    single, _ = search(str(halves / "left.tif"), package, PROCESSING_MODE="PROCESS_ITEMS_SEPARATELY")
    assert {feature["Image"] for feature in single.getFeatures()} == {"left.tif"}


def test_items_of_other_crs_come_in_that_of_the_first(halves, package):
    gdal.Warp(
        str(halves / "third.tif"), str(halves / "right.tif"), dstSRS="EPSG:32634", dstNodata=0, resampleAlg="near"
    ).FlushCache()
    layer, _ = search(str(halves), package, PROCESSING_MODE="PROCESS_ITEMS_SEPARATELY")
    places = {name: [] for name in ("right.tif", "third.tif")}
    for feature in layer.getFeatures():
        if feature["Image"] in places:
            places[feature["Image"]].append(feature.geometry().centroid().asPoint())
    assert layer.crs().authid() == "EPSG:32633"
    assert len(places["right.tif"]) == 3
    for point in places["right.tif"]:
        assert min(point.distance(other) for other in places["third.tif"]) < 0.6


def test_extent_leaves_out_items_that_it_does_not_touch(halves, package):
    extent = f"{NORTH_UP[0] + 45},{NORTH_UP[0] + 80},3999970,4000000 [EPSG:32633]"
    layer, log = search(str(halves), package, PROCESSING_MODE="PROCESS_ITEMS_SEPARATELY", EXTENT=extent)
    assert {feature["Image"] for feature in layer.getFeatures()} == {"right.tif"}
    assert "Rasters: 1 lie outside the extent or mask and are left out" in log
    with pytest.raises(QgsProcessingException, match="does not touch the raster"):
        search(str(halves), package, PROCESSING_MODE="PROCESS_ITEMS_SEPARATELY", EXTENT="0,1,0,1 [EPSG:32633]")


def mask_layer(crs: str, *rectangles: QgsRectangle) -> QgsVectorLayer:
    """Rectangles of EPSG:32633 in another CRS."""
    layer = QgsVectorLayer(f"Polygon?crs={crs}", "mask", "memory")
    transform = QgsCoordinateTransform(QgsCoordinateReferenceSystem("EPSG:32633"), layer.crs(), QgsProject.instance())
    for rectangle in rectangles:
        feature, geometry = QgsFeature(), QgsGeometry.fromRect(rectangle)
        geometry.transform(transform)
        feature.setGeometry(geometry)
        layer.dataProvider().addFeature(feature)
    return layer


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326", "EPSG:3857"])
def test_mask_in_any_crs(halves, package, crs, qgis_new_project):
    left, top = NORTH_UP[0], NORTH_UP[3]
    mask = mask_layer(crs, QgsRectangle(left, top - 30, left + 20, top), QgsRectangle(left + 65, top - 30, left + 80, top - 15))
    QgsProject.instance().addMapLayer(mask)
    layer, _ = search(str(halves), package, MASK=mask)
    lefts = sorted(round(feature.geometry().boundingBox().xMinimum() - left, 1) for feature in layer.getFeatures())
    assert lefts == [5.0, 70.0]


def test_empty_mask_and_mask_beside_the_extent(halves, package, qgis_new_project):
    empty = mask_layer("EPSG:32633")
    QgsProject.instance().addMapLayer(empty)
    with pytest.raises(QgsProcessingException, match="mask layer mask has no polygon"):
        search(str(halves), package, MASK=empty)
    far = mask_layer("EPSG:32633", QgsRectangle(0, 0, 1, 1))
    QgsProject.instance().addMapLayer(far)
    with pytest.raises(QgsProcessingException, match="EXTENT and MASK do not overlap"):
        search(str(halves), package, MASK=far, EXTENT="500000,500080,3999970,4000000 [EPSG:32633]")


def test_bad_values_are_refused_before_anything_runs(halves, package):
    for name, value, message in (
        ("MAX_MISSING", 101, "from 0 to 100"), ("CELL_SIZE", -1, "0 or more"), ("INPUT", "", "No raster was given"),
        ("INPUT", [str(halves), "https://x.invalid/ImageServer"], "cannot be one of several rasters"),
        ("PROCESSING_MODE", "SOMEHOW", "PROCESSING_MODE|Processing mode"),
        ("INPUT", "https://x.invalid/?SERVICE=WMS", "names no layer. Add &layers="),
    ):  # fmt: skip
        with pytest.raises(QgsProcessingException, match=message):
            search(
                **{"raster": str(halves), "package": package, name: value}
                if name != "INPUT"
                else {"raster": value, "package": package}
            )


def test_nobody_waits_for_a_server_in_the_main_thread(provider, package):
    """Checking values and writing them down, as the dialog does before a run, asks no server."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        base = f"http://127.0.0.1:{silent.getsockname()[1]}"
        algorithm, context = provider.algorithm("detectobjects"), QgsProcessingContext()
        began = time.monotonic()
        for address in (
            "a b's.tif",
            "rest/services/x/ImageServer",
            "{z}/{x}/{y}.png",
            "?SERVICE=WMTS&LAYER=a",
            "?SERVICE=WMS&LAYERS=a",
        ):
            values = {"INPUT": f"{base}/{address}", "MODEL": str(package), "OUTPUT": "memory:", "CELL_SIZE": 0.5}
            assert algorithm.checkParameterValues(values, context) == (True, "")
            assert algorithm.asMap(values, context)["inputs"]["INPUT"] == values["INPUT"]
            python = algorithm.asPythonCommand(values, context)
            assert eval(python[len('processing.run("dlpk:detectobjects", ') : -1])["INPUT"] == values["INPUT"]
            import shlex

            command, done = algorithm.asQgisProcessCommand(values, context)
            assert done
            assert f"--INPUT={values['INPUT']}" in shlex.split(command)
            algorithm.sinkProperties("OUTPUT", values, context, {})
        assert time.monotonic() - began < 2


def test_raster_from_another_step_of_a_model(halves, package):
    """gdal:translate makes the raster that the next step searches."""
    model = QgsProcessingModelAlgorithm("search", "tests")
    model.addModelParameter(QgsProcessingParameterRasterLayer("raster", "raster"), QgsProcessingModelParameter("raster"))
    source = QgsProcessingModelChildParameterSource
    first = QgsProcessingModelChildAlgorithm("gdal:translate")
    first.setChildId("cut")
    first.addParameterSources("INPUT", [source.fromModelParameter("raster")])
    second = QgsProcessingModelChildAlgorithm("dlpk:detectobjects")
    second.setChildId("search")
    second.addParameterSources("INPUT", [source.fromChildOutput("cut", "OUTPUT")])
    for name, value in (("MODEL", str(package)), ("ARGUMENTS", "tile 50;padding 12"), ("NMS", True)):
        second.addParameterSources(name, [source.fromStaticValue(value)])
    output = QgsProcessingModelOutput("found", "found")
    output.setChildId("search")
    output.setChildOutputName("OUTPUT")
    second.setModelOutputs({"found": output})
    for child in (first, second):
        model.addChildAlgorithm(child)
    model.updateDestinationParameters()
    from qgis import processing

    destination = model.destinationParameterDefinitions()[0].name()
    found = processing.run(model, {"raster": str(halves / "right.tif"), destination: "memory:"})
    layer = next(value for value in found.values() if isinstance(value, QgsVectorLayer))
    assert layer.featureCount() == 3


def test_scaled_pixels_say_where_their_range_comes_from(tmp_path):
    pixels = np.zeros((1, 40, 40), np.uint16)
    pixels[0, 5:10, 5:10], pixels[0, 0, 0] = 500, 3000
    raster = write_raster(tmp_path / "r.tif", pixels)
    package = make_package(
        tmp_path / "scaled",
        'def getConfiguration(self, **s):\n    return {"tx": 64, "ty": 64, "padding": 0, "dataRange": (0, 1)}\n',
    )
    _, log = search(str(raster), package, NMS=False)
    assert "Pixels are scaled to the model's range from: 0 … 3000 (all pixels)" in log
