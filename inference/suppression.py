"""Non maximum suppression as ArcGIS does it: within each class, then across all classes (CONTRACT 6).

Exact and deterministic. The best features that are still alive are compared among themselves, those that stay
suppress everything worse that overlaps them, and so on with the next best: however crowded the features are,
the pairs in memory stay bounded, as the crowd dies with its best.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from .curve import along_curve

ROUNDING = 1e-7
"""Overlap ratio that counts as touching: edges of neighbours differ by the rounding of coordinates, which for northings in
metres is 5e-10, and so for objects of one pixel of a centimetre 5e-8 of them."""
FIRST_HEAD = 20_000
"""Best features whose crowding is looked at."""
SAMPLE = 128
"""How many of them are asked for their neighbours."""
PAIR_BUDGET = 4_000_000
"""Pairs compared at a time among the best."""
PORTION = 500_000
"""Pairs in memory at a time."""
KEPT = -1


def suppress(
    geometries: NDArray[Any],
    confidence: NDArray[Any],
    classes: NDArray[Any],
    max_overlap: float,
    check: Callable[[], None] = lambda: None,
) -> NDArray[Any]:
    """Find which features a better one suppresses.

    Args:
        geometries: (n,) shapely geometries, all in one coordinate system. Points overlap where they are equal.
        confidence: (n,) float; NaN is worse than any number. Ties: larger area, then smaller y, x and index first.
        classes: (n,) class values.
        max_overlap: Greatest ratio of intersection area to union area that two kept features may have, 0 to 1.
        check: Called now and then; raises when the user stopped the run.

    Returns:
        (n,) int64: the index of the feature that suppressed each one, or KEPT.
    """
    suppressor = np.full(len(geometries), KEPT, np.int64)
    if len(geometries) < 2 or max_overlap >= 1:  # noqa: PLR2004 - a pair
        return suppressor
    shapes = _Shapes.of(geometries, check)
    ranked = _ranked(shapes, confidence)
    _, groups = np.unique(classes.astype(str), return_inverse=True)
    groups = groups.reshape(-1)
    survivors = _pass(shapes, ranked, groups, max_overlap, suppressor)
    if groups.max() > 0:
        _pass(shapes, survivors, np.zeros_like(groups), max_overlap, suppressor)
    return suppressor


@dataclass(frozen=True)
class _Shapes:
    """Geometries with what the comparison of pairs needs."""

    geometries: NDArray[Any]
    bounds: NDArray[Any]
    area: NDArray[Any]
    is_box: NDArray[Any]
    curve: NDArray[Any]
    check: Callable[[], None]

    @classmethod
    def of(cls, geometries: NDArray[Any], check: Callable[[], None]) -> _Shapes:
        invalid = ~shapely.is_valid(geometries)
        if invalid.any():
            geometries = geometries.copy()
            geometries[invalid] = shapely.make_valid(geometries[invalid])
        bounds, area = shapely.bounds(geometries), shapely.area(geometries)
        envelope = (bounds[:, 2] - bounds[:, 0]) * (bounds[:, 3] - bounds[:, 1])
        five = shapely.get_num_coordinates(geometries) == 5  # noqa: PLR2004 - a closed ring of four corners
        is_box = five & (np.abs(area - envelope) <= 1e-9 * envelope) & (area > 0)
        low = bounds[:, :2]
        curve = along_curve(low, low.min(axis=0), np.ptp(low, axis=0))
        return cls(geometries, bounds, area, is_box, curve, check)

    def ratio(self, first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
        """Intersection over union of pairs of indices; 1 for equal features without area."""
        a, b = self.bounds[first], self.bounds[second]
        width = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0])
        height = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1])
        common = np.maximum(width, 0) * np.maximum(height, 0)
        other = np.flatnonzero(~(self.is_box[first] & self.is_box[second]) & (common > 0))
        if len(other):
            left, right = self.geometries[first[other]], self.geometries[second[other]]
            common[other] = shapely.area(shapely.intersection(left, right))
        union = self.area[first] + self.area[second] - common
        ratio = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
        flat = np.flatnonzero(union <= 0)
        if len(flat):
            ratio[flat] = shapely.equals(self.geometries[first[flat]], self.geometries[second[flat]])
        return np.asarray(ratio)


def _ranked(shapes: _Shapes, confidence: NDArray[Any]) -> NDArray[Any]:
    """Indices from best to worst."""
    score = np.where(np.isnan(confidence), -np.inf, confidence)
    index = np.arange(len(score))
    return np.asarray(np.lexsort((index, shapes.bounds[:, 0], shapes.bounds[:, 1], -shapes.area, -score)))


def _pass(
    shapes: _Shapes, ranked: NDArray[Any], groups: NDArray[Any], max_overlap: float, suppressor: NDArray[Any]
) -> NDArray[Any]:
    """One greedy pass over features given best first; only features of one group suppress each other.

    Returns:
        The features that stay, best first.
    """
    threshold, alive = max_overlap + ROUNDING, ranked
    kept: list[NDArray[Any]] = []
    while len(alive):
        tree, head = _head(shapes, alive)
        decided = _decide(shapes, tree, head, groups, threshold)
        stays = decided == KEPT
        suppressor[head[~stays]] = head[decided[~stays]]
        best = head[stays]
        kept.append(best)
        rest = alive[len(head) :]
        killer = _killers(shapes, best, rest, groups, threshold)
        dead = killer != KEPT
        suppressor[rest[dead]] = best[killer[dead]]
        alive = rest[~dead]
    return np.concatenate(kept) if kept else ranked


def _head(shapes: _Shapes, alive: NDArray[Any]) -> tuple[shapely.STRtree, NDArray[Any]]:
    """The best features, as many as have about PAIR_BUDGET pairs of touching envelopes among them, and a tree of them.

    The pairs among the first ones tell how crowded the features are: their number grows with the square.
    """
    head = alive[:FIRST_HEAD]
    tree = shapely.STRtree(shapes.geometries[head])
    sample = head[:: max(len(head) // SAMPLE, 1)]
    neighbours = max(tree.query(shapes.geometries[sample]).shape[1] / len(sample) - 1, 0)
    pairs = max(neighbours * len(head), 1)
    size = max(int(len(head) * math.sqrt(PAIR_BUDGET / pairs)), SAMPLE)
    if size < len(head) or len(head) < len(alive):
        head = alive[: min(size, PAIR_BUDGET)]
        tree = shapely.STRtree(shapes.geometries[head])
    return tree, head


def _overlaps(
    shapes: _Shapes, tree: shapely.STRtree, members: NDArray[Any], asked: NDArray[Any], groups: NDArray[Any], threshold: float
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Pairs (place in asked, place in members) that overlap more than the threshold, within one group, in portions.

    Neighbours are asked for one after another, which keeps the tree's nodes in the processor's cache.
    """
    portions = _Portions(len(asked))
    order = np.argsort(shapes.curve[asked])
    asked = asked[order]
    for start, stop in portions:
        shapes.check()
        near = tree.query(shapes.geometries[asked[start:stop]])
        portions.step = max(SAMPLE, min(int(PORTION / max(near.shape[1] / (stop - start), 1)), PORTION))
        first, second = near[0] + start, near[1]
        same = groups[asked[first]] == groups[members[second]]
        first, second = first[same], second[same]
        distinct = asked[first] != members[second]
        first, second = first[distinct], second[distinct]
        over = shapes.ratio(asked[first], members[second]) > threshold
        yield order[first[over]], second[over]


