"""The file of a journal: its tables, and the lock that SQLite holds on it while somebody has it open."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

from . import cache

FOLDER = "journals"
DATABASE = "journal.sqlite"
AGREEMENT, DEVICE, TOTAL, NAME, RASTER = "agreement", "device", "total", "name", "raster"
"""Facts in a journal: what the package answered, where it ran, how many blocks there are, and what a list shows."""
LOCK_SECONDS = 1.0
"""How long a journal may be held by somebody who only looks at it."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (
    item INTEGER, row INTEGER, column INTEGER, width INTEGER, height INTEGER, count INTEGER,
    lengths BLOB, geometries BLOB, confidence BLOB, classes TEXT, attributes TEXT,
    UNIQUE (item, row, column)
);
CREATE TABLE IF NOT EXISTS labels (
    number INTEGER, item INTEGER, answer TEXT, block INTEGER, PRIMARY KEY (number, item)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS labels_of_block ON labels (block);
"""


def facts_of(folder: Path) -> Mapping[str, str] | None:
    """What is written down in a journal that nobody holds; None for one that is held.

    Raises:
        sqlite3.Error: It cannot be read.
    """
    try:
        with contextlib.closing(locked(folder, seconds=0)) as database:
            blocks = database.execute("SELECT COUNT(*) FROM blocks").fetchone()[0]
            return {**dict(database.execute("SELECT key, value FROM run")), "blocks": str(blocks)}
    except sqlite3.OperationalError as error:
        if is_held(error):
            return None
        raise


def locked(folder: Path, seconds: float = LOCK_SECONDS) -> sqlite3.Connection:
    """The database of a journal, made if missing, locked for this connection until it is closed or the process ends.

    Args:
        folder: Of the journal.
        seconds: How long to wait for somebody else who has it open.

    Raises:
        sqlite3.OperationalError: Somebody else has it open (see `is_held`), or it cannot be written.
        sqlite3.DatabaseError: It is damaged.
    """
    database = sqlite3.connect(folder / DATABASE, timeout=seconds, isolation_level=None, check_same_thread=False)
    try:
        # NORMAL in WAL: a power cut may cost the last blocks, never the journal.
        for statement in ("PRAGMA locking_mode = EXCLUSIVE", "PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL"):
            database.execute(statement).fetchall()
        file = os.stat(folder / DATABASE)
        database.execute("BEGIN EXCLUSIVE")
        for statement in filter(str.strip, _SCHEMA.split(";")):
            database.execute(statement)
        database.execute("COMMIT")
        if not _is_same(file, folder / DATABASE):
            raise sqlite3.OperationalError("removed by another run meanwhile; try again")
    except BaseException:
        database.close()
        raise
    return database


def discard(folder: Path, release: Callable[[], None]) -> None:
    """Delete a journal that is locked: moved away under the lock, so that nobody opens what is half deleted.

    Args:
        folder: Of the journal.
        release: Gives the lock back.
    """
    doomed = cache.unfinished_path(folder.parent)
    try:
        os.replace(folder, doomed)
    except OSError:  # Windows moves no folder with open files
        doomed = folder
    release()
    cache.remove(doomed)


def _is_same(file: os.stat_result, path: Path) -> bool:
    """Whether a file lies there that is the one which was opened."""
    try:
        return os.path.samestat(file, os.stat(path))
    except OSError:
        return False


def is_held(error: Exception) -> bool:
    """Whether an error of SQLite says that somebody else has the file open."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
