"""What comes out beside the features: name, style, metadata, report."""

from __future__ import annotations

import re

import numpy as np
import pytest
from deep_learning_packages.algorithms.provenance import plugin_version
from deep_learning_packages.inference.secrets import without_credentials
from packages import make_package
from qgis import processing
from qgis.core import (
    Qgis,
    QgsCategorizedSymbolRenderer,
    QgsExpression,
    QgsFeature,
    QgsGeometry,
    QgsPointXY,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingParameterRasterLayer,
    QgsProject,
    QgsRasterLayer,
    QgsRemappingSinkDefinition,
    QgsRenderContext,
    QgsSymbol,
    QgsVectorFileWriter,
    QgsVectorLayer,
)
from rasters import write_raster

VEHICLES = """
def find(self, pixels, mask):
    box = lambda x: [[x, 4], [x + 6, 4], [x + 6, 12], [x, 12]]
    yield box(2), 90.0, "Bus"
    yield box(10), 50.0, "Car"
    yield box(20), 70.0, "Tram"

def feature(self, ring, confidence, name):
    return {"attributes": {"Class": name, "Confidence": confidence}, "geometry": {"rings": [ring]}}
"""
DEFINITION = {
    "ModelName": "Vehicles",
    "Classes": [{"Value": 1, "Name": "Car", "Color": [228, 26, 28]}, {"Value": 2, "Name": "Bus", "Color": [55, 126, 184]}],
}
POINTS = """
def getGeometryType(self):
    return 1

def feature(self, ring, confidence, name):
    return {"attributes": {"Class": name, "Confidence": confidence}, "geometry": {"x": ring[0][0], "y": 8}}
"""


@pytest.fixture
def raster(tmp_path):
    return write_raster(tmp_path / "image.tif", np.full((3, 32, 32), 100, np.uint8))


@pytest.fixture
def package(tmp_path):
    return make_package(tmp_path / "vehicles", VEHICLES, DEFINITION)


def run(context=None, **parameters):
    context = context or QgsProcessingContext()
    context.setProject(QgsProject.instance())
    values = {name: value if name == "OUTPUT" else str(value) for name, value in parameters.items()}
    return processing.run("dlpk:detectobjects", values, context=context, feedback=QgsProcessingFeedback())


def check_style(layer):
    renderer = layer.renderer()
    assert isinstance(renderer, QgsCategorizedSymbolRenderer)
    categories = renderer.categories()  # copies, which own their symbols
    assert [(each.value(), each.label()) for each in categories] == [("Car", "Car"), ("Bus", "Bus"), ("Tram", "Tram")]
    colors = [each.symbol().symbolLayer(1).strokeColor().name() for each in categories]
    assert colors[:2] == ["#e41a1c", "#377eb8"]
    assert len(set(colors)) == 3
    context = QgsRenderContext()
    context.expressionContext().appendScope(layer.createExpressionContextScope())
    opacity = {}
    for feature in layer.getFeatures():
        context.expressionContext().setFeature(feature)
        properties = categories[0].symbol().dataDefinedProperties()
        value = properties.property(QgsSymbol.Property.Opacity).valueAsDouble(context.expressionContext(), -1)
        opacity[feature["Confidence"]] = value[0]
    assert opacity == {50.0: 60, 70.0: pytest.approx(80), 90.0: 100}
    context.expressionContext().setFeature(next(layer.getFeatures("\"Class\" = 'Bus'")))
    assert QgsExpression(layer.displayExpression()).evaluate(context.expressionContext()) == "Bus 90"
    assert "<b>Bus 90</b>" in QgsExpression.replaceExpressionText(layer.mapTipTemplate(), context.expressionContext())


@pytest.mark.parametrize("destination", ["memory:", "found.gpkg", "found.shp", "found.geojson", "found.fgb"])
def test_style_and_metadata(provider, raster, package, tmp_path, destination):
    """In the layer that Processing hands on, wherever it lies."""
    context = QgsProcessingContext()
    output = destination if destination == "memory:" else str(tmp_path / destination)
    result = run(context, INPUT=raster, MODEL=package, ARGUMENTS="padding 2", OUTPUT=output)["OUTPUT"]
    layer = (
        result
        if destination == "memory:"
        else context.temporaryLayerStore().mapLayers() and next(iter(context.temporaryLayerStore().mapLayers().values()))
    )
    check_style(layer)
    metadata = layer.metadata()
    assert metadata.title() == "Vehicles"
    text = metadata.abstract()
    for fact in (
        "sha256",
        "padding 2",
        "tile 32",
        "image.tif",
        "cell size 0.5 m",
        "Device: CPU",
        f"Deep Learning Packages {plugin_version()}",
    ):
        assert fact in text
    assert re.search(r"Made on \d{4}-\d\d-\d\d \d\d:\d\d UTC", text)
    assert metadata.history()


