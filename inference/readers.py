"""Threads that read blocks of the raster into slots while the workers are busy."""

from __future__ import annotations

import contextlib
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import BAND, Block
from .errors import RasterError
from .rasters.source import Gap, RasterSource, Validity, ValueRange
from .slots import Slots
from .translation import tr

RUN = 3
"""Columns of blocks that a thread reads one after another: its cache holds what neighbours share."""

WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds, about, before a server is asked again for a block that it did not give."""
SLOW_LOOK = 0.005
LOOKING = 20
"""A look whether the raster has changed that takes more than SLOW_LOOK seconds is not taken again for so many times as long."""

_Tasks = queue.SimpleQueue["tuple[Block, int] | None"]


@dataclass(frozen=True)
class BlockRead:
    """A block lies in a slot, all of it or without what could not be had; or the run has to stop, as the error says."""

    block: Block
    slot: int
    validity: Validity
    gap: Gap | None = None
    error: str = ""


@dataclass(frozen=True)
class Scaling:
    """Linear scaling of pixels to the model's data range (CONTRACT 3.4), one factor and offset a band."""

    factors: NDArray[Any]
    offsets: NDArray[Any]
    ranges: tuple[ValueRange, ...]

    @classmethod
    def of(cls, source: RasterSource, bands: tuple[int, ...], data_range: tuple[float, float]) -> Scaling:
        """From the actual range of each band, the same for all blocks."""
        low, high = data_range
        known = tuple(source.value_range(band) for band in bands)
        ranges = np.array([(each.low, each.high) for each in known], float)
        span = ranges[:, 1] - ranges[:, 0]
        factors = np.divide(high - low, span, out=np.zeros_like(span), where=span > 0)
        return cls(factors, low - ranges[:, 0] * factors, known)

    def apply(self, raw: NDArray[Any], out: NDArray[Any]) -> None:
        """Scale pixels (bands, height, width) into a float32 array."""
        np.multiply(raw, self.factors[:, None, None], out=out, casting="unsafe")
        out += self.offsets[:, None, None].astype(out.dtype)


@dataclass(frozen=True)
class Feed:
    """How the pixels of one item reach the function.

    Attributes:
        source: The raster.
        bands: Bands to read, in the order wanted.
        scaling: How pixels are scaled; None to leave them in their own dtype.
    """

    source: RasterSource
    bands: tuple[int, ...]
    scaling: Scaling | None

    @property
    def dtype(self) -> str:
        """Numpy's name of the dtype of blocks in slots."""
        return "float32" if self.scaling is not None else self.source.grid.dtype

    @cached_property
    def mask_bands(self) -> int:
        """Bands that a mask in a slot has."""
        return self.source.mask_bands(self.bands)


