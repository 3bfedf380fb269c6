"""Pixel geometry: windows, the affine of a raster, and the grid at which the network sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import RasterError
from .translation import tr

ROUNDING = 0.01
"""Pixels by which an edge may miss a pixel border through rounding, as in what services tell of their extent."""
Bounds = tuple[float, float, float, float]
"""x minimum, y minimum, x maximum, y maximum in map units."""


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels: first column and row, width and height."""

    column: int
    row: int
    width: int
    height: int

    def intersection(self, other: Window) -> Window | None:
        """The pixels that both have; None when there are none."""
        left, top = max(self.column, other.column), max(self.row, other.row)
        right = min(self.column + self.width, other.column + other.width)
        bottom = min(self.row + self.height, other.row + other.height)
        return Window(left, top, right - left, bottom - top) if right > left and bottom > top else None

    @property
    def pixels(self) -> int:
        """How many there are."""
        return self.width * self.height


@dataclass(frozen=True)
class Affine:
    """The six numbers of GDAL's geotransform, from pixels (x right, y down) to map coordinates."""

    x: float
    column_x: float
    row_x: float
    y: float
    column_y: float
    row_y: float

    def apply(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Map coordinates (n, 2) of pixel coordinates (n, 2)."""
        columns, rows = pixels[:, 0], pixels[:, 1]
        mapped = np.empty_like(pixels, dtype=float)
        mapped[:, 0] = self.x + columns * self.column_x + rows * self.row_x
        mapped[:, 1] = self.y + columns * self.column_y + rows * self.row_y
        return mapped

    def invert(self, points: NDArray[Any]) -> NDArray[Any]:
        """Pixel coordinates (n, 2) of map coordinates (n, 2)."""
        determinant = self.column_x * self.row_y - self.row_x * self.column_y
        x, y = points[:, 0] - self.x, points[:, 1] - self.y
        columns = (x * self.row_y - y * self.row_x) / determinant
        rows = (y * self.column_x - x * self.column_y) / determinant
        return np.stack([columns, rows], axis=1)

    def middle_of(self, window: Window) -> NDArray[Any]:
        """Map coordinates (x, y) of the middle of a window."""
        middle = np.array([[window.column + window.width / 2, window.row + window.height / 2]])
        return np.asarray(self.apply(middle)[0])

    def moved(self, columns: float, rows: float) -> Affine:
        """The affine of a grid that begins so many pixels further right and down."""
        x, y = self.apply(np.array([[columns, rows]]))[0]
        return Affine(float(x), self.column_x, self.row_x, float(y), self.column_y, self.row_y)

    def scaled(self, x_factor: float, y_factor: float) -> Affine:
        """The affine of pixels that are larger by these factors."""
        return Affine(
            self.x, self.column_x * x_factor, self.row_x * y_factor, self.y, self.column_y * x_factor, self.row_y * y_factor
        )

    @property
    def cell_size(self) -> tuple[float, float]:
        """Width and height of a pixel on the ground, in units of the CRS."""
        return math.hypot(self.column_x, self.column_y), math.hypot(self.row_x, self.row_y)


WITHOUT_GEOREFERENCE = Affine(0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
"""Of rasters that do not tell where they lie: pixels are the units, y up."""


@dataclass(frozen=True)
class Grid:
    """The pixels of a raster at one cell size.

    Attributes:
        width, height: Pixels.
        affine: From pixels to map coordinates.
        crs: WKT; empty when unknown.
        dtype: numpy's name of the pixel type.
        band_names: One a band; empty text where a band has no name.
        alpha: Which band (from 0) tells how opaque the others are, so that models do not get it unless they ask for it.
    """

    width: int
    height: int
    affine: Affine
    crs: str
    dtype: str
    band_names: tuple[str, ...]
    alpha: int | None = None

    @property
    def window(self) -> Window:
        """All pixels."""
        return Window(0, 0, self.width, self.height)

    @property
    def has_place(self) -> bool:
        """Whether it is known where the pixels lie on the ground."""
        return bool(self.crs) or self.affine != WITHOUT_GEOREFERENCE

    def corners_of(self, window: Window) -> NDArray[Any]:
        """The corners of a window in map coordinates (4, 2), around it."""
        right, bottom = window.column + window.width, window.row + window.height
        corners = [(window.column, window.row), (right, window.row), (right, bottom), (window.column, bottom)]
        return self.affine.apply(np.array(corners, float))

    def bounds_of(self, window: Window) -> Bounds:
        """The map rectangle around the pixels of a window."""
        mapped = self.corners_of(window)
        return (*mapped.min(axis=0).tolist(), *mapped.max(axis=0).tolist())

    def window_of_extent(self, extent: Bounds) -> Window:
        """The pixels that an extent touches, in the raster's CRS.

        Raises:
            RasterError: It touches none.
        """
        left, bottom, right, top = extent
        corners = self.affine.invert(np.array([[left, bottom], [left, top], [right, bottom], [right, top]]))
        low = np.floor(corners.min(axis=0) + ROUNDING).astype(int)
        high = np.ceil(corners.max(axis=0) - ROUNDING).astype(int)
        touched = Window(int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1]))
        window = touched.intersection(self.window)
        if window is None:
            raise RasterError(
                tr("The extent {extent} does not touch the raster. Choose an extent inside it, in any CRS.",
                   extent=", ".join(f"{value:.6g}" for value in extent))
            )  # fmt: skip
        return window
