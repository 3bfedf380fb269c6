"""Packages as ArcGIS trains them: from the golden numbers beside the repository, or small ones of random weights."""

from __future__ import annotations

import ast
import atexit
import functools
import importlib.util
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from shared_data import DATA

torch = pytest.importorskip("torch")

from deep_learning_packages.worker.native import feature_classifier, retinanet, single_shot_detector, yolov3  # noqa: E402
from deep_learning_packages.worker.native.model import Model  # noqa: E402

GOLDEN = DATA / "arcgis_learn"
needs_goldens = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden numbers are not there: shared/data/arcgis_learn")
BOXES = ("fasterrcnn_resnet34", "retinanet_resnet34", "ssd_resnet34_v1", "yolov3_darknet")
FAMILIES = {
    "maskrcnn_resnet50": "MaskRCNN", "fasterrcnn_resnet34": "FasterRCNN", "retinanet_resnet34": "RetinaNet",
    "ssd_resnet34_v1": "SingleShotDetector", "yolov3_darknet": "YOLOv3", "fc_resnet34": "FeatureClassifier",
}  # fmt: skip
THRESHOLDS = {
    "maskrcnn_resnet50": 0.3,
    "fasterrcnn_resnet34": 0.3,
    "retinanet_resnet34": 0.5,
    "ssd_resnet34_v1": 0.5,
    "yolov3_darknet": 0.1,
}
"""Of the end-to-end numbers."""
WRAPPERS = {"MaskRCNN": "ArcGISInstanceDetector", "FeatureClassifier": "ArcGISObjectClassifier"}
CLASSES = [{"Value": 7, "Name": "Tree", "Color": [1, 2, 3]}, {"Value": 3, "Name": "Car", "Color": [1, 2, 3]}]
ANCHORS = [[10, 13], [16, 30], [33, 23], [30, 61], [62, 45], [59, 119], [116, 90], [156, 198], [373, 326]]
PARTICULARS: dict[str, dict[str, Any]] = {
    "RetinaNet": {"ModelConfiguration": "_RetinaNet_Inference", "ModelType": "ObjectDetection"},
    "SingleShotDetector": {
        "ModelConfiguration": "_DynamicSSD", "ModelType": "ObjectDetection", "Grids": [2, 1], "Zooms": [0.7, 1.0], "Ratios": [[1, 1], [1, 0.5]],
    },
    "YOLOv3": {"ModelConfiguration": "_yolov3_inference", "ModelType": "ObjectDetection", "ModelParameters": {"anchors": ANCHORS}},
    "FeatureClassifier": {
        "ModelConfiguration": "_FeatureClassifier", "ModelType": "ObjectClassification", "CropSizeFixed": 1, "BlackenAroundFeature": 0,
    },
}  # fmt: skip
"""Keys of the small packages, by family."""


def has_torchvision() -> bool:
    try:
        import torchvision.models.detection  # noqa: F401
    except (ImportError, RuntimeError):
        return False
    return True


def golden(name: str) -> Any:
    """A golden of a network, as a parameter of tests; those that run by torchvision are skipped without it."""
    marks = [] if FAMILIES[name] not in ("MaskRCNN", "FasterRCNN") else [
        pytest.mark.skipif(not has_torchvision(), reason="torchvision is not there (R-CNN runs by it)")
    ]  # fmt: skip
    return pytest.param(name, marks=marks, id=name)


