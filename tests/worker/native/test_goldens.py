"""The golden numbers of Esri's library: what the networks answer, what they find in a chip, and what a whole raster gives."""

from __future__ import annotations

import json

import numpy as np
import pytest
import trained
from trained import BOXES, FAMILIES, THRESHOLDS, golden, golden_json, numbers

torch = pytest.importorskip("torch")

from deep_learning_packages.worker import native  # noqa: E402

pytestmark = trained.needs_goldens
PIXELS, PERCENT = 1e-3, 1e-3
"""Tolerances, as the README beside the numbers tells them."""
DETECTORS = [golden(name) for name in FAMILIES if name != "fc_resnet34"]


def function(name, **values):
    """The raster function over a golden's weights, with its arguments; and what it was configured to."""
    made = native.create(FAMILIES[name])
    made.initialize(model=str(trained.golden_package(name) / "Model.emd"), device=-1)
    declared = {entry["name"]: str(entry["value"]) for entry in made.getParameterInfo() if entry["value"] is not None}
    return made, made.getConfiguration(**{**declared, **values})


def chip(name):
    return torch.from_numpy(numbers(name)["image_u8"][None].astype(np.float32))


def corners(outlines):
    """y1, x1, y2, x2 of outlines of (y, x)."""
    return np.asarray(outlines, float)[:, [0, 2]].reshape(-1, 4)


@pytest.mark.parametrize("name", [golden(name) for name in FAMILIES])
@torch.inference_mode()
def test_networks_answer_the_same(name):
    network = function(name)[0].network
    stored = numbers(name)
    if name.split("_")[0] in ("maskrcnn", "fasterrcnn"):
        score, overlap = stored.get("defaults", (network.network.roi_heads.score_thresh, network.network.roi_heads.nms_thresh))
        network._prepare(float(score), float(overlap))
        answer = network(network.normalization(chip(name)))[0]
        assert np.array_equal(answer["labels"], stored["labels"])
        found = [answer[key].numpy() for key in answer if key != "labels"]
        wanted = [stored[key] for key in answer if key != "labels"]
    else:
        answer = network(network.normalization(chip(name)))
        found = [each.numpy() for each in (answer if isinstance(answer, tuple) else (answer,))]
        wanted = [stored[key] for key in ("cls", "box", "raw", "logits") if key in stored]
    assert len(found) == len(wanted) > 0
    for ours, theirs in zip(found, wanted):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < 5e-4  # of up to 510 px; scores and logits agree to 1e-5


@pytest.mark.parametrize("name", [golden(name) for name in BOXES])
@torch.inference_mode()
def test_boxes_of_a_chip(name):
    network, wanted = function(name)[0].network, golden_json("child", name)
    found = network.detect(chip(name), wanted["thr"], wanted["nms"])[0]
    assert np.array_equal(found.classes.numpy() + 1, wanted["classes"])
    assert np.abs(found.boxes.numpy() - corners(wanted["coords"])).max() < PIXELS
    assert np.abs(found.scores.numpy() * 100 - wanted["scores"]).max() < PERCENT


def test_outlines_of_a_chip():
    """From the golden masks, so without torchvision: every ring in its order, point by point."""
    from deep_learning_packages.worker.native.contours import outlines

    stored, wanted = numbers("maskrcnn_resnet50"), golden_json("child", "maskrcnn_resnet50")
    chosen = stored["scores"] > wanted["thr"]
    found = [
        (rings, score)
        for mask, score in zip(stored["masks"][chosen, 0], stored["scores"][chosen])
        for rings in outlines(mask >= 0.5)
    ]
    assert [rings for rings, _ in found] == wanted["coords"]
    assert np.abs(np.array([score for _, score in found]) * 100 - wanted["scores"]).max() < PERCENT


