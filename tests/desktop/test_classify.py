"""The dialogs of Classify Objects, Non Maximum Suppression and the model that chains two packages, in the real QGIS."""

from __future__ import annotations

import pytest
from desktop import SAMPLE, pause, picture, wait
from qgis.core import Qgis, QgsProcessingFeatureSourceDefinition, QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.utils import iface


def wrapper(dialog, name):
    return dialog.mainWidget().wrappers[name]


@pytest.fixture
def town(image):
    """The town and its points as the project's layers."""
    project = QgsProject.instance()
    project.clear()
    raster = QgsRasterLayer(str(SAMPLE / "town.tif"), "town")
    points = QgsVectorLayer(f"{SAMPLE / 'town_points.gpkg'}|layername=points", "points")
    project.addMapLayers([raster, points])
    iface.mapCanvas().setExtent(raster.extent())
    return raster, points


def added(before):
    """The vector layers that have come since."""
    layers = QgsProject.instance().mapLayers()
    return [each for key, each in layers.items() if key not in before and each.type() == Qgis.LayerType.Vector]


def test_classify_the_selected_points(open_dialog, rows, town):
    """A user picks the sample classifier and some points: they come back with a label, styled by it."""
    raster, points = town
    before = set(QgsProject.instance().mapLayers())
    points.selectByExpression('"origin" = \'random\' or "id" < 11')
    dialog = open_dialog(algorithm="dlpk:classifyobjects")
    wrapper(dialog, "MODEL").wrappedWidget().setFilePath(str(SAMPLE / "tree_check.dlpk"))
    assert list(rows(dialog)) == ["batch_size"]
    selected = QgsProcessingFeatureSourceDefinition(points.id(), selectedFeaturesOnly=True)
    wrapper(dialog, "FEATURES").setParameterValue(selected, dialog.processingContext())
    picture(dialog, "classify_dialog")
    dialog.runAlgorithm()
    wait(lambda: added(before), 120)
    (layer,) = added(before)
    assert layer.name() == "Tree check"
    assert layer.featureCount() == 80
    assert [field.name() for field in layer.fields()][-3:] == ["origin", "ClassLabel", "Confidence"]
    assert [(category.value(), category.label()) for category in layer.renderer().categories()] == [
        ("NoTree", "NoTree"),
        ("Tree", "Tree"),
    ]
    assert layer.renderer().classAttribute() == "ClassLabel"
    assert "Confidence" in layer.mapTipTemplate()
    dialog.hide()
    pause(0.5)
    wait(lambda: not iface.mapCanvas().isDrawing(), 30)
    picture(iface.mainWindow(), "classified")


def test_suppression_keeps_the_look(open_dialog, town, tmp_path):
    """What stays looks as the layer did."""
    square = "Polygon((0 0, {0} 0, {0} 1, 0 1, 0 0))"
    layer = QgsVectorLayer("Polygon?crs=EPSG:26910&field=Confidence:double", "boxes", "memory")
    from qgis.core import QgsFeature, QgsFillSymbol, QgsGeometry, QgsSingleSymbolRenderer

    features = []
    for confidence, width in ((0.9, 10), (0.8, 9), (0.7, 4)):
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromWkt(square.format(width)))
        feature.setAttributes([confidence])
        features.append(feature)
    layer.dataProvider().addFeatures(features)
    layer.setRenderer(QgsSingleSymbolRenderer(QgsFillSymbol.createSimple({"color": "#123456"})))
    QgsProject.instance().addMapLayer(layer)
    before = set(QgsProject.instance().mapLayers())
    dialog = open_dialog({"INPUT": layer.id(), "MAX_OVERLAP": 0.5}, "dlpk:nonmaximumsuppression")
    picture(dialog, "suppression_dialog")
    dialog.runAlgorithm()
    wait(lambda: added(before), 60)
    (kept,) = added(before)
    assert sorted(feature["Confidence"] for feature in kept.getFeatures()) == [0.7, 0.9]
    assert kept.renderer().symbol().color().name() == "#123456"


def test_model_in_the_toolbox(open_dialog, rows, town):
    """The model that comes with the plugin opens as a dialog and runs."""
    before = set(QgsProject.instance().mapLayers())
    parameters = {"INPUT": town[0].id(), "DETECTOR": SAMPLE / "urban_trees.dlpk", "CLASSIFIER": SAMPLE / "tree_check.dlpk"}
    dialog = open_dialog(parameters, "dlpk:detectandclassify")
    assert dialog.windowTitle() == "Detect and classify objects"
    wait(lambda: {"threshold", "batch_size"} <= set(rows(dialog)))
    picture(dialog, "model_dialog")
    dialog.runAlgorithm()
    wait(lambda: added(before), 120)
    (layer,) = added(before)
    assert layer.featureCount() == 107
    assert {"Class", "ClassLabel"} <= set(layer.fields().names())
