"""Networks of packages that ArcGIS trained: seconds for 512² pixels, against the straightforward way, in turns.

python benchmarks/native.py    prints a table and writes results/native.json

The straightforward way takes one mini-tile after another, in torch's usual order of memory, and suppresses duplicates box
by box; for the two families of torchvision it is torchvision's own network, image by image. Weights are random, which costs
networks what real ones cost; where the library is missing, its families are left out.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from common import REPEATS, ROOT, write_results

sys.path.insert(0, str(ROOT / "tests"))
import trained
from deep_learning_packages.worker import native
from deep_learning_packages.worker.native import boxes, network

SIDE, TILE = 512, 256
VARIANTS: dict[str, dict[str, str]] = {"native": {}, "bfloat16": {"precision": "bfloat16"}, "compiled": {"compile": "True"}}
FAMILIES: dict[str, dict[str, Any]] = {
    "RetinaNet": {"ModelParameters": {"backbone": "resnet50"}},
    "SingleShotDetector": {"Grids": [4, 2, 1], "ModelParameters": {"backbone": "resnet34"}},
    "YOLOv3": {},
    "FeatureClassifier": {"ModelParameters": {"backbone": "resnet34"}},
}


def looped(found: torch.Tensor, is_there: torch.Tensor, is_duplicate: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Suppression box by box, as most programs have it."""
    kept = is_there.clone()
    for group in range(found.shape[0]):
        for place in range(found.shape[1]):
            if kept[group, place]:
                later = boxes.overlap(found[group, place : place + 1], found[group, place + 1 :])[0]
                kept[group, place + 1 :] &= ~is_duplicate(later)
    return kept


def function(folder: Path, family: str, **arguments: str) -> Any:  # noqa: ANN401 - a raster function
    """A configured function with random weights, of which about one anchor in a hundred passes."""
    values = trained.definition(family, ImageHeight=TILE, ImageWidth=TILE, **FAMILIES[family])
    made = native.create(family)
    made.initialize(model=str(trained.package(folder, values, trained.random_state(values)) / "Model.emd"), device=-1)
    declared = {entry["name"]: str(entry["value"]) for entry in made.getParameterInfo() if entry["value"] is not None}
    made.getConfiguration(**{**declared, "batch_size": "4", "padding": "0", **arguments})
    return made


def whole(made: Any, block: np.ndarray) -> None:  # noqa: ANN401
    """The block as the host hands it over."""
    if hasattr(made, "settings"):
        made.vectorize(raster_pixels=block.copy(), raster_mask=np.ones_like(block))
    else:
        chips = tuple(np.ascontiguousarray(chip) for chip in quarters(block))
        made.vectorize(rasters_pixels=chips, rasters_mask=tuple(np.ones_like(chip) for chip in chips))


def quarters(block: np.ndarray) -> list[np.ndarray]:
    """Its four mini-tiles."""
    return [block[:, y : y + TILE, x : x + TILE] for y in (0, TILE) for x in (0, TILE)]


def straightforward(made: Any, block: np.ndarray) -> None:  # noqa: ANN401
    """Mini-tile by mini-tile, box by box."""
    made.network.to(memory_format=torch.contiguous_format)
    with torch.inference_mode(), mock.patch.object(network, "suppressed", looped):
        for chip in quarters(block):
            pixels = torch.from_numpy(chip[None].astype(np.float32))
            if hasattr(made, "settings"):
                found = made.network.detect(pixels, made.settings.threshold, made.settings.max_overlap)[0]
                json.dumps([found.boxes.tolist(), found.scores.tolist()])
            else:
                made.network.scores(pixels).tolist()


def torchvision_pair(folder: Path, masks: bool) -> tuple[Callable[[], None], Callable[[], None]]:
    """The native function, and torchvision's network image by image, with the same weights; float32."""
    from torchvision.models.detection import fasterrcnn_resnet50_fpn, maskrcnn_resnet50_fpn

    torch.manual_seed(3)
    build, family = (maskrcnn_resnet50_fpn, "MaskRCNN") if masks else (fasterrcnn_resnet50_fpn, "FasterRCNN")
    theirs = build(weights=None, weights_backbone=None, num_classes=3, min_size=1.5 * TILE, max_size=2 * TILE).eval()
    values = {
        **trained.definition("RetinaNet", ImageHeight=TILE), "ModelName": family, "ModelParameters": {"backbone": "resnet50"},
    }  # fmt: skip
    made = native.create(family)
    made.initialize(model=str(trained.package(folder, values, theirs.state_dict()) / "Model.emd"), device=-1)
    declared = {entry["name"]: str(entry["value"]) for entry in made.getParameterInfo() if entry["value"] is not None}
    made.getConfiguration(**{**declared, "batch_size": "4", "padding": "0"})
    block = pixels()

    def original() -> None:
        with torch.inference_mode():
            for chip in quarters(block):
                theirs([torch.from_numpy(chip.astype(np.float32) / 255)])

    return lambda: whole(made, block), original


def pixels() -> np.ndarray:
    """A block of noise."""
    return np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE)).astype(np.uint8)


def seconds(work: Callable[[], None]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def medians(works: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Of several rounds in turns, after one that does not count."""
    for work in works.values():
        work()
    rounds = [{name: seconds(work) for name, work in works.items()} for _ in range(2 * REPEATS)]
    return {name: statistics.median(each[name] for each in rounds) for name in works}


def main() -> None:
    """Measure all families that can be."""
    block, table = pixels(), {}
    with tempfile.TemporaryDirectory() as folder:
        for family in FAMILIES:
            threshold = {"threshold": "0.6"} if family in ("RetinaNet", "SingleShotDetector") else {}
            made = {name: function(Path(folder) / name, family, **threshold, **more) for name, more in VARIANTS.items()}
            plain = function(Path(folder) / "plain", family, **threshold)
            works = {name: lambda each=each: whole(each, block) for name, each in made.items()}
            table[family] = medians({"straightforward": lambda plain=plain: straightforward(plain, block), **works})
        for family, masks in (("FasterRCNN", False), ("MaskRCNN", True)) if trained.has_torchvision() else ():
            ours, theirs = torchvision_pair(Path(folder) / family, masks)
            table[family] = medians({"straightforward": theirs, "native": ours})
    for family, each in table.items():
        first = each["straightforward"]
        print(f"{family}: " + ", ".join(f"{name} {value:.3f} s ({first / value:.2f})" for name, value in each.items()))
    write_results("native", table)


if __name__ == "__main__":
    main()
