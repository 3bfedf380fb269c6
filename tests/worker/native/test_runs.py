"""Packages that ArcGIS trained, run by real workers: whole rasters, bands, sizes, refusals. No code of theirs runs."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trained
from deep_learning_packages.inference.arcgis_trained import NATIVE, PACKAGE, chosen
from deep_learning_packages.inference.errors import FunctionError, InferenceError, OutOfMemoryError, PackageError
from deep_learning_packages.inference.grid import Window
from deep_learning_packages.inference.interpreter import find_interpreter
from deep_learning_packages.inference.package import open_package
from deep_learning_packages.inference.raster_function import RasterFunction
from deep_learning_packages.inference.run import run_plan
from deep_learning_packages.inference.sandbox import Sandbox
from deep_learning_packages.inference.slots import Slots
from deep_learning_packages.inference.worker_errors import reported
from engine_runs import Recorder, make_plan
from rasters import write_raster
from trained import FAMILIES, THRESHOLDS, golden

torch = pytest.importorskip("torch")

from deep_learning_packages.worker import native  # noqa: E402
from deep_learning_packages.worker.host import FunctionHost  # noqa: E402
from deep_learning_packages.worker.native.errors import NativeError  # noqa: E402
from deep_learning_packages.worker.native.families import known  # noqa: E402
from deep_learning_packages.worker.native.model import Model  # noqa: E402
from deep_learning_packages.worker.native.normalization import normalization  # noqa: E402
from deep_learning_packages.worker.server import _answer  # noqa: E402

PLANTED = "open({mark!r}, 'w').close()\nraise SystemExit('the code of the package ran')\n"


def detected(package: Path, raster: Path, arguments: str = "", way: str = NATIVE, **settings):
    """Geometries with class and confidence, in pixels of the raster; and what was told."""
    told = Recorder()
    plan = make_plan(package, raster, arguments, **settings)
    hosting = replace(plan.hosting, trusts=True)  # where torch is old and no sandbox is
    plan = replace(plan, package=chosen(plan.package, way), hosting=hosting, restart=True)
    with run_plan(plan, told) as result:
        found = [
            (geometry, row["Class"], row["Confidence"])
            for batch in result.detections()
            for geometry, row in zip(batch.geometries, batch.rows())
        ]
        result.settle()
    plan.items[0].source.close()
    return found, told


def box_of(geometry):
    """Left, top, right, bottom in pixels: rasters of tests begin at 500000, 4000000 with cells of half a metre."""
    west, south, east, north = geometry.bounds
    return np.array([(west - 500000) / 0.5, (4000000 - north) / 0.5, (east - 500000) / 0.5, (4000000 - south) / 0.5])


@trained.needs_goldens
@pytest.mark.parametrize("name", [golden(name) for name in FAMILIES if name not in ("fc_resnet34", "yolov3_darknet")])
def test_whole_raster(tmp_path, name):
    """The golden features whose middle lies on the raster (others belong to nobody), in any number of workers."""
    raster = write_raster(tmp_path / "r.tif", trained.golden_image())
    package = trained.golden_package(name)
    found, told = detected(package, raster, f"threshold {THRESHOLDS[name]};batch_size 4", workers=2)
    trained.assert_goldens([(box_of(geometry), label, confidence) for geometry, label, confidence in found], name)
    assert any(f"run natively by {FAMILIES[name]}: no code of the package runs" in line for line in told.infos)


@pytest.mark.parametrize("family", ["RetinaNet", "SingleShotDetector", "YOLOv3"])
@pytest.mark.parametrize("bands", [1, 4, 13])
def test_bands(tmp_path, family, bands):
    """Multispectral packages of 16-bit pixels, with the statistics of all bands and some of these chosen."""
    everything = bands + 2
    statistics = {
        "band_min_values": [10 * band for band in range(everything)], "band_max_values": [3000 + band for band in range(everything)],
        "scaled_mean_values": [0.3 + band / 100 for band in range(everything)], "scaled_std_values": [0.2] * everything,
    }  # fmt: skip
    values = trained.definition(
        family, ExtractBands=list(range(1, bands + 1)), NormalizationStats=statistics, IsMultispectral=True
    )
    package = trained.package(tmp_path / "p", values, trained.random_state(values))
    pixels = np.random.default_rng(bands).integers(0, 3000, (everything, 70, 90)).astype(np.uint16)
    raster = write_raster(tmp_path / "r.tif", pixels)
    found, _ = detected(package, raster, "threshold 0.05;batch_size 4;padding 8;exclude_pad_detections False")
    made = native.create(family)
    made.initialize(model=str(package / "Model.emd"), device=-1)
    with torch.inference_mode():
        chips = torch.from_numpy(pixels[None, 1 : bands + 1, :64, :64].astype(np.float32))
        normal = made.network.normalization(chips.clone())
    low, high = (np.array(statistics[key][1 : bands + 1], float)[:, None, None] for key in ("band_min_values", "band_max_values"))
    mean = np.array(statistics["scaled_mean_values"][1 : bands + 1])[:, None, None]
    assert np.allclose(normal[0], ((pixels[1 : bands + 1, :64, :64] - low) / (high - low) - mean) / 0.2, atol=1e-4)
    assert all(label in ("Tree", "Car") and 5 <= confidence <= 100 for _, label, confidence in found)


def test_no_code_of_the_package_runs(tmp_path):
    """Not the wrapper, not what lies beside it under the names of libraries, not without a sandbox either."""
    values = trained.definition("SingleShotDetector")
    package = trained.package(tmp_path / "p", values, trained.random_state(values))
    mark = tmp_path / "ran"
    for name in (
        "ArcGISObjectDetector",
        "torch",
        "numpy",
        "json",
        "arcpy",
        "sitecustomize",
        "_DynamicSSD",
        "ModelConfiguration",
        "typing",
    ):
        (package / f"{name}.py").write_text(PLANTED.format(mark=str(mark)))
    raster = write_raster(tmp_path / "r.tif", np.zeros((3, 64, 64), np.uint8))
    detected(package, raster, "threshold 0.9", sandbox=Sandbox(None, "switched off"))
    assert not mark.exists()
    with pytest.raises(FunctionError, match="the code of the package ran"):
        detected(package, raster, "threshold 0.9", way=PACKAGE)


def test_results_of_both_ways_are_kept_apart(tmp_path):
    """A run by the package's own function must not go on where a native one stopped, nor show its arguments."""
    values = trained.definition("YOLOv3")
    package = open_package(trained.package(tmp_path / "p", values, trained.random_state(values)))
    assert chosen(package, NATIVE).identity != chosen(package, PACKAGE).identity == package.sha256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ModelName": "MMDetection", "ModelConfiguration": "_model_extension_inferencing"}, "MMDetection is not among the networks"),
        ({"ModelName": "DETReg", "ModelConfiguration": "_model_extension_inferencing"}, "trained in ArcGIS as DETReg.*ARCGIS_TRAINED=PACKAGE"),
        ({"ModelConfiguration": "_maskrcnn_inferencing", "ModelParameters": {"pointrend": True}}, "PointRend"),
        ({"ModelConfiguration": "_something_new"}, r"RetinaNet \(_something_new\) is not among"),
        ({"ModelConfiguration": "_something_new", "ModelName": None}, "_something_new is not among"),
        ({"Preprocessing": "SentinelService"}, "SentinelService prepares them"),
        ({"ExtractBands": [0, 1, 2, 3]}, r"takes 4 band\(s\) but has no NormalizationStats"),
        ({"ModelConfiguration": "_unet", "ModelName": "UnetClassifier", "ModelType": "ImageClassification"}, "of the type ImageClassification, which neither detects nor"),
    ],
)  # fmt: skip
def test_networks_that_are_not_known_are_named(tmp_path, changes, message):
    values = trained.definition("RetinaNet", **changes)
    package = open_package(trained.package(tmp_path / "p", values, {}))
    with pytest.raises(PackageError, match=message):
        chosen(package, NATIVE)
    assert chosen(package, PACKAGE) is package


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ImageHeight": "64"}, "ImageHeight must be a number of pixels"),
        ({"ImageHeight": None}, "ImageHeight must be .* it is missing"),
        ({"NormalizationStats": {"band_min_values": [0, 0, 0]}}, "NormalizationStats must be statistics with a list band_max_values"),
        ({"NormalizationStats": {"band_min_values": [0]}}, "NormalizationStats must be statistics that have band 1"),
        ({"NormalizationStats": {key: [0, 0, 0] for key in ("band_min_values", "band_max_values", "scaled_mean_values", "scaled_std_values")}}, "statistics of bands that vary"),
        ({"Classes": []}, "Classes must be a list of classes"),
        ({"Classes": trained.CLASSES * 2}, r"do not fit the network .*of another shape: 1\.oconvs\.0\.oconv1\.weight"),
        ({"ModelFile": "gone.pth"}, "ModelFile names 'gone.pth', which is not there"),
        ({"ModelFile": "x://../../m.pth"}, "ModelFile must be the name of the file with the weights"),
        ({"ModelParameters": {"backbone": "resnet34"}}, r"do not fit the network .*missing: 0\.4\.2"),
        ({"ModelParameters": {"backbone": "nonsense"}}, "The model's trunk is nonsense"),
        ({"Grids": None}, "Grids must be a list of some numbers"),
        ({"Grids": [300]}, "Grids must be numbers of cells"),
        ({"SSDVersion": 3}, "SSDVersion must be 1 or 2"),
        ({"Ratios": "x"}, "Ratios must be a list of pairs"),
        ({"Grids": [2, 2, 1]}, "grid 2 takes a convolution of 2 cells, as its weights do"),
        ({"resize_to": [64, 32]}, "resize_to must be the side of a square"),
    ],
)  # fmt: skip
def test_definitions_that_cannot_be(tmp_path, changes, message):
    """Each is refused by its name before any work, in the worker that would run it."""
    values = trained.definition("SingleShotDetector")
    state = trained.random_state(values)
    package = trained.package(tmp_path / "p", trained.definition("SingleShotDetector", **changes), state)
    if "ModelFile" in changes:
        definition = json.loads((package / "Model.emd").read_text())
        (package / "Model.emd").write_text(json.dumps({**definition, **changes}))
    with pytest.raises(InferenceError, match=message) as caught:
        opened(package)
    assert "Traceback" not in str(caught.value)


