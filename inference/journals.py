"""The journals that runs have left: those that were cut short, and those of runs that are going on."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from . import cache
from .errors import JournalError
from .journal_file import FOLDER, NAME, RASTER, TOTAL, discard, facts_of, is_held, locked
from .translation import tr


@dataclass(frozen=True)
class KeptJournal:
    """A run that can be gone on with.

    Attributes:
        folder: Where it lies.
        size: Bytes that it takes.
        changed: When a block was last finished, in UTC.
        model, raster: Names of what it was run with; empty while the run goes on, as it holds its journal.
        done, total: Blocks.
        in_use: Whether the run is going on.
    """

    folder: Path
    size: int
    changed: datetime
    model: str = ""
    raster: str = ""
    done: int = 0
    total: int = 0
    in_use: bool = False


def kept_journals() -> list[KeptJournal]:
    """All journals, the latest first."""
    folder = cache.cache_folder() / FOLDER
    cache.remove_abandoned(folder)
    found = [_kept(path) for path in folder.glob("[0-9a-f]*") if path.is_dir()]
    return sorted(found, key=lambda journal: journal.changed, reverse=True)


def clear_cache() -> None:
    """Remove everything from the cache that can be made again; what runs have found stays.

    Raises:
        JournalError: A run needs the cache at the moment.
    """
    if any(journal.in_use for journal in kept_journals()):
        raise JournalError(tr("A run uses the cache at the moment. Wait for its end, or cancel it."))
    cache.clear()


def forget(folder: Path) -> None:
    """Delete the journal in a folder, so that its run begins anew.

    Raises:
        JournalError: The run is going on.
    """
    try:
        discard(folder, locked(folder, seconds=0).close)
    except sqlite3.DatabaseError as error:
        if is_held(error):
            raise JournalError(tr("This run is going on at the moment. Wait for its end, or cancel it.")) from error
        cache.remove(folder)  # damaged, so no run can begin with it


def _kept(folder: Path) -> KeptJournal:
    files = [path.stat() for path in folder.glob("*")]
    size = sum(status.st_size for status in files)
    changed = datetime.fromtimestamp(max((status.st_mtime for status in files), default=0), timezone.utc)
    try:
        facts = facts_of(folder)
    except sqlite3.Error:
        facts = {}  # damaged: it is listed, so that it can be deleted
    if facts is None:
        return KeptJournal(folder, size, changed, in_use=True)
    blocks, total = facts.get("blocks", "0"), facts.get(TOTAL, "0")
    return KeptJournal(folder, size, changed, facts.get(NAME, ""), facts.get(RASTER, ""), int(blocks), int(total))
