"""What a run asks of its function: pieces of rasters to search, or chips to classify. The pipeline drives either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .arguments import ModelArgument
from .blocks import Block, Blocks
from .configuration import Configuration
from .feeds import Feed
from .gaps import Gaps
from .item_reader import BlockReader, Pause
from .raster_function import FunctionAnswers
from .slots import Slots
from .worker import Reply

if TYPE_CHECKING:
    from .lanes import BlockTask


class Tally(Protocol):
    """Turns answers into what the journal keeps, and keeps count."""

    gaps: Gaps

    def take(self, reply: Reply, task: BlockTask) -> Any:  # noqa: ANN401 - Detections or Labels, as the journal takes them
        """What an answer holds.

        Raises:
            FeatureSetError: It cannot be used.
        """

    def where(self, block: Block) -> str:
        """Where a block lies, for users."""

    def to_text(self) -> str:
        """All counts as JSON, for the journal."""

    def restore(self, text: str) -> None:
        """Count on from what `to_text` gave."""


@dataclass(frozen=True)
class Opened:
    """A function that is ready for work.

    Attributes:
        arguments: Those that it declares.
        answers: What it told of itself with their values.
        slots: Where its blocks will lie.
    """

    arguments: Sequence[ModelArgument]
    answers: FunctionAnswers
    slots: Slots


@dataclass(frozen=True)
class Work:
    """One run's work, once the function has told how it wants its pixels.

    Attributes:
        blocks: All requests.
        configuration: How they are cut.
        feeds: How pixels are read, one an item.
        tally: Takes the answers.
        block_bytes: What the largest block takes in a slot.
        open_reader: Makes what reads blocks, for one thread.
    """

    blocks: Blocks
    configuration: Configuration
    feeds: Sequence[Feed]
    tally: Tally
    block_bytes: int
    open_reader: Callable[[Pause], BlockReader]
