"""Opens a package for a run and agrees with its function on arguments, classes and fields; refuses what cannot work."""

from __future__ import annotations

import math
from collections.abc import Sequence

from . import description
from .arcgis_trained import native_network
from .arguments import ModelArgument, scalars
from .classes import ClassFilter
from .configuration import check_padding
from .errors import ArgumentValueError, ConfigurationError
from .feedback import Feedback
from .fields import find_name
from .plan import InferencePlan
from .raster_function import FunctionAnswers, RasterFunction
from .secrets import Secrets
from .translation import tr

POLYGON = 4


def agree(
    plan: InferencePlan, function: RasterFunction, feedback: Feedback
) -> tuple[dict[str, str], list[ModelArgument], FunctionAnswers]:
    """Load the package in the first worker and agree on the arguments."""
    feedback.info(tr("Package: {name} ({source}), sha256 {hash}", name=plan.package.definition.name,
                     source=plan.package.shown, hash=plan.package.sha256))  # fmt: skip
    if network := native_network(plan.package):
        feedback.info(tr("Trained in ArcGIS, run natively by {network}: no code of the package runs", network=network))
    for problem in plan.package.definition.problems:
        feedback.warning(problem)
    sandbox, interpreter = plan.hosting.sandbox, plan.hosting.interpreter
    feedback.info(tr("Python: {path} {version}, {origin}", path=interpreter.path, version=interpreter.version,
                     origin=interpreter.origin))  # fmt: skip
    feedback.info(tr("Sandbox: {description}", description=sandbox.description if sandbox.program else tr("none")))
    arguments = function.open(plan.values)
    device = function.device
    feedback.info(tr("Device: {name}, because {reason}", name=device.name, reason=device.reason))
    values, unknown = scalars(arguments, plan.values)
    if unknown:
        _tell_unknown(unknown, arguments, bool(network), feedback)
    if network:  # all that it could take is declared
        values = {name: value for name, value in values.items() if name not in unknown}
    if plan.features is None:
        _square_batch(values, feedback)
    shown = Secrets(values, plan.secrets).shown(values)
    written = "; ".join(f"{name} {value}" for name, value in shown.items())
    feedback.info(tr("Arguments: {values}", values=written or tr("none")))
    answers = _configured(plan, function, values)
    description.remember(plan.package.identity, description.Description(tuple(arguments), answers.fields, answers.geometry_type))
    return values, arguments, answers


def _tell_unknown(unknown: Sequence[str], arguments: Sequence[ModelArgument], is_native: bool, feedback: Feedback) -> None:
    names = {"unknown": ", ".join(unknown), "known": ", ".join(argument.name for argument in arguments) or tr("none")}
    feedback.warning(
        tr("The model does not know the argument(s) {unknown}; they are left out. It knows: {known}.", **names)
        if is_native
        else tr(
            "The model does not know the argument(s) {unknown}; they are handed over all the same. It knows: {known}.", **names
        )
    )


def _configured(plan: InferencePlan, function: RasterFunction, values: dict[str, str]) -> FunctionAnswers:
    """Hand the values over; a padding that would leave nothing of a detector's block is refused before and after."""
    if plan.features is not None:
        return function.configure(values)
    tile_size = values.get("tile_size", "")
    tile = int(tile_size) if tile_size.isdigit() else plan.package.definition.tile_size
    check_padding(values.get("padding"), tile)
    answers = function.configure(values)
    check_padding(str(answers.configuration.padding), tile)
    return answers


def class_filter(plan: InferencePlan, arguments: Sequence[ModelArgument], feedback: Feedback) -> ClassFilter | None:
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


def check_suppression(plan: InferencePlan, answers: FunctionAnswers, feedback: Feedback) -> None:
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
