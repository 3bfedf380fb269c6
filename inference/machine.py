"""What this machine has left of its memory."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

SHARE_OF_MEMORY = 0.9
"""Of the memory that is free when a worker starts, it may take this much."""
LEAST_FREE = 384 << 20
LEAST_FREE_SHARE = 16
"""So much, or this fraction of a small machine's memory, must stay free."""
GROUPS = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes of memory that this program can still take: of the machine, of the container that this is, and by its own limit."""
    if sys.platform == "linux":
        return min([free_of_machine(), *_left_of_limit()])
    if sys.platform == "win32":
        return _free_memory_of_windows()
    return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) // 2


def _free_memory_of_windows() -> int:
    import ctypes

    names = ("total", "free", "total_page", "free_page", "total_virtual", "free_virtual", "extended")

    class Status(ctypes.Structure):
        """MEMORYSTATUSEX of the Windows API."""

        _fields_ = (("length", ctypes.c_ulong), ("load", ctypes.c_ulong), *((name, ctypes.c_ulonglong) for name in names))

    status = Status(length=ctypes.sizeof(Status))
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    return int(status.free)


def free_of_machine() -> int:
    """Bytes of memory that the machine, or the container that this is, has left for everybody; Linux only."""
    return min([_counted("MemAvailable"), *_left_in_groups()])


def least_free() -> int:
    """Bytes of memory that a healthy machine keeps free; Linux only."""
    return min(LEAST_FREE, _counted("MemTotal") // LEAST_FREE_SHARE)


def _counted(name: str) -> int:
    with open("/proc/meminfo", encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines[name].split()[0]) * 1024


def _left_of_limit() -> list[int]:
    """What `ulimit -v` leaves."""
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return []
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return [max(limit - pages * resource.getpagesize(), 0)]


def _left_in_groups() -> list[int]:
    """What the control groups (version 2) around this process have left; file caches count as free."""
    left: list[int] = []
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
        own = next(line for line in lines if line.startswith("0::"))[3:].strip("/")
        for folder in (GROUPS / own, *(GROUPS / own).parents):
            if folder == GROUPS.parent:
                break
            with contextlib.suppress(OSError, ValueError, KeyError):
                most = int((folder / "memory.max").read_text(encoding="ascii"))  # "max" is no number
                used = int((folder / "memory.current").read_text(encoding="ascii"))
                details = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
                left.append(max(most - used + int(details["inactive_file"]), 0))
    return left
