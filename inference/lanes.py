"""The workers of a run with the blocks that each has; those that die or hang are replaced, and their blocks repeated."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .blocks import Block
from .errors import InferenceError, OutOfMemoryError, WorkerError
from .feedback import Feedback
from .raster_function import RasterFunction
from .rasters.source import Gap
from .slots import Part
from .translation import tr
from .worker import Reply

IN_FLIGHT = 2
"""Blocks that a worker has at a time: one it works on, one waiting in its pipe."""
DEATHS_PER_BLOCK = 3
TIMEOUTS_PER_BLOCK = 2
"""A block is given up after so many."""


@dataclass
class BlockTask:
    """A block in a slot, on its way through a worker."""

    block: Block
    slot: int
    parts: tuple[Part, ...]
    gap: Gap | None = None
    chips: tuple[int, ...] = ()
    calls: int = 1
    deaths: int = 0
    timeouts: int = 0


@dataclass(eq=False)
class Lane:
    """A worker with the blocks that it has, oldest first."""

    function: RasterFunction
    tasks: deque[BlockTask] = field(default_factory=deque)
    since: float = 0.0


class Lanes:
    """All workers of a run.

    Attributes:
        repeated: Blocks of workers that were replaced, which still lie in their slots and have to be given again.
        restarts: How many workers were started again.
    """

    def __init__(
        self,
        functions: list[RasterFunction],
        scalars: Mapping[str, str],
        deliver: Callable[[Reply], None],
        block_seconds: float,
        where: Callable[[Block], str],
        feedback: Feedback,
    ) -> None:
        """Take over functions that are ready for blocks.

        Args:
            functions: One a worker.
            scalars: Values of all arguments, for workers that are started anew.
            deliver: Called, in another thread, with everything that a worker answers.
            block_seconds: How long a function may take for one call.
            where: Tells users where a block lies.
            feedback: Told of every worker that is replaced.
        """
        self._lanes = [Lane(function) for function in functions]
        self._scalars, self._deliver = scalars, deliver
        self._block_seconds, self._where, self._feedback = block_seconds, where, feedback
        self.repeated: deque[BlockTask] = deque()
        self.restarts = 0
        for lane in self._lanes:
            lane.function.worker.deliver_to(deliver)

    @property
    def first(self) -> RasterFunction:
        """The function of the first worker."""
        return self._lanes[0].function

    @property
    def is_busy(self) -> bool:
        """Whether a worker has a block."""
        return any(lane.tasks for lane in self._lanes)

    @property
    def is_starving(self) -> bool:
        """Whether a worker has no block."""
        return any(not lane.tasks for lane in self._lanes)

    def free(self) -> Lane | None:
        """The worker with the fewest blocks, if it can take one more."""
        lane = min(self._lanes, key=lambda lane: len(lane.tasks))
        return lane if len(lane.tasks) < IN_FLIGHT else None

    def give(self, lane: Lane, task: BlockTask, batch: int | None) -> None:
        """Send a block to a worker; its chips in batches of at most so many."""
        if not lane.tasks:
            lane.since = time.monotonic()
        lane.tasks.append(task)
        task.calls = 1 if batch is None else calls_of(task.parts, batch)
        lane.function.request(task.slot, task.parts, batch)

    def answering(self, reply: Reply) -> Lane | None:
        """Whose answer it is; None for the last words of a worker that was replaced."""
        return next((lane for lane in self._lanes if lane.function.worker is reply.worker), None)

    def done(self, lane: Lane) -> None:
        """The oldest block of a worker is finished."""
        lane.tasks.popleft()
        lane.since = time.monotonic()

    def revive(self, lane: Lane) -> None:
        """Replace a worker that died; the block that it worked on may be tried again, twice.

        Raises:
            OutOfMemoryError: It was stopped for its memory; it keeps its blocks, and has to be restarted with others.
            WorkerError: That block has killed it too often.
        """
        error = lane.function.worker.death()
        if isinstance(error, OutOfMemoryError):
            raise error
        if lane.tasks:
            lane.tasks[0].deaths += 1
            if lane.tasks[0].deaths >= DEATHS_PER_BLOCK:
                raise located(error, self._where(lane.tasks[0].block))
        self._repeat(lane, error)

    def replace_hanging(self, is_waiting: Callable[[], bool]) -> None:
        """Replace workers that ended without a word, or take too long for their block.

        Args:
            is_waiting: Whether answers wait that were not looked at yet.

        Raises:
            OutOfMemoryError, WorkerError: As for `revive`.
        """
        for lane in self._lanes:
            if lane.tasks and lane.function.worker.has_ended and not is_waiting():
                self.revive(lane)
            elif lane.tasks and time.monotonic() - lane.since > self._block_seconds * lane.tasks[0].calls:
                lane.tasks[0].timeouts += 1
                seconds = f"{self._block_seconds * lane.tasks[0].calls:g}"
                error = WorkerError(tr("The package did not answer within {seconds} seconds.", seconds=seconds))
                if lane.tasks[0].timeouts >= TIMEOUTS_PER_BLOCK:
                    raise located(error, self._where(lane.tasks[0].block))
                self._repeat(lane, error)

    def restart_with(self, scalars: Mapping[str, str]) -> list[BlockTask]:
        """Go on with other values of the arguments; the first worker runs with them already, the others start anew.

        Returns:
            All blocks that workers had, or that were to be repeated.
        """
        self._scalars = scalars
        self.restarts += 1
        self.first.worker.deliver_to(self._deliver)
        tasks = [*self.repeated, *(task for lane in self._lanes for task in lane.tasks)]
        self.repeated.clear()
        for lane in self._lanes:
            lane.tasks.clear()
        for lane in self._lanes[1:]:
            self._restart(lane)
        return tasks

    def _repeat(self, lane: Lane, error: InferenceError) -> None:
        self._feedback.warning(tr("{error} It is started again, and its blocks are repeated.", error=error))
        self.repeated.extend(lane.tasks)
        lane.tasks.clear()
        self._restart(lane)

    def _restart(self, lane: Lane) -> None:
        self.restarts += 1
        lane.function.restart(self._scalars)
        lane.function.worker.deliver_to(self._deliver)
        for other in self._lanes:
            other.since = time.monotonic()  # answers that came meanwhile are not late


def calls_of(parts: Sequence[Part], batch: int) -> int:
    """How often a function is called for chips: those that follow each other and are alike, so many at a time."""
    alike = itertools.groupby(parts, key=lambda part: (part.shape, part.dtype))
    return sum(-(-len(list(group)) // batch) for _, group in alike)


def located(error: InferenceError, where: str) -> InferenceError:
    """The same error, telling where it happened."""
    return type(error)(tr("{where}: {error}", where=where, error=error), error.details)
