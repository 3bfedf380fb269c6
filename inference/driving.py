"""Opens a package's function in all its workers and drives the work of a run through them into the journal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Protocol

from .agreement import agree
from .configuration import Configuration
from .feedback import Feedback, stop_if_canceled
from .feeds import Feed, Scaling
from .item import Item
from .item_reader import BlockRead
from .journal import Journal
from .lanes import IN_FLIGHT
from .pipeline import Pipeline, Statistics
from .plan import InferencePlan
from .raster_function import Device, RasterFunction
from .readers import Readers
from .resuming import begin_or_resume, resumed_configuration
from .run_log import announce
from .slots import Slots
from .work import Opened, Tally, Work


@dataclass(frozen=True)
class Driven:
    """What driving a run's work has left, beside the journal.

    Attributes:
        statistics: What it did.
        device: Where the network ran.
        values: The values of all arguments, as text.
        bands: Those that the model reads, from 0.
        tally: What took the answers.
    """

    statistics: Statistics
    device: Device
    values: dict[str, str]
    bands: tuple[int, ...]
    tally: Tally


class MakeWork(Protocol):
    """Makes the work of a run, once the function has told how it wants its pixels."""

    def __call__(self, plan: InferencePlan, opened: Opened, feedback: Feedback) -> Work:
        """Make it."""


def drive(plan: InferencePlan, make_work: MakeWork, journal: Journal, feedback: Feedback) -> Driven:
    """Open the function in all its workers and drive all blocks through them into the journal."""
    with ExitStack() as stack:
        slots = Slots()
        stack.callback(slots.close)
        function = _started(plan, slots, feedback, stack, 0)
        values, arguments, answers = agree(plan, function, feedback)
        work = make_work(plan, Opened(arguments, answers, slots), feedback)
        functions = [function, *_further(plan, function, values, slots, feedback, stack)]
        # Slots for the blocks in flight, as many again that wait for a worker, and three for each reader.
        slots.allocate(work.block_bytes, 2 * IN_FLIGHT * len(functions) + 3 * plan.readers, IN_FLIGHT)
        for each in functions:
            each.share()
        announce(plan, work, len(functions), feedback)

        def make_readers(deliver: Callable[[BlockRead], None]) -> Readers:
            return Readers(work.open_reader, deliver, plan.readers)

        begin_or_resume(journal, plan, function, answers, values, work, feedback)
        configuration, values = resumed_configuration(journal, functions, values, work.configuration, feedback)
        pipeline = Pipeline(
            functions, plan, work.blocks, configuration, values, make_readers, slots, work.tally, journal, feedback
        )
        statistics = pipeline.run()
        work.tally.gaps.tell(feedback)
        return Driven(statistics, function.device, values, work.feeds[0].bands, work.tally)


def feed_of(item: Item, configuration: Configuration, feedback: Feedback) -> Feed:
    """How the pixels of an item reach the function."""
    stop_if_canceled(feedback)
    bands = configuration.band_indices(item.source.grid)
    if configuration.data_range is None:
        return Feed(item.source, bands, None)
    # Looked at by a clone: there may be more items than files can be open.
    with closing(item.source.clone()) as source:
        return Feed(item.source, bands, Scaling.of(source, bands, configuration.data_range))


def _started(plan: InferencePlan, slots: Slots, feedback: Feedback, stack: ExitStack, gpu: int) -> RasterFunction:
    function = RasterFunction(plan.package, plan.hosting, slots, feedback, gpu)
    stack.callback(function.kill)
    return function


def _further(
    plan: InferencePlan,
    first: RasterFunction,
    values: dict[str, str],
    slots: Slots,
    feedback: Feedback,
    stack: ExitStack,
) -> list[RasterFunction]:
    """The other workers: one for each further GPU, or as many as the plan wants."""
    gpus = max(first.device.count, 1)
    count = plan.workers or gpus
    functions = [_started(plan, slots, feedback, stack, number % gpus) for number in range(1, count)]
    for function in functions:
        function.open(plan.values)
        function.configure(values)
    return functions
