"""The rules around networks, against straightforward versions of themselves: suppression, outlines, mini-tiles, views."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

torch = pytest.importorskip("torch")

from deep_learning_packages.worker.native import augmentation, boxes, contours  # noqa: E402
from deep_learning_packages.worker.native.mini_tiles import MiniTiles  # noqa: E402
from deep_learning_packages.worker.native.network import Found  # noqa: E402

whole = st.integers(0, 12)


@st.composite
def rectangles(draw, most=40):
    sides = draw(st.lists(st.tuples(whole, whole, st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=most))
    return torch.tensor([[y, x, y + height, x + width] for y, x, height, width in sides], dtype=torch.float32)


def ratio(a, b):
    height, width = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(height, 0) * max(width, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / union if union > 0 else 0.0


@settings(max_examples=200, deadline=None)
@given(rectangles(), rectangles(), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.booleans())
def test_suppression_is_the_greedy_one(first, second, limit, inclusive):
    """Two groups at once, of different lengths, box by box; in steps of any size."""

    def is_duplicate(ratios):
        return ratios >= limit if inclusive else ratios > limit

    length = max(len(first), len(second))
    table, is_there = torch.zeros(2, length, 4), torch.zeros(2, length, dtype=torch.bool)
    expected = []
    for number, group in enumerate((first, second)):
        table[number, : len(group)], is_there[number, : len(group)] = group, True
        kept = []
        for place, box in enumerate(group.tolist()):
            overlaps = [ratio(group[other].tolist(), box) for other in kept]
            if not any(value >= limit if inclusive else value > limit for value in overlaps):
                kept.append(place)
        expected.append(kept)
    for step in (3, 128):
        boxes.STEP = step
        found = boxes.suppressed(table, is_there, is_duplicate)
        assert [row.nonzero()[:, 0].tolist() for row in found] == expected


def reference(mask):  # noqa: C901 - as the paper tells it
    """Suzuki and Abe's own scan, pixel by pixel: (is a hole, points) in the order of their starts."""
    around = [(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)]  # against the clock, from the east
    labels = np.pad(mask.astype(int), 1)
    found, number = [], 1

    def follow(start, before):
        """From a pixel, looking from an empty neighbour on; marks what it passes."""
        at = around.index((before[0] - start[0], before[1] - start[1]))
        for step in range(1, 8):  # with the clock
            direction = (at - step) % 8
            first = (start[0] + around[direction][0], start[1] + around[direction][1])
            if labels[first]:
                break
        else:
            labels[start] = -number
            return [start]
        points, previous, current = [], first, start
        while True:
            at = around.index((previous[0] - current[0], previous[1] - current[1]))
            passed_east = False
            for step in range(1, 9):  # against the clock
                direction = (at + step) % 8
                following = (current[0] + around[direction][0], current[1] + around[direction][1])
                if labels[following]:
                    break
                passed_east = passed_east or direction == 0
            points.append(current)
            if passed_east:
                labels[current] = -number
            elif labels[current] == 1:
                labels[current] = number
            if following == start and current == first:
                return points
            previous, current = current, following

    for row in range(1, labels.shape[0] - 1):
        for column in range(1, labels.shape[1] - 1):
            value = labels[row, column]
            if value == 1 and labels[row, column - 1] == 0:
                number += 1
                found.append((False, follow((row, column), (row, column - 1))))
            elif value >= 1 and labels[row, column + 1] == 0:
                number += 1
                found.append((True, follow((row, column), (row, column + 1))))
    return [(is_hole, [[x - 1, y - 1] for y, x in points]) for is_hole, points in found]


def has_extent(points):
    return len(points) > 2 and all(len(set(axis)) > 1 for axis in zip(*points))


masks = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: arrays(np.bool_, shape, elements=st.sampled_from([True, True, False]))
)


@settings(max_examples=600, deadline=None)
@given(masks)
def test_outlines_are_those_of_the_border_following(mask):
    """Point by point: the outermost ones, lowest first, each with its holes, lowest first."""
    found = contours.outlines(mask)
    wanted = reference(mask)
    filled = flooded(mask)
    outer = [points for is_hole, points in wanted if not is_hole and is_outermost(points[0], mask, filled) and has_extent(points)]
    assert [rings[0] for rings in found] == outer[::-1]
    holes = [points for is_hole, points in wanted if is_hole and has_extent(points)]
    assert all(ring in holes for rings in found for ring in rings[1:])
    for rings in found:
        places = [holes.index(ring) for ring in rings[1:]]
        assert places == sorted(places, reverse=True)
    of_outermost = [ring for ring in holes if is_outermost(ring[0], mask, filled)]
    assert sorted(ring for rings in found for ring in rings[1:]) == sorted(of_outermost)


