"""Classify objects inside QGIS: whatever geometry, CRS, order and selection, each feature comes out with its own label."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from classifiers import CropRule, make_classifier, seen, some_shape
from classify_runs import (
    PLACES,
    RULE,
    UTM,
    classify,
    label_at,
    labels_in,
    layer_of,
    on_the_map,
    opened,
    point,
    run,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from osgeo import ogr, osr
from qgis.core import (
    NULL,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsGeometry,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProject,
    QgsProperty,
    QgsRemappingSinkDefinition,
    QgsVectorLayer,
)
from rasters import write_raster

pytestmark = pytest.mark.usefixtures("provider")


FAMILIES = {
    "Point": ("point", "multipoint", "none"),
    "LineString": ("line", "multiline", "none"),
    "Polygon": ("polygon", "holed", "multipolygon", "empty", "none"),
}
"""Kinds of geometries that a layer can hold."""


@st.composite
def scenes(draw):
    return {
        "rule": CropRule(
            draw(st.integers(1, 20)), draw(st.integers(1, 20)), draw(st.booleans()), draw(st.booleans()), draw(st.sampled_from([0, 2]))
        ),
        "degrees": draw(st.sampled_from([0.0, 20.0])),
        "crs": draw(st.sampled_from([UTM, "EPSG:4326", "EPSG:32632", "EPSG:3857"])),
        "family": draw(st.sampled_from(list(FAMILIES))),
        "batch": draw(st.sampled_from([1, 4, 64])),
        "seed": draw(st.integers(0, 2**16)),
    }  # fmt: skip


@settings(max_examples=12, deadline=None, report_multiple_bugs=False)
@given(scene=scenes())
def test_every_feature_of_any_kind_in_any_crs(scene):
    rng = np.random.default_rng(scene["seed"])
    pixels = rng.integers(8, 120, (2, 50, 70)).astype(np.uint8)
    angle = math.radians(scene["degrees"])
    cos, sin = 0.5 * math.cos(angle), 0.5 * math.sin(angle)
    transform = (404211.9, cos, sin, 4285102.7, sin, -cos)
    shapes = [some_shape(rng, rng.choice(FAMILIES[scene["family"]]), 70, 50) for _ in range(40)]
    to_layer = QgsCoordinateTransform(
        QgsCoordinateReferenceSystem(UTM), QgsCoordinateReferenceSystem(scene["crs"]), QgsCoordinateTransformContext()
    )
    layer = layer_of([in_crs(on_the_map(shape, transform), to_layer) for shape in shapes], scene["family"], scene["crs"])
    with tempfile.TemporaryDirectory() as folder:
        raster = write_raster(Path(folder, "scene.tif"), pixels, transform)
        package = make_classifier(Path(folder, "package"))
        found = classify(raster, package, layer, f"{scene['rule'].arguments};batch_size {scene['batch']}")
    wanted = [seen(pixels[0], np.ones((50, 70), bool), shape, scene["rule"]) for shape in shapes]
    features = list(found.getFeatures())
    assert [feature["number"] for feature in features] == list(range(40))
    assert [(feature["ClassLabel"], feature["Size"]) for feature in features] == [
        (NULL, NULL) if each is None else each for each in wanted
    ]
    assert found.crs().authid() == scene["crs"]
    assert [feature.geometry().asWkt() for feature in features] == [feature.geometry().asWkt() for feature in layer.getFeatures()]


def in_crs(shape: Any, transform: QgsCoordinateTransform) -> Any:
    """A shape whose corners were moved one by one."""
    if shape is None:
        return None
    return shapely.transform(shape, lambda at: np.array([list(transform.transform(x, y)) for x, y in at]).reshape(-1, 2))


@pytest.mark.parametrize(
    "text",
    ["PointZM({x} {y} 3 4)", "MultiPolygonZ((({x} {y} 1, {x} {b} 2, {a} {b} 3, {x} {y} 1)))", "CurvePolygon(CircularString({x} {y}, {a} {b}, {x} {y}))",
     "CompoundCurve(({x} {y}, {a} {y}), CircularString({a} {y}, {a} {b}, {x} {b}))", "MultiLineStringM(({x} {y} 5, {a} {b} 6))"],
)  # fmt: skip
def test_geometry_stays_what_it_is(raster, oracle, tmp_path, text):
    """Heights, measures and curves are kept, and are classified in the plane."""
    geometry = QgsGeometry.fromWkt(text.format(x=500010.1, y=3999985.2, a=500012.3, b=3999983.1))
    assert not geometry.isNull()
    layer = QgsVectorLayer(f"{geometry.constGet().wktTypeStr().replace(' ', '')}?crs={UTM}", "x", "memory")
    feature = QgsFeature()
    feature.setGeometry(geometry)
    layer.dataProvider().addFeatures([feature])
    for output in ("memory:", str(tmp_path / "o.gpkg")):
        found = classify(raster, oracle, layer, OUTPUT=output)
        (one,) = found.getFeatures()
        assert found.wkbType() == layer.wkbType()
        assert one.geometry().asWkt(3) == geometry.asWkt(3)
        assert one["ClassLabel"] != NULL


def test_layer_without_features_and_features_off_the_raster(raster, oracle):
    assert classify(raster, oracle, layer_of([], "Polygon")).featureCount() == 0
    feedback = QgsProcessingFeedback(False)
    found = classify(raster, oracle, layer_of([point(-5, 5), None, point(20, 20)], "Point"), feedback=feedback)
    assert [label is None for label in labels_in(found)] == [True, True, False]
    assert "2 features have no label, as they lie outside of the raster" in feedback.textLog()


def test_features_in_a_crs_that_cannot_reach_the_raster(raster, oracle):
    """A corner that has no place in the raster's CRS costs its own feature the label, and no other."""
    shapes = [
        shapely.Point(15.0, 91),
        shapely.Point(15.0002, 36.14458),
        shapely.Point(1e300, -1e300),
        shapely.Point(15.0002, 36.14458),
    ]
    labels = labels_in(classify(raster, oracle, layer_of(shapes, crs="EPSG:4326")))
    assert [label is None for label in labels] == [True, False, True, False]