def opened(package):
    """The declared arguments, from a worker of its own."""
    plan = make_plan(package, None, items=())
    slots = Slots()
    function = RasterFunction(chosen(plan.package, NATIVE), replace(plan.hosting, trusts=True), slots, Recorder())
    try:
        return {each.name: each for each in function.open({})}
    finally:
        function.kill()
        slots.close()


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("RetinaNet", {"resize_to": [128, 64]}, "resize_to must be the side of a square"),
        ("RetinaNet", {"ModelParameters": {"backbone": "resnet18", "ratios": [-1, 1, 2]}}, "ratios must be a list of positive numbers"),
        ("RetinaNet", {"ModelParameters": {"backbone": "vgg16"}}, "trunk vgg16 of this RetinaNet"),
        ("RetinaNet", {"ExtractBands": ["NIR", "Red", "Green"], "NormalizationStats": {key: [1, 2, 3, 4, 5] for key in ("band_min_values", "band_max_values", "scaled_mean_values", "scaled_std_values")}}, "statistics that have band NIR"),
        ("YOLOv3", {"ImageHeight": 100}, "ImageHeight must be a multiple of 32"),
        ("YOLOv3", {"ModelParameters": {"anchors": [[1, 2]]}}, "anchors must be nine pairs"),
    ],
)  # fmt: skip
def test_definitions_of_other_families(tmp_path, family, changes, message):
    package = trained.package(
        tmp_path / "p", trained.definition(family, **changes), trained.random_state(trained.definition(family))
    )
    with pytest.raises(InferenceError, match=message):
        opened(package)


