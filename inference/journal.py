"""Keeps what has been found on disk, a transaction a block, so that memory does not grow with the raster."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator

import numpy as np
import shapely

from . import cache
from .blocks import Block
from .detections import Detections
from .errors import JournalError
from .translation import tr

_SCHEMA = """
CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE blocks (
    row INTEGER, column INTEGER, width INTEGER, height INTEGER, count INTEGER,
    lengths BLOB, geometries BLOB, confidence BLOB, classes TEXT, attributes TEXT,
    UNIQUE (row, column)
);
"""
_INSERT = "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Journal:
    """The finished blocks of one run, in the order of the raster whatever the order they came in."""

    def __init__(self, fingerprint: str) -> None:
        """Create an empty journal in the cache folder.

        Raises:
            JournalError: The folder cannot be written.
        """
        try:
            self._folder = cache.unfinished_path(cache.cache_folder() / "journals")
            self._folder.mkdir()
            self._database = sqlite3.connect(self._folder / "journal.sqlite", isolation_level=None, check_same_thread=False)
            self._database.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {_SCHEMA}")
        except (OSError, sqlite3.Error) as error:
            raise _unwritable(error) from error
        self.note("fingerprint", fingerprint)

    def note(self, key: str, value: str) -> None:
        """Write down a fact about the run."""
        self._write("INSERT OR REPLACE INTO run VALUES (?, ?)", (key, value))

    def add(self, block: Block, detections: Detections | None) -> None:
        """Write down a finished block in one transaction.

        Args:
            block: Where it lies.
            detections: What was found, in map coordinates; None when the block was skipped as it held no data.

        Raises:
            JournalError: The disk is full, or the like.
        """
        core = block.core
        place = (*block.key, core.width, core.height)
        if detections is None or not len(detections):
            self._write(_INSERT, (*place, None if detections is None else 0, *[None] * 5))
            return
        geometries = shapely.to_wkb(detections.geometries, output_dimension=2)
        lengths = np.array([len(wkb) for wkb in geometries], np.uint32)
        classes, attributes = json.dumps(list(detections.classes)), json.dumps(detections.attributes, default=str)
        values = (len(detections), lengths.tobytes(), b"".join(geometries), detections.confidence.tobytes(), classes, attributes)
        self._write(_INSERT, (*place, *values))

    def counts(self) -> tuple[int, int, int]:
        """How many blocks are finished, how many of them were skipped, and how many detections there are."""
        found = self._database.execute("SELECT COUNT(*), COUNT(*) - COUNT(count), TOTAL(count) FROM blocks").fetchone()
        return int(found[0]), int(found[1]), int(found[2])

    def blocks(self, with_attributes: bool = True) -> Iterator[Detections]:
        """The detections of each block that has some, row by row."""
        columns = "lengths, geometries, confidence, classes" + (", attributes" if with_attributes else "")
        query = f"SELECT {columns} FROM blocks WHERE count > 0 ORDER BY row, column"  # nosec B608
        for lengths, geometries, confidence, classes, *attributes in self._database.execute(query):
            ends = np.cumsum(np.frombuffer(lengths, np.uint32), dtype=np.int64)
            starts = ends - np.frombuffer(lengths, np.uint32)
            shapes = shapely.from_wkb([geometries[start:end] for start, end in zip(starts, ends)])
            yield Detections(
                shapes,
                np.frombuffer(confidence, float),
                np.array(json.loads(classes), object),
                json.loads(attributes[0]) if attributes else {},
            )

    def remove(self) -> None:
        """Close and delete the journal."""
        self._database.close()
        cache.remove(self._folder)

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise _unwritable(error) from error


def _unwritable(error: Exception) -> JournalError:
    return JournalError(
        tr("The journal of the run cannot be written : {error}. Make room, or choose another cache folder with the "
           "environment variable {variable}.", error=error, variable=cache.VARIABLE)
    )  # fmt: skip
