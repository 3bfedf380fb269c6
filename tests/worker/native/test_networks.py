"""Networks against the originals where these are, and against brute force where they are not."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import trained
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from deep_learning_packages.worker.native import retinanet, single_shot_detector, trunks  # noqa: E402
from deep_learning_packages.worker.native.errors import NativeError  # noqa: E402
from deep_learning_packages.worker.native.model import Model  # noqa: E402
from deep_learning_packages.worker.native.single_shot_grids import Step, steps_of  # noqa: E402

TRUNKS = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "vgg11", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19",
          "densenet121", "densenet161", "densenet169", "densenet201", "mobilenet_v2"]  # fmt: skip
needs_torchvision = pytest.mark.skipif(not trained.has_torchvision(), reason="torchvision is not there")


@needs_torchvision
@pytest.mark.parametrize("name", TRUNKS)
@torch.inference_mode()
def test_trunks_are_torchvision_s(name):
    """The weights of the original fit by their names, and give the same features."""
    import torchvision

    torch.manual_seed(1)
    original = getattr(torchvision.models, name)(weights=None).eval()
    children = list(original.children())
    theirs = torch.nn.Sequential(*children[:-2]) if name.startswith("resnet") else torch.nn.Sequential(original.features)
    ours = trunks.trunk(name, 3).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    chips = torch.rand(1, 3, 96, 96)
    assert torch.allclose(ours(chips), theirs(chips), atol=1e-5)


@pytest.mark.parametrize("name", TRUNKS)
def test_trunks_end_at_a_stride_of_32(name):
    with torch.no_grad():
        features = trunks.trunk(name, 5).to("meta")(torch.zeros(1, 5, 128, 160, device="meta"))
    assert features.shape[-2:] == (4, 5)


def test_unknown_trunks_are_named():
    with pytest.raises(NativeError, match=r"trunk is no_such_net"):
        trunks.trunk("no_such_net", 3)


def test_trunks_of_timm():
    timm = pytest.importorskip("timm")
    ours = trunks.trunk("timm:resnet34", 4)
    assert ours(torch.zeros(1, 4, 64, 64)).shape == (1, 512, 2, 2)
    assert set(ours.state_dict()) == set(trunks.trunk("resnet34", 4).state_dict()), timm.__version__


def size_after(step, before):
    """By torch's own convolution."""
    features = torch.zeros(1, 1, before, before, device="meta")
    if step.resize:
        features = torch.nn.functional.interpolate(features, size=(step.resize, step.resize))
    return torch.nn.Conv2d(1, 1, step.kernel, step.stride, step.padding, device="meta")(features).shape[-1]


def exact_fits(before, grid):
    tries = itertools.product((3, 2, 5, 4), range(4), (1, 2, 3))
    return [
        Step(kernel, stride, padding) for kernel, padding, stride in tries if (grid - 1) * stride == before - kernel + 2 * padding
    ]


@pytest.mark.parametrize("tile", range(64, 1025, 32))
def test_every_grid_of_a_tile(tile):
    """Version 1 gives each grid or says that none does; version 2 gives all, also finer ones, out of either last stage."""
    for side in (tile // 32, tile // 16):
        for grid in range(1, 2 * side + 1):
            (step,) = steps_of([grid], side, 2)
            assert size_after(step, side) == grid
            assert (step.resize != 0) <= (grid != 1)
            fits = exact_fits(side, grid)
            if grid == 1:
                assert steps_of([grid], side, 1) == [Step(side, 1, 0)]
            elif fits:
                assert steps_of([grid], side, 1) == [fits[0]]
                assert size_after(fits[0], side) == grid
            else:
                with pytest.raises(NativeError, match=f"{grid} cells out of {side}"):
                    steps_of([grid], side, 1)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(2, 40))
def test_grids_one_after_another(grids, side):
    """Each is made of the one before; the second version resizes where a grid does not shrink."""
    before = side
    for place, (grid, step) in enumerate(zip(grids, steps_of(grids, side, 2))):
        assert size_after(step, before) == grid
        if grid != 1 and (grid > before or (grid == before and place)):
            assert step == Step(3, 1, 1, grid)
        before = grid


