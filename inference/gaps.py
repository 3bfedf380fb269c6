"""Counts the pixels that cannot be had: tiles that are missing, blocks that cannot be read. None of them is silent."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import Block
from .errors import RasterError
from .feedback import Feedback
from .grid import Window
from .plan import InferencePlan
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

    def __init__(self, plan: InferencePlan) -> None:
        self._plan = plan
        self.pixels = self.blocks = 0
        self._places: list[str] = []
        self._reason = ""

    def check(self, block: Block, gap: Gap) -> None:
        """Stop the run if more is missing with this gap than the plan allows; it is not counted yet.

        Raises:
            RasterError: It is.
        """
        tried = copy(self)
        tried.take(block, gap)
        if tried.pixels > self._plan.max_missing * self._plan.pixels:
            raise RasterError(
                tr("{text} Run it again when the source is complete, or allow gaps with MAX_MISSING (now {allowed:g} %).",
                   text=tried._sentence(), allowed=self._plan.max_missing * 100)
            )  # fmt: skip

    def take(self, block: Block, gap: Gap) -> None:
        """Count what is missing of a finished block."""
        item = self._plan.items[block.item]
        core = block.core.intersection(item.extent)
        lost = [part for window in gap.windows if core and (part := window.intersection(core))]
        if not lost:
            return  # beside the core, so a neighbour counts it
        self.pixels += sum(part.pixels for part in lost)
        self.blocks += 1
        self._reason = self._reason or gap.reason
        x, y = item.source.grid.affine.apply(_middle(lost[0]))[0]
        self._places = [*self._places, f"{x:.8g}, {y:.8g}"][:MOST_PLACES]

    def tell(self, feedback: Feedback) -> None:
        """Say at the end what was not searched."""
        if self.pixels:
            feedback.warning(self._sentence())

    def _sentence(self) -> str:
        return tr(
            "{share:.3g} % of the pixels could not be had, in {blocks} block(s), at {places}: {reason}",
            share=100 * self.pixels / self._plan.pixels, blocks=self.blocks, places="; ".join(self._places), reason=self._reason,
        )  # fmt: skip

    def to_json(self) -> list[Any]:
        """All of it, for a journal."""
        return [self.pixels, self.blocks, self._places, self._reason]

    def restore(self, kept: list[Any]) -> None:
        """Count on from what `to_json` gave."""
        self.pixels, self.blocks, self._places, self._reason = kept


def _middle(window: Window) -> NDArray[Any]:
    return np.array([[window.column + window.width / 2, window.row + window.height / 2]])