class Readers:
    """Threads that read, each with its own clone of the raster.

    There is one at first, as it finds in its cache what neighbouring blocks share; more come when workers starve.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        slots: Slots,
        deliver: Callable[[BlockRead], None],
        count: int,
    ) -> None:
        """Start the first thread.

        Args:
            feeds: One an item.
            slots: Where blocks go.
            deliver: Called in a reader's thread for each block that was asked for.
            count: Threads at most.
        """
        self._feeds, self._slots, self._deliver = feeds, slots, deliver
        self._count, self._next_look, self._stopped = count, 0.0, threading.Event()
        self._threads: list[threading.Thread] = []
        self._tasks: list[_Tasks] = []
        self.grow()

    def feed(self, block: Block) -> Feed:
        """How a block is read."""
        return self._feeds[block.item]

    def shape(self, block: Block) -> tuple[int, int, int]:
        """Bands, height and width of a block in pixels."""
        return len(self.feed(block).bands), block.window.height, block.window.width

    def grow(self) -> None:
        """Add a thread, if there may be one more."""
        if len(self._threads) < self._count:
            tasks: _Tasks = queue.SimpleQueue()
            thread = threading.Thread(target=self._work, args=(tasks,), daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                if self._threads:
                    self._count = len(self._threads)  # go on with those there are
                    return
                raise RasterError(tr("The raster cannot be read in the background: {error}.", error=error)) from error
            self._threads.append(thread)
            self._tasks.append(tasks)

    def ask(self, block: Block, slot: int) -> None:
        """Have a block read into a slot; neighbours in a row are read by the same thread, a run at a time."""
        run = block.core.column // block.core.width // RUN + block.core.row // block.core.height // BAND
        self._tasks[run % len(self._tasks)].put((block, slot))

    def stop(self) -> None:
        """End the threads; one that hangs in a read is left behind, as it can do no harm."""
        self._stopped.set()
        for tasks in self._tasks:
            with contextlib.suppress(queue.Empty):
                while True:
                    tasks.get_nowait()
            tasks.put(None)
        for thread in self._threads:
            thread.join(timeout=0.3)

    def _work(self, tasks: _Tasks) -> None:
        reading: _Reading | None = None
        while (task := tasks.get()) is not None:
            block, slot = task
            # Errors are passed on as text: their tracebacks would keep the slots and the raster open.
            try:
                if reading is None or reading.item != block.item:
                    if reading is not None:
                        reading.source.close()
                    reading = _Reading(block.item, self.feed(block).source.clone())
                self._deliver(self._read_patiently(reading.source, block, slot))
            except RasterError as error:
                self._deliver(BlockRead(block, slot, Validity.EMPTY, error=str(error)))
            except Exception as error:  # noqa: BLE001 - a thread that dies silently would stall the run
                self._deliver(BlockRead(block, slot, Validity.EMPTY, error=f"{type(error).__name__}: {error}"))
        if reading is not None:
            reading.source.close()

    def _read_patiently(self, source: RasterSource, block: Block, slot: int) -> BlockRead:
        """Read a block; what fails is tried again after a while where that may help, and is missing otherwise."""
        reason = ""
        for wait in (*(WAITS if source.may_recover else ()), None):
            try:
                validity = self._read(source, block, slot)
                return BlockRead(block, slot, validity, source.gap, self._change(source, block))
            except RasterError as error:
                reason = reason or str(error)  # what came first tells most
            if changed := self._change(source, block):
                return BlockRead(block, slot, Validity.EMPTY, error=changed)
            if wait is None or self._stopped.wait(wait * random.SystemRandom().uniform(0.5, 1.5)):
                break
            source.close()  # what a library remembers of the failure goes with it
        return BlockRead(block, slot, Validity.EMPTY, Gap((block.core,), reason))

    def _change(self, source: RasterSource, block: Block) -> str:
        """What to say when the raster is not the one that the run began with: blocks read now would not fit the others.

        A look at thousands of files takes a while, so it may take a small share of the time at most.
        """
        began = time.monotonic()
        if began < self._next_look:
            return ""
        has_changed = source.has_changed(self.feed(block).source.identity)
        now = time.monotonic()
        self._next_look = now + (now - began) * LOOKING if now - began > SLOW_LOOK else 0.0
        if not has_changed:
            return ""
        return tr("The raster {name} was changed while it was read. Run again when it is complete.", name=source.name)

    def _read(self, source: RasterSource, block: Block, slot: int) -> Validity:
        shape, feed = self.shape(block), self.feed(block)
        pixels = self._slots.pixels(slot, shape, feed.dtype)
        mask = self._slots.mask(slot, (feed.mask_bands, *shape[1:]), pixels.nbytes)
        if feed.scaling is None:
            return source.read(block.window, feed.bands, pixels, mask)
        raw = np.empty(shape, source.grid.dtype)
        validity = source.read(block.window, feed.bands, raw, mask)
        feed.scaling.apply(raw, pixels)
        if validity is Validity.PARTIAL:
            pixels *= mask  # what is not valid stays 0 (CONTRACT 3.3)
        return validity


@dataclass(frozen=True)
class _Reading:
    """What a thread has open: the raster of an item."""

    item: int
    source: RasterSource
