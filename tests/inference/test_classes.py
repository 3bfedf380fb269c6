"""Classes of the model definition, and the filter for CLASSES."""

from __future__ import annotations

import numpy as np
import pytest
from deep_learning_packages.inference.classes import ClassFilter, ModelClass, class_field, declared_classes, parse_classes
from deep_learning_packages.inference.errors import ArgumentValueError
from engine_runs import run
from packages import make_package
from rasters import write_raster

CAR, BUS = ModelClass("1", "Car", None), ModelClass("2", "Bus", (0, 0, 255))


def test_declared_in_all_notations():
    entries = [
        {"Value": 1, "Name": "Car", "Color": [255, 0, 0]},
        {"ClassValue": 2, "ClassName": "Bus", "Color": "#0000ff"},
        {"Value": 3, "Name": "Van", "Color": "sky blue"},
        {"Value": 4},
        {"Color": [1, 2, 3]},
        "Tram",
    ]
    assert declared_classes({"Classes": entries}) == (
        ModelClass("1", "Car", (255, 0, 0)), ModelClass("2", "Bus", (0, 0, 255)), ModelClass("3", "Van", None), ModelClass("4", "4", None),
    )  # fmt: skip
    assert declared_classes({}) == declared_classes({"Classes": "Car"}) == ()


@pytest.mark.parametrize(
    ("given", "names"),
    [("", ()), (None, ()), ("Car", ("Car",)), (" Car ; Bus;;Car", ("Car", "Bus")), (["Car", "Bus"], ("Car", "Bus"))],
)
def test_parse(given, names):
    assert parse_classes(given) == names


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["Confidence", "CLASS", "Classvalue"], "CLASS"),
        (["Value", "Classname"], "Classname"),
        (["classvalue"], "classvalue"),
        (["x"], None),
    ],
)
def test_class_field(names, found):
    assert class_field(names) == found


def test_keeps_by_name_or_number():
    chosen = ClassFilter(["bus"], [CAR, BUS])
    assert chosen.keep({"Class": ["Car", "Bus", "BUS", None]}, 4).tolist() == [False, True, True, False]
    assert chosen.keep({"Classvalue": [1, 2, 2.0, "2"]}, 4).tolist() == [False, True, True, True]
    assert ClassFilter(["Car"], [CAR]).keep({"Confidence": [1, 1]}, 2).all()
    assert not chosen.keep({"Confidence": [1, 1]}, 2).any()


def test_unknown_names():
    with pytest.raises(ArgumentValueError, match="names Tram, but the classes of the model are: Car, Bus"):
        ClassFilter(["Car", "Tram"], [CAR, BUS])
    assert ClassFilter(["Tram"], [CAR, BUS], is_open=True).unknown == ("Tram",)
    assert ClassFilter(["Tram"], [], is_open=False).keep({"Class": ["Tram", "Car"]}, 2).tolist() == [True, False]


TWO = """
def find(self, pixels, mask):
    box = lambda x: [[x, 4], [x + 8, 4], [x + 8, 12], [x, 12]]
    yield box(2), 0.9, "Car"
    yield box(4), 0.8, "Bus"

def feature(self, ring, confidence, name):
    return {"attributes": {"Class": name, "Confidence": confidence}, "geometry": {"rings": [ring]}}
"""
CLASSES = {"Classes": [{"Value": 1, "Name": "Car"}, {"Value": 2, "Name": "Bus"}]}


@pytest.fixture
def raster(tmp_path):
    return write_raster(tmp_path / "r.tif", np.ones((1, 32, 32), np.uint8))


def test_others_are_dropped_before_suppression(tmp_path, raster):
    """The car overlaps the bus and is surer: suppressed first, it would take the bus with it."""
    from deep_learning_packages.inference.plan import SuppressionPlan

    package = make_package(tmp_path / "p", TWO, CLASSES)
    outcome = run(package, raster, classes=("bus",), suppression=SuppressionPlan("Confidence", "", 0.0))
    assert [row["Class"] for row in outcome.rows] == ["Bus"]
    assert outcome.other_classes == 1
    assert any("1 of other classes left out" in text for text in outcome.feedback.infos)


def test_refused_before_any_block(tmp_path, raster):
    package = make_package(tmp_path / "p", TWO, CLASSES)
    with pytest.raises(ArgumentValueError, match="CLASSES names Tram"):
        run(package, raster, classes=("Tram",))


def test_prompts_name_their_own_classes(tmp_path, raster):
    prompt = 'return [{"name": "raster", "dataType": "raster"}, {"name": "text_prompt", "dataType": "string", "value": "Tram"}, {"name": "tile", "dataType": "numeric", "value": 32}, {"name": "padding", "dataType": "numeric", "value": 0}]'
    package = make_package(
        tmp_path / "p", TWO.replace('"Bus"', '"Tram"') + f"\ndef getParameterInfo(self):\n    {prompt}\n", CLASSES
    )
    outcome = run(package, raster, classes=("Tram",))
    assert [row["Class"] for row in outcome.rows] == ["Tram"]
    assert any("CLASSES names Tram, which the model definition does not list" in text for text in outcome.feedback.warnings)
