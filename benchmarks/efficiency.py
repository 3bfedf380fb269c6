"""Pipeline efficiency on the CPU: the sample model over a mosaic, against the same blocks passed straight to vectorize.

python benchmarks/efficiency.py SIZE direct | pipeline    prints seconds
"""

from __future__ import annotations

import sys

from common import SAMPLE, DirectFunction, mirrored_raster, run_pipeline
from deep_learning_packages.inference.rasters.gdal_raster import GdalRaster

PACKAGE = SAMPLE / "tree_crowns.dlpk"


def main(size: int, mode: str) -> None:
    """Measure one mode; loading the model does not count in either."""
    source = GdalRaster(str(mirrored_raster(size)))
    if mode == "direct":
        function = DirectFunction(PACKAGE)
        blocks = [function.read(source, block) for block in function.blocks(source)]
        seconds = function.seconds(blocks)
    else:
        seconds = run_pipeline(PACKAGE, source)[0].seconds
    source.close()
    print(f"{seconds:.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
