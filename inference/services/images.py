"""Decodes what servers send: pictures of 8 bit, or TIFF with the pixels themselves."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from osgeo import gdal

from ..errors import RasterError
from ..rasters.preparing import prepared
from ..translation import tr
from .fetching import Answer
from .tiles import Tile

FORMATS = ["PNG", "JPEG", "GTiff", "WEBP", "GIF", "BMP"]
LARGEST, MOST_BANDS = 4096, 1000
"""Pixels of a side and bands of a picture that is not told its size; a small file may hold a huge one."""
SHOWN = 200
"""Letters of a server's own words that a message holds."""
_numbers = itertools.count()


def colored(tile: Tile, bands: tuple[int, ...]) -> Tile:
    """Those of red, green and blue (uint8) of a picture that are wanted, also of a grey one."""
    pixels = tile.pixels
    if len(pixels) < 3:  # noqa: PLR2004 - grey, perhaps with alpha
        pixels = np.broadcast_to(pixels[:1], (3, *pixels.shape[1:]))
    return Tile(pixels[list(bands)].astype(np.uint8, copy=False), tile.valid)


def decoded(answer: Answer, nodata: float | None = None, size: tuple[int, int] | None = None, is_picture: bool = True) -> Tile:
    """All bands of a picture but alpha, which tells what is valid, as NoData and NaN do.

    Args:
        answer: As it came.
        nodata: Value of pixels without a value.
        size: Width and height that it must have; None for any up to LARGEST.
        is_picture: Whether a palette stands for colours.

    Raises:
        RasterError: It is damaged, no picture, or one of another size.
    """
    if answer.body[:1] in (b"<", b"{") or answer.kind.startswith(("text/", "application/json", "application/xml")):
        words = " ".join(answer.body[: 4 * SHOWN].decode("utf-8", "replace").split())[:SHOWN]
        raise RasterError(tr("it sends words instead of a picture: {words}", words=words))
    name = f"/vsimem/dlpk_answer_{next(_numbers)}"
    gdal.FileFromMemBuffer(name, answer.body)
    try:
        return _read(name, nodata, size, is_picture)
    except (RuntimeError, ValueError, AttributeError, TypeError) as error:
        raise RasterError(tr("it sends a picture that is damaged: {error}", error=error)) from error
    finally:
        gdal.Unlink(name)


def _read(name: str, nodata: float | None, size: tuple[int, int] | None, is_picture: bool) -> Tile:
    gdal.ErrorReset()
    # No other formats: some open what the text of a picture names, on this machine or elsewhere.
    dataset = gdal.OpenEx(name, gdal.OF_RASTER, allowed_drivers=FORMATS)
    if dataset is None:
        raise RasterError(tr("it sends no picture that GDAL can read"))
    found = dataset.RasterXSize, dataset.RasterYSize
    if found != (size or found) or max(found) > LARGEST or dataset.RasterCount > MOST_BANDS:
        wanted = size or (LARGEST, LARGEST)
        raise RasterError(
            tr("it sends a picture of {found} pixels instead of {wanted}", found=f"{found[0]} × {found[1]}",
               wanted=f"{wanted[0]} × {wanted[1]}")
        )  # fmt: skip
    has_palette = is_picture and dataset.GetRasterBand(1).GetColorTable() is not None
    text = prepared(dataset, unscale=False) if has_palette else None
    opened = dataset if text is None else gdal.Open(text)
    bands = [opened.GetRasterBand(number + 1) for number in range(opened.RasterCount)]
    valid = np.minimum(bands[0].GetMaskBand().ReadAsArray(), 1).astype(np.uint8)
    kept = [band.ReadAsArray() for band in bands if band.GetColorInterpretation() != gdal.GCI_AlphaBand]
    if gdal.GetLastErrorType() >= gdal.CE_Failure or any(band is None for band in kept):
        raise RasterError(tr("it sends a picture that is damaged: {error}", error=gdal.GetLastErrorMsg()))
    pixels = np.stack(kept)
    _mark_invalid(pixels, valid, nodata)
    return Tile(pixels, valid)


def _mark_invalid(pixels: NDArray[Any], valid: NDArray[Any], nodata: float | None) -> None:
    """Pixels without a value in every band are invalid."""
    if nodata is not None:
        valid[(pixels == nodata).all(axis=0)] = 0
    if pixels.dtype.kind == "f":
        absent = np.isnan(pixels)
        valid[absent.all(axis=0)] = 0
        pixels[absent] = 0
