"""How detections look: a colour a class, an outline that stands out over imagery, fainter where confidence is low."""

from __future__ import annotations

from collections.abc import Sequence

from qgis.core import (
    Qgis,
    QgsCategorizedSymbolRenderer,
    QgsFeatureRenderer,
    QgsFillSymbol,
    QgsLineSymbol,
    QgsMarkerSymbol,
    QgsProperty,
    QgsRendererCategory,
    QgsSingleSymbolRenderer,
    QgsSymbol,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QColor

from ..inference.classes import ModelClass, class_field
from ..inference.fields import find_name
from ..inference.translation import tr

PALETTE = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
"""For classes without a colour of their own: Okabe and Ito's, which people with colour blindness can tell apart."""
FAINTEST, FULL = 55, 100
"""Opacity in per cent at the lowest and the highest confidence."""
MAXIMUM_CATEGORIES = 500
CASING = "#d0ffffff"
"""Around outlines, so that a class colour stands out over any image."""
FILL_ALPHA = 45


def apply_style(layer: QgsVectorLayer, classes: Sequence[ModelClass], confidence: str = "Confidence") -> None:
    """Give a layer of detections its renderer, map tips and display name.

    Args:
        layer: The detections.
        classes: Of the model definition, for colours and order.
        confidence: The field that makes a feature faint, where the layer has it.
    """
    names = layer.fields().names()
    field, confidence_field = class_field(names), find_name(names, confidence)
    opacity = _opacity(layer, confidence_field)
    layer.setRenderer(_renderer(layer, field, classes, opacity))
    parts = [] if field is None else [f'"{field}"']
    if confidence_field is not None:
        parts.append(f'round("{confidence_field}", 2)')
    if parts:
        layer.setDisplayExpression(f"concat_ws(' ', {', '.join(parts)})")
        shown = " &nbsp; ".join(f"[% {part} %]" for part in parts)
        layer.setMapTipTemplate(f'<div style="font-size: 11pt; padding: 2px 6px"><b>{shown}</b></div>')


def _renderer(
    layer: QgsVectorLayer, field: str | None, classes: Sequence[ModelClass], opacity: QgsProperty | None
) -> QgsFeatureRenderer:
    if field is None:
        color = classes[0].color if len(classes) == 1 else None
        return QgsSingleSymbolRenderer(_symbol(layer.geometryType(), _qcolor(color, 0), opacity))
    renderer = QgsCategorizedSymbolRenderer(field)
    for number, (value, label, color) in enumerate(_categories(layer, field, classes)):
        symbol = _symbol(layer.geometryType(), _qcolor(color, number), opacity)
        renderer.addCategory(QgsRendererCategory(value, symbol, label))
    return renderer


def _categories(
    layer: QgsVectorLayer, field: str, classes: Sequence[ModelClass]
) -> list[tuple[object, str, tuple[int, int, int] | None]]:
    """Value, label and colour of each class that occurs, in the order of the model definition; others follow."""
    occurring = sorted(layer.uniqueValues(layer.fields().lookupField(field), MAXIMUM_CATEGORIES), key=str)
    known = {each.name.casefold(): (index, each) for index, each in enumerate(classes)}
    known |= {each.value: (index, each) for index, each in enumerate(classes) if each.value}
    found = []
    for value in occurring:
        index, declared = known.get(str(value).casefold(), (len(classes), None))
        label = declared.name if declared else (str(value) if value not in (None, "") else tr("without a class"))
        found.append((index, value, label, declared.color if declared else None))
    if not found:
        return [(each.name, each.name, each.color) for each in classes[:MAXIMUM_CATEGORIES]]
    return [(value, label, color) for _, value, label, color in sorted(found, key=lambda entry: (entry[0], entry[2]))]


def _qcolor(color: tuple[int, int, int] | None, number: int) -> QColor:
    return QColor(*color) if color else QColor(PALETTE[number % len(PALETTE)])


def _opacity(layer: QgsVectorLayer, field: str | None) -> QgsProperty | None:
    """Opacity that follows the confidence, between the lowest and the highest of the layer, whatever their scale."""
    if field is None or not layer.fields().field(field).isNumeric():
        return None
    index = layer.fields().lookupField(field)
    low, high = layer.minimumValue(index), layer.maximumValue(index)
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)) or high <= low:
        return None
    return QgsProperty.fromExpression(f'coalesce(scale_linear("{field}", {low!r}, {high!r}, {FAINTEST}, {FULL}), {FAINTEST})')


def _symbol(geometry_type: Qgis.GeometryType, color: QColor, opacity: QgsProperty | None) -> QgsSymbol:
    if geometry_type == Qgis.GeometryType.Point:
        symbol = QgsMarkerSymbol.createSimple(
            {"name": "circle", "color": color.name(), "outline_color": "#ffffff", "outline_width": "0.4", "size": "3"}
        )
    elif geometry_type == Qgis.GeometryType.Line:
        symbol = QgsLineSymbol.createSimple({"line_color": CASING, "line_width": "1.1", "capstyle": "round"})
        symbol.appendSymbolLayer(_line(color))
    else:
        fill = QColor(color.red(), color.green(), color.blue(), FILL_ALPHA)
        symbol = QgsFillSymbol.createSimple(
            {
                "color": fill.name(QColor.NameFormat.HexArgb),
                "outline_color": CASING,
                "outline_width": "1.1",
                "joinstyle": "miter",
            }
        )
        outline = QgsFillSymbol.createSimple({"style": "no", "outline_color": color.name(), "outline_width": "0.6"})
        symbol.appendSymbolLayer(outline.takeSymbolLayer(0))
    if opacity is not None:
        symbol.setDataDefinedProperty(QgsSymbol.Property.Opacity, opacity)
    return symbol


def _line(color: QColor):  # noqa: ANN202 - a symbol layer of QGIS
    return QgsLineSymbol.createSimple({"line_color": color.name(), "line_width": "0.6", "capstyle": "round"}).takeSymbolLayer(0)
