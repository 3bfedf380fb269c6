"""Writes detections into a feature sink, and checks beforehand that this will work."""

from __future__ import annotations

import base64
import binascii
import math
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from qgis.core import (
    Qgis,
    QgsFeature,
    QgsFeatureSink,
    QgsField,
    QgsFields,
    QgsGeometry,
    QgsProcessingException,
)
from qgis.PyQt.QtCore import QByteArray, QDateTime, QMetaType, Qt

from ..inference.classes import class_field
from ..inference.fields import Field, find_name
from ..inference.translation import tr
from .rasters.raster_input import crs_of
from .staging.destination import Destination
from .staging.staged_sink import Layout
from .style import Occurring

if TYPE_CHECKING:
    from ..inference.detections import Detections
    from ..inference.plan import InferencePlan
    from .task import InferenceTask

WKB_TYPES = {
    1: Qgis.WkbType.Point,
    2: Qgis.WkbType.MultiPoint,
    3: Qgis.WkbType.LineString,
    4: Qgis.WkbType.Polygon,
}
"""By what getGeometryType answers."""
STOCK_FIELDS = (Field("Class", "text", "Class"), Field("Confidence", "double", "Confidence"))
"""What nearly all detectors give (CONTRACT 7); known before a package has run."""

_TYPES = {
    "text": QMetaType.Type.QString,
    "double": QMetaType.Type.Double,
    "integer": QMetaType.Type.Int,
    "long": QMetaType.Type.LongLong,
    "datetime": QMetaType.Type.QDateTime,
    "binary": QMetaType.Type.QByteArray,
}


def qgis_fields(fields: Iterable[Field]) -> QgsFields:
    """The fields of the output layer."""
    result = QgsFields()
    for field in fields:
        converted = QgsField(field.name, _TYPES[field.kind])
        if field.alias != field.name:
            converted.setAlias(field.alias)
        result.append(converted)
    return result


def fields_for(destination: object, fields: Iterable[Field]) -> tuple[Field, ...]:
    """The fields as the destination can hold them: a Shapefile has no binary ones, so they stay base64 text."""
    file = Destination.of(destination).file
    is_shapefile = file is not None and file.suffix.lower() == ".shp"
    return tuple(replace(field, kind="text") if is_shapefile and field.kind == "binary" else field for field in fields)


@dataclass(frozen=True)
class Output:
    """A layer that is to be written.

    Attributes:
        layout: Of the layer.
        write: Writes all features; what occurs, and how many there are.
        confidence: The field with the confidence.
        label: The field with the class; None for the one that is usual.
    """

    layout: Layout
    write: Callable[[QgsFeatureSink], tuple[Occurring, int]]
    confidence: str
    label: str | None = None


def detections_output(parameters: dict[str, Any], plan: InferencePlan, task: InferenceTask, confidence: str) -> Output:
    """The layer of what a detector has found."""
    result = task.result
    held = fields_for(parameters.get("OUTPUT"), result.fields)

    def write_all(sink: QgsFeatureSink) -> tuple[Occurring, int]:
        return write(sink, held, result.detections(), confidence, task.stop_writing_if_canceled), result.count

    return Output(Layout(qgis_fields(held), WKB_TYPES[result.geometry_type], crs_of(plan.crs)), write_all, confidence)


def write(
    sink: QgsFeatureSink,
    fields: tuple[Field, ...],
    batches: Iterable[Detections],
    confidence: str,
    check: Callable[[], None] = lambda: None,
) -> Occurring:
    """Write all detections into a sink that has these fields.

    Returns:
        What classes and confidence occur, by the class field and this field with the confidence, and how many there are.

    Raises:
        QgsProcessingException: A feature could not be written.
        InferenceError: `check` raised it, which is called now and then.
    """
    from shapely import to_wkb

    converters = [(field.name, converter(field)) for field in fields]
    layout, occurring, names = qgis_fields(fields), Occurring(), [field.name for field in fields]
    wanted = (class_field(names), find_name(names, confidence))
    places = [None if name is None else names.index(name) for name in wanted]
    for detections in batches:
        check()
        for wkb, row in zip(to_wkb(detections.geometries, output_dimension=2), detections.rows()):
            feature = QgsFeature(layout)
            geometry = QgsGeometry()
            geometry.fromWkb(wkb)
            feature.setGeometry(geometry)
            values = [convert(row.get(name)) for name, convert in converters]
            feature.setAttributes(values)
            occurring.count(*(None if place is None else values[place] for place in places))
            add_to(sink, feature)
    return occurring


def add_to(sink: QgsFeatureSink, feature: QgsFeature) -> None:
    """Write a feature.

    Raises:
        QgsProcessingException: It could not be written.
    """
    if not sink.addFeature(feature, QgsFeatureSink.Flag.FastInsert):
        raise QgsProcessingException(tr("A feature cannot be written: {error}", error=sink.lastError()))


def why_not_writable(destination: object) -> str:
    """Why a file of this destination could not be written, or an empty string. Nothing is opened or changed."""
    path = Destination.of(destination).file
    if path is None:
        return ""
    folder = os.path.dirname(os.path.abspath(path)) or "."
    if not os.path.isdir(folder):
        return tr("The output folder {folder} does not exist. Create it or choose another one.", folder=folder)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return tr("The output folder {folder} cannot be written: {error}.", folder=folder, error=error.strerror)
    if os.path.isdir(path) or (os.path.exists(path) and not os.access(path, os.W_OK)):
        return tr("The output file {path} cannot be written.", path=path)
    return ""


def converter(field: Field) -> Callable[[Any], Any]:
    """What turns a value of JSON into one that a field can hold."""
    return _CONVERTERS[field.kind]


def _number(value: Any) -> float | None:  # noqa: ANN401 - any value of JSON
    try:
        number = float(value.replace(",", ".") if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _integer(value: Any, bits: int) -> int | None:  # noqa: ANN401
    number = value if isinstance(value, int) else _number(value)
    if number is None or not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        return None
    return round(number)


def _text(value: Any) -> str | None:  # noqa: ANN401
    return None if value is None else str(value)


def _date_time(value: Any) -> QDateTime | None:  # noqa: ANN401
    """Esri writes milliseconds since 1970 (UTC); other authors write ISO 8601."""
    if isinstance(value, str) and _number(value) is None:
        parsed = QDateTime.fromString(value, Qt.DateFormat.ISODate)
        return parsed if parsed.isValid() else None
    number = _number(value)
    if number is None:
        return None
    try:
        moment = datetime.fromtimestamp(number / 1000, timezone.utc)
    except (OverflowError, OSError, ValueError):
        return None  # beyond the calendar
    return QDateTime.fromString(moment.isoformat(), Qt.DateFormat.ISODate)


def _binary(value: Any) -> QByteArray | None:  # noqa: ANN401
    try:
        return QByteArray(base64.b64decode(str(value), validate=True)) if value is not None else None
    except (binascii.Error, ValueError):
        return QByteArray(str(value).encode())


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "text": _text,
    "double": _number,
    "integer": lambda value: _integer(value, 32),
    "long": lambda value: _integer(value, 64),
    "datetime": _date_time,
    "binary": _binary,
}
