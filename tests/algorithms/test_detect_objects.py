"""The algorithm inside QGIS: declaration, memory layers, cancelling, appending, the consent question."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from deep_learning_packages.algorithms.output import qgis_fields
from deep_learning_packages.algorithms.task import InferenceTask
from deep_learning_packages.inference.fields import Field
from engine_runs import make_plan
from packages import ORACLE, make_package
from qgis.core import (
    NULL,
    Qgis,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProject,
    QgsProperty,
    QgsRasterLayer,
    QgsRemappingSinkDefinition,
    QgsVectorLayer,
)
from rasters import draw, write_raster


@pytest.fixture
def raster(tmp_path):
    pixels = np.zeros((1, 120, 160), np.uint16)
    for number, box in enumerate([(20, 30, 30, 36), (60, 30, 68, 40), (62, 90, 70, 99)], 1):
        draw(pixels[0], box, number)
    return write_raster(tmp_path / "raster.tif", pixels)


@pytest.fixture
def package(tmp_path):
    return make_package(tmp_path / "package", ORACLE)


def run(parameters, feedback=None):
    from qgis import processing

    return processing.run("dlpk:detectobjects", parameters, feedback=feedback or QgsProcessingFeedback())


def test_declaration(provider):
    algorithm = provider.algorithm("detectobjects")
    assert algorithm.id() == "dlpk:detectobjects"
    names = [definition.name() for definition in algorithm.parameterDefinitions()]
    assert names == [
        "INPUT", "MODEL", "ARGUMENTS", "NMS", "CONFIDENCE_FIELD", "CLASS_FIELD", "MAX_OVERLAP",
        "CLASSES", "PROCESSING_MODE", "EXTENT", "MASK", "CELL_SIZE", "UNSCALE", "MAX_MISSING", "AUTHCFG",
        "ARCGIS_TRAINED", "PROCESSOR", "RESTART", "OUTPUT", "REPORT",
    ]  # fmt: skip
    assert all(definition.help() for definition in algorithm.parameterDefinitions())
    assert algorithm.parameterDefinition("OUTPUT").supportsAppend()
    defaults = {
        name: algorithm.parameterDefinition(name).defaultValue()
        for name in ("NMS", "CONFIDENCE_FIELD", "MAX_OVERLAP", "ARCGIS_TRAINED", "PROCESSOR")
    }
    assert defaults == {
        "NMS": False,
        "CONFIDENCE_FIELD": "Confidence",
        "MAX_OVERLAP": 0.0,
        "ARCGIS_TRAINED": "NATIVE",
        "PROCESSOR": "AUTO",
    }


def test_memory_layer_from_a_layer_of_the_project(provider, raster, package, qgis_new_project):
    layer = QgsRasterLayer(str(raster), "image")
    QgsProject.instance().addMapLayer(layer)
    for value in (layer, layer.id(), "image", str(raster), [str(raster)]):
        found = run({"INPUT": value, "MODEL": str(package), "ARGUMENTS": {"padding": 16}, "NMS": True, "OUTPUT": "memory:"})[
            "OUTPUT"
        ]
        assert (found.featureCount(), found.crs().authid(), found.wkbType()) == (3, "EPSG:32633", Qgis.WkbType.Polygon)
        assert [(field.name(), field.typeName()) for field in found.fields()] == [("Class", "string"), ("Confidence", "double")]
    boxes = sorted(feature.geometry().boundingBox().toString(1) for feature in found.getFeatures())
    assert boxes[0] == "500010.0,3999982.0 : 500015.0,3999985.0"


def test_crs_that_the_user_gave_to_the_layer_counts(provider, raster, package, qgis_new_project):
    from qgis.core import QgsCoordinateReferenceSystem

    layer = QgsRasterLayer(str(raster), "image")
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:25833"))
    QgsProject.instance().addMapLayer(layer)
    found = run({"INPUT": layer, "MODEL": str(package), "OUTPUT": "memory:"})["OUTPUT"]
    assert found.crs().authid() == "EPSG:25833"


POINTS = """
def getGeometryType(self):
    return 1

def getFields(self):
    kinds = {"Name": "String", "Count": "Integer", "Big": "BigInteger", "When": "Date", "Picture": "Blob", "Ratio": "Single"}
    return json.dumps([{"name": name, "type": "esriFieldType" + kind, "alias": name + "!"} for name, kind in kinds.items()])

def vectorize(self, **blocks):
    whole = {"Name": "a", "Count": "3", "Big": 2**40, "When": 86400000, "Picture": "AAEC", "Ratio": "0,5", "Reason": "seen"}
    features = [{"attributes": whole, "geometry": {"x": 1, "y": 2}}, {"attributes": {"Count": "x"}, "geometry": {"x": 3, "y": 4}}]
    return {"output_vectors": json.dumps({"features": features})}
