"""The layer that a classifier makes: the features as they came, each with its label, confidence and what else was said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from qgis.core import Qgis, QgsFeature, QgsFeatureSink, QgsField, QgsFields, QgsProcessingException

from ..inference.fields import IMAGE, Field
from ..inference.plan import InferencePlan
from ..inference.translation import tr
from .features import Table, unpacked
from .output import Output, converter, fields_for, qgis_fields
from .staging.staged_sink import Layout
from .style import Occurring
from .task import InferenceTask, TaskFeedback

if TYPE_CHECKING:
    from ..inference.classification.classifying import ClassificationResult, LabelledRow

ID_FIELD = "fid"
"""A GeoPackage takes a field of this name for its own ids, which occur once."""


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
    layout, own = _layout(table.fields, given, names_image, told)
    converters = [converter(field) for field in given]

    def write_all(sink: QgsFeatureSink) -> tuple[Occurring, int]:
        occurring, count = Occurring(), 0
        for row in result.rows():
            if not count % 1000:
                task.stop_writing_if_canceled()
            attributes, geometry = unpacked(row.record)
            values = [convert(value) for convert, value in zip(converters, _values(result, row, plan, names_image))]
            feature = QgsFeature(layout)
            feature.setGeometry(geometry)
            feature.setAttributes([*attributes, *values])
            occurring.count(values[0], values[1])
            if not sink.addFeature(feature, QgsFeatureSink.Flag.FastInsert):
                raise QgsProcessingException(tr("A feature cannot be written: {error}", error=sink.lastError()))
            count += 1
        return occurring, count

    return Output(Layout(layout, Qgis.WkbType(table.wkb_type), table.crs), write_all, own[1], own[0])


def _values(result: ClassificationResult, row: LabelledRow, plan: InferencePlan, names_image: bool) -> Iterable[Any]:
    image = None if row.item is None else plan.items[row.item].source.name
    return [*result.values_of(row.answer), *([image] if names_image else [])]


def _layout(fields: QgsFields, given: Sequence[Field], repeats: bool, told: TaskFeedback) -> tuple[QgsFields, list[str]]:
    """The fields of the features and the new ones behind; a new name that is taken gets a number.

    Args:
        fields: Those of the features.
        given: New ones.
        repeats: Whether a feature may occur several times.
        told: Told of names that were changed.

    Returns:
        All fields, and the names of the new ones.
    """
    layout, taken = QgsFields(), {field.name().casefold() for field in fields}
    for field in fields:
        copy = QgsField(field)
        if repeats and copy.name().casefold() == ID_FIELD:
            copy.setName(free_name(copy.name(), taken))
        layout.append(copy)
    names = []
    for field, made in zip(given, qgis_fields(given)):
        name = free_name(field.name, taken)
        if name != field.name:
            told.warning(
                tr("The features have a field {name} already, so the new one is named {other}.", name=field.name, other=name)
            )
            made.setName(name)
        layout.append(made)
        names.append(name)
    return layout, names


def free_name(name: str, taken: set[str]) -> str:
    """The name, or with a number behind it where it is taken; it is taken afterwards."""
    free, number = name, 0
    while free.casefold() in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free.casefold())
    return free