@pytest.mark.parametrize("name", DETECTORS)
def test_whole_raster(name):
    made, configuration = function(name, threshold=str(THRESHOLDS[name]), batch_size="4")
    found = []
    for row, column, pixels, mask in blocks(trained.golden_image(), configuration):
        for feature in json.loads(made.vectorize(raster_pixels=pixels, raster_mask=mask)["output_vectors"])["features"]:
            rings = [np.asarray(ring, float) + np.array([column, row]) for ring in feature["geometry"]["rings"]]
            found.append((rings, feature["attributes"]["Class"], feature["attributes"]["Confidence"]))
    wanted = [
        (
            [np.asarray(ring, float) for ring in feature["geometry"]["rings"]],
            feature["attributes"]["Class"],
            feature["attributes"]["Confidence"],
        )
        for feature in golden_json("e2e", name)
    ]
    if name == "yolov3_darknet":  # among equal scores another one wins: few do, and each has its twin
        lost, new = without_pairs(wanted, found), without_pairs(found, wanted)
        assert max(len(lost), len(new)) < 0.02 * len(wanted)
        assert all(has_twin(each, found) for each in lost)
        return
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted):
        assert is_same(ours, theirs)


def test_classifier():
    made, configuration = function("fc_resnet34")
    chips = golden_chips()
    answer = made.vectorize(rasters_pixels=chips, rasters_mask=tuple(np.ones_like(each) for each in chips))
    assert (configuration["tx"], configuration["ty"], configuration["CropSizeFixed"], configuration["BlackenAroundFeature"]) == (
        128,
        128,
        1,
        0,
    )
    found, wanted = json.loads(answer["output_vectors"])["features"], golden_json("e2e", "fc_resnet34")
    assert len(found) == len(wanted) == 2
    for ours, theirs in zip(found, wanted):
        assert ours["geometry"] == theirs["geometry"]
        assert ours["attributes"]["Label"] == theirs["attributes"]["Label"]
        assert isinstance(ours["attributes"]["Confidence"], str)
        assert float(ours["attributes"]["Confidence"]) == pytest.approx(float(theirs["attributes"]["Confidence"]), abs=1e-6)


def golden_chips():
    """Those of the stored labels: the stored image, and the same upside down (not those that the README there names)."""
    image = numbers("fc_resnet34")["image_u8"]
    return image.copy(), np.ascontiguousarray(image[:, ::-1])


VARIANTS = [path.stem.removeprefix("keys_") for path in sorted((trained.GOLDEN / "keys").glob("*.txt"))]
PREFIXES = {"fc": "fc_resnet34", "retinanet": "retinanet_resnet34", "ssd": "ssd_resnet34_v1", "yolov3": "yolov3_darknet",
            "maskrcnn": "maskrcnn_resnet50", "fasterrcnn": "fasterrcnn_resnet34"}  # fmt: skip
GRIDS = {"ssd_resnet34_v1": (128, [4, 2, 1]), "ssd_resnet34_v2_s400": (400, [13, 5, 1])}
"""Sides and grids of variants of SSD that their names do not tell."""


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if not variant.startswith("maskrcnn_resnet50_pr")])
def test_every_variant_loads(tmp_path, variant):
    """All weights of the library's other variants have a place: other trunks, sides, bands."""
    family, trunk = variant.split("_")[:2]
    base = PREFIXES[family]
    if FAMILIES[base] in ("MaskRCNN", "FasterRCNN") and not trained.has_torchvision():
        pytest.skip("torchvision is not there (R-CNN runs by it)")
    values = golden_json("emd", base)
    state = {name: torch.rand(shape) for name, shape in trained.key_shapes(variant)}
    values["ModelParameters"]["backbone"] = values["backbone"] = trunk
    first = next(tensor for name, tensor in state.items() if tensor.ndim == 4)
    if first.shape[1] != 3:
        bands = first.shape[1]
        values["ExtractBands"] = list(range(bands))
        lists = {"band_min_values": 0, "band_max_values": 255, "scaled_mean_values": 0.5, "scaled_std_values": 0.2}
        values["NormalizationStats"] = {key: [value] * bands for key, value in lists.items()}
    if family == "ssd":
        kernel = state["1.sconvs.3.conv.weight"].shape[-1]
        values["SSDVersion"] = 2 if "v2" in variant else 1
        values["Grids"] = [4, 2, 1] if kernel == 2 else [8, kernel, 1]
    made = native.create(FAMILIES[base])
    made.initialize(model=str(trained.package(tmp_path, values, state) / "Model.emd"), device=-1)
    wanted = {name for name in state if not name.endswith("num_batches_tracked")}
    network = getattr(made.network, "network", made.network)
    assert {name for name in network.state_dict() if not name.endswith("num_batches_tracked")} == wanted
    assert all(torch.equal(network.state_dict()[name], state[name]) for name in wanted)