def fill() -> Any:
    """The program that makes weights and images of nothing but names."""
    spec = importlib.util.spec_from_file_location("fill", GOLDEN / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def numbers(name: str) -> dict[str, Any]:
    with np.load(GOLDEN / f"golden_{name}.npz", allow_pickle=False) as stored:
        return dict(stored)


def golden_json(kind: str, name: str) -> Any:
    return json.loads((GOLDEN / f"{kind}_{name}.json").read_text())


def golden_state(name: str) -> dict[str, Any]:
    """The weights of a golden."""
    gains = json.loads((GOLDEN / f"gains_{name.split('_')[0]}.json").read_text())
    filler, salt, state = fill(), int(numbers(name)["salt"]), {}
    for key, shape in key_shapes(name):
        gain = next((factor for part, factor in reversed(gains) if part in key), 1.0)
        state[key] = torch.from_numpy(np.asarray(filler.value(key, shape, gain, salt)))
    return state


def key_shapes(variant: str) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the weights of one of the library's networks."""
    lines = (GOLDEN / "keys" / f"keys_{variant}.txt").read_text().splitlines()
    return [(key, ast.literal_eval(shape)) for key, shape, _ in (line.split("\t") for line in lines)]


@functools.cache
def golden_package(name: str) -> Path:
    """An unpacked package with a golden's weights, made once; not to be changed."""
    folder = Path(tempfile.mkdtemp(prefix="dlpk-test-golden-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return package(folder / name, golden_json("emd", name), golden_state(name))


def golden_image() -> Any:
    return fill().image(3, 200, 260, seed=9)


def package(folder: Path, definition: dict[str, Any], state: Any) -> Path:
    """Write a package as a folder, without the wrapper that it names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Model.emd").write_text(json.dumps({**definition, "ModelFile": "m.pth"}))
    torch.save(state, folder / "m.pth")
    return folder


def definition(family: str, **changes: Any) -> dict[str, Any]:
    """A small definition of a family; None as a value removes a key."""
    values: dict[str, Any] = {
        "Framework": "arcgis.learn.models._inferencing", "ModelFile": "m.pth", "ImageHeight": 64, "ImageWidth": 64,
        "ExtractBands": [0, 1, 2], "ImageSpaceUsed": "MAP_SPACE", "Classes": CLASSES, "ModelName": family,
        "InferenceFunction": f"{WRAPPERS.get(family, 'ArcGISObjectDetector')}.py", **PARTICULARS[family],
    }  # fmt: skip
    values["ModelParameters"] = {"backbone": "resnet18", **values.get("ModelParameters", {})}
    return {key: value for key, value in {**values, **changes}.items() if value is not None}


def random_state(values: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    """Weights that fit a definition of definition()."""
    model = Model("/nowhere/Model.emd", {**values, "ModelFile": __file__})
    torch.manual_seed(seed)
    with torch.no_grad():
        return _network(model).state_dict()


def _network(model: Model) -> Any:
    family, classes = model.values["ModelName"], len(model.class_names)
    if family == "RetinaNet":
        return retinanet.RetinaNet(model, classes, 9)
    if family == "YOLOv3":
        return yolov3.YOLOv3(model).network
    channels = {"resnet50": 2048, "mobilenet_v2": 1280, "densenet121": 1024}.get(model.backbone, 512)
    if family == "FeatureClassifier":
        shapes = {"1.2.weight": torch.empty(2 * channels), "1.4.weight": torch.empty(512, 2 * channels)}
        return feature_classifier.FeatureClassifier(model, shapes).network
    shapes = {"1.sconvs.0.conv.weight": torch.empty(256, channels, 3, 3), "0.7.": torch.empty(0)}
    return single_shot_detector.SingleShotDetector(model, shapes).network


def assert_goldens(found: list[tuple[Any, str, float]], name: str) -> None:
    """That a run found the golden features whose middle lies on the raster, each once, and no others.

    Args:
        found: Left, top, right, bottom in pixels; class; confidence.
        name: Of the golden.
    """
    wanted = []
    for each in golden_json("e2e", name):
        ring = np.asarray(each["geometry"]["rings"][0], float)
        x, y = (ring.min(0) + ring.max(0)) / 2
        if 0 <= x < 260 and 0 <= y < 200:
            wanted.append(
                (np.array([*ring.min(0), *ring.max(0)]), each["attributes"]["Class"], each["attributes"]["Confidence"], ring)
            )
    assert len(found) == len(wanted) > 100
    left = set(range(len(wanted)))
    for box, label, confidence in found:
        same = [at for at in left if wanted[at][1] == label and abs(wanted[at][2] - confidence) < 1e-3]
        low, high = np.asarray(box[:2]), np.asarray(box[2:])
        within = [at for at in same if (wanted[at][0][:2] < low + 0.01).all() and (wanted[at][0][2:] > high - 0.01).all()]
        nearest = min(within, key=lambda at: np.abs(wanted[at][0] - box).max())
        # Outlines that cross themselves are repaired: they lose their spikes, so they lie within what they were.
        is_whole = shapely.Polygon(wanted[nearest][3]).is_valid
        assert not is_whole or np.abs(wanted[nearest][0] - box).max() < 0.01
        left.remove(nearest)
