"""The image service of the double: pixel values of a raster, or pictures of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
from osgeo import gdal, gdal_array

from servers.arcgis import VERSION, Image, RestError
from servers.arcgis_export import Source, View
from servers.cutting import Cut, Pixels, cut, encoded
from servers.messages import Request, Response
from servers.rendering import FORMATS, picture

KINDS = {
    "U8": gdal.GDT_Byte,
    "U16": gdal.GDT_UInt16,
    "S16": gdal.GDT_Int16,
    "U32": gdal.GDT_UInt32,
    "S32": gdal.GDT_Int32,
    "F32": gdal.GDT_Float32,
    "F64": gdal.GDT_Float64,
}
NAMES = {number: name for name, number in KINDS.items()}
RESAMPLING = {
    "RSP_NearestNeighbor": "near",
    "RSP_BilinearInterpolation": "bilinear",
    "RSP_CubicConvolution": "cubic",
    "RSP_Majority": "mode",
}
COMPRESSION = {"NONE": "NONE", "LZ77": "DEFLATE", "LZW": "LZW", "PACKBITS": "PACKBITS", "JPEG": "JPEG"}


class ImageService:
    """One GeoTIFF as an image service. `largest` is columns × rows; `band_names` as versions from 10.8 on tell them."""

    type = "ImageServer"

    def __init__(self, raster: Path, largest: tuple[int, int] = (15000, 4100), band_names: list[str] | None = None) -> None:
        self.source = Source.of(raster)
        self.largest = largest
        self.band_names = band_names

    def description(self, name: str) -> dict[str, Any]:
        """The service's own resource."""
        source = self.source
        content = {
            "currentVersion": VERSION,
            "serviceDescription": "",
            "name": name,
            "description": "",
            "extent": source.extent(),
            "initialExtent": source.extent(),
            "fullExtent": source.extent(),
            "pixelSizeX": source.pixel[0],
            "pixelSizeY": source.pixel[1],
            "bandCount": source.bands,
            "pixelType": NAMES[source.kind],
            "minPixelSize": 0,
            "maxPixelSize": 0,
            "copyrightText": "",
            "serviceDataType": "esriImageServiceDataTypeGeneric",
            "minValues": [low for low, _ in source.limits],
            "maxValues": [high for _, high in source.limits],
            "objectIdField": "",
            "fields": [],
            "capabilities": "Image,Metadata",
            "defaultResamplingMethod": "Nearest",
            "maxImageHeight": self.largest[1],
            "maxImageWidth": self.largest[0],
            "singleFusedMapCache": False,
            "allowRasterFunction": False,
            "rasterFunctionInfos": [],
            "minScale": 0,
            "maxScale": 0,
            "spatialReference": source.extent()["spatialReference"],
        }
        if source.hole is not None:
            content.update(noDataValue=source.hole, noDataValues=[source.hole] * source.bands)
        if self.band_names is not None:
            content["bandNames"] = self.band_names
        return content

    def operation(self, rest: list[str], request: Request) -> Image | Response:
        """Export is the one operation that there is."""
        if rest != ["exportImage"]:
            raise RestError(400, "Invalid URL")
        adjusted = request.value("adjustAspectRatio", "true").lower() != "false"
        view = View.asked(request, self.source, self.largest, adjusted)
        hole = _number(request.value("noData"))
        method = request.value("interpolation", "RSP_BilinearInterpolation")
        if method not in RESAMPLING:
            raise RestError(400, "Invalid or missing input parameters.", [f"interpolation {method}"])
        area = cut(self.source.path, view.box, view.size, view.system, RESAMPLING[method], hole)
        area = Cut(area.values[self._bands(request)], area.valid, area.box, area.system)
        form = request.value("format", "jpgpng").lower()
        if form in ("tiff", "tif"):
            hole = self.source.hole if hole is None else hole
            return Image(_tiff(area, request, hole), "image/tiff", ".tif", view.facts)
        if form not in (*FORMATS, "jpgpng"):
            raise RestError(400, "Invalid or missing input parameters.", [f"format {form}"])
        content, kind = picture(area, form, form in ("png32", "jpgpng"), self.source.limits[0])
        return Image(content, kind, ".png" if kind == "image/png" else ".jpg", view.facts)

    def _bands(self, request: Request) -> list[int]:
        wanted = request.value("bandIds")
        try:
            numbers = [int(number) for number in wanted.split(",")] if wanted else list(range(self.source.bands))
        except ValueError as error:
            raise RestError(400, "Invalid or missing input parameters.", [str(error)]) from error
        if any(not 0 <= number < self.source.bands for number in numbers):
            raise RestError(400, "Invalid or missing input parameters.", [f"bandIds {wanted}"])
        return numbers


def _number(text: str) -> float | None:
    """The value of noData, which may be left away; of values for several bands the first is taken."""
    try:
        return float(text.split(",")[0]) if text else None
    except ValueError as error:
        raise RestError(400, "Invalid or missing input parameters.", [f"noData {text}"]) from error


def _tiff(area: Cut, request: Request, hole: float | None) -> bytes:
    """Pixel values as they are, in the type that was asked for; where there are none, no data or 0."""
    kind = request.value("pixelType", "UNKNOWN").upper()
    compression = COMPRESSION.get(request.value("compression", "None").upper())
    if compression is None or (kind != "UNKNOWN" and kind not in KINDS):
        raise RestError(400, "Invalid or missing input parameters.", [f"pixelType {kind}"])
    number = gdal_array.NumericTypeCodeToGDALTypeCode(area.values.dtype) if kind == "UNKNOWN" else KINDS[kind]
    pixels, hole = _converted(area, numpy.dtype(gdal_array.GDALTypeCodeToNumericTypeCode(number)), hole)
    return encoded(pixels, "GTiff", [f"COMPRESS={compression}"], area, hole)


def _converted(area: Cut, kind: numpy.dtype[Any], hole: float | None) -> tuple[Pixels, float | None]:
    """The pixels in another type, cut off at its limits; no data that the type cannot hold is none."""
    values, limits = area.values, numpy.iinfo(kind) if kind.kind in "iu" else None
    if limits is not None and hole is not None and not limits.min <= hole <= limits.max:
        hole = None
    filled = numpy.where(area.valid, values, values.dtype.type(0))
    if limits is not None and kind != values.dtype:
        filled = numpy.clip(numpy.nan_to_num(filled.astype(numpy.float64)), limits.min, limits.max)
    pixels = filled.astype(kind)
    pixels[:, ~area.valid] = 0 if hole is None else hole
    return pixels, hole