class _Portions:
    """Ranges that cover a count; their length may change on the way."""

    def __init__(self, count: int) -> None:
        self.step = SAMPLE
        self._count = count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        start = 0
        while start < self._count:
            stop = min(start + self.step, self._count)
            yield start, stop
            start = stop


def _decide(shapes: _Shapes, tree: shapely.STRtree, head: NDArray[Any], groups: NDArray[Any], threshold: float) -> NDArray[Any]:
    """Greedy suppression among the head (best first): the place of the suppressor of each, or KEPT."""
    better_parts, worse_parts = [], []
    for first, second in _overlaps(shapes, tree, head, head, groups, threshold):
        order = second < first  # each pair comes twice
        better_parts.append(second[order])
        worse_parts.append(first[order])
    better, worse = np.concatenate(better_parts), np.concatenate(worse_parts)
    return _greedy(len(head), better, worse)


def _greedy(count: int, better: NDArray[Any], worse: NDArray[Any]) -> NDArray[Any]:
    """Greedy choice on a graph whose nodes are numbered best first, in rounds instead of one by one.

    A round keeps every undecided node without an undecided better neighbour and drops the neighbours of those.
    """
    order = np.argsort(better, kind="stable")
    better, worse = better[order], worse[order]
    starts = np.searchsorted(better, np.arange(count + 1))
    waiting = np.bincount(worse, minlength=count)  # undecided better neighbours
    undecided, keep = np.ones(count, bool), np.zeros(count, bool)
    frontier = np.flatnonzero(waiting == 0)
    while len(frontier):
        keep[frontier] = True
        undecided[frontier] = False
        neighbours = _neighbours(starts, worse, frontier)
        dropped = np.unique(neighbours[undecided[neighbours]])
        undecided[dropped] = False
        released = _neighbours(starts, worse, dropped)
        np.subtract.at(waiting, released, 1)
        candidates = np.unique(released)
        frontier = candidates[undecided[candidates] & (waiting[candidates] == 0)]
    return _best_of(better[keep[better]], worse[keep[better]], count)


def _best_of(better: NDArray[Any], worse: NDArray[Any], count: int) -> NDArray[Any]:
    """For each node the first of its better neighbours, or KEPT where it has none."""
    best = np.full(count, KEPT, np.int64)
    by_rank = np.argsort(-better, kind="stable")
    best[worse[by_rank]] = better[by_rank]  # the first one is written last
    return best


def _neighbours(starts: NDArray[Any], targets: NDArray[Any], nodes: NDArray[Any]) -> NDArray[Any]:
    """The targets of all edges that leave some nodes."""
    counts = starts[nodes + 1] - starts[nodes]
    offsets = np.repeat(starts[nodes] - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
    return np.asarray(targets[offsets + np.arange(len(offsets))])


def _killers(shapes: _Shapes, best: NDArray[Any], rest: NDArray[Any], groups: NDArray[Any], threshold: float) -> NDArray[Any]:
    """For each of the rest the place of the best kept feature that overlaps it too much, or KEPT."""
    if not len(rest):
        return np.full(0, KEPT, np.int64)
    tree = shapely.STRtree(shapes.geometries[best])
    pairs = list(_overlaps(shapes, tree, best, rest, groups, threshold))
    first, second = (np.concatenate(part) for part in zip(*pairs))
    return _best_of(second, first, len(rest))
