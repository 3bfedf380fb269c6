"""One line about a model."""

from __future__ import annotations

from html import escape

from ...inference.definition import ModelDefinition
from ...inference.suitability import span, trained_cell_sizes
from ...inference.translation import tr

SHOWN_CLASSES = 5


def summary(definition: ModelDefinition) -> str:
    """Name, type, classes, bands and cell size, as HTML."""
    parts = [f"<b>{escape(definition.name)}</b>", escape(definition.model_type), escape(_classes(definition))]
    bands = definition.values.get("ExtractBands")
    if isinstance(bands, list) and bands:
        shown = ", ".join(str(band + 1 if isinstance(band, int) else band) for band in bands)
        parts.append(escape(tr("bands {bands}", bands=shown)))
    trained = trained_cell_sizes(definition)
    if trained:
        parts.append(escape(tr("cell size {size}", size=span(trained))))
    return " · ".join(part for part in parts if part)


def _classes(definition: ModelDefinition) -> str:
    names = [each.name for each in definition.classes]
    if not names:
        return ""
    shown = ", ".join(names[:SHOWN_CLASSES]) + (", …" if len(names) > SHOWN_CLASSES else "")
    return (
        tr("1 class: {names}", names=shown) if len(names) == 1 else tr("{count} classes: {names}", count=len(names), names=shown)
    )
