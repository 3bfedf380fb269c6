"""Imports found without running anything, and how a raster compares with what a model was trained on."""

from __future__ import annotations

import numpy as np
import pytest
from deep_learning_packages.inference.package import open_package
from deep_learning_packages.inference.rasters.gdal_raster import GdalRaster
from deep_learning_packages.inference.requirements import requirements_of
from deep_learning_packages.inference.suitability import doubts, span, trained_cell_sizes
from packages import make_package
from rasters import write_raster

FUNCTION = """
import json, os
import numpy as np
import torch.nn as nn
from PIL import Image
import arcpy
import helpers
from vendored.network import Net
try:
    import cv2
    HAS = True
except Exception:
    HAS = False
    import late_fallback

def lazily():
    import scipy.ndimage

class Function:
    def getParameterInfo(self):
        return []
"""


@pytest.fixture
def package(cache, tmp_path):
    folder = make_package(tmp_path / "p", code=FUNCTION)
    (folder / "helpers.py").write_text("import timm\nfrom . import nothing\nfrom vendored import other\n")
    (folder / "vendored").mkdir()
    (folder / "vendored" / "__init__.py").write_text("")
    (folder / "vendored" / "network.py").write_text("from .layers import x\nfrom ..helpers import y\n")
    (folder / "vendored" / "layers.py").write_text("import einops\ntry:\n    import numpy\nexcept ImportError:\n    pass\n")
    (folder / "vendored" / "other.py").write_text("import cv2\n")
    (folder / "unused.py").write_text("import tensorflow\n")
    return folder


def test_imports_are_followed_through_the_package(package):
    found = {each.module: each.is_optional for each in requirements_of(open_package(package)).libraries}
    expected = {"PIL", "cv2", "einops", "late_fallback", "numpy", "scipy", "timm", "torch"}
    assert set(found) == expected
    assert not any(found.values()), "cv2 is imported without a guard too, numpy also"


def test_guarded_imports_are_optional(cache, tmp_path):
    code = FUNCTION.replace("import helpers\n", "").replace("from vendored.network import Net\n", "")
    found = {each.module: each for each in requirements_of(open_package(make_package(tmp_path / "p", code=code))).libraries}
    assert found["cv2"].is_optional
    assert not found["torch"].is_optional
    assert (found["cv2"].distribution, found["PIL"].distribution, found["torch"].distribution) == (
        "opencv-python-headless",
        "pillow",
        "torch",
    )


def test_nothing_runs_and_what_cannot_be_read_is_told(cache, tmp_path):
    mark = tmp_path / "ran"
    code = f"open({str(mark)!r}, 'w')\nimport broken\nclass Function:\n    def getParameterInfo(self): pass\n"
    folder = make_package(tmp_path / "p", code=code)
    (folder / "broken.py").write_text("def oops(:\n")
    found = requirements_of(open_package(folder))
    assert not mark.exists()
    assert len(found.unread) == 1
    assert found.unread[0].startswith("broken.py: ")


def test_thin_wrappers_need_their_framework(cache, tmp_path):
    definition = {
        "InferenceFunction": None,
        "Framework": "arcgis.learn.models._inferencing",
        "ModelConfiguration": "_RetinaNet_Inference",
    }
    found = requirements_of(open_package(make_package(tmp_path / "p", definition=definition)))
    assert [each.module for each in found.libraries] == ["arcgis"]


@pytest.mark.parametrize("name", ["/", "../outside", "x" * 300, "torch; rm", "a/b"])
def test_names_that_are_no_modules(cache, tmp_path, name):
    """Nothing outside the package is looked at, and no such name becomes a library to install."""
    (tmp_path / "outside.py").write_text("import stranger\n")
    definition = {"InferenceFunction": None, "Framework": f"{name}.learn", "ModelConfiguration": name}
    assert requirements_of(open_package(make_package(tmp_path / "p", definition=definition))).libraries == ()


def test_source_that_breaks_the_parser(cache, tmp_path):
    folder = make_package(tmp_path / "p", code="import deep\nclass Function:\n    def getParameterInfo(self): pass\n")
    (folder / "deep.py").write_text("x = " + "-" * 100_000 + "1\n")
    assert requirements_of(open_package(folder)).unread


