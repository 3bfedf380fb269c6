"""The engine classifies: every feature its own chip and its own label, in its place; and which features count."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import shapely
from classification_runs import BLACK, FEATURES, NODATA, SMALL, classify, item_of, labels_of, on_the_map
from classifiers import KINDS, CropRule, make_classifier, seen, some_shape
from deep_learning_packages.inference.grid import Window
from deep_learning_packages.inference.item import Item
from deep_learning_packages.inference.rasters.masked import MaskedRaster
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rasters import NORTH_UP, write_raster


@st.composite
def scenes(draw):
    return {
        "width": draw(st.integers(1, 90)),
        "height": draw(st.integers(1, 90)),
        "rule": CropRule(
            draw(st.integers(1, 30)), draw(st.integers(1, 30)), draw(st.booleans()), draw(st.booleans()),
            draw(st.sampled_from([0, 0, 1, 5])),
        ),
        "batch": draw(st.sampled_from([1, 2, 4, 7, 64, 100])),
        "holes": draw(st.sampled_from([0.0, 0.1, 0.5])),
        "bands": draw(st.integers(1, 3)),
        "dtype": draw(st.sampled_from(["uint8", "uint16", "int16", "float32"])),
        "degrees": draw(st.sampled_from([0.0, 0.0, 30.0, 137.0])),
        "workers": draw(st.sampled_from([1, 1, 2])),
        "kinds": draw(st.sampled_from([KINDS, KINDS, ("point",), ("polygon", "holed", "none")])),
        "seed": draw(st.integers(0, 2**16)),
    }  # fmt: skip


@settings(max_examples=25, deadline=None, report_multiple_bugs=False)
@given(scene=scenes())
@example(scene={"width": 83, "height": 46, "rule": CropRule(1, 1, False, True, 1), "batch": 1, "holes": 0.0, "bands": 2,
                "dtype": "uint8", "degrees": 0.0, "workers": 1, "kinds": KINDS, "seed": 469})  # slivers of pixels # fmt: skip
def test_every_label_is_of_its_own_pixels(scene):
    rng = np.random.default_rng(scene["seed"])
    width, height, rule = scene["width"], scene["height"], scene["rule"]
    pixels = rng.integers(NODATA + 1, 120, (scene["bands"], height, width)).astype(scene["dtype"])
    valid = np.ones((height, width), bool)
    if scene["holes"]:  # pixels without data: a corner, and some more here and there
        side = max(int(min(width, height) * scene["holes"]), 1)
        valid[: 3 * side, :side] = False
        valid &= rng.random((height, width)) > scene["holes"] / 3
        pixels[:, ~valid] = NODATA
    shapes = [some_shape(rng, rng.choice(scene["kinds"]), width, height) for _ in range(FEATURES)]
    angle = math.radians(scene["degrees"])
    cos, sin = 0.3 * math.cos(angle), 0.3 * math.sin(angle)
    transform = (404211.9, cos, sin, 3285102.7, sin, -cos)
    with tempfile.TemporaryDirectory() as folder:
        raster = write_raster(Path(folder, "scene.tif"), pixels, transform, nodata=NODATA if scene["holes"] else None)
        package = make_classifier(Path(folder, "package"))
        arguments = f"{rule.arguments};batch_size {scene['batch']}"
        found = classify(package, raster, shapes, arguments, transform=transform, workers=scene["workers"])
    wanted = [seen(pixels[0], valid, shape, rule) for shape in shapes]
    assert [number for number, _, _ in found.rows] == list(range(FEATURES))
    assert [None if answer is None else (answer.label, answer.extras["size"]) for _, _, answer in found.rows] == wanted
    assert all(answer is None or answer.confidence == 0.75 for _, _, answer in found.rows)
    assert sum(found.unlabelled.values()) == wanted.count(None)


ODD = {
    "parts that overlap": "MULTIPOLYGON(((10.2 10.2,14.2 10.2,14.2 14.2,10.2 14.2,10.2 10.2)),((12.2 12.2,16.2 12.2,16.2 16.2,12.2 16.2,12.2 12.2)))",
    "crosses itself": "POLYGON((10.2 10.1,16.3 16.2,16.1 10.3,10.4 16.45,10.2 10.1))",
    "twice the same ring": "MULTIPOLYGON(((10.2 10.2,14.2 10.2,14.2 14.2,10.2 14.2,10.2 10.2)),((10.2 10.2,14.2 10.2,14.2 14.2,10.2 14.2,10.2 10.2)))",
    "larger than any chip": "POLYGON((-9e5 -9e5,9e5 -9e5,9e5 9.0005e5,-9e5 9e5,-9e5 -9e5))",
    "with heights": "POLYGON Z((10.2 10.2 1,14.2 10.2 2,14.2 14.2 3,10.2 14.2 4,10.2 10.2 1))",
}  # fmt: skip


@pytest.mark.parametrize("text", list(ODD.values()), ids=list(ODD))
def test_what_is_inside_a_polygon_however_it_is_drawn(oracle, raster, pixels, text):
    shape = shapely.from_wkt(text)
    whole = shapely.union_all([shapely.make_valid(part) for part in shapely.get_parts(shape)])  # OGC: a union of its parts
    found = classify(oracle, raster, [shape], BLACK.arguments)
    assert found.labels == labels_of(pixels, [whole], BLACK)


@pytest.mark.parametrize(
    "text", ["POLYGON((10.2 10.3,16.4 13.1,10.2 10.3,10.2 10.3))", "POLYGON((10.2 9.3,10.2 9.3,10.2 9.3,10.2 9.3))"]
)
def test_polygon_without_area_keeps_the_pixels_that_it_touches(oracle, raster, pixels, text):
    """As a polygon does that is too small to hold the middle of a pixel."""
    shape = shapely.from_wkt(text)
    boxes = shapely.box(
        *(edges.ravel() for edges in np.meshgrid(range(80), range(60))),
        *(1 + edges.ravel() for edges in np.meshgrid(range(80), range(60))),
    )
    line = shape.boundary if shapely.length(shape) else shapely.Point(shapely.get_coordinates(shape)[0])
    crossed = shapely.length(shapely.intersection(boxes, line)) > 0  # a corner that is met is not touched
    touched = (crossed if shapely.length(line) else shapely.intersects(boxes, line)).reshape(60, 80)
    assert classify(oracle, raster, [shape], BLACK.arguments).labels == [f"{pixels[0][touched].astype(float).mean():.3f}"]


HIDDEN = """
def feature(self, number, chip, mask):
    hidden = chip[mask == 0]
    return {"attributes": {"Label": f"{hidden.size} {sorted(set(hidden.tolist()))}"}}
