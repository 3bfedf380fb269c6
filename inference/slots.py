"""Shared memory: slots of equal size in one file without a name, each holding a block and its mask."""

from __future__ import annotations

import mmap
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..worker.protocol import mask_offset
from .errors import WorkerError
from .translation import tr

SHARED_MEMORY = Path("/dev/shm")  # nosec B108
SHARE_OF_MEMORY = 4
"""Slots take at most this fraction of the memory that is free."""


class Slots:
    """Memory that this process and its workers map.

    Files are created empty, one in each folder that may serve: workers inherit their descriptors before the
    size of a block, and so the folder with room for it, is known.
    """

    def __init__(self) -> None:
        self.count = 0
        self.slot_bytes = 0
        self._memory: mmap.mmap | None = None
        folders = [SHARED_MEMORY] if SHARED_MEMORY.is_dir() else []
        self._files = [_create(folder) for folder in (*folders, Path(tempfile.gettempdir()))]
        self._chosen = self._files[-1]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What workers inherit; none on Windows, where they open the file by its path."""
        return () if sys.platform == "win32" else tuple(file.descriptor for file in self._files)

    @property
    def descriptor(self) -> int | None:
        """The descriptor of the file in use; None where descriptors are not inherited."""
        return self._chosen.descriptor if self.descriptors else None

    @property
    def path(self) -> str | None:
        """The path of the file in use, where it has one."""
        return self._chosen.path

    @property
    def total_bytes(self) -> int:
        """Size of the file."""
        return self.count * self.slot_bytes

    def allocate(self, pixel_bytes: int, mask_bytes: int, wanted: int, least: int) -> None:
        """Make slots; may be called once.

        Args:
            pixel_bytes: Pixels of one block.
            mask_bytes: Mask of one block.
            wanted: Slots that keep everyone busy.
            least: Slots without which the run cannot go on.

        Raises:
            WorkerError: Not even the least number fits into the memory that is free.
        """
        page = mmap.ALLOCATIONGRANULARITY
        self.slot_bytes = -(-(mask_offset(pixel_bytes) + mask_bytes) // page) * page
        allowed = free_memory() // SHARE_OF_MEMORY // self.slot_bytes
        self.count = max(min(wanted, allowed), 0)
        if self.count < least:
            raise WorkerError(
                tr("A block of the model takes {block} MiB, and only {free} MiB of memory are free for blocks. "
                   "Choose a smaller batch_size or tile size.", block=self.slot_bytes >> 20,
                   free=free_memory() // SHARE_OF_MEMORY >> 20)
            )  # fmt: skip
        self._chosen = self._file_with_room()
        # The space is taken now: a write into a sparse file on a full disk kills the process.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._chosen.descriptor, 0, self.total_bytes)
        else:
            os.ftruncate(self._chosen.descriptor, self.total_bytes)
        self._memory = mmap.mmap(self._chosen.descriptor, self.total_bytes)

    def pixels(self, slot: int, shape: tuple[int, int, int], dtype: str) -> NDArray[Any]:
        """The pixels of a slot as an array that can be written."""
        return self._array(slot * self.slot_bytes, shape, dtype)

    def mask(self, slot: int, shape: tuple[int, int, int], pixel_bytes: int) -> NDArray[Any]:
        """The mask of a slot (uint8) as an array that can be written."""
        return self._array(slot * self.slot_bytes + mask_offset(pixel_bytes), shape, "uint8")

    def close(self) -> None:
        """Give the memory back as soon as the last array of it is gone."""
        self._memory = None
        for file in self._files:
            os.close(file.descriptor)
            if file.path is not None:
                Path(file.path).unlink(missing_ok=True)
        self._files = []

    def _array(self, start: int, shape: tuple[int, int, int], dtype: str) -> NDArray[Any]:
        if self._memory is None:
            raise ValueError("the slots are not allocated")
        return np.frombuffer(self._memory, dtype, int(np.prod(shape)), start).reshape(shape)

    def _file_with_room(self) -> _File:
        for file in self._files:
            if shutil.disk_usage(file.folder).free > self.total_bytes:
                return file
        folders = ", ".join(str(file.folder) for file in self._files)
        raise WorkerError(
            tr("Blocks need {need} MiB, and there is less room in {folders}. Choose a smaller batch_size, or make room.",
               need=self.total_bytes >> 20, folders=folders)
        )  # fmt: skip


@dataclass(frozen=True)
class _File:
    """An open file: without a name where the system can do that."""

    descriptor: int
    folder: Path
    path: str | None


def _create(folder: Path) -> _File:
    descriptor, path = tempfile.mkstemp(prefix="deep_learning_packages-", dir=folder)
    if sys.platform == "win32":
        return _File(descriptor, folder, path)
    os.unlink(path)
    return _File(descriptor, folder, None)


def free_memory() -> int:
    """Bytes of memory that programs can still take."""
    if sys.platform == "linux":
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
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
