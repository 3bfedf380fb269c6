"""A raster that comes from a server in tiles, several at a time; each is kept while neighbouring blocks need it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import InferenceError, RasterError
from ..feedback import canceled
from ..grid import Grid, Window
from ..rasters.source import Gap, RasterSource, Validity, ValueRange
from ..translation import tr
from .fetching import IN_FLIGHT, Answer, Fetcher, RefusedError

KEPT_BYTES = 96 << 20
"""Of tiles that are kept, at most."""


_Place = tuple[int, int, tuple[int, ...]]
"""Column, row and bands of a tile."""


@dataclass(frozen=True)
class Tile:
    """Pixels (bands, height, width) and which of them are valid (height, width; 1 or 0, uint8)."""

    pixels: NDArray[Any]
    valid: NDArray[Any]


class TileLayer(Protocol):
    """What a service offers at one resolution, cut into tiles of one size."""

    @property
    def name(self) -> str:
        """What users know it by."""

    @property
    def grid(self) -> Grid:
        """The pixels of the part that is searched."""

    @property
    def tile_size(self) -> tuple[int, int]:
        """Width and height of a tile in pixels."""

    @property
    def origin(self) -> tuple[int, int]:
        """Column and row, in pixels of the grid, of the left top pixel of tile 0, 0."""

    @property
    def value_ranges(self) -> tuple[tuple[float, float], ...] | None:
        """Lowest and highest value of each band, where the service tells."""

    def address(self, column: int, row: int, bands: tuple[int, ...]) -> str:
        """Where a tile with these bands is, or with more."""

    def decoded(self, answer: Answer, bands: tuple[int, ...]) -> Tile:
        """The tile in an answer: these bands in this order.

        Raises:
            RasterError: The answer holds something else.
        """

    @property
    def identity(self) -> str:
        """What makes it the same layer tomorrow; as far as a service can tell."""


@dataclass
class _Shelf:
    """The tiles that all clones of a raster share: under way, or there."""

    layer: TileLayer
    fetcher: Fetcher
    pool: ThreadPoolExecutor
    tiles: OrderedDict[_Place, Future[Tile]] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, place: _Place) -> Future[Tile]:
        """A tile that comes; RefusedError when there is none."""
        with self.lock:
            coming = self.tiles.get(place)
            if coming is None:
                coming = self.tiles[place] = self.pool.submit(self._fetch, place)
                width, height = self.layer.tile_size
                size = width * height * (len(place[2]) * np.dtype(self.layer.grid.dtype).itemsize + 1)
                while len(self.tiles) * size > KEPT_BYTES and len(self.tiles) > 4 * IN_FLIGHT:
                    self.tiles.popitem(last=False)
            self.tiles.move_to_end(place)
            return coming

    def _fetch(self, place: _Place) -> Tile:
        return self.fetcher.read(self.layer.address(*place), lambda answer: self.layer.decoded(answer, place[2]))


class TiledRaster:
    """A RasterSource over a TileLayer; clones share tiles and connections."""

    may_recover = False
    """The fetcher has been patient already."""

    def __init__(self, layer: TileLayer, fetcher: Fetcher, shelf: _Shelf | None = None) -> None:
        """Take the layer as it is.

        Args:
            layer: Knows addresses and what is behind them.
            fetcher: Asks the server; closed with the raster that was made first.
            shelf: Of the raster that this one is a clone of.
        """
        self._layer, self._fetcher, self._is_first = layer, fetcher, shelf is None
        self._shelf = shelf or _Shelf(layer, fetcher, ThreadPoolExecutor(IN_FLIGHT, "tiles"))
        self._gap: Gap | None = None

    @property
    def name(self) -> str:
        """See RasterSource."""
        return self._layer.name

    @property
    def grid(self) -> Grid:
        """See RasterSource."""
        return self._layer.grid

    @property
    def identity(self) -> str:
        """See RasterSource; a server does not tell when its pixels change."""
        return self._layer.identity

    @property
    def gap(self) -> Gap | None:
        """See RasterSource."""
        return self._gap

    def has_changed(self, identity: str) -> bool:
        """See RasterSource."""
        return identity != self.identity

    def mask_bands(self, bands: tuple[int, ...]) -> int:  # noqa: ARG002 - tiles have one mask
        """See RasterSource."""
        return 1

    def value_range(self, band: int) -> ValueRange:
        """See RasterSource: what the service tells, or the range of 8 bit.

        Raises:
            RasterError: The service does not tell it.
        """
        if self._layer.value_ranges is not None:
            return ValueRange(*self._layer.value_ranges[band], tr("as the service tells"))
        if self.grid.dtype == "uint8":
            return ValueRange(0.0, 255.0, tr("8 bit"))
        raise RasterError(
            tr("The model wants scaled pixels, but {name} does not tell the range of its values. Save the part that you need as "
               "a GeoTIFF, and choose that.", name=self.name)
        )  # fmt: skip

    def read(self, window: Window, bands: tuple[int, ...], out: NDArray[Any], mask: NDArray[Any]) -> Validity:
        """See RasterSource; tiles that the server has not are a gap.

        Raises:
            Cancelled: The raster was closed.
        """
        out[...] = 0
        mask[...] = 0
        self._gap = None
        inside = window.intersection(self.grid.window)
        if inside is None:
            return Validity.EMPTY
        missing: list[Window] = []
        reason = ""
        coming = [(place, self._shelf.ask(place)) for place in self._places(inside, bands)]
        for place, future in coming:
            tile, covered = _result(future), self._window_of(place)
            part = covered.intersection(inside)
            if part is None:
                continue
            if isinstance(tile, RefusedError):
                missing.append(part)
                reason = reason or str(tile)
            else:
                _paste(tile, part, covered, window, out, mask)
        if missing:
            self._gap = Gap(tuple(missing), reason)
        if not mask.any():
            return Validity.EMPTY
        return Validity.FULL if mask.all() else Validity.PARTIAL

    def coarser(self, factor: float) -> RasterSource | None:  # noqa: ARG002
        """See RasterSource: a server is not asked for pictures."""
        return None

    def clone(self) -> TiledRaster:
        """See RasterSource."""
        return TiledRaster(self._layer, self._fetcher, self._shelf)

    def close(self) -> None:
        """See RasterSource: the first raster ends all connections, its clones none."""
        if self._is_first:
            self._fetcher.stop()
            self._shelf.pool.shutdown(wait=False, cancel_futures=True)

    def _places(self, inside: Window, bands: tuple[int, ...]) -> Iterator[_Place]:
        (width, height), (left, top) = self._layer.tile_size, self._layer.origin
        columns = range((inside.column - left) // width, (inside.column + inside.width - 1 - left) // width + 1)
        rows = range((inside.row - top) // height, (inside.row + inside.height - 1 - top) // height + 1)
        return ((column, row, bands) for row in rows for column in columns)

    def _window_of(self, place: _Place) -> Window:
        (width, height), (left, top) = self._layer.tile_size, self._layer.origin
        return Window(left + place[0] * width, top + place[1] * height, width, height)


def _result(future: Future[Tile]) -> Tile | RefusedError:
    """A tile, or why there is none. Another error is raised anew: the future's own keeps the blocks it passed."""
    wait([future])
    if future.cancelled():
        raise canceled()
    error = future.exception()
    if isinstance(error, InferenceError) and not isinstance(error, RefusedError):
        raise type(error)(str(error))
    return error if isinstance(error, RefusedError) else future.result()


def _paste(tile: Tile, part: Window, covered: Window, window: Window, out: NDArray[Any], mask: NDArray[Any]) -> None:
    """Copy the part of a tile, which covers one window, into arrays of another."""
    source = _slices(part, covered)
    target = _slices(part, window)
    valid = tile.valid[source]
    for band, plane in zip(tile.pixels, out):
        np.multiply(band[source], valid, out=plane[target], casting="unsafe")
    mask[0][target] = valid


def _slices(part: Window, whole: Window) -> tuple[slice, slice]:
    top, left = part.row - whole.row, part.column - whole.column
    return slice(top, top + part.height), slice(left, left + part.width)
