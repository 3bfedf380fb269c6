"""Threads that read blocks of the raster into slots while the workers are busy."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable

from .blocks import BAND, Block
from .errors import RasterError
from .item_reader import BlockRead, BlockReader, Pause
from .translation import tr

RUN = 3
"""Columns of blocks that a thread reads one after another: its cache holds what neighbours share."""

_Tasks = queue.SimpleQueue["tuple[Block, int] | None"]


class Readers:
    """Threads that read, each with its own clone of the raster.

    There is one at first, as it finds in its cache what neighbouring blocks share; more come when workers starve.
    """

    def __init__(self, open_reader: Callable[[Pause], BlockReader], deliver: Callable[[BlockRead], None], count: int) -> None:
        """Start the first thread.

        Args:
            open_reader: Makes what reads, for one thread.
            deliver: Called in a reader's thread for each block that was asked for.
            count: Threads at most.
        """
        self._open_reader, self._deliver, self._count = open_reader, deliver, count
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._tasks: list[_Tasks] = []
        self.grow()

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
        reader = self._open_reader(self._stopped.wait)
        while (task := tasks.get()) is not None:
            block, slot = task
            # Errors are passed on as text: their tracebacks would keep the slots and the raster open.
            try:
                self._deliver(reader.read(block, slot))
            except RasterError as error:
                self._deliver(BlockRead(block, slot, error=str(error)))
            except Exception as error:  # noqa: BLE001 - a thread that dies silently would stall the run
                self._deliver(BlockRead(block, slot, error=f"{type(error).__name__}: {error}"))
        reader.close()