def test_layer_without_crs_lies_where_the_raster_does(raster, oracle, labels):
    assert labels_in(classify(raster, oracle, layer_of([point(*place) for place in PLACES], "Point", ""))) == labels


def test_layer_of_all_kinds_of_geometry(raster, oracle, pixels, tmp_path):
    """As a GeoPackage may have it: points, lines and polygons in one table."""
    rule = CropRule(6, 6, False, True)
    shapes = [shapely.Point(20.3, 10.4), shapely.LineString([(30.2, 10.3), (33.7, 12.6)]), shapely.box(50.2, 20.2, 53.4, 24.6)]
    vectors = ogr.GetDriverByName("GPKG").CreateDataSource(str(tmp_path / "mixed.gpkg"))
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(32633)
    table = vectors.CreateLayer("mixed", reference, ogr.wkbUnknown)
    for shape in shapes:
        feature = ogr.Feature(table.GetLayerDefn())
        feature.SetGeometry(ogr.CreateGeometryFromWkb(on_the_map(shape).wkb))
        table.CreateFeature(feature)
    vectors = table = feature = None
    valid = np.ones(pixels.shape[1:], bool)
    found = classify(raster, oracle, tmp_path / "mixed.gpkg", rule.arguments, OUTPUT=tmp_path / "o.gpkg")
    assert labels_in(found) == [seen(pixels[0], valid, shape, rule)[0] for shape in shapes]
    wanted = [QgsGeometry.fromWkt(on_the_map(shape).wkt).asWkt(1) for shape in shapes]
    assert [feature.geometry().asWkt(1) for feature in found.getFeatures()] == wanted


def test_extent_and_mask_in_other_crs(raster, oracle, labels):
    """A feature whose middle is outside has no label, and stays."""
    layer = layer_of([point(*place) for place in PLACES], "Point")
    box = on_the_map(shapely.box(10, 5, 60, 45))
    transform = QgsCoordinateTransform(
        QgsCoordinateReferenceSystem(UTM), QgsCoordinateReferenceSystem("EPSG:4326"), QgsCoordinateTransformContext()
    )
    wanted = [labels[0], None, None, labels[3]]
    assert labels_in(classify(raster, oracle, layer, MASK=layer_of([in_crs(box, transform)], "Polygon", "EPSG:4326"))) == wanted
    left, bottom, right, top = box.bounds
    assert labels_in(classify(raster, oracle, layer, EXTENT=f"{left},{right},{bottom},{top} [{UTM}]")) == wanted
    west, south, east, north = in_crs(box, transform).bounds
    assert labels_in(classify(raster, oracle, layer, EXTENT=f"{west},{east},{south},{north} [EPSG:4326]")) == wanted


def test_cell_size(tmp_path, oracle):
    """Chips are so many pixels of that size."""
    fine = np.random.default_rng(1).integers(8, 120, (1, 20, 30))
    raster = write_raster(tmp_path / "r.tif", np.kron(fine, np.ones((1, 4, 4))).astype(np.uint8))
    found = classify(raster, oracle, layer_of([point(40.4, 40.4)], "Point"), CELL_SIZE=2.0)
    assert labels_in(found) == [label_at(fine, 10.1, 10.1)]


