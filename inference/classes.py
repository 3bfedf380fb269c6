"""The classes of a model: what its definition tells, and which of them a user is interested in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ArgumentValueError
from .translation import tr

NAME_FIELDS = ("class", "classname", "label", "caption")
"""Fields that hold the name of a detection's class, best first (CONTRACT 3.5, 7), in lower case."""
VALUE_FIELDS = ("classvalue", "value")
"""Fields that hold its number."""
PALETTE = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
"""For classes without a colour of their own: Okabe and Ito's, which people with colour blindness can tell apart."""


@dataclass(frozen=True)
class ModelClass:
    """A class of the model definition.

    Attributes:
        value: Its number, as text.
        name: What users read.
        color: Red, green and blue, 0 to 255; None where the definition tells none.
    """

    value: str
    name: str
    color: tuple[int, int, int] | None

    @property
    def hex_color(self) -> str:
        """As #rrggbb; empty where there is none."""
        return f"#{bytes(self.color).hex()}" if self.color else ""


def declared_classes(definition: dict[str, Any]) -> tuple[ModelClass, ...]:
    """The classes of an .emd, in its order; entries that are no classes are passed over (CONTRACT 2)."""
    entries = definition.get("Classes")
    found = (_declared(entry) for entry in (entries if isinstance(entries, list) else ()) if isinstance(entry, dict))
    return tuple(each for each in found if each is not None)


def _declared(entry: dict[str, Any]) -> ModelClass | None:
    value, name = entry.get("Value", entry.get("ClassValue")), entry.get("Name", entry.get("ClassName"))
    if value is None and name is None:
        return None
    return ModelClass(
        str(value if value is not None else ""), str(name if name is not None else value), _color(entry.get("Color"))
    )


def _color(value: object) -> tuple[int, int, int] | None:
    if isinstance(value, str) and len(value) == 7 and value.startswith("#"):  # noqa: PLR2004 - #rrggbb
        try:
            value = list(bytes.fromhex(value[1:]))
        except ValueError:
            return None
    parts = value[:3] if isinstance(value, list) else []
    if len(parts) < 3 or not all(isinstance(part, (int, float)) and abs(part) < 1e9 for part in parts):  # noqa: PLR2004
        return None
    red, green, blue = (min(max(int(part), 0), 255) for part in parts)
    return red, green, blue


def class_field(names: Iterable[str]) -> str | None:
    """The field among these that tells a detection's class: one with names before one with numbers."""
    by_folded = {name.casefold(): name for name in reversed(list(names))}
    return next((by_folded[each] for each in (*NAME_FIELDS, *VALUE_FIELDS) if each in by_folded), None)


def parse_classes(value: object) -> tuple[str, ...]:
    """What a user gave for CLASSES: a list, or `A;B`; each name once."""
    items = value if isinstance(value, Sequence) and not isinstance(value, str) else str(value or "").split(";")
    return tuple(dict.fromkeys(text for item in items if (text := str(item).strip())))


class ClassLookup:
    """Finds the declared class behind what a class field holds."""

    def __init__(self, classes: Sequence[ModelClass], field: str) -> None:
        """Prepare for a field: one with names is looked up by name, one with numbers by value."""
        by_value = field.casefold() in VALUE_FIELDS
        self._known = {(each.value if by_value else each.name.casefold()): each for each in reversed(classes)}
        self._by_value = by_value

    def find(self, value: object) -> ModelClass | None:
        """The class; None for one that the definition does not list."""
        text = _text(value)
        return self._known.get(text if self._by_value else text.casefold())


def class_colors(values: Iterable[object], classes: Sequence[ModelClass], field: str) -> dict[object, tuple[str, str]]:
    """Label and colour (#rrggbb) of each value of a class field: in the definition's order, others behind by name."""
    lookup, order = ClassLookup(classes, field), {each.name: number for number, each in enumerate(classes)}
    found = [(value, lookup.find(value)) for value in set(values)]
    listed = sorted(((value, each) for value, each in found if each is not None), key=lambda pair: order[pair[1].name])
    others = sorted((value for value, each in found if each is None), key=str)
    colors: dict[object, tuple[str, str]] = {}
    for value, each in listed:
        colors[value] = (each.name, each.hex_color or PALETTE[order[each.name] % len(PALETTE)])
    for number, value in enumerate(others, len(classes)):
        colors[value] = (_text(value) if value is not None else "", PALETTE[number % len(PALETTE)])
    return colors


class ClassFilter:
    """Keeps the detections of some classes."""

    def __init__(self, wanted: Sequence[str], known: Sequence[ModelClass], is_open: bool = False) -> None:
        """Choose classes.

        Args:
            wanted: Names, in any case.
            known: The classes of the model definition.
            is_open: Whether the function may give classes that the definition does not list.

        Raises:
            ArgumentValueError: A name is not known, and the function gives no others.
        """
        folded = {name.casefold() for name in wanted}
        names = {each.name.casefold() for each in known}
        self.unknown = tuple(name for name in wanted if name.casefold() not in names)
        if self.unknown and known and not is_open:
            raise ArgumentValueError(
                tr("CLASSES names {unknown}, but the classes of the model are: {known}. Choose among these, or leave it empty.",
                   unknown=", ".join(self.unknown), known=", ".join(each.name for each in known))
            )  # fmt: skip
        self._names = folded
        self._values = {each.value for each in known if each.name.casefold() in folded} - {""}
        self._only = known[0].name.casefold() in folded if len(known) == 1 else False

    def keep(self, attributes: dict[str, list[Any]], count: int) -> NDArray[Any]:
        """Which of `count` detections are of a wanted class (bool), by their attribute columns.

        Where no field tells a class, a model of one class gives that one.
        """
        field = class_field(attributes)
        if field is None:
            return np.full(count, self._only)
        by_value = field.casefold() in VALUE_FIELDS
        return np.fromiter((self._is_wanted(value, by_value) for value in attributes[field]), bool, count)

    def _is_wanted(self, value: object, by_value: bool) -> bool:
        text = _text(value)
        return text in self._values if by_value else text.casefold() in self._names


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
