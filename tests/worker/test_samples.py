"""The sample packages for towns, against their networks run over the same pixels without blocks and batches."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from deep_learning_packages.worker.loader import create_function
from osgeo import gdal, ogr

torch = pytest.importorskip("torch")
SAMPLE = Path(__file__).resolve().parents[2] / "resources" / "sample"
TOWN = SAMPLE / "town.tif"
FRAME = 128
"""Pixels without data around the town for the network alone: more than any padding, and a multiple of its 16."""
SMALL = {"ImageHeight": 256, "ImageWidth": 256}
"""Mini-tiles that need several blocks for the town."""


@pytest.fixture
def town():
    """Pixels, uint8 (4, 256, 256)."""
    return gdal.Open(str(TOWN)).ReadAsArray()


@pytest.fixture
def open_sample(tmp_path, monkeypatch):
    """Unpack a sample, change its definition, create its raster function and configure it; its modules are forgotten later."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)

    def open_sample(name, changes=None, **values):
        with zipfile.ZipFile(SAMPLE / f"{name}.dlpk") as package:
            package.extractall(tmp_path / name)
        (path,) = (tmp_path / name).glob("*.emd")
        definition = {**json.loads(path.read_text()), **(changes or {})}
        path.write_text(json.dumps(definition))
        function = create_function(str(path.parent / definition["InferenceFunction"]), str(path), True)
        function.initialize(model=str(path), device=-1)
        scalars = {entry["name"]: entry["value"] for entry in function.getParameterInfo() if "value" in entry} | values
        return function, function.getConfiguration(**{key: str(value) for key, value in scalars.items()})

    yield open_sample
    for name in set(sys.modules) - before:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


def answer(function, **blocks):
    return json.loads(function.vectorize(**blocks)["output_vectors"])["features"]


def detect(function, configuration, pixels, valid=None):
    """Trees of all blocks as (y, x): confidence, every one found once; and how many blocks there were."""
    size, padding = configuration["tx"], configuration["padding"]
    valid = np.ones(pixels.shape, np.uint8) if valid is None else valid
    around = ((0, 0), (padding, padding + size), (padding, padding + size))
    pixels, mask = np.pad(pixels, around), np.pad(valid, around)
    found, blocks = {}, 0
    for row in range(0, valid.shape[1], size):
        for column in range(0, valid.shape[2], size):
            cut = (slice(None), slice(row, row + size + 2 * padding), slice(column, column + size + 2 * padding))
            for tree in answer(function, raster_pixels=pixels[cut].copy(), raster_mask=mask[cut].copy()):
                place = (tree["geometry"]["y"] + row, tree["geometry"]["x"] + column)
                assert place not in found
                found[place] = tree["attributes"]["Confidence"]
            blocks += 1
    return found, blocks


def whole(network, pixels, threshold=0.3):
    """Trees of the network alone, over the whole image in a frame of no data."""
    _, height, width = pixels.shape
    framed = np.pad(pixels / np.float32(255), ((0, 0), (FRAME, FRAME), (FRAME, FRAME)))
    with torch.inference_mode():
        heat = network(torch.from_numpy(framed)[None])[0, 0].double().numpy()
    found = {}
    for row, column in np.argwhere(heat >= np.log(threshold / (1 - threshold))):
        y, x = 2 * row + 1 - FRAME, 2 * column + 1 - FRAME
        around = heat[row - 1 : row + 2, column - 1 : column + 2]
        if 0 <= y < height and 0 <= x < width and heat[row, column] == around.max():
            found[int(y), int(x)] = float(1 / (1 + np.exp(-heat[row, column])))
    return found


@pytest.mark.parametrize(
    ("batch_size", "padding", "blocks"), [(1, 64, 4), (4, 64, 1), (6, 70, 1), (1, 80, 9), (4, 80, 4), (1, 112, 64), (16, 112, 4)]
)
def test_trees_do_not_depend_on_blocks(open_sample, town, batch_size, padding, blocks):
    function, configuration = open_sample("urban_trees", SMALL, batch_size=batch_size, padding=padding)
    expected = whole(function.network, town)
    assert len(expected) > 80
    found, count = detect(function, configuration, town)
    assert count == blocks
    assert found == pytest.approx(expected, abs=1e-5)


