"""A whole raster as one chip: brought to the size that the model wants, however large it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..grid import Grid, Window
from ..rasters.over import OverRaster
from ..rasters.resampled import Resampled
from ..rasters.source import Gap, RasterSource, Validity

LARGE = 16_000_000
"""Pixels of the raster that are averaged at a time."""
WORTHWHILE = 8.0
"""A raster is read at a coarser cell size that is still so many times finer than the chip, so that edges stay where they are."""


class WholeImage(OverRaster):
    """A RasterSource of a given size over a part of another one (CONTRACT 3.6: the whole image is one object)."""

    def __init__(self, source: RasterSource, part: Window, width: int, height: int, is_masked: bool = False) -> None:
        """Put a grid of so many pixels over it.

        Args:
            source: Becomes this one's, which closes it.
            part: Pixels of its grid that are the image.
            width: Pixels of the chip.
            height: Alike.
            is_masked: Whether what lies outside of a mask must not be seen, which coarser versions show.
        """
        super().__init__(source)
        self._part, self._size, self._is_masked = part, (width, height), is_masked
        self._resampled = Resampled(source, (part.width / width, part.height / height), _exact(part))
        self._gap: Gap | None = None

    @property
    def grid(self) -> Grid:
        """See RasterSource."""
        return self._resampled.grid

    @property
    def gap(self) -> Gap | None:
        """See RasterSource."""
        return self._gap

    def read(self, window: Window, bands: tuple[int, ...], out: NDArray[Any], mask: NDArray[Any]) -> Validity:
        """See RasterSource."""
        self._gap = None
        out[...], mask[...] = 0, 0
        inside = window.intersection(self.grid.window)
        if inside is None:
            return Validity.EMPTY
        coarser, raster = self._coarser()
        try:
            for piece in _pieces(inside, raster.factors):
                rows = slice(piece.row - window.row, piece.row - window.row + piece.height)
                columns = slice(piece.column - window.column, piece.column - window.column + piece.width)
                pixels = np.zeros((len(bands), piece.height, piece.width), out.dtype)
                valid = np.zeros((mask.shape[0], piece.height, piece.width), mask.dtype)
                if raster.read(piece, bands, pixels, valid) is Validity.FULL:
                    valid[...] = 1
                self._gap = self._gap or raster.gap
                out[:, rows, columns], mask[:, rows, columns] = pixels, valid
        finally:
            if coarser is not None:
                coarser.close()
        if not mask.any():
            return Validity.EMPTY
        return Validity.FULL if mask.all() else Validity.PARTIAL

    def clone(self) -> WholeImage:
        """See RasterSource."""
        return WholeImage(self._source.clone(), self._part, *self._size, self._is_masked)

    def coarser(self, factor: float) -> RasterSource | None:
        """See RasterSource; pictures are made of the raster itself."""
        return self._source.coarser(factor)

    def _coarser(self) -> tuple[RasterSource | None, Resampled]:
        """What is read: the raster's own overviews where they are nearer to the chip's size."""
        factor = min(self._resampled.factors)
        coarse = self._source.coarser(factor / WORTHWHILE) if factor > WORTHWHILE and not self._is_masked else None
        if coarse is None:
            return None, self._resampled
        own, part = self._source.grid, self._part
        x = coarse.grid.affine.cell_size[0] / own.affine.cell_size[0]
        y = coarse.grid.affine.cell_size[1] / own.affine.cell_size[1]
        within = (part.column / x, part.row / y, part.width / x, part.height / y)
        return coarse, Resampled(coarse, (within[2] / self._size[0], within[3] / self._size[1]), within)


def _exact(part: Window) -> tuple[float, float, float, float]:
    return float(part.column), float(part.row), float(part.width), float(part.height)


def _pieces(window: Window, factors: tuple[float, float]) -> Iterator[Window]:
    """Cut a window of the chip so that no piece takes more than LARGE pixels of the raster, as far as that is possible."""
    if window.pixels * factors[0] * factors[1] <= LARGE or window.pixels == 1:
        yield window
        return
    column, row, width, height = window.column, window.row, window.width, window.height
    if (width * factors[0] >= height * factors[1] and width > 1) or height == 1:
        halves = Window(column, row, width // 2, height), Window(column + width // 2, row, width - width // 2, height)
    else:
        halves = Window(column, row, width, height // 2), Window(column, row + height // 2, width, height - height // 2)
    for half in halves:
        yield from _pieces(half, factors)
