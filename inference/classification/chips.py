"""The chips of a run, in the order in which they are read: each is a pixel of one long row, and a block is a piece of it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..blocks import Block
from ..crop import Crop
from ..grid import Window
from ..item import Item
from .features import Features

PORTION = 4096
"""Chips that are sorted by their size, so that those of one size follow each other and still lie near each other."""
BLOCKS_AT_ONCE = 64
"""Blocks that may be on their way; so many chips, at least, are kept."""


@dataclass(frozen=True)
class Chip:
    """What the function sees of a feature.

    Attributes:
        number: Of the feature.
        item: The raster.
        window: Pixels of its grid; may reach beyond it.
        shape: WKB of a polygon in these pixels, outside of which the chip is black; None for all of it.
    """

    number: int
    item: int
    window: Window
    shape: bytes | None


class Chips:
    """Chips by their place in the row; may be asked by several threads."""

    def __init__(self, features: Features, crop: Crop) -> None:
        self._features, self._crop = features, crop
        self._portions: OrderedDict[int, list[Chip]] = OrderedDict()
        self._kept = 2 + BLOCKS_AT_ONCE * crop.batch_size // PORTION
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._features.chips

    @property
    def row(self) -> Window:
        """All chips, as pixels of a row."""
        return Window(0, 0, len(self), 1)

    def of(self, block: Block) -> list[Chip]:
        """The chips of a block; the last block may have fewer than others."""
        first, last = block.core.column, min(block.core.column + block.core.width, len(self))
        chips: list[Chip] = []
        for number in range(first // PORTION, -(-last // PORTION)):
            begin = number * PORTION
            chips += self._portion(number)[max(first - begin, 0) : last - begin]
        return chips

    def middle(self, place: int, items: tuple[Item, ...]) -> NDArray[Any]:
        """Map coordinates (x, y) of the middle of a chip, for users."""
        chip = self._portion(place // PORTION)[place % PORTION]
        return items[chip.item].source.grid.affine.middle_of(chip.window)

    def _portion(self, number: int) -> list[Chip]:
        """The chips of a portion; those that were asked for last are kept."""
        with self._lock:
            if number not in self._portions:
                self._portions[number] = self._cut(number)
                if len(self._portions) > self._kept:
                    self._portions.popitem(last=False)
            self._portions.move_to_end(number)
            return self._portions[number]

    def _cut(self, number: int) -> list[Chip]:
        places = self._features.places(number * PORTION, PORTION)
        if self._features.is_whole:
            width, height = self._crop.largest
            windows = np.tile([-self._crop.padding, -self._crop.padding, width, height], (len(places.numbers), 1))
        else:
            windows = self._crop.windows(places.boxes)
        order = np.lexsort((np.arange(len(windows)), windows[:, 3], windows[:, 2], places.items))
        shapes = places.shapes if self._crop.blackens else [None] * len(windows)
        return [
            Chip(int(places.numbers[place]), int(places.items[place]), Window(*map(int, windows[place])), shapes[place])
            for place in order.tolist()
        ]
