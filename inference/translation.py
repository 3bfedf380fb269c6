"""Lets the engine speak the user's language without knowing QGIS: the plugin sets the translator."""

from __future__ import annotations

from collections.abc import Callable

CONTEXT = "DeepLearningPackages"
"""Context of all strings in the .ts files."""

_translate: Callable[[str], str] = str


def set_translator(translate: Callable[[str], str]) -> None:
    """Use this function for all strings that users see."""
    global _translate  # noqa: PLW0603 - the process has one language
    _translate = translate


def tr(text: str, /, **values: object) -> str:
    """Translate a text and fill in its {named} values."""
    return _translate(text).format(**values)
