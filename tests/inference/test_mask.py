"""MASK: what lies outside polygons is not read, not seen and not found."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from deep_learning_packages.inference.grid import Window
from deep_learning_packages.inference.item import Item
from deep_learning_packages.inference.rasters.gdal_raster import GdalRaster
from deep_learning_packages.inference.rasters.masked import MaskedRaster, polygonal
from deep_learning_packages.inference.rasters.source import Validity
from engine_runs import make_plan, run
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from packages import ORACLE, make_package
from rasters import NORTH_UP, draw, write_raster

LEFT, TOP, SIZE = NORTH_UP[0], NORTH_UP[3], NORTH_UP[1]


def polygon(*pixels):
    return shapely.Polygon([(LEFT + column * SIZE, TOP - row * SIZE) for column, row in pixels])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-5, 35), st.integers(-5, 30)), min_size=3, max_size=7),
    st.integers(-9, 30),
    st.integers(-9, 25),
)
def test_pixels_count_by_their_centre(tmp_path_factory, corners, column, row):
    path = tmp_path_factory.getbasetemp() / "mask.tif"
    if not path.exists():
        write_raster(path, np.full((2, 25, 31), 7, np.uint8), nodata=None)
    mask = polygonal(shapely.make_valid(polygon(*corners)))
    assume(not mask.is_empty)
    raster = MaskedRaster(GdalRaster(str(path)), mask)
    out, valid = np.full((2, 12, 14), 9, np.uint8), np.full((1, 12, 14), 9, np.uint8)
    validity = raster.read(Window(column, row, 14, 12), (0, 1), out, valid)
    raster.close()
    columns, rows = np.meshgrid(column + np.arange(14) + 0.5, row + np.arange(12) + 0.5)
    x, y = LEFT + columns * SIZE, TOP - rows * SIZE
    inside = (columns > 0) & (columns < 31) & (rows > 0) & (rows < 25)
    certain = shapely.distance(shapely.points(x, y), mask.boundary) > 1e-6  # a centre on the line may go either way
    expected = shapely.contains_xy(mask, x, y) & inside
    seen = out[0] == 7
    np.testing.assert_array_equal(seen[certain], expected[certain])
    np.testing.assert_array_equal(out[1], out[0])
    if validity is Validity.PARTIAL:
        np.testing.assert_array_equal(valid[0] == 1, seen)
    assert validity is not Validity.EMPTY or not seen.any()
    assert validity is not Validity.FULL or seen.all()


@pytest.fixture
def scene(tmp_path):
    pixels = np.zeros((1, 200, 200), np.uint16)
    for number, (column, row) in enumerate([(c, r) for c in range(5, 195, 15) for r in range(5, 195, 15)], 1):
        draw(pixels[0], (column, row, column + 5, row + 5), number)
    return write_raster(tmp_path / "scene.tif", pixels), make_package(tmp_path / "package", ORACLE)


def test_objects_outside_do_not_count_and_blocks_outside_are_not_read(scene, monkeypatch):
    path, package = scene
    windows, plain = [], GdalRaster.read
    monkeypatch.setattr(GdalRaster, "read", lambda self, window, *rest: windows.append(window) or plain(self, window, *rest))
    mask = polygon((0, 0), (100, 0), (60, 60), (0, 100))
    everything = run(package, path, "tile 30;padding 8")
    source = MaskedRaster(GdalRaster(str(path)), mask)
    windows.clear()
    outcome = run(package, None, "tile 30;padding 8", items=(Item(source, source.grid.window, mask=mask),))
    expected = {g.wkt for g in everything.geometries if mask.contains(g)}
    found = {g.wkt for g in outcome.geometries}
    assert len(expected) > 10
    assert expected <= found
    assert all(mask.contains(shapely.from_wkt(text).centroid) for text in found)
    assert outcome.statistics.skipped > 30
    assert len(windows) == outcome.statistics.blocks - outcome.statistics.skipped
    assert outcome.statistics.blocks == everything.statistics.blocks


def test_other_mask_other_run(scene):
    path, package = scene
    prints = set()
    for mask in (None, polygon((0, 0), (10, 0), (10, 10)), polygon((0, 0), (10, 0), (10, 11))):
        source = GdalRaster(str(path))
        source = source if mask is None else MaskedRaster(source, mask)
        prints.add(make_plan(package, None, items=(Item(source, source.grid.window, mask=mask),)).fingerprint)
        source.close()
    assert len(prints) == 3
