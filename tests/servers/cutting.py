"""Rectangles out of a raster: pixel values with their mask, and the files that servers send of them."""

from __future__ import annotations

import contextlib
import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from osgeo import gdal, gdal_array, osr

Pixels = numpy.ndarray[Any, Any]
Box = tuple[float, float, float, float]  # xmin, ymin, xmax, ymax
WEB_MERCATOR = 102100  # Esri's number of EPSG:3857
NUMBERS = {WEB_MERCATOR: 3857, 102113: 3857, 900913: 3857}


def open_raster(path: Path) -> gdal.Dataset:
    """A dataset of the caller's own, as GDAL's datasets do not work in two threads at once."""
    dataset = gdal.Open(str(path))
    if dataset is None:
        raise OSError(f"GDAL cannot open {path}: {gdal.GetLastErrorMsg()}")
    return dataset


def reference(text: str) -> osr.SpatialReference:
    """A spatial reference from how REST requests write it: a number, or JSON with wkid or wkt."""
    content = json.loads(text)
    system = osr.SpatialReference()
    if isinstance(content, dict) and "wkt" in content:
        failed = system.ImportFromWkt(content["wkt"])
    else:
        number = int(content.get("latestWkid") or content["wkid"] if isinstance(content, dict) else content)
        name = f"EPSG:{NUMBERS.get(number, number)}" if NUMBERS.get(number, number) < 37000 else f"ESRI:{number}"
        failed = system.SetFromUserInput(name)
    if failed:
        raise ValueError(f"unknown spatial reference {text}")
    system.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return system


def described(system: osr.SpatialReference) -> dict[str, object]:
    """A spatial reference as ArcGIS writes it."""
    system = system.Clone()
    if system.GetAuthorityName(None) in ("EPSG", "ESRI"):
        latest = int(system.GetAuthorityCode(None))
        return {"wkid": WEB_MERCATOR if latest == NUMBERS[WEB_MERCATOR] else latest, "latestWkid": latest}
    system.MorphToESRI()
    return {"wkt": system.ExportToWkt()}


def moved(box: Box, source: osr.SpatialReference, target: osr.SpatialReference) -> Box:
    """The rectangle around a rectangle in another reference system."""
    if source.IsSame(target):
        return box
    bounds = osr.CoordinateTransformation(source, target).TransformBounds(*box, 21)
    return bounds[0], bounds[1], bounds[2], bounds[3]


@dataclass(frozen=True)
class Cut:
    """Pixels of a rectangle: values as bands × rows × columns, and where they are valid."""

    values: Pixels
    valid: Pixels
    box: Box
    system: osr.SpatialReference


def cut(path: Path, box: Box, size: tuple[int, int], system: osr.SpatialReference, resampling: str, hole: float | None) -> Cut:
    """Exactly this rectangle at exactly this size; `hole` counts as no data besides the raster's own value."""
    dataset = open_raster(path)
    empty = dataset.GetRasterBand(1).GetNoDataValue() if hole is None else hole
    warped = gdal.Warp(
        "",
        dataset,
        format="MEM",
        outputBounds=box,
        width=size[0],
        height=size[1],
        dstSRS=system.ExportToWkt(),
        resampleAlg=resampling,
        srcNodata=hole,
        dstAlpha=True,
        errorThreshold=0,
        warpOptions=[] if empty is None else [f"INIT_DEST={empty}"],  # for holes in single bands
        options=["-nosrcalpha"],  # a fourth band is data like the others
    )
    if warped is None:
        raise OSError(f"GDAL cannot cut {path}: {gdal.GetLastErrorMsg()}")
    values = warped.ReadAsArray()
    del warped, dataset
    return Cut(values[:-1], values[-1] > 0, box, system)


def encoded(pixels: Pixels, driver: str, options: list[str], area: Cut | None = None, hole: float | None = None) -> bytes:
    """A file of these bands; with the place of `area`, where the format has one."""
    bands, rows, columns = pixels.shape
    kind = gdal_array.NumericTypeCodeToGDALTypeCode(pixels.dtype)
    memory = gdal.GetDriverByName("MEM").Create("", columns, rows, bands, kind)
    memory.WriteArray(pixels)
    if area is not None:
        xmin, ymin, xmax, ymax = area.box
        memory.SetGeoTransform((xmin, (xmax - xmin) / columns, 0, ymax, 0, (ymin - ymax) / rows))
        memory.SetProjection(area.system.ExportToWkt())
    if hole is not None:
        for band in range(1, bands + 1):
            memory.GetRasterBand(band).SetNoDataValue(hole)
    name = f"/vsimem/{uuid.uuid4().hex}"
    copy = gdal.GetDriverByName(driver).CreateCopy(name, memory, options=options)
    if copy is None:
        raise OSError(f"GDAL cannot write {driver}: {gdal.GetLastErrorMsg()}")
    del copy, memory
    content = _contents(name)
    gdal.Unlink(name)
    with contextlib.suppress(RuntimeError):  # most have none, which is an error where GDAL raises
        gdal.Unlink(f"{name}.aux.xml")
    return content


def _contents(name: str) -> bytes:
    file = gdal.VSIFOpenL(name, "rb")
    content = gdal.VSIFReadL(1, gdal.VSIStatL(name).size, file)
    gdal.VSIFCloseL(file)
    return bytes(content)
