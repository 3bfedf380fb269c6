"""Packages whose answers attack: too much, too deep, of the wrong kind, and texts that want to be more than texts."""

from __future__ import annotations

import ast
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from deep_learning_packages.inference import featureset
from deep_learning_packages.inference.errors import FeatureSetError, FunctionError, InferenceError
from engine_runs import run
from packages import make_package
from rasters import write_raster

ROOT = Path(__file__).parents[2]


@pytest.fixture
def raster(tmp_path) -> Path:
    return write_raster(tmp_path / "raster.tif", np.ones((1, 32, 32), np.uint8))


def answering(folder: Path, expression: str) -> Path:
    """A package that answers what a Python expression gives."""
    return make_package(folder, f"def vectorize(self, **blocks):\n    return {{'output_vectors': {expression}}}\n")


def test_two_gigabytes(tmp_path, raster):
    with pytest.raises(FunctionError, match="answered 2048 MiB for one block, and 256 MiB are the most"):
        run(answering(tmp_path / "p", "'x' * (2 << 30)"), raster)


@pytest.mark.parametrize(
    "expression", ["'[' * (100 << 20)", "'{\"a\":' * (10 << 20)", "'{\"features\": ' + '[' * 100_000 + ']' * 100_000 + '}'"]
)
def test_deep_nesting(tmp_path, raster, expression, monkeypatch):
    monkeypatch.setattr(featureset, "free_memory", lambda: 64 << 30)
    with pytest.raises(FeatureSetError, match="nested too deeply|not JSON"):
        run(answering(tmp_path / "p", expression), raster)


def test_a_hundred_million_features(tmp_path, raster, monkeypatch):
    monkeypatch.setattr(featureset, "free_memory", lambda: 4 << 30)
    with pytest.raises(FeatureSetError, match=r"answered 190 MiB for one block, which would take more memory than is free"):
        run(answering(tmp_path / "p", "'{\"features\": [' + '0,' * (100_000_000 - 1) + '0]}'"), raster)


def feature(**changes):
    return {"attributes": {"Class": "Thing", "Confidence": 0.5}, "geometry": {"rings": [[[1, 1], [5, 1], [5, 5]]]}, **changes}


WRONG = {
    "not a number": "[[[NaN, 1], [5, 1], [5, 5]]]",
    "infinite": "[[[Infinity, 1], [5, 1], [-Infinity, 5]]]",
    "huge": "[[[1e308, 1], [-1e308, 1], [5, 1e308]]]",
    "of four hundred digits": f"[[[{'9' * 400}, 1], [5, 1], [5, 5]]]",
    "texts": '[[["a", "b"], ["c", "d"], ["e", "f"]]]',
    "numbers for rings": "[1, 2, 3]",
    "an object": '{"a": 1}',
    "a number": "7",
    "null": "null",
    "empty": "[]",
    "points with one number": "[[[1], [2], [3]]]",
    "nested": "[" * 50 + "]" * 50,
}


@pytest.mark.parametrize("rings", list(WRONG.values()), ids=list(WRONG))
def test_wrong_coordinates_are_counted_and_the_others_stay(tmp_path, raster, rings):
    answer = f'{{"features": [{{"attributes": {{}}, "geometry": {{"rings": {rings}}}}}, {json.dumps(feature())}]}}'
    outcome = run(answering(tmp_path / "p", repr(answer)), raster)
    assert len(outcome.geometries) == 1
    assert any("features of the model were" in text for text in outcome.feedback.warnings)


@pytest.mark.parametrize(
    "answer",
    [
        '{"features": [1, "a", null, [], {"geometry": 1}, {"geometry": {}, "attributes": 1}, {"attributes": {"a": 1}}]}',
        '{"features": [{"geometry": {"rings": [[[1,1],[5,1],[5,5]]]}, "attributes": {"": 1, "\\u0000": 2, "\\ud800": "\\udfff", "a": [1], "b": {"c": [2]}}}]}',
        json.dumps({"features": [feature(attributes={"n": "N"})]}).replace('"N"', "9" * 4000),
        json.dumps({"features": [feature(attributes={"n": "N"})]}).replace('"N"', "[" * 900 + "]" * 900),
    ],
)
def test_wrong_types_do_not_stop_the_run(tmp_path, raster, answer):
    assert run(answering(tmp_path / "p", repr(answer)), raster).statistics.blocks == 1


@pytest.mark.parametrize(
    "answer",
    [
        "None",
        "b'\\xff\\xfe'",
        "'\\x00'",
        "[]",
        "object()",
        "'[]'",
        "'{\"features\": {}}'",
        "'%s'" % ("9" * 5000),
        "float('nan')",
        "'\\ud800'",
    ],
)
def test_answers_that_are_no_feature_set(tmp_path, raster, answer):
    with pytest.raises((FeatureSetError, FunctionError)):
        run(answering(tmp_path / "p", answer), raster)


