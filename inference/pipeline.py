"""Drives blocks from the readers through n workers into the journal; one thread owns everything.

The supervising thread hands empty slots to the readers and full ones to the workers, and takes both kinds of
answers from one queue, so there are no locks. Nothing that it does depends on the number of workers.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from .blocks import Block, Blocks
from .configuration import Configuration
from .errors import InferenceError, JournalError, OutOfMemoryError, RasterError, WorkerError
from .feedback import Feedback, stop_if_canceled
from .item_reader import BlockRead
from .journal import Journal
from .lanes import BlockTask, Lane, Lanes, located
from .plan import InferencePlan
from .raster_function import RasterFunction
from .rasters.source import Gap
from .readers import Readers
from .resuming import Finished
from .shrinking import BATCH_SIZE, smaller_configuration
from .slots import Slots
from .translation import tr
from .work import Tally
from .worker import POLL_SECONDS, Reply


@dataclass
class Statistics:
    """What a run did: blocks, pixels of their cores, and seconds.

    Attributes:
        blocks, skipped, pixels, detections: Of all blocks, also those that an earlier run has done. A chip counts as one
            pixel, and its label as a detection.
        earlier_pixels: Of those alone.
        restarts: Workers that were started again.
    """

    blocks: int = 0
    skipped: int = 0
    pixels: int = 0
    detections: int = 0
    earlier_pixels: int = 0
    restarts: int = 0
    seconds: float = 0.0
    waited_for_reader: float = 0.0
    waited_for_worker: float = 0.0


class Pipeline:
    """One run over the blocks of a grid."""

    def __init__(
        self,
        functions: list[RasterFunction],
        plan: InferencePlan,
        blocks: Blocks,
        configuration: Configuration,
        scalars: Mapping[str, str],
        make_readers: Callable[[Callable[[BlockRead], None]], Readers],
        slots: Slots,
        tally: Tally,
        journal: Journal,
        feedback: Feedback,
    ) -> None:
        """Prepare a run; functions are configured and share the slots already.

        Args:
            functions: One a worker.
            plan: The run.
            blocks: All blocks.
            configuration: That of the functions: the one of `blocks`, or one that divides it, as memory ran out.
            scalars: The values of all arguments that the functions have.
            make_readers: Starts readers that deliver to what it is given.
            slots: Where blocks lie.
            tally: Takes the answers.
            journal: Keeps them; blocks that it has are not done again.
            feedback: Told of progress and of what goes wrong.
        """
        self._plan, self._blocks, self._configuration, self._scalars = plan, blocks, configuration, dict(scalars)
        self._slots, self._tally, self._journal, self._feedback = slots, tally, journal, feedback
        self._events: queue.SimpleQueue[BlockRead | Reply] = queue.SimpleQueue()
        self._lanes = Lanes(functions, self._scalars, self._events.put, plan.block_seconds, tally.where, feedback)
        self._readers = make_readers(self._events.put)
        self._free = list(range(slots.count))
        self._finished = Finished(journal, blocks.extents)
        self._split: deque[Block] = deque()
        self._remaining: Iterator[Block] = iter(blocks)
        self._ready: deque[BlockTask] = deque()
        self._reading = 0
        blocks_done, skipped, detections = journal.counts()
        pixels = journal.pixels(blocks.extents)
        self.statistics = Statistics(blocks_done, skipped, pixels, detections, earlier_pixels=pixels)

    def run(self) -> Statistics:
        """Process all blocks.

        Raises:
            InferenceError: The run stopped; what the journal has is complete and correct.
        """
        began = last = time.monotonic()
        try:
            while self._fill_readers() or self._reading or self._ready or self._lanes.is_busy:
                self._fill_workers()
                try:
                    self._handle_next_event()
                    stop_if_canceled(self._feedback)
                    self._lanes.replace_hanging(lambda: not self._events.empty())
                except OutOfMemoryError as error:
                    self._shrink(error)
                self._ready.extendleft(reversed(self._lanes.repeated))
                self._lanes.repeated.clear()
                last = self._account(last)
        finally:
            self._readers.stop()
            self.statistics.seconds = time.monotonic() - began
            self.statistics.restarts = self._lanes.restarts
        self._refuse_holes()
        return self.statistics

    def _refuse_holes(self) -> None:
        """A result with a hole that nobody is told of would be the worst of all."""
        missing = self._blocks.pixels - self.statistics.pixels
        if missing:
            raise JournalError(
                tr("{missing} pixels were not searched, which must not happen. Run it again with RESTART, and please report it.",
                   missing=missing)
            )  # fmt: skip

    def _account(self, last: float) -> float:
        """Add the time since the last look to what the waiting sides waited."""
        now = time.monotonic()
        if self._lanes.is_starving and self._reading:
            self.statistics.waited_for_reader += now - last
            if self.statistics.pixels > self.statistics.earlier_pixels:  # the first block is always waited for
                self._readers.grow()
        elif not self._reading:
            self.statistics.waited_for_worker += now - last
        return now

    def _fill_readers(self) -> bool:
        """Hand empty slots to the readers; whether there was one to hand over."""
        handed = False
        while self._free and (block := self._next_block()) is not None:
            self._readers.ask(block, self._free.pop())
            self._reading += 1
            handed = True
        return handed

    def _next_block(self) -> Block | None:
        while not self._split:
            block = next(self._remaining, None)
            if block is None:
                return None
            self._split.extend(part for part in self._parts(block) if not self._finished.covers(part))
            if not self._split:
                stop_if_canceled(self._feedback)  # going past what is finished may take a while
        return self._split.popleft()

    def _parts(self, block: Block) -> list[Block]:
        """The block as the functions take it now."""
        return [block] if self._is_current(block) else self._blocks.split(block, self._configuration)

    def _fill_workers(self) -> None:
        while self._ready and (lane := self._lanes.free()) is not None:
            task = self._ready.popleft()
            self._lanes.give(lane, task, self._configuration.batch)

    def _handle_next_event(self) -> None:
        try:
            event = self._events.get(timeout=POLL_SECONDS)
        except queue.Empty:
            return
        if isinstance(event, BlockRead):
            self._take_read(event)
            return
        lane = self._lanes.answering(event)
        if lane is None:
            return
        if event.message is None:
            self._lanes.revive(lane)
        else:
            self._take_answer(lane, event)

    def _take_read(self, read: BlockRead) -> None:
        self._reading -= 1
        if read.error:
            raise RasterError(read.error)
        if read.gap and self._is_current(read.block):
            self._tally.gaps.check(read.block, read.gap)
        if not self._is_current(read.block):
            self._free.append(read.slot)
            self._split.extend(self._parts(read.block))
        elif not read.parts:
            self._free.append(read.slot)
            self._count_gap(read.block, read.gap)
            self._journal.add(read.block, None, self._tally.to_text())
            self.statistics.skipped += 1
            self._finish(read.block)
        else:
            self._ready.append(BlockTask(read.block, read.slot, read.parts, read.gap, read.chips))

    def _is_current(self, block: Block) -> bool:
        return (block.core.width, block.core.height) == (self._configuration.width, self._configuration.height)

    def _take_answer(self, lane: Lane, reply: Reply) -> None:
        if not lane.tasks:
            raise WorkerError(tr("The inference process answered without having been asked."))
        task = lane.tasks[0]
        try:
            lane.function.worker.raise_error(reply.message or {})
            found = self._tally.take(reply, task)
        except OutOfMemoryError:
            raise
        except InferenceError as error:
            raise located(error, self._tally.where(task.block)) from error
        self._count_gap(task.block, task.gap)
        self._journal.add(task.block, found, self._tally.to_text())
        self.statistics.detections += len(found)
        self._lanes.done(lane)
        self._free.append(task.slot)
        self._finish(task.block)

    def _count_gap(self, block: Block, gap: Gap | None) -> None:
        if gap is not None:
            self._tally.gaps.take(block, gap)

    def _finish(self, block: Block) -> None:
        self.statistics.blocks += 1
        self.statistics.pixels += self._blocks.inside(block).pixels
        self._feedback.progress(100.0 * self.statistics.pixels / self._blocks.pixels)

    def _shrink(self, error: OutOfMemoryError) -> None:
        """After memory ran out, go on with a smaller batch: all workers anew, all blocks split."""
        smaller, batch = smaller_configuration(self._lanes.first, self._scalars, self._configuration, error)
        before = self._configuration.batch or self._scalars[BATCH_SIZE]
        text = tr("Out of memory: the run goes on with batch_size {batch} (it was {before}).", batch=batch, before=before)
        self._feedback.warning(text)
        self._journal.note({BATCH_SIZE: batch})
        self._scalars = {**self._scalars, BATCH_SIZE: batch}
        self._configuration = smaller
        tasks = [*self._lanes.restart_with(self._scalars), *self._ready]
        self._ready.clear()
        self._free.extend(task.slot for task in tasks)
        waiting = [*(task.block for task in tasks), *self._split]
        self._split = deque(part for block in waiting for part in self._blocks.split(block, smaller))
