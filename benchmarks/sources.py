"""Pipeline efficiency by where the pixels come from: the sample model over 2048 × 2048 pixels of each source.

python benchmarks/sources.py direct | file | cog | tiles | mosaic | warped    prints seconds to open it and to search it
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from common import RESULTS, ROOT, SAMPLE, DirectFunction, mirrored_raster, run_pipeline
from deep_learning_packages.inference.grid import Window
from deep_learning_packages.inference.rasters.collections import pieces_of
from deep_learning_packages.inference.rasters.gdal_raster import GdalRaster
from deep_learning_packages.inference.rasters.mosaic import mosaic_of
from deep_learning_packages.inference.rasters.source import RasterSource
from osgeo import gdal

PACKAGE = SAMPLE / "tree_crowns.dlpk"
SIZE, FILES, ZOOM = 2048, 2025, 20
SIDE = 45
"""Files in a row of the mosaic."""
CELL = 2 * 20037508.342789244 / (256 << ZOOM)
LEFT, TOP = -20037508.342789244 + 200_000 * 256 * CELL, 20037508.342789244 - 300_000 * 256 * CELL
SERVER = """
import pathlib, sys, time
sys.path.insert(0, sys.argv[1])
from servers.files import FileServer
with FileServer(pathlib.Path(sys.argv[2])) as server:
    print(server.url, flush=True)
    time.sleep(600)
"""


def made(name: str, make: object) -> Path:
    """A file or folder that is made once."""
    path = RESULTS / name
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=RESULTS) as folder:
            make(Path(folder, "x"))  # type: ignore[operator]
            Path(folder, "x").rename(path)
    return path


def make_cog(path: Path) -> None:
    """The image as a Cloud Optimized GeoTIFF."""
    gdal.Translate(str(path), str(mirrored_raster(SIZE)), format="COG", creationOptions=["COMPRESS=JPEG"]).FlushCache()


def make_tiles(folder: Path) -> None:
    """The image cut into tiles of web mercator."""
    for column in range(SIZE // 256):
        for row in range(SIZE // 256):
            path = folder / str(200_000 + column) / f"{300_000 + row}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            window = [column * 256, row * 256, 256, 256]
            gdal.Translate(str(path), str(mirrored_raster(SIZE)), format="PNG", srcWin=window).FlushCache()


def make_files(folder: Path) -> None:
    """The image in 2 025 files."""
    folder.mkdir()
    edges = [round(number * SIZE / SIDE) for number in range(SIDE + 1)]
    image = gdal.Open(str(mirrored_raster(SIZE)))
    for row, (top, bottom) in enumerate(zip(edges, edges[1:])):
        for column, (left, right) in enumerate(zip(edges, edges[1:])):
            window = [left, top, right - left, bottom - top]
            gdal.Translate(str(folder / f"{row:02}_{column:02}.tif"), image, srcWin=window).FlushCache()


def make_warped(folder: Path) -> None:
    """The image in four quarters, all but the first in another CRS."""
    folder.mkdir()
    half = SIZE // 2
    for number, (left, top) in enumerate([(0, 0), (half, 0), (0, half), (half, half)]):
        quarter = gdal.Translate("", str(mirrored_raster(SIZE)), format="MEM", srcWin=[left, top, half, half])
        target = {"format": "GTiff", "creationOptions": ["TILED=YES"]}
        if number:
            gdal.Warp(
                str(folder / f"{number}.tif"), quarter, dstSRS="EPSG:3857", dstAlpha=False, dstNodata=0, **target
            ).FlushCache()
        else:
            gdal.Translate(str(folder / "0.tif"), quarter, noData=0, **target).FlushCache()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A server in a process of its own."""
    command = [sys.executable, "-c", SERVER, str(ROOT / "tests"), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def prepare(kind: str) -> None:
    """Make what the kind needs, which does not count."""
    makers = {"cog": ("image_cog.tif", make_cog), "tiles": ("tiles", make_tiles), "mosaic": ("files", make_files),
              "warped": ("warped", make_warped)}  # fmt: skip
    if kind in makers:
        made(*makers[kind])


@contextmanager
def opened(kind: str) -> Iterator[RasterSource]:
    """The source of this kind."""
    if kind == "file":
        yield GdalRaster(str(mirrored_raster(SIZE)))
    elif kind == "cog":
        with served(made("image_cog.tif", make_cog).parent) as url:
            yield GdalRaster(f"/vsicurl/{url}/image_cog.tif")
    elif kind == "tiles":
        with served(made("tiles", make_tiles)) as url:
            yield tiles(f"{url}/{{x}}/{{y}}.png")
    else:
        folder = made("files", make_files) if kind == "mosaic" else made("warped", make_warped)
        text, files = mosaic_of(pieces_of(str(folder)))
        yield GdalRaster(text, name=kind, files=files)


def tiles(template: str) -> RasterSource:
    """Through QGIS's network access manager, as in a run."""
    from deep_learning_packages.algorithms.network import Network
    from deep_learning_packages.inference.services.fetching import Fetcher
    from deep_learning_packages.inference.services.pyramids import Pyramid, web_mercator_levels, xyz_address
    from deep_learning_packages.inference.services.tiles import TiledRaster
    from qgis.core import QgsApplication, QgsCoordinateReferenceSystem

    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    tiles.application = QgsApplication([], False)  # type: ignore[attr-defined] - must outlive the run
    QgsApplication.initQgis()
    crs = QgsCoordinateReferenceSystem("EPSG:3857").toWkt()
    pyramid = Pyramid("tiles", crs, web_mercator_levels(256, ZOOM, ZOOM), lambda *tile: xyz_address(template, *tile))
    return TiledRaster(pyramid.at(CELL, (LEFT, TOP - SIZE * CELL, LEFT + SIZE * CELL, TOP)), Fetcher(Network()))


def main(kind: str) -> None:
    """Measure one kind; loading the model does not count."""
    if kind == "direct":
        source: RasterSource = GdalRaster(str(mirrored_raster(SIZE)))
        function = DirectFunction(PACKAGE)
        blocks = [function.read(source, block) for block in function.blocks(source)]
        print(f"0 {function.seconds(blocks):.3f}")
        source.close()
        return
    prepare(kind)
    began = time.perf_counter()
    with opened(kind) as source:
        opening = time.perf_counter() - began
        corner = source.grid.affine.invert(np.array([[LEFT, TOP]]))[0] if kind == "tiles" else (0, 0)
        extent = Window(round(corner[0]), round(corner[1]), SIZE, SIZE).intersection(source.grid.window)
        seconds = run_pipeline(PACKAGE, source, extent=extent)[0].seconds
        source.close()
    print(f"{opening:.3f} {seconds:.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