def test_statistics_of_other_bands_do_not_matter():
    """A constant band, such as alpha, has none: here that is no number at all."""
    lists = {"band_min_values": [0, 0, 0, 255], "band_max_values": [255] * 4, "scaled_mean_values": [0.5] * 3 + [math.nan],
             "scaled_std_values": [0.2] * 3 + [None]}  # fmt: skip
    values = trained.definition("RetinaNet", NormalizationStats=lists)
    assert normalization(Model("/x", values)).mean.flatten().tolist() == [0.5] * 3
    with pytest.raises(NativeError, match="NormalizationStats must be a list of some numbers"):
        normalization(Model("/x", {**values, "ExtractBands": [0, 3]}))


def test_null_is_absent(tmp_path):
    values = trained.definition("SingleShotDetector")
    package = trained.package(tmp_path / "p", values, trained.random_state(values))
    text = {**json.loads((package / "Model.emd").read_text()), "SSDVersion": None, "ExtractBands": None, "resize_to": None}
    (package / "Model.emd").write_text(json.dumps(text))
    assert "padding" in opened(package)


@pytest.mark.parametrize("side", [32, 64])
def test_single_shot_detectors_of_few_pixels(tmp_path, side):
    """Whose features are one cell, of which there is no variance."""
    values = trained.definition("SingleShotDetector", ImageHeight=side, Grids=[1])
    assert "padding" in opened(trained.package(tmp_path / "p", values, trained.random_state(values)))


