"""Classification by the number of features: the sample classifier at random points of a mirrored town.

python benchmarks/chips.py COUNT direct | pipeline | null    prints seconds, and the peak memory of the host in MiB; `null` runs
a function that does nothing
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import shapely
from common import PACKAGES, SAMPLE, DirectFunction, mirrored_raster, peak_mebibytes
from deep_learning_packages.inference.classification.features import Features
from deep_learning_packages.inference.feedback import LogFeedback
from deep_learning_packages.inference.grid import Window
from deep_learning_packages.inference.interpreter import find_interpreter
from deep_learning_packages.inference.item import Item
from deep_learning_packages.inference.package import open_package
from deep_learning_packages.inference.plan import InferencePlan
from deep_learning_packages.inference.raster_function import Hosting
from deep_learning_packages.inference.rasters.gdal_raster import GdalRaster
from deep_learning_packages.inference.run import run_plan
from deep_learning_packages.inference.sandbox import find_sandbox

PACKAGE = SAMPLE / "tree_check.dlpk"
SIDE, CHIP, PORTION = 8192, 32, 1000


def points(count: int) -> np.ndarray:
    """Random places (count, 2) in pixels, whose chips lie inside."""
    return np.random.default_rng(1).uniform(CHIP, SIDE - CHIP, (count, 2))


def direct(source: GdalRaster, count: int) -> float:
    """Seconds of the function alone, with chips that are in memory already."""
    function = DirectFunction(PACKAGE)
    batch = function.configuration.crop.batch_size
    corners = np.floor(points(min(count, 20_000)) - CHIP / 2 + 0.5).astype(int)
    chips = np.empty((len(corners), 4, CHIP, CHIP), np.uint8)
    for chip, (column, row) in zip(chips, corners.tolist()):
        source.read(Window(column, row, CHIP, CHIP), (0, 1, 2, 3), chip, np.empty((1, CHIP, CHIP), np.uint8))
    mask = np.ones((4, CHIP, CHIP), np.uint8)
    began = time.perf_counter()
    for start in range(0, len(chips), batch):
        group = tuple(chips[start : start + batch])
        function.function.vectorize(rasters_pixels=group, rasters_mask=(mask,) * len(group))
    return (time.perf_counter() - began) * count / len(chips)


def pipeline(source: GdalRaster, count: int, package: Path) -> float:
    """Seconds of the whole: features taken and sorted, chips cut and classified, labels read in the features' order."""
    item = Item(source, source.grid.window)
    places = source.grid.affine.apply(points(count))
    began = time.perf_counter()
    features = Features((item,))
    for start in range(0, count, PORTION):
        written = shapely.to_wkb(shapely.points(places[start : start + PORTION]))
        features.add([b""] * len(written), {source.grid.crs: list(written)})
    features.seal()
    plan = InferencePlan(open_package(package), {}, (item,), Hosting(find_interpreter(), find_sandbox()), features=features)
    with run_plan(plan, LogFeedback()) as result:
        labelled = sum(row.answer is not None for row in result.rows())
        loading = next(iter(result.seconds.values()))
        result.settle()
    if labelled != count:
        raise SystemExit(f"{labelled} of {count} features have a label")
    features.close()
    return time.perf_counter() - began - loading


def main(count: int, mode: str) -> None:
    """Measure one mode; loading the model does not count in either."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DLPK_CACHE"] = folder
        source = GdalRaster(str(mirrored_raster(SIDE, image="town")))
        package = PACKAGES / "null_chips" if mode == "null" else PACKAGE
        seconds = direct(source, count) if mode == "direct" else pipeline(source, count, package)
        source.close()
    print(f"{seconds:.3f} {peak_mebibytes()}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