def test_anchors_of_the_single_shot_detector():
    values = trained.definition("SingleShotDetector", Grids=[3, 2, 1], ImageHeight=96, ModelFile=__file__)
    state = {"1.sconvs.0.conv.weight": torch.empty(256, 512, 3, 3), "0.7.": torch.empty(0)}
    anchors, cells = single_shot_detector.SingleShotDetector(Model("/x/M.emd", values), state).anchors()
    expected = [
        [(row + 0.5) / grid, (column + 0.5) / grid, zoom * height / grid, zoom * width / grid, 1 / grid]
        for grid in (3, 2, 1) for row in range(grid) for column in range(grid)
        for zoom in values["Zooms"] for height, width in values["Ratios"]
    ]  # fmt: skip
    assert np.allclose(torch.cat([anchors, cells], 1), expected, atol=1e-6)


@pytest.mark.parametrize("tile", [64, 96, 100, 224, 400])
def test_anchors_of_retinanet(tile):
    network = retinanet.RetinaNet(Model("/x/M.emd", trained.definition("RetinaNet", ImageHeight=tile)), 2, 9)
    with torch.no_grad():
        sides = [level.shape[-1] for level in network._levels(torch.zeros(1, 3, tile, tile))]
    assert sides == retinanet.level_sides(tile)
    expected = [
        [(row + 0.5) * tile / side, (column + 0.5) * tile / side,
         4 * tile / side * scale * math.sqrt(aspect), 4 * tile / side * scale / math.sqrt(aspect)]
        for side in sides for row in range(side) for column in range(side)
        for aspect in (0.5, 1, 2) for scale in (1, 2 ** (-1 / 3), 2 ** (-2 / 3))
    ]  # fmt: skip
    assert np.allclose(network.anchors(tile), expected, rtol=1e-5)


@needs_torchvision
@pytest.mark.parametrize("mask", [False, True])
@torch.inference_mode()
def test_region_networks_are_torchvision_s(tmp_path, mask):
    """Against torchvision's own builders, which normalise by themselves, on the same weights."""
    from torchvision.models.detection import fasterrcnn_resnet50_fpn, maskrcnn_resnet50_fpn

    torch.manual_seed(3)
    side, build = 96, maskrcnn_resnet50_fpn if mask else fasterrcnn_resnet50_fpn
    theirs = build(weights=None, weights_backbone=None, num_classes=3, min_size=1.5 * side, max_size=2 * side).eval()
    family, kind = ("MaskRCNN", "InstanceDetection") if mask else ("FasterRCNN", "ObjectDetection")
    values = {
        "Framework": "arcgis.learn.models._inferencing", "ImageHeight": side, "Classes": trained.CLASSES, "ModelName": family,
        "ModelConfiguration": "_maskrcnn_inferencing" if mask else "_model_extension_inferencing", "ModelType": kind,
        "ModelParameters": {"backbone": "resnet50"}, "Kwargs": {"pretrained_backbone": True, "box_detections_per_img": 7}, "MaskRCNNkwargs": {"box_detections_per_img": 7},
    }  # fmt: skip
    theirs.roi_heads.detections_per_img, theirs.roi_heads.score_thresh = 7, 0.01
    from deep_learning_packages.worker import native

    for state in (theirs.state_dict(), older(theirs.state_dict())):
        made = native.create(family)
        made.initialize(model=str(trained.package(tmp_path, values, state) / "Model.emd"), device=-1)
        chips = torch.rand(2, 3, side, side)
        answers = made.network.detect((chips * 255).clone(), 0.01, theirs.roi_heads.nms_thresh)
        for ours, original in zip(answers, theirs(list(chips))):
            assert 0 < len(ours.scores) == len(original["scores"]) <= 7
            assert torch.allclose(ours.boxes[:, [1, 0, 3, 2]], original["boxes"], atol=1e-2)
            assert torch.allclose(ours.scores, original["scores"], atol=1e-4)
            assert torch.equal(ours.classes + 1, original["labels"])
            assert not mask or torch.allclose(ours.masks, original["masks"][:, 0], atol=1e-3)


def older(state):
    """The names before torchvision 0.13, and no counters."""
    import re

    names = {}
    for name in state:
        older_name = re.sub(r"^rpn\.head\.conv\.0\.0\.", "rpn.head.conv.", name)
        older_name = re.sub(r"^(backbone\.fpn\.\w+_blocks\.\d)\.0\.", r"\1.", older_name)
        older_name = re.sub(
            r"^roi_heads\.mask_head\.(\d)\.0\.", lambda found: f"roi_heads.mask_head.mask_fcn{int(found[1]) + 1}.", older_name
        )
        names[name] = older_name
    return {names[name]: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
