"""Small pictures of a raster for people: a thumbnail of all of it, crops around detections; as JPEG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from osgeo import gdal, gdal_array

from .errors import RasterError
from .grid import Window
from .rasters.source import RasterSource, Validity

QUALITY = 85
PAPER = 236
"""Grey of pixels without data."""


@dataclass(frozen=True)
class Picture:
    """A picture and where it lies.

    Attributes:
        jpeg: The file's bytes.
        width: Pixels.
        height: Pixels.
        column: Left edge in pixels of the full grid.
        row: Top edge, alike.
        factors: How many pixels of the full grid one of its pixels spans, in x and y.
    """

    jpeg: bytes
    width: int
    height: int
    column: float
    row: float
    factors: tuple[float, float]

    def place(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Pixels of the full grid (n, 2) as pixels of the picture."""
        return np.asarray((pixels - [self.column, self.row]) / self.factors)


class Photographer:
    """Takes pictures of one raster, all with the same brightness."""

    def __init__(self, source: RasterSource, bands: tuple[int, ...]) -> None:
        """Choose what is shown.

        Args:
            source: The raster; stays open, and stays the caller's.
            bands: Those that the model reads; the first three are shown, or the first one as grey.
        """
        self._source = source
        self._bands = bands[:3] if len(bands) >= 3 else bands[:1]  # noqa: PLR2004 - red, green, blue
        self._range: tuple[float, float] | None = (0.0, 255.0) if source.grid.dtype == "uint8" else None

    def of_window(self, window: Window, longest: int, dots: NDArray[Any] | None = None) -> Picture | None:
        """A picture of a window of the grid.

        Args:
            window: Pixels of the grid; may reach beyond it.
            longest: Pixels that the longer side of the picture may have.
            dots: Pixels of the grid (n, 2) to mark, where there are too many detections for outlines.

        Returns:
            None where reading it would take long, or it cannot be read.
        """
        factor = max(max(window.width, window.height) / longest, 1.0)
        try:
            source = self._source if factor == 1.0 else self._source.coarser(factor)
        except RasterError:
            return None
        if source is None:
            return None
        try:
            return self._taken(source, window, dots)
        except RasterError:
            return None
        finally:
            if source is not self._source:
                source.close()

    def _taken(self, source: RasterSource, window: Window, dots: NDArray[Any] | None) -> Picture:
        coarse, fine = source.grid.affine.cell_size, self._source.grid.affine.cell_size
        x, y = coarse[0] / fine[0], coarse[1] / fine[1]
        column, row = math.floor(window.column / x), math.floor(window.row / y)
        width, height = max(round(window.width / x), 1), max(round(window.height / y), 1)
        part = Window(column, row, width, height)
        pixels = np.zeros((len(self._bands), height, width), source.grid.dtype)
        mask = np.ones((source.mask_bands(self._bands), height, width), np.uint8)
        validity = source.read(part, self._bands, pixels, mask)
        if validity is Validity.EMPTY:
            mask[...] = 0
        elif validity is Validity.FULL:
            mask[...] = 1
        shown = self._stretched(pixels, mask)
        if dots is not None:
            _mark(shown, (dots - [column * x, row * y]) / [x, y])
        return Picture(_jpeg(shown), width, height, column * x, row * y, (x, y))

    def _stretched(self, pixels: NDArray[Any], mask: NDArray[Any]) -> NDArray[Any]:
        valid = np.broadcast_to(mask, pixels.shape) > 0
        if self._range is None:
            known = pixels[valid]
            low, high = np.percentile(known, (2, 98)) if known.size else (0.0, 1.0)
            self._range = float(low), float(max(high, low + 1e-9))
        low, high = self._range
        shown = np.clip((pixels.astype(np.float32) - low) / (high - low) * 255, 0, 255)
        shown[~valid] = PAPER
        return np.broadcast_to(shown, (3, *shown.shape[1:])).astype(np.uint8)


def _mark(shown: NDArray[Any], places: NDArray[Any]) -> None:
    columns, rows = np.floor(places).astype(int).T
    for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = columns + right, rows + down
        inside = (x >= 0) & (y >= 0) & (x < shown.shape[2]) & (y < shown.shape[1])
        shown[:, y[inside], x[inside]] = np.array([[255], [208], [0]], np.uint8)


def _jpeg(pixels: NDArray[Any]) -> bytes:
    """The bytes of a JPEG of (3, height, width) uint8."""
    memory = gdal_array.OpenArray(np.ascontiguousarray(pixels))
    name = f"/vsimem/dlpk_{id(pixels)}.jpg"
    try:
        gdal.GetDriverByName("JPEG").CreateCopy(name, memory, options=[f"QUALITY={QUALITY}"])
        file = gdal.VSIFOpenL(name, "rb")
        try:
            return bytes(gdal.VSIFReadL(1, gdal.VSIStatL(name).size, file))
        finally:
            gdal.VSIFCloseL(file)
    finally:
        gdal.Unlink(name)