"""


def test_points_and_all_kinds_of_fields(provider, raster, tmp_path):
    """CONTRACT 7: types by Esri's names; undeclared attributes come along; unreadable values become NULL."""
    package = make_package(tmp_path / "points", POINTS)
    output = run({"INPUT": str(raster), "MODEL": str(package), "ARGUMENTS": "tile 200", "OUTPUT": str(tmp_path / "points.gpkg")})
    layer = QgsVectorLayer(output["OUTPUT"])
    first, second = layer.getFeatures()
    assert layer.wkbType() == Qgis.WkbType.Point
    assert (first["Name"], first["Count"], first["Big"], first["Ratio"], first["Reason"]) == ("a", 3, 2**40, 0.5, "seen")
    assert first["When"].toSecsSinceEpoch() == 86400
    assert bytes(first["Picture"]) == b"\0\1\2"
    assert [second["Count"], second["Name"]] == [NULL, NULL]
    assert qgis_fields([Field("Name", "text", "Name!")]).field(0).alias() == "Name!"


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "fgb", "geojson"])
def test_all_kinds_of_fields_in_all_formats(provider, raster, tmp_path, suffix):
    package = make_package(tmp_path / "points", POINTS)
    path = str(tmp_path / f"points.{suffix}")
    run({"INPUT": str(raster), "MODEL": str(package), "ARGUMENTS": "tile 200", "OUTPUT": path})
    layer = QgsVectorLayer(path)
    assert sorted(str(feature["Name"]) for feature in layer.getFeatures()) == ["NULL", "a"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("When", 1e20),
        ("When", 1e300),
        ("When", -1e18),
        ("Count", 1e300),
        ("Count", 2**40),
        ("Big", 10**30),
        ("Ratio", "x"),
        ("Ratio", 1e999),
    ],
)
def test_values_beyond_their_kind_become_null(provider, raster, tmp_path, field, value):
    code = (
        POINTS
        + f"\ndef vectorize(self, **blocks):\n    inf = float('inf')\n    feature = {{'attributes': {{{field!r}: {value!r}}}, 'geometry': {{'x': 1, 'y': 2}}}}\n    return {{'output_vectors': json.dumps({{'features': [feature]}})}}\n"
    )
    found = run(
        {"INPUT": str(raster), "MODEL": str(make_package(tmp_path / "p", code)), "ARGUMENTS": "tile 200", "OUTPUT": "memory:"}
    )
    assert [feature[field] for feature in found["OUTPUT"].getFeatures()] == [NULL]


def test_expressions_are_evaluated(provider, raster, package):
    parameters = {"INPUT": str(raster), "MODEL": str(package), "NMS": True, "OUTPUT": "memory:"}
    found = run({**parameters, "ARGUMENTS": QgsProperty.fromExpression("'padding ' || (8 + 8)")})["OUTPUT"]
    assert found.featureCount() == 3


def test_child_of_a_model(provider, raster, package, tmp_path):
    """A model calls no checkParameterValues: its children are checked all the same."""
    from qgis import processing
    from qgis.core import (
        QgsProcessingModelAlgorithm,
        QgsProcessingModelChildAlgorithm,
        QgsProcessingModelChildParameterSource,
        QgsProcessingModelOutput,
    )

    def model(**parameters):
        made = QgsProcessingModelAlgorithm("detect", "tests")
        child = QgsProcessingModelChildAlgorithm("dlpk:detectobjects")
        child.setChildId("detect")
        values = {"INPUT": str(raster), "MODEL": str(package), "ARGUMENTS": "padding 16", "NMS": True, **parameters}
        for name, value in values.items():
            child.addParameterSources(name, [QgsProcessingModelChildParameterSource.fromStaticValue(value)])
        output = QgsProcessingModelOutput("found")
        output.setChildId("detect")
        output.setChildOutputName("OUTPUT")
        child.setModelOutputs({"found": output})
        made.addChildAlgorithm(child)
        made.updateDestinationParameters()
        return made

    made = model()
    name = made.destinationParameterDefinitions()[0].name()
    result = processing.run(made, {name: str(tmp_path / "found.gpkg")})
    assert QgsVectorLayer(result[name]).featureCount() == 3
    for wrong, message in (
        ({"MAX_OVERLAP": 1.5}, "from 0 to 1, but 1.5"),
        ({"PROCESSOR": "gpu"}, "PROCESSOR"),
        ({"CELL_SIZE": "abc"}, "0 or more"),
    ):
        feedback = QgsProcessingFeedback(False)
        with pytest.raises(QgsProcessingException):
            processing.run(model(**wrong), {name: "memory:"}, feedback=feedback)
        assert message in feedback.textLog()


