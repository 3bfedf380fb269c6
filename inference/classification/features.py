"""The features that are classified: on disk, however many there are, and sorted so that neighbours follow each other."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from .. import cache
from ..curve import along_curve
from ..errors import JournalError
from ..item import Item
from ..translation import tr

FOLDER = "features"
PLANE = 2
"""Dimension of polygons, by shapely."""
_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE features (number INTEGER PRIMARY KEY, record BLOB);
CREATE TABLE places (number INTEGER, item INTEGER, curve INTEGER, left REAL, top REAL, right REAL, bottom REAL, shape BLOB);
"""
_SORTED = """
CREATE TABLE chips (
    rank INTEGER PRIMARY KEY, number INTEGER, item INTEGER, left REAL, top REAL, right REAL, bottom REAL, shape BLOB
);
INSERT INTO chips SELECT NULL, number, item, left, top, right, bottom, shape FROM places ORDER BY item, curve, number;
DROP TABLE places;
CREATE INDEX chips_of ON chips (number, item);
"""
_LOCATED = "SELECT number, item, left, top, right, bottom, shape FROM chips ORDER BY number, item"
_ROWS = "SELECT features.number, record, item FROM features LEFT JOIN chips USING (number) ORDER BY features.number, item"


@dataclass(frozen=True)
class Places:
    """Some chips in the order in which they are read; struct of arrays.

    Attributes:
        numbers: (n,) int64, of the features, counted from 0 as they came.
        items: (n,) int64, the raster that each lies on.
        boxes: (n, 4) float, left, top, right and bottom in pixels of that raster.
        shapes: (n,) WKB of polygons in pixels of that raster; None for other features.
    """

    numbers: NDArray[Any]
    items: NDArray[Any]
    boxes: NDArray[Any]
    shapes: list[bytes | None]


class Row(NamedTuple):
    """A feature on a raster; `item` is None for one that lies on none."""

    number: int
    record: bytes
    item: int | None


