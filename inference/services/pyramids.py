"""Layers that servers keep as tiles at fixed resolutions: XYZ, WMTS, cached map services."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ..errors import RasterError
from ..grid import ROUNDING, Affine, Bounds, Grid
from ..reprojection import reference_of
from ..secrets import without_credentials
from ..translation import tr
from .fetching import Answer
from .images import colored, decoded
from .tiles import Tile

HALF_EQUATOR = 20037508.342789244
"""Metres of EPSG:3857 from its middle to its edges."""
NEAR = 0.01
"""Metres by which an origin may miss the common one through rounding."""
LAST_LEVEL = 23
"""The finest of tile servers: 2 cm."""
USUAL_SIDE = 256
ENDLESS = 1 << 22
"""Tiles in a row where a service does not tell how many there are."""
FINEST = 6
"""Levels whose cell sizes a message names."""
COLORS = ("Red", "Green", "Blue")
WEB_MERCATOR = "EPSG:3857"


@dataclass(frozen=True)
class Level:
    """One resolution of a pyramid.

    Attributes:
        name: What the service calls it.
        resolution: Side of a pixel in units of the CRS.
        origin: Left top corner of tile 0, 0 in map units.
        tile_size: Width and height in pixels.
        limits: Columns and rows of tiles that there are; None where any may be.
    """

    name: str
    resolution: float
    origin: tuple[float, float]
    tile_size: tuple[int, int] = (USUAL_SIDE, USUAL_SIDE)
    limits: tuple[int, int] | None = None


@dataclass(frozen=True)
class Pyramid:
    """All resolutions of a layer.

    Attributes:
        name: What users know it by.
        crs: WKT.
        levels: In any order.
        address: Where a tile is, by the level's name, column and row.
        bounds: Where there is anything, in map units; None for everywhere.
    """

    name: str
    crs: str
    levels: Sequence[Level]
    address: Callable[[str, int, int], str]
    bounds: Bounds | None = None

    def at(self, cell_size: float | None, extent: Bounds | None) -> PyramidLayer:
        """The coarsest level that is as fine as wanted, over an extent.

        Raises:
            RasterError: Size or extent were not given, or the layer lies elsewhere.
        """
        if cell_size is None or extent is None:
            raise RasterError(self._needed(cell_size is None, extent is None))
        by_size = sorted(self.levels, key=lambda level: level.resolution, reverse=True)
        fitting = [level for level in by_size if level.resolution <= cell_size * (1 + ROUNDING)]
        level = (
            max(fitting, key=lambda level: level.resolution) if fitting else min(self.levels, key=lambda each: each.resolution)
        )
        check_touches(extent, self.bounds, self.name)
        return PyramidLayer(self, level)

    def _needed(self, needs_size: bool, needs_extent: bool) -> str:
        parts = [name for name, needed in (("EXTENT", needs_extent), ("CELL_SIZE", needs_size)) if needed]
        finest = sorted(self.levels, key=lambda level: level.resolution)[:FINEST]
        sizes = ", ".join(tr("{size:.10g} (level {name})", size=level.resolution, name=level.name) for level in finest)
        return tr(
            "{name} comes in tiles without a size of its own: set {needed}. Its finest levels have cell sizes of {sizes}; choose "
            "the one that is nearest to what the model was trained on.", name=self.name, needed=tr(" and ").join(parts),
            sizes=sizes,
        )  # fmt: skip


@dataclass(frozen=True)
class PyramidLayer:
    """A level of a pyramid: a TileLayer of red, green and blue, from its first tile to its last."""

    pyramid: Pyramid
    level: Level

    value_ranges = None

    @property
    def name(self) -> str:
        """See TileLayer."""
        return self.pyramid.name

    @property
    def tile_size(self) -> tuple[int, int]:
        """See TileLayer."""
        return self.level.tile_size

    @cached_property
    def grid(self) -> Grid:
        """See TileLayer."""
        (left, top), side = self.level.origin, self.level.resolution
        (columns, rows), (width, height) = self.level.limits or (ENDLESS, ENDLESS), self.level.tile_size
        affine = Affine(left, side, 0.0, top, 0.0, -side)
        whole = Grid(columns * width, rows * height, affine, self.pyramid.crs, "uint8", COLORS)
        if self.pyramid.bounds is None:
            return whole
        part = whole.window_of_extent(self.pyramid.bounds)  # beyond it there are no tiles to miss
        corner = replace(affine, x=left + part.column * side, y=top - part.row * side)
        return replace(whole, width=part.width, height=part.height, affine=corner)

    @cached_property
    def origin(self) -> tuple[int, int]:
        """See TileLayer."""
        (left, top), side, corner = self.level.origin, self.level.resolution, self.grid.affine
        return round((left - corner.x) / side), round((corner.y - top) / side)

    @property
    def identity(self) -> str:
        """See TileLayer."""
        return without_credentials(f"{self.pyramid.address(self.level.name, 0, 0)} {self.level}")

    def address(self, column: int, row: int, bands: tuple[int, ...]) -> str:  # noqa: ARG002 - a picture has all
        """See TileLayer."""
        return self.pyramid.address(self.level.name, column, row)

    def decoded(self, answer: Answer, bands: tuple[int, ...]) -> Tile:
        """See TileLayer."""
        return colored(decoded(answer, size=self.tile_size), bands)


def web_mercator_levels(tile: int = USUAL_SIDE, first: int = 0, last: int = LAST_LEVEL) -> list[Level]:
    """The levels of the common tile servers; `tile` is the number of pixels that a side of a tile has."""
    return [
        Level(str(zoom), 2 * HALF_EQUATOR / (tile << zoom), (-HALF_EQUATOR, HALF_EQUATOR), (tile, tile), (1 << zoom, 1 << zoom))
        for zoom in range(first, last + 1)
    ]


def exact(levels: Sequence[Level], crs: str) -> list[Level]:
    """Levels in EPSG:3857 with the numbers that are meant: services write them with so few digits that pixels shift."""
    if not reference_of(crs).IsSame(reference_of(WEB_MERCATOR)):
        return list(levels)
    return [_exact(level) for level in levels]


def _exact(level: Level) -> Level:
    zoom = round(math.log2(2 * HALF_EQUATOR / (level.resolution * level.tile_size[0])))
    if not 0 <= zoom <= LAST_LEVEL:
        return level
    meant = web_mercator_levels(level.tile_size[0], zoom, zoom)[0]
    is_near = all(abs(a - b) < NEAR for a, b in zip(level.origin, meant.origin))
    is_meant = is_near and math.isclose(level.resolution, meant.resolution, rel_tol=1e-6)
    return replace(level, resolution=meant.resolution, origin=meant.origin) if is_meant else level


def xyz_address(template: str, zoom: str, column: int, row: int) -> str:
    """A template of QGIS with its places filled: {x} {y} {z}, {-y} (counted from the south), {q} (quadkey)."""
    level = int(zoom)
    quadkey = "".join(str((column >> bit & 1) + 2 * (row >> bit & 1)) for bit in range(level - 1, -1, -1))
    values = {"{x}": column, "{y}": row, "{z}": level, "{-y}": (1 << level) - 1 - row, "{q}": quadkey}
    for place, value in values.items():
        template = template.replace(place, str(value))
    return template


def check_touches(extent: Bounds, bounds: Bounds | None, name: str) -> None:
    """Refuse an extent where there is nothing.

    Raises:
        RasterError: It lies elsewhere.
    """
    if bounds is None:
        return
    left, low = max(extent[0], bounds[0]), max(extent[1], bounds[1])
    right, high = min(extent[2], bounds[2]), min(extent[3], bounds[3])
    if left >= right or low >= high:
        raise RasterError(tr("The extent does not touch {name}. Choose an extent inside it, in any CRS.", name=name))
