"""The widget of INPUT: the stock list of the project's rasters, and a menu with everything else that can be searched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from qgis.core import QgsMapLayer, QgsProcessingContext, QgsProcessingParameterDefinition, QgsProcessingUtils, QgsProject
from qgis.gui import (
    QgsAbstractProcessingParameterWidgetWrapper,
    QgsProcessingGui,
    QgsProcessingMapLayerComboBox,
    QgsProcessingParameterWidgetContext,
)
from qgis.PyQt.QtWidgets import QHBoxLayout, QLabel, QMenu, QToolButton, QWidget

from ..algorithms.rasters.from_value import SEPARATOR, evaluated
from ..inference.translation import tr
from . import raster_sources
from .arguments.factory import WidgetFactory
from .arguments.siblings import Siblings
from .arguments.wrapper import in_container, keep, label_of

LINES = 20
"""Rasters that a tool tip names."""


class RasterField(QWidget):
    """QGIS's own field for a raster, with a menu in place of its button.

    Attributes:
        stock: QGIS's field; it shows any text, and opens nothing.
    """

    def __init__(self, parameter: QgsProcessingParameterDefinition, kind: QgsProcessingGui.WidgetType) -> None:
        super().__init__()
        self._tip = parameter.toolTip()
        self.stock = QgsProcessingMapLayerComboBox(parameter, kind)
        self.stock.setEditable(kind == QgsProcessingGui.WidgetType.Modeler)
        for button in self.stock.findChildren(QToolButton):
            button.hide()  # it would open one file
        self.stock.valueChanged.connect(self._explain)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.stock, 1)
        layout.addWidget(self._button())
        self._explain()

    def text(self) -> str:
        """Id of a layer, or what is written: paths or an address; empty for nothing."""
        return str(self.stock.value() or "")

    def show_value(self, value: object) -> None:
        """Show a value, wherever it comes from; nothing leaves what is chosen."""
        text = as_text(value)
        if text:
            context = QgsProcessingContext()
            context.setProject(QgsProject.instance())
            self.stock.setValue(text, context)

    def _button(self) -> QToolButton:
        button, menu = QToolButton(), QMenu(self)
        button.setText("…")
        button.setToolTip(tr("Choose files, a folder, several layers or an address"))
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        button.setMenu(menu)

        def add(label: str, ask: Callable[[], str]) -> Any:  # noqa: ANN401 - a QAction, which Qt6 has moved
            action = menu.addAction(label)
            action.triggered.connect(lambda _=False: self.show_value(ask()))
            return action

        add(tr("Files…"), lambda: raster_sources.ask_files(self))
        add(tr("Folder…"), lambda: raster_sources.ask_folder(self))
        several = add(tr("Several Layers…"), lambda: raster_sources.ask_layers(self, self._parts()))
        add(tr("Vector Tile Index or STAC File…"), lambda: raster_sources.ask_collection(self))
        menu.addSeparator()
        add(tr("Address…"), lambda: raster_sources.ask_address(self, self._address()))
        menu.aboutToShow.connect(lambda: several.setEnabled(len(raster_sources.layers_with_file()) > 1))
        return button

    def _address(self) -> str:
        return self.text() if "://" in self.text() else ""

    def _parts(self) -> Sequence[str]:
        return [] if self._address() else [part.strip() for part in self.text().split(SEPARATOR) if part.strip()]

    def _explain(self) -> None:
        """A text may be longer than the field."""
        parts = [] if self.stock.currentLayer() is not None else self._parts() or [self._address()]
        lines = [*parts[:LINES], "…"] if len(parts) > LINES else parts
        self.stock.setToolTip("\n".join(lines) or self._tip)


class RasterWrapper(QgsAbstractProcessingParameterWidgetWrapper):
    """In the dialog, in the batch table and, for a fixed value, in the modeler; outputs of other steps are offered there
    by the modeler itself, as for any raster parameter.
    """

    def __init__(self, parameter: QgsProcessingParameterDefinition, kind: QgsProcessingGui.WidgetType) -> None:
        super().__init__(parameter, kind)
        self._siblings = Siblings(parameter)
        self._label = parameter.description()
        self._in_modeler = kind == QgsProcessingGui.WidgetType.Modeler
        self._field = RasterField(parameter, kind)
        self._field.stock.valueChanged.connect(self._siblings.tell)
        self._field.destroyed.connect(self._siblings.release)
        keep(self)

    def createWidget(self) -> QWidget:
        """The field in a container, as QGIS may wrap what is returned anew."""
        return in_container(self._field)

    def createLabel(self) -> QLabel:
        """What stands above it."""
        return label_of(self._label)

    def setWidgetContext(self, context: QgsProcessingParameterWidgetContext) -> None:
        """The project and its active layer, which is chosen where it is a raster."""
        self._field.stock.setWidgetContext(context)
        if context.activeLayer() is not None and not self._in_modeler:
            self._field.stock.setLayer(context.activeLayer())

    def setWidgetValue(self, value: object, context: QgsProcessingContext) -> None:
        """Show a stored value."""
        self._field.show_value(evaluated(value, context))

    def widgetValue(self) -> str:
        """Id of a layer, paths or an address."""
        return self._field.text()

    def postInitialize(self, wrappers: Iterable[Any]) -> None:
        """All widgets are there."""
        self._siblings.join(wrappers)


def as_text(value: object) -> str:
    """A stored value as text: a layer by its id or its data source, several rasters with semicolons between them."""
    if isinstance(value, (list, tuple)):
        return SEPARATOR.join(text for text in map(as_text, value) if text)
    if not isinstance(value, QgsMapLayer):
        return "" if value is None else str(value)
    if QgsProject.instance().mapLayer(value.id()) is not None:
        return str(value.id())
    if value.providerType() == "gdal":
        return str(value.source())
    return str(QgsProcessingUtils.encodeProviderKeyAndUri(value.providerType(), value.source()))


def raster_factory(widget_type: str) -> WidgetFactory:
    """The factory of the raster widget."""
    return WidgetFactory(widget_type, RasterWrapper, RasterWrapper, RasterWrapper)
