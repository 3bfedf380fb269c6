"""Classifies features: cuts their chips, drives them through the function, and hands out the features with their labels."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, NamedTuple, cast

import numpy as np
import shapely

from ..blocks import Blocks
from ..crop import Crop
from ..detections import Detections, georeferenced
from ..driving import drive, feed_of
from ..feedback import Feedback
from ..fields import IMAGE, Field
from ..item import Item
from ..item_reader import BlockReader, ItemReader, Pause
from ..journal import Journal
from ..plan import InferencePlan
from ..result import RunResult
from ..run_log import tell_speed, times
from ..translation import tr
from ..work import Opened, Work
from .chip_reader import ChipReader
from .chips import Chips
from .features import Features
from .label_tally import LabelTally
from .labels import LONGEST_NAME, MOST_FIELDS, Answer, LabelDecoder, from_text
from .whole_image import WholeImage

PORTION = 1000
"""Features that are handed on at a time."""
CHIPS_IN_BLOCK = 64
BLOCK_BYTES = 32 << 20
"""A block holds about so many chips, if they take no more than so much; at least one batch."""


class LabelledRow(NamedTuple):
    """A feature on a raster with what the function said of it; `item` and `answer` are None where there is none."""

    record: bytes
    item: int | None
    answer: Answer | None


@dataclass(frozen=True)
class ClassificationResult(RunResult):
    """The features with their labels.

    Attributes:
        features: What was classified.
        fields: Label, confidence, and what else the function gives.
        unlabelled: How many features have no label, by reason.
        crop: How their chips were cut.
        items: The rasters.
    """

    features: Features
    crop: Crop
    items: tuple[Item, ...]
    fields: tuple[Field, ...]
    unlabelled: Counter[str]
    _keys: tuple[str, ...]

    def rows(self) -> Iterator[LabelledRow]:
        """All features in the order in which they came, once for each raster that they lie on, and at least once."""
        answer_of = self._answers()
        for row in self.features.rows():
            yield LabelledRow(row.record, row.item, None if row.item is None else answer_of(row.number, row.item))

    def located(self) -> Iterator[tuple[int, Detections]]:
        """What has a label, as detections in map coordinates of its own raster, in portions: the item and some of them."""
        answer_of = self._answers()
        found = ((item, shape, answer_of(number, item)) for number, item, shape in self._shapes())
        labelled = (each for each in found if each[2] is not None)
        for item, alike in _in_portions(labelled):
            shapes = np.array([shape for _, shape, _ in alike], object)
            answers = [answer for _, _, answer in alike if answer is not None]
            columns: dict[str, list[Any]] = {
                "Label": [answer.label for answer in answers],
                "Confidence": [answer.confidence for answer in answers],
            }
            if len(self.items) > 1:
                columns[IMAGE.name] = [self.items[item].source.name] * len(answers)
            unknown = np.full(len(answers), np.nan)
            found_here = Detections(shapes, unknown, np.full(len(answers), "", object), columns)
            yield item, georeferenced(found_here, self.items[item].source.grid.affine)

    def _shapes(self) -> Iterator[tuple[int, int, Any]]:
        if not self.features.is_whole:
            return self.features.located()
        windows = [item.extent for item in self.items]
        return (
            (number, number, shapely.box(each.column, each.row, each.column + each.width, each.row + each.height))
            for number, each in enumerate(windows)
        )

    def _answers(self) -> Callable[[int, int], Answer | None]:
        """Gives the answer about a feature on an item; they must be asked for in the order of both."""
        labels = self._journal.labels()
        known = next(labels, None)

        def answer_of(number: int, item: int) -> Answer | None:
            nonlocal known
            while known is not None and known[:2] < (number, item):
                known = next(labels, None)
            return from_text(known[2]) if known is not None and known[:2] == (number, item) else None

        return answer_of

    def values_of(self, answer: Answer | None) -> list[object]:
        """An answer in the order of `fields`."""
        if answer is None:
            return [None] * len(self.fields)
        return [answer.label, answer.confidence, *(answer.extras.get(key) for key in self._keys)]


def _in_portions(
    labelled: Iterator[tuple[int, Any, Answer | None]],
) -> Iterator[tuple[int, list[tuple[int, Any, Answer | None]]]]:
    """Rows that begin with their item, so many at a time, item by item."""
    while portion := list(itertools.islice(labelled, PORTION)):
        portion.sort(key=itemgetter(0))
        for item, group in itertools.groupby(portion, key=itemgetter(0)):
            yield item, list(group)


def classified(plan: InferencePlan, journal: Journal, feedback: Feedback) -> ClassificationResult:
    """Run a plan that classifies features."""
    began = time.monotonic()
    driven = drive(plan, _work, journal, feedback)
    tally, features = cast(LabelTally, driven.tally), cast(Features, plan.features)
    statistics = driven.statistics
    unlabelled = _unlabelled(features, tally, statistics.detections)
    if tally.decoder.left_out:
        feedback.warning(
            tr("The function gives more than {most} attributes, or some with names longer than {longest} characters; these are "
               "left out.", most=MOST_FIELDS, longest=LONGEST_NAME)
        )  # fmt: skip
    feedback.info(tr("Features: {count}, of which {labels} have a label now", count=features.count, labels=journal.labelled()))
    for reason, count in unlabelled.items():
        feedback.warning(tr("{count} features have no label, as {reason}.", count=count, reason=reason))
    tell_speed(statistics, tr("chips"), 1.0, feedback)
    extras = tally.decoder.extra_fields
    return ClassificationResult(
        driven,
        times(statistics, time.monotonic() - began),
        journal,
        features,
        tally.crop,
        plan.items,
        (_label_field(plan), _confidence_field(tally.decoder), *extras.values()),
        unlabelled,
        tuple(extras),
    )


def _label_field(plan: InferencePlan) -> Field:
    return Field(plan.label_field, "text", plan.label_field)


def _confidence_field(decoder: LabelDecoder) -> Field:
    """A number; text where a chip has several (CONTRACT 7)."""
    return Field("Confidence", "text" if decoder.has_text else "double", "Confidence")


def _unlabelled(features: Features, tally: LabelTally, answers: int) -> Counter[str]:
    empty = features.chips - answers - tally.failed - tally.gaps.pixels
    found = {
        tr("they lie outside of the raster or of what is looked at, or have no geometry"): features.off(),
        tr("there are no valid pixels around them"): empty,
        tr("the function's answer about their batch could not be used ({batches} batches): {reason}",
           batches=tally.failed_batches, reason=tally.failure): tally.failed,
        tr("the function gave them none"): tally.nameless,
        tr("their pixels could not be had"): tally.gaps.pixels,
    }  # fmt: skip
    return Counter({reason: count for reason, count in found.items() if count})


def _work(plan: InferencePlan, opened: Opened, feedback: Feedback) -> Work:
    """The work of a plan that classifies: a row of chips, cut into blocks."""
    answers, features = opened.answers, cast(Features, plan.features)
    crop = answers.configuration.crop
    items = tuple(_whole(item, crop) for item in plan.items) if features.is_whole else plan.items
    feeds = [feed_of(item, answers.configuration, feedback) for item in items]
    chips = Chips(features, crop)
    chip_bytes = max(feed.slot_bytes(crop.largest[0] * crop.largest[1]) for feed in feeds)
    many = max(min(CHIPS_IN_BLOCK, BLOCK_BYTES // chip_bytes) // crop.batch_size, 1) * crop.batch_size
    many = min(many, max(len(chips), 1))
    configuration = replace(answers.configuration, width=many, height=1, padding=0, in_chips=True)

    def open_reader(pause: Pause) -> BlockReader:
        return ChipReader(ItemReader(feeds, opened.slots, pause), chips, opened.slots, chip_bytes)

    definition = plan.package.definition
    declared = {field.name.casefold(): field for field in answers.fields}
    decoder = LabelDecoder(declared, definition.classes, has_text=definition.is_multi_label)
    tally = LabelTally(replace(plan, items=items), chips, decoder, crop)
    return Work(Blocks((chips.row,), configuration), configuration, feeds, tally, many * chip_bytes, open_reader)


def _whole(item: Item, crop: Crop) -> Item:
    """A raster whose pixels are those of its one chip."""
    source = WholeImage(item.source, item.extent, crop.width, crop.height, item.mask is not None)
    return replace(item, source=source, extent=source.grid.window)
