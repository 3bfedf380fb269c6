"""Decodes what servers send: pictures of 8 bit, or TIFF with the pixels themselves."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from osgeo import gdal

from ..errors import RasterError
from ..rasters.preparing import prepared
from ..translation import tr
from .fetching import Answer
from .tiles import Tile

SHOWN = 200
"""Letters of a server's own words that a message holds."""
_numbers = itertools.count()


def complaint_about(answer: Answer, width: int, height: int) -> str:
    """Why an answer holds no picture of this size; empty when it does."""
    if answer.body[:1] in (b"<", b"{") or answer.kind.startswith(("text/", "application/json", "application/xml")):
        words = " ".join(answer.body[: 4 * SHOWN].decode("utf-8", "replace").split())[:SHOWN]
        return tr("it sends words instead of a picture: {words}", words=words)
    try:
        tile = decoded(answer.body)
    except RasterError as error:
        return str(error)
    found = tile.valid.shape
    if found == (height, width):
        return ""
    return tr("it sends a picture of {found} pixels instead of {wanted}", found=f"{found[1]} × {found[0]}",
              wanted=f"{width} × {height}")  # fmt: skip


def colored(tile: Tile, bands: tuple[int, ...]) -> Tile:
    """Those of red, green and blue (uint8) of a picture that are wanted, also of a grey one."""
    pixels = tile.pixels
    if len(pixels) < 3:  # noqa: PLR2004 - grey, perhaps with alpha
        pixels = np.broadcast_to(pixels[:1], (3, *pixels.shape[1:]))
    return Tile(pixels[list(bands)].astype(np.uint8, copy=False), tile.valid)


def decoded(body: bytes, nodata: float | None = None) -> Tile:
    """All bands of a picture but alpha, which tells what is valid, as NoData and NaN do.

    Raises:
        RasterError: It is damaged, or no picture.
    """
    name = f"/vsimem/dlpk_answer_{next(_numbers)}"
    gdal.FileFromMemBuffer(name, body)
    try:
        return _read(name, nodata)
    except (RuntimeError, ValueError, AttributeError, TypeError) as error:
        raise RasterError(tr("it sends a picture that is damaged: {error}", error=error)) from error
    finally:
        gdal.Unlink(name)


def _read(name: str, nodata: float | None) -> Tile:
    gdal.ErrorReset()
    dataset = gdal.OpenEx(name, gdal.OF_RASTER)
    if dataset is None:
        raise RasterError(tr("it sends no picture that GDAL can read"))
    text = prepared(dataset, unscale=False) if dataset.GetRasterBand(1).GetColorTable() is not None else None
    opened = dataset if text is None else gdal.Open(text)
    bands = [opened.GetRasterBand(number + 1) for number in range(opened.RasterCount)]
    valid = np.minimum(bands[0].GetMaskBand().ReadAsArray(), 1).astype(np.uint8)
    kept = [band.ReadAsArray() for band in bands if band.GetColorInterpretation() != gdal.GCI_AlphaBand]
    if gdal.GetLastErrorType() >= gdal.CE_Failure or any(band is None for band in kept):
        raise RasterError(tr("it sends a picture that is damaged: {error}", error=gdal.GetLastErrorMsg()))
    pixels = np.stack(kept)
    _mark_invalid(pixels, valid, nodata)
    with suppress(AttributeError):
        del opened, bands
    return Tile(pixels, valid)


def _mark_invalid(pixels: NDArray[Any], valid: NDArray[Any], nodata: float | None) -> None:
    """Pixels without a value in every band are invalid."""
    if nodata is not None:
        valid[(pixels == nodata).all(axis=0)] = 0
    if pixels.dtype.kind == "f":
        absent = np.isnan(pixels)
        valid[absent.all(axis=0)] = 0
        pixels[absent] = 0