def test_trees_at_seams_are_found_once(open_sample, town):
    """The town is moved pixel by pixel over a seam, so that trees come to lie on either side of it, next to it."""
    function, configuration = open_sample("urban_trees", SMALL, batch_size=1)
    assert configuration["tx"] == 128
    beside = set()
    for shift in range(2, 34, 4):
        moved = np.roll(town, shift, axis=2)
        found, _ = detect(function, configuration, moved)
        assert set(found) == set(whole(function.network, moved))
        beside |= {x for _, x in found if abs(x - 128) <= 1}
    assert beside == {127, 129}


def test_trees_are_found_on_data_only(open_sample, town):
    """Not where a single pixel of a band is missing; what is more than a padding away does not change."""
    function, configuration = open_sample("urban_trees", SMALL, batch_size=4)
    everywhere, _ = detect(function, configuration, town)
    valid = np.ones_like(town)
    for row, column in everywhere:
        valid[2, row, column] = column < 128
    found, _ = detect(function, configuration, town, valid)
    assert any(column > 128 for _, column in found)
    assert all(valid[2, row, column] for row, column in found)
    assert {place for place in found if place[1] < 64} == {place for place in everywhere if place[1] < 64}


def test_less_certain_trees_are_left_out(open_sample, town):
    function, configuration = open_sample("urban_trees", threshold=0.45)
    found, _ = detect(function, configuration, town)
    expected = whole(function.network, town, 0.45)
    assert 20 < len(expected) < len(whole(function.network, town))
    assert set(found) == set(expected)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_trees_through_the_engine(open_sample, town, tmp_path, batch_size):
    """Points of the map, of all blocks, by a real worker."""
    from engine_runs import run

    function, _ = open_sample("urban_trees", SMALL)
    left, cell, _, top, *_ = gdal.Open(str(TOWN)).GetGeoTransform()
    outcome = run(tmp_path / "urban_trees", TOWN, {"batch_size": batch_size})
    assert [field.name for field in outcome.fields] == ["Class", "Confidence"]
    assert {row["Class"] for row in outcome.rows} == {"Tree"}
    places = [(round((top - point.y) / cell, 3), round((point.x - left) / cell, 3)) for point in outcome.geometries]
    assert sorted(places) == sorted(whole(function.network, town))


@pytest.fixture
def chips(town):
    """Chips around the points of the sample, uint8 (4, 32, 32) each, and whether they are annotated trees."""
    left, cell, _, top, *_ = gdal.Open(str(TOWN)).GetGeoTransform()
    source = ogr.Open(str(SAMPLE / "town_points.gpkg"))
    chips, trees = [], []
    for feature in source.GetLayer("points"):
        point = feature.GetGeometryRef()
        column, row = round((point.GetX() - left) / cell) - 16, round((top - point.GetY()) / cell) - 16
        chips.append(town[:, row : row + 32, column : column + 32])
        trees.append(feature["origin"] == "inventory")
    assert {chip.shape for chip in chips} == {(4, 32, 32)}
    return chips, np.array(trees)


def classify(function, chips, size):
    """Labels and confidences of chips in batches, the last of which may be shorter."""
    found = []
    for first in range(0, len(chips), size):
        batch = tuple(chip.copy() for chip in chips[first : first + size])
        features = answer(function, rasters_pixels=batch, rasters_mask=tuple(np.ones_like(chip) for chip in batch))
        assert len(features) == len(batch)
        found += [(feature["attributes"]["Label"], feature["attributes"]["Confidence"]) for feature in features]
    labels, confidences = zip(*found)
    return list(labels), np.array(confidences)


