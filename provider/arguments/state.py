"""What the user has set for a model's arguments; knows no widgets."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

from ...inference.arguments import ModelArgument, parse_values
from ...inference.errors import ArgumentValueError


class ArgumentState:
    """The arguments of the chosen model, and the values that differ from their defaults.

    Attributes:
        arguments: What the model declares; None while that is not known.
    """

    def __init__(self) -> None:
        self.arguments: tuple[ModelArgument, ...] | None = None
        self._given: dict[str, str] = {}
        self._parked: dict[str, str] = {}
        self._belongs_to_model = False
        self._unreadable: object = None

    def declare(self, arguments: Iterable[ModelArgument]) -> None:
        """Another model is there. Values stay where it has the same argument; others wait in case the old one comes back."""
        self.arguments = tuple(arguments)
        names = {argument.name.lower(): argument.name for argument in self.arguments}
        everything = {**self._parked, **self._given}
        if not self._belongs_to_model:  # what was loaded belongs to this model, declared or not
            kept = {names.get(name.lower(), name): value for name, value in self._given.items()}
        else:
            kept = {names[name.lower()]: value for name, value in everything.items() if name.lower() in names}
        self._parked = {name: value for name, value in everything.items() if name.lower() not in {each.lower() for each in kept}}
        self._given, self._belongs_to_model = kept, True

    def forget(self) -> None:
        """No model is chosen, or it cannot be read; values stay."""
        self.arguments = None

    def load(self, value: object) -> None:
        """Take over a stored value: JSON, `name value;name value` or a mapping.

        Raises:
            ArgumentValueError: It is none of these; it stays what is stored until something is changed.
        """
        names = {argument.name.lower(): argument.name for argument in self.arguments or ()}
        self._belongs_to_model, self._unreadable = False, value
        self._given = {}
        self._given = {names.get(name.lower(), name): text for name, text in parse_values(value).items()}
        self._unreadable = None

    def text(self, argument: ModelArgument) -> str:
        """The present value of an argument."""
        return self._given.get(argument.name, argument.default or "")

    def set(self, name: str, text: str) -> None:
        """Set a value; the default again means that nothing is set."""
        self._unreadable = None
        argument = next((each for each in self.arguments or () if each.name == name), None)
        if argument is not None and same(argument, text, argument.default):
            self._given.pop(name, None)
        else:
            self._given[name] = text

    def reset(self, name: str) -> None:
        """Go back to the default."""
        self._unreadable = None
        self._given.pop(name, None)

    def reset_all(self) -> None:
        """Go back to all defaults."""
        self._unreadable = None
        self._given.clear()

    def is_changed(self, argument: ModelArgument) -> bool:
        """Whether the value differs from the default."""
        return argument.name in self._given and not same(argument, self._given[argument.name], argument.default)

    def problem(self, argument: ModelArgument) -> str:
        """What is wrong with the value, or an empty text."""
        if argument.name not in self._given:
            return ""
        try:
            argument.checked(self._given[argument.name])
        except ArgumentValueError as error:
            return str(error)
        return ""

    @property
    def undeclared(self) -> dict[str, str]:
        """Values for names that the model does not declare; they are handed over all the same."""
        known = {argument.name for argument in self.arguments or ()}
        return {name: value for name, value in self._given.items() if name not in known}

    @property
    def given(self) -> dict[str, str]:
        """All values that were set, as text."""
        return dict(self._given)

    def replace(self, values: dict[str, str]) -> None:
        """Set all values at once, as the raw editor does."""
        self._given, self._belongs_to_model, self._unreadable = dict(values), False, None

    def value(self) -> str:
        """What is stored: JSON of the values that differ from the defaults; empty when none does."""
        if self._unreadable is not None:
            return str(self._unreadable)
        changed = [argument for argument in self.arguments or () if self.is_changed(argument)]
        shown = {argument.name: plain(argument, self._given[argument.name]) for argument in changed}
        shown.update(self.undeclared)
        return json.dumps(shown, ensure_ascii=False) if shown else ""


def plain(argument: ModelArgument, text: str) -> object:
    """A value in the type that JSON has for it; text where that would not come back as the same value."""
    try:
        checked = argument.checked(text)
    except ArgumentValueError:
        return text
    if argument.kind == "boolean":
        return checked == "True"
    if argument.kind in ("number", "integer"):
        number = float(checked)
        return int(checked) if checked.lstrip("-").isdigit() else number
    return text


def same(argument: ModelArgument, text: str, other: str | None) -> bool:
    """Whether two values of an argument mean the same."""
    if other is None:
        return text == ""
    if text == other:
        return True
    if argument.kind in ("number", "integer"):
        try:
            return math.isclose(float(text), float(other), rel_tol=1e-15)
        except ValueError:
            return False
    return argument.kind == "boolean" and text.lower() == other.lower()
