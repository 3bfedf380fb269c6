"""Shared memory: slots of equal size in one file, each holding a block and its mask."""

from __future__ import annotations

import itertools
import mmap
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..worker.protocol import mask_offset
from .errors import WorkerError
from .machine import free_memory
from .translation import tr

if sys.platform == "linux":
    import fcntl

NAME = "deep_learning_packages-blocks"
SHARE_OF_MEMORY = 4
"""Slots take at most this fraction of the memory that is free."""


@dataclass(frozen=True)
class Part:
    """One array of pixels in a slot, with its mask behind it.

    Attributes:
        offset: Where it begins, in bytes from the slot's begin.
        shape: Bands, height, width.
        dtype: numpy's name.
        mask_bands: Bands of the mask; 0 where all pixels are valid, so that there is none.
    """

    offset: int
    shape: tuple[int, int, int]
    dtype: str
    mask_bands: int


def runs_of(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Parts for a worker: those that are alike and lie at equal distances are told of together."""
    runs = []
    for (shape, dtype, mask_bands), group in itertools.groupby(parts, key=lambda part: (part.shape, part.dtype, part.mask_bands)):
        offsets = [part.offset for part in group]
        step = offsets[1] - offsets[0] if len(offsets) > 1 else 0
        alike = {"shape": shape, "dtype": dtype, "mask_bands": mask_bands}
        runs.append({"offset": offsets[0], "step": step, "count": len(offsets), **alike})
    return runs


def part_bytes(pixel_bytes: int, mask_bytes: int) -> int:
    """What an array and its mask take, so that the next one is aligned."""
    return mask_offset(mask_offset(pixel_bytes) + mask_bytes)


class Slots:
    """Memory that this process and its workers map.

    The file is created empty, as workers inherit its descriptor before the size of a block is known. On Linux its
    size is then sealed: a package that cut the file short would kill this process at its next access.
    """

    def __init__(self) -> None:
        self.count = 0
        self.slot_bytes = 0
        self.path: str | None = None
        self._memory: mmap.mmap | None = None
        if sys.platform == "linux":
            self._file = os.memfd_create(NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            return
        self._file, self.path = tempfile.mkstemp(prefix=NAME)
        if sys.platform != "win32":
            os.unlink(self.path)

    @property
    def descriptor(self) -> int | None:
        """What workers inherit; None on Windows, where they open the file by its path."""
        return None if sys.platform == "win32" else self._file

    @property
    def total_bytes(self) -> int:
        """Size of the file."""
        return self.count * self.slot_bytes

    def allocate(self, block_bytes: int, wanted: int, least: int) -> None:
        """Make slots; may be called once.

        Args:
            block_bytes: What a block takes: its parts.
            wanted: Slots that keep everyone busy.
            least: Slots without which the run cannot go on.

        Raises:
            WorkerError: Not even the least number fits into the memory that is free.
        """
        page = mmap.ALLOCATIONGRANULARITY
        self.slot_bytes = -(-block_bytes // page) * page
        allowed = free_memory() // SHARE_OF_MEMORY // self.slot_bytes
        self.count = max(min(wanted, allowed), 0)
        if self.count < least:
            raise WorkerError(
                tr("A block of the model takes {block} MiB, and only {free} MiB of memory are free for blocks. "
                   "Choose a smaller batch_size or tile size.", block=self.slot_bytes >> 20,
                   free=free_memory() // SHARE_OF_MEMORY >> 20)
            )  # fmt: skip
        try:
            self._reserve()
            self._memory = mmap.mmap(self._file, self.total_bytes)
        except OSError as error:
            raise WorkerError(
                tr("{need} MiB of memory for blocks cannot be had: {error}. Choose a smaller batch_size.",
                   need=self.total_bytes >> 20, error=error.strerror)
            ) from error  # fmt: skip

    def arrays(self, slot: int, part: Part) -> tuple[NDArray[Any], NDArray[Any]]:
        """The pixels of a part, and its mask (uint8), as arrays that can be written."""
        start = slot * self.slot_bytes + part.offset
        pixels = self._array(start, part.shape, part.dtype)
        return pixels, self._array(start + mask_offset(pixels.nbytes), (part.mask_bands, *part.shape[1:]), "uint8")

    def close(self) -> None:
        """Give the memory back as soon as the last array of it is gone."""
        self._memory = None
        os.close(self._file)
        if sys.platform == "win32" and self.path is not None:
            Path(self.path).unlink(missing_ok=True)

    def _array(self, start: int, shape: tuple[int, int, int], dtype: str) -> NDArray[Any]:
        if self._memory is None:
            raise ValueError("the slots are not allocated")
        return np.frombuffer(self._memory, dtype, int(np.prod(shape)), start).reshape(shape)

    def _reserve(self) -> None:
        """Take the space now: a write into a sparse file on a full disk kills the process."""
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file, 0, self.total_bytes)
        else:
            os.ftruncate(self._file, self.total_bytes)
        if sys.platform == "linux":
            fcntl.fcntl(self._file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