def test_geopackage_opens_with_style_and_metadata(provider, raster, package, tmp_path):
    """By anybody who opens the file later; also in a second table of one file."""
    run(INPUT=raster, MODEL=package, OUTPUT=str(tmp_path / "found.gpkg"))
    again = f"ogr:dbname='{tmp_path / 'found.gpkg'}' table=\"again\" (geom)"
    run(INPUT=raster, MODEL=package, OUTPUT=again)
    for table in ("found", "again"):
        layer = QgsVectorLayer(f"{tmp_path / 'found.gpkg'}|layername={table}", table)
        check_style(layer)
        assert "sha256" in layer.metadata().abstract(), table


def test_name_of_the_loaded_layer(provider, raster, package):
    """The model's name in place of Processing's default; a name that somebody chose stays."""
    from qgis.core import QgsApplication

    for given, expected in ((None, "Vehicles"), ("My layer", "My layer")):
        algorithm = QgsApplication.processingRegistry().createAlgorithmById("dlpk:detectobjects")
        context = QgsProcessingContext()
        context.setProject(QgsProject.instance())
        output = QgsProcessingOutputLayerDefinition("memory:", QgsProject.instance())
        if given:
            output.destinationName = given
        values = {"INPUT": str(raster), "MODEL": str(package), "OUTPUT": output}
        results, done = algorithm.run(values, context, QgsProcessingFeedback())
        assert done
        assert context.layerToLoadOnCompletionDetails(results["OUTPUT"]).name == expected


EVIL = "<img src='http://evil/'>[% env('HOME') %]"


def test_nothing_of_a_package_becomes_html_or_an_expression(provider, raster, tmp_path):
    """Neither in map tips nor in the legend, the metadata, the report."""
    package = make_package(tmp_path / "evil", VEHICLES.replace('"Tram"', repr(EVIL)), {**DEFINITION, "ModelName": EVIL})
    path = tmp_path / "report.html"
    layer = run(INPUT=raster, MODEL=package, OUTPUT="memory:", REPORT=path)["OUTPUT"]
    context = layer.createExpressionContext()
    tips = []
    for feature in layer.getFeatures():
        context.setFeature(feature)
        tips.append(QgsExpression.replaceExpressionText(layer.mapTipTemplate(), context))
    assert any("&lt;img" in tip for tip in tips)
    assert not any("<img" in tip for tip in tips)
    assert not any("[%" in each.label() for each in layer.renderer().categories())
    metadata = layer.metadata()
    assert not any("<" in text for text in (metadata.title(), metadata.abstract(), *metadata.history()))
    assert "<img" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("/data/image.tif", "/data/image.tif"),
        ("PG:host=h user=me password='top secret' table=t", "PG:host=h user=… password=… table=t"),  # pragma: allowlist secret
        ("/vsicurl/https://me:pw@host/a.tif?sig=abc&x=1", "/vsicurl/https://…@host/a.tif?sig=…&x=1"),  # pragma: allowlist secret
        ("https://host/a.tif?X-Token=abc", "https://host/a.tif?X-Token=…"),  # pragma: allowlist secret
    ],
)
def test_credentials_are_not_written_down(address, shown):
    assert without_credentials(address) == shown


def test_points_get_markers(provider, raster, tmp_path):
    package = make_package(tmp_path / "points", VEHICLES[: VEHICLES.index("def feature")] + POINTS, DEFINITION)
    layer = run(INPUT=raster, MODEL=package, OUTPUT="memory:")["OUTPUT"]
    assert layer.geometryType() == Qgis.GeometryType.Point
    categories = layer.renderer().categories()
    symbols = [each.symbol() for each in categories]
    assert [symbol.type() for symbol in symbols] == [Qgis.SymbolType.Marker] * 3
    assert symbols[0].symbolLayer(0).strokeColor().name() == "#ffffff"


@pytest.mark.parametrize("name", ["no fields", "nothing found"])
def test_style_without_classes_or_features(provider, raster, tmp_path, name):
    methods = {
        "no fields": 'def getFields(self):\n    return "{}"\n\ndef find(self, p, m):\n    yield [[1, 1], [5, 1], [5, 5]], 0.5\n\ndef feature(self, ring, c):\n    return {"attributes": {}, "geometry": {"rings": [ring]}}\n',
        "nothing found": "",
    }[name]
    layer = run(INPUT=raster, MODEL=make_package(tmp_path / "p", methods, DEFINITION), OUTPUT="memory:")["OUTPUT"]
    labels = [each.label() for each in layer.renderer().categories()] if name == "nothing found" else []
    assert labels == (["Car", "Bus"] if name == "nothing found" else [])
    assert layer.featureCount() == (1 if name == "no fields" else 0)


