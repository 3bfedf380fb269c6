"""The layer that a classifier makes: the features as they came, each with its label, confidence and what else was said."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from qgis.core import Qgis, QgsFeature, QgsFeatureSink

from ..inference.fields import IMAGE
from ..inference.plan import InferencePlan
from .features import PORTION, Table, unpacked
from .field_names import layout
from .output import Output, add_to, converter, fields_for
from .staging.staged_sink import Layout
from .style import Occurring
from .task import InferenceTask, TaskFeedback

if TYPE_CHECKING:
    from ..inference.classification.classifying import ClassificationResult, LabelledRow


def labels_output(destination: object, plan: InferencePlan, task: InferenceTask, table: Table, told: TaskFeedback) -> Output:
    """The layer for the labels of a run.

    Args:
        destination: Value of OUTPUT.
        plan: The run.
        task: The run, when it has ended.
        table: What the features have in common.
        told: Told of names that had to be changed.
    """
    result = task.result
    names_image = plan.names_items and not plan.features.is_whole
    given = fields_for(destination, (*result.fields, *([IMAGE] if names_image else [])))
    fields, own = layout(destination, table.fields, given, table.keeps_ids and not names_image, told)
    converters = [converter(field) for field in given]

    def write_all(sink: QgsFeatureSink) -> tuple[Occurring, int]:
        occurring, count = Occurring(), 0
        for row in result.rows():
            if not count % PORTION:
                task.stop_writing_if_canceled()
            attributes, geometry = unpacked(row.record)
            values = [convert(value) for convert, value in zip(converters, _values(result, row, plan, names_image))]
            feature = QgsFeature(fields)
            feature.setGeometry(geometry)
            feature.setAttributes([*attributes, *values])
            occurring.count(values[0], values[1])
            add_to(sink, feature)
            count += 1
        return occurring, count

    return Output(Layout(fields, Qgis.WkbType(table.wkb_type), table.crs), write_all, own[1], own[0])


def _values(result: ClassificationResult, row: LabelledRow, plan: InferencePlan, names_image: bool) -> Iterable[Any]:
    image = None if row.item is None else plan.items[row.item].source.name
    return [*result.values_of(row.answer), *([image] if names_image else [])]