def blocks(image, configuration):
    """Blocks as the contract cuts them: row and column of the core, pixels, mask."""
    side, padding = configuration["tx"], configuration["padding"]
    padded = np.pad(image, ((0, 0), (padding, padding + side), (padding, padding + side)))
    mask = np.pad(np.ones_like(image), ((0, 0), (padding, padding + side), (padding, padding + side)))
    for row in range(0, image.shape[1], side):
        for column in range(0, image.shape[2], side):
            window = np.s_[:, row : row + side + 2 * padding, column : column + side + 2 * padding]
            yield row, column, padded[window].copy(), mask[window].copy()


def is_same(ours, theirs):
    rings = len(ours[0]) == len(theirs[0]) and all(
        a.shape == b.shape and np.abs(a - b).max() < PIXELS for a, b in zip(ours[0], theirs[0])
    )
    return rings and ours[1] == theirs[1] and abs(ours[2] - theirs[2]) < PERCENT


def without_pairs(some, others):
    """Those that are not among the others."""
    places = np.array([each[0][0].ravel() for each in others])
    left = []
    for each in some:
        near = np.flatnonzero(np.abs(places - each[0][0].ravel()).max(1) < PIXELS)
        if not any(is_same(each, others[number]) for number in near):
            left.append(each)
    return left


def has_twin(lost, found):
    """Whether one of the same class that overlaps it has a score that rounding cannot tell from its own."""
    (x1, y1), (x2, y2) = lost[0][0].min(0), lost[0][0].max(0)
    for rings, name, score in found:
        low, high = rings[0].min(0), rings[0].max(0)
        overlaps = min(x2, high[0]) > max(x1, low[0]) and min(y2, high[1]) > max(y1, low[1])
        if overlaps and name == lost[1] and abs(score - lost[2]) < 0.01:
            return True
    return False


@pytest.mark.parametrize("name", [golden("maskrcnn_resnet50")])
def test_boxes_alone_are_those_of_the_masks(name):
    """Without the masks' part of the network."""
    network = function(name, return_bboxes="True")[0].network
    boxes = network.detect(chip(name), 0.05, 1.0)[0]
    network.finds_masks = True
    whole = network.detect(chip(name), 0.05, 1.0)[0]
    assert boxes.masks is None
    assert len(whole.masks) == len(boxes.scores) > 10
    assert torch.equal(boxes.boxes, whole.boxes)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", [golden(name) for name in BOXES])
@torch.inference_mode()
def test_less_precise_networks_find_boxes_in_their_places(name, precision):
    """Confidences may differ; boxes must not come to lie on whole pixels, where half precision would put them."""
    network, wanted = function(name)[0].network, golden_json("child", name)
    exact = network.detect(chip(name), wanted["thr"], wanted["nms"])[0].boxes
    with torch.autocast("cpu", precision):
        found = network.detect(chip(name), wanted["thr"], wanted["nms"])[0].boxes
    shifts = (exact[:, None] - found).abs().amax(2).amin(1)
    assert float(shifts.median()) < 0.05
