"""Goes on where an earlier run of the same plan stopped: checks that what it found still fits, and counts it."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple

from .blocks import Block
from .configuration import Configuration
from .errors import InferenceError, JournalError
from .feedback import Feedback
from .feeds import Feed
from .gaps import Gaps
from .grid import Window
from .journal import Journal
from .journal_file import AGREEMENT, DEVICE, NAME, RASTER, TOTAL
from .plan import InferencePlan
from .raster_function import FunctionAnswers, RasterFunction
from .shrinking import BATCH_SIZE, with_batch
from .translation import tr
from .work import Work


class Finished:
    """Which pixels an earlier run has finished, in blocks of whatever size it used."""

    def __init__(self, journal: Journal, extents: Sequence[Window]) -> None:
        self._journal, self._extents, self._sizes = journal, extents, journal.sizes()

    def covers(self, block: Block) -> bool:
        """Whether a finished block holds all pixels of this one's core; sizes divide each other exactly."""
        return any(self._journal.has(block.item, self._around(block, *size)) for size in self._sizes)

    def _around(self, block: Block, width: int, height: int) -> Window:
        core, extent = block.core, self._extents[block.item]
        left, top = core.column - extent.column, core.row - extent.row
        return Window(core.column - left % width, core.row - top % height, width, height)


def begin_or_resume(
    journal: Journal,
    plan: InferencePlan,
    function: RasterFunction,
    answers: FunctionAnswers,
    values: Mapping[str, str],
    work: Work,
    feedback: Feedback,
) -> None:
    """Take up what an earlier run found, if it was told the same by the package, and say so; write down what this one was told.

    Args:
        journal: Of this run's fingerprint.
        plan: The run.
        function: The function, opened.
        answers: What it told when it was configured.
        values: The values of all arguments.
        work: Its tally counts on from the earlier run.
        feedback: Told what is taken up.
    """
    if journal.was_unreadable:
        feedback.warning(tr("The journal of an earlier run was damaged, so the run starts anew."))
    agreement = _agreement(answers, values, work.feeds)
    if gaps := Gaps.blocks_in(journal.tally):
        journal.forget_blocks(gaps)
        feedback.info(tr("{count} blocks with gaps are read again.", count=len(gaps)))
    done, _, detections = journal.counts()
    if done and journal.noted(AGREEMENT) != agreement:
        feedback.warning(
            tr("An earlier run has finished {done} blocks, but the package answers other sizes, bands or values now, so the run "
               "starts anew.", done=done)
        )  # fmt: skip
        journal.forget()
        done = 0
    if done:
        feedback.info(
            tr("Going on with an earlier run: {done} of {total} blocks are finished, with {count} detections or labels. "
               "RESTART would begin anew.", done=done, total=journal.noted(TOTAL) or len(work.blocks), count=detections)
        )  # fmt: skip
        device = journal.noted(DEVICE)
        if device != function.device.name:
            feedback.warning(
                tr("The earlier blocks were searched on {before}, the others are on {now}; their results may differ slightly.",
                   before=device, now=function.device.name)
            )  # fmt: skip
        work.tally.restore(journal.tally)
    journal.note(
        {
            AGREEMENT: agreement,
            DEVICE: function.device.name,
            TOTAL: str(len(work.blocks)),
            NAME: plan.package.definition.name,
            RASTER: _named(plan),
        }
    )


def resumed_configuration(
    journal: Journal, functions: list[RasterFunction], values: dict[str, str], configuration: Configuration, feedback: Feedback
) -> tuple[Configuration, dict[str, str]]:
    """The configuration and the values to go on with: with a smaller batch where memory ran out in the earlier run.

    Raises:
        JournalError: The package does not take that batch any more.
    """
    batch = journal.noted(BATCH_SIZE)
    if batch is None:
        return configuration, values
    feedback.info(tr("Memory ran out in the earlier run, so this one goes on with its batch_size {batch}.", batch=batch))
    smaller = [with_batch(function, values, configuration, batch) for function in functions]
    if smaller[0] is None:
        raise JournalError(
            tr("The earlier run went on with batch_size {batch}, which the package does not take any more. Run it again with "
               "RESTART to begin anew.", batch=batch)
        )  # fmt: skip
    return smaller[0], {**values, BATCH_SIZE: batch}


def telling_what_is_kept(error: InferenceError, journal: Journal) -> InferenceError:
    """The same error, with the way to go on where blocks are finished."""
    done = 0
    with contextlib.suppress(JournalError):  # then that is the error
        done, total = journal.counts()[0], journal.noted(TOTAL)
    if not done:
        return error
    hope = tr("{done} of {total} blocks are kept: run it again with the same inputs to go on from there.", done=done, total=total)
    return type(error)(f"{error} {hope}", error.details)


def _named(plan: InferencePlan) -> str:
    """What a list of kept runs shows of the rasters."""
    first, others = plan.items[0].source.name, len(plan.items) - 1
    return tr("{first} and {count} others", first=first, count=others) if others else first


def _agreement(answers: FunctionAnswers, values: Mapping[str, str], feeds: Sequence[Feed]) -> str:
    """Everything that the package decides and the fingerprint does not tell; as a hash, as there may be secrets in it."""
    ranges = [None if feed.scaling is None else [feed.scaling.factors.tolist(), feed.scaling.offsets.tolist()] for feed in feeds]
    fields = [astuple(field) for field in answers.fields]
    told = [astuple(answers.configuration), dict(sorted(values.items())), answers.geometry_type, fields, ranges]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
