"""Names of fields that an output can hold: none twice, none that the format needs for itself."""

from __future__ import annotations

from collections.abc import Sequence

from qgis.core import QgsDataSourceUri, QgsField, QgsFields

from ..inference.fields import Field
from ..inference.translation import tr
from .output import qgis_fields
from .staging.destination import Destination
from .staging.postgres import PostgresTable
from .task import TaskFeedback

ID_FIELD, GEOMETRY_FIELD = "fid", "geom"
"""What a GeoPackage calls its own ids, which are whole and occur once, and its geometries."""


def free_name(name: str, taken: set[str]) -> str:
    """The name, or with a number behind it where it is taken; it is taken afterwards."""
    free, number = name, 0
    while free.casefold() in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free.casefold())
    return free


def layout(
    destination: object, fields: QgsFields, given: Sequence[Field], keeps_ids: bool, told: TaskFeedback
) -> tuple[QgsFields, list[str]]:
    """The fields of features and new ones behind them, with names that the destination can hold.

    Args:
        destination: Value of the output's parameter.
        fields: Those of the features; they keep their names, unless the format needs one.
        given: New ones; they give way.
        keeps_ids: Whether a field `fid` holds whole numbers that occur once.
        told: Told of names that were changed.

    Returns:
        All fields, and the names of the new ones.
    """
    reserved = _reserved(destination)
    own = reserved - {ID_FIELD} if keeps_ids else reserved
    names = [field.name() for field in fields]
    taken = reserved | {name.casefold() for name in names}
    made = QgsFields()
    for field in fields:
        copy = QgsField(field)
        if field.name().casefold() in own:
            copy.setName(free_name(field.name(), taken))
            told.warning(tr("The field {name} of the features is named {other} in the output, as its format needs that name "
                            "for itself.", name=field.name(), other=copy.name()))  # fmt: skip
        made.append(copy)
    new = []
    for field, copy in zip(given, qgis_fields(given)):
        name = free_name(field.name, taken)
        if name != field.name:
            told.warning(_moved(field.name, name, names))
            copy.setName(name)
        made.append(copy)
        new.append(name)
    return made, new


def _moved(name: str, other: str, names: Sequence[str]) -> str:
    if name.casefold() in {each.casefold() for each in names}:
        return tr("The features have a field {name} already, so the new one is named {other}.", name=name, other=other)
    return tr("The new field {name} is named {other}, as the output's format needs that name for itself.", name=name, other=other)


def _reserved(destination: object) -> set[str]:
    """Names that the format of a destination needs, casefolded."""
    known = Destination.of(destination)
    if known.file is not None and known.file.suffix.lower() == ".gpkg":
        return {ID_FIELD, GEOMETRY_FIELD}
    table = PostgresTable.of(known.text)
    return set() if table is None else {(QgsDataSourceUri(table.address).geometryColumn() or GEOMETRY_FIELD).casefold()}