def test_misspelt_trunks_need_no_library(tmp_path):
    """Only those that the definition says to be timm's do."""
    if importlib.util.find_spec("timm"):
        pytest.skip("timm is there")
    values = trained.definition("RetinaNet")
    state = trained.random_state(values)
    for backbone, message in (("resnet_34", "trunk is resnet_34"), ("timm:convnext_tiny", "pip install timm")):
        changed = trained.definition("FeatureClassifier", ModelParameters={"backbone": backbone})
        state = {"1.2.weight": torch.ones(8), "1.4.weight": torch.ones(4, 8)}
        with pytest.raises(FunctionError, match=message) as caught:
            opened(trained.package(tmp_path / backbone[:6], changed, state))
        assert ("pip install" in str(caught.value)) == backbone.startswith("timm")


def test_bands_by_name_have_their_own_statistics(tmp_path):
    """By the names of the training bands, or in order where there are as many as bands."""
    lists = {
        "band_min_values": [0, 1, 2, 3],
        "band_max_values": [10, 20, 30, 40],
        "scaled_mean_values": [0.1] * 4,
        "scaled_std_values": [0.5] * 4,
    }
    values = trained.definition(
        "RetinaNet", ExtractBands=["nir", "Band_2", "red"], Bands=["Red", "Band 2", "Blue", "NIR"], NormalizationStats=lists
    )
    low, high = normalization(Model("/x", values)).low, normalization(Model("/x", values)).span
    assert (low.flatten().tolist(), high.flatten().tolist()) == ([3, 1, 0], [37, 19, 10])
    short = {key: numbers[:3] for key, numbers in lists.items()}
    low = normalization(Model("/x", {**values, "Bands": None, "NormalizationStats": short})).low
    assert low.flatten().tolist() == [0, 1, 2]


def test_definitions_in_older_encodings(tmp_path):
    """As the engine reads them (contract 1.3)."""
    values = trained.definition("YOLOv3", Classes=[{"Value": 1, "Name": "Bäume"}])
    package = trained.package(tmp_path / "p", values, trained.random_state(values))
    (package / "Model.emd").write_bytes(json.dumps({**values, "ModelFile": "m.pth"}, ensure_ascii=False).encode("cp1252"))
    assert "padding" in opened(package)
    assert Model.read(str(package / "Model.emd")).class_names == ["Bäume"]


def test_a_program_of_the_author_is_not_left_out(tmp_path):
    """A function that is none of the stock wrappers does more than run the network."""
    values = trained.definition("RetinaNet", InferenceFunction="MyDetector.py")
    folder = trained.package(tmp_path / "p", values, {})
    (folder / "MyDetector.py").write_text("class MyDetector:\n    pass\n")
    package = open_package(folder)
    assert package.trained is None
    assert chosen(package, NATIVE).function.endswith("MyDetector.py")


def test_machines_that_cannot_translate_a_network(tmp_path, monkeypatch):
    """As most are that have no compiler: the argument is named, not a line of torch."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "empty"))  # where torch keeps what it has translated before
    values = trained.definition("RetinaNet")
    package = trained.package(tmp_path / "p", values, trained.random_state(values))
    raster = write_raster(tmp_path / "r.tif", np.zeros((3, 64, 64), np.uint8))
    with pytest.raises(
        FunctionError, match=r"compile is True, but torch cannot translate RetinaNet .*[Cc]ompiler.*Leave it at False"
    ):
        detected(package, raster, "compile True", sandbox=Sandbox(None, "switched off"))


@pytest.mark.parametrize(
    ("step", "error", "message", "is_memory"),
    [
        ("vectorize()", RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
         r"vectorize\(\) of the plugin's network RetinaNet failed: RuntimeError: cuDNN error", False),
        ("vectorize()", RuntimeError("could not create a primitive"), r"RetinaNet failed: .*primitive", True),
        ("vectorize()", RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "RetinaNet failed: .*CUBLAS", True),
        ("device", RuntimeError("CUDA error: system not yet initialized"), "^The processor could not be made ready: .*CUDA", False),
        ("initialize()", ModuleNotFoundError("No module named 'cv2'", name="cv2"),
         "needs the Python library cv2, .*-m pip install opencv-python-headless - or", False),
    ],
)  # fmt: skip
def test_failures_of_a_network_are_not_the_package_s(step, error, message, is_memory):
    """What torch reports from within our own network is told as such, from the worker's answer to the message."""
    host = FunctionHost()
    host.network, host.step = "RetinaNet", step

    def fails(request):
        raise error

    answer, _ = _answer(host, fails, {"command": "vectorize"})
    told = reported(answer["error"], Sandbox(None, "switched off"), find_interpreter())
    assert re.search(message, str(told))
    assert isinstance(told, OutOfMemoryError) == is_memory


