"""Pixels and grids of every kind: an oracle's objects lie where they were drawn, whatever the raster is like."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import shapely
from deep_learning_packages.inference.configuration import Configuration
from deep_learning_packages.inference.errors import ConfigurationError
from deep_learning_packages.inference.grid import Window
from deep_learning_packages.inference.plan import SuppressionPlan
from deep_learning_packages.inference.rasters.gdal_raster import GdalRaster
from engine_runs import run
from hypothesis import given, settings
from hypothesis import strategies as st
from osgeo import gdal, gdal_array, osr
from packages import ORACLE, make_package
from rasters import draw, write_raster
from shared_data import DATA, needs_data

ROOT = Path(__file__).parent.parent.parent
SIDE = 90
BOXES = [(12, 14, 19, 22), (40, 20, 52, 26), (61, 55, 70, 71), (20, 66, 27, 70)]
NODATA = 200
GRIDS = {
    "north up": (1.0, 0.0, 0.0, -1.0),
    "turned by 25 degrees": (math.cos(0.44), math.sin(0.44), math.sin(0.44), -math.cos(0.44)),
    "south up": (1.0, 0.0, 0.0, 1.0),
    "mirrored": (-1.0, 0.0, 0.0, -1.0),
    "turned by 180 degrees": (-1.0, 0.0, 0.0, 1.0),
    "wide pixels": (2.0, 0.0, 0.0, -1.0),
}
PLACES = {  # CRS, an origin in it, and the size of a pixel
    "metres": ("EPSG:32633", (500000.0, 4000000.0), 0.5),
    "degrees": ("EPSG:4326", (13.4, 52.5), 2e-6),
    "US survey feet": ("EPSG:2263", (1000000.0, 200000.0), 0.25),
    "with a vertical CRS": ("EPSG:7415", (155000.0, 463000.0), 0.1),
    "none": (None, (100.0, 100.0), 1.0),
}
DTYPES = ["uint8", "uint16", "int16", "int32", "float32", "float64"]
VALIDITIES = ["all", "nodata", "alpha", "mask", "nan"]


def make(path: Path, dtype: str, validity: str, grid: str, place: str, palette: bool) -> tuple[float, ...]:
    """A raster with boxes of different values and a collar that is not valid; its geotransform."""
    crs, (x, y), size = PLACES[place]
    a, b, d, e = (number * size for number in GRIDS[grid])
    transform = (x, a, b, y, d, e)
    bands, inner = scene(dtype, validity, palette)
    dataset = created(path, dtype, validity, len(bands))
    dataset.SetGeoTransform(transform)
    if crs is not None:
        reference = osr.SpatialReference()
        reference.SetFromUserInput(crs)
        dataset.SetProjection(reference.ExportToWkt())
    if palette:
        table = gdal.ColorTable()
        for entry in range(256):
            table.SetColorEntry(entry, (entry * 10 % 256, entry, 255 - entry, 255))
        dataset.GetRasterBand(1).SetColorTable(table)
    for number, band in enumerate(bands, 1):
        if validity == "nodata":
            dataset.GetRasterBand(number).SetNoDataValue(float(bands[0][0, 0]))
        dataset.GetRasterBand(number).WriteArray(band)
    if validity == "mask":
        dataset.CreateMaskBand(gdal.GMF_PER_DATASET)
        dataset.GetRasterBand(1).GetMaskBand().WriteArray((inner * 255).astype(np.uint8))
    dataset = None
    return transform


def scene(dtype: str, validity: str, palette: bool) -> tuple[list[np.ndarray], np.ndarray]:
    """The bands, and which pixels are valid."""
    plane = np.zeros((SIDE, SIDE), dtype)
    for number, box in enumerate(BOXES, 1):
        draw(plane, box, number * 10)
    inner = np.zeros(plane.shape, bool)
    inner[6:-6, 6:-6] = True
    plane[~inner] = NODATA if validity != "nan" else np.nan
    if validity == "all":
        plane[~inner] = 0
    bands = [plane] if not palette else [plane // 10]
    if validity == "alpha":
        bands.append((inner * 255).astype(dtype))
    return bands, inner


def created(path: Path, dtype: str, validity: str, count: int) -> gdal.Dataset:
    code = gdal_array.NumericTypeCodeToGDALTypeCode(np.dtype(dtype))
    options = ["TILED=YES", "BLOCKXSIZE=32", "BLOCKYSIZE=32", *(["ALPHA=YES"] if validity == "alpha" else [])]
    if validity == "mask":
        gdal.SetConfigOption("GDAL_TIFF_INTERNAL_MASK", "YES")
    return gdal.GetDriverByName("GTiff").Create(str(path), SIDE, SIDE, count, code, options)


@st.composite
def kinds(choose):
    dtype = choose(st.sampled_from(DTYPES))
    validity = choose(st.sampled_from(VALIDITIES if dtype.startswith("float") else VALIDITIES[:-1]))
    palette = dtype == "uint8" and validity in ("all", "nodata") and choose(st.booleans())
    return dtype, validity, choose(st.sampled_from(sorted(GRIDS))), choose(st.sampled_from(sorted(PLACES))), palette


@settings(max_examples=60, deadline=None)
@given(kind=kinds())
def test_objects_lie_where_they_were_drawn(kind):
    with tempfile.TemporaryDirectory() as folder:
        transform = make(Path(folder, "awkward.tif"), *kind)
        package = make_package(Path(folder, "package"), ORACLE)
        outcome = run(
            package, Path(folder, "awkward.tif"), "tile 50;padding 20", suppression=SuppressionPlan("Confidence", "", 0.0)
        )
    inverse = gdal.InvGeoTransform(transform)
    found = sorted(bounds_in_pixels(geometry, inverse) for geometry in outcome.geometries)
    assert len(found) == len(BOXES)
    np.testing.assert_allclose(found, sorted(BOXES), rtol=0, atol=0.01)


def bounds_in_pixels(geometry, inverse):
    corners = np.array([gdal.ApplyGeoTransform(inverse, x, y) for x, y in shapely.get_coordinates(geometry)])
    return (*corners.min(axis=0), *corners.max(axis=0))


def test_mirrored_rasters_reach_the_function_north_up(tmp_path):
    """What a network sees is an image with north up, not its mirror image."""
    make(tmp_path / "north.tif", "uint8", "all", "north up", "metres", False)
    make(tmp_path / "south.tif", "uint8", "all", "south up", "metres", False)
    north, south = (GdalRaster(str(tmp_path / name)) for name in ("north.tif", "south.tif"))
    planes = []
    for raster in (north, south):
        plane = np.zeros((1, SIDE, SIDE), np.uint8)
        raster.read(Window(0, 0, SIDE, SIDE), (0,), plane, np.zeros((1, SIDE, SIDE), np.uint8))
        planes.append(plane[0])
        raster.close()
    np.testing.assert_array_equal(planes[1], planes[0][::-1])  # the same file upside down lies upside down
    assert south.grid.affine.row_y < 0


def test_ground_control_points_make_a_grid(tmp_path):
    pixels = np.zeros((1, SIDE, SIDE), np.uint8)
    draw(pixels[0], (40, 30, 60, 50), 90)
    path = write_raster(tmp_path / "gcps.tif", pixels, transform=None, epsg=None)
    dataset = gdal.Open(str(path), gdal.GA_Update)
    places = [(0, 0), (SIDE, 0), (SIDE, SIDE), (0, SIDE)]
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(32633)
    points = [gdal.GCP(500000 + 0.5 * x, 4000000 - 0.5 * y, 0, x, y) for x, y in places]
    dataset.SetGCPs(points, reference.ExportToWkt())
    dataset = None
    found = run(make_package(tmp_path / "p", ORACLE), path, "tile 100;padding 20").geometries
    box = shapely.box(500020, 3999975, 500030, 3999985)
    assert len(found) == 1
    assert shapely.hausdorff_distance(found[0], box) < 0.5  # a pixel, as pixels are resampled


def test_rational_polynomials_make_a_grid_in_metres(tmp_path):
    """A model that is linear: a degree of longitude is 10 000 columns, one of latitude 10 000 rows."""
    path = write_raster(tmp_path / "rpc.tif", np.full((1, 100, 100), 7, np.uint8), transform=None, epsg=None)
    numbers = " ".join
    unit = numbers(["1"] + ["0"] * 19)
    model = {
        "LINE_OFF": "50", "SAMP_OFF": "50", "LAT_OFF": "52.5", "LONG_OFF": "13.4", "HEIGHT_OFF": "0",
        "LINE_SCALE": "50", "SAMP_SCALE": "50", "LAT_SCALE": "0.005", "LONG_SCALE": "0.005", "HEIGHT_SCALE": "100",
        "LINE_NUM_COEFF": numbers(["0", "0", "-1"] + ["0"] * 17), "LINE_DEN_COEFF": unit,
        "SAMP_NUM_COEFF": numbers(["0", "1"] + ["0"] * 18), "SAMP_DEN_COEFF": unit,
    }  # fmt: skip
    dataset = gdal.Open(str(path), gdal.GA_Update)
    dataset.SetMetadata(model, "RPC")
    dataset = None
    raster = GdalRaster(str(path))
    left, bottom, right, top = raster.grid.bounds_of(raster.grid.window)
    raster.close()
    assert "UTM zone 33N" in raster.grid.crs
    assert right - left == pytest.approx(679, abs=30)  # 0.01 degrees of longitude there, and a little more as it is turned
    assert top - bottom == pytest.approx(1113, abs=15)


def test_palette_becomes_the_colours_that_qgis_shows(tmp_path):
    path = write_raster(tmp_path / "p.tif", np.array([[[0, 1], [2, 3]]], np.uint8), nodata=2)
    dataset = gdal.Open(str(path), gdal.GA_Update)
    table = gdal.ColorTable()
    for entry, color in enumerate([(10, 20, 30), (40, 50, 60), (70, 80, 90), (1, 2, 3)]):
        table.SetColorEntry(entry, color)
    dataset.GetRasterBand(1).SetColorTable(table)
    dataset = None
    raster = GdalRaster(str(path))
    out, mask = np.zeros((3, 2, 2), np.uint8), np.zeros((1, 2, 2), np.uint8)
    raster.read(Window(0, 0, 2, 2), (0, 1, 2), out, mask)
    raster.close()
    assert raster.grid.band_names[:3] == ("Red", "Green", "Blue")
    np.testing.assert_array_equal(out[:, 0, 1], [40, 50, 60])
    np.testing.assert_array_equal(mask[0], [[1, 1], [0, 1]])


def test_scale_and_offset_only_when_asked_for(tmp_path):
    path = write_raster(tmp_path / "s.tif", np.array([[[100, 200], [300, 0]]], np.int16), nodata=0)
    dataset = gdal.Open(str(path), gdal.GA_Update)
    dataset.GetRasterBand(1).SetScale(0.01)
    dataset.GetRasterBand(1).SetOffset(-1)
    dataset = None
    stored, physical = GdalRaster(str(path)), GdalRaster(str(path), unscale=True)
    assert (stored.grid.dtype, physical.grid.dtype) == ("int16", "float32")
    assert stored.identity != physical.identity
    out, mask = np.zeros((1, 2, 2), np.float32), np.zeros((1, 2, 2), np.uint8)
    physical.read(Window(0, 0, 2, 2), (0,), out, mask)
    np.testing.assert_allclose(out[0][mask[0] == 1], [0.0, 1.0, 2.0], atol=1e-6)
    assert mask[0, 1, 1] == 0
    for raster in (stored, physical):
        raster.close()


def test_alpha_is_no_band_unless_it_is_asked_for(tmp_path):
    path = write_raster(tmp_path / "rgba.tif", np.full((4, 3, 3), 9, np.uint8), alpha=True)
    grid = GdalRaster(str(path)).grid
    assert grid.alpha == 3
    assert Configuration(8, 8, 0).band_indices(grid) == (0, 1, 2)
    assert Configuration(8, 8, 0, (3, 0)).band_indices(grid) == (3, 0)
    five = GdalRaster(str(write_raster(tmp_path / "five.tif", np.full((5, 3, 3), 9, np.float32))))
    assert Configuration(8, 8, 0).band_indices(five.grid) == (0, 1, 2, 3, 4)


def test_band_that_tells_how_opaque_others_are_is_a_band_like_any_other_when_asked_for(tmp_path):
    """Near infrared that was written as alpha, as happens: where it is 0, the other bands still count."""
    pixels = np.full((4, 3, 3), 9, np.uint8)
    pixels[3, 0, 0] = 0
    raster = GdalRaster(str(write_raster(tmp_path / "rgbn.tif", pixels, alpha=True)))
    for bands, valid in (((0, 1, 2), 8), ((0, 1, 2, 3), 9)):
        out, mask = np.zeros((len(bands), 3, 3), np.uint8), np.ones((1, 3, 3), np.uint8)
        raster.read(Window(0, 0, 3, 3), bands, out, mask)
        assert mask.sum() == valid
    raster.close()


@pytest.mark.parametrize(
    ("asked", "bands"),
    [
        (("NearInfrared", "red"), (3, 2)),
        (("nir", "Green"), (3, 1)),
        (("B", "R"), None),
        (("BLUE",), (0,)),
        (("Near Infrared",), (3,)),
    ],
)
def test_bands_by_name(tmp_path, asked, bands):
    names = ("Blue", "Green", "Red", "NIR")
    grid = GdalRaster(str(write_raster(tmp_path / "named.tif", np.ones((4, 2, 2), np.uint16), band_names=names))).grid
    if bands is None:
        with pytest.raises(ConfigurationError, match=r"band named 'B', but the raster has 4 band\(s\) \(Blue, Green, Red, NIR\)"):
            Configuration(8, 8, 0, asked).band_indices(grid)
    else:
        assert Configuration(8, 8, 0, asked).band_indices(grid) == bands


@needs_data
@pytest.mark.parametrize("path", sorted((DATA / "awkward").rglob("*.tif*")), ids=lambda path: path.name)
def test_rasters_that_others_found_awkward(tmp_path, path):
    """A package that finds nothing runs over each of them to its end."""
    outcome = run(make_package(tmp_path / "p"), path, "tile 700")
    assert outcome.statistics.pixels > 0


@needs_data
def test_variants_of_one_image_show_the_same_trees(tmp_path):
    """The sample model over the variants of its image that keep the pixels: alike, with the same crowns."""
    image, sample = (ROOT / "resources" / "sample" / name for name in ("tree_crowns.tif", "tree_crowns.dlpk"))
    subprocess.run([sys.executable, str(DATA / "make_awkward.py"), str(image), str(tmp_path)], check=True, capture_output=True)
    window = Window(450, 400, 350, 250)
    reference = found(sample, image, window)
    assert len(reference) > 8
    for name in ("alpha_collar", "internal_mask_collar", "nodata0_collar", "no_crs", "eight_band", "rgbn_4band_no_alpha"):
        assert found(sample, tmp_path / f"{name}.tif", window) == reference, name
    turned = found(sample, tmp_path / "rotated_25deg.tif", window)
    assert len(turned) == len(reference)  # the grid is turned, the pixels are the same


def found(package: Path, raster: Path, window: Window) -> list[str]:
    suppression = SuppressionPlan("Confidence", "Class", 0.3)
    outcome = run(package, raster, extent=window, suppression=suppression)
    return sorted(shapely.to_wkt(geometry, 3) for geometry in outcome.geometries)
