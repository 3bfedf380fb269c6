"""The arguments in a cell of the batch table: their text, and a button that opens the whole panel."""

from __future__ import annotations

from collections.abc import Callable

from qgis.gui import QgsFilterLineEdit
from qgis.PyQt.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ...inference.translation import tr


class CellWidget(QWidget):
    """A line with the stored text and a button."""

    def __init__(self, edited: Callable[[str], None], open_panel: Callable[[], None]) -> None:
        super().__init__()
        self.line, self.button = QgsFilterLineEdit(), QToolButton()
        self.line.setPlaceholderText(tr("the model's defaults"))
        self.line.setMinimumWidth(180)
        self.line.textEdited.connect(edited)
        self.line.cleared.connect(lambda: edited(""))
        self.button.setText("…")
        self.button.setToolTip(tr("Show the arguments of this row's model"))
        self.button.clicked.connect(lambda _=False: open_panel())
        layout = QHBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addWidget(self.line)
        layout.addWidget(self.button)


class ArgumentsDialog(QDialog):
    """The panel in a dialog of its own."""

    def __init__(self, panel: QWidget, title: str, parent: QWidget | None) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.resize(560, 520)
        holder = QWidget()
        inner = QVBoxLayout(holder)
        inner.addWidget(panel)
        inner.addStretch()
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setWidget(holder)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(area)
        layout.addWidget(buttons)
