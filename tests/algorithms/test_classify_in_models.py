"""Classify objects in models, and what is said before a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from classifiers import make_classifier
from classify_runs import PLACES, RULE, classify, described, labels_in, layer_of, opened, point
from packages import ORACLE as DETECTOR
from packages import make_package
from qgis.core import (
    Qgis,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingParameterFeatureSource,
    QgsProject,
)

pytestmark = pytest.mark.usefixtures("provider")


def test_declaration(provider):
    algorithm = provider.algorithm("classifyobjects")
    assert [definition.name() for definition in algorithm.parameterDefinitions()] == [
        "INPUT", "FEATURES", "MODEL", "ARGUMENTS", "CLASS_LABEL_FIELD", "PROCESSING_MODE", "EXTENT", "MASK", "CELL_SIZE", "UNSCALE",
        "MAX_MISSING", "AUTHCFG", "ARCGIS_TRAINED", "PROCESSOR", "RESTART", "OUTPUT", "REPORT",
    ]  # fmt: skip
    assert all(definition.help() for definition in algorithm.parameterDefinitions())
    assert algorithm.parameterDefinition("CLASS_LABEL_FIELD").defaultValue() == "ClassLabel"
    assert algorithm.parameterDefinition("OUTPUT").supportsAppend()


def test_sink_properties_tell_the_fields_before_a_run(provider, raster, oracle, qgis_new_project):
    layer = layer_of([point(20, 20)], "MultiPoint", "EPSG:4326")
    QgsProject.instance().addMapLayer(layer)
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    algorithm = provider.algorithm("classifyobjects").create()
    given = {"INPUT": str(raster), "MODEL": str(oracle), "FEATURES": layer.id(), "CLASS_LABEL_FIELD": "What"}
    properties = algorithm.sinkProperties("OUTPUT", given, context, {})
    assert [field.name() for field in properties.fields] == ["number", "What", "Confidence"]
    assert (properties.wkbType, properties.crs.authid()) == (Qgis.WkbType.MultiPoint, "EPSG:4326")


def chained(**parameters: Any) -> QgsProcessingModelAlgorithm:
    """A model of this algorithm alone, with an input `some` for its features unless these are given."""
    made = QgsProcessingModelAlgorithm("classify", "tests")
    made.addModelParameter(
        QgsProcessingParameterFeatureSource("some", "Some", optional=True), QgsProcessingModelParameter("some")
    )
    child = QgsProcessingModelChildAlgorithm("dlpk:classifyobjects")
    child.setChildId("classify")
    for name, value in {"ARGUMENTS": RULE.arguments, **parameters}.items():
        child.addParameterSources(name, [QgsProcessingModelChildParameterSource.fromStaticValue(str(value))])
    if "FEATURES" not in parameters:
        child.addParameterSources("FEATURES", [QgsProcessingModelChildParameterSource.fromModelParameter("some")])
    output = QgsProcessingModelOutput("found")
    output.setChildId("classify")
    output.setChildOutputName("OUTPUT")
    child.setModelOutputs({"found": output})
    made.addChildAlgorithm(child)
    made.updateDestinationParameters()
    return made


def run_model(model: QgsProcessingModelAlgorithm, features: object, path: Path, feedback: object = None) -> str:
    from qgis import processing

    output = model.destinationParameterDefinitions()[0].name()
    return processing.run(model, {"some": features, output: str(path)}, feedback=feedback)[output]


def test_child_of_a_model(raster, oracle, labels, tmp_path, images):
    """With features, with images that have a place or none."""
    layer = layer_of([point(*place) for place in PLACES], "Point")
    features = run_model(chained(INPUT=raster, MODEL=oracle), layer, tmp_path / "features.gpkg")
    assert labels_in(opened(features)) == labels
    folder = run_model(chained(INPUT=tmp_path / "images", MODEL=oracle), None, tmp_path / "images.gpkg")
    assert described(opened(folder)) == images
    table = run_model(chained(INPUT=tmp_path / "images" / "plain.tif", MODEL=oracle), None, tmp_path / "table.gpkg")
    assert (opened(table).isSpatial(), described(opened(table))) == (False, {"plain.tif": 70.0})


def test_child_of_a_model_is_checked(raster, oracle, tmp_path):
    feedback = QgsProcessingFeedback(False)
    with pytest.raises(QgsProcessingException):
        run_model(chained(INPUT=raster, MODEL=oracle, FEATURES="/gone.gpkg"), None, tmp_path / "none.gpkg", feedback)
    assert "FEATURES cannot be read" in feedback.textLog()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"FEATURES": "/gone.gpkg"}, "FEATURES cannot be read"),
        ({"FEATURES": "no such layer"}, "FEATURES cannot be read"),
        ({"INPUT": "/gone.tif"}, "cannot be opened"),
        ({"INPUT": None}, "No raster was given"),
        ({"MODEL": "/gone.dlpk"}, "/gone.dlpk does not exist"),
        ({"ARGUMENTS": "{oops"}, "not valid JSON"),
        ({"OUTPUT": "/gone/o.gpkg"}, "/gone does not exist"),
        ({"PROCESSING_MODE": "SOMEHOW"}, "PROCESSING_MODE"),
        ({"MAX_MISSING": 101}, "from 0 to 100"),
    ],
)
def test_bad_values_are_told_before_anything_runs(provider, raster, oracle, parameters, message):
    algorithm = provider.algorithm("classifyobjects").create()
    complete = {"INPUT": str(raster), "MODEL": str(oracle), "OUTPUT": "memory:", **parameters}
    valid, said = algorithm.checkParameterValues(complete, QgsProcessingContext())
    assert not valid
    assert message in said


def test_table_as_features(provider, raster, oracle, tmp_path):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    algorithm = provider.algorithm("classifyobjects").create()
    given = {"INPUT": str(raster), "MODEL": str(oracle), "OUTPUT": "memory:", "FEATURES": str(tmp_path / "table.csv")}
    valid, said = algorithm.checkParameterValues(given, QgsProcessingContext())
    assert (valid, "FEATURES (table" in said, "without geometry" in said) == (False, True, True)


def test_wrong_kind_of_model(raster, oracle, tmp_path):
    from qgis import processing

    layer = layer_of([point(20, 20)], "Point")
    with pytest.raises(QgsProcessingException, match=r"Package \(ObjectDetection\) detects objects.*dlpk:detectobjects instead"):
        classify(raster, make_package(tmp_path / "detector", DETECTOR), layer)
    with pytest.raises(
        QgsProcessingException, match=r"Package \(ObjectClassification\) classifies objects.*dlpk:classifyobjects instead"
    ):
        processing.run(
            "dlpk:detectobjects",
            {"INPUT": str(raster), "MODEL": str(oracle), "OUTPUT": "memory:"},
            feedback=QgsProcessingFeedback(False),
        )


def test_failing_run_leaves_the_old_output_and_goes_on(raster, tmp_path, cache, labels):
    """What was there stays until there is something better; labels that were found are not sought again."""
    broken = "def vectorize(self, **blocks):\n    raise ValueError('oops')\n"
    output = tmp_path / "o.gpkg"
    output.write_bytes(b"precious")
    layer = layer_of([point(*place) for place in PLACES], "Point")
    with pytest.raises(QgsProcessingException, match="ValueError: oops"):
        classify(raster, make_classifier(tmp_path / "p", broken), layer, OUTPUT=output)
    assert output.read_bytes() == b"precious"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert not list((cache / "features").iterdir())
