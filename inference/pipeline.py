"""Drives blocks from the readers through n workers into the journal; one thread owns everything.

The supervising thread hands empty slots to the readers and full ones to the workers, and takes both kinds of
answers from one queue, so there are no locks. Nothing that it does depends on the number of workers.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from .blocks import Block, BlockGrid
from .classes import ClassFilter
from .detections import Detections, georeferenced, in_grid, inside
from .errors import FunctionError, InferenceError, OutOfMemoryError, RasterError, WorkerError
from .featureset import FeatureSetDecoder
from .feedback import Feedback, stop_if_canceled
from .journal import Journal
from .plan import InferencePlan
from .raster import Validity
from .raster_function import RasterFunction
from .readers import BlockRead, Readers
from .shrinking import smaller_configuration
from .slots import Slots
from .translation import tr
from .worker import POLL_SECONDS, Reply

IN_FLIGHT = 2
"""Blocks that a worker has at a time: one it works on, one waiting in its pipe."""
DEATHS_PER_BLOCK = 3
TIMEOUTS_PER_BLOCK = 2
"""A block is given up after so many."""


@dataclass
class Statistics:
    """What a run did: blocks, pixels of their cores, and seconds."""

    blocks: int = 0
    skipped: int = 0
    pixels: int = 0
    detections: int = 0
    outside: int = 0
    other_classes: int = 0
    restarts: int = 0
    seconds: float = 0.0
    waited_for_reader: float = 0.0
    waited_for_worker: float = 0.0


@dataclass
class _Task:
    """A block in a slot, on its way through a worker."""

    block: Block
    slot: int
    mask_bands: int
    deaths: int = 0
    timeouts: int = 0


@dataclass(eq=False)
class _Lane:
    """A worker with the blocks that it has."""

    function: RasterFunction
    tasks: deque[_Task] = field(default_factory=deque)
    since: float = 0.0


class Pipeline:
    """One run over the blocks of a grid."""

    def __init__(
        self,
        functions: list[RasterFunction],
        plan: InferencePlan,
        blocks: BlockGrid,
        scalars: Mapping[str, str],
        make_readers: Callable[[Callable[[BlockRead], None]], Readers],
        slots: Slots,
        decoder: FeatureSetDecoder,
        journal: Journal,
        feedback: Feedback,
        classes: ClassFilter | None = None,
    ) -> None:
        """Prepare a run; functions are configured and share the slots already."""
        self._plan, self._blocks, self._scalars = plan, blocks, dict(scalars)
        self._configuration = blocks.configuration
        self._slots, self._decoder, self._journal, self._feedback = slots, decoder, journal, feedback
        self._classes = classes
        self._events: queue.SimpleQueue[BlockRead | Reply] = queue.SimpleQueue()
        self._lanes = [_Lane(function) for function in functions]
        self._readers = make_readers(self._events.put)
        self._free = list(range(slots.count))
        self._split: deque[Block] = deque()
        self._remaining: Iterator[Block] = iter(blocks)
        self._ready: deque[_Task] = deque()
        self._reading = 0
        self.statistics = Statistics()

    def run(self) -> Statistics:
        """Process all blocks.

        Raises:
            InferenceError: The run stopped; what the journal has is complete and correct.
        """
        began = last = time.monotonic()
        for lane in self._lanes:
            lane.function.worker.deliver_to(self._events.put)
        try:
            while self._fill_readers() or self._reading or self._ready or any(lane.tasks for lane in self._lanes):
                self._fill_workers()
                self._handle_next_event()
                stop_if_canceled(self._feedback)
                self._kill_hanging()
                last = self._account(last)
        finally:
            self._readers.stop()
            self.statistics.seconds = time.monotonic() - began
        return self.statistics

    def _account(self, last: float) -> float:
        """Add the time since the last look to what the waiting sides waited."""
        now = time.monotonic()
        if any(not lane.tasks for lane in self._lanes) and self._reading:
            self.statistics.waited_for_reader += now - last
            if self.statistics.blocks:  # the first block is always waited for
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
        if self._split:
            return self._split.popleft()
        block = next(self._remaining, None)
        if block is None or self._configuration is self._blocks.configuration:
            return block
        self._split.extend(block.split(self._configuration, self._blocks.extent))
        return self._split.popleft()

    def _fill_workers(self) -> None:
        while self._ready:
            lane = min(self._lanes, key=lambda lane: len(lane.tasks))
            if len(lane.tasks) >= IN_FLIGHT:
                return
            task = self._ready.popleft()
            if not lane.tasks:
                lane.since = time.monotonic()
            lane.tasks.append(task)
            lane.function.request(task.slot, self._readers.shape(task.block), self._readers.dtype, task.mask_bands)

    def _handle_next_event(self) -> None:
        try:
            event = self._events.get(timeout=POLL_SECONDS)
        except queue.Empty:
            return
        if isinstance(event, BlockRead):
            self._take_read(event)
            return
        lane = next((lane for lane in self._lanes if lane.function.worker is event.worker), None)
        if lane is None:
            return  # the last words of a worker that was replaced
        if event.message is None:
            self._revive(lane)
        else:
            self._take_answer(lane, event)

    def _take_read(self, read: BlockRead) -> None:
        self._reading -= 1
        if read.error:
            raise RasterError(read.error)
        if not self._is_current(read.block):
            self._free.append(read.slot)
            self._split.extend(read.block.split(self._configuration, self._blocks.extent))
        elif read.validity is Validity.EMPTY:
            self._free.append(read.slot)
            self._finish(read.block, skipped=True)
        else:
            mask_bands = self._readers.mask_bands if read.validity is Validity.PARTIAL else 0
            self._ready.append(_Task(read.block, read.slot, mask_bands))

    def _is_current(self, block: Block) -> bool:
        return (block.core.width, block.core.height) == (self._configuration.width, self._configuration.height)

    def _take_answer(self, lane: _Lane, reply: Reply) -> None:
        if not lane.tasks:
            raise WorkerError(tr("The inference process answered without having been asked."))
        task = lane.tasks[0]
        try:
            lane.function.worker.raise_error(reply.message or {})
        except OutOfMemoryError as error:
            self._shrink(error)
            return
        except FunctionError as error:
            raise _located(error, task.block) from error
        try:
            decoded = self._decoder.decode(reply.payload)
        except InferenceError as error:
            raise _located(error, task.block) from error
        detections = self._counting(in_grid(decoded, task.block.core))
        self._journal.add(task.block, detections)
        self.statistics.detections += len(detections)
        lane.tasks.popleft()
        lane.since = time.monotonic()
        self._free.append(task.slot)
        self._finish(task.block)

    def _counting(self, detections: Detections) -> Detections:
        """Those that count, of the wanted classes and inside the extent, in map coordinates."""
        if self._classes is not None:
            wanted = detections.kept(self._classes.keep(detections.attributes, len(detections)))
            self.statistics.other_classes += len(detections) - len(wanted)
            detections = wanted
        found = len(detections)
        left, top = self._blocks.extent.column, self._blocks.extent.row
        within = inside(detections, left, top, left + self._blocks.extent.width, top + self._blocks.extent.height)
        detections = georeferenced(detections.kept(within), self._plan.source.grid.affine)
        if self._plan.region is not None:
            detections = detections.kept(inside(detections, *self._plan.region))
        self.statistics.outside += found - len(detections)
        return detections

    def _finish(self, block: Block, skipped: bool = False) -> None:
        if skipped:
            self._journal.add(block, None)
            self.statistics.skipped += 1
        self.statistics.blocks += 1
        core = block.core.intersection(self._blocks.extent)
        self.statistics.pixels += core.width * core.height if core else 0
        self._feedback.progress(100.0 * self.statistics.pixels / (self._blocks.extent.width * self._blocks.extent.height))

    def _revive(self, lane: _Lane) -> None:
        """Replace a worker that died; the block that it worked on is tried again, twice."""
        error = lane.function.worker.death()
        if lane.tasks:
            lane.tasks[0].deaths += 1
            if lane.tasks[0].deaths >= DEATHS_PER_BLOCK:
                raise _located(error, lane.tasks[0].block)
        self._feedback.warning(tr("{error} It is started again, and its blocks are repeated.", error=error))
        self._restart(lane)

    def _kill_hanging(self) -> None:
        for lane in self._lanes:
            if lane.tasks and lane.function.worker.has_ended and self._events.empty():
                self._revive(lane)
            elif lane.tasks and time.monotonic() - lane.since > self._plan.block_seconds:
                lane.tasks[0].timeouts += 1
                error = WorkerError(
                    tr("The package did not answer within {seconds} seconds.", seconds=f"{self._plan.block_seconds:g}")
                )
                if lane.tasks[0].timeouts >= TIMEOUTS_PER_BLOCK:
                    raise _located(error, lane.tasks[0].block)
                self._feedback.warning(tr("{error} It is started again, and its blocks are repeated.", error=error))
                self._restart(lane)

    def _restart(self, lane: _Lane) -> None:
        """Start the function of a lane anew; its blocks, still in their slots, come first again."""
        self._ready.extendleft(reversed(lane.tasks))
        lane.tasks.clear()
        self.statistics.restarts += 1
        lane.function.restart(self._scalars)
        lane.function.worker.deliver_to(self._events.put)
        for other in self._lanes:
            other.since = time.monotonic()  # answers that came meanwhile are not late

    def _shrink(self, error: OutOfMemoryError) -> None:
        """After memory ran out, go on with a smaller batch: all workers anew, all blocks split."""
        smaller, batch = smaller_configuration(self._lanes[0].function, self._scalars, self._configuration, error)
        self._lanes[0].function.worker.deliver_to(self._events.put)
        self.statistics.restarts += 1
        text = tr("Out of memory: the run goes on with batch_size {batch} (it was {before}).", batch=batch,
                  before=self._scalars["batch_size"])  # fmt: skip
        self._feedback.warning(text)
        self._journal.note("batch_size", batch)
        self._scalars["batch_size"] = batch
        self._configuration = smaller
        for task in [*(task for lane in self._lanes for task in lane.tasks), *self._ready]:
            self._free.append(task.slot)
            self._split.extend(task.block.split(smaller, self._blocks.extent))
        self._split = deque(part for block in self._split for part in block.split(smaller, self._blocks.extent))
        self._ready.clear()
        for lane in self._lanes:
            lane.tasks.clear()
        for lane in self._lanes[1:]:
            self._restart(lane)


def _located(error: InferenceError, block: Block) -> InferenceError:
    """The same error, telling at which block."""
    where = tr("At the block at column {column}, row {row}: {error}", column=block.core.column, row=block.core.row, error=error)
    return type(error)(where, error.details)
