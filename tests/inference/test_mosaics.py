"""Several rasters as one: from lists, folders, archives, indexes and STAC files; and one by one."""

from __future__ import annotations

import json
import subprocess
import zipfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import shapely
from deep_learning_packages.inference.errors import RasterError
from deep_learning_packages.inference.grid import Window
from deep_learning_packages.inference.item import Item
from deep_learning_packages.inference.plan import SuppressionPlan
from deep_learning_packages.inference.rasters.collections import Piece, items_of, pieces_of
from deep_learning_packages.inference.rasters.gdal_raster import GdalRaster
from deep_learning_packages.inference.rasters.mosaic import mosaic_of
from deep_learning_packages.inference.rasters.source import Validity
from engine_runs import run
from osgeo import gdal, ogr
from packages import ORACLE, make_package
from rasters import NORTH_UP, draw, write_raster
from servers.files import FileServer

SUPPRESSION = SuppressionPlan("Confidence", "", 0.0)
ARGUMENTS = "tile 60;padding 12"


@pytest.fixture
def whole(tmp_path) -> Path:
    """One raster with many boxes, also across the lines along which `cut` cuts it."""
    rng = np.random.default_rng(3)
    pixels = np.zeros((3, 200, 240), np.uint16)
    for number in range(1, 90):
        left, top = rng.integers(5, 225), rng.integers(5, 185)
        draw(pixels[0], (left, top, left + 6, top + 6), number)
    pixels[1], pixels[2] = 1000, 2000
    return write_raster(tmp_path / "whole.tif", pixels)


@pytest.fixture
def folder(tmp_path, whole) -> Path:
    """The same raster in twelve files, and things that are no raster."""
    folder = tmp_path / "tiles"
    folder.mkdir()
    for row in range(3):
        for column in range(4):
            gdal.Translate(
                str(folder / f"tile_{row}_{column}.tif"), str(whole), srcWin=[column * 60, row * 70, 60, min(70, 200 - row * 70)]
            )
    (folder / "readme.txt").write_text("about these tiles")
    (folder / "tile_0_0.tif.aux.xml").write_text("<PAMDataset/>")
    return folder