def test_result_goes_on_in_an_existing_layer(raster, oracle, labels, tmp_path):
    target = tmp_path / "target.gpkg"
    layer = layer_of([point(*place) for place in PLACES], "Point")
    classify(raster, oracle, layer, OUTPUT=target)
    existing = QgsVectorLayer(f"{target}|layername=target")
    mapping = QgsRemappingSinkDefinition()
    mapping.setFieldMap({name: QgsProperty.fromField(name) for name in ("number", "ClassLabel", "Confidence")})
    mapping.setDestinationFields(existing.fields())
    mapping.setDestinationCrs(existing.crs())
    mapping.setDestinationWkbType(existing.wkbType())
    sink = QgsProcessingOutputLayerDefinition(f"ogr:dbname='{target}' table=\"target\" (geom)")
    sink.setRemappingDefinition(mapping)
    run(INPUT=raster, MODEL=oracle, FEATURES=layer, ARGUMENTS=RULE.arguments, OUTPUT=sink)
    found = opened(f"{target}|layername=target")
    assert labels_in(found) == labels * 2
    assert [feature["number"] for feature in found.getFeatures()] == [0, 1, 2, 3] * 2


def test_selected_features_filter_and_limit(raster, oracle, labels, qgis_new_project):
    layer = layer_of([point(*place) for place in PLACES], "Point")
    QgsProject.instance().addMapLayer(layer)
    layer.selectByExpression('"number" in (1, 3)')

    def found(**options: Any) -> list[int]:
        definition = QgsProcessingFeatureSourceDefinition(layer.id(), **options)
        made = classify(raster, oracle, definition)
        numbers = [feature["number"] for feature in made.getFeatures()]
        assert labels_in(made) == [labels[number] for number in numbers]
        return sorted(numbers)  # QGIS gives selected features of a temporary layer in any order

    assert found(selectedFeaturesOnly=True) == [1, 3]
    assert found(filterExpression='"number" < 2 or "number" = 3') == [0, 1, 3]
    assert found(featureLimit=2) == [0, 1]
    assert found() == [0, 1, 2, 3]
    layer.setSubsetString('"number" > 1')
    assert [feature["number"] for feature in classify(raster, oracle, "some features").getFeatures()] == [2, 3]


def test_ways_to_name_the_features(raster, oracle, labels, tmp_path, qgis_new_project):
    layer = layer_of([point(*place) for place in PLACES], "Point")
    classify(raster, oracle, layer, OUTPUT=tmp_path / "some.gpkg")
    QgsProject.instance().addMapLayer(layer)
    path = str(tmp_path / "some.gpkg")
    for value in (layer, layer.id(), "some features", path, f"{path}|layername=some", QgsProperty.fromExpression(f"'{path}'")):
        assert labels_in(classify(raster, oracle, value)) == labels


def test_result_becomes_the_input(raster, oracle, labels, tmp_path):
    """Labels of an earlier run stay beside the new ones; a file can be replaced by what is made of it."""
    output = tmp_path / "o.gpkg"
    classify(raster, oracle, layer_of([point(*place) for place in PLACES]), OUTPUT=output)
    found = classify(raster, oracle, f"{output}|layername=o", OUTPUT=output)
    assert found.fields().names() == [
        "fid",
        "number",
        "ClassLabel",
        "Confidence",
        "Size",
        "ClassLabel_1",
        "Confidence_1",
        "Size_1",
    ]
    assert labels_in(found) == labels_in(found, "ClassLabel_1") == labels


def test_uncommitted_changes_count(raster, oracle, pixels, qgis_new_project):
    layer = layer_of([point(*place) for place in PLACES], "Point")
    QgsProject.instance().addMapLayer(layer)
    layer.startEditing()
    first = next(layer.getFeatures())
    layer.changeGeometry(first.id(), QgsGeometry.fromWkt(point(60.2, 50.3).wkt))
    assert labels_in(classify(raster, oracle, layer))[0] == label_at(pixels, 60.2, 50.3)
    layer.rollBack()


def test_features_that_are_invalid_are_classified(raster, oracle):
    """Processing refuses them by default; a label needs no valid geometry."""
    bow = on_the_map(shapely.Polygon([(10.2, 10.1), (16.3, 16.2), (16.1, 10.3), (10.4, 16.4)]))
    assert labels_in(classify(raster, oracle, layer_of([bow], "Polygon")))[0] is not None
