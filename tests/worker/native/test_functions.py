"""What raster functions over networks offer beyond the goldens: labels, sizes, views, precision, masks."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import trained

torch = pytest.importorskip("torch")

from deep_learning_packages.worker import native  # noqa: E402
from deep_learning_packages.worker.contract import ContractError  # noqa: E402
from deep_learning_packages.worker.native.network import Found  # noqa: E402


def made(folder, family, changes=None, seed=0, **arguments):
    """A configured function and what it answered."""
    values = trained.definition(family, **(changes or {}))
    function = native.create(family)
    function.initialize(model=str(trained.package(folder, values, trained.random_state(values, seed)) / "Model.emd"), device=-1)
    declared = {entry["name"]: str(entry["value"]) for entry in function.getParameterInfo() if entry["value"] is not None}
    return function, function.getConfiguration(**{**declared, **arguments})


def features(answer):
    return json.loads(answer["output_vectors"])["features"]


def chips(count=3, side=64, seed=2):
    return tuple(np.random.default_rng(seed).integers(0, 256, (count, 3, side, side)).astype(np.uint8))


def classified(function, pixels):
    answer = function.vectorize(
        rasters_pixels=tuple(each.copy() for each in pixels), rasters_mask=tuple(np.ones_like(each) for each in pixels)
    )
    return [(each["attributes"]["Label"], each["attributes"]["Confidence"]) for each in features(answer)]


@torch.inference_mode()
def test_several_labels(tmp_path):
    """MultiLabeled_Tiles: a sigmoid a class, all labels above the threshold with semicolons between, none is empty text."""
    function, _ = made(tmp_path, "FeatureClassifier", {"MetaDataMode": "MultiLabeled_Tiles"}, threshold="0")
    scores = function.network.scores(torch.from_numpy(np.stack(chips()).astype(np.float32))).numpy()
    assert np.allclose(scores.sum(1) != 1, True)
    for (label, confidence), row in zip(classified(function, chips()), scores):
        assert label == "Tree;Car"
        assert [float(part) for part in confidence.split(";")] == pytest.approx(row.tolist(), abs=1e-5)
    function.threshold = float(np.median(scores[0]))
    label, confidence = classified(function, chips())[0]
    assert (label, len(confidence.split(";"))) == (["Tree", "Car"][scores[0].argmax()], 1)
    function.threshold = 1.0
    assert classified(function, chips())[0] == ("", "")


def test_confidence_of_one_label(tmp_path):
    function, configuration = made(tmp_path, "FeatureClassifier", {"ImageWidth": 48})
    assert (configuration["tx"], configuration["ty"], configuration["batch_size"]) == (48, 64, 4)
    for label, confidence in classified(function, chips()):
        assert label in ("Tree", "Car")
        assert 0.5 <= float(confidence) <= 1


def test_views_of_the_classifier_do_not_care_for_turns(tmp_path):
    """With all eight views, a chip and its turned and mirrored twins get one answer; without, they differ."""
    turned = [np.ascontiguousarray(np.rot90(chips(1)[0], turns, (1, 2))) for turns in range(4)] + [
        np.ascontiguousarray(chips(1)[0][:, :, ::-1])
    ]
    plain, _ = made(tmp_path / "a", "FeatureClassifier")
    assert len({confidence for _, confidence in classified(plain, turned)}) > 1
    augmented, _ = made(tmp_path / "b", "FeatureClassifier", test_time_augmentation="True")
    answers = [float(confidence) for _, confidence in classified(augmented, turned)]
    assert answers == pytest.approx([answers[0]] * 5, abs=1e-6)
    upright, _ = made(tmp_path / "c", "FeatureClassifier", {"ImageSpaceUsed": "PIXEL_SPACE"}, test_time_augmentation="True")
    answers = [float(confidence) for _, confidence in classified(upright, turned)]
    assert answers[0] == pytest.approx(answers[4], abs=1e-6)
    assert abs(answers[0] - answers[1]) > 1e-6


@pytest.mark.parametrize("family", ["RetinaNet", "SingleShotDetector", "YOLOv3"])
def test_views_of_detectors_do_not_care_for_turns(tmp_path, family):
    """With all eight views, what is found in a turned mini-tile is what was found, turned."""
    arguments = {
        "threshold": "0.35" if family != "YOLOv3" else "0.2",
        "batch_size": "1",
        "padding": "0",
        "exclude_pad_detections": "False",
    }
    function, _ = made(tmp_path, family, test_time_augmentation="True", **arguments)
    pixels = chips(1)[0]
    boxes = []
    for turns in range(4):
        turned = np.ascontiguousarray(np.rot90(pixels, turns, (1, 2)))
        rings = np.array(
            [
                each["geometry"]["rings"][0]
                for each in features(function.vectorize(raster_pixels=turned, raster_mask=np.ones_like(turned)))
            ]
        )
        for _ in range(turns):
            rings = np.stack([64 - rings[..., 1], rings[..., 0]], -1)
        boxes.append(sorted((*low.round(2), *high.round(2)) for low, high in zip(rings.min(1), rings.max(1))))
    assert len(boxes[0]) > 0
    for each in boxes[1:]:
        assert np.allclose(each, boxes[0], atol=0.05)


def test_chips_are_resized_where_the_definition_says_so(tmp_path):
    """resize_to: the network sees another size, boxes come back in pixels of the raster."""
    function, configuration = made(
        tmp_path,
        "RetinaNet",
        {"resize_to": [128, 128]},
        threshold="0.3",
        batch_size="1",
        padding="0",
        exclude_pad_detections="False",
    )
    assert (configuration["tx"], configuration["padding"]) == (64, 0)
    seen = []
    original = function.network.detect

    def detect(pixels, *rest):
        seen.append(tuple(pixels.shape))
        return original(pixels, *rest)

    function.network.detect = detect
    pixels = chips(1)[0]
    rings = np.array(
        [
            each["geometry"]["rings"][0]
            for each in features(function.vectorize(raster_pixels=pixels.copy(), raster_mask=np.ones_like(pixels)))
        ]
    )
    assert seen == [(1, 3, 128, 128)]
    with torch.inference_mode():
        large = torch.nn.functional.interpolate(
            torch.from_numpy(pixels[None].astype(np.float32)), size=(128, 128), mode="bilinear"
        )
        (direct,) = original(large, 0.3, 0.1)
    assert len(rings) > 0
    assert np.allclose(rings[:, [0, 2]][..., ::-1].reshape(-1, 4) * 2, direct.boxes.numpy(), atol=1e-3)


def test_classifier_resizes_too(tmp_path):
    function, _ = made(tmp_path, "FeatureClassifier", {"resize_to": [32, 96]})
    seen = []
    function.network.network.register_forward_pre_hook(lambda module, given: seen.append(tuple(given[0].shape[-2:])))
    classified(function, chips())
    assert seen == [(32, 96)]


def test_tile_size(tmp_path):
    function, configuration = made(
        tmp_path, "RetinaNet", {"SupportsVariableTileSize": True}, tile_size="96", padding="16", batch_size="4"
    )
    assert configuration["tx"] == 2 * (96 - 32)
    block = np.zeros((3, 160, 160), np.uint8)
    assert features(function.vectorize(raster_pixels=block, raster_mask=np.zeros_like(block))) is not None


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_other_precisions_change_little(tmp_path, precision):
    exact, _ = made(tmp_path / "a", "FeatureClassifier")
    reduced, _ = made(tmp_path / "b", "FeatureClassifier", precision=precision)
    one, two = ([float(confidence) for _, confidence in classified(function, chips())] for function in (exact, reduced))
    assert one != two
    assert two == pytest.approx(one, abs=0.02)


@pytest.mark.parametrize("family", ["FeatureClassifier", "RetinaNet", "SingleShotDetector", "YOLOv3"])
def test_numbers_that_half_precision_cannot_hold(tmp_path, family):
    """They would be labels and boxes by chance."""
    statistics = {
        "band_min_values": [0] * 3,
        "band_max_values": [1] * 3,
        "scaled_mean_values": [0] * 3,
        "scaled_std_values": [1e-3] * 3,
    }
    arguments = {"precision": "float16", "batch_size": "1", "padding": "0"}
    function, _ = made(tmp_path, family, {"NormalizationStats": statistics}, **arguments)
    pixels = np.full((3, 64, 64), 60000, np.uint16)
    given = {"raster_pixels": pixels, "raster_mask": np.ones_like(pixels)}
    if family == "FeatureClassifier":
        given = {f"rasters_{name.partition('_')[2]}": (array,) for name, array in given.items()}
    with pytest.raises(native.errors.NativeError, match="precision is float16, which cannot hold this network's numbers"):
        function.vectorize(**given)


def has_setuptools():
    """Debian splits it: the name alone may be there."""
    try:
        import setuptools.command  # noqa: F401
    except ImportError:
        return False
    return True


@pytest.mark.skipif(
    shutil.which("g++") is None or not has_setuptools(),
    reason="torch.compile needs a compiler of C++ and setuptools",
)
def test_compiled_networks_give_the_same(tmp_path):
    exact, _ = made(tmp_path / "a", "FeatureClassifier")
    translated, _ = made(tmp_path / "b", "FeatureClassifier", compile="True")
    one, two = ([float(confidence) for _, confidence in classified(function, chips())] for function in (exact, translated))
    assert two == pytest.approx(one, abs=1e-4)


def test_pixels_that_are_no_numbers_spoil_nothing(tmp_path):
    """Infinity and NaN count as what the mask excludes: there is a label, and the boxes beside it stay."""
    function, _ = made(tmp_path / "a", "FeatureClassifier")
    pixels = [chip.astype(np.float32) for chip in chips()]
    pixels[0][:, 5, 7] = np.inf
    pixels[1][0, 3, 3] = np.nan
    zeroed = [np.where(np.isfinite(chip), chip, 0).astype(np.float32) for chip in pixels]
    assert classified(function, pixels) == classified(function, zeroed)


def test_chips_that_are_too_small(tmp_path):
    """VGG pools until nothing is left of a chip of a few pixels, which costs them their labels; others do not."""
    small = chips(2, side=5)
    function, _ = made(tmp_path / "a", "FeatureClassifier", {"ModelParameters": {"backbone": "vgg11"}})
    with pytest.raises(ContractError, match="5 × 5 pixels is too small.*32 or more"):
        classified(function, small)
    for backbone in ("resnet18", "mobilenet_v2"):
        function, _ = made(tmp_path / backbone, "FeatureClassifier", {"ModelParameters": {"backbone": backbone}})
        assert len(classified(function, small)) == 2


def test_empty_values_are_as_if_they_were_not_there(tmp_path):
    _, configuration = made(tmp_path, "FeatureClassifier", {"NormalizationStats": False})
    values = json.loads((tmp_path / "Model.emd").read_text())
    (tmp_path / "Model.emd").write_text(json.dumps({**values, "DataRange": None, "BatchSize": None, "ImageWidth": None}))
    function = native.create("FeatureClassifier")
    function.initialize(model=str(tmp_path / "Model.emd"), device=-1)
    assert function.getConfiguration(test_time_augmentation="False", batch_size="4") == configuration


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tile_size": "99999"}, "tile_size is 99999"),
        ({"tile_size": "100"}, "tile_size is 100, but .*a multiple of 32"),
        ({"batch_size": "-4"}, "batch_size is -4"),
    ],
)
def test_sizes_that_cannot_be(tmp_path, arguments, message):
    with pytest.raises(native.errors.NativeError, match=message):
        made(tmp_path, "YOLOv3", {"SupportsVariableTileSize": True}, **arguments)


def test_scales_of_the_definition(tmp_path):
    """As text or as a list; a network that has one size leaves them."""
    for place, (family, scales, expected) in enumerate(
        [("RetinaNet", [1, 1.5], "1,1.5"), ("RetinaNet", "0.75,1", "0.75,1"), ("SingleShotDetector", "1,1.5", "1")]
    ):
        function, _ = made(tmp_path / str(place), family, {"tta_scales": scales}, test_time_augmentation="True")
        assert {each["name"]: each["value"] for each in function.getParameterInfo()}["tta_scales"] == expected


@pytest.mark.parametrize("scales", ["0", "x", "1,9", ""])
def test_scales_that_cannot_be(tmp_path, scales):
    with pytest.raises(native.errors.NativeError, match="tta_scales must be numbers from 0.25 to 4.0"):
        made(tmp_path, "RetinaNet", test_time_augmentation="True", tta_scales=scales)


def test_scales(tmp_path):
    """Looked at in several sizes, where the network takes these; refused where it does not."""
    arguments = {"test_time_augmentation": "True", "tta_scales": "1,1.5", "threshold": "0.3", "batch_size": "1", "padding": "0"}
    function, _ = made(tmp_path / "a", "RetinaNet", **arguments)
    pixels = chips(1)[0]
    assert features(function.vectorize(raster_pixels=pixels, raster_mask=np.ones_like(pixels)))
    with pytest.raises(native.errors.NativeError, match="SingleShotDetector has one size only"):
        made(tmp_path / "b", "SingleShotDetector", **arguments)


def test_what_the_mask_excludes_is_zero(tmp_path):
    function, _ = made(tmp_path, "RetinaNet", threshold="0.3", batch_size="1", padding="0", exclude_pad_detections="False")
    pixels = chips(1)[0]
    mask = np.ones_like(pixels)
    mask[:, 20:, :] = 0
    blank = np.where(mask == 0, 0, pixels).astype(np.uint8)
    first = features(function.vectorize(raster_pixels=pixels.copy(), raster_mask=mask))
    assert first == features(function.vectorize(raster_pixels=blank, raster_mask=np.ones_like(mask)))
    assert first != features(function.vectorize(raster_pixels=pixels.copy(), raster_mask=np.ones_like(mask)))


class Masks(torch.nn.Module):
    """A network of no weights that finds two objects: one in the middle, one in the padding. Stands in for Mask R-CNN,
    which needs torchvision; the rules around it are what is tested."""

    THRESHOLD, BATCH, BY_CLASS, SIDE_STEP = 0.9, 4, True, 1
    finds_masks = True

    @classmethod
    def of(cls, model, state):
        return cls()

    def detect(self, chips, threshold, max_overlap):
        masks = torch.zeros(2, *chips.shape[-2:])
        masks[0, 20:40, 20:44], masks[0, 28:32, 28:32], masks[0, 44:48, 20:24] = 0.8, 0.1, 0.7
        masks[1, 1:9, 20:30] = 0.9
        boxes = torch.tensor([[20.0, 20, 40, 44], [1.0, 20, 9, 30]])
        return [
            Found(boxes, torch.tensor([0.95, 0.91]), torch.tensor([1, 0]), masks if self.finds_masks else None) for _ in chips
        ]


def instances(folder, **arguments):
    from deep_learning_packages.worker.native.instance_detector import InstanceDetector

    values = trained.definition("RetinaNet")
    function = InstanceDetector(Masks)
    function.initialize(model=str(trained.package(folder, values, {"a": torch.ones(1)}) / "Model.emd"), device=-1)
    declared = {entry["name"]: str(entry["value"]) for entry in function.getParameterInfo() if entry["value"] is not None}
    configuration = function.getConfiguration(**{**declared, **arguments})
    side = configuration["tx"] + 2 * configuration["padding"]
    block = np.ones((3, side, side), np.uint8)
    return declared, features(function.vectorize(raster_pixels=block, raster_mask=block.copy()))


def test_instances(tmp_path):
    """Outlines with holes, one feature a part, in the unpadded block; what has its middle in the padding is another block's."""
    declared, found = instances(tmp_path, batch_size="1")
    stock = [
        "padding",
        "batch_size",
        "threshold",
        "return_bboxes",
        "test_time_augmentation",
        "merge_policy",
        "tile_size",
        "precision",
        "compile",
    ]
    assert list(declared) == stock
    assert [declared[name] for name in stock[:7]] == ["16", "4", "0.9", "False", "False", "mean", "64"]
    assert [len(each["geometry"]["rings"]) for each in found] == [1, 2]
    outer = np.array(found[1]["geometry"]["rings"][0])
    assert (outer.min(0).tolist(), outer.max(0).tolist()) == ([4, 4], [27, 23])
    assert {each["attributes"]["Class"] for each in found} == {"Car"}
    assert found[0]["attributes"]["Confidence"] == found[1]["attributes"]["Confidence"] == pytest.approx(95, abs=1e-4)
    assert [each["attributes"]["OID"] for each in found] == [1, 2]


def test_instances_as_boxes(tmp_path):
    _, found = instances(tmp_path, batch_size="4", return_bboxes="True")
    assert len(found) == 4
    assert found[0]["geometry"]["rings"] == [[[4, 4], [28, 4], [28, 24], [4, 24]]]
    assert found[3]["geometry"]["rings"] == [[[36, 36], [60, 36], [60, 56], [36, 56]]]


def test_boxes_of_several_views(tmp_path):
    """There are no masks to merge then."""
    _, found = instances(tmp_path, batch_size="1", test_time_augmentation="True", padding="0", return_bboxes="True")
    rings = [json.dumps(each["geometry"]["rings"]) for each in found]
    assert len(set(rings)) == len(rings) > 2


def test_instances_of_several_views(tmp_path):
    """The network that finds the same in every view finds several objects in the image; each is given once."""
    _, found = instances(tmp_path, batch_size="1", test_time_augmentation="True", padding="0")
    rings = [json.dumps(each["geometry"]["rings"]) for each in found]
    assert len(set(rings)) == len(rings) > 2
