"""Layers that servers draw or cut out on demand, at any resolution: image services, map services, WMS.

They are asked for equal pieces of a lattice, so that a pixel is the same whichever block needs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from ..errors import RasterError
from ..grid import ROUNDING, Affine, Bounds, Grid
from ..secrets import without_credentials
from ..translation import tr
from .fetching import Answer
from .images import colored, decoded
from .pyramids import COLORS, check_touches
from .tiles import Tile

AROUND = 4096
"""Pixels around an extent that blocks see with their padding, where a service does not tell its bounds."""
PIECE = 1024
"""Pixels that a side of a piece has; fewer where the service gives fewer."""


@dataclass(frozen=True)
class Export:
    """A service that gives any rectangle at any size.

    Attributes:
        name: What users know it by.
        crs: WKT.
        address: Where the picture of a rectangle (map units) with a width and height in pixels, and these bands, is.
        bounds: Where there is anything; None when it is not known.
        cell_size: Sides of its own pixels; None where it has none, as it draws maps.
        dtype: numpy's name; of a map, uint8.
        band_names: Of an image service; of a map, the colours.
        nodata: Value of pixels without a value.
        value_ranges: Of each band, where they are known.
        largest: Width and height of the largest picture that it gives.
        is_map: Whether it gives pictures of red, green and blue, not pixels.
    """

    name: str
    crs: str
    address: Callable[[Bounds, int, int, tuple[int, ...]], str]
    bounds: Bounds | None
    cell_size: tuple[float, float] | None = None
    dtype: str = "uint8"
    band_names: tuple[str, ...] = COLORS
    nodata: float | None = None
    value_ranges: tuple[tuple[float, float], ...] | None = None
    largest: tuple[int, int] = (PIECE, PIECE)
    is_map: bool = True

    def at(self, cell_size: float | None, extent: Bounds | None) -> ExportLayer:
        """Its pixels over an extent.

        Raises:
            RasterError: The service has no pixels of its own, and size or extent were not given.
        """
        sides = (cell_size, cell_size) if cell_size is not None else self.cell_size
        wanted = self.bounds if extent is None and self.cell_size is not None else extent
        if sides is None or wanted is None:
            missing = [name for name, given in (("EXTENT", wanted), ("CELL_SIZE", sides)) if given is None]
            raise RasterError(
                tr("{name} is drawn at any size: set {needed}. Choose the cell size that the model was trained on, in units of "
                   "the CRS {crs}.", name=self.name, needed=tr(" and ").join(missing), crs=self.crs.split('"')[1])
            )  # fmt: skip
        return ExportLayer(self, sides, self._grid(sides, wanted))

    def _grid(self, sides: tuple[float, float], extent: Bounds) -> Grid:
        """Pixels that begin where the service's own do; or, where it does not tell, around the extent."""
        check_touches(extent, self.bounds, self.name)
        around = self.bounds or (
            extent[0] - AROUND * sides[0], extent[1] - AROUND * sides[1],
            extent[2] + AROUND * sides[0], extent[3] + AROUND * sides[1],
        )  # fmt: skip
        width, height = ((around[high] - around[low]) / side for low, high, side in ((0, 2, sides[0]), (1, 3, sides[1])))
        affine = Affine(around[0], sides[0], 0.0, around[3], 0.0, -sides[1])
        columns, rows = (max(math.ceil(size - ROUNDING), 1) for size in (width, height))
        return Grid(columns, rows, affine, self.crs, self.dtype, self.band_names)


@dataclass(frozen=True)
class ExportLayer:
    """An export at one cell size: a TileLayer."""

    export: Export
    sides: tuple[float, float]
    grid: Grid

    origin = (0, 0)

    @property
    def name(self) -> str:
        """See TileLayer."""
        return self.export.name

    @property
    def value_ranges(self) -> tuple[tuple[float, float], ...] | None:
        """See TileLayer."""
        return self.export.value_ranges

    @cached_property
    def tile_size(self) -> tuple[int, int]:
        """See TileLayer."""
        return min(self.export.largest[0], PIECE), min(self.export.largest[1], PIECE)

    @property
    def identity(self) -> str:
        """See TileLayer."""
        return without_credentials(f"{self.export.address((0.0, 0.0, 1.0, 1.0), 1, 1, ())} {self.export.bounds}")

    def address(self, column: int, row: int, bands: tuple[int, ...]) -> str:
        """See TileLayer."""
        (width, height), affine = self.tile_size, self.grid.affine
        left, top = affine.x + column * width * self.sides[0], affine.y - row * height * self.sides[1]
        bounds = left, top - height * self.sides[1], left + width * self.sides[0], top
        return self.export.address(bounds, width, height, bands)

    def decoded(self, answer: Answer, bands: tuple[int, ...]) -> Tile:
        """See TileLayer.

        Raises:
            RasterError: It has other bands than were asked for.
        """
        tile = decoded(answer, self.export.nodata, self.tile_size, self.export.is_map)
        if self.export.is_map:
            return colored(tile, bands)
        if len(tile.pixels) != len(bands):
            raise RasterError(
                tr("{name} sends {found} bands instead of {wanted}.", name=self.name, found=len(tile.pixels),
                   wanted=len(bands))
            )  # fmt: skip
        return Tile(tile.pixels.astype(self.export.dtype, copy=False), tile.valid)
