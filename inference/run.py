"""Runs a plan: opens the package, drives the pipeline, suppresses duplicates, and hands out what stays."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import cache
from .agreement import agree, check_suppression
from .blocks import Blocks
from .configuration import Configuration
from .detections import Detections
from .errors import InferenceError
from .featureset import FeatureSetDecoder
from .feedback import Feedback, stop_if_canceled
from .fields import IMAGE, Field
from .item import Item
from .journal import Journal
from .lanes import IN_FLIGHT
from .pipeline import Pipeline, Statistics
from .plan import InferencePlan
from .raster_function import Device, FunctionAnswers, RasterFunction
from .readers import Feed, Readers, Scaling
from .resuming import begin_or_resume, resumed_configuration, telling_what_is_kept
from .run_log import announce, tell_result, times
from .secrets import Discreet, Secrets
from .slots import Slots
from .suppression import KEPT, suppress
from .tally import Tally
from .translation import tr

DUPLICATE_OVERLAP = 0.5
"""Overlap from which two detections of different blocks are reported as one object found twice."""


@dataclass(frozen=True)
class InferenceResult:
    """What a run found.

    Attributes:
        geometry_type: 1 point, 2 multipoint, 3 polyline, 4 polygon.
        fields: Declared ones first, then those that only occurred.
        statistics: What the run did.
        count: Detections that stay.
        device: Where the network ran.
        values: The values of all arguments, as text.
        bands: Those that the model reads, from 0.
        seconds: How long each part of the run took, by its name.
    """

    geometry_type: int
    fields: tuple[Field, ...]
    statistics: Statistics
    count: int
    device: Device
    values: dict[str, str]
    bands: tuple[int, ...]
    seconds: dict[str, float]
    _journal: Journal
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

    def settle(self) -> None:
        """Tell that the output is written and closed: what the run has kept is not needed any more."""
        self._journal.remove()


@contextmanager
def run_plan(plan: InferencePlan, feedback: Feedback) -> Iterator[InferenceResult]:
    """Run a plan; the result can be read until the context ends.

    What has been found stays on disk, and the same plan goes on from there, unless the result was settled.

    Raises:
        InferenceError: The run could not start, stopped or was cancelled.
    """
    with ExitStack() as stack:
        cache.remove_all_abandoned()
        told = Discreet(feedback, Secrets(plan.values, plan.secrets))
        journal = Journal(plan.fingerprint, plan.restart)
        stack.callback(journal.close)
        began = time.monotonic()
        try:
            found = _find(plan, journal, told)
            searched = time.monotonic()
            keep = _kept(plan, journal, told)
        except InferenceError as error:
            raise told.about(telling_what_is_kept(error, journal)) from error
        count = int(keep.sum())
        seconds = times(found.statistics, searched - began, time.monotonic() - searched)
        tell_result(found.statistics, found.decoder, count, plan, told)
        decoder = found.decoder
        yield InferenceResult(
            decoder.geometry_type,
            _with_image(decoder.all_fields) if plan.names_items else decoder.all_fields,
            found.statistics,
            count,
            found.device,
            found.values,
            found.bands,
            seconds,
            journal,
            keep,
            tuple(item.source.name if plan.names_items else None for item in plan.items),
        )


def _with_image(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """With the field that tells the raster; it takes the place of one of the model's of that name."""
    return (*(field for field in fields if field.name.casefold() != IMAGE.name.casefold()), IMAGE)


@dataclass(frozen=True)
class _Found:
    """What driving the blocks has left, beside the journal."""

    statistics: Statistics
    decoder: FeatureSetDecoder
    device: Device
    values: dict[str, str]
    bands: tuple[int, ...]


def _find(plan: InferencePlan, journal: Journal, feedback: Feedback) -> _Found:
    """Open the function in all its workers and drive all blocks through them into the journal."""
    with ExitStack() as stack:
        slots = Slots()
        stack.callback(slots.close)
        function = _started(plan, slots, feedback, stack, 0)
        values, answers, classes = agree(plan, function, feedback)
        check_suppression(plan, answers, feedback)
        feeds = [_feed(item, answers.configuration, feedback) for item in plan.items]
        functions = [function, *_further(plan, function, values, slots, feedback, stack)]
        blocks = Blocks(tuple(item.extent for item in plan.items), answers.configuration)
        _allocate(plan, slots, answers.configuration, feeds, len(functions))
        for each in functions:
            each.share()
        announce(plan, blocks, feeds[0], len(functions), feedback)

        def make_readers(deliver: object) -> Readers:
            return Readers(feeds, slots, deliver, plan.readers)  # type: ignore[arg-type]

        decoder = _decoder(plan, answers)
        tally = Tally(plan, decoder, classes)
        begin_or_resume(journal, plan, function, answers, values, feeds, tally, len(blocks), feedback)
        configuration, values = resumed_configuration(journal, functions, values, answers.configuration, feedback)
        pipeline = Pipeline(functions, plan, blocks, configuration, values, make_readers, slots, tally, journal, feedback)
        statistics = pipeline.run()
        tally.gaps.tell(feedback)
        return _Found(statistics, decoder, function.device, values, feeds[0].bands)


def _started(plan: InferencePlan, slots: Slots, feedback: Feedback, stack: ExitStack, gpu: int) -> RasterFunction:
    function = RasterFunction(plan.package, plan.hosting, slots, feedback, gpu)
    stack.callback(function.kill)
    return function


def _decoder(plan: InferencePlan, answers: FunctionAnswers) -> FeatureSetDecoder:
    fields = {field.name.casefold(): field for field in answers.fields}
    if plan.suppression is None:
        return FeatureSetDecoder(answers.geometry_type, fields)
    return FeatureSetDecoder(answers.geometry_type, fields, plan.suppression.confidence_field, plan.suppression.class_field)


def _further(
    plan: InferencePlan,
    first: RasterFunction,
    values: dict[str, str],
    slots: Slots,
    feedback: Feedback,
    stack: ExitStack,
) -> list[RasterFunction]:
    """The other workers: one for each further GPU, or as many as the plan wants."""
    gpus = max(first.device.count, 1)
    count = plan.workers or gpus
    functions = [_started(plan, slots, feedback, stack, number % gpus) for number in range(1, count)]
    for function in functions:
        function.open(plan.values)
        function.configure(values)
    return functions


def _feed(item: Item, configuration: Configuration, feedback: Feedback) -> Feed:
    stop_if_canceled(feedback)
    bands = configuration.band_indices(item.source.grid)
    if configuration.data_range is None:
        return Feed(item.source, bands, None)
    # Looked at by a clone: there may be more items than files can be open.
    with closing(item.source.clone()) as source:
        return Feed(item.source, bands, Scaling.of(source, bands, configuration.data_range))


def _allocate(
    plan: InferencePlan,
    slots: Slots,
    configuration: Configuration,
    feeds: Sequence[Feed],
    workers: int,
) -> None:
    """Slots for the blocks in flight, as many again that wait for a worker, and three for each reader."""
    pixels = (configuration.width + 2 * configuration.padding) * (configuration.height + 2 * configuration.padding)
    pixel_bytes = pixels * max(len(feed.bands) * np.dtype(feed.dtype).itemsize for feed in feeds)
    mask_bytes = pixels * max(feed.mask_bands for feed in feeds)
    slots.allocate(pixel_bytes, mask_bytes, 2 * IN_FLIGHT * workers + 3 * plan.readers, IN_FLIGHT)


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
