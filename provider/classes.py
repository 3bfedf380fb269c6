"""The widget of CLASSES: names with semicolons between them, and a check list of the model's classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from qgis.core import QgsProcessingContext, QgsProcessingParameterDefinition
from qgis.gui import (
    QgsAbstractProcessingParameterWidgetWrapper,
    QgsProcessingGui,
    QgsProcessingParameterWidgetContext,
)
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QColor, QIcon, QPixmap
from qgis.PyQt.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ..inference.classes import ModelClass, parse_classes
from ..inference.package import Package
from ..inference.translation import tr
from .arguments.controller import is_package
from .arguments.factory import WidgetFactory
from .arguments.reading import PackageReader
from .arguments.siblings import ModelerSiblings, Siblings
from .arguments.wrapper import in_container, keep, label_of
from .line_with_button import LineWithButton


class ClassesDialog(QDialog):
    """The classes of a package, each with its colour and a check box."""

    def __init__(self, path: str, chosen: Sequence[str], parent: QWidget | None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Classes of interest"))
        self.resize(360, 420)
        self._chosen = tuple(chosen)
        self.list, self._note = QListWidget(), QLabel()
        self._note.setWordWrap(True)
        self._note.setTextFormat(Qt.TextFormat.PlainText)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        for widget in (self._note, self.list, buttons):
            layout.addWidget(widget)
        self._reader = PackageReader()
        self._reader.opened.connect(self._show)
        self._reader.failed.connect(self._failed)
        self.finished.connect(self._reader.drop_all)
        if is_package(path) and path:
            self._note.setText(tr("Reading the package…"))
            self._reader.read(path, run_code=False)
        else:
            self._note.setText(tr("Choose a deep learning package first; or write the names of classes, with semicolons."))

    def chosen(self) -> list[str]:
        """The names that are checked, and those that were given before and are not in the list."""
        items = [self.list.item(row) for row in range(self.list.count())]
        listed = {item.text() for item in items}
        checked = [item.text() for item in items if item.checkState() == Qt.CheckState.Checked]
        return [*checked, *(name for name in self._chosen if name not in listed)]

    def _failed(self, message: str, _details: str) -> None:
        self._note.setText(message)

    def _show(self, package: Package) -> None:
        classes = package.definition.classes
        self._note.setText(tr("None checked means all.") if classes else tr("The model definition lists no classes."))
        wanted = {name.casefold() for name in self._chosen}
        for each in classes:
            item = QListWidgetItem(each.name)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked if each.name.casefold() in wanted else Qt.CheckState.Unchecked)
            if (icon := _swatch(each)) is not None:
                item.setIcon(icon)
            self.list.addItem(item)


def _swatch(each: ModelClass) -> QIcon | None:
    if each.color is None:
        return None
    pixmap = QPixmap(16, 16)
    pixmap.fill(QColor(*each.color))
    return QIcon(pixmap)


class ClassesWrapper(QgsAbstractProcessingParameterWidgetWrapper):
    """In the dialog and in the batch table."""

    def __init__(self, parameter: QgsProcessingParameterDefinition, kind: QgsProcessingGui.WidgetType) -> None:
        super().__init__(parameter, kind)
        self._siblings = Siblings(parameter)
        self._label = tr("{name} [optional]", name=parameter.description())
        tip = tr("Choose among the classes of the model")
        self._edit = LineWithButton(tr("all classes"), tip, self._siblings.tell, self._choose)
        self._edit.destroyed.connect(self._siblings.release)
        keep(self)

    def createWidget(self) -> QWidget:
        """The edit in a container, as QGIS may wrap what is returned anew."""
        return in_container(self._edit)

    def createLabel(self) -> QLabel:
        """What stands above it."""
        return label_of(self._label)

    def setWidgetValue(self, value: object, context: QgsProcessingContext) -> None:  # noqa: ARG002
        """Show a stored value."""
        self._edit.line.setText(";".join(parse_classes(value)))

    def widgetValue(self) -> str:
        """The names."""
        return self._edit.line.text()

    def postInitialize(self, wrappers: Iterable[Any]) -> None:
        """All widgets are there."""
        self._siblings.join(wrappers)

    def _choose(self) -> None:
        dialog = ClassesDialog(self._model() or "", parse_classes(self.widgetValue()), self._edit.window())
        if dialog.exec() == QDialog.DialogCode.Accepted:
            self._edit.line.setText(";".join(dialog.chosen()))
            self._siblings.tell()
        dialog.deleteLater()

    def _model(self) -> str | None:
        return self._siblings.model()


class ClassesModelerWrapper(ClassesWrapper):
    """In the modeler."""

    def __init__(self, parameter: QgsProcessingParameterDefinition, kind: QgsProcessingGui.WidgetType) -> None:
        super().__init__(parameter, kind)
        self._in_modeler = ModelerSiblings(parameter, self._edit)

    def setWidgetContext(self, context: QgsProcessingParameterWidgetContext) -> None:
        """The model and the child that is edited."""
        self._in_modeler.set_context(context)

    def _model(self) -> str | None:
        return self._in_modeler.model()


def classes_factory(widget_type: str) -> WidgetFactory:
    """The factory of the classes widget."""
    return WidgetFactory(widget_type, ClassesWrapper, ClassesWrapper, ClassesModelerWrapper)
