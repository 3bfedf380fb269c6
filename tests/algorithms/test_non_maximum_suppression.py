"""dlpk:nonmaximumsuppression: the same as Detect does, on any layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from deep_learning_packages.inference.suppression import KEPT, suppress
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qgis.core import (
    NULL,
    QgsFeature,
    QgsFeatureRequest,
    QgsGeometry,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProject,
    QgsVectorLayer,
)

SAMPLE = Path(__file__).parents[2] / "resources" / "sample"


@pytest.fixture(scope="module")
def processing(provider):
    from qgis import processing

    return processing


@pytest.fixture(scope="module")
def run(processing):
    def run_(layer, feedback=None, **parameters):
        given_ = {"INPUT": layer, "OUTPUT": "memory:", **parameters}
        return processing.run("dlpk:nonmaximumsuppression", given_, feedback=feedback or QgsProcessingFeedback(False))

    return run_


def layer_of(rows, fields="Confidence:double", kind="Polygon"):
    """A memory layer of (geometry as WKT or None, *attributes)."""
    layer = QgsVectorLayer(
        f"{kind}?crs=EPSG:32633&" + "&".join(f"field={field}" for field in fields.split(",")), "found", "memory"
    )
    features = []
    for wkt, *attributes in rows:
        feature = QgsFeature(layer.fields())
        if wkt is not None:
            feature.setGeometry(QgsGeometry.fromWkt(wkt))
        feature.setAttributes(attributes)
        features.append(feature)
    added, _ = layer.dataProvider().addFeatures(features)
    assert added
    return layer


def box(left, bottom, right, top):
    return shapely.box(left, bottom, right, top).wkt


def confidences(layer):
    return sorted(feature["Confidence"] for feature in layer.getFeatures() if feature["Confidence"] != NULL)


BOXES = st.lists(
    st.tuples(
        st.integers(0, 12), st.integers(0, 12), st.integers(1, 6), st.integers(1, 6), st.integers(0, 9), st.sampled_from("ab")
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BOXES, st.sampled_from([0.0, 0.25, 0.5]))
def test_it_is_the_code_of_detect(run, boxes, overlap):
    """What stays and what removed it are just what the engine says, feature by feature."""
    rows = [(box(x, y, x + w, y + h), score / 10, name) for x, y, w, h, score, name in boxes]
    layer = layer_of(rows, "Confidence:double,Kind:string")
    results = run(layer, MAX_OVERLAP=overlap, CLASS_FIELD="Kind", REMOVED="memory:")
    features = list(layer.getFeatures())
    shapes = np.array([shapely.from_wkt(row[0]) for row in rows], object)
    expected = suppress(shapes, np.array([row[1] for row in rows], float), np.array([row[2] for row in rows], object), overlap)
    kept = [(feature.geometry().asWkt(), feature["Kind"]) for feature in results["OUTPUT"].getFeatures()]
    removed = [feature["SuppressedBy"] for feature in results["REMOVED"].getFeatures()]
    assert kept == [(f.geometry().asWkt(), f["Kind"]) for f, by in zip(features, expected) if by == KEPT]
    assert removed == [features[by].id() for by in expected if by != KEPT]


def test_detect_with_nms_gives_the_same(processing, tmp_path):
    """Detections written without suppression, suppressed afterwards, are those that Detect suppresses itself."""
    parameters = {"INPUT": f"{SAMPLE}/tree_crowns.tif", "MODEL": f"{SAMPLE}/tree_crowns.dlpk", "ARGUMENTS": "nms_overlap 0.9"}
    everything = processing.run("dlpk:detectobjects", {**parameters, "OUTPUT": str(tmp_path / "all.gpkg")})["OUTPUT"]
    at_once = processing.run("dlpk:detectobjects", {**parameters, "NMS": True, "MAX_OVERLAP": 0.1, "OUTPUT": "memory:"})["OUTPUT"]
    afterwards = processing.run(
        "dlpk:nonmaximumsuppression", {"INPUT": everything, "MAX_OVERLAP": 0.1, "OUTPUT": str(tmp_path / "kept.gpkg")}
    )["OUTPUT"]
    layers = [at_once, QgsVectorLayer(afterwards), QgsVectorLayer(everything)]
    counts = [layer.featureCount() for layer in layers]
    assert counts[0] == counts[1] < counts[2]
    kept = [sorted((f.geometry().asWkt(3), round(f["Confidence"], 6)) for f in layer.getFeatures()) for layer in layers[:2]]
    assert kept[0] == kept[1]


def test_fields_of_arcgis_are_found(run):
    """Classvalue, else Value; without them, all are of one class."""
    rows = [(box(0, 0, 10, 10), 0.9, 1), (box(0, 0, 10, 9), 0.8, 1), (box(20, 0, 30, 10), 0.7, 2)]
    for name in ("Classvalue", "Value", "Something"):
        output = run(layer_of(rows, f"Confidence:double,{name}:int"), MAX_OVERLAP=0.5)["OUTPUT"]
        assert confidences(output) == [0.7, 0.9]


def test_two_passes(run):
    """CONTRACT 6: A .9 of class 1, B .8 and C .7 of class 2; A and B overlap, B and C do, A and C do not: A stays alone."""
    rows = [(box(0, 0, 10, 10), 0.9, 1), (box(6, 0, 16, 10), 0.8, 2), (box(12, 0, 22, 10), 0.7, 2)]
    layer = layer_of(rows, "Confidence:double,Classvalue:int")
    assert confidences(run(layer)["OUTPUT"]) == [0.9]
    assert confidences(run(layer, CLASS_FIELD="Confidence")["OUTPUT"]) == [0.7, 0.9]


def test_text_missing_and_empty(run):
    """Confidence as text counts as a number; none loses against all; a feature without geometry stays."""
    rows = [
        (box(0, 0, 10, 10), "0,5"),
        (box(0, 0, 10, 9), "0.9"),
        (box(0, 0, 9, 10), None),
        (None, "0.1"),
        (box(0, 1, 9, 10), "x"),
    ]
    results = run(layer_of(rows, "Confidence:string"), MAX_OVERLAP=0.3, REMOVED="memory:")
    assert [feature["Confidence"] for feature in results["OUTPUT"].getFeatures()] == ["0.9", "0.1"]
    assert results["REMOVED"].featureCount() == 3


def test_points_and_lines(run):
    """Points at one place are duplicates; those beside each other are not. Lines alike."""
    points = [("Point(1 1)", 0.5), ("Point(1 1)", 0.6), ("Point(1 1.0001)", 0.4)]
    assert confidences(run(layer_of(points, kind="Point"))["OUTPUT"]) == [0.4, 0.6]
    lines = [("LineString(0 0, 1 1)", 0.5), ("LineString(1 1, 0 0)", 0.6), ("LineString(0 0, 2 2)", 0.4)]
    assert confidences(run(layer_of(lines, kind="LineString"))["OUTPUT"]) == [0.4, 0.6]


def test_invalid_polygons_stay_as_they_were(run):
    """A bow tie is compared as if it were mended, and comes out as it was."""
    tie = "Polygon((0 0, 10 10, 10 0, 0 10, 0 0))"
    output = run(layer_of([(tie, 0.9), (box(20, 20, 21, 21), 0.1)]))["OUTPUT"]
    assert QgsGeometry.fromWkt(tie).asWkt() in [feature.geometry().asWkt() for feature in output.getFeatures()]


def test_geometry_that_cannot_be_read_stays(run):
    """A ring that is not closed is no polygon for anybody, so it suppresses nothing and is not suppressed."""
    feedback = QgsProcessingFeedback(False)
    rows = [("Polygon((0 0, 10 0, 10 10, 0 10))", 0.5), (box(0, 0, 10, 10), 0.9), (box(0, 0, 10, 9), 0.8)]
    assert confidences(run(layer_of(rows), feedback=feedback)["OUTPUT"]) == [0.5, 0.9]
    assert "1 features have a geometry that cannot be read" in feedback.textLog()


def test_multipart_holes_and_z(run):
    """The true shapes count: what lies in a hole overlaps nothing; height plays no part and stays."""
    ring = "MultiPolygonZ(((0 0 5, 10 0 5, 10 10 5, 0 10 5, 0 0 5), (2 2 5, 8 2 5, 8 8 5, 2 8 5, 2 2 5)))"
    inside = "MultiPolygonZ(((3 3 7, 7 3 7, 7 7 7, 3 7 7, 3 3 7)))"
    output = run(layer_of([(ring, 0.9), (inside, 0.5)], kind="MultiPolygonZ"))["OUTPUT"]
    assert confidences(output) == [0.5, 0.9]
    assert {feature.geometry().constGet().vertices().__next__().z() for feature in output.getFeatures()} == {5.0, 7.0}


def test_only_what_is_selected(run):
    """A selection or filter is what is looked at, and what comes out."""
    layer = layer_of([(box(0, 0, 10, 10), 0.9), (box(0, 0, 10, 9), 0.8), (box(50, 50, 60, 60), 0.1)])
    QgsProject.instance().addMapLayer(layer)
    try:
        layer.selectByExpression('"Confidence" < 0.85')
        selected = QgsProcessingFeatureSourceDefinition(layer.id(), selectedFeaturesOnly=True)
        assert confidences(run(selected, MAX_OVERLAP=0.5)["OUTPUT"]) == [0.1, 0.8]
        filtered = QgsProcessingFeatureSourceDefinition(layer.id(), filterExpression='"Confidence" > 0.5')
        assert confidences(run(filtered, MAX_OVERLAP=0.5)["OUTPUT"]) == [0.9]
    finally:
        QgsProject.instance().removeMapLayer(layer.id())


def test_files_whole_or_not_at_all(run, tmp_path):
    """Both outputs in one GeoPackage; a field SuppressedBy that is there already is not lost."""
    layer = layer_of([(box(0, 0, 10, 10), 0.9, "p"), (box(0, 0, 10, 9), 0.8, "q")], "Confidence:double,SuppressedBy:string")
    path = tmp_path / "both.gpkg"
    target = f"ogr:dbname='{path}' table=\"{{}}\" (geom)"
    run(layer, MAX_OVERLAP=0.5, OUTPUT=target.format("kept"), REMOVED=target.format("removed"))
    removed = QgsVectorLayer(f"{path}|layername=removed")
    (feature,) = removed.getFeatures()
    (first,) = layer.getFeatures(QgsFeatureRequest().setFilterExpression('"Confidence" = 0.9'))
    assert (feature["SuppressedBy"], feature["SuppressedBy_1"]) == ("q", first.id())
    assert QgsVectorLayer(f"{path}|layername=kept").featureCount() == 1


def test_nothing_replaces_what_it_is_made_of(run, tmp_path):
    """OUTPUT in the place of INPUT, and both outputs in one place, would lose features."""
    path = str(tmp_path / "all.gpkg")
    run(layer_of([(box(0, 0, 10, 10), 0.9), (box(0, 0, 10, 9), 0.8)]), MAX_OVERLAP=1, OUTPUT=path)
    with pytest.raises(QgsProcessingException, match="OUTPUT is the layer that INPUT comes from"):
        run(path, OUTPUT=path)
    with pytest.raises(QgsProcessingException, match="OUTPUT and REMOVED name the same place"):
        run(path, OUTPUT=str(tmp_path / "new.gpkg"), REMOVED=str(tmp_path / "new.gpkg"))
    assert QgsVectorLayer(path).featureCount() == 2


def test_what_is_wrong_is_said(run, tmp_path):
    layer = layer_of([(box(0, 0, 1, 1), 0.9)])
    with pytest.raises(
        QgsProcessingException, match=r"CONFIDENCE_FIELD is Score, but the layer has only these fields: Confidence"
    ):
        run(layer, CONFIDENCE_FIELD="Score")
    with pytest.raises(QgsProcessingException, match=r"CLASS_FIELD is Kind, but"):
        run(layer, CLASS_FIELD="Kind")
    with pytest.raises(QgsProcessingException, match=r"maximum overlap ratio \(MAX_OVERLAP\) must be a number, from 0 to 1"):
        run(layer, MAX_OVERLAP=2)
    with pytest.raises(QgsProcessingException, match=r"The output folder .* does not exist"):
        run(layer, OUTPUT=str(tmp_path / "no" / "where.gpkg"))


def test_no_features(run):
    results = run(layer_of([]), REMOVED="memory:")
    assert results["OUTPUT"].featureCount() == results["REMOVED"].featureCount() == 0
