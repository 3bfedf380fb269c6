"""The host's own path: a null raster function against reading the same blocks with GDAL in as many threads.

python benchmarks/host_path.py SIZE read | pipeline    prints seconds and peak MiB of this process
"""

from __future__ import annotations

import sys
import threading
import time

from common import PACKAGES, DirectFunction, mirrored_raster, peak_mebibytes, run_pipeline
from deep_learning_packages.inference.rasters.gdal_raster import GdalRaster
from osgeo import gdal

READERS = 2


def read_all(path: str) -> float:
    """Seconds to read all blocks into memory with plain threads: GDAL alone, nothing of ours."""
    function = DirectFunction(PACKAGES / "null")
    source = GdalRaster(path)
    windows = [block.window.intersection(source.grid.window) for block in function.blocks(source)]
    source.close()
    remaining, lock = iter(windows), threading.Lock()

    def work() -> None:
        dataset = gdal.Open(path)
        while True:
            with lock:
                window = next(remaining, None)
            if window is None:
                return
            dataset.ReadAsArray(window.column, window.row, window.width, window.height)

    threads = [threading.Thread(target=work) for _ in range(READERS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def main(size: int, mode: str) -> None:
    """Measure one mode."""
    path = str(mirrored_raster(size))
    if mode == "read":
        seconds = read_all(path)
    else:
        source = GdalRaster(path)
        seconds = run_pipeline(PACKAGES / "null", source)[0].seconds
        source.close()
    print(f"{seconds:.3f} {peak_mebibytes()}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