STOCK = ["padding", "threshold", "nms_overlap", "batch_size", "exclude_pad_detections", "test_time_augmentation", "tta_scales"]
OWN = ["precision", "compile"]


@pytest.mark.parametrize(
    ("family", "changes", "names", "defaults"),
    [
        ("RetinaNet", {}, STOCK, {"padding": "16", "threshold": "0.5", "nms_overlap": "0.1", "batch_size": "64", "exclude_pad_detections": "True"}),
        ("RetinaNet", {"SupportsVariableTileSize": True}, [*STOCK, "tile_size"], {"tile_size": "64"}),
        ("RetinaNet", {"tta_scales": "0.9,1"}, STOCK, {"test_time_augmentation": "False", "tta_scales": "0.9,1"}),
        ("YOLOv3", {"test_time_augmentation": "true"}, STOCK, {"threshold": "0.1", "batch_size": "4", "test_time_augmentation": "True"}),
        ("FeatureClassifier", {}, ["batch_size", "test_time_augmentation"], {"batch_size": "4"}),
        ("FeatureClassifier", {"BatchSize": 8}, ["test_time_augmentation"], {}),
        ("FeatureClassifier", {"MetaDataMode": "MultiLabeled_Tiles"}, ["batch_size", "test_time_augmentation", "threshold"], {"threshold": "0.5"}),
    ],
)  # fmt: skip
def test_arguments_are_those_of_the_stock_wrappers(tmp_path, family, changes, names, defaults):
    """Names, defaults and limits of contract 4.1, then our own."""
    values = trained.definition(family, **changes)
    declared = opened(trained.package(tmp_path / "p", values, trained.random_state(values)))
    assert list(declared) == [*names, *OWN]
    assert {name: declared[name].default for name in defaults} == defaults
    for name in {"threshold", "nms_overlap"} & set(declared):
        assert (declared[name].kind, declared[name].minimum, declared[name].maximum) == ("number", 0, 1)
    assert declared["test_time_augmentation"].kind == "boolean"
    assert declared["precision"].choices == ("float32", "bfloat16", "float16")


@pytest.mark.parametrize("size", ["20", "512"])
def test_sizes_that_are_not_offered_are_not_taken(tmp_path, size):
    """A recipe of another model may name them; the log tells that they are left out, and nothing else changes."""
    values = trained.definition("RetinaNet")
    package = trained.package(tmp_path / "p", values, trained.random_state(values, 3))
    raster = write_raster(tmp_path / "r.tif", np.random.default_rng(5).integers(0, 255, (3, 64, 64)).astype(np.uint8))
    arguments = "threshold 0.3;padding 24;batch_size 1"
    plain, _ = detected(package, raster, arguments)
    found, told = detected(package, raster, f"{arguments};tile_size {size}")
    assert len(plain) > 0
    assert [row[1:] for row in found] == [row[1:] for row in plain]
    assert any("does not know the argument(s) tile_size; they are left out" in text for text in told.warnings)


def test_families_and_functions_agree():
    """What the engine takes for known can be made by the worker."""
    for family in known():
        assert native.create(family).name == family


def test_batches_and_workers_change_nothing(tmp_path):
    """Mini-tiles are looked at one by one, whatever shares their block."""
    values = trained.definition("RetinaNet")
    package = trained.package(tmp_path / "p", values, trained.random_state(values, 3))
    raster = write_raster(tmp_path / "r.tif", np.random.default_rng(5).integers(0, 255, (3, 128, 128)).astype(np.uint8))
    found = []
    for batch, workers in ((1, 1), (4, 2), (16, 1)):
        rows, _ = detected(
            package, raster, f"threshold 0.3;padding 16;batch_size {batch}", workers=workers, extent=Window(0, 0, 128, 128)
        )
        found.append(sorted((label, *np.round(geometry.bounds, 3), round(confidence, 3)) for geometry, label, confidence in rows))
    assert len(found[0]) > 5
    assert found[0] == found[1] == found[2]
