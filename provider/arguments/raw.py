"""The raw editor: names and values in a table, where the model is not known before the run."""

from __future__ import annotations

from collections.abc import Callable

from qgis.core import QgsApplication
from qgis.PyQt.QtWidgets import QHBoxLayout, QHeaderView, QTableWidget, QTableWidgetItem, QToolButton, QVBoxLayout, QWidget

from ...inference.translation import tr

LEAST_ROWS = 3


class RawEditor(QWidget):
    """A table of names and values."""

    def __init__(self, changed: Callable[[dict[str, str]], None]) -> None:
        super().__init__()
        self._changed = changed
        self.table = QTableWidget(LEAST_ROWS, 2)
        self.table.setHorizontalHeaderLabels([tr("Argument"), tr("Value")])
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.table.verticalHeader().hide()
        self.table.setMinimumHeight(130)
        self.table.itemChanged.connect(lambda _: self._changed(self.values()))
        buttons = QHBoxLayout()
        for icon, tip, action in (
            ("/mActionAdd.svg", tr("Add a row"), self._add),
            ("/mActionRemove.svg", tr("Remove the row"), self._remove),
        ):
            button = QToolButton()
            button.setIcon(QgsApplication.getThemeIcon(icon))
            button.setToolTip(tip)
            button.clicked.connect(action)
            buttons.addWidget(button)
        buttons.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addLayout(buttons)

    def show_values(self, values: dict[str, str]) -> None:
        """Fill the table."""
        self.table.blockSignals(True)
        self.table.setRowCount(max(len(values) + 1, LEAST_ROWS))
        self.table.clearContents()
        for row, pair in enumerate(values.items()):
            for column, text in enumerate(pair):
                self.table.setItem(row, column, QTableWidgetItem(text))
        self.table.blockSignals(False)

    def values(self) -> dict[str, str]:
        """What the table holds; rows without a name do not count."""
        rows = [[self.table.item(row, column) for column in (0, 1)] for row in range(self.table.rowCount())]
        return {name.text().strip(): value.text() if value else "" for name, value in rows if name and name.text().strip()}

    def _add(self) -> None:
        self.table.insertRow(self.table.rowCount())

    def _remove(self) -> None:
        self.table.removeRow(self.table.currentRow() if self.table.currentRow() >= 0 else self.table.rowCount() - 1)
        self._changed(self.values())
