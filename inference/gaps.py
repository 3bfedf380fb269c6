"""Counts the pixels that cannot be had: tiles that are missing, blocks that cannot be read. None of them is silent."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from .blocks import Block
from .errors import RasterError
from .feedback import Feedback
from .grid import Window
from .rasters.source import Gap
from .translation import tr

MOST_PLACES = 5
"""Places that a message names."""


class Gaps:
    """What is missing of a run so far.

    Attributes:
        pixels: How many are missing of those to be searched.
        blocks: How many blocks they lie in.
    """

    def __init__(
        self, extents: Sequence[Window], place: Callable[[int, Window], NDArray[Any]], max_missing: float, unit: str = ""
    ) -> None:
        """Nothing is missing yet.

        Args:
            extents: The pixels to be searched, one window an item.
            place: Map coordinates (x, y) of the middle of a window of an item.
            max_missing: Share (0 to 1) of the pixels that may be missing.
            unit: What a pixel is, for users; pixels, if it is empty.
        """
        self._extents, self._place, self._max_missing = extents, place, max_missing
        self._unit = unit or tr("pixels")
        self._total = sum(extent.pixels for extent in extents)
        self.pixels = self.blocks = 0
        self._waiting: dict[tuple[int, int, int], int] = {}
        self._cores: list[list[int]] = []
        self._places: list[str] = []
        self._reason = ""

    def check(self, block: Block, gap: Gap) -> None:
        """Stop the run if more is missing with this gap than the plan allows; it is counted when the block is finished.

        Raises:
            RasterError: It is.
        """
        lost = self._lost(block, gap)
        if not lost:
            return
        self._waiting[block.key] = sum(part.pixels for part in lost)
        self._note(block, lost[0], gap.reason)
        missing = self.pixels + sum(self._waiting.values())
        if missing > self._max_missing * self._total:
            raise RasterError(
                tr("{text} Run it again when the source is complete, or allow gaps with MAX_MISSING (now {allowed:g} %).",
                   text=self._sentence(missing, self.blocks + len(self._waiting)), allowed=self._max_missing * 100)
            )  # fmt: skip

    def take(self, block: Block, gap: Gap) -> None:
        """Count what is missing of a finished block."""
        self._waiting.pop(block.key, None)
        lost = self._lost(block, gap)
        if not lost:
            return
        core = block.core
        self.pixels += sum(part.pixels for part in lost)
        self.blocks += 1
        self._cores.append([block.item, core.row, core.column, core.width, core.height])
        self._note(block, lost[0], gap.reason)

    def _lost(self, block: Block, gap: Gap) -> list[Window]:
        """What of a block's core is missing; what lies beside it is counted by a neighbour."""
        core = block.core.intersection(self._extents[block.item])
        return [part for window in gap.windows if core and (part := window.intersection(core))]

    def _note(self, block: Block, lost: Window, reason: str) -> None:
        self._reason = self._reason or reason
        x, y = self._place(block.item, lost)
        place = f"{x:.8g}, {y:.8g}"
        if place not in self._places and len(self._places) < MOST_PLACES:
            self._places.append(place)

    def tell(self, feedback: Feedback) -> None:
        """Say at the end what was not searched."""
        if self.pixels:
            feedback.warning(self._sentence(self.pixels, self.blocks))

    def _sentence(self, missing: int, blocks: int) -> str:
        return tr(
            "{share:.3g} % of the {unit} could not be had, in {blocks} block(s), at {places}: {reason}", unit=self._unit,
            share=100 * missing / self._total, blocks=blocks, places="; ".join(self._places), reason=self._reason,
        )  # fmt: skip

    @staticmethod
    def blocks_in(text: str) -> list[tuple[int, int, int, int, int]]:
        """Item, row, column, width and height of the blocks with gaps, of the text of a tally; none of an empty one."""
        return [tuple(core) for core in json.loads(text)["gaps"]] if text else []

    def to_json(self) -> list[list[int]]:
        """The blocks with gaps, for a journal: a run that goes on asks for them again."""
        return self._cores