def alone(network, chips):
    """Labels and confidences of the network alone, chip by chip."""
    with torch.inference_mode():
        chances = [network(torch.from_numpy(chip / np.float32(255))[None]).softmax(1)[0].numpy() for chip in chips]
    return [("NoTree", "Tree")[chance.argmax()] for chance in chances], np.array([chance.max() for chance in chances])


@pytest.mark.parametrize("size", [1, 33, 64, 140])
def test_chips_are_classified_as_by_the_network_alone(open_sample, chips, size):
    function, configuration = open_sample("tree_check", batch_size=size)
    assert configuration["batch_size"] == size
    labels, confidences = classify(function, chips[0], size)
    expected, chances = alone(function.network, chips[0])
    assert set(labels) == {"NoTree", "Tree"}
    assert labels == expected
    assert confidences == pytest.approx(chances, abs=1e-5)


def test_answers_keep_the_order_of_the_chips(open_sample, chips):
    function, _ = open_sample("tree_check")
    labels, _ = classify(function, chips[0], 64)
    backwards, _ = classify(function, chips[0][::-1], 64)
    assert backwards == labels[::-1] != labels


def test_inventory_is_mostly_confirmed(open_sample, chips):
    function, _ = open_sample("tree_check")
    labels, _ = classify(function, chips[0], 64)
    confirmed = np.array(labels) == "Tree"
    assert confirmed[chips[1]].mean() > 0.85
    assert confirmed[~chips[1]].mean() < 0.25


def test_pixels_without_data_do_not_matter(open_sample, chips):
    """They are black, also where one band alone lacks them."""
    function, _ = open_sample("tree_check")
    chip, mask, black = chips[0][0].copy(), np.ones((4, 32, 32), np.uint8), chips[0][0].copy()
    mask[1, :, 10:] = 0
    black[:, :, 10:] = 0
    (whole,), (cut,) = (answer(function, rasters_pixels=(chip,), rasters_mask=(each,)) for each in (np.ones_like(mask), mask))
    (label,), chance = alone(function.network, [black])
    assert (cut["attributes"]["Label"], cut["attributes"]["Confidence"]) == (label, pytest.approx(chance[0], abs=1e-5))
    assert cut["attributes"] != whole["attributes"]
    assert cut["geometry"]["rings"] == [[[0, 0], [32, 0], [32, 32], [0, 32], [0, 0]]]


def test_contract_of_the_classifier(open_sample):
    """3.6: what the host asks before it cuts chips."""
    function, configuration = open_sample("tree_check")
    assert function.getParameterInfo()[0].items() >= {"name": "rasters", "dataType": "rasters"}.items()
    expected = {"tx": 32, "ty": 32, "padding": 0, "CropSizeFixed": 1, "BlackenAroundFeature": 0, "batch_size": 64}
    assert configuration.items() >= {**expected, "extractBands": (0, 1, 2, 3), "inputMask": True}.items()
    fields = {field["name"]: field["type"] for field in json.loads(function.getFields())["fields"]}
    assert fields.items() >= {"Label": "esriFieldTypeString", "Confidence": "esriFieldTypeDouble"}.items()


@pytest.mark.parametrize("name", ["urban_trees", "tree_check"])
def test_packages_are_built_from_their_source(name):
    with zipfile.ZipFile(SAMPLE / f"{name}.dlpk") as package:
        members = {member: package.read(member) for member in package.namelist() if member != f"{name}.pt"}
    assert members == {path.name: path.read_bytes() for path in (SAMPLE / name).iterdir() if path.is_file()}


def test_band_4_of_the_town_is_near_infrared_and_no_alpha():
    source = gdal.Open(str(TOWN))
    bands = [source.GetRasterBand(number) for number in range(1, 5)]
    assert [band.GetDescription() for band in bands] == ["Red", "Green", "Blue", "NIR"]
    assert [band.GetColorInterpretation() for band in bands] == [
        gdal.GCI_RedBand, gdal.GCI_GreenBand, gdal.GCI_BlueBand, gdal.GCI_Undefined,
    ]  # fmt: skip
