"""The page that shows an inspection: one HTML file that needs nothing else."""

from __future__ import annotations

from html import escape

from ..inference.inspection import Inspection, kind_label
from ..inference.translation import tr
from .page import document, table


def page(inspection: Inspection) -> str:
    """The whole page."""
    parts = [f'<p class="warning">{escape(problem)}</p>' for problem in inspection.problems]
    for title, lines in inspection.sections():
        parts.append(f"<h2>{escape(title)}</h2>")
        parts.append(_arguments(inspection) if title == tr("Arguments") else _lines(inspection, title, lines))
    return document(inspection.package.definition.name, "\n".join(parts))


def _lines(inspection: Inspection, title: str, lines: list[str]) -> str:
    if title == tr("Classes"):
        rows = [[_swatch(each.color), escape(each.value), escape(each.name)] for each in inspection.package.definition.classes]
        return table(["", tr("Value"), tr("Name")], rows)
    return table([], [[escape(part) for part in line.partition(": ")[::2]] for line in lines])


def _swatch(color: tuple[int, int, int] | None) -> str:
    return "" if color is None else f'<span class="swatch" style="background: rgb{color}"></span>'


def _arguments(inspection: Inspection) -> str:
    arguments = inspection.description.arguments if inspection.description else ()
    rows = []
    for each in arguments:
        limits = ", ".join(each.choices) if each.choices else ""
        if each.minimum is not None:
            limits = f"{each.minimum:g} … {each.maximum:g}"
        about = " - ".join(dict.fromkeys(text for text in (each.label, each.description) if text and text != each.name))
        cells = (each.name, kind_label(each.kind), "" if each.default is None else each.default, limits, about)
        rows.append([f"<code>{escape(cells[0])}</code>", *map(escape, cells[1:])])
    return table([tr("Argument"), tr("Kind"), tr("Default"), tr("Allowed"), tr("About")], rows)