@pytest.mark.parametrize(
    "values",
    [
        {
            "ModelName": 5,
            "ModelType": ["x"],
            "Framework": {},
            "Classes": [{"Value": 1, "Name": "A", "Color": [float("nan"), 0, 10**400]}],
        },
        {"MinCellSize": {"x": 10**400, "y": 0}, "MaxCellSize": {"x": "a"}, "ExtractBands": "x", "NormalizationStats": []},
    ],
)
def test_nonsense_in_what_is_only_shown(cache, tmp_path, values):
    found = definition(cache, tmp_path, **values)
    assert isinstance(found.name, str)
    assert all(each.color is None for each in found.classes)
    assert doubts(found, grid(tmp_path, np.zeros((3, 8, 8), np.uint8), (0, 1, 0, 0, 0, -1), 32633)) == []


def grid(tmp_path, pixels, transform, epsg):
    raster = GdalRaster(str(write_raster(tmp_path / "r.tif", pixels, transform, epsg)))
    found = raster.grid
    raster.close()
    return found


def definition(cache, tmp_path, **values):
    return open_package(make_package(tmp_path / "p", definition=values)).definition


SIZES = {"MinCellSize": {"x": 0.3, "y": 0.3, "spatialReference": {"wkid": 26915}}, "MaxCellSize": {"x": 0.5, "y": 0.5}}
FEET = {"MinCellSize": {"x": 1.0, "y": 1.0, "spatialReference": {"wkid": 2263, "latestWkid": 2263}}}
DEGREES = {"MinCellSize": {"x": 0.00001, "y": 0.00001, "spatialReference": {"wkid": 4326}}}


@pytest.mark.parametrize(
    ("values", "metres"),
    [(SIZES, (0.3, 0.5)), (FEET, (0.3048, 0.3048)), (DEGREES, (1.1132, 1.1132)), ({}, None), ({"MinCellSize": None}, None)],
)
def test_trained_cell_size_in_metres(cache, tmp_path, values, metres):
    found = trained_cell_sizes(definition(cache, tmp_path, **values))
    assert found == (None if metres is None else pytest.approx(metres, rel=1e-4))


@pytest.mark.parametrize(
    ("cell", "epsg", "warned"),
    [
        (0.16, 32633, False), (0.14, 32633, True), (0.9, 32633, False), (1.1, 32633, True),
        (1.0, 2263, False), (4.0, 2263, True), (0.000004, 4326, False), (0.00004, 4326, True), (7.0, None, False),
    ],
)  # fmt: skip
def test_cell_size(cache, tmp_path, cell, epsg, warned):
    """More than twice as coarse or as fine as trained, in metres, feet and degrees; nothing is said without a CRS."""
    x, y = (10.0, 40.0) if epsg == 4326 else (500000.0, 4000000.0)
    found = doubts(
        definition(cache, tmp_path, **SIZES), grid(tmp_path, np.zeros((3, 8, 8), np.uint8), (x, cell, 0, y, 0, -cell), epsg)
    )
    assert any("cell size" in text for text in found) == warned


@pytest.mark.parametrize(
    ("dtype", "values", "text"),
    [
        ("uint8", {}, None),
        ("uint16", {}, "uint16 pixels, but the model probably wants 8 bit"),
        ("uint16", {"DataRange": [0, 1]}, None),
        ("uint16", {"NormalizationStats": {"band_max_values": [3000, 4000]}}, None),
        ("uint8", {"NormalizationStats": {"band_max_values": [3000, 4000]}}, "trained on values up to 4000"),
        ("uint8", {"NormalizationStats": {"band_max_values": [255]}}, None),
    ],
)
def test_pixel_type(cache, tmp_path, dtype, values, text):
    found = doubts(definition(cache, tmp_path, **values), grid(tmp_path, np.zeros((3, 8, 8), dtype), (0, 1, 0, 0, 0, -1), 32633))
    assert len(found) == (text is not None)
    assert text is None or text in found[0]


def test_bands(cache, tmp_path):
    found = doubts(
        definition(cache, tmp_path, ExtractBands=[0, 3]),
        grid(tmp_path, np.zeros((3, 8, 8), np.uint8), (0, 1, 0, 0, 0, -1), 32633),
    )
    assert found == ["The model reads band 4, but the raster has 3 band(s)."]


def test_lengths():
    assert span((0.1, 0.1)) == "10 cm"
    assert span((0.3, 1.0)) == "30 cm to 1 m"
