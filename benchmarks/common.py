"""What the benchmarks share: plans, direct calls of a raster function, medians, rasters that repeat a real image."""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "build" / "plugins"))

from deep_learning_packages.inference.arguments import declared_arguments, parse_values, scalars  # noqa: E402
from deep_learning_packages.inference.blocks import Block, BlockGrid  # noqa: E402
from deep_learning_packages.inference.configuration import Configuration  # noqa: E402
from deep_learning_packages.inference.feedback import LogFeedback  # noqa: E402
from deep_learning_packages.inference.grid import Window  # noqa: E402
from deep_learning_packages.inference.interpreter import find_interpreter  # noqa: E402
from deep_learning_packages.inference.item import Item  # noqa: E402
from deep_learning_packages.inference.package import open_package  # noqa: E402
from deep_learning_packages.inference.pipeline import Statistics  # noqa: E402
from deep_learning_packages.inference.plan import InferencePlan  # noqa: E402
from deep_learning_packages.inference.raster_function import Hosting  # noqa: E402
from deep_learning_packages.inference.rasters.source import RasterSource  # noqa: E402
from deep_learning_packages.inference.sandbox import find_sandbox  # noqa: E402

PACKAGES = Path(__file__).parent / "packages"
SAMPLE = ROOT / "resources" / "sample"
RESULTS = Path(__file__).parent / "results"
REPEATS = 3


class Collector(LogFeedback):
    """A Feedback that keeps what the package prints."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def debug(self, text: str) -> None:
        """Keep a line."""
        self.lines.append(text)


def run_pipeline(
    package: Path, source: RasterSource, arguments: str = "", workers: int | None = None, extent: Window | None = None
) -> tuple[Statistics, list[str]]:
    """Run a package over a raster; what it did, and what it printed."""
    from deep_learning_packages.inference.run import run_plan

    hosting = Hosting(find_interpreter(), find_sandbox())
    plan = InferencePlan(
        open_package(package),
        parse_values(arguments),
        (Item(source, extent or source.grid.window),),
        hosting,
        workers=workers,
        restart=True,
    )
    feedback = Collector()
    with run_plan(plan, feedback) as result:
        result.settle()
        return result.statistics, feedback.lines


class DirectFunction:
    """A raster function in this very process, called as simply as can be."""

    def __init__(self, package: Path, arguments: str = "", device: int = -1) -> None:
        opened = open_package(package)
        path = Path(opened.function)
        sys.path.insert(0, str(path.parent))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module: Any = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        spec.loader.exec_module(module)  # type: ignore[union-attr]
        self.function = getattr(module, path.stem)()
        model = str(opened.definition.path)
        self.function.initialize(model=model, device=device)
        values, _ = scalars(declared_arguments(self.function.getParameterInfo()), parse_values(arguments))
        answer = self.function.getConfiguration(**values, model=model, device=device)
        answer = {key: list(value) if isinstance(value, tuple) else value for key, value in answer.items()}
        self.configuration = Configuration.from_answer(answer, opened.definition.values, values)

    def blocks(self, source: RasterSource) -> list[Block]:
        """The blocks of a raster that the host would send."""
        return list(BlockGrid(source.grid.window, self.configuration))

    def read(self, source: RasterSource, block: Block) -> np.ndarray:
        """The pixels of a block."""
        bands = self.configuration.band_indices(source.grid)
        window = block.window
        out = np.empty((len(bands), window.height, window.width), source.grid.dtype)
        source.read(window, bands, out, np.empty((source.mask_bands(bands), window.height, window.width), np.uint8))
        return out

    def seconds(self, pixels: list[np.ndarray]) -> float:
        """Time to vectorize preloaded blocks."""
        masks = [np.ones(block.shape, np.uint8) for block in pixels[:1]]
        began = time.perf_counter()
        for block in pixels:
            self.function.vectorize(raster_pixels=block.copy(), raster_mask=masks[0].copy())
        return time.perf_counter() - began


def median(measure: Callable[[], float], repeats: int = REPEATS) -> float:
    """The median of a few measurements."""
    return statistics.median(measure() for _ in range(repeats))


def peak_mebibytes() -> int:
    """Peak memory of this process since it was started; the resource module would count its parent's too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def mirrored_raster(size: int, compress: str = "DEFLATE", image: str = "tree_crowns") -> Path:
    """A sample image, mirrored again and again to size × size pixels, as a tiled GeoTIFF; kept for the next time."""
    from osgeo import gdal

    gdal.UseExceptions()
    path = RESULTS / f"mirrored_{image}_{size}_{compress.lower()}.tif"
    if path.exists():
        return path
    RESULTS.mkdir(exist_ok=True)
    source = gdal.Open(str(SAMPLE / f"{image}.tif"))
    pixels = source.ReadAsArray()
    columns = mirrored_indices(pixels.shape[2], size)
    rows = mirrored_indices(pixels.shape[1], size)
    unfinished = path.with_suffix(".unfinished")
    options = ["TILED=YES", "BLOCKXSIZE=512", "BLOCKYSIZE=512", f"COMPRESS={compress}", "PREDICTOR=2", "NUM_THREADS=ALL_CPUS"]
    options += ["BIGTIFF=IF_SAFER", "PHOTOMETRIC=RGB", "ALPHA=NO"]
    target = gdal.GetDriverByName("GTiff").Create(str(unfinished), size, size, len(pixels), gdal.GDT_Byte, options)
    target.SetGeoTransform(source.GetGeoTransform())
    target.SetProjection(source.GetProjection())
    for top in range(0, size, 512):
        strip = pixels[:, rows[top : top + 512]][:, :, columns]
        target.WriteArray(np.ascontiguousarray(strip), 0, top)
    target = None
    unfinished.rename(path)
    return path


def mirrored_indices(length: int, size: int) -> np.ndarray:
    """0 … length-1, length-1 … 0, and so on, size in all."""
    return np.resize(np.concatenate([np.arange(length), np.arange(length)[::-1]]), size)


def write_results(name: str, values: dict[str, Any]) -> None:
    """Write the figures beside the others, as JSON."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(values, indent=1))
