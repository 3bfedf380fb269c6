"""The sample packages of the town, through the real qgis_process: detected, classified, chained by the model."""

from __future__ import annotations

import re
import subprocess
from collections import Counter

import pytest
from osgeo import ogr
from qgis_process_runs import SAMPLE, trust

pytest.importorskip("torch")
POINTS = SAMPLE / "town_points.gpkg"


@pytest.fixture
def process(environment):
    """Run an algorithm; what it printed."""
    for name in ("urban_trees", "tree_check"):
        trust(environment, SAMPLE / f"{name}.dlpk")

    def run(algorithm: str, **parameters: object) -> str:
        options = [f"--{name}={value}" for name, value in parameters.items()]
        command = ["qgis_process", "run", f"dlpk:{algorithm}", *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def rows(path):
    layer = ogr.Open(str(path))
    return [feature.items() for feature in layer.GetLayer(0)]


def test_inventory(process, tmp_path):
    """The points of the inventory and random places, as docs/sample-model.md tells of them; with a report."""
    output, report = tmp_path / "checked.gpkg", tmp_path / "report.html"
    printed = process(
        "classifyobjects",
        INPUT=SAMPLE / "town.tif",
        FEATURES=POINTS,
        MODEL=SAMPLE / "tree_check.dlpk",
        OUTPUT=output,
        REPORT=report,
    )
    assert "Features: 140, of which 140 have a label now" in printed
    found = rows(output)
    assert Counter((row["origin"], row["ClassLabel"]) for row in found) == {
        ("inventory", "Tree"): 67, ("inventory", "NoTree"): 3, ("random", "Tree"): 6, ("random", "NoTree"): 64,
    }  # fmt: skip
    assert [row["id"] for row in found] == [row["id"] for row in rows(POINTS)]
    assert all(0.5 <= row["Confidence"] <= 1 for row in found)
    page = report.read_text(encoding="utf-8")
    assert re.findall(r"<h2>(.*?)</h2>", page)[:5] == [
        "Classes", "Map", "Confidence", "Least certain of Tree", "Least certain of NoTree"
    ]  # fmt: skip
    doubts = [float(number) for number in re.findall(r"<figcaption>Tree ([\d.]+)</figcaption>", page)]
    assert len(doubts) == 6
    lowest = sorted(row["Confidence"] for row in found if row["ClassLabel"] == "Tree")[:6]
    assert doubts == pytest.approx(lowest, abs=5e-4)
    assert page.count("data:image/jpeg") == 1 + 12


def test_detect_and_classify(process, tmp_path):
    """The model that comes with the plugin gives what both algorithms give one after the other."""
    detector, classifier = SAMPLE / "urban_trees.dlpk", SAMPLE / "tree_check.dlpk"
    chained, found, labelled = (tmp_path / f"{name}.gpkg" for name in ("chained", "found", "labelled"))
    process(
        "detectandclassify", INPUT=SAMPLE / "town.tif", DETECTOR=detector, DETECTOR_ARGUMENTS="threshold 0.5", CLASSIFIER=classifier,
        classified_objects=chained,
    )  # fmt: skip
    process("detectobjects", INPUT=SAMPLE / "town.tif", MODEL=detector, ARGUMENTS="threshold 0.5", OUTPUT=found)
    process("classifyobjects", INPUT=SAMPLE / "town.tif", FEATURES=found, MODEL=classifier, OUTPUT=labelled)
    assert 5 < len(rows(chained)) < 107
    assert [(row["Class"], row["ClassLabel"], row["Confidence_1"]) for row in rows(chained)] == [
        (row["Class"], row["ClassLabel"], row["Confidence_1"]) for row in rows(labelled)
    ]


def test_whole_images(process, tmp_path):
    """The town as one image: one row, with its outline."""
    output = tmp_path / "images.gpkg"
    process("classifyobjects", INPUT=SAMPLE / "town.tif", MODEL=SAMPLE / "tree_check.dlpk", OUTPUT=output)
    (row,) = rows(output)
    assert (row["ImageId"], row["Image"]) == (1, "town.tif")
    assert row["ClassLabel"] in ("Tree", "NoTree")
    layer = ogr.Open(str(output))
    assert layer.GetLayer(0).GetExtent() == pytest.approx((602169.6, 602323.2, 4400771.4, 4400925.0), abs=1e-3)
