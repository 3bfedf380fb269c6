"""What a function answers about chips, whole images, and a worker that lies."""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from classification_runs import CHANGED, NODATA, SMALL, classify, item_of, labels_of, points
from classifiers import make_classifier
from deep_learning_packages.inference.classification.features import Features
from deep_learning_packages.inference.classification.labels import Answer
from deep_learning_packages.inference.errors import InferenceError
from deep_learning_packages.inference.grid import Window
from deep_learning_packages.inference.run import run_plan
from engine_runs import Recorder, make_plan
from rasters import write_raster

CLASSES = {"Classes": [{"Value": 1, "Name": "Tree"}, {"Value": 2, "Name": "House"}]}


@pytest.mark.parametrize(
    ("attributes", "label"),
    [
        ({"Label": "a", "Classname": "b", "Class": "c", "Caption": "d", "Classvalue": 1}, "a"),
        ({"Classvalue": 1, "Caption": "d", "Class": "c", "Classname": "b"}, "b"),
        ({"Caption": "d", "Value": 2, "CLASS": "c"}, "c"),
        ({"caption": "a tree, and a house"}, "a tree, and a house"),
        ({"Classvalue": 2}, "House"),
        ({"Value": "1"}, "Tree"),
        ({"value": 2.0}, "House"),
        ({"Value": 99}, "99"),
        ({"Label": "Tree;House"}, "Tree;House"),
        ({"Label": 5}, "5"),
        ({"Label": None}, None),
        ({"Reason": "none"}, None),
    ],
)
def test_where_the_label_comes_from(tmp_path, raster, attributes, label):
    answer = f"features = [{{'attributes': {attributes!r}}}] * len(chips)"
    found = classify(make_classifier(tmp_path / "p", CHANGED.format(change=answer), CLASSES), raster, points(2))
    assert found.labels == [label, label]
    names = {field.name.casefold() for field in found.fields}
    assert len(names) == len(found.fields)


CONFIDENCES = [
    ("0.75", 0.75), ("0,75", 0.75), (" 75 ", 75.0), (0.25, 0.25), (1, 1.0), (None, None), ("nan", None), (1e999, None), (True, None),
]  # fmt: skip


def test_confidence_is_a_number(tmp_path, raster):
    values = repr([value for value, _ in CONFIDENCES]).replace("inf", "1e999")
    change = f"features = [{{'attributes': {{'Label': 'x', 'CONFIDENCE': value}}}} for value in {values}]"
    package = make_classifier(tmp_path / "p", CHANGED.format(change=change))
    found = classify(package, raster, points(len(CONFIDENCES)), f"{SMALL.arguments};batch_size {len(CONFIDENCES)}")
    assert [answer.confidence for _, _, answer in found.rows] == [number for _, number in CONFIDENCES]
    assert [(field.name, field.kind) for field in found.fields][1] == ("Confidence", "double")


def test_confidences_of_several_labels_stay_text(tmp_path, raster):
    change = "features[0]['attributes'].update(Label='Tree;House', Confidence='0.9;0.4')"
    found = classify(make_classifier(tmp_path / "p", CHANGED.format(change=change)), raster, points(4), SMALL.arguments)
    first = found.rows[0][2]
    assert (first.label, first.confidence) == ("Tree;House", "0.9;0.4")
    assert [(field.name, field.kind) for field in found.fields][1] == ("Confidence", "text")


def test_further_attributes_become_fields(tmp_path, raster):
    change = """features = [{"attributes": {"OID": 1, "FID": 2, "Shape": 3, "Label": "x", "Confidence": 1, "Reason": "r", "Tags": ["a", 1],
        "Share": 1 if self.calls == 1 else 1.5, "Mixed": 1 if self.calls == 1 else "b"}, "geometry": None} for chip in chips]"""
    found = classify(make_classifier(tmp_path / "p", CHANGED.format(change=change)), raster, points(5), SMALL.arguments)
    kinds = {field.name: field.kind for field in found.fields}
    assert kinds == {
        "ClassLabel": "text",
        "Confidence": "double",
        "Size": "integer",
        "Mixed": "text",
        "Reason": "text",
        "Share": "double",
        "Tags": "text",
    }
    assert [answer.extras for _, _, answer in (found.rows[0], found.rows[4])] == [
        {"reason": "r", "tags": '["a", 1]', "share": 1, "mixed": 1}, {"reason": "r", "tags": '["a", 1]', "share": 1.5, "mixed": "b"},
    ]  # fmt: skip


