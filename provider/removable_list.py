"""A list in the options whose rows can be taken away; nothing happens to them before the user accepts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QAbstractItemView, QGroupBox, QHBoxLayout, QPushButton, QTreeWidget, QTreeWidgetItem, QVBoxLayout

ROWS = 4
"""Shown without scrolling."""


class RemovableList(QGroupBox):
    """Rows of texts, each with a key.

    Attributes:
        removed: Keys of the rows that were taken away.
    """

    def __init__(self, title: str, name: str, columns: Sequence[str], button: str) -> None:
        super().__init__(title)
        self.setObjectName(name)
        self.removed: set[str] = set()
        self.tree = QTreeWidget()
        self.tree.setRootIsDecorated(False)
        self.tree.setHeaderLabels(list(columns))
        self.tree.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.tree.setMaximumHeight(self.tree.fontMetrics().height() * 2 * (ROWS + 1))
        self.tree.itemSelectionChanged.connect(self._update)
        self.button = QPushButton(button)
        self.button.clicked.connect(lambda _=False: self._remove())
        beside = QHBoxLayout()
        beside.addStretch()
        beside.addWidget(self.button)
        layout = QVBoxLayout(self)
        layout.addWidget(self.tree)
        layout.addLayout(beside)
        self._update()

    def show_rows(self, rows: Iterable[tuple[str, Sequence[str]]]) -> None:
        """Show these rows: a key and the texts of its columns each."""
        self.tree.clear()
        for key, texts in rows:
            item = QTreeWidgetItem(list(texts))
            item.setData(0, Qt.ItemDataRole.UserRole, key)
            item.setToolTip(0, key)
            self.tree.addTopLevelItem(item)
        for column in range(self.tree.columnCount()):
            self.tree.resizeColumnToContents(column)

    def _remove(self) -> None:
        for item in self.tree.selectedItems():
            self.removed.add(item.data(0, Qt.ItemDataRole.UserRole))
            self.tree.takeTopLevelItem(self.tree.indexOfTopLevelItem(item))

    def _update(self) -> None:
        self.button.setEnabled(bool(self.tree.selectedItems()))
