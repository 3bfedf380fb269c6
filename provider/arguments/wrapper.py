"""The wrapper that Processing asks for our widget, in each of its three places.

QGIS 3.40 makes a new Python object for a wrapper that a factory returns, and for the widget and the label that a wrapper
returns; ours is let go of then, though the C++ half still points to it. `alive` therefore keeps each of them as long as its
C++ half lives: without it our methods were gone at once, and Qt would call into freed memory. And no wrapper calls a C++
method of its own once it is built (see controller).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from qgis.core import QgsProcessingContext, QgsProcessingParameterDefinition
from qgis.gui import QgsAbstractProcessingParameterWidgetWrapper, QgsProcessingGui, QgsProcessingParameterWidgetContext
from qgis.PyQt.QtCore import QObject, QTimer
from qgis.PyQt.QtWidgets import QDialog, QLabel, QVBoxLayout, QWidget

from ...inference.translation import tr
from ..line_with_button import LineWithButton
from .batch import ArgumentsDialog
from .controller import TYPING_PAUSE, ArgumentsController
from .siblings import ModelerSiblings, Siblings

alive: set[QObject] = set()


def keep(made: QObject) -> None:
    """Keep what QGIS takes over until its C++ half is gone."""
    alive.add(made)
    made.destroyed.connect(lambda: alive.discard(made))


def label_of(text: str) -> QLabel:
    """A label that QGIS takes over."""
    label = QLabel(text)
    keep(label)
    return label


class DialogWrapper(QgsAbstractProcessingParameterWidgetWrapper):
    """In the toolbox dialog: the whole panel."""

    def __init__(self, parameter: QgsProcessingParameterDefinition, kind: QgsProcessingGui.WidgetType) -> None:
        super().__init__(parameter, kind)
        self._siblings = Siblings(parameter)
        self._controller = ArgumentsController(self._siblings.tell, self._siblings)
        self._controller.panel.destroyed.connect(self._siblings.release)
        self._label = parameter.description()
        keep(self)

    def createWidget(self) -> QWidget:
        """The panel in a container: the container may be wrapped anew by QGIS, its children are not."""
        return in_container(self._controller.panel)

    def createLabel(self) -> QLabel:
        """What stands above it; the modeler cannot do without one."""
        return label_of(self._label)

    def setWidgetValue(self, value: object, context: QgsProcessingContext) -> None:  # noqa: ARG002
        """Show a stored value."""
        if self._controller.panel is not None:
            self._controller.panel.load(value)

    def widgetValue(self) -> str:
        """JSON of what differs from the defaults."""
        return "" if self._controller.panel is None else self._controller.panel.state.value()

    def postInitialize(self, wrappers: Iterable[Any]) -> None:
        """All widgets are there: follow the package and the raster."""
        self._siblings.join(wrappers)
        controller, siblings = self._controller, self._siblings
        siblings.watch("model", lambda: controller.show_model(siblings.model(), TYPING_PAUSE))
        for role in ("raster", "cell_size"):
            siblings.watch(role, controller.check_raster)
        siblings.watch("processor", controller.ask_environment)
        siblings.watch("arcgis_trained", controller.choose_again)
        controller.show_model(siblings.model())


class ModelerWrapper(DialogWrapper):
    """In the modeler: the panel for a package that is a fixed file, else names and values."""

    def __init__(self, parameter: QgsProcessingParameterDefinition, kind: QgsProcessingGui.WidgetType) -> None:
        super().__init__(parameter, kind)
        self._in_modeler = ModelerSiblings(parameter, self._controller.panel)

    def createWidget(self) -> QWidget:
        """As in the dialog. The modeler does not tell when the package changes, so it is looked at now and then."""
        controller, siblings = self._controller, self._in_modeler
        timer = QTimer(controller.panel)
        timer.setInterval(TYPING_PAUSE)
        timer.timeout.connect(lambda: controller.panel.isVisible() and controller.show_model(siblings.model()))
        timer.start()
        return super().createWidget()

    def setWidgetContext(self, context: QgsProcessingParameterWidgetContext) -> None:
        """The model and the child that is edited."""
        self._in_modeler.set_context(context)


class BatchWrapper(QgsAbstractProcessingParameterWidgetWrapper):
    """In the batch table: the text, and a button that opens the panel for the row's package."""

    def __init__(self, parameter: QgsProcessingParameterDefinition, kind: QgsProcessingGui.WidgetType) -> None:
        super().__init__(parameter, kind)
        self._siblings = Siblings(parameter)
        self._label = parameter.description()
        tip = tr("Show the arguments of this row's model")
        self._cell = LineWithButton(tr("the model's defaults"), tip, self._siblings.tell, self._open)
        self._cell.destroyed.connect(self._siblings.release)
        keep(self)

    def createWidget(self) -> QWidget:
        """The cell in a container, as in the dialog."""
        return in_container(self._cell)

    def createLabel(self) -> None:
        """The table has a header."""

    def setWidgetValue(self, value: object, context: QgsProcessingContext) -> None:  # noqa: ARG002
        """Show a stored value."""
        self._cell.line.setText(as_text(value))

    def widgetValue(self) -> str:
        """What is written in the cell."""
        return self._cell.line.text()

    def postInitialize(self, wrappers: Iterable[Any]) -> None:
        """All widgets of the row are there."""
        self._siblings.join(wrappers)

    def _open(self) -> None:
        controller = ArgumentsController(lambda: None, self._siblings)
        panel = controller.panel
        panel.load(self.widgetValue())
        controller.show_model(self._siblings.model())
        dialog = ArgumentsDialog(panel, tr("Model arguments"), self._cell.window())
        if dialog.exec() == QDialog.DialogCode.Accepted:
            self._cell.line.setText(panel.state.value())
            self._siblings.tell()
        controller.close()
        dialog.deleteLater()


def in_container(widget: QWidget) -> QWidget:
    """A plain widget that holds another one."""
    container = QWidget()
    keep(container)
    layout = QVBoxLayout(container)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(widget)
    return container


def as_text(value: object) -> str:
    """A stored value as one line: JSON of a mapping, else the text that it is."""
    import json

    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
