"""What servers send is a stranger's word; and what is missing is counted, also while blocks are on their way and after a resume."""

from __future__ import annotations

import threading
from contextlib import closing

import numpy as np
import pytest
from deep_learning_packages.inference.errors import RasterError
from deep_learning_packages.inference.grid import Affine, Grid, Window
from deep_learning_packages.inference.item import Item
from deep_learning_packages.inference.rasters.collections import Piece
from deep_learning_packages.inference.rasters.gdal_raster import GdalRaster
from deep_learning_packages.inference.rasters.mosaic import mosaic_of
from deep_learning_packages.inference.rasters.resampled import at_cell_size
from deep_learning_packages.inference.rasters.source import Gap, Validity
from deep_learning_packages.inference.services import arcgis
from deep_learning_packages.inference.services.fetching import Answer
from deep_learning_packages.inference.services.images import decoded
from deep_learning_packages.inference.services.pyramids import Level, Pyramid, web_mercator_levels, xyz_address
from engine_runs import run
from osgeo import gdal
from packages import ORACLE, make_package
from rasters import NORTH_UP, draw, write_raster


def picture(kind: str, size: int) -> bytes:
    name = f"/vsimem/test.{kind}"
    memory = gdal.GetDriverByName("MEM").Create("", size, size, 1, gdal.GDT_Byte)
    driver, options = {"png": ("PNG", []), "tif": ("GTiff", ["COMPRESS=DEFLATE", "TILED=YES", "SPARSE_OK=TRUE"])}[kind]
    gdal.GetDriverByName(driver).CreateCopy(name, memory, options=options)
    file = gdal.VSIFOpenL(name, "rb")
    content = bytes(gdal.VSIFReadL(1, gdal.VSIStatL(name).size, file))
    gdal.VSIFCloseL(file)
    gdal.Unlink(name)
    return content


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (picture("png", 256), ""),
        (picture("tif", 6000), "a picture of 6000 × 6000 pixels instead of 256 × 256"),
        (picture("png", 256)[:60], "damaged|no picture"),
        (b"<ServiceException>no such layer</ServiceException>", "words instead of a picture: <ServiceException>no such layer"),
        (b' \n<VRTDataset rasterXSize="256" rasterYSize="256"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
         b"<SourceFilename>/etc/hostname</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>", "no picture|damaged"),
        (b"", "no picture|damaged"),
    ],
)  # fmt: skip
def test_answers_that_are_no_tile(body, words):
    import re

    said = ""
    try:
        decoded(Answer(200, {"content-type": "image/png"}, body), size=(256, 256))
    except RasterError as error:
        said = str(error)
    assert re.search(words, said) if words else said == ""


@pytest.mark.parametrize(
    ("address", "is_service"),
    [
        ("https://h/arcgis/rest/services/a/ImageServer", True), ("https://h/arcgis/rest/services/a/MapServer/3", True),
        ("https://h/arcgis/rest/services/a/MapServer/?token=x", True), ("https://h/mapserver/wms?SERVICE=WMS", False),
        ("https://h/arcgis/services/a/MapServer/WMSServer?service=WMS&layers=0", False), ("https://h/data/MapServer/ortho.tif", False),
    ],
)  # fmt: skip
def test_which_addresses_are_services_of_arcgis(address, is_service):
    assert arcgis.is_service(address) is is_service


def test_templates_of_tiles():
    assert xyz_address("https://h/{z}/{x}/{y}.png", "3", 5, 2) == "https://h/3/5/2.png"
    assert xyz_address("https://h/{z}/{x}/{-y}.png", "3", 5, 2) == "https://h/3/5/5.png"
    assert xyz_address("https://h/{q}", "3", 5, 2) == "https://h/121"


def test_pyramid_of_a_part_of_the_world():
    """No tile beyond the bounds is asked for, and pixels keep their place."""
    levels = [Level("0", 10.0, (0.0, 1000.0)), Level("1", 5.0, (0.0, 1000.0))]
    layer = Pyramid("x", "EPSG:32633", levels, lambda *_: "", (300.0, 400.0, 500.0, 700.0)).at(7.0, (0.0, 0.0, 999.0, 999.0))
    assert (layer.level.name, layer.grid.width, layer.grid.height) == ("1", 40, 60)
    assert (layer.grid.affine.x, layer.grid.affine.y, layer.origin) == (300.0, 700.0, (-60, -60))
    with pytest.raises(RasterError, match="does not touch"):
        Pyramid("x", "EPSG:32633", levels, lambda *_: "", (300.0, 400.0, 500.0, 700.0)).at(5.0, (0.0, 0.0, 9.0, 9.0))
    assert web_mercator_levels(512, 3, 3)[0].resolution == pytest.approx(web_mercator_levels(256, 4, 4)[0].resolution)


