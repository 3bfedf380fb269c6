"""Rasters through GDAL: windows, grids, cell sizes, masks."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from deep_learning_packages.inference.errors import RasterError
from deep_learning_packages.inference.grid import Affine, Grid, Window
from deep_learning_packages.inference.rasters.gdal_raster import GdalRaster
from deep_learning_packages.inference.rasters.source import Validity
from engine_runs import run
from hypothesis import given, settings
from hypothesis import strategies as st
from packages import ORACLE, make_package
from rasters import NORTH_UP, draw, write_raster


def read(raster, window, bands=(0,)):
    out = np.full((len(bands), window.height, window.width), 77, raster.grid.dtype)
    mask = np.full((raster.mask_bands(bands), window.height, window.width), 77, np.uint8)
    return out, mask, raster.read(window, bands, out, mask)


@settings(max_examples=80, deadline=None)
@given(st.integers(-30, 40), st.integers(-30, 40), st.integers(1, 50), st.integers(1, 50))
def test_any_window_equals_slicing(tmp_path_factory, column, row, width, height):
    pixels = np.arange(1, 2 * 23 * 31 + 1, dtype=np.uint16).reshape(2, 23, 31)
    path = tmp_path_factory.getbasetemp() / "window.tif"
    if not path.exists():
        write_raster(path, pixels, tile=16)
    out, mask, validity = read(GdalRaster(str(path)), Window(column, row, width, height), (1, 0))
    wide = np.zeros((2, 200, 200), np.uint16)
    wide[:, 100:123, 100:131] = pixels[::-1]
    expected = wide[:, 100 + row : 100 + row + height, 100 + column : 100 + column + width]
    np.testing.assert_array_equal(out, expected)
    inside = (expected > 0).all(axis=0)
    assert validity is (Validity.FULL if inside.all() else Validity.PARTIAL if inside.any() else Validity.EMPTY)
    if validity is Validity.PARTIAL:
        np.testing.assert_array_equal(mask[0], inside)


def test_nodata_masks_each_band(tmp_path):
    pixels = np.ones((2, 4, 4), np.uint8)
    pixels[0, 0, 0] = pixels[1, 3, 3] = 0
    raster = GdalRaster(str(write_raster(tmp_path / "r.tif", pixels, nodata=0)))
    _, mask, validity = read(raster, Window(0, 0, 4, 4), (0, 1))
    assert validity is Validity.PARTIAL
    np.testing.assert_array_equal(mask, pixels)


def test_nodata_mask_of_a_window_that_reaches_beyond_the_raster(tmp_path):
    """GDAL 3.10 gave but the first row of it when it was read straight into a part of an array."""
    pixels = np.ones((2, 40, 50), np.uint8)
    pixels[0, 5:9, 7:20] = pixels[1, 30:, :] = 0
    raster = GdalRaster(str(write_raster(tmp_path / "r.tif", pixels, nodata=0)))
    out, mask, validity = read(raster, Window(20, 10, 64, 64), (0, 1))
    assert validity is Validity.PARTIAL
    np.testing.assert_array_equal(mask[:, :30, :30], pixels[:, 10:, 20:])
    assert mask[:, 30:].sum() == mask[:, :, 30:].sum() == 0


def test_window_without_valid_pixels_is_empty(tmp_path):
    raster = GdalRaster(str(write_raster(tmp_path / "r.tif", np.zeros((1, 4, 4), np.uint8), nodata=0)))
    assert read(raster, Window(0, 0, 4, 4))[2] is Validity.EMPTY


def test_coarser_cells_average_and_finer_ones_keep_their_place(tmp_path):
    pixels = np.arange(64, dtype=np.float32).reshape(1, 8, 8)
    path = str(write_raster(tmp_path / "r.tif", pixels))
    coarse = GdalRaster(path, cell_size=1.0)
    assert (coarse.grid.width, coarse.grid.height, coarse.grid.affine.cell_size) == (4, 4, (1.0, 1.0))
    out, _, _ = read(coarse, Window(0, 0, 4, 4))
    np.testing.assert_allclose(out[0], pixels[0].reshape(4, 2, 4, 2).mean(axis=(1, 3)))
    fine = GdalRaster(path, cell_size=0.25)
    assert (fine.grid.width, fine.grid.height) == (16, 16)
    whole, _, _ = read(fine, Window(0, 0, 16, 16))
    part, _, _ = read(fine, Window(5, 6, 7, 8))
    np.testing.assert_allclose(part, whole[:, 6:14, 5:12])


def test_cell_size_that_does_not_divide_the_raster(tmp_path):
    """The last column and row are cut, as the raster ends within them; objects stay where they are."""
    pixels = np.zeros((1, 100, 100), np.uint16)
    draw(pixels[0], (90, 90, 96, 96), 5)
    raster = write_raster(tmp_path / "r.tif", pixels)
    methods = ORACLE.replace("plane = np.where(mask[0] == 0, 0, pixels[0])", "plane = np.where(mask[0] == 0, 0, pixels[0] > 0)")
    outcome = run(make_package(tmp_path / "p", methods), raster, "tile 64;padding 16", cell_size=1.2)
    left, bottom, right, top = outcome.geometries[0].bounds
    assert len(outcome.geometries) == 1
    assert (left, bottom, right, top) == pytest.approx((500044.4, 3999952, 500048, 3999955.6), rel=0, abs=1e-6)


def test_extent_snaps_to_the_pixels_that_it_touches():
    grid = Grid(100, 80, Affine(*NORTH_UP), "", "uint8", ("",))
    assert grid.window_of_extent((500010.2, 3999980.2, 500020.0, 3999990.0)) == Window(20, 20, 20, 20)
    assert grid.window_of_extent((0, 0, 1e9, 1e9)) == grid.window
    with pytest.raises(RasterError, match="does not touch the raster"):
        grid.window_of_extent((0, 0, 1, 1))


def test_objects_that_cross_the_extent_count_by_their_middle(tmp_path):
    pixels = np.zeros((1, 100, 100), np.uint16)
    draw(pixels[0], (46, 10, 56, 20), 1)  # its middle is at 51, outside
    draw(pixels[0], (43, 30, 53, 40), 2)  # its middle is at 48, inside
    raster = write_raster(tmp_path / "r.tif", pixels)
    outcome = run(make_package(tmp_path / "p", ORACLE), raster, "tile 30;padding 15", extent=Window(0, 0, 50, 100))
    assert {geometry.bounds[0] for geometry in outcome.geometries} == {500000 + 43 * 0.5}
    assert outcome.outside > 0


@given(st.floats(-180, 180), st.floats(0.01, 100), st.floats(0.01, 100), st.floats(-1e7, 1e7), st.floats(-1e7, 1e7))
def test_affine_inverts(degrees, x_size, y_size, x, y):
    angle = np.radians(degrees)
    affine = Affine(x, np.cos(angle) * x_size, np.sin(angle) * y_size, y, np.sin(angle) * x_size, -np.cos(angle) * y_size)
    pixels = np.array([[0.0, 0.0], [10.5, 3.25], [-7.0, 1000.0]])
    np.testing.assert_allclose(affine.invert(affine.apply(pixels)), pixels, atol=1e-3)
    np.testing.assert_allclose(affine.cell_size, (x_size, y_size))


@pytest.mark.parametrize(("name", "message"), [("missing.tif", "cannot be opened"), ("text.tif", "cannot be opened")])
def test_what_is_no_raster(tmp_path, name, message):
    (tmp_path / "text.tif").write_text("this is no raster")
    with pytest.raises(RasterError, match=message):
        GdalRaster(str(tmp_path / name))


def test_raster_without_georeference_lies_as_qgis_shows_it(tmp_path):
    raster = GdalRaster(str(write_raster(tmp_path / "r.tif", np.ones((1, 4, 4), np.uint8), transform=None, epsg=None)))
    assert raster.grid.affine == Affine(0, 1, 0, 0, 0, -1)
    assert (raster.grid.crs, raster.has_georeference) == ("", False)


def test_identity_changes_with_the_file(tmp_path):
    path = write_raster(tmp_path / "r.tif", np.ones((1, 4, 4), np.uint8))
    before = GdalRaster(str(path)).identity
    assert GdalRaster(str(path)).identity == before
    write_raster(path, np.ones((1, 5, 4), np.uint8))
    assert GdalRaster(str(path)).identity != before


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 500), (1, 500, 1)])
def test_rasters_a_pixel_large(tmp_path, shape):
    raster = write_raster(tmp_path / "r.tif", np.ones(shape, np.uint8))
    assert run(make_package(tmp_path / "p"), raster, "padding 8").statistics.pixels == np.prod(shape)


def test_extent_of_a_rotated_raster_is_the_extent_not_its_pixels(tmp_path):
    """The pixels that a rectangle touches in a turned raster lie in a larger one; only objects in the rectangle count."""
    angle = np.radians(30)
    cos, sin = 0.5 * np.cos(angle), 0.5 * np.sin(angle)
    pixels = np.zeros((1, 100, 100), np.uint16)
    for number, (column, row) in enumerate([(c, r) for c in range(5, 95, 10) for r in range(5, 95, 10)], 1):
        draw(pixels[0], (column, row, column + 3, row + 3), number)
    raster = write_raster(tmp_path / "r.tif", pixels, (500000, cos, sin, 4000000, sin, -cos))
    package = make_package(tmp_path / "p", ORACLE)
    everything = run(package, raster, "tile 200;padding 8")
    region = (500020.0, 3999985.0, 500040.0, 4000005.0)
    extent = GdalRaster(str(raster)).grid.window_of_extent(region)
    found = run(package, raster, "tile 200;padding 8", extent=extent, region=region)
    expected = [
        g for g in everything.geometries if region[0] <= g.centroid.x < region[2] and region[1] <= g.centroid.y < region[3]
    ]
    assert 5 < len(expected) < 60
    assert sorted(g.wkt for g in found.geometries) == sorted(g.wkt for g in expected)


@pytest.mark.parametrize("cell_size", [0.625, 0.75, 1.25, 0.55])
def test_windows_that_begin_at_half_a_pixel_reach_to_the_edge(tmp_path, cell_size):
    """GDAL rounds begin and length of a window each by itself, which may lead beyond the last pixel."""
    path = write_raster(tmp_path / "r.tif", np.arange(60 * 80, dtype=np.uint16).reshape(1, 60, 80))
    with closing(GdalRaster(str(path), cell_size)) as raster:
        grid = raster.grid
        for row in range(grid.height):
            window = Window(row % grid.width, row, grid.width - row % grid.width, grid.height - row)
            out = np.zeros((1, window.height, window.width), np.uint16)
            validity = raster.read(window, (0,), out, np.zeros((1, window.height, window.width), np.uint8))
            assert validity is Validity.FULL
            assert out[0, -1, -1] > 57 * 80
