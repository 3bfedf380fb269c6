"""Watches what a worker and all that it started take of the machine; Linux only, as elsewhere nothing tells."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from .machine import free_memory
from .translation import tr

SECONDS = 0.25
"""Between two looks."""
MAXIMUM_PROCESSES = 256
LEAST_FREE = 384 << 20
"""Memory that must stay free for the rest of the machine once a worker has taken as much."""
MIB = 1 << 20


@dataclass(frozen=True)
class Excess:
    """Why a worker was stopped, and whether it was for its memory."""

    text: str
    is_memory: bool


class Watchdog:
    """Looks at one process tree."""

    def __init__(self, process: int, limit: int) -> None:
        """Watch a process; `limit` is in bytes of memory."""
        self._process, self._limit = process, limit

    def look(self) -> Excess | None:
        """What the tree takes too much of; None when all is well."""
        tree = _tree(self._process)
        if len(tree) > MAXIMUM_PROCESSES:
            text = tr("it ran {count} processes, and {most} are allowed", count=len(tree), most=MAXIMUM_PROCESSES)
            return Excess(text, is_memory=False)
        taken = sum(map(_memory, tree))
        if taken > LEAST_FREE and (taken > self._limit or free_memory() < LEAST_FREE):
            taken = sum(map(_own_share, tree))  # what processes share was counted several times
            free = free_memory()
            if taken > self._limit or (free < LEAST_FREE < taken):
                text = tr("it took {taken} MiB of memory, and {free} MiB were left to the machine", taken=taken // MIB,
                          free=free // MIB)  # fmt: skip
                return Excess(text, is_memory=True)
        return None


def _tree(process: int) -> list[int]:
    """A process and all its descendants; a few more than allowed at most."""
    found: list[int] = []
    waiting = [process]
    while waiting and len(found) <= MAXIMUM_PROCESSES:
        current = waiting.pop()
        found.append(current)
        for thread in Path(f"/proc/{current}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                waiting += map(int, thread.read_text(encoding="ascii").split())
    return found


def _memory(process: int) -> int:
    """Bytes of memory that are no file's, as the kernel counts them at no cost."""
    return _kilobytes(f"/proc/{process}/status", ("RssAnon", "RssShmem"))


def _own_share(process: int) -> int:
    """The same without what others have as well; takes the kernel a while."""
    return _kilobytes(f"/proc/{process}/smaps_rollup", ("Pss_Anon", "Pss_Shmem"))


def _kilobytes(path: str, names: tuple[str, ...]) -> int:
    with contextlib.suppress(OSError, ValueError):
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.split(":") for line in file]
        return sum(int(parts[1].split()[0]) * 1024 for parts in lines if parts[0] in names)
    return 0
