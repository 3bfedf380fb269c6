"""Decoding feature sets, the odd ones of CONTRACT 3.5 above all."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from deep_learning_packages.inference.errors import FeatureSetError
from deep_learning_packages.inference.featureset import FeatureSetDecoder
from deep_learning_packages.inference.fields import Field, declared_fields

SQUARE = [[0, 0], [4, 0], [4, 4], [0, 4]]


def decoder(geometry_type=4, fields=(), **names):
    return FeatureSetDecoder(geometry_type, {field.name.casefold(): field for field in fields}, **names)


def payload(*features, **more):
    return json.dumps({"features": list(features), **more}).encode()


def feature(rings, **attributes):
    return {"attributes": attributes, "geometry": {"rings": rings}}


def test_rings_close_and_holes_stay():
    hole = [[1, 1], [2, 1], [2, 2], [1, 2], [1, 1]]
    found = decoder().decode(payload(feature([SQUARE, hole]), feature([SQUARE[::-1]])))
    assert [geometry.area for geometry in found.geometries] == [15, 16]
    assert [len(geometry.interiors) for geometry in found.geometries] == [1, 0]


@pytest.mark.parametrize(
    "rings",
    [
        [[[0, 0], [0, 0], [0, 0], [0, 0]]],
        [[[0, 0], [1, 1]]],
        [[[0, 0], [1, 0], [2, 0]]],
        [[[0, 0], [math.nan, 0], [4, 4]]],
        [[[0, 0], [math.inf, 0], [4, 4]]],
        [[[0, 0], ["x", 0], [4, 4]]],
        [[[10**400, 0], [1, 0], [1, 1]]],
        [[[-1e308, -1e308], [1e308, -1e308], [1e308, 1e308]]],
        [],
        5,
        None,
    ],
)
def test_what_has_no_area_is_dropped_and_counted(rings):
    decode = decoder()
    found = decode.decode(payload(feature(rings), feature([SQUARE])))
    assert len(found) == 1
    assert sum(decode.problems.values()) == 1


def test_crossed_outline_is_repaired_to_its_largest_part():
    decode = decoder()
    found = decode.decode(payload(feature([[[0, 0], [4, 4], [4, 0], [0, 1]]])))
    assert found.geometries[0].is_valid
    assert found.geometries[0].geom_type == "Polygon"
    assert decode.problems["repaired, as their outline crossed itself"] == 1


def test_bad_hole_is_left_out():
    found = decoder().decode(payload(feature([SQUARE, [[1, 1], [1, 1]]])))
    assert found.geometries[0].area == 16


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.7, 0.7), ("0.7", 0.7), ("0,7", 0.7), ("0.2;0.9", 0.9), (None, math.nan), ("high", math.nan), (10**400, math.nan)],
)
def test_confidence_in_any_form(value, expected):
    found = decoder().decode(payload(feature([SQUARE], Confidence=value)))
    np.testing.assert_equal(found.confidence, [expected])


def test_nan_in_json():
    found = decoder().decode(b'{"features": [{"attributes": {"Confidence": NaN}, "geometry": {"rings": [[[0,0],[1,0],[1,1]]]}}]}')
    assert math.isnan(found.confidence[0])


@pytest.mark.parametrize(
    ("attributes", "class_field", "expected"),
    [
        ({"Classvalue": 3, "Value": 4}, "", "3"),
        ({"Value": 4, "Class": "Tree"}, "", "4"),
        ({"Class": "Tree"}, "", ""),
        ({"Class": "Tree"}, "class", "Tree"),
        ({"Class": None}, "Class", ""),
    ],
)
def test_class_for_suppression(attributes, class_field, expected):
    found = decoder(class_field=class_field).decode(payload(feature([SQUARE], **attributes)))
    assert list(found.classes) == [expected]


def test_undeclared_attributes_become_fields():
    decode = decoder(fields=[Field("Class", "text", "Class")])
    found = decode.decode(payload(feature([SQUARE], OID=1, CLASS="a", Reason="big", Score=1, Ratio=0.5), feature([SQUARE])))
    assert found.attributes == {"Class": ["a", None], "Reason": ["big", None], "Score": [1, None], "Ratio": [0.5, None]}
    kinds = [(field.name, field.kind) for field in decode.all_fields]
    assert kinds == [("Class", "text"), ("Ratio", "double"), ("Reason", "text"), ("Score", "long")]


@pytest.mark.parametrize(
    ("values", "kind"),
    [([1, None, 2], "long"), ([1, 0.7], "double"), ([0.7, 1], "double"), ([1, "a", 0.5], "text"), ([True], "long")],
)
def test_undeclared_fields_hold_all_their_values(values, kind):
    decode = decoder()
    for value in values:
        decode.decode(payload(feature([SQUARE], Score=value)))
    assert [field.kind for field in decode.all_fields] == [kind]


@pytest.mark.parametrize("attributes", [None, [1], "text", {}])
def test_features_without_usable_attributes(attributes):
    found = decoder().decode(payload({"attributes": attributes, "geometry": {"rings": [SQUARE]}}))
    assert (len(found), len(found.confidence), len(found.classes), found.attributes) == (1, 1, 1, {})


def test_points_and_lines():
    points = decoder(1).decode(payload({"attributes": {}, "geometry": {"x": 1, "y": 2}}, {"geometry": {"x": None, "y": 1}}))
    assert [geometry.wkt for geometry in points.geometries] == ["POINT (1 2)"]
    lines = decoder(3).decode(payload({"attributes": {}, "geometry": {"paths": [[[0, 0], [1, 1]]]}}))
    assert lines.geometries[0].length == pytest.approx(math.sqrt(2))
    several = decoder(2).decode(payload({"attributes": {}, "geometry": {"points": [[0, 0], [1, 1]]}}))
    assert several.geometries[0].geom_type == "MultiPoint"


@pytest.mark.parametrize("answer", [b"oops", b"[]", b'{"feature": []}', b'{"features": {}}', b"[" * 100_000])
def test_what_is_no_feature_set(answer):
    with pytest.raises(FeatureSetError, match="must answer a feature set"):
        decoder().decode(answer)


@pytest.mark.parametrize("wrap", [lambda fields: {"fields": fields}, lambda fields: fields])
def test_declared_fields(wrap):
    def entry(name, kind):
        return {"name": name, "type": f"esriFieldType{kind}", "alias": name}

    fields = [entry("OID", "OID"), entry("Class", "String"), entry("Label", "String"), entry("label", "String"),
              entry("When", "Date"), entry("Big", "BigInteger"), entry("Map", "Blob"), entry("Shape", "Geometry"), "odd"]  # fmt: skip
    assert [(field.name, field.kind) for field in declared_fields(wrap(fields))] == [
        ("Class", "text"), ("Label", "text"), ("When", "datetime"), ("Big", "long"), ("Map", "binary"),
    ]  # fmt: skip
