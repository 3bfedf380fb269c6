"""Runs a plan: opens the package, drives the pipeline, suppresses duplicates, and hands out what stays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import cache
from .agreement import agree, check_suppression
from .blocks import BlockGrid
from .configuration import Configuration
from .detections import Detections
from .errors import InferenceError
from .featureset import FeatureSetDecoder
from .feedback import Feedback, stop_if_canceled
from .fields import Field
from .journal import Journal
from .lanes import IN_FLIGHT
from .pipeline import Pipeline, Statistics
from .plan import InferencePlan
from .raster_function import Device, FunctionAnswers, RasterFunction
from .readers import Readers, Scaling
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

    def detections(self) -> Iterator[Detections]:
        """What stays, block by block in the order of the raster, in map coordinates."""
        start = 0
        for block in self._journal.blocks():
            stop = start + len(block)
            kept = block.kept(self._keep[start:stop])
            start = stop
            if len(kept):
                yield kept

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
            decoder.all_fields,
            found.statistics,
            count,
            found.device,
            found.values,
            found.bands,
            seconds,
            journal,
            keep,
        )


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
        bands = answers.configuration.band_indices(plan.source.grid.band_names)
        functions = [function, *_further(plan, function, values, slots, feedback, stack)]
        scaling = _scaling(plan, answers.configuration, bands)
        blocks = BlockGrid(plan.extent, answers.configuration)
        _allocate(plan, slots, answers.configuration, bands, scaling, len(functions))
        for each in functions:
            each.share()
        announce(plan, blocks, bands, len(functions), feedback)

        def make_readers(deliver: object) -> Readers:
            return Readers(plan.source, bands, slots, scaling, deliver, plan.readers)  # type: ignore[arg-type]

        decoder = _decoder(plan, answers)
        tally = Tally(plan, decoder, classes)
        begin_or_resume(journal, plan, function, answers, values, scaling, tally, len(blocks), feedback)
        configuration, values = resumed_configuration(journal, functions, values, answers.configuration, feedback)
        pipeline = Pipeline(functions, plan, blocks, configuration, values, make_readers, slots, tally, journal, feedback)
        return _Found(pipeline.run(), decoder, function.device, values, bands)


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


def _scaling(plan: InferencePlan, configuration: Configuration, bands: tuple[int, ...]) -> Scaling | None:
    return None if configuration.data_range is None else Scaling.of(plan.source, bands, configuration.data_range)


def _allocate(
    plan: InferencePlan,
    slots: Slots,
    configuration: Configuration,
    bands: tuple[int, ...],
    scaling: Scaling | None,
    workers: int,
) -> None:
    """Slots for the blocks in flight, as many again that wait for a worker, and three for each reader."""
    pixels = (configuration.width + 2 * configuration.padding) * (configuration.height + 2 * configuration.padding)
    item_bytes = np.dtype("float32" if scaling is not None else plan.source.grid.dtype).itemsize
    mask_bytes = pixels * plan.source.mask_bands(bands)
    slots.allocate(pixels * len(bands) * item_bytes, mask_bytes, 2 * IN_FLIGHT * workers + 3 * plan.readers, IN_FLIGHT)


def _kept(plan: InferencePlan, journal: Journal, feedback: Feedback) -> NDArray[Any]:
    """Which detections of the journal stay (bool, in its order)."""

    def check() -> None:
        stop_if_canceled(feedback)

    blocks = []
    for block in journal.blocks(with_attributes=False):
        check()
        blocks.append(block)
    count = sum(map(len, blocks))
    if not count:
        return np.ones(0, bool)
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
