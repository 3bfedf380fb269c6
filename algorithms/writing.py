"""Writes what a run has found: the layer, whole or not at all, and its report."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsProcessingAlgorithm, QgsProcessingContext, QgsProcessingException

from ..inference.plan import InferencePlan
from ..inference.translation import tr
from .finishing import Finishing
from .output import WKB_TYPES, fields_for, qgis_fields, write
from .provenance import provenance_of
from .rasters.raster_input import crs_of
from .staging.destination import Destination
from .staging.staged_sink import Layout, staged_sink
from .task import InferenceTask


def written(
    algorithm: QgsProcessingAlgorithm,
    parameters: dict[str, Any],
    context: QgsProcessingContext,
    plan: InferencePlan,
    task: InferenceTask,
    raster: str,
    confidence: str,
) -> tuple[Finishing, dict[str, Any]]:
    """Write what stays into OUTPUT, and REPORT if it is wanted; what was there before is replaced when all is there.

    Args:
        algorithm: With the parameters OUTPUT and REPORT.
        parameters: Its values.
        context: Of Processing.
        plan: The run.
        task: The run, when it has ended.
        raster: Where the pixels came from.
        confidence: The field with the confidence.

    Returns:
        What is left to do in the main thread, and the results of the algorithm.

    Raises:
        QgsProcessingException: The output cannot be written.
    """
    result = task.result
    if result is None:
        raise QgsProcessingException(tr("The run ended without a result."))
    held = fields_for(parameters.get("OUTPUT"), result.fields)
    fields = qgis_fields(held)
    # Without this, attributes arrive as NULL when results are appended to an existing layer.
    expressions = context.expressionContext()
    expressions.setFields(fields)
    context.setExpressionContext(expressions)
    layout = Layout(fields, WKB_TYPES[result.geometry_type], crs_of(plan.crs))
    with staged_sink(algorithm, parameters, "OUTPUT", context, layout) as staged:
        occurring = write(staged.sink, held, result.detections(), confidence, task.stop_writing_if_canceled)
        finishing = Finishing(
            plan.package.definition,
            provenance_of(plan, result, raster),
            confidence,
            occurring,
            Destination.of(parameters.get("OUTPUT")).appends,
            algorithm.parameterDefinition("OUTPUT").description(),
        )
        report = _report(algorithm, parameters, context, plan, task, finishing)
        # Nothing may come between these two: a run that is cut there is written once more, and appends twice.
        destination = staged.publish(result.count)
        task.settle()
    return finishing, {"OUTPUT": destination, **report}


def _report(
    algorithm: QgsProcessingAlgorithm,
    parameters: dict[str, Any],
    context: QgsProcessingContext,
    plan: InferencePlan,
    task: InferenceTask,
    finishing: Finishing,
) -> dict[str, Any]:
    path = algorithm.parameterAsFileOutput(parameters, "REPORT", context)
    if not path or task.result is None:
        return {}
    from .report import write_report

    return {"REPORT": path} if write_report(path, plan, task.result, finishing, task.feedback) else {}
