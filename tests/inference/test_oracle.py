"""The whole engine with a function that finds drawn boxes exactly: every object once, at its place, whatever the grid."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import shapely
from deep_learning_packages.inference.plan import SuppressionPlan
from engine_runs import run
from hypothesis import example, given, settings
from hypothesis import strategies as st
from packages import ORACLE, make_package
from rasters import draw, write_raster

LARGEST = 9
NODATA = 999


@st.composite
def scenes(draw_value):
    width, height = draw_value(st.integers(1, 150)), draw_value(st.integers(1, 150))
    collar = draw_value(st.integers(0, 12))
    bands = draw_value(st.integers(1, 3))
    return {
        "width": width,
        "height": height,
        "collar": collar,
        "bands": bands,
        "band": draw_value(st.integers(0, bands - 1)),
        "tile": draw_value(st.integers(12, 70)),
        "padding": draw_value(st.integers(LARGEST + 1, 20)),
        "batch": draw_value(st.sampled_from([1, 4, 5, 9])),
        "degrees": draw_value(st.sampled_from([0.0, 0.0, 30.0, 137.0])),
        "workers": draw_value(st.sampled_from([1, 1, 2])),
        "seed": draw_value(st.integers(0, 2**16)),
    }


def boxes_of(scene):
    """Boxes that do not overlap but may touch, inside the collar and off the raster's edge."""
    rng = np.random.default_rng(scene["seed"])
    taken = np.zeros((scene["height"], scene["width"]), bool)
    margin = max(scene["collar"], 0)
    boxes = []
    for _ in range(60):
        wide, high = rng.integers(1, LARGEST + 1, 2)
        free_x, free_y = scene["width"] - 2 * margin - wide, scene["height"] - 2 * margin - high
        if free_x < 0 or free_y < 0:
            continue
        left, top = margin + rng.integers(0, free_x + 1), margin + rng.integers(0, free_y + 1)
        if not taken[top : top + high, left : left + wide].any():
            taken[top : top + high, left : left + wide] = True
            boxes.append((int(left), int(top), int(left + wide), int(top + high)))
    return boxes


@settings(max_examples=40, deadline=None, report_multiple_bugs=False)
@given(scene=scenes())
@example(scene={"width": 112, "height": 5, "collar": 0, "band": 0, "bands": 1, "tile": 12, "padding": 10, "batch": 1, "degrees": 30.0,
                "workers": 1, "seed": 16})  # edges of neighbours that are rounded differently # fmt: skip
def test_every_object_exactly_once(scene):
    boxes = boxes_of(scene)
    pixels = np.zeros((scene["bands"], scene["height"], scene["width"]), np.uint16)
    for number, box in enumerate(boxes, 1):
        draw(pixels[scene["band"]], box, number)
    collar = scene["collar"]
    if collar:
        inner = np.zeros(pixels.shape[1:], bool)
        inner[collar:-collar, collar:-collar] = True
        pixels[:, ~inner] = NODATA
    angle = math.radians(scene["degrees"])
    cos, sin = 0.1 * math.cos(angle), 0.1 * math.sin(angle)
    transform = (404211.9, cos, sin, 3285102.7, sin, -cos)
    with tempfile.TemporaryDirectory() as folder:
        raster = write_raster(Path(folder, "scene.tif"), pixels, transform, nodata=NODATA if collar else None)
        package = make_package(Path(folder, "package"), ORACLE)
        arguments = f"tile {scene['tile']};padding {scene['padding']};batch_size {scene['batch']};band {scene['band']}"
        outcome = run(
            package, raster, arguments, suppression=SuppressionPlan("Confidence", "Class", 0.0), workers=scene["workers"]
        )
    found = [pixel_bounds(geometry, transform) for geometry in outcome.geometries]
    found.sort(key=lambda box: [round(edge) for edge in box])
    assert len(found) == len(boxes)
    if boxes:
        np.testing.assert_allclose(found, sorted(boxes), rtol=0, atol=1e-6)


def pixel_bounds(geometry, transform):
    """The box in pixels, through the inverse of the affine as GDAL computes it."""
    from osgeo import gdal

    inverse = gdal.InvGeoTransform(transform)
    corners = np.array([gdal.ApplyGeoTransform(inverse, x, y) for x, y in shapely.get_coordinates(geometry)])
    assert len(corners) == 5
    return [*corners.min(axis=0), *corners.max(axis=0)]


def test_result_does_not_depend_on_the_number_of_workers(tmp_path):
    rng = np.random.default_rng(1)
    pixels = np.zeros((1, 400, 500), np.uint16)
    for number in range(1, 300):
        left, top = rng.integers(0, 490), rng.integers(0, 390)
        draw(pixels[0], (left, top, left + rng.integers(2, 9), top + rng.integers(2, 9)), number)
    raster, package = write_raster(tmp_path / "r.tif", pixels), make_package(tmp_path / "p", ORACLE)
    outcomes = [run(package, raster, "tile 50;padding 10", workers=workers) for workers in (1, 2, 3)]
    first = [geometry.wkb for geometry in outcomes[0].geometries]
    assert len(first) > 300
    for other in outcomes[1:]:
        assert [geometry.wkb for geometry in other.geometries] == first
        assert other.rows == outcomes[0].rows
