"""Reads the chips of a block into a slot, one behind the other; those without a valid pixel are left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from ..blocks import Block
from ..grid import Window
from ..item_reader import BlockRead, ItemReader
from ..rasters.masked import covered, polygonal
from ..rasters.source import Gap
from ..slots import Part, Slots
from .chips import Chip, Chips

RIM = 1e-6
"""Share of a pixel along its edges that is not looked at: coordinates are no more exact."""


class ChipReader:
    """A BlockReader for a classifier."""

    def __init__(self, reader: ItemReader, chips: Chips, slots: Slots, chip_bytes: int) -> None:
        """Open nothing yet.

        Args:
            reader: Reads windows.
            chips: All of the run.
            slots: Where pixels lie.
            chip_bytes: What the largest chip takes.
        """
        self._reader, self._chips, self._slots, self._chip_bytes = reader, chips, slots, chip_bytes

    def read(self, block: Block, slot: int) -> BlockRead:
        """See BlockReader; a chip of which a part could not be had is missing, as its feature cannot be judged."""
        parts: list[Part] = []
        present: list[int] = []
        missing: list[Window] = []
        reason = ""
        for place, chip in enumerate(self._chips.of(block)):
            found = self._reader.read(chip.item, chip.window, slot, len(parts) * self._chip_bytes)
            if found.error:
                return BlockRead(block, slot, error=found.error)
            if found.gap is not None:
                missing.append(Window(block.core.column + place, 0, 1, 1))
                reason = reason or found.gap.reason
            elif found.part is not None:
                part = self._blackened(slot, found.part, chip)
                if part is not None:
                    parts.append(part)
                    present.append(place)
        gap = Gap(tuple(missing), reason) if missing else None
        return BlockRead(block, slot, tuple(parts), gap, chips=tuple(present))

    def close(self) -> None:
        """See BlockReader."""
        self._reader.close()

    def _blackened(self, slot: int, part: Part, chip: Chip) -> Part | None:
        """The chip with 0 where its mask is 0 and outside of its polygon; None where nothing valid is left."""
        masked = part if chip.shape is None else replace(part, mask_bands=part.mask_bands or 1)
        pixels, mask = self._slots.arrays(slot, masked)
        if chip.shape is not None:
            if not part.mask_bands:
                mask[...] = 1
            mask *= _inside(chip.shape, chip.window)
        if masked.mask_bands:
            pixels[np.broadcast_to(mask, pixels.shape) == 0] = 0
            return masked if mask.any() else None
        return masked


def _inside(wkb: bytes, window: Window) -> NDArray[Any]:
    """Which pixels of a window have their centre inside a polygon; those that it touches, where it is too small for any."""
    shape = shapely.from_wkb(wkb)
    parts = shapely.make_valid(shapely.get_parts(shape))  # one by one: parts that overlap are no holes
    polygons = polygonal(shapely.union_all(parts))
    inside = covered(polygons, window)
    return inside if inside.any() else _touched(shape.boundary if polygons.is_empty else polygons, window)


def _touched(shape: Any, window: Window) -> NDArray[Any]:  # noqa: ANN401 - shapely has no type stubs
    """Which pixels of a window a small shape reaches into, by more than a corner: 1, others 0 (uint8)."""
    left, top, right, bottom = np.floor(shape.bounds).astype(int).tolist()
    columns = np.arange(max(left, window.column), min(right + 1, window.column + window.width))
    rows = np.arange(max(top, window.row), min(bottom + 1, window.row + window.height))
    x, y = np.meshgrid(columns, rows)
    reached = np.zeros((window.height, window.width), np.uint8)
    for rim in (RIM, 0.0):
        boxes = shapely.box(x + rim, y + rim, x + 1 - rim, y + 1 - rim)
        reached[y - window.row, x - window.column] = shapely.intersects(shape, boxes)
        if reached.any():
            break
    return reached
