"""Turns what a function answered about a block of chips into labels, and keeps count of what went wrong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ..blocks import Block
from ..crop import Crop
from ..errors import FeatureSetError, WorkerError
from ..fields import Field
from ..gaps import Gaps
from ..grid import Window
from ..lanes import BlockTask
from ..plan import InferencePlan
from ..translation import tr
from ..worker import Reply
from .chips import Chips
from .labels import Answer, LabelDecoder, Labels, to_text

LONGEST_PROBLEM = 1000


class Call(NamedTuple):
    """A call of the function: how many chips it was about, how many bytes it answered, what is wrong with them."""

    chips: int
    size: int
    problem: str


@dataclass
class LabelTally:
    """The counts of all blocks so far; a journal keeps them, so that a resumed run counts on.

    Attributes:
        plan: The run, with the rasters as they are read.
        chips: All of it.
        decoder: Reads the answers.
        crop: How chips are cut and grouped.
        failed_batches: Batches that got no labels, as the function's answer could not be used.
        failed: Chips of these.
        nameless: Chips of which the function said something, but no label.
        failure: What was wrong with the first one.
        gaps: What could not be read; a chip counts as one pixel.
    """

    plan: InferencePlan
    chips: Chips
    decoder: LabelDecoder
    crop: Crop
    failed_batches: int = field(default=0, init=False)
    failed: int = field(default=0, init=False)
    nameless: int = field(default=0, init=False)
    failure: str = field(default="", init=False)
    _again: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        self.gaps = Gaps([self.chips.row], self._place, self.plan.max_missing, tr("features"))

    def _place(self, item: int, window: Window) -> NDArray:  # type: ignore[type-arg]  # noqa: ARG002 - all chips lie in one row
        return self.chips.middle(window.column, self.plan.items)

    def where(self, block: Block) -> str:
        """Where the first feature of a block lies, for users."""
        x, y = self.chips.middle(block.core.column, self.plan.items)
        return tr("At one of {count} features near {x:.8g}, {y:.8g}", count=len(self.chips.of(block)), x=x, y=y)

    def take(self, reply: Reply, task: BlockTask) -> Labels:
        """The labels of a block; a batch whose answer cannot be used has none, and is counted.

        Raises:
            WorkerError: The answer tells of other chips than were sent.
        """
        chips = self.chips.of(task.block)
        sent = [chips[place] for place in task.chips]
        before = self._counts()
        answers = self._answers(reply.payload, calls_of(reply.message, len(sent), len(reply.payload)))
        known = [(chip, answer) for chip, answer in zip(sent, answers) if answer is not None]
        self.nameless += sum(answer.label is None for _, answer in known)
        if task.gap is not None:
            self._again.update(self._counts() - before)
        return Labels([(chip.number, chip.item, to_text(answer)) for chip, answer in known])

    def _counts(self) -> Counter[str]:
        return Counter(batches=self.failed_batches, failed=self.failed, nameless=self.nameless)

    def _answers(self, payload: bytes, calls: Sequence[Call]) -> Iterator[Answer | None]:
        """One for each chip that was sent, in their order; None where the batch failed."""
        start = 0
        for count, length, problem in calls:
            text = payload[start : start + length]
            start += length
            try:
                if problem:
                    raise FeatureSetError(problem)
                yield from self.decoder.decode(text, count, self.crop.batch_size)
            except FeatureSetError as error:
                self.failed_batches += 1
                self.failed += count
                self.failure = self.failure or str(error).rstrip(".")
                yield from [None] * count

    def to_text(self) -> str:
        """All counts, and what was learned of fields, as JSON; without the blocks with gaps, which count anew."""
        decoder = self.decoder
        learned = {key: astuple(value) for key, value in decoder.learned.items()}
        kept = self._counts() - self._again
        counts = [kept["batches"], kept["failed"], kept["nameless"], self.failure]
        known = [learned, sorted(decoder.used), decoder.has_text]
        return json.dumps({"counts": counts, "learned": known, "gaps": self.gaps.to_json()})

    def restore(self, text: str) -> None:
        """Count on from what `to_text` gave."""
        kept, decoder = json.loads(text), self.decoder
        self.failed_batches, self.failed, self.nameless, self.failure = kept["counts"]
        learned, used, decoder.has_text = kept["learned"]
        decoder.learned = {key: Field(*value) for key, value in learned.items()}
        decoder.used = set(used)


def calls_of(message: Mapping[str, Any] | None, sent: int, size: int) -> list[Call]:
    """Chips, bytes and problem of each call that the worker made; it is not trusted.

    Args:
        message: Its answer.
        sent: Chips that it got.
        size: Bytes of all feature sets.

    Raises:
        WorkerError: They are no such numbers, or not about what was sent.
    """
    calls = (message or {}).get("answers")
    known: list[Call] = []
    for call in calls if isinstance(calls, list) else []:
        if not isinstance(call, list) or len(call) != len(Call._fields) or not all(type(number) is int for number in call[:2]):
            break
        known.append(Call(call[0], call[1], str(call[2])[:LONGEST_PROBLEM]))
    fits = all(call.chips > 0 and call.size >= 0 for call in known)
    if not fits or sum(call.chips for call in known) != sent or sum(call.size for call in known) != size:
        raise WorkerError(tr("The inference process answered something that is no answer about {count} features.", count=sent))
    return known
