"""What several rasters can be given as: folders, archives, tile indexes, virtual rasters, STAC files. Each becomes its items."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from osgeo import gdal, ogr

from ..errors import RasterError
from ..translation import tr
from . import stac
from .opening import opened

ARCHIVES = {".zip": "/vsizip/", ".tar": "/vsitar/", ".tgz": "/vsitar/", ".gz": "/vsitar/", ".7z": "/vsi7z/", ".rar": "/vsirar/"}
"""Where GDAL looks into an archive; .gz only where it is a .tar.gz."""
LOCATION_FIELDS = ("location", "path", "filename", "file_name", "filepath", "url")
"""Fields in which tile indexes name their rasters: gdaltindex writes `location`, others the others."""
_BESIDE = (".aux.xml", ".ovr", ".msk", ".xml", ".json", ".txt", ".html", ".pdf", ".csv", ".dbf", ".prj")
"""Files beside rasters, which some driver of GDAL may take for one."""
_BUILT_OF_FILES = ("VRT", "GTI")


@dataclass(frozen=True)
class Piece:
    """One raster of several.

    Attributes:
        path: Anything that GDAL opens.
        name: What users know it by.
    """

    path: str
    name: str


def holds_several(path: str) -> bool:
    """Whether a path is one of a folder, archive, tile index or STAC file, as far as a quick look can tell."""
    if os.path.isdir(path):
        return _driver_of(path) is None
    if _archive_prefix(path) is not None or path.lower().endswith((".json", ".geojson")):
        return True
    return os.path.isfile(path) and not _opens(path) and bool(_of_tile_index(path))


def pieces_of(path: str, check: Callable[[], None] = lambda: None) -> tuple[Piece, ...]:
    """The rasters behind a path; just itself, for a path to one raster.

    Args:
        path: A file, folder or archive, a tile index, a STAC file, or an address; as GDAL writes them or users do.
        check: Called for each item of a STAC file; raises to stop.

    Raises:
        RasterError: There is none.
    """
    path = gdal_path(path)
    if os.path.isdir(path):
        return _of_folder(path) if _driver_of(path) is None else (_piece(path),)
    prefix = _archive_prefix(path)
    if prefix is not None:
        return _of_archive(prefix + path, path)
    if path.lower().endswith((".json", ".geojson")) and stac.is_stac(path):
        return tuple(Piece(gdal_path(found), name) for found, name in stac.items_of(path, check))
    if not path.startswith("/vsi") and not _opens(path) and (found := _of_tile_index(path)):
        return found
    return (_piece(path),)


def items_of(piece: Piece, headers: str = "") -> tuple[Piece, ...]:
    """The rasters that a mosaic file is made of; the raster itself where it is no mosaic. `headers` are sent to a server.

    Raises:
        RasterError: It cannot be opened.
    """
    dataset = opened(piece.path, headers, piece.name)
    if dataset.GetDriver().ShortName not in _BUILT_OF_FILES:
        return (piece,)
    files = [str(name) for name in dataset.GetFileList() or [] if not name.lower().endswith((".aux.xml", ".ovr"))]
    return tuple(_piece(name) for name in files[1:]) or _of_tile_index(piece.path) or (piece,)


def gdal_path(path: str) -> str:
    """A path or address as GDAL opens it."""
    for scheme, prefix in (("s3://", "/vsis3/"), ("gs://", "/vsigs/"), ("az://", "/vsiaz/"), ("abfs://", "/vsiadls/")):
        if path.startswith(scheme):
            return prefix + path[len(scheme) :]
    if path.startswith(("http://", "https://")):
        return f"/vsicurl/{path}"
    return path[len("file://") :] if path.startswith("file:///") else path


def _piece(path: str) -> Piece:
    return Piece(path, os.path.basename(path.rstrip("/").partition("?")[0]) or path)


def _driver_of(path: str) -> str | None:
    """Which driver of GDAL would open a raster; without opening it."""
    try:
        driver = gdal.IdentifyDriverEx(path, gdal.OF_RASTER)
    except RuntimeError:
        return None
    return None if driver is None else str(driver.ShortName)


def _opens(path: str) -> bool:
    """Whether a file holds pixels; that of a driver that knows vectors too, such as a GeoPackage's, has to be opened for it."""
    name = _driver_of(path)
    if name is None or gdal.GetDriverByName(name).GetMetadataItem(gdal.DCAP_VECTOR) is None:
        return name is not None
    try:
        return gdal.OpenEx(path, gdal.OF_RASTER) is not None
    except RuntimeError:
        return False


def _of_folder(folder: str) -> tuple[Piece, ...]:
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    found = tuple(_piece(path) for path in paths if os.path.isfile(path) and _is_raster(path))
    if not found:
        raise RasterError(
            tr("The folder {path} holds no raster that GDAL knows. Choose one that does; folders inside it are not searched.",
               path=folder)
        )  # fmt: skip
    return found


def _is_raster(path: str) -> bool:
    return not path.lower().endswith(_BESIDE) and _driver_of(path) is not None


def _archive_prefix(path: str) -> str | None:
    lower = path.lower()
    suffix = os.path.splitext(lower)[1]
    if (
        suffix not in ARCHIVES
        or (suffix == ".gz" and not lower.endswith(".tar.gz"))
        or lower.startswith(tuple(ARCHIVES.values()))
    ):
        return None
    return ARCHIVES[suffix]


def _of_archive(inside: str, path: str) -> tuple[Piece, ...]:
    names = gdal.ReadDirRecursive(inside) or []
    found = tuple(
        _piece(f"{inside}/{name}") for name in sorted(names) if not name.endswith("/") and _is_raster(f"{inside}/{name}")
    )
    if not found:
        raise RasterError(tr("The archive {path} holds no raster that GDAL can read.", path=path))
    return found


def _of_tile_index(path: str) -> tuple[Piece, ...]:
    """The rasters that a vector layer names, in its order; none where it names none."""
    try:
        dataset = gdal.OpenEx(path, gdal.OF_VECTOR)
    except RuntimeError:
        return ()
    if dataset is None:
        return ()
    for layer in (dataset.GetLayer(number) for number in range(dataset.GetLayerCount())):
        names = {layer.GetLayerDefn().GetFieldDefn(number).GetName().lower(): number
                 for number in range(layer.GetLayerDefn().GetFieldCount())}  # fmt: skip
        field = next((names[name] for name in LOCATION_FIELDS if name in names), None)
        if field is not None:
            return tuple(_piece(_beside(path, location)) for location in _values(layer, field))
    return ()


def _values(layer: ogr.Layer, field: int) -> Iterator[str]:
    return (str(value) for feature in layer if (value := feature.GetField(field)))


def _beside(index: str, location: str) -> str:
    """A location as the tile index means it: relative to its own folder, where that is where the raster lies."""
    path = gdal_path(location)
    beside = Path(index).parent / path
    return path if path.startswith("/vsi") or os.path.isabs(path) or not beside.exists() else str(beside)
