"""How detections look: a colour a class, an outline that stands out over imagery, fainter where confidence is low.

Names and values come from a package, which is not trusted: none of them may become HTML or an expression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from qgis.core import (
    Qgis,
    QgsCategorizedSymbolRenderer,
    QgsExpression,
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

from ..inference.classes import PALETTE, ModelClass, class_colors, class_field
from ..inference.fields import find_name
from ..inference.translation import tr

FAINTEST, FULL = 60, 100
"""Opacity in per cent at the lowest and the highest confidence."""
MAXIMUM_CATEGORIES = 500
CASING = "#d0ffffff"
"""Around outlines, so that a class colour stands out over any image."""
FILL_ALPHA = 45


@dataclass
class Occurring:
    """What the features of a layer hold, counted while they are written.

    Attributes:
        classes: Values of the class field, no more than MAXIMUM_CATEGORIES.
        low: Lowest confidence; None while there is none.
        high: Highest confidence.
    """

    classes: set[object] = field(default_factory=set)
    low: float | None = None
    high: float | None = None

    def count(self, value: object, confidence: object) -> None:
        """Take one feature into account."""
        if len(self.classes) < MAXIMUM_CATEGORIES:
            self.classes.add(value)
        if isinstance(confidence, (int, float)):
            self.low = confidence if self.low is None else min(self.low, confidence)
            self.high = confidence if self.high is None else max(self.high, confidence)


def apply_style(
    layer: QgsVectorLayer, classes: Sequence[ModelClass], occurring: Occurring, confidence: str, label: str | None = None
) -> None:
    """Give a layer of detections its renderer, map tips and display name.

    Args:
        layer: The detections.
        classes: Of the model definition, for colours and order.
        occurring: What the features hold.
        confidence: The field that makes a feature faint, where the layer has it.
        label: The field with the class; None for the one that is usual.
    """
    names = layer.fields().names()
    class_name = class_field(names) if label is None else find_name(names, label)
    confidence_name = find_name(names, confidence)
    layer.setRenderer(_renderer(layer, class_name, classes, occurring, _opacity(occurring, confidence_name)))
    parts = [] if class_name is None else [QgsExpression.quotedColumnRef(class_name)]
    if confidence_name is not None:
        parts.append(f"round({QgsExpression.quotedColumnRef(confidence_name)}, 2)")
    if parts and not any("%]" in part for part in parts):
        shown = "concat({})".format(", ' ', ".join(parts))
        layer.setDisplayExpression(shown)
        safe = f"replace({shown}, map('&', '&amp;', '<', '&lt;', '>', '&gt;'))"
        layer.setMapTipTemplate(f'<div style="font-size: 11pt; padding: 2px 6px"><b>[% {safe} %]</b></div>')


def _renderer(
    layer: QgsVectorLayer, name: str | None, classes: Sequence[ModelClass], occurring: Occurring, opacity: QgsProperty | None
) -> QgsFeatureRenderer:
    kind = layer.geometryType()
    if name is None:
        own = classes[0].hex_color if len(classes) == 1 else ""
        return QgsSingleSymbolRenderer(_symbol(kind, QColor(own or PALETTE[0]), opacity))
    renderer = QgsCategorizedSymbolRenderer(name)
    values = occurring.classes or {each.name for each in classes[:MAXIMUM_CATEGORIES]}
    for value, (label, color) in class_colors(values, classes, name).items():
        shown = label.replace("[%", "[ %") or tr("without a class")
        renderer.addCategory(QgsRendererCategory(value, _symbol(kind, QColor(color), opacity), shown))
    if len(values) >= MAXIMUM_CATEGORIES:
        renderer.addCategory(QgsRendererCategory(None, _symbol(kind, QColor(PALETTE[0]), opacity), tr("other classes")))
    return renderer


def _opacity(occurring: Occurring, name: str | None) -> QgsProperty | None:
    """Opacity that follows the confidence, between the lowest and the highest of the layer, whatever their scale."""
    low, high = occurring.low, occurring.high
    if name is None or low is None or high is None or high <= low:
        return None
    column = QgsExpression.quotedColumnRef(name)
    return QgsProperty.fromExpression(f"coalesce(scale_linear({column}, {low!r}, {high!r}, {FAINTEST}, {FULL}), {FAINTEST})")


def _symbol(kind: Qgis.GeometryType, color: QColor, opacity: QgsProperty | None) -> QgsSymbol:
    if kind == Qgis.GeometryType.Point:
        symbol = QgsMarkerSymbol.createSimple(
            {"name": "circle", "color": color.name(), "outline_color": "#ffffff", "outline_width": "0.4", "size": "3"}
        )
    elif kind == Qgis.GeometryType.Line:
        symbol = QgsLineSymbol.createSimple({"line_color": CASING, "line_width": "1.1", "capstyle": "round"})
        line = QgsLineSymbol.createSimple({"line_color": color.name(), "line_width": "0.6", "capstyle": "round"})
        symbol.appendSymbolLayer(line.takeSymbolLayer(0))
    else:
        fill = QColor(color.red(), color.green(), color.blue(), FILL_ALPHA).name(QColor.NameFormat.HexArgb)
        symbol = QgsFillSymbol.createSimple({"color": fill, "outline_color": CASING, "outline_width": "1.0"})
        outline = QgsFillSymbol.createSimple({"style": "no", "outline_color": color.name(), "outline_width": "0.66"})
        symbol.appendSymbolLayer(outline.takeSymbolLayer(0))
    if opacity is not None:
        symbol.setDataDefinedProperty(QgsSymbol.Property.Opacity, opacity)
    return symbol