@pytest.mark.parametrize(
    ("method", "answers"),
    [
        ("getParameterInfo", ["None", "[1, 2]", "[{'name': {}}]", "{'a': 1}", "'text'", "[{'name': 'raster', 'dataType': ['raster']}]", "[[[]]] * 1000", "[{'name': 'x' * 10**7, 'dataType': 'string'}]"]),
        ("getConfiguration", ["None", "1", "[]", "{'tx': float('nan'), 'ty': 1}", "{'tx': 1e300, 'ty': 1}", "{'tx': '9' * 5000, 'ty': 32}", "{'tx': 32, 'ty': 32, 'extractBands': {'a': 1}}", "{'tx': 32, 'ty': 32, 'dataRange': [float('inf'), float('nan')]}"]),
        ("getFields", ["None", "'{'", "'[1, 2]'", "'{\"fields\": 7}'", "'{\"fields\": [{\"name\": [1], \"type\": {}}]}'", "'[' * 100_000"]),
        ("getGeometryType", ["None", "'polygon'", "[4]", "10**400", "float('nan')", "-1"]),
    ],
)  # fmt: skip
def test_nonsense_about_itself(tmp_path, raster, method, answers):
    """Each ends with a message of ours, or is understood; never with an error of Python's own."""
    for number, answer in enumerate(answers):
        package = make_package(tmp_path / str(number), f"def {method}(self, **scalars):\n    return {answer}\n")
        try:
            run(package, raster)
        except InferenceError as error:
            assert len(str(error)) < 20_000  # noqa: PT017


SQL = "x'); DROP TABLE gpkg_contents; --\"`"
HTML = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def test_sql_and_html_in_every_text(tmp_path, qgis_processing, provider, cache):
    """The output, its style, map tips, metadata and the report hold texts, not programs."""
    from qgis import processing
    from qgis.core import QgsVectorLayer

    raster = write_raster(tmp_path / "raster.tif", np.ones((1, 32, 32), np.uint8))
    classes = [SQL, HTML, "[% @project_path %]"]
    features = [feature(attributes={"Class": name, "Confidence": 0.5, SQL: name, HTML: name}) for name in classes]
    package = make_package(
        tmp_path / "p",
        f"def vectorize(self, **blocks):\n    return {{'output_vectors': {json.dumps({'features': features})!r}}}\n",
        {
            "ModelName": HTML + SQL,
            "Classes": [{"Value": number, "Name": name, "Color": [1, 2, 3]} for number, name in enumerate(classes)],
        },
    )
    output, report = tmp_path / "out.gpkg", tmp_path / "report.html"
    processing.run(
        "dlpk:detectobjects", {"INPUT": str(raster), "MODEL": str(package), "OUTPUT": str(output), "REPORT": str(report)}
    )
    database = sqlite3.connect(output)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert sorted(row[0] for row in database.execute('SELECT "Class" FROM "out"')) == sorted(classes)
    assert database.execute("SELECT count(*) FROM gpkg_contents").fetchone()[0] >= 1
    database.close()
    page = report.read_text()
    assert "<img src=x" not in page
    assert "<script>alert" not in page
    layer = QgsVectorLayer(str(output), "x", "ogr")
    for feature_of_layer in layer.getFeatures():
        from qgis.core import QgsExpressionContext, QgsExpressionContextUtils

        context = QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
        context.setFeature(feature_of_layer)
        tip = layer.mapTipTemplate()
        from qgis.core import QgsExpression

        shown = QgsExpression.replaceExpressionText(tip, context)
        assert "<img src=x" not in shown
        assert "<script>" not in shown


def test_host_never_unpickles_nor_evaluates():
    """In the rooms that run in QGIS nothing turns data of a package into code."""
    forbidden = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "runpy"}
    for path in [*ROOT.glob("provider/**/*.py"), *ROOT.glob("algorithms/**/*.py"), *ROOT.glob("inference/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not forbidden & {name.split(".")[0] for name in names}, path
            called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            assert called not in ("eval", "exec", "compile", "__import__"), path
            assert not (isinstance(node, ast.keyword) and node.arg == "allow_pickle"), path


def test_weights_that_execute_when_opened(tmp_path, raster):
    """A pickle is opened by the package's own code, in the sandbox; the host does not look into weights."""
    mark = tmp_path / "opened"
    evil = f"cos\nsystem\n(S'touch {mark}'\ntR."
    package = make_package(tmp_path / "p", definition={"ModelFile": "weights.pth"})
    (package / "weights.pth").write_text(evil)
    assert run(package, raster).statistics.blocks == 1
    assert not mark.exists()
