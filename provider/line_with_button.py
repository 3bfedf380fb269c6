"""A line of text with a button that opens something larger to edit it."""

from __future__ import annotations

from collections.abc import Callable

from qgis.gui import QgsFilterLineEdit
from qgis.PyQt.QtWidgets import QHBoxLayout, QToolButton, QWidget

LEAST_WIDTH = 180


class LineWithButton(QWidget):
    """The line and the button.

    Attributes:
        line: Holds the text.
    """

    def __init__(self, placeholder: str, tip: str, changed: Callable[[], None], opened: Callable[[], None]) -> None:
        """Make both.

        Args:
            placeholder: Shown while the line is empty.
            tip: What the button does.
            changed: Called when the user has changed the text.
            opened: Called when the button is pressed.
        """
        super().__init__()
        self.line, button = QgsFilterLineEdit(), QToolButton()
        self.line.setPlaceholderText(placeholder)
        self.line.setMinimumWidth(LEAST_WIDTH)
        self.line.textEdited.connect(lambda _: changed())
        self.line.cleared.connect(changed)
        button.setText("…")
        button.setToolTip(tip)
        button.clicked.connect(lambda _=False: opened())
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line)
        layout.addWidget(button)
