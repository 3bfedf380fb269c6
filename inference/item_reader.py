"""Reads windows of the rasters of a run into slots, patiently where a server is asked; one for each reader's thread."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .blocks import Block
from .errors import RasterError
from .feeds import Feed
from .grid import Window
from .rasters.source import Gap, RasterSource, Validity
from .slots import Part, Slots
from .translation import tr

WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds, about, before a server is asked again for a block that it did not give."""
SLOW_LOOK = 0.005
LOOKING = 20
"""A look whether the raster has changed that takes more than SLOW_LOOK seconds is not taken again for so many times as long."""

Pause = Callable[[float], bool]
"""Waits so many seconds; true when the run ends meanwhile."""


@dataclass(frozen=True)
class BlockRead:
    """A block lies in a slot, all of it or without what could not be had; or the run has to stop, as the error says.

    Attributes:
        block, slot: Which, and where.
        parts: The arrays that the function gets; none where no pixel is valid.
        gap: What could not be had.
        error: Why the run has to stop; empty.
        chips: Which chips of the block the parts are, counted from its first; for a classifier.
    """

    block: Block
    slot: int
    parts: tuple[Part, ...] = ()
    gap: Gap | None = None
    error: str = ""
    chips: tuple[int, ...] = ()


class BlockReader(Protocol):
    """Reads blocks in one thread."""

    def read(self, block: Block, slot: int) -> BlockRead:
        """Read a block into a slot.

        Raises:
            RasterError: The raster cannot be opened any more.
        """

    def close(self) -> None:
        """Let go of files."""


@dataclass(frozen=True)
class WindowRead:
    """What became of a window: `part` is None where no pixel is valid."""

    part: Part | None
    gap: Gap | None = None
    error: str = ""


class ItemReader:
    """Reads windows of the items, of which it has one open at a time."""

    def __init__(self, feeds: Sequence[Feed], slots: Slots, pause: Pause) -> None:
        """Open nothing yet.

        Args:
            feeds: One an item.
            slots: Where pixels go.
            pause: For the time between attempts.
        """
        self._feeds, self._slots, self._pause = feeds, slots, pause
        self._item = -1
        self._source: RasterSource | None = None
        self._next_look = 0.0

    def read(self, item: int, window: Window, slot: int, offset: int = 0) -> WindowRead:
        """Read a window; what fails is tried again after a while where that may help, and is missing otherwise."""
        source, reason = self._opened(item), ""
        for wait in (*(WAITS if source.may_recover else ()), None):
            try:
                part = self._read(source, item, window, slot, offset)
                return WindowRead(part, source.gap, self._change(source, item))
            except RasterError as error:
                reason = reason or str(error)  # what came first tells most
            if changed := self._change(source, item):
                return WindowRead(None, error=changed)
            if wait is None or self._pause(wait * random.SystemRandom().uniform(0.5, 1.5)):
                break
            source.close()  # what a library remembers of the failure goes with it
        return WindowRead(None, Gap((window,), reason))

    def close(self) -> None:
        """Close the raster that is open."""
        if self._source is not None:
            self._source.close()
            self._source, self._item = None, -1

    def _opened(self, item: int) -> RasterSource:
        if self._source is None or self._item != item:
            self.close()
            self._source, self._item = self._feeds[item].source.clone(), item
        return self._source

    def _change(self, source: RasterSource, item: int) -> str:
        """What to say when the raster is not the one that the run began with: blocks read now would not fit the others.

        A look at thousands of files takes a while, so it may take a small share of the time at most.
        """
        began = time.monotonic()
        if began < self._next_look:
            return ""
        has_changed = source.has_changed(self._feeds[item].source.identity)
        now = time.monotonic()
        self._next_look = now + (now - began) * LOOKING if now - began > SLOW_LOOK else 0.0
        if not has_changed:
            return ""
        return tr("The raster {name} was changed while it was read. Run again when it is complete.", name=source.name)

    def _read(self, source: RasterSource, item: int, window: Window, slot: int, offset: int) -> Part | None:
        feed = self._feeds[item]
        shape = len(feed.bands), window.height, window.width
        part = Part(offset, shape, feed.dtype, feed.mask_bands)
        pixels, mask = self._slots.arrays(slot, part)
        if feed.scaling is None:
            validity = source.read(window, feed.bands, pixels, mask)
        else:
            raw = np.empty(shape, source.grid.dtype)
            validity = source.read(window, feed.bands, raw, mask)
            feed.scaling.apply(raw, pixels)
            if validity is Validity.PARTIAL:
                pixels[np.broadcast_to(mask, shape) == 0] = 0  # what is not valid stays 0 (CONTRACT 3.3)
        if validity is Validity.EMPTY:
            return None
        return part if validity is Validity.PARTIAL else Part(offset, shape, feed.dtype, 0)


class WholeBlockReader:
    """A BlockReader for a detector: a block is one window of its item."""

    def __init__(self, reader: ItemReader) -> None:
        self._reader = reader

    def read(self, block: Block, slot: int) -> BlockRead:
        """See BlockReader."""
        found = self._reader.read(block.item, block.window, slot)
        return BlockRead(block, slot, () if found.part is None else (found.part,), found.gap, found.error)

    def close(self) -> None:
        """See BlockReader."""
        self._reader.close()
