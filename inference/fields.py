"""The fields of a detection, as a raster function declares them (CONTRACT 3.5, 7)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

GEOMETRY_TYPES = {1: "Point", 2: "MultiPoint", 3: "LineString", 4: "Polygon"}
"""What getGeometryType may answer, by the names of OGC's simple features."""

_KINDS = {
    "esriFieldTypeDouble": "double", "esriFieldTypeSingle": "double", "esriFieldTypeInteger": "integer",
    "esriFieldTypeSmallInteger": "integer", "esriFieldTypeBigInteger": "long", "esriFieldTypeDate": "datetime",
    "esriFieldTypeBlob": "binary",
}  # fmt: skip
_DROPPED = ("esriFieldTypeOID", "esriFieldTypeGeometry")
_DROPPED_NAMES = ("oid", "fid", "objectid", "shape")


@dataclass(frozen=True)
class Field:
    """A field of the output.

    Attributes:
        name: As the function names it.
        kind: text, double, integer, long, datetime or binary.
        alias: What users read.
    """

    name: str
    kind: str
    alias: str


IMAGE = Field("Image", "text", "Image")
"""Tells the raster of a detection, where several are searched one by one."""


def declared_fields(answer: object) -> tuple[Field, ...]:
    """The fields that getFields answered: a list, or an object holding one; repeated names count once.

    Object ids and shapes are left out: the output has its own.
    """
    entries = answer.get("fields") if isinstance(answer, dict) else answer
    fields: dict[str, Field] = {}
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or not entry.get("name"):
            continue
        name, kind = str(entry["name"]), str(entry.get("type", ""))
        if kind not in _DROPPED and not is_own(name):
            alias = str(entry.get("alias") or name)
            fields.setdefault(name.casefold(), Field(name, _KINDS.get(kind, "text"), alias))
    return tuple(fields.values())


def is_own(name: str) -> bool:
    """Whether the output has a field of this name anyway: its id and its shape."""
    return name.casefold() in _DROPPED_NAMES


def widened(field: Field, value: object) -> Field:
    """The field with a kind that holds this value too: long, else double, else text."""
    if value is None or field.kind == "text" or isinstance(value, int):
        return field
    return replace(field, kind="double" if isinstance(value, float) else "text")


def find_name(names: Iterable[str], wanted: str) -> str | None:
    """The name that equals the wanted one but for case."""
    return next((name for name in names if name.casefold() == wanted.casefold()), None)
