"""Makes small rasters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from osgeo import gdal, gdal_array, osr

NORTH_UP = (500000.0, 0.5, 0.0, 4000000.0, 0.0, -0.5)


def write_raster(
    path: Path,
    pixels: np.ndarray,
    transform: tuple[float, ...] | None = NORTH_UP,
    epsg: int | None = 32633,
    nodata: float | None = None,
    alpha: bool = False,
    band_names: tuple[str, ...] = (),
    tile: int = 64,
) -> Path:
    """Write pixels (bands, height, width) as a tiled GeoTIFF."""
    bands, height, width = pixels.shape
    code = gdal_array.NumericTypeCodeToGDALTypeCode(pixels.dtype)
    options = ["TILED=YES", f"BLOCKXSIZE={tile}", f"BLOCKYSIZE={tile}", *(["ALPHA=YES"] if alpha else [])]
    dataset = gdal.GetDriverByName("GTiff").Create(str(path), width, height, bands, code, options)
    if transform is not None:
        dataset.SetGeoTransform(transform)
    if epsg is not None:
        reference = osr.SpatialReference()
        reference.ImportFromEPSG(epsg)
        dataset.SetProjection(reference.ExportToWkt())
    for number in range(bands):
        band = dataset.GetRasterBand(number + 1)
        band.WriteArray(pixels[number])
        if nodata is not None:
            band.SetNoDataValue(nodata)
        if number < len(band_names):
            band.SetDescription(band_names[number])
    dataset = None
    return path


def draw(pixels: np.ndarray, box: tuple[int, int, int, int], value: float) -> None:
    """Fill a box (left, top, right, bottom) of a plane (height, width)."""
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = value
