"""The page that shows an inspection: one HTML file that needs nothing else."""

from __future__ import annotations

from html import escape

from ..inference.inspection import Inspection, kind_label
from ..inference.translation import tr
from .page import document, swatch, table


def page(inspection: Inspection) -> str:
    """The whole page."""
    parts = [f'<p class="warning">{escape(problem)}</p>' for problem in inspection.problems]
    for section in inspection.sections():
        parts.append(f"<h2>{escape(section.title)}</h2>")
        parts.append(_BODIES[section.key](inspection) if section.key in _BODIES else _lines(section.lines))
    return document(inspection.package.definition.name, "\n".join(parts))


def _lines(lines: list[str]) -> str:
    return table([], [[escape(part) for part in line.partition(": ")[::2]] for line in lines])


def _classes(inspection: Inspection) -> str:
    classes = inspection.package.definition.classes
    rows = [[swatch(f"rgb{each.color}" if each.color else ""), escape(each.value), escape(each.name)] for each in classes]
    return table(["", tr("Value"), tr("Name")], rows)


def _arguments(inspection: Inspection) -> str:
    arguments = inspection.description.arguments if inspection.description else ()
    rows = []
    for each in arguments:
        limits = ", ".join(each.choices) if each.minimum is None else f"{each.minimum:g} … {each.maximum:g}"
        about = " - ".join(dict.fromkeys(text for text in (each.label, each.description) if text and text != each.name))
        cells = (each.name, kind_label(each.kind), "" if each.default is None else each.default, limits, about)
        rows.append([f"<code>{escape(cells[0])}</code>", *map(escape, cells[1:])])
    return table([tr("Argument"), tr("Kind"), tr("Default"), tr("Allowed"), tr("About")], rows)


_BODIES = {"classes": _classes, "arguments": _arguments}
"""Parts that are more than lines."""
