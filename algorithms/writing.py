"""Writes what a run has found: the layer, whole or not at all, and its report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qgis.core import QgsProcessingAlgorithm, QgsProcessingContext

from ..inference.plan import InferencePlan
from .finishing import Finishing
from .output import Output
from .provenance import provenance_of
from .staging.destination import Destination
from .staging.staged_sink import staged_sink
from .task import InferenceTask

if TYPE_CHECKING:
    from .package_algorithm import Call


def written(
    algorithm: QgsProcessingAlgorithm, call: Call, plan: InferencePlan, task: InferenceTask, raster: str, output: Output
) -> tuple[Finishing, dict[str, Any]]:
    """Write a layer into OUTPUT, and REPORT if it is wanted; what was there before is replaced when all is there.

    Args:
        algorithm: With the parameters OUTPUT and REPORT.
        call: Its values.
        plan: The run.
        task: The run, when it has ended.
        raster: Where the pixels came from.
        output: The layer.

    Returns:
        What is left to do in the main thread, and the results of the algorithm.

    Raises:
        QgsProcessingException: The output cannot be written.
    """
    parameters, context = call.parameters, call.context
    # Without this, attributes arrive as NULL when results are appended to an existing layer.
    expressions = context.expressionContext()
    expressions.setFields(output.layout.fields)
    context.setExpressionContext(expressions)
    with staged_sink(algorithm, parameters, "OUTPUT", context, output.layout) as staged:
        occurring, count = output.write(staged.sink)
        finishing = Finishing(
            plan.package.definition,
            provenance_of(plan, task.result, raster),
            output.confidence,
            output.label,
            occurring,
            Destination.of(parameters.get("OUTPUT")).appends,
            algorithm.parameterDefinition("OUTPUT").description(),
            {field.name(): field.alias() for field in output.layout.fields if field.alias()},
        )
        report = _report(algorithm, parameters, context, plan, task, finishing)
        # Nothing may come between these two: a run that is cut there is written once more, and appends twice.
        destination = staged.publish(count)
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
