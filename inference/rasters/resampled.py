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
    return Resampled(source, cell_size)


class Resampled(OverRaster):
    """A RasterSource over a finer or coarser one: averaged where it becomes coarser, else bilinear."""

    def __init__(self, source: RasterSource, cell_size: float) -> None:
        """Put a grid over it that begins at the same corner.

        Args:
            source: Becomes this one's, which closes it.
            cell_size: Side of a pixel in units of the CRS.
        """
        super().__init__(source)
        self._cell_size = cell_size
        own = source.grid
        x, y = (cell_size / side for side in own.affine.cell_size)
        self._factors = x, y
        width, height = max(math.ceil(own.width / x - ROUNDING), 1), max(math.ceil(own.height / y - ROUNDING), 1)
        self._grid = replace(own, width=width, height=height, affine=own.affine.scaled(x, y))
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
        (x, y), self._gap = self._factors, None
        left, top = math.floor(window.column * x) - MARGIN, math.floor(window.row * y) - MARGIN
        right = math.ceil((window.column + window.width) * x) + MARGIN
        bottom = math.ceil((window.row + window.height) * y) + MARGIN
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
        offset = window.column * x - left, window.row * y - top
        weights = self._resampled(np.broadcast_to(valid, pixels.shape), offset, out.shape)
        values = self._resampled(pixels, offset, out.shape)
        # Invalid pixels are 0 and have no weight, so that edges keep their brightness.
        values = np.divide(values, weights, out=np.zeros_like(values), where=weights >= LEAST_WEIGHT)
        out[...] = values if out.dtype.kind == "f" else np.rint(values)
        mask[...] = (weights >= LEAST_WEIGHT) if mask.shape[0] == len(out) else (weights >= LEAST_WEIGHT).all(axis=0)
        out *= mask.astype(out.dtype)
        if not mask.any():
            return Validity.EMPTY
        return Validity.FULL if mask.all() else Validity.PARTIAL

    def coarser(self, factor: float) -> RasterSource | None:
        """See RasterSource."""
        return self._source.coarser(factor * max(self._factors))

    def clone(self) -> Resampled:
        """See RasterSource."""
        return Resampled(self._source.clone(), self._cell_size)

    def _coarse(self, window: Window) -> Window:
        """Pixels of this grid; windows that touch each other do so afterwards, and overlap no more."""
        x, y = self._factors
        left, top = round(window.column / x), round(window.row / y)
        right, bottom = round((window.column + window.width) / x), round((window.row + window.height) / y)
        return Window(left, top, max(right - left, 1), max(bottom - top, 1))

    def _resampled(self, fine: NDArray[Any], offset: tuple[float, float], shape: tuple[int, ...]) -> NDArray[Any]:
        """An array of this shape (float64) from a finer or coarser one that begins `offset` pixels before it."""
        (x, y), (_, height, width) = self._factors, shape
        code = gdal.GRIORA_Average if max(x, y) > 1 else gdal.GRIORA_Bilinear
        dataset = gdal_array.OpenArray(np.ascontiguousarray(fine, np.float64))
        read = gdal_array.DatasetReadAsArray(
            dataset, offset[0], offset[1], width * x, height * y, buf_xsize=width, buf_ysize=height, resample_alg=code
        )
        return np.asarray(read, np.float64).reshape(shape)
