"""Model arguments: what a raster function declares, what a user gives, and what the function is handed.

CONTRACT.md 3.2 (declaration), 4.2 (the text that ArcGIS writes), 4.3 (values are handed over as text).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ArgumentValueError
from .translation import tr

HOST_ARGUMENTS = frozenset({"raster", "rasters", "model", "device"})
MOST_ARGUMENTS, MOST_CHOICES, LONGEST_LABEL, LONGEST_TEXT = 200, 1000, 200, 20_000
"""What of a declaration is looked at: a package may declare anything."""
TRUE, FALSE = "True", "False"
_KINDS = {
    "numeric": "number", "gpdouble": "number", "gplong": "integer", "boolean": "boolean", "gpboolean": "boolean",
}  # fmt: skip
# name, then one of blank : = and the value, in which quotes protect semicolons
_ROW = re.compile(r"""((?:'[^']*'|"[^"]*"|[^;'"]|['"])+)""")


@dataclass(frozen=True)
class ModelArgument:
    """One argument that a raster function declares.

    Attributes:
        name: As the function reads it.
        kind: number, integer, boolean or text.
        default: As text; None when it has none.
        choices: The allowed texts; empty when all are.
        minimum, maximum: Range of a number.
    """

    name: str
    kind: str
    default: str | None
    required: bool
    label: str
    description: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    @property
    def limits(self) -> str:
        """The values that are allowed, for users; empty when all are."""
        if self.choices:
            return tr("one of {choices}", choices=", ".join(self.choices))
        if self.minimum is None or self.maximum is None:
            return ""
        return tr("{low:g} to {high:g}", low=self.minimum, high=self.maximum)

    def checked(self, value: object) -> str:
        """The value as the function is handed it.

        Raises:
            ArgumentValueError: It is not of the argument's kind, not among the choices or out of range.
        """
        text = _text(value).strip() if self.kind != "text" else _text(value)
        if self.kind == "boolean":
            return self._boolean(text)
        if self.kind in ("number", "integer"):
            return self._number(text)
        if self.choices:
            return self._choice(text)
        return text

    def _boolean(self, text: str) -> str:
        if text.lower() in ("true", "1", "yes", "on"):
            return TRUE
        if text.lower() in ("false", "0", "no", "off"):
            return FALSE
        raise self._error(tr("True or False"), text)

    def _number(self, text: str) -> str:
        # Some locales export decimal commas (CONTRACT 4.2).
        try:
            number = float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
        except ValueError:
            number = math.nan
        expected = tr("a whole number") if self.kind == "integer" else tr("a number")
        if not math.isfinite(number) or (self.kind == "integer" and number != int(number)):
            raise self._error(expected, text)
        below = self.minimum is not None and number < self.minimum
        if below or (self.maximum is not None and number > self.maximum):
            raise self._error(tr("{kind} from {low} to {high}", kind=expected, low=self.minimum, high=self.maximum), text)
        return _text(number)

    def _choice(self, text: str) -> str:
        for choice in self.choices:
            if choice.lower() == text.strip().lower():
                return choice
        raise self._error(self.limits, text)

    def _error(self, expected: str, given: str) -> ArgumentValueError:
        return ArgumentValueError(
            tr("The argument {name} must be {expected}, but '{given}' was given.",
               name=self.name, expected=expected, given=given)
        )  # fmt: skip


def declared_arguments(parameters: list[Any]) -> list[ModelArgument]:
    """The arguments among what getParameterInfo answered, without those that the host fills."""
    arguments: dict[str, ModelArgument] = {}
    for entry in parameters[:MOST_ARGUMENTS]:
        if not isinstance(entry, dict) or not entry.get("name"):
            continue
        name = str(entry["name"])[:LONGEST_LABEL]
        is_raster = str(entry.get("dataType", "")).lower() in ("raster", "rasters")
        if name.lower() not in HOST_ARGUMENTS and not is_raster:
            arguments.setdefault(name, _declared(name, entry))
    return list(arguments.values())


def _declared(name: str, entry: dict[str, Any]) -> ModelArgument:
    value, domain = entry.get("value"), entry.get("domain")
    items = domain if isinstance(domain, list) else []
    kind = _kind(str(entry.get("dataType", "")), value, items)
    numeric = kind in ("number", "integer")
    bounded = numeric and len(items) == 2 and all(_is_number(item) for item in items)  # noqa: PLR2004 - low and high
    return ModelArgument(
        name=name,
        kind=kind,
        default=None if value is None else _text(value)[:LONGEST_TEXT],
        required=bool(entry.get("required", False)),
        label=str(entry.get("displayName") or name)[:LONGEST_LABEL],
        description=str(entry.get("description") or "")[:LONGEST_TEXT],
        choices=() if numeric or kind == "boolean" else tuple(_text(item)[:LONGEST_LABEL] for item in items[:MOST_CHOICES]),
        minimum=float(items[0]) if bounded else None,
        maximum=float(items[1]) if bounded else None,
    )


def _kind(data_type: str, value: object, domain: list[Any]) -> str:
    if str(value) in (TRUE, FALSE) or {str(item).lower() for item in domain} == {"true", "false"}:
        return "boolean"
    return _KINDS.get(data_type.lower(), "text")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def parse_values(value: object) -> dict[str, str]:
    """What a user gave for ARGUMENTS as text by name: a mapping, JSON, or `name value;name value`.

    Raises:
        ArgumentValueError: It is none of these.
    """
    if value is None or value == "":
        return {}
    if isinstance(value, Mapping):
        return {str(name): _text(inner) for name, inner in value.items() if inner is not None}
    text = str(value).strip()
    if text.startswith("{"):
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError) as error:  # also numbers of thousands of digits
            raise ArgumentValueError(tr("The arguments are not valid JSON: {error}.", error=error)) from error
        return parse_values(parsed)
    return dict(_parse_row(row) for row in _ROW.findall(text) if row.strip())


def _parse_row(row: str) -> tuple[str, str]:
    matched = re.match(r"\s*([^\s:=]+)\s*(?:[:=]\s*|\s)(.*)$", row, re.DOTALL)
    if matched is None:
        raise ArgumentValueError(
            tr("'{row}' is no argument. Write name value;name value, for example threshold 0.5;padding 64, or JSON.",
               row=row.strip())
        )  # fmt: skip
    value = matched[2].strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    return matched[1], value


def scalars(arguments: list[ModelArgument], values: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The values of all arguments: declared defaults, overlaid with the user's own.

    Returns:
        Text by name, and the given names that are not declared (handed over all the same).

    Raises:
        ArgumentValueError: A value is of the wrong kind, or a required argument has none.
    """
    declared = {argument.name.lower(): argument for argument in arguments}
    result = {argument.name: argument.default for argument in arguments if argument.default is not None}
    unknown = []
    for name, value in values.items():
        argument = declared.get(name.lower())
        if argument is None:
            unknown.append(name)
            result[name] = value
        else:
            result[argument.name] = argument.checked(value)
    missing = [argument.name for argument in arguments if argument.required and argument.name not in result]
    if missing:
        raise ArgumentValueError(tr("The model needs a value for {names}.", names=", ".join(missing)))
    return result, unknown


def _text(value: object) -> str:
    """A value as functions expect it: whole numbers without decimals, True and False (CONTRACT 4.3)."""
    if isinstance(value, bool):
        return TRUE if value else FALSE
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    return str(value)
