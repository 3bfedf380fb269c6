"""A raster at another cell size, where its source cannot do that itself."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from osgeo import gdal, gdal_array

from ..grid import ROUNDING, Grid, Window
from .over import OverRaster
from .source import Gap, RasterSource, Validity

LEAST_WEIGHT = 0.5
"""Share of valid pixels under one that makes it valid."""
MARGIN = 2
"""Pixels of the source beyond a window that interpolation looks at."""


def at_cell_size(source: RasterSource, cell_size: float | None) -> RasterSource:
    """A raster at a cell size (units of its CRS); itself where that is its own, or none is given."""
    own = source.grid.affine.cell_size
    if cell_size is None or all(math.isclose(side, cell_size, rel_tol=1e-4) for side in own):
        return source
    return Resampled(source, (cell_size / own[0], cell_size / own[1]))


Part = tuple[float, float, float, float]
"""Left, top, width and height in pixels of a grid, and parts of them."""


class Resampled(OverRaster):
    """A RasterSource over a finer or coarser one: averaged where it becomes coarser, else bilinear."""

    def __init__(self, source: RasterSource, factors: tuple[float, float], part: Part | None = None) -> None:
        """Put a grid over it.

        Args:
            source: Becomes this one's, which closes it.
            factors: How many of its pixels one pixel spans, in x and y.
            part: What of it the grid covers; None for all.
        """
        super().__init__(source)
        own, (x, y) = source.grid, factors
        self.factors, self._part = factors, part or (0.0, 0.0, float(own.width), float(own.height))
        left, top, wide, high = self._part
        width, height = max(math.ceil(wide / x - ROUNDING), 1), max(math.ceil(high / y - ROUNDING), 1)
        self._grid = replace(own, width=width, height=height, affine=own.affine.moved(left, top).scaled(x, y))
        self._gap: Gap | None = None

    @property
    def grid(self) -> Grid:
        """See RasterSource."""
        return self._grid

    @property
    def gap(self) -> Gap | None:
        """See RasterSource."""
        return self._gap

    def read(self, window: Window, bands: tuple[int, ...], out: NDArray[Any], mask: NDArray[Any]) -> Validity:
        """See RasterSource."""
        (x, y), self._gap = self.factors, None
        begin, begin_row = self._part[0] + window.column * x, self._part[1] + window.row * y
        left, top = math.floor(begin) - MARGIN, math.floor(begin_row) - MARGIN
        right = math.ceil(begin + window.width * x) + MARGIN
        bottom = math.ceil(begin_row + window.height * y) + MARGIN
        fine = Window(left, top, right - left, bottom - top)
        pixels = np.zeros((len(bands), fine.height, fine.width), out.dtype)
        valid = np.zeros((mask.shape[0], fine.height, fine.width), np.uint8)
        validity = self._source.read(fine, bands, pixels, valid)
        if self._source.gap is not None:
            self._gap = replace(self._source.gap, windows=tuple(map(self._coarse, self._source.gap.windows)))
        if validity is Validity.EMPTY:
            out[...] = 0
            return validity
        if validity is Validity.FULL:
            valid[...] = 1
        offset = begin - left, begin_row - top
        weights = self._resampled(np.broadcast_to(valid, pixels.shape), offset, out.shape)
        values = self._resampled(pixels, offset, out.shape)
        # Invalid pixels are 0 and have no weight, so that edges keep their brightness.
        values = np.divide(values, weights, out=np.zeros_like(values), where=weights >= LEAST_WEIGHT)
        out[...] = values if out.dtype.kind == "f" else np.rint(values)
        mask[...] = (weights >= LEAST_WEIGHT) if mask.shape[0] == len(out) else (weights >= LEAST_WEIGHT).all(axis=0)
        out[np.broadcast_to(mask, out.shape) == 0] = 0
        if not mask.any():
            return Validity.EMPTY
        return Validity.FULL if mask.all() else Validity.PARTIAL

    def coarser(self, factor: float) -> RasterSource | None:
        """See RasterSource."""
        return self._source.coarser(factor * max(self.factors))

    def clone(self) -> Resampled:
        """See RasterSource."""
        return Resampled(self._source.clone(), self.factors, self._part)

    def _coarse(self, window: Window) -> Window:
        """Pixels of this grid; windows that touch each other do so afterwards, and overlap no more."""
        (x, y), (begin, begin_row, _, _) = self.factors, self._part
        left, top = round((window.column - begin) / x), round((window.row - begin_row) / y)
        right = round((window.column - begin + window.width) / x)
        bottom = round((window.row - begin_row + window.height) / y)
        return Window(left, top, max(right - left, 1), max(bottom - top, 1))

    def _resampled(self, fine: NDArray[Any], offset: tuple[float, float], shape: tuple[int, ...]) -> NDArray[Any]:
        """An array of this shape (float64) from a finer or coarser one that begins `offset` pixels before it."""
        (x, y), (_, height, width) = self.factors, shape
        code = gdal.GRIORA_Average if max(x, y) > 1 else gdal.GRIORA_Bilinear
        dataset = gdal_array.OpenArray(np.ascontiguousarray(fine, np.float64))
        read = gdal_array.DatasetReadAsArray(
            dataset, offset[0], offset[1], width * x, height * y, buf_xsize=width, buf_ysize=height, resample_alg=code
        )
        return np.asarray(read, np.float64).reshape(shape)