def test_other_nodata_hides_no_pixels(tmp_path):
    """0 is NoData of the first raster and a value of the second; 255 the other way round."""
    first = write_raster(tmp_path / "a.tif", np.array([[[0, 255]]], np.uint8), nodata=0)
    second = write_raster(tmp_path / "b.tif", np.array([[[0, 255]]], np.uint8), (NORTH_UP[0] + 1, *NORTH_UP[1:]), nodata=255)
    third = write_raster(tmp_path / "c.tif", np.array([[[0, 255]]], np.uint8), (NORTH_UP[0] + 2, *NORTH_UP[1:]))
    text, files = mosaic_of([Piece(str(path), path.name) for path in (first, second, third)])
    with closing(GdalRaster(text, files=files)) as raster:
        plane, mask = np.zeros((1, 1, 6), np.uint8), np.ones((1, 1, 6), np.uint8)
        assert raster.read(Window(0, 0, 6, 1), (0,), plane, mask) is Validity.PARTIAL
    np.testing.assert_array_equal(mask[0, 0], [0, 1, 1, 0, 1, 1])


class Holed:
    """A RasterSource that stands for a server: some windows of it are missing. A double, so that timing can be told."""

    may_recover = False
    name = "holed"

    def __init__(self, holes: dict[int, Window], wait: threading.Event | None = None) -> None:
        self.grid = Grid(400, 40, Affine(*NORTH_UP), "", "uint16", ("",))
        self.holes, self.wait, self.gap = holes, wait, None

    identity = "holed"

    def has_changed(self, identity):
        return False

    def mask_bands(self, bands):
        return 1

    def read(self, window, bands, out, mask):
        out[...] = 0
        hole = self.holes.get(window.column + 8)
        self.gap = None if hole is None else Gap((hole,), "it is not there")
        return Validity.FULL

    def clone(self):
        return Holed(self.holes, self.wait)

    def coarser(self, factor):
        return None

    def close(self):
        pass


def test_gaps_of_blocks_on_their_way_count(tmp_path):
    """All blocks are read before the first is answered; still no more may be missing than is allowed."""
    slow = ORACLE.replace(
        "    def find(self, pixels, mask):\n", "    def find(self, pixels, mask):\n        import time; time.sleep(0.3)\n"
    )
    holes = {column: Window(column, 0, 40, 40) for column in range(0, 400, 40)}
    source = Holed(holes)
    with pytest.raises(RasterError, match=r"could not be had, in 2 block\(s\)"):
        run(
            make_package(tmp_path / "p", slow),
            None,
            "tile 40;padding 8",
            items=(Item(source, source.grid.window),),
            max_missing=0.15,
        )


def test_gaps_are_asked_for_again(tmp_path, cache):
    """A run that was cut short with a gap goes on, and closes the gap when the server has it."""
    package = make_package(tmp_path / "p", ORACLE)
    hole = {80: Window(80, 0, 40, 40)}
    source = Holed(hole)
    items = (Item(source, source.grid.window),)
    first = run(package, None, "tile 40;padding 8", items=items, max_missing=0.2, settled=False)
    assert any("10 % of the pixels could not be had, in 1 block(s)" in text for text in first.feedback.warnings)
    hole.clear()
    second = run(package, None, "tile 40;padding 8", items=items)
    assert any("1 blocks with gaps are read again" in text for text in second.feedback.infos)
    assert any("9 of 10 blocks are finished" in text for text in second.feedback.infos)
    assert not any("could not be had" in text for text in second.feedback.warnings)


def test_edges_keep_their_brightness_when_resampled(tmp_path):
    pixels = np.full((1, 40, 40), 200, np.uint8)
    pixels[0, :, :13] = 0
    path = write_raster(tmp_path / "r.tif", pixels, nodata=0)
    for size in (0.35, 0.8):
        with closing(at_cell_size(GdalRaster(str(path)), size)) as raster:
            grid = raster.grid
            plane, mask = np.zeros((1, grid.height, grid.width), np.uint8), np.zeros((1, grid.height, grid.width), np.uint8)
            raster.read(grid.window, (0,), plane, mask)
        inner = mask[0] == 1
        assert 0.5 < inner.mean() < 0.75
        assert set(np.unique(plane[0][inner])) == {200}
        assert set(np.unique(plane[0][~inner])) <= {0}


def test_resampled_pixels_lie_where_they_were(tmp_path):
    pixels = np.zeros((1, 60, 60), np.uint16)
    draw(pixels[0], (20, 30, 40, 50), 1000)
    path = write_raster(tmp_path / "r.tif", pixels)
    with closing(at_cell_size(GdalRaster(str(path)), 1.0)) as raster:
        plane, mask = np.zeros((1, 20, 24), np.uint16), np.zeros((1, 20, 24), np.uint8)
        raster.read(Window(3, 9, 24, 20), (0,), plane, mask)
    rows, columns = np.nonzero(plane[0])
    assert (rows.min() + 9, rows.max() + 10, columns.min() + 3, columns.max() + 4) == (15, 25, 10, 20)
