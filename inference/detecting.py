"""Detects objects: drives the search, suppresses duplicates, and hands out what stays."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .detections import Detections
from .driving import drive
from .feedback import Feedback, stop_if_canceled
from .fields import IMAGE, Field
from .journal import Journal
from .plan import InferencePlan
from .result import RunResult
from .run_log import tell_detections, times
from .searching import searching
from .suppression import KEPT, suppress
from .tally import Tally
from .translation import tr

DUPLICATE_OVERLAP = 0.5
"""Overlap from which two detections of different blocks are reported as one object found twice."""


@dataclass(frozen=True)
class InferenceResult(RunResult):
    """What a run found.

    Attributes:
        geometry_type: 1 point, 2 multipoint, 3 polyline, 4 polygon.
        fields: Declared ones first, then those that only occurred.
        count: Detections that stay.
    """

    geometry_type: int
    fields: tuple[Field, ...]
    count: int
    _keep: NDArray[Any]
    _names: tuple[str | None, ...]

    def detections(self) -> Iterator[Detections]:
        """What stays, block by block in the order of the raster, in map coordinates."""
        start = 0
        for item, block in self._journal.blocks():
            stop = start + len(block)
            kept = block.kept(self._keep[start:stop])
            start = stop
            if len(kept):
                name = self._names[item]
                columns = kept.attributes if name is None else {**kept.attributes, IMAGE.name: [name] * len(kept)}
                yield replace(kept, attributes=columns)


def detected(plan: InferencePlan, journal: Journal, feedback: Feedback) -> InferenceResult:
    """Run a plan that detects objects."""
    began = time.monotonic()
    driven = drive(plan, searching, journal, feedback)
    searched = time.monotonic()
    keep = _kept(plan, journal, feedback)
    count = int(keep.sum())
    seconds = times(driven.statistics, searched - began, time.monotonic() - searched)
    tally = cast(Tally, driven.tally)
    tell_detections(driven.statistics, tally, count, plan, feedback)
    fields = tally.decoder.all_fields
    return InferenceResult(
        driven,
        seconds,
        journal,
        tally.decoder.geometry_type,
        _with_image(fields) if plan.names_items else fields,
        count,
        keep,
        tuple(item.source.name if plan.names_items else None for item in plan.items),
    )


def _with_image(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """With the field that tells the raster; it takes the place of one of the model's of that name."""
    return (*(field for field in fields if field.name.casefold() != IMAGE.name.casefold()), IMAGE)


def _kept(plan: InferencePlan, journal: Journal, feedback: Feedback) -> NDArray[Any]:
    """Which detections of the journal stay (bool, in its order)."""

    def check() -> None:
        stop_if_canceled(feedback)

    kept = [
        _kept_of_item(plan, [block for _, block in blocks], feedback, check)
        for _, blocks in itertools.groupby(journal.blocks(with_attributes=False), key=itemgetter(0))
    ]
    return np.concatenate(kept) if kept else np.ones(0, bool)


def _kept_of_item(plan: InferencePlan, blocks: list[Detections], feedback: Feedback, check: Callable[[], None]) -> NDArray[Any]:
    count = sum(map(len, blocks))
    check()
    geometries = np.concatenate([block.geometries for block in blocks])
    confidence = np.concatenate([block.confidence for block in blocks])
    classes = np.concatenate([block.classes for block in blocks])
    if plan.suppression is not None:
        keep: NDArray[Any] = suppress(geometries, confidence, classes, plan.suppression.max_overlap, check) == KEPT
        return keep
    block_of = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
    suppressor = suppress(geometries, confidence, classes, DUPLICATE_OVERLAP, check)
    twice = int(((suppressor != KEPT) & (block_of[suppressor] != block_of)).sum())
    if twice:
        feedback.warning(
            tr("{count} detections overlap a better one of a neighbouring block by more than half, so they are probably "
               "the same objects found twice. Switch Non Maximum Suppression (NMS) on to remove them.", count=twice)
        )  # fmt: skip
    return np.ones(count, bool)