"""


@pytest.mark.parametrize(
    ("shape", "hidden", "dtype"),
    [
        (shapely.Point(1, 1), 144 - 49, "uint8"),
        (shapely.Point(1, 1), 144 - 49, "float32"),
        (shapely.box(20.2, 20.2, 23.2, 23.2), 144 - 9, "uint8"),
        (shapely.box(20.2, 20.2, 23.2, 23.2), 144 - 9, "float32"),
    ],
)
def test_what_is_masked_is_black(tmp_path, pixels, shape, hidden, dtype):
    """Functions that look at pixels alone must see nothing there, also where the raster holds infinity."""
    values = pixels.astype(dtype)
    if dtype == "float32":
        values[0, 18, 18:21] = np.inf
    found = classify(make_classifier(tmp_path / "p", HIDDEN), write_raster(tmp_path / "r.tif", values), [shape], BLACK.arguments)
    assert found.labels in ([f"{hidden} [0]"], [f"{hidden} [0.0]"])


def test_pixels_without_data_are_black(tmp_path, pixels):
    pixels[0, 18:20, 18:20] = NODATA
    raster = write_raster(tmp_path / "r.tif", pixels, nodata=NODATA)
    assert classify(make_classifier(tmp_path / "p", HIDDEN), raster, [shapely.Point(20, 20)], BLACK.arguments).labels == ["4 [0]"]


def test_scaled_pixels_are_black_where_they_are_masked(tmp_path, raster):
    """A range that begins above 0 must not make the surroundings grey."""
    ranged = """
def getConfiguration(self, **scalars):
    self.batch = 4
    return {"tx": 12, "ty": 12, "batch_size": 4, "dataRange": (10, 20)}
"""
    package = make_classifier(tmp_path / "p", ranged + HIDDEN)
    assert classify(package, raster, [shapely.Point(1, 1), shapely.box(20.2, 20.2, 23.2, 23.2)]).labels == [
        "95 [0.0]",
        "135 [0.0]",
    ]


def test_both_crop_rules_hold_where_a_package_tells_none(tmp_path, raster, pixels):
    """CONTRACT 2: both are on. The definition tells where the function does not."""
    untold = 'def getConfiguration(self, **scalars):\n    self.batch = 4\n    return {"tx": 12, "ty": 12, "batch_size": 4}\n'
    shape = shapely.box(20.2, 20.2, 23.2, 23.2)
    found = classify(make_classifier(tmp_path / "p", untold), raster, [shape])
    assert found.labels == labels_of(pixels, [shape], CropRule(12, 12, True, True))
    told = {"CropSizeFixed": 0, "BlackenAroundFeature": 0}
    found = classify(make_classifier(tmp_path / "q", untold, told), raster, [shape])
    assert found.labels == labels_of(pixels, [shape], CropRule(12, 12, False, False))


def test_middle_decides_whether_a_feature_counts(oracle, raster, pixels):
    """Its envelope's, in pixels; chips at the edge of an extent see what lies beyond it."""
    lying = [
        shapely.box(9.5, 9.5, 10.3, 10.3),  # its middle is outside of the extent
        shapely.box(9.5, 9.5, 10.7, 10.7),
        shapely.Polygon([(8, 12), (20, 12), (8, 24)]),  # its middle is on its edge, its centre of gravity is outside
        shapely.Point(29.9, 29.9),
        shapely.Point(30.1, 29.9),
        shapely.LineString([(5, 15), (50, 15.5)]),
    ]
    extent = Window(10, 10, 20, 20)
    found = classify(oracle, None, lying, SMALL.arguments, items=(item_of(raster, extent=extent),))
    wanted = labels_of(pixels, lying, SMALL)
    assert found.labels == [None, wanted[1], wanted[2], wanted[3], None, wanted[5]]
    region = 500000 + 10.2 * 0.5, 4000000 - 29.8 * 0.5, 500000 + 29.95 * 0.5, 4000000 - 10.2 * 0.5
    found = classify(oracle, None, lying, SMALL.arguments, items=(item_of(raster, extent=extent, region=region),))
    assert found.labels == [None, None, wanted[2], None, None, wanted[5]]
    assert found.unlabelled == {"they lie outside of the raster or of what is looked at, or have no geometry": 4}


