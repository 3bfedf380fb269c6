"""The host's own path: a null raster function against reading the same blocks with GDAL in as many threads.

python benchmarks/host_path.py SIZE read | pipeline    prints seconds and peak MiB of this process
"""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
from common import PACKAGES, DirectFunction, mirrored_raster, peak_mebibytes, run_pipeline
from deep_learning_packages.inference.gdal_raster import GdalRaster

READERS = 2


def read_all(path: str) -> float:
    """Seconds to read all blocks into memory with plain threads."""
    function = DirectFunction(PACKAGES / "null")
    source = GdalRaster(path)
    blocks = iter(function.blocks(source))
    lock = threading.Lock()

    def work() -> None:
        own = source.clone()
        side = function.configuration.width + 2 * function.configuration.padding
        out, mask = np.empty((3, side, side), np.uint8), np.empty((1, side, side), np.uint8)
        while True:
            with lock:
                block = next(blocks, None)
            if block is None:
                break
            own.read(block.window, (0, 1, 2), out, mask)
        own.close()

    threads = [threading.Thread(target=work) for _ in range(READERS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    source.close()
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
