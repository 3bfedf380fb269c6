"""Packages that ArcGIS trained, through Processing: what runs them, what is told of them, whom they are trusted by."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import shapely
import trained
from classify_runs import layer_of, on_the_map
from deep_learning_packages.algorithms import consent, settings
from deep_learning_packages.inference.arcgis_trained import chosen
from deep_learning_packages.inference.package import open_package
from deep_learning_packages.inference.sandbox import Sandbox
from deep_learning_packages.worker import native
from engine_runs import Recorder
from qgis import processing
from qgis.core import QgsApplication, QgsProcessingException, QgsProcessingFeedback, QgsSettings
from qgis.PyQt.QtCore import QMetaType
from rasters import write_raster

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("provider")
SIDE = 96
LOW = "threshold 0.3;batch_size 4;padding 8"


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(4).integers(0, 256, (3, SIDE, SIDE)).astype(np.uint8)


@pytest.fixture
def raster(tmp_path, pixels):
    return write_raster(tmp_path / "r.tif", pixels)


@pytest.fixture
def make(tmp_path):
    """A package of a family, with random weights."""

    def package(family="RetinaNet", **changes):
        values = trained.definition(family, **changes)
        known = trained.definition(family)
        return trained.package(tmp_path / family, values, trained.random_state(known))

    return package


def call(algorithm, **parameters):
    feedback = QgsProcessingFeedback(False)
    values = {
        name: value if isinstance(value, bool) or not hasattr(value, "joinpath") else str(value)
        for name, value in parameters.items()
    }
    return processing.run(f"dlpk:{algorithm}", values, feedback=feedback), feedback.textLog()


def test_detects_natively(raster, make):
    """By default, with no wrapper in the package; the log says by what, the layer's metadata too."""
    results, log = call("detectobjects", INPUT=raster, MODEL=make(), ARGUMENTS=LOW, OUTPUT="memory:")
    layer = results["OUTPUT"]
    assert "Trained in ArcGIS, run natively by RetinaNet: no code of the package runs" in log
    assert [field.name() for field in layer.fields()] == ["Class", "Confidence"]
    assert layer.featureCount() > 5
    assert {feature["Class"] for feature in layer.getFeatures()} <= {"Tree", "Car"}
    assert all(30 <= feature["Confidence"] <= 100 for feature in layer.getFeatures())
    assert "run natively by RetinaNet" in layer.metadata().abstract()


def test_own_program_where_it_is_wanted(raster, make):
    with pytest.raises(QgsProcessingException, match=r"needs the Python library arcgis.*_RetinaNet_Inference"):
        call("detectobjects", INPUT=raster, MODEL=make(), ARCGIS_TRAINED="PACKAGE", OUTPUT="memory:")


def test_the_option_is_the_default():
    """What is saved in the options is what a dialog, a script and the command line begin with."""

    def default():
        algorithm = QgsApplication.processingRegistry().createAlgorithmById("dlpk:detectobjects")
        return algorithm.parameterDefinition("ARCGIS_TRAINED").defaultValue()

    try:
        assert default() == "NATIVE"
        settings.save(replace(settings.load(), arcgis_trained="PACKAGE"))
        assert (default(), settings.load().arcgis_trained) == ("PACKAGE", "PACKAGE")
        QgsSettings().setValue(f"{settings.GROUP}/arcgis_trained", "nonsense")
        assert default() == "NATIVE"
    finally:
        QgsSettings().remove(settings.GROUP)


@pytest.mark.parametrize("changes", [{"ModelName": "MMDetection", "ModelConfiguration": "_model_extension_inferencing"}])
def test_unknown_networks_are_refused_before_any_work(raster, make, tmp_path, changes):
    output = tmp_path / "old.gpkg"
    output.write_bytes(b"what the user had")
    with pytest.raises(
        QgsProcessingException, match="trained in ArcGIS as MMDetection, which cannot run natively.*ARCGIS_TRAINED=PACKAGE"
    ):
        call("detectobjects", INPUT=raster, MODEL=make(**changes), OUTPUT=str(output))
    assert output.read_bytes() == b"what the user had"


def test_classifies_natively(raster, make, pixels):
    """Labels and confidences are those of the network for the chips around the features."""
    package, places = make("FeatureClassifier"), [(40, 40), (33.2, 60.9), (64, 33)]
    results, log = call("classifyobjects", INPUT=raster, MODEL=package, FEATURES=layer_of([on_the_map(shapely.Point(at)) for at in places]),
                        OUTPUT="memory:")  # fmt: skip
    made = native.create("FeatureClassifier")
    made.initialize(model=str(package / "Model.emd"), device=-1)
    chips = [pixels[:, round(y) - 32 : round(y) + 32, round(x) - 32 : round(x) + 32] for x, y in places]
    with torch.inference_mode():
        scores = made.network.scores(torch.from_numpy(np.stack(chips).astype(np.float32))).numpy()
    rows = sorted(results["OUTPUT"].getFeatures(), key=lambda feature: feature["number"])
    assert [row["ClassLabel"] for row in rows] == [["Tree", "Car"][number] for number in scores.argmax(1)]
    assert [float(row["Confidence"]) for row in rows] == pytest.approx(scores.max(1).tolist(), abs=1e-5)
    assert "run natively by FeatureClassifier" in log


