"""Watches what a worker and all that it started take of the machine; Linux only, as elsewhere nothing tells."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from .machine import free_of_machine, least_free
from .translation import tr

SECONDS = 0.25
"""Between two looks."""
MAXIMUM_PROCESSES = 256
LOOKS_AT_LOW_MEMORY = 8
"""After so many looks at a machine with too little free memory a worker is stopped, whoever took the memory."""
MIB = 1 << 20


@dataclass(frozen=True)
class Excess:
    """Why a worker was stopped, and whether it was for its memory."""

    text: str
    is_memory: bool


class Watchdog:
    """Looks at one process tree."""

    def __init__(self, process: int, limit: int, shared: int | None) -> None:
        """Watch a process.

        Args:
            process: The root of the tree.
            limit: Bytes of memory that it may take.
            shared: Descriptor of memory that is ours, though it sees it.
        """
        self._process, self._limit = process, limit
        self._ours = _file(f"/proc/self/fd/{shared}") if shared is not None else None
        self._least, self._low = least_free(), 0

    def look(self) -> Excess | None:
        """What the tree takes too much of; None when all is well."""
        tree = _tree(self._process)
        if len(tree) > MAXIMUM_PROCESSES:
            text = tr("it ran {count} processes, and {most} are allowed", count=len(tree), most=MAXIMUM_PROCESSES)
            return Excess(text, is_memory=False)
        free, files = free_of_machine(), self._memory_files(tree)
        taken = files + sum(map(_memory, tree))
        if taken > self._limit or free < self._least < taken:
            taken = files + sum(map(_own_share, tree))  # what processes share was counted several times
        self._low = self._low + 1 if free < self._least else 0
        if taken > self._limit or free < self._least < taken or self._low > LOOKS_AT_LOW_MEMORY:
            text = tr(
                "it took {taken} MiB of memory, and {free} MiB were left to the machine", taken=taken // MIB, free=free // MIB
            )
            return Excess(text, is_memory=True)
        return None

    def _memory_files(self, tree: list[int]) -> int:
        """Bytes of files in memory that the tree has open: nobody's memory, as the kernel counts."""
        sizes: dict[tuple[int, int], int] = {}
        for process in tree:
            for link in _entries(f"/proc/{process}/fd"):
                path = f"/proc/{process}/fd/{link}"
                with contextlib.suppress(OSError):
                    # Bandit: names of what is open, nothing is made there.
                    if os.readlink(path).startswith(("/memfd:", "/dev/shm/")):  # nosec B108
                        status = os.stat(path)
                        sizes[status.st_dev, status.st_ino] = status.st_blocks * 512
        return sum(size for file, size in sizes.items() if file != self._ours)


def _file(path: str) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        status = os.stat(path)
        return status.st_dev, status.st_ino
    return None


def _entries(path: str) -> list[str]:
    """What is in a folder of a process, which may end at any time."""
    with contextlib.suppress(OSError):
        return os.listdir(path)
    return []


def _tree(process: int) -> list[int]:
    """A process and all its descendants; a few more than allowed at most."""
    found: list[int] = []
    waiting = [process]
    while waiting and len(found) <= MAXIMUM_PROCESSES:
        current = waiting.pop()
        found.append(current)
        for thread in _entries(f"/proc/{current}/task"):
            with contextlib.suppress(OSError, ValueError):
                waiting += map(int, Path(f"/proc/{current}/task/{thread}/children").read_text(encoding="ascii").split())
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
