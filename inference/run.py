"""Runs a plan: opens the package, drives the pipeline, suppresses duplicates, and hands out what stays."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import description
from .arguments import ModelArgument
from .arguments import scalars as scalars_of
from .blocks import BlockGrid
from .classes import ClassFilter
from .configuration import Configuration, check_padding
from .detections import Detections
from .errors import ArgumentValueError, ConfigurationError
from .featureset import FeatureSetDecoder
from .feedback import Feedback, stop_if_canceled
from .fields import Field, find_name
from .journal import Journal
from .pipeline import IN_FLIGHT, Pipeline, Statistics
from .plan import InferencePlan
from .raster_function import Device, FunctionAnswers, RasterFunction
from .readers import Readers, Scaling
from .slots import Slots
from .suitability import doubts
from .suppression import KEPT, suppress
from .translation import tr

POLYGON = 4
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


@contextmanager
def run_plan(plan: InferencePlan, feedback: Feedback) -> Iterator[InferenceResult]:
    """Run a plan; the result can be read until the context ends, then the journal is removed.

    Raises:
        InferenceError: The run could not start, stopped or was cancelled.
    """
    with ExitStack() as stack:
        journal = Journal(plan.fingerprint)
        stack.callback(journal.remove)
        began = time.monotonic()
        found = _find(plan, journal, feedback)
        searched = time.monotonic()
        keep = _kept(plan, journal, feedback)
        count = int(keep.sum())
        seconds = _times(found.statistics, searched - began, time.monotonic() - searched)
        _report(found.statistics, found.decoder, count, plan, feedback)
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


def _times(statistics: Statistics, searching: float, merging: float) -> dict[str, float]:
    """Where the time went, in seconds."""
    waited = statistics.waited_for_worker + statistics.waited_for_reader
    return {
        tr("Loading the package"): max(searching - statistics.seconds, 0.0),
        tr("Blocks: waiting for the model"): statistics.waited_for_worker,
        tr("Blocks: waiting for the raster"): statistics.waited_for_reader,
        tr("Blocks: everything else"): max(statistics.seconds - waited, 0.0),
        tr("Looking for duplicates"): merging,
    }


def _find(plan: InferencePlan, journal: Journal, feedback: Feedback) -> _Found:
    """Open the function in all its workers and drive all blocks through them into the journal."""
    with ExitStack() as stack:
        slots = Slots()
        stack.callback(slots.close)
        function = _started(plan, slots, feedback, stack, 0)
        values, answers, classes = _configured(plan, function, feedback)
        _check_suppression(plan, answers, feedback)
        bands = answers.configuration.band_indices(plan.source.grid.band_names)
        functions = [function, *_further(plan, function, values, slots, feedback, stack)]
        scaling = _scaling(plan, answers.configuration, bands)
        blocks = BlockGrid(plan.extent, answers.configuration)
        _allocate(plan, slots, answers.configuration, bands, scaling, len(functions))
        for each in functions:
            each.share()
        for doubt in doubts(plan.package.definition, plan.source.grid):
            feedback.warning(doubt)
        _announce(plan, blocks, bands, len(functions), feedback)

        def make_readers(deliver: object) -> Readers:
            return Readers(plan.source, bands, slots, scaling, deliver, plan.readers)  # type: ignore[arg-type]

        decoder = _decoder(plan, answers)
        pipeline = Pipeline(functions, plan, blocks, values, make_readers, slots, decoder, journal, feedback, classes)
        return _Found(pipeline.run(), decoder, function.device, values, bands)


def _started(plan: InferencePlan, slots: Slots, feedback: Feedback, stack: ExitStack, gpu: int) -> RasterFunction:
    function = RasterFunction(plan.package, plan.hosting, slots, feedback, gpu)
    stack.callback(function.kill)
    return function


def _configured(
    plan: InferencePlan, function: RasterFunction, feedback: Feedback
) -> tuple[dict[str, str], FunctionAnswers, ClassFilter | None]:
    """Load the package in the first worker and agree on the arguments."""
    feedback.info(tr("Package: {name} ({source}), sha256 {hash}", name=plan.package.definition.name,
                     source=plan.package.source, hash=plan.package.sha256))  # fmt: skip
    sandbox, interpreter = plan.hosting.sandbox, plan.hosting.interpreter
    feedback.info(tr("Python: {path} {version}, {origin}", path=interpreter.path, version=interpreter.version,
                     origin=interpreter.origin))  # fmt: skip
    feedback.info(tr("Sandbox: {description}", description=sandbox.description if sandbox.program else tr("none")))
    arguments = function.open(plan.values)
    device = function.device
    feedback.info(tr("Device: {name}, because {reason}", name=device.name, reason=device.reason))
    classes = _class_filter(plan, arguments, feedback)
    values, unknown = scalars_of(arguments, plan.values)
    if unknown:
        known = ", ".join(argument.name for argument in arguments) or tr("none")
        feedback.warning(
            tr("The model does not know the argument(s) {unknown}; they are handed over all the same. It knows: {known}.",
               unknown=", ".join(unknown), known=known)
        )  # fmt: skip
    _square_batch(values, feedback)
    written = "; ".join(f"{name} {value}" for name, value in values.items())
    feedback.info(tr("Arguments: {values}", values=written or tr("none")))
    tile_size = values.get("tile_size", "")
    tile = int(tile_size) if tile_size.isdigit() else plan.package.definition.tile_size
    check_padding(values.get("padding"), tile)
    answers = function.configure(values)
    check_padding(str(answers.configuration.padding), tile)
    description.remember(plan.package.sha256, description.Description(tuple(arguments), answers.fields, answers.geometry_type))
    return values, answers, classes


def _class_filter(plan: InferencePlan, arguments: list[ModelArgument], feedback: Feedback) -> ClassFilter | None:
    """The filter for CLASSES; a function with a prompt names its own classes, so it may give any."""
    if not plan.classes:
        return None
    is_open = any("prompt" in argument.name.lower() for argument in arguments)
    chosen = ClassFilter(plan.classes, plan.package.definition.classes, is_open)
    if chosen.unknown:
        feedback.warning(
            tr("CLASSES names {unknown}, which the model definition does not list. Only what the model names so is kept.",
               unknown=", ".join(chosen.unknown))
        )  # fmt: skip
    return chosen


def _square_batch(values: dict[str, str], feedback: Feedback) -> None:
    """Round batch_size down to a square: functions lay mini-tiles out as one, some without checking (CONTRACT 3.4)."""
    batch = values.get("batch_size", "")
    if batch.isdigit() and int(batch) > 0 and math.isqrt(int(batch)) ** 2 != int(batch):
        values["batch_size"] = str(math.isqrt(int(batch)) ** 2)
        feedback.warning(
            tr("batch_size {batch} is rounded down to a square, {square}.", batch=batch, square=values["batch_size"])
        )


def _check_suppression(plan: InferencePlan, answers: FunctionAnswers, feedback: Feedback) -> None:
    """Suppression needs the fields that it reads, and areas."""
    if plan.suppression is None:
        return
    names = [field.name for field in answers.fields]
    confidence, class_field = plan.suppression.confidence_field, plan.suppression.class_field
    if find_name(names, confidence) is None:
        raise ArgumentValueError(
            tr("CONFIDENCE_FIELD is {name}, but the model gives only these fields: {names}. Choose one of them, or switch "
               "Non Maximum Suppression off.", name=confidence, names=", ".join(names) or tr("none"))
        )  # fmt: skip
    if class_field and find_name(names, class_field) is None:  # some functions give more than they declare
        feedback.warning(
            tr("CLASS_FIELD is {name}, which the model does not declare ({names}). Where it does not give it, all "
               "features are of one class.", name=class_field, names=", ".join(names) or tr("none"))
        )  # fmt: skip
    if answers.geometry_type != POLYGON:
        raise ConfigurationError(
            tr("The model finds points or lines, which have no area to overlap. Switch Non Maximum Suppression off.")
        )


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


def _announce(plan: InferencePlan, blocks: BlockGrid, bands: tuple[int, ...], workers: int, feedback: Feedback) -> None:
    configuration, grid = blocks.configuration, plan.source.grid
    x_size, y_size = grid.affine.cell_size
    feedback.info(
        tr("Blocks: {count} of {width} × {height} pixels with a padding of {padding}, cell size {x:.6g} × {y:.6g}",
           count=len(blocks), width=configuration.width, height=configuration.height, padding=configuration.padding,
           x=x_size, y=y_size)
    )  # fmt: skip
    named = [grid.band_names[band] for band in bands]
    listed = ", ".join(f"{band + 1} ({name})" if name else str(band + 1) for band, name in zip(bands, named))
    feedback.info(tr("Bands: {bands} of {count}, {dtype}", bands=listed, count=len(grid.band_names), dtype=grid.dtype))
    if workers > 1:
        feedback.info(tr("Inference processes: {count}", count=workers))


def _kept(plan: InferencePlan, journal: Journal, feedback: Feedback) -> NDArray[Any]:
    """Which detections of the journal stay (bool, in its order)."""

    def check() -> None:
        stop_if_canceled(feedback)

    check()
    blocks = list(journal.blocks(with_attributes=False))
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


def _report(statistics: Statistics, decoder: FeatureSetDecoder, kept: int, plan: InferencePlan, feedback: Feedback) -> None:
    for reason, number in decoder.problems.items():
        if number:
            feedback.warning(tr("{number} features of the model were {reason}.", number=number, reason=reason))
    feedback.info(
        tr("Blocks: {blocks} processed, {skipped} skipped as they hold no data",
           blocks=statistics.blocks - statistics.skipped, skipped=statistics.skipped)
    )  # fmt: skip
    after = tr("{kept} after suppression", kept=kept) if plan.suppression else tr("not suppressed")
    outside = tr(", {count} outside the extent left out", count=statistics.outside) if statistics.outside else ""
    others = tr(", {count} of other classes left out", count=statistics.other_classes) if statistics.other_classes else ""
    feedback.info(
        tr(
            "Detections: {count}, {after}{outside}{others}",
            count=statistics.detections,
            after=after,
            outside=outside,
            others=others,
        )
    )
    rate = statistics.pixels / 1e6 / statistics.seconds if statistics.seconds else 0.0
    feedback.info(
        tr("Speed: {rate:.2f} megapixels per second; {seconds:.1f} s in all, {worker:.1f} s waited for the worker, "
           "{reader:.1f} s for the reader", rate=rate, seconds=statistics.seconds, worker=statistics.waited_for_worker,
           reader=statistics.waited_for_reader)
    )  # fmt: skip
