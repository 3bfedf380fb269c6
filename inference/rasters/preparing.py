"""Makes an awkward raster an ordinary one, on the fly: as a virtual raster (VRT) that GDAL opens from its text.

Palettes become colours; ground control points and rational polynomials become a grid; what is mirrored is turned over;
stored numbers become physical values where that is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from osgeo import gdal, osr

from ..errors import RasterError
from ..translation import tr

OPAQUE = 255
NORTH, SOUTH = 32600, 32700
"""EPSG's codes of UTM on WGS 84, without the zone."""
WEST_OF_ALL, ZONE = -180, 6
"""Degrees: where the zones of UTM begin, and how wide they are."""


def is_virtual(path: str) -> bool:
    """Whether a path is the text of a virtual raster itself."""
    return path.lstrip().startswith("<VRTDataset")


def prepared(dataset: gdal.Dataset, unscale: bool) -> str | None:
    """The text of a virtual raster that GDAL opens instead; None for an ordinary raster.

    Args:
        dataset: The raster.
        unscale: Whether its bands' scale and offset are applied; pixels are float32 then.

    Raises:
        RasterError: Its place on the ground cannot be worked out.
    """
    steps = list(_steps(dataset, unscale))
    for step in steps:
        try:
            dataset = gdal.Open(text_of(step(dataset)))  # by its text: GDAL loses what has no name
        except RuntimeError as error:
            raise RasterError(tr("{path} cannot be prepared: {error}.", path=dataset.GetDescription(), error=error)) from error
        if dataset is None:
            raise RasterError(tr("A raster cannot be prepared: {error}.", error=gdal.GetLastErrorMsg()))
    return str(dataset.GetDescription()) if steps else None


def text_of(virtual: gdal.Dataset) -> str:
    """A virtual raster as text."""
    virtual.FlushCache()
    return str(virtual.GetMetadata("xml:VRT")[0])


def _steps(dataset: gdal.Dataset, unscale: bool) -> Iterator[Callable[[Any], Any]]:
    if dataset.RasterCount and dataset.GetRasterBand(1).GetColorTable() is not None:
        yield _colored
    if unscale and any(_is_scaled(dataset.GetRasterBand(number + 1)) for number in range(dataset.RasterCount)):
        yield _unscaled
    transform = dataset.GetGeoTransform(can_return_null=True)
    if transform is None and (dataset.GetGCPCount() or dataset.GetMetadata("RPC")):
        yield _georeferenced
    elif transform is not None and transform[1] * transform[5] > transform[2] * transform[4]:
        yield _turned_over


def _is_scaled(band: gdal.Band) -> bool:
    return band.GetScale() not in (None, 1.0) or band.GetOffset() not in (None, 0.0)


def _colored(dataset: gdal.Dataset) -> gdal.Dataset:
    """Red, green and blue of a palette; and alpha, where an entry is transparent or stands for NoData."""
    band = dataset.GetRasterBand(1)
    table, nodata = band.GetColorTable(), band.GetNoDataValue()
    entries = [table.GetColorEntry(number) for number in range(table.GetCount())]
    if nodata is not None and 0 <= nodata < len(entries):
        entries[int(nodata)] = (*entries[int(nodata)][:3], 0)
    if all(entry[3] == OPAQUE for entry in entries):
        return gdal.Translate("", dataset, format="VRT", rgbExpand="rgb", noData="none")
    copy = gdal.Translate("", dataset, format="VRT", noData="none", bandList=[1])
    table = gdal.ColorTable()
    for number, entry in enumerate(entries):
        table.SetColorEntry(number, entry)
    copy.GetRasterBand(1).SetColorTable(table)
    again = gdal.Open(text_of(copy))
    return gdal.Translate("", again, format="VRT", rgbExpand="rgba")


def _unscaled(dataset: gdal.Dataset) -> gdal.Dataset:
    """Physical values; NoData is told by a mask, as it is one of the stored numbers."""
    is_declared = dataset.GetRasterBand(1).GetNoDataValue() is not None
    told = {"noData": "none", "maskBand": "mask,1"} if is_declared else {}
    return gdal.Translate("", dataset, format="VRT", unscale=True, outputType=gdal.GDT_Float32, **told)


def _georeferenced(dataset: gdal.Dataset) -> gdal.Dataset:
    """North up, by what the raster says of its place; rational polynomials speak of degrees, so it becomes UTM."""
    target = None if dataset.GetGCPCount() else _zone_of(dataset)
    return gdal.Warp("", dataset, format="VRT", dstSRS=target, resampleAlg="bilinear", dstAlpha=_needs_alpha(dataset))


def _turned_over(dataset: gdal.Dataset) -> gdal.Dataset:
    """North up where it can be so without a change of pixels, else upright by resampling."""
    transform = dataset.GetGeoTransform()
    if transform[2] or transform[4]:
        return gdal.Warp("", dataset, format="VRT", resampleAlg="bilinear", dstAlpha=_needs_alpha(dataset))
    left, right = sorted((transform[0], transform[0] + transform[1] * dataset.RasterXSize))
    bottom, top = sorted((transform[3], transform[3] + transform[5] * dataset.RasterYSize))
    return gdal.Warp(
        "", dataset, format="VRT", resampleAlg="near", outputBounds=(left, bottom, right, top),
        width=dataset.RasterXSize, height=dataset.RasterYSize,
    )  # fmt: skip


def _needs_alpha(dataset: gdal.Dataset) -> bool:
    """Whether nothing else could tell which pixels of a turned raster lie outside of it."""
    band = dataset.GetRasterBand(1)
    return band.GetNoDataValue() is None and not band.GetMaskFlags() & gdal.GMF_ALPHA


def _zone_of(dataset: gdal.Dataset) -> str:
    """The zone of UTM in which a raster with rational polynomials lies, as WKT."""
    model = dataset.GetMetadata("RPC")
    longitude, latitude = float(model["LONG_OFF"]), float(model["LAT_OFF"])
    reference = osr.SpatialReference()
    reference.ImportFromEPSG((NORTH if latitude >= 0 else SOUTH) + int((longitude - WEST_OF_ALL) // ZONE) % 60 + 1)
    return str(reference.ExportToWkt())