@pytest.mark.parametrize("threshold", ["0", "1"])
def test_several_labels_are_text(raster, make, threshold):
    """Also where no object comes to have two: the fields of all runs of a model are alike."""
    package = make("FeatureClassifier", MetaDataMode="MultiLabeled_Tiles")
    results, _ = call("classifyobjects", INPUT=raster, MODEL=package, FEATURES=layer_of([on_the_map(shapely.Point(40, 40))]),
                      ARGUMENTS=f"threshold {threshold}", OUTPUT="memory:")  # fmt: skip
    fields = results["OUTPUT"].fields()
    assert fields.field("Confidence").type() == fields.field("ClassLabel").type() == QMetaType.Type.QString
    row = next(results["OUTPUT"].getFeatures())
    labels, confidences = str(row["ClassLabel"] or ""), str(row["Confidence"] or "")
    assert (labels, len(confidences.split(";"))) == (("Tree;Car", 2) if threshold == "0" else ("", 1))


def test_chips_that_are_too_small_cost_no_others(raster, make):
    """One small feature among many keeps its place in the result, without a label."""
    package = make("FeatureClassifier", ModelParameters={"backbone": "vgg11"}, CropSizeFixed=0)
    trained.package(package, values := json.loads((package / "Model.emd").read_text()), trained.random_state(values))
    shapes = [shapely.box(20, 20, 70, 70), shapely.box(40, 40, 44, 44), shapely.box(10, 30, 60, 80)]
    results, log = call("classifyobjects", INPUT=raster, MODEL=package, FEATURES=layer_of([on_the_map(each) for each in shapes], "Polygon"),
                        OUTPUT="memory:")  # fmt: skip
    labels = {row["number"]: row["ClassLabel"] for row in results["OUTPUT"].getFeatures()}
    assert [label in ("Tree", "Car") for _, label in sorted(labels.items())] == [True, False, True]
    assert "is too small for this network, which takes 32 or more" in log


def test_inspection_of_a_package_that_runs_natively(make, tmp_path, cache):
    package, page = make(), tmp_path / "page.html"
    results, log = call("inspectpackage", MODEL=package, OUTPUT_HTML=page)
    assert results["RUNS"] == "NATIVE"
    assert "native: RetinaNet of the plugin; no code of the package runs" in log
    assert [each["name"] for each in results["ARGUMENTS"]][:3] == ["padding", "threshold", "nms_overlap"]
    assert (list(results["REQUIREMENTS"]), results["MISSING"], results["PROBLEMS"]) == (["torch"], [], [])
    assert "native: RetinaNet" in page.read_text(encoding="utf-8")
    assert json.loads(json.dumps(results)) == results


def test_inspection_of_a_package_that_cannot_run(make, cache):
    results, log = call("inspectpackage", MODEL=make(ModelName="DETReg", ModelConfiguration="_model_extension_inferencing"))
    assert (results["RUNS"], results["ARGUMENTS"]) == ("UNSUPPORTED", None)
    assert "trained in ArcGIS as DETReg" in results["PROBLEMS"][0]
    assert "unsupported: " in log
    results, _ = call("inspectpackage", MODEL=make(), ARCGIS_TRAINED="PACKAGE", RUN_CODE=False)
    assert (results["RUNS"], list(results["REQUIREMENTS"])) == ("PACKAGE", ["arcgis"])


def test_inspection_names_what_a_network_lacks(make, cache):
    results, _ = call(
        "inspectpackage", MODEL=make(ModelName="MaskRCNN", ModelConfiguration="_maskrcnn_inferencing"), RUN_CODE=False
    )
    assert results["RUNS"] == "NATIVE"
    assert list(results["REQUIREMENTS"]) == ["torch", "torchvision"]
    assert ("torchvision" in results["MISSING"]) is not trained.has_torchvision()


@pytest.fixture
def question():
    yield consent.set_question
    consent.set_question(None)


def test_nobody_is_asked_where_no_code_runs(make, question):
    """Without a sandbox, too: there is nothing to trust but tensors."""
    question(lambda package, reason: pytest.fail("asked"))
    hosting = settings.hosting()
    bare, told = replace(hosting, sandbox=Sandbox(None, "there is none")), Recorder()
    assert consent.allowed(chosen(open_package(make()), "NATIVE"), bare, told) == bare
    assert told.warnings == []
    question(lambda package, reason: False)
    with pytest.raises(Exception, match="you did not allow it"):
        consent.allowed(chosen(open_package(make()), "PACKAGE"), bare, told)
