"""Outlines of masks: the border following of Suzuki and Abe 1985, as OpenCV's findContours gives it with every pixel.

A step of a border is a pixel with the direction of the one before. All steps of a mask and where each leads are found
at once from the eight neighbours of each pixel; what is left is to walk along them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ring = list[list[int]]
Points = NDArray[np.int64]
_ROWS, _COLUMNS = (0, -1, -1, -1, 0, 1, 1, 1), (1, 1, 0, -1, -1, -1, 0, 1)
"""Directions: east, north-east, north, … against the clock."""
EAST, WEST = 0, 4
LEAST_POINTS = 3


def outlines(mask: NDArray[np.bool_]) -> list[list[Ring]]:
    """The outermost contours, lowest start first, each with the contours of its holes; points are x, y of pixels.

    What lies in a hole of another is left out, as are contours without extent.

    Args:
        mask: (height, width).
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return []
    top, left = int(rows[0]), int(columns[0])
    part = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1)
    outer, holes = _borders(part)
    owned: list[list[Points]] = [[] for _ in outer]
    for hole in holes:
        owned[_owner(hole[0] + np.array([1, 0]), outer)].append(hole)
    is_shown = [len(outer) == 1 or not any(_inside(ring[0], hole) for hole in holes) for ring in outer]
    shift = (left - 1, top - 1)
    return [
        [(ring + shift).tolist() for ring in (outer[number], *reversed(owned[number])) if _has_extent(ring)]
        for number in reversed(range(len(outer)))
        if is_shown[number] and _has_extent(outer[number])
    ]


def _table() -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For the set neighbours of a pixel (as bits) and the direction before: the next one, and which directions lie between."""
    following, between = np.zeros((256, 8), np.int64), np.zeros((256, 8, 8), bool)
    for bits in range(1, 256):
        for before in range(8):
            turn = next(step for step in range(1, 9) if bits >> (before + step) % 8 & 1)
            following[bits, before] = (before + turn) % 8
            between[bits, before, [(before + step) % 8 for step in range(1, turn)]] = True
    return following, between


_FOLLOWING, _BETWEEN = _table()
_IS_SET = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(bool)
_IS_BORDER = _IS_SET & _BETWEEN[:, :, ::2].any(2)
"""Steps that pass an empty pixel to the north, east, south or west; the others go round inside the mask."""


def _borders(part: NDArray[np.bool_]) -> tuple[list[Points], list[Points]]:
    """Outer borders and those of holes, in the order in which a scan meets them; `part` has an empty frame."""
    width = part.shape[1]
    flat = part.ravel()
    offsets = np.array([row * width + column for row, column in zip(_ROWS, _COLUMNS)])
    pixels = np.flatnonzero(flat)
    bits = np.zeros(len(pixels), np.int64)
    for direction, offset in enumerate(offsets):
        bits |= flat[pixels + offset].astype(np.int64) << direction
    place, before = np.nonzero(_IS_BORDER[bits])
    own, state = bits[place], pixels[place] * 8 + before
    turned = _FOLLOWING[own, before]
    target = (pixels[place] + offsets[turned]) * 8 + (turned + 4) % 8
    successors = np.searchsorted(state, target).tolist()
    passes = _BETWEEN[own, before]
    # A scan looks at the west side of a pixel before the east side.
    found = [(pixels[place[number]], side == EAST, number) for side in (WEST, EAST) for number in np.flatnonzero(passes[:, side])]
    visited = [False] * len(successors)
    borders: tuple[list[Points], list[Points]] = [], []
    for _, is_hole, start in sorted(found):
        walked = []
        step = start
        while not visited[step]:
            visited[step] = True
            walked.append(step)
            step = successors[step]
        if walked:
            y, x = np.divmod(pixels[place[walked]], width)
            borders[is_hole].append(np.stack([x, y], 1))
    return borders


def _has_extent(ring: Points) -> bool:
    return len(ring) >= LEAST_POINTS and bool((np.ptp(ring, 0) > 0).all())


def _owner(inside: NDArray[Any], rings: list[Points]) -> int:
    """The smallest ring around a pixel of a hole."""
    if len(rings) == 1:
        return 0
    return min((number for number, ring in enumerate(rings) if _inside(inside, ring)), key=lambda number: _area(rings[number]))


def _inside(point: NDArray[Any], ring: Points) -> bool:
    """Whether a pixel that is none of a ring's lies inside; no other pixel can lie on its edges."""
    ahead = np.roll(ring, -1, 0)
    crosses = (ring[:, 1] > point[1]) != (ahead[:, 1] > point[1])
    run, rise = ahead[crosses, 0] - ring[crosses, 0], ahead[crosses, 1] - ring[crosses, 1]
    at = ring[crosses, 0] + run * (point[1] - ring[crosses, 1]) / rise
    return bool(np.count_nonzero(at > point[0]) % 2)


def _area(ring: Points) -> float:
    ahead = np.roll(ring, -1, 0)
    return abs(float((ring[:, 0] * ahead[:, 1] - ahead[:, 0] * ring[:, 1]).sum()))
