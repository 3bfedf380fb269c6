"""Suppression against brute force, ties and duplicates included."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from deep_learning_packages.inference import suppression
from deep_learning_packages.inference.suppression import KEPT, suppress
from hypothesis import given, settings
from hypothesis import strategies as st


def brute_force(geometries, confidence, classes, max_overlap):
    """Esri's two passes, pair by pair: the index of each feature's suppressor."""
    count = len(geometries)
    area, bounds = shapely.area(geometries), shapely.bounds(geometries)
    score = [-np.inf if np.isnan(value) else value for value in confidence]
    order = sorted(range(count), key=lambda i: (-score[i], -area[i], bounds[i][1], bounds[i][0], i))
    suppressor = [KEPT] * count

    def one_pass(order, same_class):
        kept = []
        for i in order:
            for j in kept:
                if same_class and classes[i] != classes[j]:
                    continue
                common = geometries[i].intersection(geometries[j]).area
                union = area[i] + area[j] - common
                if union > 0 and common / union > max_overlap + suppression.ROUNDING:
                    suppressor[i] = j
                    break
            else:
                kept.append(i)
        return kept

    one_pass(one_pass(order, True), False)
    return suppressor


def boxes(count):
    corner, side = st.integers(0, 25), st.integers(1, 12)
    box = st.tuples(corner, corner, side, side).map(lambda b: shapely.box(b[0], b[1], b[0] + b[2], b[1] + b[3]))
    return st.lists(box, min_size=count, max_size=count)


def polygons(count):
    point = st.tuples(st.integers(0, 30), st.integers(0, 30))
    hull = st.lists(point, min_size=3, max_size=7).map(lambda points: shapely.MultiPoint(points).convex_hull)
    return st.lists(hull.filter(lambda shape: shape.geom_type == "Polygon"), min_size=count, max_size=count)


@st.composite
def crowds(draw):
    count = draw(st.integers(0, 40))
    geometries = draw(st.one_of(boxes(count), polygons(count)))
    confidence = draw(st.lists(st.sampled_from([0.1, 0.5, 0.5, 0.9, float("nan")]), min_size=count, max_size=count))
    classes = draw(st.lists(st.sampled_from(["a", "b", ""]), min_size=count, max_size=count))
    return np.array(geometries, object), np.array(confidence, float), np.array(classes, object)


@settings(max_examples=300, deadline=None, report_multiple_bugs=False)
@given(crowd=crowds(), max_overlap=st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.99]))
def test_equals_brute_force(crowd, max_overlap):
    assert list(suppress(*crowd, max_overlap)) == brute_force(*crowd, max_overlap)


@settings(max_examples=60, deadline=None, report_multiple_bugs=False)
@given(crowd=crowds())
def test_portions_and_heads_do_not_matter(crowd):
    """However small the portions are, the result is the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suppression, "FIRST_HEAD", 3)
        patch.setattr(suppression, "SAMPLE", 2)
        patch.setattr(suppression, "PAIR_BUDGET", 8)
        patch.setattr(suppression, "PORTION", 4)
        assert list(suppress(*crowd, 0.1)) == brute_force(*crowd, 0.1)


def test_two_passes_are_not_one():
    """CONTRACT 6: A and B overlap, B and C overlap; within class 2 B removes C, then A removes B."""
    geometries = np.array([shapely.box(0, 0, 10, 10), shapely.box(8, 0, 18, 10), shapely.box(16, 0, 26, 10)])
    confidence, classes = np.array([0.9, 0.8, 0.7]), np.array(["1", "2", "2"], object)
    assert list(suppress(geometries, confidence, classes, 0.0)) == [KEPT, 0, 1]


def test_touching_features_stay():
    geometries = np.array([shapely.box(0, 0, 10, 10), shapely.box(10, 0, 20, 10)])
    assert list(suppress(geometries, np.ones(2), np.array(["", ""]), 0.0)) == [KEPT, KEPT]


def test_identical_features_collapse_to_the_first():
    geometries = np.array([shapely.box(0, 0, 1, 1)] * 5)
    assert list(suppress(geometries, np.ones(5), np.array([""] * 5), 0.5)) == [KEPT, 0, 0, 0, 0]


def test_crowd_of_identical_features_stays_small():
    """Twenty thousand on one spot have 2·10⁸ pairs; they must never be in memory at once."""
    import tracemalloc

    geometries = shapely.box(*np.tile([[5.0], [5.0], [9.0], [9.0]], 20_000))
    confidence = np.linspace(0, 1, 20_000)
    tracemalloc.start()
    found = suppress(geometries, confidence, np.full(20_000, ""), 0.3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.flatnonzero(found == KEPT).tolist() == [19_999]
    assert (found[:-1] == 19_999).all()
    assert peak < 400 << 20
