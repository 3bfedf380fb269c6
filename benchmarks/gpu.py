"""How well the pipeline keeps a GPU busy: needs torch, numpy and shapely, neither QGIS nor GDAL.

    python benchmarks/gpu.py [--size 16384] [--workers 1 2 3] [--arguments "batch_size 64"]

A raster in memory goes through a detector of the size of ResNet-50 (random weights, half precision). Compared are
the pipeline with n workers and the same blocks, preloaded, passed straight to vectorize in one process. On a
machine without a GPU it runs on the CPU.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from dataclasses import dataclass

import numpy as np
from common import PACKAGES, DirectFunction, median, run_pipeline, write_results
from deep_learning_packages.inference.grid import Affine, Grid, Window
from deep_learning_packages.inference.rasters.source import Validity

PACKAGE = PACKAGES / "resnet50"
PRELOADED = 24  # blocks, used again and again


@dataclass(frozen=True)
class MemoryRaster:
    """A RasterSource over an array (bands, height, width)."""

    pixels: np.ndarray

    @property
    def grid(self) -> Grid:
        """Pixels as map units."""
        bands, height, width = self.pixels.shape
        return Grid(width, height, Affine(0, 1, 0, 0, 0, -1), "", self.pixels.dtype.name, ("",) * bands)

    @property
    def identity(self) -> str:
        """It lives as long as this process."""
        return f"memory {os.getpid()} {id(self.pixels)}"

    def mask_bands(self, bands: tuple[int, ...]) -> int:  # noqa: ARG002 - the protocol
        """One mask for all."""
        return 1

    def value_range(self, band: int) -> tuple[float, float]:
        """The range of the band."""
        return float(self.pixels[band].min()), float(self.pixels[band].max())

    def read(self, window: Window, bands: tuple[int, ...], out: np.ndarray, mask: np.ndarray) -> Validity:
        """Copy pixels."""
        inside = window.intersection(self.grid.window)
        if inside is None:
            return Validity.EMPTY
        rows = slice(inside.row - window.row, inside.row - window.row + inside.height)
        columns = slice(inside.column - window.column, inside.column - window.column + inside.width)
        whole = inside == window
        if not whole:
            out[...] = 0
            mask[...] = 0
            mask[:, rows, columns] = 1
        source = self.pixels[:, inside.row : inside.row + inside.height, inside.column : inside.column + inside.width]
        for band, plane in zip(bands, out):
            plane[rows, columns] = source[band]
        return Validity.FULL if whole else Validity.PARTIAL

    def clone(self) -> MemoryRaster:
        """The same array."""
        return self

    def close(self) -> None:
        """Nothing to let go of."""


def noise(size: int) -> MemoryRaster:
    """Random pixels, repeated to size × size."""
    tile = np.random.default_rng(0).integers(0, 256, (3, 1024, 1024), np.uint8)
    repeats = -(-size // 1024)
    return MemoryRaster(np.tile(tile, (1, repeats, repeats))[:, :size, :size].copy())


def direct_megapixels_per_second(arguments: str, device: int, answers: multiprocessing.Queue) -> None:
    """Vectorize preloaded blocks in this process, and put the rate of core pixels into the queue."""
    function = DirectFunction(PACKAGE, arguments, device)
    blocks = [function.read(source, block) for source in [noise(8192)] for block in function.blocks(source)[:PRELOADED]]
    function.seconds(blocks[:4])
    seconds = median(lambda: function.seconds(blocks))
    core = function.configuration.width * function.configuration.height
    answers.put(len(blocks) * core / 1e6 / seconds)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=16384)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--arguments", default="")
    chosen = parser.parse_args()
    import torch

    device = 0 if torch.cuda.is_available() else -1
    name = torch.cuda.get_device_name(0) if device == 0 else "CPU"
    answers: multiprocessing.Queue = multiprocessing.get_context("spawn").Queue()
    process = multiprocessing.get_context("spawn").Process(
        target=direct_megapixels_per_second, args=(chosen.arguments, device, answers)
    )
    process.start()
    direct = answers.get()
    process.join()
    print(f"{name}, {os.cpu_count()} cores, raster {chosen.size}², arguments '{chosen.arguments}'")
    print(f"vectorize alone, one process: {direct:8.1f} Mpx/s")
    raster, rows = noise(chosen.size), []
    for workers in chosen.workers:
        statistics, lines = run_pipeline(PACKAGE, raster, chosen.arguments, workers)
        rate = statistics.pixels / 1e6 / statistics.seconds
        busy = sum(float(line.split()[1]) for line in lines if line.startswith("gpu_seconds")) / statistics.seconds
        rows.append({"workers": workers, "rate": rate, "efficiency": rate / direct, "busy": busy,
                     "waited_for_reader": statistics.waited_for_reader, "seconds": statistics.seconds})  # fmt: skip
        waited = f"{statistics.waited_for_reader:.2f} of {statistics.seconds:.2f} s waited for the reader"
        print(f"pipeline, {workers} worker(s): {rate:8.1f} Mpx/s, efficiency {rate / direct:5.2f}, GPU {busy:4.0%}, {waited}")
    write_results("gpu", {"device": name, "direct": direct, "arguments": chosen.arguments, "pipeline": rows})


if __name__ == "__main__":
    main()