def test_log_tells_how_many_features_have_a_label(oracle, tmp_path, pixels):
    """Features, not chips: on two rasters each has two."""
    rasters = [write_raster(tmp_path / f"{number}.tif", pixels) for number in range(2)]
    found = classify(oracle, None, [shapely.Point(20, 20), shapely.Point(-20, 20)], items=tuple(map(item_of, rasters)))
    told = next(text for text in found.feedback.infos if text.startswith("Features:"))
    assert told.startswith("Features: 2, of which 1 ")


def whole(package: Path, rasters: list[Path], arguments: str, **extent: Any) -> list[Answer | None]:
    items = tuple(item_of(path, **extent) for path in rasters)
    with ExitStack() as stack:
        for item in items:
            stack.enter_context(closing(item.source))
        features = stack.enter_context(closing(Features(items, is_whole=True)))
        features.add([b""] * len(items))
        features.seal()
        plan = make_plan(package, None, arguments, items=items, features=features)
        result = stack.enter_context(run_plan(plan, Recorder()))
        answers = [row.answer for row in result.rows()]
        result.settle()
        return answers


@pytest.mark.parametrize("fixed", [0, 1])
def test_whole_image_is_brought_to_the_size_of_a_chip(oracle, tmp_path, fixed):
    """Averaged, or interpolated where it is smaller; each image is itself, in its place."""
    rng = np.random.default_rng(3)
    images = [np.kron(rng.integers(8, 120, (1, 6, 8)), np.ones((1, factor, factor))).astype(np.uint8) for factor in (2, 10, 1)]
    rasters = [write_raster(tmp_path / f"{number}.tif", image) for number, image in enumerate(images)]
    answers = whole(oracle, rasters, f"tx 8;ty 6;fixed {fixed}")
    assert [answer.label for answer in answers] == [f"{image.astype(float).mean():.3f}" for image in images]
    assert {answer.extras["size"] for answer in answers} == {48}
    (padded,) = whole(oracle, rasters[1:2], "tx 8;ty 6;padding 3")
    assert (padded.label, padded.extras["size"]) == (answers[1].label, 14 * 12)


def test_whole_images_of_different_bands_and_types(oracle, tmp_path):
    """The oracle stacks its chips, which arrays of different shapes would not allow."""
    made = [
        np.full((bands, 8, 8), value, dtype)
        for bands, value, dtype in ((1, 50, "uint8"), (3, 60, "uint8"), (1, 1e3, "float32"), (3, 70, "uint8"))
    ]
    answers = whole(oracle, [write_raster(tmp_path / f"{number}.tif", image) for number, image in enumerate(made)], "tx 4;ty 4")
    assert [answer.label for answer in answers] == ["50.000", "60.000", "1000.000", "70.000"]


def test_part_of_a_whole_image_and_an_empty_one(oracle, tmp_path, pixels):
    pixels[0, :, 40:] = NODATA
    raster = write_raster(tmp_path / "r.tif", pixels, nodata=NODATA)
    (answer,) = whole(oracle, [raster], "tx 4;ty 4", extent=Window(20, 20, 40, 40))
    # The right half of the part has no data, so the left half is what is seen.
    assert float(answer.label) == pytest.approx(pixels[0, 20:60, 20:40].mean(), abs=0.5)
    assert whole(oracle, [raster], "tx 4;ty 4", extent=Window(44, 0, 30, 30)) == [None]


@pytest.mark.parametrize("answers", [None, 7, [1], [[1, 2]], [["a", 0, ""]], [[float("inf"), 0, ""]], [[2, 0, "x"]], [[-5, 0, "x"], [6, 0, "x"]], [[10**15, 0, "x"]], [[1, 10**15, ""]], [[1, -5, ""]]])  # fmt: skip
def test_worker_cannot_make_up_chips(raster, pixels, oracle, monkeypatch, answers):
    """What it says of its batches decides neither how much memory is taken nor what happens to the program."""
    from deep_learning_packages.inference.classification.label_tally import LabelTally

    genuine = LabelTally.take

    def lied(self, reply, task):
        reply.message["answers"] = json.loads(json.dumps(answers))
        return genuine(self, reply, task)

    monkeypatch.setattr(LabelTally, "take", lied)
    try:
        found = classify(oracle, raster, points(1), SMALL.arguments)
    except InferenceError:
        return
    assert found.labels in ([None], [labels_of(pixels, points(1), SMALL)[0]])
