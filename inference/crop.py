"""Where a chip lies: the window around a feature that a classifier looks at (CONTRACT 3.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .grid import ROUNDING


@dataclass(frozen=True)
class Crop:
    """The crop rule of a classifier.

    Attributes:
        width, height: Size of a chip in pixels (tx, ty).
        padding: Pixels around it, on each side.
        is_fixed: Whether each chip has just that size (CropSizeFixed); else it is the smallest rectangle around the
            feature, unless that is larger.
        blackens: Whether pixels outside of a polygon are 0 (BlackenAroundFeature).
        batch_size: Chips in one call of the function, at most.
    """

    width: int
    height: int
    padding: int = 0
    is_fixed: bool = True
    blackens: bool = True
    batch_size: int = 1

    @property
    def largest(self) -> tuple[int, int]:
        """Width and height that no chip exceeds."""
        return self.width + 2 * self.padding, self.height + 2 * self.padding

    def windows(self, boxes: NDArray[Any]) -> NDArray[Any]:
        """The windows of features: (n, 4) int64 of first column and row, width and height.

        Args:
            boxes: (n, 4) left, top, right and bottom of each feature, in pixels of the grid. The middle of a box is the
                middle of a chip of fixed size, to the nearest pixel; a point has a box without size, so its chip is fixed.
        """
        size = np.array([self.width, self.height])
        windows = np.empty((len(boxes), 4), np.int64)
        windows[:, :2] = np.floor((boxes[:, :2] + boxes[:, 2:]) / 2 - size / 2 + 0.5)
        windows[:, 2:] = size
        if not self.is_fixed:
            low = np.floor(boxes[:, :2] + ROUNDING).astype(np.int64)
            around = np.maximum(np.ceil(boxes[:, 2:] - ROUNDING).astype(np.int64) - low, 1)
            fits = (around <= size).all(axis=1) & (boxes[:, 2:] > boxes[:, :2]).any(axis=1)
            windows[fits] = np.concatenate([low, around], axis=1)[fits]
        windows[:, :2] -= self.padding
        windows[:, 2:] += 2 * self.padding
        return windows