def test_results_are_added_to_an_existing_layer(provider, raster, package, tmp_path):
    """Through a field mapping, as the dialog makes it; without the cure attributes would be NULL."""
    target = tmp_path / "target.gpkg"
    first = run({"INPUT": str(raster), "MODEL": str(package), "ARGUMENTS": "padding 16", "NMS": True, "OUTPUT": str(target)})
    existing = QgsVectorLayer(f"{target}|layername=target")
    mapping = {name: QgsProperty.fromField(name) for name in ("Class", "Confidence")}
    remapping = QgsRemappingSinkDefinition()
    remapping.setFieldMap(mapping)
    remapping.setDestinationFields(existing.fields())
    remapping.setDestinationCrs(existing.crs())
    remapping.setDestinationWkbType(existing.wkbType())
    sink = QgsProcessingOutputLayerDefinition(f"ogr:dbname='{target}' table=\"target\" (geom)")
    sink.setRemappingDefinition(remapping)
    run({"INPUT": str(raster), "MODEL": str(package), "ARGUMENTS": "padding 16", "NMS": True, "OUTPUT": sink})
    again = QgsVectorLayer(f"{target}|layername=target")
    assert again.featureCount() == 6
    assert {feature["Class"] for feature in again.getFeatures()} == {"Box"}
    assert first["OUTPUT"]


def test_sink_properties_tell_the_fields_before_a_run(provider, raster, package):
    context = QgsProcessingContext()
    algorithm = provider.algorithm("detectobjects").create()
    properties = algorithm.sinkProperties("OUTPUT", {"INPUT": str(raster), "MODEL": str(package)}, context, {})
    assert [field.name() for field in properties.fields] == ["Class", "Confidence"]
    assert properties.crs.authid() == "EPSG:32633"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"MAX_OVERLAP": 1.5}, "must be a number, from 0 to 1, but 1.5"),
        ({"MAX_OVERLAP": QgsProperty.fromExpression("1 + 0.5")}, "from 0 to 1, but 1.5"),
        ({"CELL_SIZE": "abc"}, "0 or more, but abc"),
        ({"MODEL": "/gone.dlpk"}, "/gone.dlpk does not exist"),
        ({"INPUT": "/gone.tif"}, "cannot be opened"),
        ({"INPUT": None}, "No raster was given"),
        ({"ARGUMENTS": "{oops"}, "not valid JSON"),
        ({"OUTPUT": "/gone/o.gpkg"}, "/gone does not exist"),
        ({"PROCESSOR": "TPU"}, "The value TPU of Processor (PROCESSOR) cannot be used"),
    ],
)
def test_bad_values_are_told_before_anything_runs(provider, raster, package, parameters, message):
    algorithm = provider.algorithm("detectobjects").create()
    complete = {"INPUT": str(raster), "MODEL": str(package), "OUTPUT": "memory:", **parameters}
    valid, said = algorithm.checkParameterValues(complete, QgsProcessingContext())
    assert not valid
    assert message in said


def test_cancel_in_the_middle_of_a_block(provider, raster, tmp_path):
    package = make_package(tmp_path / "slow", "def vectorize(self, **blocks):\n    import time\n    time.sleep(60)\n")
    feedback = QgsProcessingFeedback()
    times = {}

    def cancel():
        times["canceled"] = time.monotonic()
        feedback.cancel()

    threading.Timer(1.5, cancel).start()
    with pytest.raises(QgsProcessingException, match="cancelled"):
        run({"INPUT": str(raster), "MODEL": str(package), "OUTPUT": "memory:"}, feedback)
    assert time.monotonic() - times["canceled"] < 1.0


def test_progress_arrives_while_it_runs(provider, raster, package):
    feedback, seen = QgsProcessingFeedback(), []
    feedback.progressChanged.connect(seen.append)
    run({"INPUT": str(raster), "MODEL": str(package), "OUTPUT": "memory:"}, feedback)
    assert len(seen) >= 20
    assert seen == sorted(seen)
    assert seen[-1] == 100


def test_task_never_raises(tmp_path, raster):
    """An exception that left run() would end qgis_process; it is kept for the caller."""
    package = make_package(tmp_path / "p", "def initialize(self, **scalars):\n    raise ValueError('oops')\n")
    plan = make_plan(package, raster)
    task = InferenceTask(plan, QgsProcessingFeedback())
    assert task.run() is False
    assert "ValueError: oops" in str(task.error)
    task.close()
    plan.items[0].source.close()


def test_task_in_a_task_manager(qgis_app, tmp_path, raster, package):
    """Other plugins may run the same task in the background."""
    from qgis.core import QgsTaskManager
    from qgis.PyQt.QtCore import QCoreApplication

    plan, manager = make_plan(package, raster, "padding 16"), QgsTaskManager()
    task = InferenceTask(plan, QgsProcessingFeedback())
    manager.addTask(task)
    end = time.monotonic() + 20
    while task.status() not in (task.TaskStatus.Complete, task.TaskStatus.Terminated) and time.monotonic() < end:
        QCoreApplication.processEvents()
        time.sleep(0.01)
    assert task.error is None
    assert task.result.count >= 3
    task.close()
    plan.items[0].source.close()
