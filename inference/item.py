"""One raster of a run, and the part of it that is searched."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .grid import Bounds, Window
from .rasters.source import RasterSource


@dataclass(frozen=True)
class Item:
    """A raster with its own blocks and its own suppression; most runs have one, those of separate rasters have many.

    Attributes:
        source: The raster, at the cell size to process.
        extent: The pixels of its grid to search.
        region: The extent in map units, where it is smaller than `extent`: a detection counts when its inner point is
            in both.
        mask: A shapely geometry in the raster's CRS; detections with their inner point outside do not count. None: all do.
    """

    source: RasterSource
    extent: Window
    region: Bounds | None = None
    mask: Any = None

    def holds(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Which pixel coordinates (n, 2) lie in the part that is searched (bool)."""
        extent = self.extent
        low, high = np.array([extent.column, extent.row]), np.array([extent.width, extent.height])
        inside = ((pixels >= low) & (pixels < low + high)).all(axis=1)
        if self.region is not None or self.mask is not None:
            x, y = self.source.grid.affine.apply(pixels).T
            if self.region is not None:
                left, bottom, right, top = self.region
                inside &= (x >= left) & (x < right) & (y >= bottom) & (y < top)
            if self.mask is not None:
                import shapely  # here, as plans are known where it is missing

                inside &= shapely.contains_xy(self.mask, x, y)
        return np.asarray(inside)

    @property
    def facts(self) -> list[Any]:
        """What a fingerprint holds of it, as JSON takes it."""
        grid, extent = self.source.grid, self.extent
        return [
            self.source.identity,
            [grid.width, grid.height, repr(grid.affine), grid.crs],
            [extent.column, extent.row, extent.width, extent.height, self.region],
            "" if self.mask is None else hashlib.sha256(self.mask.wkb).hexdigest(),
        ]
