"""How a block holds the network's inputs, and which of their boxes count (CONTRACT 3.4 and 3.5)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

EDGE = 2.0
"""Pixels; a box that ends so near to an edge of its mini-tile is cut off."""


@dataclass(frozen=True)
class MiniTiles:
    """A square of mini-tiles that overlap by their paddings.

    Attributes:
        side: Of a mini-tile in pixels.
        padding: Of a mini-tile, and so of the block.
        per_side: How many lie side by side.
    """

    side: int
    padding: int
    per_side: int

    @classmethod
    def of(cls, side: int, padding: int, batch: int) -> MiniTiles:
        """As many as the largest square of a batch."""
        return cls(side, padding, max(math.isqrt(batch), 1))

    @property
    def inner(self) -> int:
        """Side of what is a mini-tile's own."""
        return self.side - 2 * self.padding

    @property
    def core(self) -> int:
        """Side of a block without its padding."""
        return self.inner * self.per_side

    def cut(self, block: NDArray[Any]) -> NDArray[Any]:
        """The mini-tiles (n, bands, side, side) of a block (bands, height, width), row by row.

        What a block lacks at its right and lower end is filled with 0.
        """
        bands, full = block.shape[0], self.core + 2 * self.padding
        if block.shape[1:] != (full, full):
            whole = np.zeros((bands, full, full), block.dtype)
            whole[:, : block.shape[1], : block.shape[2]] = block[:, :full, :full]
            block = whole
        starts = [(row * self.inner, column * self.inner) for row in range(self.per_side) for column in range(self.per_side)]
        return np.stack([block[:, y : y + self.side, x : x + self.side] for y, x in starts])

    def origins(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n, 2): y and x of the corner of mini-tiles, from the corner of the block without its padding."""
        corners: NDArray[np.int64] = np.stack(np.divmod(numbers, self.per_side), 1) * self.inner - self.padding
        return corners

    def is_cut(self, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which boxes (n, 4: y1, x1, y2, x2 in their mini-tile) end at an edge."""
        distances = np.concatenate([boxes[:, :2], self.side - boxes[:, 2:]], 1)
        is_cut: NDArray[np.bool_] = (np.abs(distances) < EDGE).any(1)
        return is_cut

    def is_outside(self, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which boxes have their middle in the padding above or below.

        Esri's wrapper looks at rows only, and so does this: what lies to the left or right keeps its confidence.
        """
        middle = (boxes[:, 0] + boxes[:, 2]) / 2
        return (middle < self.padding) | (middle > self.side - self.padding)

    def is_inside(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which points (n, 2: y, x in their mini-tile) are the mini-tile's own."""
        inside: NDArray[np.bool_] = ((points >= self.padding) & (points <= self.side - self.padding)).all(1)
        return inside