class Features:
    """What is classified. Filled by `add`, then sorted by `seal`, then read, by several threads.

    A feature lies on a raster when the middle of its envelope, in pixels of that raster, is in the part that is looked
    at. Where rasters are looked at one by one, it may lie on several of them.

    Attributes:
        is_whole: Whether the features are the rasters themselves: feature n is the n-th item.
        count: How many there are.
        chips: How many places there are to look at; known once sealed.
        identity: Hexadecimal; equal for the same features on the same rasters; known once sealed.
    """

    def __init__(self, items: Sequence[Item], is_whole: bool = False) -> None:
        """Make room on the disk.

        Args:
            items: The rasters.
            is_whole: See above.

        Raises:
            JournalError: The cache folder cannot be written.
        """
        self.is_whole, self.count, self.chips, self.identity = is_whole, 0, 0, ""
        self._items, self._hash, self._lock = items, hashlib.sha256(b"whole" if is_whole else b""), threading.Lock()
        by_crs: dict[str, list[int]] = {}
        for number, item in enumerate(items):
            by_crs.setdefault(item.source.grid.crs, []).append(number)
        self._indexes = {crs: _Index.of(items, numbers) for crs, numbers in by_crs.items()}
        try:
            self._path = cache.unfinished_path(cache.cache_folder() / FOLDER, ".sqlite")
            self._database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._database.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise _problem(error) from error

    @property
    def crs(self) -> tuple[str, ...]:
        """The CRSs (WKT) in which `add` wants geometries: those of the rasters."""
        return tuple(self._indexes)

    def add(self, records: Sequence[bytes], geometries: Mapping[str, Sequence[bytes | None]] | None = None) -> None:
        """Take some features.

        Args:
            records: Whatever the caller wants to have back with the labels.
            geometries: Of each feature in each CRS, as WKB; None for one that has none there. Not for whole rasters.

        Raises:
            JournalError: The disk is full, or the like.
        """
        numbers = np.arange(self.count, self.count + len(records))
        self._write("INSERT INTO features VALUES (?, ?)", zip(numbers.tolist(), records))
        self.count += len(records)
        if self.is_whole:
            rows = [(number, number, 0, 0.0, 0.0, 0.0, 0.0, None) for number in numbers.tolist()]
            self._write("INSERT INTO places VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        for crs, written in (geometries or {}).items():
            for wkb in written:
                self._hash.update(b"-" if wkb is None else len(wkb).to_bytes(8, "little") + wkb)
            shapes = shapely.force_2d(shapely.from_wkb(np.array(written, object), on_invalid="ignore"))
            for item, found in self._indexes[crs].near(shapes):
                self._place(item, numbers[found], shapes[found])

    def seal(self) -> None:
        """Sort what was added; nothing more is.

        Raises:
            JournalError: The disk is full, or the like.
        """
        try:
            self._database.executescript(_SORTED)
            self.chips = self._database.execute("SELECT COUNT(*) FROM chips").fetchone()[0]
        except sqlite3.Error as error:
            raise _problem(error) from error
        self.identity = self._hash.hexdigest()

    def places(self, first: int, count: int) -> Places:
        """So many chips from one on, in the order in which they are read: along a curve, raster by raster."""
        query = "SELECT number, item, left, top, right, bottom, shape FROM chips WHERE rank > ? AND rank <= ? ORDER BY rank"
        with self._lock:
            rows = self._database.execute(query, (first, first + count)).fetchall()
        numbers, items = (np.array([row[column] for row in rows], np.int64) for column in (0, 1))
        return Places(numbers, items, np.array([row[2:6] for row in rows], float).reshape(-1, 4), [row[6] for row in rows])

    def rows(self) -> Iterator[Row]:
        """All features in the order in which they were added, once for each raster that they lie on, and at least once."""
        cursor = self._database.execute(_ROWS)
        try:
            yield from itertools.starmap(Row, cursor)
        finally:
            cursor.close()

    def located(self) -> Iterator[tuple[int, int, Any]]:
        """Number, item and geometry (shapely, in pixels of that raster) of all that lie on one, in the order of `rows`.

        A line is its envelope.
        """
        cursor = self._database.execute(_LOCATED)
        try:
            for number, item, left, top, right, bottom, shape in cursor:
                if shape is not None:
                    yield number, item, shapely.from_wkb(shape)
                elif left == right and top == bottom:
                    yield number, item, shapely.Point(left, top)
                else:
                    yield number, item, shapely.box(left, top, right, bottom)
        finally:
            cursor.close()

    def off(self) -> int:
        """How many features lie on no raster."""
        found = self._database.execute("SELECT COUNT(*) FROM features WHERE number NOT IN (SELECT number FROM chips)")
        return int(found.fetchone()[0])

    def close(self) -> None:
        """Give the disk's room back."""
        self._database.close()
        with contextlib.suppress(OSError):  # somebody else holds it, as on Windows: the next run removes it
            cache.remove(self._path)

    def _place(self, item: int, numbers: NDArray[Any], shapes: NDArray[Any]) -> None:
        """Write down the features whose middle lies in the part of a raster that is looked at."""
        raster = self._items[item]
        pixels = shapely.transform(shapes, raster.source.grid.affine.invert)
        boxes = shapely.bounds(pixels)
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = raster.holds(middles)
        extent = raster.extent
        curve = along_curve(middles, np.array([extent.column, extent.row]), np.full(2, max(extent.width, extent.height)))
        kept = np.flatnonzero(inside)
        is_plane = shapely.get_dimensions(pixels) == PLANE
        written = [shapely.to_wkb(pixels[place]) if is_plane[place] else None for place in kept]
        rows = zip(numbers[kept].tolist(), curve[kept].tolist(), boxes[kept].tolist(), written)
        self._write(
            "INSERT INTO places VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            ((number, item, place, *box, shape) for number, place, box, shape in rows),
        )

    def _write(self, statement: str, rows: Any) -> None:  # noqa: ANN401 - what executemany takes
        try:
            self._database.execute("BEGIN")
            self._database.executemany(statement, rows)
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise _problem(error) from error


@dataclass(frozen=True)
class _Index:
    """The rasters of one CRS."""

    numbers: NDArray[Any]
    tree: Any

    @classmethod
    def of(cls, items: Sequence[Item], numbers: Sequence[int]) -> _Index:
        boxes = [shapely.box(*items[number].source.grid.bounds_of(items[number].extent)) for number in numbers]
        return cls(np.array(numbers), shapely.STRtree(boxes))

    def near(self, shapes: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
        """Each raster with the places of the features that may lie on it."""
        known = np.flatnonzero(~(shapely.is_missing(shapes) | shapely.is_empty(shapes)))
        which, near = self.tree.query(shapes[known])
        for place in np.unique(near):
            yield int(self.numbers[place]), known[which[near == place]]


def _problem(error: Exception) -> JournalError:
    return JournalError(
        tr("The features cannot be kept on the disk of {folder} while they are classified: {error}. Make room, or choose "
           "another cache folder with the environment variable {variable}.", folder=cache.cache_folder(), error=error,
           variable=cache.VARIABLE)
    )  # fmt: skip
