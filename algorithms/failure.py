"""What is wrong becomes the one exception that Processing shows: with a value that was given, or with a run."""

from __future__ import annotations

import math
import traceback

from qgis.core import QgsProcessingException, QgsProcessingFeedback, QgsProcessingParameterDefinition

from ..inference.errors import Cancelled, InferenceError
from ..inference.secrets import without_credentials
from ..inference.translation import tr


def reported(error: Exception, feedback: QgsProcessingFeedback) -> QgsProcessingException:
    """The one exception that Processing shows; the longer text goes to the log."""
    if isinstance(error, InferenceError):
        if error.details and not isinstance(error, Cancelled):
            feedback.pushDebugInfo(error.details)
        return QgsProcessingException(without_credentials(str(error)))
    feedback.pushDebugInfo("".join(traceback.format_exception(type(error), error, error.__traceback__)))
    return QgsProcessingException(tr("Unexpected error: {kind}: {error}", kind=type(error).__name__, error=error))


def check_number(definition: QgsProcessingParameterDefinition, low: float, high: float, value: object) -> None:
    """Refuse a value that is no number, or out of its range; nothing given is fine.

    Raises:
        QgsProcessingException: It names the parameter, what is allowed and the value.
    """
    if value is None or value == "":
        return
    try:
        fits = low <= float(value) <= high
    except (TypeError, ValueError):
        fits = False
    if not fits:
        allowed = tr("from {low} to {high}", low=f"{low:g}", high=f"{high:g}") if high < math.inf else tr("0 or more")
        label = definition.description()
        raise QgsProcessingException(
            tr("The {label} ({name}) must be a number, {allowed}, but {value} was given.",
               label=label[:1].lower() + label[1:], name=definition.name(), allowed=allowed, value=value)
        )  # fmt: skip