def test_mask_hides_features_and_pixels(oracle, raster, pixels):
    triangle = shapely.Polygon([(10.2, 10.2), (40.2, 10.2), (10.2, 40.2)])
    item = item_of(raster)
    mask = on_the_map(triangle, NORTH_UP)
    items = (Item(MaskedRaster(item.source, mask), item.extent, mask=mask),)
    shapes = [shapely.Point(20.3, 20.4), shapely.Point(25, 26), shapely.Point(11.1, 11.1), shapely.Point(70, 50)]
    found = classify(oracle, None, shapes, SMALL.arguments, items=items)
    columns, rows = np.meshgrid(np.arange(80) + 0.5, np.arange(60) + 0.5)
    valid = shapely.contains_xy(triangle, columns, rows)
    wanted = [seen(pixels[0], valid, shape, SMALL) for shape in shapes]
    assert found.labels == [wanted[0][0], None, wanted[2][0], None]


def test_feature_lies_on_each_raster_that_holds_its_middle(oracle, tmp_path):
    """A row for each of them, and one for a feature that lies on none; items in their order, features in theirs."""
    rng = np.random.default_rng(2)
    images = [rng.integers(8, 120, (1, 40, 40)).astype(np.uint8) for _ in range(3)]
    shifts = [(0, 0), (20, 0), (0, 20)]
    rasters = [
        write_raster(tmp_path / f"{number}.tif", image, (500000 + 0.5 * x, 0.5, 0, 4000000 - 0.5 * y, 0, -0.5))
        for number, (image, (x, y)) in enumerate(zip(images, shifts))
    ]
    shapes = [shapely.Point(*at) for at in [(50.3, 10.2), (30.2, 30.4), (90, 90), (5.2, 5.4), (25.3, 5.1), (5.3, 55.2)]]
    found = classify(oracle, None, shapes, f"{SMALL.arguments};batch_size 64", items=tuple(map(item_of, rasters)))
    assert [row[:2] for row in found.rows] == [(0, 1), (1, 0), (1, 1), (1, 2), (2, None), (3, 0), (4, 0), (4, 1), (5, 2)]
    for number, item, answer in found.rows:
        if item is not None:
            moved = shapely.transform(shapes[number], lambda at, item=item: at - shifts[item])
            assert answer.label == labels_of(images[item], [moved], SMALL)[0]


def test_many_features_keep_their_order(oracle, raster, pixels):
    """More than are sorted at a time, of several sizes, given portion by portion in no order."""
    rng = np.random.default_rng(4)
    corners, sizes = rng.integers(1, 50, (9000, 2)) + 0.1, rng.integers(1, 3, (9000, 2)) - 0.3
    shapes = list(shapely.box(*corners.T, *(corners + sizes).T))
    rule = CropRule(4, 4, False, False)
    found = classify(oracle, raster, shapes, f"{rule.arguments};batch_size 64")
    assert [number for number, _, _ in found.rows] == list(range(9000))
    assert found.labels == labels_of(pixels, shapes, rule)


def test_no_features_and_none_on_the_raster(oracle, raster):
    assert classify(oracle, raster, []).rows == []
    found = classify(oracle, raster, [shapely.Point(-50, 5), None, shapely.Polygon()])
    assert [row[:2] for row in found.rows] == [(0, None), (1, None), (2, None)]
    assert [field.name for field in found.fields] == ["ClassLabel", "Confidence", "Size"]


def test_chips_without_a_valid_pixel_have_no_label_and_the_function_never_sees_them(oracle, tmp_path, pixels):
    """The oracle refuses them; their neighbours in the batch keep theirs."""
    pixels[0, :, 30:60] = NODATA
    raster = write_raster(tmp_path / "r.tif", pixels, nodata=NODATA)
    shapes = [shapely.Point(column, 20.3) for column in (10.2, 45.1, 12.4, 46.2, 70.3)]
    found = classify(oracle, raster, shapes, SMALL.arguments)
    assert found.labels == labels_of(pixels, shapes, SMALL)
    assert found.labels.count(None) == 2
    assert found.unlabelled == {"there are no valid pixels around them": 2}