def flooded(mask):
    """What can be reached from outside through empty pixels, side by side."""
    reached = np.zeros(np.array(mask.shape) + 2, bool)
    empty, waiting = np.pad(~mask, 1, constant_values=True), [(0, 0)]
    while waiting:
        row, column = waiting.pop()
        if 0 <= row < reached.shape[0] and 0 <= column < reached.shape[1] and empty[row, column] and not reached[row, column]:
            reached[row, column] = True
            waiting += [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
    return reached


def is_outermost(point, mask, filled):
    """Whether the component of a pixel touches the outside."""
    seen, waiting = set(), [(point[1], point[0])]
    while waiting:
        row, column = waiting.pop()
        if (row, column) in seen or not (0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]) or not mask[row, column]:
            continue
        seen.add((row, column))
        waiting += [(row + y, column + x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return any(filled[row + 1 + y, column + 1 + x] for row, column in seen for y, x in ((0, 1), (1, 0), (0, -1), (-1, 0)))


def test_outlines_of_known_shapes():
    ring = np.ones((5, 5), bool)
    ring[1:4, 1:4] = False
    island = ring.copy()
    island[2, 2] = True
    for mask in (ring, island):  # what lies in a hole is left out
        (rings,) = contours.outlines(mask)
        assert (len(rings), len(rings[0]), len(rings[1])) == (2, 16, 12)
    nested = np.zeros((9, 9), bool)  # a ring, and in its hole a ring with a hole of one pixel, which is nobody's
    nested[:], nested[1:8, 1:8], nested[3:6, 3:6], nested[4, 4] = True, False, True, False
    ((outer, hole),) = contours.outlines(nested)
    assert (len(outer), len(hole)) == (32, 28)
    assert contours.outlines(np.ones((1, 9), bool)) == []
    assert contours.outlines(np.zeros((4, 4), bool)) == []
    assert contours.outlines(np.ones((2, 2), bool)) == [[[[0, 0], [0, 1], [1, 1], [1, 0]]]]


@settings(max_examples=100, deadline=None)
@given(st.integers(4, 40), st.data(), st.integers(1, 30))
def test_mini_tiles_cover_a_block(side, data, batch):
    """Each pixel of the core is some mini-tile's own, and lies there where its origin says."""
    padding = data.draw(st.integers(0, (side - 1) // 2))
    tiles = MiniTiles.of(side, padding, batch)
    full = tiles.core + 2 * padding
    block = np.arange(full * full).reshape(1, full, full)
    cut = tiles.cut(block)
    assert cut.shape == (tiles.per_side**2, 1, side, side)
    assert tiles.per_side**2 <= batch < (tiles.per_side + 1) ** 2
    covered = np.zeros((full, full), int)
    for tile, (y, x) in zip(cut, tiles.origins(np.arange(len(cut)))):
        top, left = y + padding, x + padding
        assert np.array_equal(tile[0], block[0, top : top + side, left : left + side])
        covered[top + padding : top + side - padding, left + padding : left + side - padding] += 1
    assert (covered[padding : full - padding, padding : full - padding] == 1).all()
    smaller = tiles.cut(block[:, : full - 1])  # the last row of a raster may bring less
    assert np.array_equal(smaller[0, 0, : min(side, full - 1)], cut[0, 0, : min(side, full - 1)])


def test_rules_of_the_stock_wrapper():
    """3.5: cut boxes by two pixels, demoted ones above and below only, outlines by both directions."""
    tiles = MiniTiles(64, 16, 1)
    found = np.array(
        [[1.9, 20, 40, 40], [2.1, 20, 40, 40], [20, -1.9, 40, 40], [20, -5, 40, 40], [20, 20, 40, 62.1], [20, 20, 40, 61.9]]
    )
    assert tiles.is_cut(found).tolist() == [True, False, True, False, True, False]
    assert tiles.is_outside(np.array([[0, 20, 31, 40], [10, 20, 24, 40], [20, 0, 40, 10], [40, 0, 63, 10]], float)).tolist() == [
        True,
        False,
        False,
        True,
    ]
    assert tiles.is_inside(np.array([[16, 16], [48, 48], [15.9, 20], [20, 48.1]])).tolist() == [True, True, False, False]


def spots(chips):
    """A detector without weights: a box around the equal values of each chip, larger ones more certain."""
    answers = []
    for chip in chips[:, 0]:
        values = [value for value in chip.unique().tolist() if value]
        places = [(chip == value).nonzero() for value in values]
        found = [torch.cat([place.amin(0), place.amax(0) + 1]).float() for place in places]
        scores = torch.tensor([0.1 + len(place) / 1e4 for place in places])
        classes = torch.tensor([int(value) % 2 for value in values])
        corners = torch.stack(found) if found else torch.zeros(0, 4)
        planes = torch.stack([(chip == value).float() for value in values]) if values else torch.zeros(0, *chip.shape)
        answers.append(Found(corners, scores, classes, planes))
    return answers


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(3, 9), st.integers(3, 9)), min_size=1, max_size=3),
    st.booleans(),
)
def test_views_find_what_one_view_finds(shapes, in_map_space):
    """Turned, mirrored, and looked at all the same: boxes and masks come back to their places, once."""
    chips = torch.zeros(2, 3, 32, 32)
    for number, (row, column, height, width) in enumerate(shapes, 1):
        chips[number % 2, :, row : row + height, column : column + width] = number
    views = augmentation.views(in_map_space)
    assert len({(view.turns, view.is_mirrored) for view in views}) == len(views) == (8 if in_map_space else 2)
    plain = spots(chips)
    for seen, one in zip(augmentation.looked_at(spots, chips, views, [1.0]), plain):
        for found in seen:
            order = [found.scores.argsort(stable=True), one.scores.argsort(stable=True)]
            assert torch.equal(found.boxes.sort(0).values, one.boxes.sort(0).values)
            assert torch.equal(found.masks.sum(0), one.masks.sum(0))
            assert torch.equal(found.scores[order[0]], one.scores[order[1]])
        merged = augmentation.merged_boxes(seen, 0.99, by_class=True)
        unique = {tuple(box) for box in one.boxes.tolist()}
        assert {tuple(box) for box in merged.boxes.tolist()} == unique
        assert len(merged.boxes) == len(
            {(*box, number) for box, number in zip(map(tuple, one.boxes.tolist()), one.classes.tolist())}
        )


def test_scaled_views_come_back_to_their_size():
    chips = torch.zeros(1, 3, 64, 64)
    chips[:, :, 8:24, 16:48] = 1

    def bright(scaled):
        return spots((scaled > 0.5).float())

    (seen,) = augmentation.looked_at(bright, chips, [augmentation.View()], [0.5, 1.0, 2.0])
    assert [found.masks.shape[-1] for found in seen] == [64, 64, 64]
    for found in seen:
        assert torch.allclose(found.boxes, torch.tensor([[8.0, 16.0, 24.0, 48.0]]), atol=2)


@pytest.mark.parametrize(("policy", "score", "mask"), [("mean", 0.5, 0.4), ("max", 0.8, 0.6), ("min", 0.2, 0.2)])
def test_merge_policy(policy, score, mask):
    """Objects of one class whose boxes overlap by more than half are one; others stay."""

    def found(x, certainty, number, value):
        return Found(
            torch.tensor([[0.0, x, 10.0, x + 10.0]]),
            torch.tensor([certainty]),
            torch.tensor([number]),
            torch.full((1, 4, 4), value),
        )

    seen = [found(0.0, 0.8, 0, 0.6), found(1.0, 0.2, 0, 0.2), found(0.5, 0.4, 1, 1.0), found(30.0, 0.3, 0, 1.0)]
    merged = augmentation.merged_masks(seen, policy)
    assert merged.classes.tolist() == [0, 1, 0]
    assert merged.scores.tolist() == pytest.approx([score, 0.4, 0.3])
    assert float(merged.masks[0, 0, 0]) == pytest.approx(mask)
    assert merged.boxes[0].tolist() == [0, 0.5, 10, 10.5]
    nothing = Found(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long), torch.zeros(0, 4, 4))
    assert len(augmentation.merged_masks([nothing, nothing], policy).scores) == 0
