"""dlpk:inspectpackage: what it tells with and without running the package's code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from packages import make_package
from qgis import processing
from qgis.core import QgsProcessingFeedback

SAMPLE = Path(__file__).parents[2] / "resources" / "sample" / "tree_crowns.dlpk"


def inspect(**parameters):
    feedback = QgsProcessingFeedback()
    values = {name: value if isinstance(value, bool) else str(value) for name, value in parameters.items()}
    return processing.run("dlpk:inspectpackage", values, feedback=feedback), feedback.textLog()


def test_sample(provider, cache, tmp_path):
    results, log = inspect(MODEL=SAMPLE, OUTPUT_HTML=tmp_path / "page.html")
    assert results == json.loads(json.dumps(results))
    assert (results["NAME"], results["MODEL_TYPE"], results["CLASS_COUNT"]) == ("Tree crowns", "ObjectDetection", 1)
    assert results["CLASSES"] == [{"value": "1", "name": "Tree", "color": [76, 175, 80]}]
    threshold = next(each for each in results["ARGUMENTS"] if each["name"] == "threshold")
    assert (threshold["kind"], threshold["default"], threshold["minimum"], threshold["maximum"]) == ("number", "0.35", 0.0, 1.0)
    assert results["REQUIREMENTS"]["torch"].startswith("2.")
    assert (results["MISSING"], results["PROBLEMS"], results["DEVICE"]) == ([], [], "CPU")
    for line in (
        "threshold: number (0 to 1), default 0.35 - Less certain",
        "1: Tree (#4caf50)",
        "Trained on a cell size of: 10 cm",
        "Geometry: Polygon",
    ):
        assert line in log
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for text in ("Tree crowns", "threshold", "rgb(76, 175, 80)", results["SHA256"], "0 … 1"):
        assert text in page


def test_without_running_code(provider, cache, tmp_path):
    """Nothing of the package runs, not even where it is broken; what its files tell is told."""
    package = make_package(
        tmp_path / "p", code="raise SystemExit('ran')\nimport no_such_library\n", definition={"ModelName": "Broken"}
    )
    results, log = inspect(MODEL=package, RUN_CODE=False)
    assert results["ARGUMENTS"] is None
    assert results["MISSING"] == ["no_such_library"]
    assert "RUN_CODE is off" in log
    assert "ran" not in log.split()


def test_arguments_that_are_known_are_told_without_running_code_again(provider, cache):
    assert inspect(MODEL=SAMPLE, RUN_CODE=True)[0]["ARGUMENTS"] == inspect(MODEL=SAMPLE, RUN_CODE=False)[0]["ARGUMENTS"]


def test_code_that_fails_is_a_problem_not_an_error(provider, cache, tmp_path):
    package = make_package(
        tmp_path / "p", "def initialize(self, **s):\n    raise OSError('no weights')\n", {"ModelType": "ClassifyPixels"}
    )
    results, log = inspect(MODEL=package)
    assert results["ARGUMENTS"] is None
    assert any("no weights" in problem for problem in results["PROBLEMS"])
    assert any("ModelType is 'ClassifyPixels'" in problem for problem in results["PROBLEMS"])
    assert "no weights" in log


def test_python_that_is_not_there(provider, cache, monkeypatch, tmp_path):
    """The package's own facts need no Python; that there is none is a problem."""
    monkeypatch.setenv("DLPK_PYTHON", str(tmp_path / "gone"))
    results, log = inspect(MODEL=SAMPLE)
    assert results["CLASS_COUNT"] == 1
    assert set(results["REQUIREMENTS"]) == {"numpy", "torch"}
    assert any("gone" in problem and "does not start" in problem for problem in results["PROBLEMS"])
    assert "does not start" in log


def test_page_that_cannot_be_written(provider, cache, tmp_path):
    with pytest.raises(Exception, match="cannot be written"):
        inspect(MODEL=SAMPLE, OUTPUT_HTML="/proc/page.html")