def given_as(kind: str, folder: Path) -> str:  # noqa: PLR0911 - one way a kind
    files = sorted(map(str, folder.glob("*.tif")))
    place = folder.parent
    if kind == "folder":
        return str(folder)
    if kind == "zip":
        with zipfile.ZipFile(place / "tiles.zip", "w") as archive:
            for file in files:
                archive.write(file, f"inside/{Path(file).name}")
        return str(place / "tiles.zip")
    if kind == "vrt":
        subprocess.run(["gdalbuildvrt", "-q", str(place / "tiles.vrt"), *files], check=True)
        return str(place / "tiles.vrt")
    if kind == "tile index":
        subprocess.run(["gdaltindex", str(place / "index.gpkg"), *files], check=True, capture_output=True)
        return str(place / "index.gpkg")
    if kind == "gti":
        subprocess.run(["gdaltindex", "-f", "GPKG", str(place / "index.gti.gpkg"), *files], check=True, capture_output=True)
        return str(place / "index.gti.gpkg")
    if kind == "tile index with paths beside it":
        data = ogr.GetDriverByName("GeoJSON").CreateDataSource(str(place / "beside.geojson"))
        layer = data.CreateLayer("beside", geom_type=ogr.wkbPolygon)
        layer.CreateField(ogr.FieldDefn("Path", ogr.OFTString))
        for file in files:
            feature = ogr.Feature(layer.GetLayerDefn())
            feature.SetField("Path", f"tiles/{Path(file).name}")
            layer.CreateFeature(feature)
        data = layer = None
        return str(place / "beside.geojson")
    features = [
        {"type": "Feature", "stac_version": "1.0.0", "id": Path(file).stem, "geometry": None, "properties": {}, "assets": {
            "thumbnail": {"href": "no.tif", "type": "image/tiff", "roles": ["thumbnail"]},
            "image": {"href": f"./tiles/{Path(file).name}", "type": "image/tiff; application=geotiff; profile=cloud-optimized"},
        }} for file in files
    ]  # fmt: skip
    (place / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return str(place / "items.json")


HAS_GTI = int(gdal.VersionInfo()) >= 3090000
GTI = pytest.param("gti", marks=pytest.mark.skipif(not HAS_GTI, reason="GDAL's raster tile index needs GDAL 3.9"))
KINDS = ["folder", "zip", "vrt", "tile index", "tile index with paths beside it", "stac", GTI]


def found(outcome) -> list[str]:
    return sorted(shapely.to_wkt(geometry, 6) for geometry in outcome.geometries)


def mosaic(paths: list[str], cell_size: float | None = None) -> GdalRaster:
    pieces = [piece for path in paths for piece in pieces_of(path)]
    if len(pieces) == 1:
        return GdalRaster(pieces[0].path, cell_size)
    text, files = mosaic_of(pieces, cell_size)
    return GdalRaster(text, name="mosaic", files=files)


def search(package: Path, source: GdalRaster, **settings):
    return run(package, None, ARGUMENTS, items=(Item(source, source.grid.window),), suppression=SUPPRESSION, **settings)


@pytest.mark.parametrize("kind", KINDS)
def test_mosaic_equals_the_raster_that_was_cut(tmp_path, whole, folder, kind):
    package = make_package(tmp_path / "package", ORACLE)
    source = mosaic([given_as(kind, folder)])
    assert found(search(package, source)) == found(run(package, whole, ARGUMENTS, suppression=SUPPRESSION))
    assert len(pieces_of(given_as("folder", folder))) == 12


@pytest.mark.parametrize("kind", KINDS)
def test_each_raster_by_itself(tmp_path, folder, kind):
    """As if each were searched alone, with its name: objects at its edges are lost, as they are for each alone."""
    package = make_package(tmp_path / "package", ORACLE)
    pieces = [item for piece in pieces_of(given_as(kind, folder)) for item in items_of(piece)]
    assert len(pieces) == 12
    items = []
    for piece in pieces:
        source = GdalRaster(piece.path, name=piece.name)
        source.close()
        items.append(Item(source, source.grid.window))
    outcome = run(package, None, ARGUMENTS, items=tuple(items), suppression=SUPPRESSION, names_items=True)
    alone = {}
    for piece in pieces:
        single = run(package, piece.path, ARGUMENTS, suppression=SUPPRESSION)
        alone[piece.name] = found(single)
    by_name = {piece.name: [] for piece in pieces}
    for geometry, row in zip(outcome.geometries, outcome.rows):
        by_name[row["Image"]].append(shapely.to_wkt(geometry, 6))
    assert {name: sorted(several) for name, several in by_name.items()} == alone
    assert sum(map(len, alone.values())) > 20
    assert outcome.fields[-1].name == "Image"


def test_first_raster_is_on_top(tmp_path):
    first = write_raster(tmp_path / "first.tif", np.full((1, 20, 20), 1, np.uint8))
    second = write_raster(tmp_path / "second.tif", np.full((1, 20, 20), 2, np.uint8), (NORTH_UP[0] + 5, *NORTH_UP[1:]))
    source = mosaic([str(first), str(second)])
    plane, mask = np.zeros((1, 20, 30), np.uint8), np.zeros((1, 20, 30), np.uint8)
    assert source.read(Window(0, 0, 30, 20), (0,), plane, mask) is Validity.FULL
    source.close()
    np.testing.assert_array_equal(plane[0, 0], [1] * 20 + [2] * 10)


def test_what_no_raster_covers_is_not_valid(tmp_path):
    near = write_raster(tmp_path / "near.tif", np.zeros((1, 10, 10), np.uint8))
    far = write_raster(tmp_path / "far.tif", np.zeros((1, 10, 10), np.uint8), (NORTH_UP[0] + 50, *NORTH_UP[1:]))
    source = mosaic([str(near), str(far)])
    assert (source.grid.width, source.grid.alpha) == (110, 1)
    plane, mask = np.ones((1, 10, 110), np.uint8), np.ones((1, 10, 110), np.uint8)
    assert source.read(Window(0, 0, 110, 10), (0,), plane, mask) is Validity.PARTIAL
    assert source.read(Window(20, 0, 50, 10), (0,), plane[:, :, :50], mask[:, :, :50]) is Validity.EMPTY
    source.close()
    assert mask[0, 0, :50].sum() in (0, 10)


@pytest.mark.parametrize("other", ["EPSG:32634", "EPSG:4326", "EPSG:2263"])
def test_rasters_of_another_crs_are_brought_to_the_first(tmp_path, whole, other):
    """The right half in another CRS: its objects are found within a pixel of where they were."""
    gdal.Translate(str(tmp_path / "left.tif"), str(whole), srcWin=[0, 0, 120, 200]).FlushCache()
    gdal.Translate(str(tmp_path / "right.tif"), str(whole), srcWin=[120, 0, 120, 200]).FlushCache()
    gdal.Warp(
        str(tmp_path / "moved.tif"), str(tmp_path / "right.tif"), dstSRS=other, dstNodata=0, resampleAlg="near"
    ).FlushCache()
    source = mosaic([str(tmp_path / "left.tif"), str(tmp_path / "moved.tif")])
    assert source.grid.affine.cell_size == pytest.approx((0.5, 0.5))
    width, height = source.grid.width, source.grid.height
    plane, mask = np.zeros((1, height, width), np.uint16), np.zeros((1, height, width), np.uint8)
    source.read(source.grid.window, (0,), plane, mask)
    x, y = source.grid.affine.invert(np.array([[NORTH_UP[0], NORTH_UP[3]]]))[0]
    source.close()
    own = gdal.Open(str(whole)).ReadAsArray()[0]
    part = plane[0, round(-y) if y < 0 else round(y) :, round(x) :][:200, :240]
    inside = np.s_[5:190, 130:230]
    overlap = ((part[inside] > 0) & (own[inside] > 0)).sum() / (own[inside] > 0).sum()
    assert overlap > 0.75
    np.testing.assert_array_equal(part[:200, :118], own[:200, :118])


def test_finer_rasters_are_averaged_and_other_types_widened(tmp_path):
    coarse = write_raster(tmp_path / "coarse.tif", np.full((1, 10, 10), 7, np.uint16))
    fine = write_raster(
        tmp_path / "fine.tif", np.full((1, 20, 20), 200, np.uint8), (NORTH_UP[0] + 5, 0.25, 0, NORTH_UP[3], 0, -0.25)
    )
    source = mosaic([str(coarse), str(fine)])
    plane, mask = np.zeros((1, 10, 20), np.uint16), np.zeros((1, 10, 20), np.uint8)
    source.read(Window(0, 0, 20, 10), (0,), plane, mask)
    source.close()
    assert (source.grid.width, source.grid.height, source.grid.dtype) == (20, 10, "uint16")
    np.testing.assert_array_equal(plane[0, 5], [7] * 10 + [200] * 10)


def test_turned_raster_in_a_mosaic(tmp_path):
    plain = write_raster(tmp_path / "plain.tif", np.full((3, 40, 40), 7, np.uint8))
    turned = write_raster(tmp_path / "turned.tif", np.full((3, 40, 40), 9, np.uint8), (500018.0, 0.4, 0.3, 4000000.0, 0.3, -0.4))
    source = mosaic([str(plain), str(turned)])
    shape = source.grid.height, source.grid.width
    plane, mask = np.zeros((3, *shape), np.uint8), np.zeros((source.mask_bands((0, 1, 2)), *shape), np.uint8)
    assert source.read(source.grid.window, (0, 1, 2), plane, mask) is Validity.PARTIAL
    source.close()
    assert set(np.unique(plane[0][mask[0] == 1])) == {7, 9}
    assert 1500 < (plane[0][mask[0] == 1] == 9).sum() < 1700  # 1600 pixels of its own


def test_bands_in_files_of_their_own(tmp_path):
    """A STAC item as of Sentinel-2: three bands, three files, by the names that models use."""
    bands = {"B04": "red", "B03": "green", "B08": "nir"}
    assets = {}
    for number, (key, name) in enumerate(bands.items(), 1):
        write_raster(tmp_path / f"{key}.tif", np.full((1, 8, 8), number, np.uint16))
        assets[key] = {
            "href": f"{key}.tif",
            "type": "image/tiff",
            "eo:bands": [{"name": key, "common_name": name}],
            "roles": ["data"],
        }
    path = tmp_path / "item.json"
    path.write_text(json.dumps({"type": "Feature", "stac_version": "1.0.0", "id": "S2", "assets": assets}))
    piece = pieces_of(str(path))[0]
    source = GdalRaster(piece.path, name=piece.name)
    assert (source.name, source.grid.band_names) == ("S2", ("red", "green", "nir"))
    out = np.zeros((2, 8, 8), np.uint16)
    source.read(Window(0, 0, 8, 8), (2, 0), out, np.zeros((1, 8, 8), np.uint8))
    source.close()
    assert (out[0] == 3).all()
    assert (out[1] == 1).all()
    before = source.identity
    write_raster(tmp_path / "B08.tif", np.full((1, 8, 8), 4, np.uint16))
    assert GdalRaster(piece.path, name=piece.name).identity != before


def test_assets_on_a_server(tmp_path, whole, folder):
    """STAC items whose files lie on a server: as the files themselves."""
    with FileServer(folder) as server:
        features = [
            {"type": "Feature", "stac_version": "1.0.0", "id": path.stem, "assets": {"data": {"href": f"{server.url}/{path.name}", "type": "image/tiff"}}}
            for path in sorted(folder.glob("*.tif"))
        ]  # fmt: skip
        (tmp_path / "remote.json").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        with closing(mosaic([str(tmp_path / "remote.json")])) as remote, closing(GdalRaster(str(whole))) as local:
            assert remote.may_recover
            planes = [np.zeros((3, 200, 240), np.uint16) for _ in range(2)]
            for source, plane in zip((remote, local), planes):
                source.read(Window(0, 0, 240, 200), (0, 1, 2), plane, np.zeros((1, 200, 240), np.uint8))
    np.testing.assert_array_equal(*planes)


def test_identity_of_a_mosaic_is_that_of_all_its_files(tmp_path, folder):
    before = mosaic([str(folder)])
    (folder / "tile_2_3.tif").touch()
    after = mosaic([str(folder)])
    assert before.identity != after.identity
    assert before.has_changed(before.identity)
    before.close()
    after.close()


def test_errors_name_what_is_wrong(tmp_path, whole):
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("nothing")
    with pytest.raises(RasterError, match="holds no raster that GDAL knows"):
        pieces_of(str(empty))
    other = write_raster(tmp_path / "grey.tif", np.zeros((1, 5, 5), np.uint16))
    with pytest.raises(RasterError, match=r"grey.tif has 1 bands, but the first raster has 3"):
        mosaic([str(whole), str(other)])
    nowhere = write_raster(tmp_path / "nowhere.tif", np.zeros((3, 5, 5), np.uint16), transform=None, epsg=None)
    with pytest.raises(RasterError, match=r"nowhere.tif does not say where it lies.*PROCESS_ITEMS_SEPARATELY"):
        mosaic([str(whole), str(nowhere)])
    with pytest.raises(RasterError, match=r"missing.tif cannot be opened"):
        mosaic_of([Piece(str(whole), "whole"), Piece(str(tmp_path / "missing.tif"), "missing.tif")])
    bad = tmp_path / "bad.json"
    bad.write_text('{"stac_version": "1.0.0", "type": "Feature", "id": "x", "assets": {"a": {"href": "a.pdf"}}}')
    with pytest.raises(RasterError, match="STAC item x .* has no asset with pixels"):
        pieces_of(str(bad))
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(RasterError, match="holds no raster that GDAL can read"):
        pieces_of(str(tmp_path / "empty.zip"))


def test_cell_size_of_a_mosaic(tmp_path, folder):
    source = mosaic([str(folder)], cell_size=1.0)
    assert (source.grid.width, source.grid.height) == (120, 100)
    source.close()
