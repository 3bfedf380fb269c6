"""Fifty thousand blocks with a function that does nothing: does anything grow?

python benchmarks/long_run.py    prints memory, descriptors and threads of host and worker, five thousand blocks apart
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from common import PACKAGES, Collector
from deep_learning_packages.inference.interpreter import find_interpreter
from deep_learning_packages.inference.item import Item
from deep_learning_packages.inference.package import open_package
from deep_learning_packages.inference.plan import InferencePlan
from deep_learning_packages.inference.raster_function import Hosting
from deep_learning_packages.inference.rasters.gdal_raster import GdalRaster
from deep_learning_packages.inference.run import run_plan
from deep_learning_packages.inference.sandbox import find_sandbox
from osgeo import gdal

SIDE = 8
ROWS = 224
STEP = 5000


class Watch(Collector):
    """Looks at both processes now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.next, self.seen = 0, 0

    def progress(self, percent: float) -> None:  # noqa: ARG002 - blocks are counted
        """Called for every block."""
        self.seen += 1
        if self.seen >= self.next:
            self.next += STEP
            print(f"{self.seen:6} blocks: host {text(state(os.getpid()))}; worker {text(state(worker()))}", flush=True)


def state(process: int) -> tuple[int, int, int]:
    """Memory in KiB that is no file's, descriptors, threads."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]), len(os.listdir(f"/proc/{process}/fd")), int(status["Threads"])


def text(values: tuple[int, ...]) -> str:
    """For people."""
    return f"{values[0] / 1024:.1f} MiB, {values[1]} descriptors, {values[2]} threads"


def worker() -> int:
    """The innermost process that we have started."""
    process = os.getpid()
    while True:
        children = [child for path in Path(f"/proc/{process}/task").glob("*/children") for child in path.read_text().split()]
        if not children:
            return process
        process = int(children[-1])


def main() -> None:
    """Run it."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DLPK_CACHE"] = folder
        path = str(Path(folder) / "raster.tif")
        pixels = np.random.default_rng(1).integers(0, 255, (SIDE * ROWS, SIDE * ROWS), np.uint8)
        dataset = gdal.GetDriverByName("GTiff").Create(path, SIDE * ROWS, SIDE * ROWS, 1, gdal.GDT_Byte, ["TILED=YES"])
        dataset.GetRasterBand(1).WriteArray(pixels)
        dataset.FlushCache()
        del dataset
        gdal.SetCacheMax(1 << 20)  # else it keeps the whole small raster by and by, as it may
        source, watch = GdalRaster(path), Watch()
        hosting = Hosting(find_interpreter(), find_sandbox())
        plan = InferencePlan(
            open_package(PACKAGES / "null"), {"tile": str(SIDE), "padding": "0"}, (Item(source, source.grid.window),), hosting
        )
        with run_plan(plan, watch) as result:
            print(f"{result.statistics.blocks} blocks in {result.statistics.seconds:.1f} s")
            result.settle()
        source.close()


if __name__ == "__main__":
    main()
