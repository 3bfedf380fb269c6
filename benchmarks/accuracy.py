"""Accuracy of the sample package over the NEON test plots, against hand-drawn crowns.

The plots go through dlpk:detectobjects with tiling and Non Maximum Suppression, for several sizes of the core, and
through the network alone, whole plot at once. A crown is found when a box overlaps it by an IoU of at least 0.4,
best boxes first, one box a crown.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
import tempfile
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from common import SAMPLE, write_results
from osgeo import gdal
from toolbox import Toolbox

NEON = Path(__file__).resolve().parents[2] / "shared" / "data" / "neon"
IOU = 0.4
THRESHOLD = 0.35
OVERLAP = 0.3
PADDING = 64
CORES = (256, 384, 512, 640, 768, 1024)
Found = tuple[np.ndarray, np.ndarray]


def test_plots() -> dict[str, np.ndarray]:
    """The hand-drawn boxes of each test plot, without the sparsely labelled ones of 2017."""
    with (NEON / "split.csv").open() as file:
        names = [row["plot"] for row in csv.DictReader(file) if row["split"] == "test" and not row["plot"].endswith("_2017")]
    boxes: dict[str, list[list[float]]] = {name: [] for name in names if (NEON / "plots" / f"{name}.tif").exists()}
    with (NEON / "boxes.csv").open() as file:
        for row in csv.DictReader(file):
            if row["plot"] in boxes:
                boxes[row["plot"]].append([float(row[side]) for side in ("xmin", "ymin", "xmax", "ymax")])
    return {name: np.array(truth).reshape(-1, 4) for name, truth in boxes.items()}


def hits(boxes: np.ndarray, scores: np.ndarray, truth: np.ndarray) -> int:
    """How many boxes find a crown of their own, best first."""
    free = np.ones(len(truth), bool)
    for box in boxes[np.argsort(-scores, kind="stable")]:
        size = np.minimum(box[2:], truth[:, 2:]) - np.maximum(box[:2], truth[:, :2])
        common = np.clip(size, 0, None).prod(axis=1)
        union = (box[2:] - box[:2]).prod() + (truth[:, 2:] - truth[:, :2]).prod(axis=1) - common
        overlap = np.where(free, common / union, 0)
        if len(overlap) and overlap.max() >= IOU:
            free[overlap.argmax()] = False
    return int((~free).sum())


class NetworkAlone:
    """The network of the sample over a whole plot at once."""

    def __init__(self, folder: Path) -> None:
        import torch

        sys.path.insert(0, str(folder))
        import crown_network
        import TreeCrownDetector

        self.torch, self.crowns = torch, crown_network.crowns
        self.mean, self.deviation = TreeCrownDetector.MEAN, TreeCrownDetector.DEVIATION
        self.network = crown_network.CrownNetwork()
        self.network.load_state_dict(torch.load(folder / "tree_crowns.pt", weights_only=True))
        self.network.eval()

    def detect(self, plot: Path) -> Found:
        """Boxes in pixels and scores."""
        image = gdal.Open(str(plot)).ReadAsArray()[:3]
        height, width = image.shape[1:]
        batch = (self.torch.from_numpy(image)[None].float() / 255 - self.mean) / self.deviation
        batch = self.torch.nn.functional.pad(batch, (0, -width % 32, 0, -height % 32))
        with self.torch.inference_mode():
            boxes, scores, _ = self.crowns(*self.network(batch), THRESHOLD, OVERLAP)[0]
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = (centres < (width, height)).all(axis=1)
        return np.clip(boxes[inside], 0, (width, height, width, height)), scores[inside]


class ThroughAlgorithm:
    """dlpk:detectobjects with a package whose tile makes cores of a given size."""

    def __init__(self, folder: Path, toolbox: Toolbox) -> None:
        self.folder, self.toolbox = folder, toolbox

    def set_core(self, core: int) -> None:
        """Change the tile in the package's definition."""
        path = self.folder / "TreeCrowns.emd"
        definition = json.loads(path.read_text())
        definition["ImageHeight"] = definition["ImageWidth"] = core + 2 * PADDING
        path.write_text(json.dumps(definition))

    def detect(self, plot: Path) -> Found:
        """Boxes in pixels and scores."""
        parameters = {
            "INPUT": str(plot), "MODEL": str(self.folder), "NMS": True, "MAX_OVERLAP": OVERLAP,
            "ARGUMENTS": {"padding": PADDING, "threshold": THRESHOLD, "batch_size": 1},
        }  # fmt: skip
        layer = self.toolbox.run("detectobjects", parameters)
        left, pixel, _, top, _, _ = gdal.Open(str(plot)).GetGeoTransform()
        boxes, scores = [], []
        for feature in layer.getFeatures():
            box = feature.geometry().boundingBox()
            boxes.append([box.xMinimum() - left, top - box.yMaximum(), box.xMaximum() - left, top - box.yMinimum()])
            scores.append(feature["Confidence"])
        return np.array(boxes).reshape(-1, 4) / pixel, np.array(scores)


def score(name: str, detector: NetworkAlone | ThroughAlgorithm, plots: dict[str, np.ndarray]) -> dict[str, float]:
    """Print a line of figures, and F1 by site."""
    counts: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3, int))
    for plot, truth in plots.items():
        boxes, scores = detector.detect(NEON / "plots" / f"{plot}.tif")
        counts[plot[:4]] += (hits(boxes, scores, truth), len(boxes), len(truth))
    found, predicted, true = np.sum(list(counts.values()), axis=0)
    f1 = {site: 2 * c[0] / max(c[1] + c[2], 1) for site, c in sorted(counts.items())}
    total = 2 * found / (predicted + true)
    print(
        f"{name:<20}{found:>5}{predicted:>6}{true:>6}{found / predicted:>8.3f}{found / true:>8.3f}{total:>8.3f}   "
        + " ".join(f"{site} {value:.3f}" for site, value in f1.items()),
        flush=True,
    )
    return {"found": int(found), "predicted": int(predicted), "true": int(true), "F1": float(total), **f1}


def main() -> None:
    """Score the network alone and the algorithm with every core size."""
    if not NEON.exists():
        raise SystemExit(f"The NEON plots are not at {NEON}. docs/sample-model.md tells where they come from.")
    gdal.UseExceptions()
    plots = test_plots()
    folder = Path(tempfile.mkdtemp(prefix="dlpk-accuracy-"))
    try:
        with zipfile.ZipFile(SAMPLE / "tree_crowns.dlpk") as package:
            package.extractall(folder)
        toolbox = Toolbox()
        algorithm = ThroughAlgorithm(folder, toolbox)
        print(f"{len(plots)} plots, threshold {THRESHOLD}, IoU {IOU}")
        print(f"{'':<20}found  said  true  precis.  recall      F1   F1 by site")
        results = {"network alone": score("network alone", NetworkAlone(folder), plots)}
        for core in CORES:
            algorithm.set_core(core)
            results[f"core {core}"] = score(f"algorithm, core {core}", algorithm, plots)
        write_results("accuracy", results)
        worst = max(abs(row["F1"] - results["network alone"]["F1"]) for row in results.values())
        print(f"Largest difference of F1 between the algorithm and the network alone: {worst:.3f}")
        toolbox.close()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