def test_a_layer_that_is_added_to_keeps_its_look(provider, raster, package, tmp_path):
    existing = QgsVectorLayer("Polygon?crs=EPSG:32633&field=Class:string&field=Confidence:double", "mine", "memory")
    feature = QgsFeature(existing.fields())
    feature.setGeometry(QgsGeometry.fromPointXY(QgsPointXY(0, 0)).buffer(1, 4))
    existing.dataProvider().addFeature(feature)
    path = str(tmp_path / "mine.gpkg")
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.layerName = "mine"
    QgsVectorFileWriter.writeAsVectorFormatV3(existing, path, QgsProject.instance().transformContext(), options)
    output = QgsProcessingOutputLayerDefinition(f"ogr:dbname='{path}' table=\"mine\" (geom)")
    remap = QgsRemappingSinkDefinition()
    remap.setDestinationFields(existing.fields())
    remap.setDestinationWkbType(Qgis.WkbType.Polygon)
    remap.setDestinationCrs(existing.crs())
    output.setRemappingDefinition(remap)
    run(INPUT=raster, MODEL=package, OUTPUT=output)
    layer = QgsVectorLayer(f"{path}|layername=mine", "mine")
    assert layer.featureCount() == 4
    assert layer.listStylesInDatabase()[0] == 0
    assert not layer.metadata().abstract()


def test_inside_a_model(provider, raster, package, tmp_path):
    """Styled as a child of a model too, under the name that the model gives."""
    static, given = (
        QgsProcessingModelChildParameterSource.fromStaticValue,
        QgsProcessingModelChildParameterSource.fromModelParameter,
    )
    model = QgsProcessingModelAlgorithm("m", "g")
    model.addModelParameter(QgsProcessingParameterRasterLayer("image"), QgsProcessingModelParameter("image"))
    child = QgsProcessingModelChildAlgorithm("dlpk:detectobjects")
    child.setChildId("detect")
    child.addParameterSources("INPUT", [given("image")])
    child.addParameterSources("MODEL", [static(str(package))])
    output = QgsProcessingModelOutput("Found", "Found")
    output.setChildId("detect")
    output.setChildOutputName("OUTPUT")
    child.setModelOutputs({"Found": output})
    model.addChildAlgorithm(child)
    name = model.destinationParameterDefinitions()[0].name()
    image = QgsRasterLayer(str(raster), "image")
    assert processing.run(model, {"image": image, name: "memory:"})[name].featureCount() == 3
    path = tmp_path / "model.gpkg"
    processing.run(model, {"image": image, name: str(path)})
    check_style(QgsVectorLayer(str(path), "x"))


def test_report(provider, raster, package, tmp_path):
    """One file with everything in it: no address of anything else."""
    path = tmp_path / "report.html"
    results = run(INPUT=raster, MODEL=package, OUTPUT="memory:", REPORT=path)
    assert results["REPORT"] == str(path)
    text = path.read_text(encoding="utf-8")
    for fact in (
        "Report: Vehicles",
        "3 objects found",
        "Car",
        "Bus",
        "Tram",
        "#377eb8",
        "Most confident",
        "Loading the package",
        "sha256",
    ):
        assert fact in text
    assert text.count("data:image/jpeg;base64,") == 1 + 3 + 3
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_report_of_nothing_and_of_many(provider, raster, tmp_path):
    path = tmp_path / "report.html"
    run(INPUT=raster, MODEL=make_package(tmp_path / "none"), OUTPUT="memory:", REPORT=path)
    assert "Nothing was found." in path.read_text()
    many = "def find(self, p, m):\n    for i in range(4000):\n        yield [[i % 64 / 2, i // 64 / 2], [i % 64 / 2 + 0.4, i // 64 / 2], [i % 64 / 2, i // 64 / 2 + 0.4]], i / 4000\n"
    run(INPUT=raster, MODEL=make_package(tmp_path / "many", many), OUTPUT="memory:", REPORT=path)
    text = path.read_text()
    assert "4000 objects found" in text
    assert len(text) < 300_000


def test_report_that_cannot_be_written_is_told_before(provider, raster, package, tmp_path):
    with pytest.raises(Exception, match="output folder .*gone does not exist"):
        run(INPUT=raster, MODEL=package, OUTPUT="memory:", REPORT=tmp_path / "gone" / "report.html")
