"""What the user sees of a model: what it is, whether it fits, and a row an argument."""

from __future__ import annotations

from collections.abc import Callable

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QStyle,
    QVBoxLayout,
    QWidget,
)

from ...inference.errors import ArgumentValueError
from ...inference.translation import tr
from .raw import RawEditor
from .rows import ArgumentRow, undeclared_row
from .state import ArgumentState

WARNING, CRITICAL = QStyle.StandardPixmap.SP_MessageBoxWarning, QStyle.StandardPixmap.SP_MessageBoxCritical
ICON_SIZE = 16


class ArgumentsPanel(QWidget):
    """Shows an ArgumentState and lets the user change it.

    Attributes:
        state: The values.
    """

    def __init__(self, changed: Callable[[], None], retry: Callable[[], None]) -> None:
        """Make an empty panel.

        Args:
            changed: Called when the user has changed a value.
            retry: Called when the user wants the package read again.
        """
        super().__init__()
        self.state = ArgumentState()
        self._changed, self._retry = changed, retry
        self._details = ""
        self._rows: list[ArgumentRow] = []
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self.summary, self.device, self.message = _label("summary"), _label("device"), Notice("message")
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._warnings = QVBoxLayout()
        self._busy = QProgressBar()
        self._busy.setRange(0, 0)
        self._busy.setTextVisible(False)
        self._busy.setMaximumHeight(6)
        self._grid_holder = QWidget()
        self.raw = RawEditor(self._raw_changed)
        self._layout.addWidget(self.summary)
        self._layout.addLayout(self._warnings)
        self._layout.addWidget(self._busy)
        self._layout.addWidget(self.message)
        self._layout.addLayout(self._buttons())
        self._layout.addWidget(self._grid_holder)
        self._layout.addWidget(self.raw)
        self._layout.addWidget(self.device)
        self._layout.addStretch()

    def load(self, value: object) -> None:
        """Take over a stored value; one that cannot be understood is shown as a problem."""
        try:
            self.state.load(value)
            self.show_warnings("value", [])
        except ArgumentValueError as error:
            self.show_warnings("value", [str(error)])
        self._show_values()

    def show_hint(self, text: str, raw: bool = False) -> None:
        """No model is known.

        Args:
            text: Why, and what to do.
            raw: Whether names and values can be given all the same.
        """
        self.state.forget()
        self._clear()
        self.message.show_text(text)
        self.raw.setVisible(raw)
        self.raw.show_values(self.state.given)

    def show_busy(self) -> None:
        """A package is being read."""
        self._clear()
        self.message.show_text(tr("Reading the package…"))
        self._busy.show()

    def show_failure(self, message: str, details: str) -> None:
        """A package cannot be read."""
        self.state.forget()
        self._clear()
        self.message.show_text(message, CRITICAL)
        self._details = details
        self.details_button.setVisible(bool(details))
        self.retry_button.show()

    def show_rows(self) -> None:
        """The arguments of the state are known: show them."""
        self._busy.hide()
        self.message.hide()
        self._show_values()

    def show_warnings(self, group: str, texts: list[str]) -> None:
        """Show warnings in place of those that this group had."""
        for index in reversed(range(self._warnings.count())):
            widget = self._warnings.itemAt(index).widget()
            if widget.property("group") == group:
                self._warnings.takeAt(index)
                widget.deleteLater()
        for text in texts:
            notice = Notice("warning")
            notice.setProperty("group", group)
            notice.show_text(text, WARNING)
            self._warnings.addWidget(notice)

    def _show_values(self) -> None:
        if self.state.arguments is None:
            self.raw.show_values(self.state.given)
            return
        self._replace_grid()
        grid = QGridLayout(self._grid_holder)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        grid.setVerticalSpacing(4)
        self._rows = [ArgumentRow(argument, self.state, self._edited) for argument in self.state.arguments]
        for number, row in enumerate(self._rows):
            row.add_to(grid, 2 * number)
        for number, (name, value) in enumerate(self.state.undeclared.items(), 2 * len(self._rows)):
            for column, widget in enumerate(undeclared_row(name, value, lambda _=False, name=name: self._remove(name))):
                grid.addWidget(widget, number, column)
        if not self._rows:
            self.message.show_text(tr("This model has no arguments."))
        self._show_reset_all()

    def _replace_grid(self) -> None:
        holder = QWidget()
        self._layout.replaceWidget(self._grid_holder, holder)
        self._grid_holder.hide()
        self._grid_holder.deleteLater()
        self._grid_holder = holder
        self._rows = []

    def _clear(self) -> None:
        self._replace_grid()
        for widget in (
            self._busy,
            self.raw,
            self.details_button,
            self.retry_button,
            self.reset_button,
            self.summary,
            self.device,
        ):
            widget.hide()
        for group in ("raster", "libraries"):
            self.show_warnings(group, [])

    def _buttons(self) -> QHBoxLayout:
        self.details_button = _button("details", tr("Details…"), self._show_details)
        self.retry_button = _button("retry", tr("Retry"), lambda: self._retry())
        self.reset_button = _button("reset_all", tr("Reset all"), self._reset_all)
        layout = QHBoxLayout()
        for button in (self.details_button, self.retry_button, self.reset_button):
            layout.addWidget(button)
        layout.insertStretch(2)
        return layout

    def _show_details(self) -> None:
        dialog = QDialog(self)
        dialog.setWindowTitle(tr("Details"))
        dialog.resize(800, 450)
        text = QPlainTextEdit(self._details)
        text.setReadOnly(True)
        text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(dialog.reject)
        layout = QVBoxLayout(dialog)
        layout.addWidget(text)
        layout.addWidget(buttons)
        dialog.exec()

    def _show_reset_all(self) -> None:
        changed = any(self.state.is_changed(argument) for argument in self.state.arguments or ())
        self.reset_button.setVisible(changed or bool(self.state.undeclared))

    def _edited(self) -> None:
        self.show_warnings("value", [])
        self._show_reset_all()
        self._changed()

    def _reset_all(self) -> None:
        self.state.reset_all()
        self.show_warnings("value", [])
        self._show_values()
        self._changed()

    def _remove(self, name: str) -> None:
        self.state.reset(name)
        self._show_values()
        self._changed()

    def _raw_changed(self, values: dict[str, str]) -> None:
        self.state.replace(values)
        self._changed()


def _label(name: str) -> QLabel:
    label = QLabel()
    label.setObjectName(name)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.RichText if name == "summary" else Qt.TextFormat.PlainText)  # packages are not trusted
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    label.hide()
    return label


def _button(name: str, text: str, clicked: Callable[[], None]) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    button.clicked.connect(lambda _=False: clicked())
    button.hide()
    return button


class Notice(QWidget):
    """A text, with a sign before it where it is more than information."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._icon, self.label = QLabel(), _label(name)
        self.label.show()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignTop)
        layout.addWidget(self.label, 1)

    def show_text(self, text: str, icon: QStyle.StandardPixmap | None = None) -> None:
        """Show a text, as information or with a sign."""
        self.label.setText(text)
        self._icon.setVisible(icon is not None)
        if icon is not None:
            self._icon.setPixmap(self.style().standardIcon(icon).pixmap(ICON_SIZE, ICON_SIZE))
        self.show()
