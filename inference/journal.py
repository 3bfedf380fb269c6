"""Keeps what has been found on disk, a transaction a block: memory does not grow with the raster, and a run that was
cut short goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import shapely

from . import cache
from .blocks import Block
from .classification.labels import Labels
from .detections import Detections
from .errors import JournalError
from .grid import Window
from .journal_file import FOLDER, discard, is_held, locked
from .translation import tr

LEAST_FREE = 256 << 20
LEAST_FREE_SHARE = 20
"""A run stops before the disk of the journal has less room than this, or than this fraction of a small disk."""
_INSERT = "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_LABEL = "INSERT OR REPLACE INTO labels VALUES (?, ?, ?, ?)"
_DETECTIONS = (
    "SELECT item, lengths, geometries, confidence, classes, attributes FROM blocks WHERE count > 0 ORDER BY item, row, column"
)
_NOTE = "INSERT OR REPLACE INTO run VALUES (?, ?)"
_TALLY = "tally"


class Journal:
    """The finished blocks of one run, in the order of the raster whatever the order they came in.

    It is named by the run's fingerprint and locked by SQLite while it is open, also after a crash of another holder.
    """

    def __init__(self, fingerprint: str, restart: bool = False) -> None:
        """Open the journal of a run, or make it.

        Args:
            fingerprint: Of the run, hexadecimal.
            restart: Whether to forget what an earlier run found.

        Raises:
            JournalError: The folder cannot be written, the disk is nearly full, or the same run is going on.
        """
        self.folder = cache.cache_folder() / FOLDER / fingerprint[:32]
        self.was_unreadable = False
        self._cursors: list[sqlite3.Cursor] = []
        try:
            self.folder.parent.mkdir(exist_ok=True)
            self._check_room()
            self.folder.mkdir(exist_ok=True)
            try:
                self._database = locked(self.folder)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:  # damaged: a disk that failed, or a stranger's file
                self.was_unreadable = True
                cache.remove(self.folder)
                self.folder.mkdir()
                self._database = locked(self.folder)
            if restart:
                self.forget()
        except (OSError, sqlite3.Error) as error:
            raise _problem(error) from error

    def note(self, facts: Mapping[str, str]) -> None:
        """Write down facts about the run."""
        self._write([(_NOTE, fact) for fact in facts.items()])

    def noted(self, key: str) -> str | None:
        """A fact that was written down, also by an earlier run."""
        found = self._read("SELECT value FROM run WHERE key = ?", (key,))
        return str(found[0][0]) if found else None

    @property
    def tally(self) -> str:
        """What was last handed to `add` with a block; empty when there is none."""
        return self.noted(_TALLY) or ""

    def add(self, block: Block, found: Detections | Labels | None, tally: str) -> None:
        """Write down a finished block in one transaction.

        Args:
            block: Where it lies.
            found: Detections in map coordinates, or labels; None when the block was skipped as it held no data.
            tally: What all blocks so far have counted; it replaces the one of the block before.

        Raises:
            JournalError: The disk is full, or the like.
        """
        core = block.core
        values: tuple[object, ...] = (None if found is None else len(found), *[None] * 5)
        labels: list[tuple[str, tuple[object, ...]]] = []
        if isinstance(found, Labels):
            labels = [(_INSERT_LABEL, (*row, core.column)) for row in found.rows]
        elif found is not None and len(found):
            values = _as_row(found)
        block_row = (_INSERT, (*block.key, core.width, core.height, *values))
        self._write([block_row, *labels, (_NOTE, (_TALLY, tally))])

    def labelled(self) -> int:
        """How many features have a label, on whatever item; an answer may be without one."""
        return int(self._read("SELECT COUNT(DISTINCT number) FROM labels WHERE answer NOT LIKE '[null,%'")[0][0])

    def labels(self) -> Iterator[tuple[int, int, str]]:
        """Number of the feature, item and answer of each label, in the order of features and items.

        Raises:
            JournalError: It cannot be read.
        """
        try:
            cursor = self._database.execute("SELECT number, item, answer FROM labels ORDER BY number, item")
            self._cursors.append(cursor)
            yield from cursor
        except sqlite3.Error as error:
            raise _unreadable(error) from error

    def counts(self) -> tuple[int, int, int]:
        """How many blocks are finished, how many of them were skipped, and how many detections there are."""
        finished, searched, found = self._read("SELECT COUNT(*), COUNT(count), TOTAL(count) FROM blocks")[0]
        return finished, finished - searched, int(found)

    def pixels(self, extents: Sequence[Window]) -> int:
        """How many pixels of the extents, one an item, the finished blocks cover."""
        return sum(self._pixels(item, extent) for item, extent in enumerate(extents))

    def _pixels(self, item: int, extent: Window) -> int:
        query = (
            "SELECT TOTAL((MIN(row + height, :bottom) - MAX(row, :top)) * (MIN(column + width, :right) - MAX(column, :left)))"
            " FROM blocks WHERE item = :item"
        )
        edges = {"item": item, "top": extent.row, "bottom": extent.row + extent.height, "left": extent.column,
                 "right": extent.column + extent.width}  # fmt: skip
        return int(self._read(query, edges)[0][0])

    def sizes(self) -> list[tuple[int, int]]:
        """Widths and heights that occur among the finished blocks."""
        return self._read("SELECT DISTINCT width, height FROM blocks")

    def has(self, item: int, core: Window) -> bool:
        """Whether the block with just this core is finished."""
        query = "SELECT 1 FROM blocks WHERE item = ? AND row = ? AND column = ? AND width = ? AND height = ?"
        return bool(self._read(query, (item, core.row, core.column, core.width, core.height)))

    def blocks(self, with_attributes: bool = True) -> Iterator[tuple[int, Detections]]:
        """The item and the detections of each block that has some, item by item and row by row.

        Raises:
            JournalError: It cannot be read.
        """
        query = _DETECTIONS if with_attributes else _DETECTIONS.replace(", attributes", "")
        try:
            cursor = self._database.execute(query)
            self._cursors.append(cursor)
            for item, lengths, geometries, confidence, classes, *attributes in cursor:
                ends = np.cumsum(np.frombuffer(lengths, np.uint32), dtype=np.int64)
                starts = ends - np.frombuffer(lengths, np.uint32)
                shapes = shapely.from_wkb([geometries[start:end] for start, end in zip(starts, ends)])
                columns = json.loads(attributes[0]) if attributes else {}
                named = np.array(json.loads(classes), object)
                yield item, Detections(shapes, np.frombuffer(confidence, float), named, columns)
        except sqlite3.Error as error:
            raise _unreadable(error) from error

    def forget_blocks(self, cores: Sequence[tuple[int, int, int, int, int]]) -> None:
        """Have blocks (item, row, column, width, height) done again."""
        query = "DELETE FROM blocks WHERE item = ? AND row = ? AND column = ? AND width = ? AND height = ?"
        labels = "DELETE FROM labels WHERE block = ?"  # blocks of chips lie in one row
        self._write([statement for core in cores for statement in ((query, core), (labels, (core[2],)))])

    def forget(self) -> None:
        """Begin anew, in a new file: the old one may be damaged."""
        self.remove()
        self.folder.mkdir(exist_ok=True)
        self._database = locked(self.folder)

    def close(self) -> None:
        """Close the journal and keep it, unless it holds no finished block; one that was removed stays so."""
        with contextlib.suppress(JournalError):
            if not self.counts()[0]:
                self.remove()
                return
        self._release()

    def remove(self) -> None:
        """Close and delete the journal."""
        discard(self.folder, self._release)

    def _release(self) -> None:
        """Close the file; a query that somebody still holds, such as an error's traceback, would keep it locked."""
        for cursor in self._cursors:
            cursor.close()
        self._cursors.clear()
        self._database.close()

    def _check_room(self) -> None:
        usage = shutil.disk_usage(self.folder.parent)
        least = min(LEAST_FREE, usage.total // LEAST_FREE_SHARE)
        if usage.free < least:
            raise JournalError(
                tr("Only {free} MiB are free on the disk of {folder}, where the run keeps what it finds, and {least} MiB must "
                   "stay free. Make room, for example by clearing kept runs in the options, or choose another cache folder "
                   "with the environment variable {variable}.", free=usage.free >> 20, folder=self.folder.parent,
                   least=least >> 20, variable=cache.VARIABLE)
            )  # fmt: skip

    def _read(self, query: str, values: Sequence[object] | Mapping[str, object] = ()) -> list[Any]:
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise _unreadable(error) from error

    def _write(self, statements: list[tuple[str, tuple[object, ...]]]) -> None:
        self._check_room()
        try:
            self._database.execute("BEGIN")
            for statement, values in statements:
                self._database.execute(statement, values)
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise _problem(error) from error


def _as_row(detections: Detections) -> tuple[object, ...]:
    geometries = shapely.to_wkb(detections.geometries, output_dimension=2)
    lengths = np.array([len(wkb) for wkb in geometries], np.uint32).tobytes()
    classes, attributes = json.dumps(list(detections.classes)), json.dumps(detections.attributes, default=str)
    return len(detections), lengths, b"".join(geometries), detections.confidence.tobytes(), classes, attributes


def _unreadable(error: Exception) -> JournalError:
    text = tr("The journal of the run cannot be read: {error}. Run it again with RESTART to begin anew.", error=error)
    return JournalError(text)


def _problem(error: Exception) -> JournalError:
    if is_held(error):
        return JournalError(
            tr("The same run, with the same package, arguments and raster, is going on already, in this QGIS or in another "
               "process. Wait for its end, or cancel it.")
        )  # fmt: skip
    return JournalError(
        tr("The journal of the run cannot be written: {error}. Make room, or choose another cache folder with the "
           "environment variable {variable}.", error=error, variable=cache.VARIABLE)
    )  # fmt: skip
