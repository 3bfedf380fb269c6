"""What the sandbox costs: until a worker is ready, and for each block, against the same without one.

python benchmarks/sandbox.py    prints medians and ratios; the two take turns
"""

from __future__ import annotations

import statistics
import time

from common import PACKAGES, Collector, mirrored_raster
from deep_learning_packages.inference.interpreter import find_interpreter
from deep_learning_packages.inference.item import Item
from deep_learning_packages.inference.package import open_package
from deep_learning_packages.inference.plan import InferencePlan
from deep_learning_packages.inference.raster_function import Hosting
from deep_learning_packages.inference.rasters.gdal_raster import GdalRaster
from deep_learning_packages.inference.run import run_plan
from deep_learning_packages.inference.sandbox import Sandbox, find_sandbox
from deep_learning_packages.inference.worker import Worker

STARTS = 15
RUNS = 5
SIZE = 5_000
BLOCK = {"tile": "256", "padding": "32"}


def start(sandbox: Sandbox) -> float:
    """Seconds until a worker is ready."""
    began = time.perf_counter()
    worker = Worker(find_interpreter(), sandbox, (), (), lambda _: None)
    worker.wait(Collector(), 30)
    seconds = time.perf_counter() - began
    worker.kill()
    return seconds


def block(sandbox: Sandbox) -> float:
    """Seconds for a block of a function that does nothing."""
    source = GdalRaster(str(mirrored_raster(SIZE)))
    hosting = Hosting(find_interpreter(), sandbox)
    plan = InferencePlan(open_package(PACKAGES / "null"), BLOCK, (Item(source, source.grid.window),), hosting, restart=True)
    with run_plan(plan, Collector()) as result:
        result.settle()
    source.close()
    return result.statistics.seconds / result.statistics.blocks


def main() -> None:
    """Measure both."""
    contained, free = find_sandbox(), Sandbox(None, "off")
    if contained.program is None:
        raise SystemExit(f"no sandbox: {contained.description}")
    for name, measure, times in (("start", start, STARTS), ("block", block, RUNS)):
        taken = [(measure(contained), measure(free)) for _ in range(times)]
        on, off = (statistics.median(column) * 1000 for column in zip(*taken))
        print(f"{name}: {on:.2f} ms in the sandbox, {off:.2f} ms without, ratio {on / off:.2f}")


if __name__ == "__main__":
    main()
