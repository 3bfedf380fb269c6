"""The rows of the arguments: name, editor, reset button; changed ones stand out."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QGridLayout, QLabel, QSizePolicy, QToolButton, QWidget

from ...inference.arguments import ModelArgument
from ...inference.translation import tr
from .editors import editor_for
from .state import ArgumentState


class ArgumentRow:
    """One argument in a grid."""

    def __init__(self, argument: ModelArgument, state: ArgumentState, changed: Callable[[], None]) -> None:
        self._argument, self._state, self._changed = argument, state, changed
        self._editor = editor_for(argument, state.text(argument), self._edited)
        self._editor.show(state.text(argument))
        self.label, self.widget = QLabel(), self._editor.widget
        self.label.setTextFormat(Qt.TextFormat.RichText)
        self.label.setBuddy(self.widget)
        self.label.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.widget.setObjectName(f"argument_{argument.name}")
        self.reset = QToolButton()
        self.reset.setIcon(QgsApplication.getThemeIcon("/mActionUndo.svg"))
        self.reset.setAutoRaise(True)
        default = argument.default or tr("nothing")
        self.reset.setToolTip(f"<p>{escape(tr('Back to the default, {value}', value=default))}</p>")
        self.reset.clicked.connect(self._reset)
        self.problem = QLabel()
        self.problem.setWordWrap(True)
        self.problem.setTextFormat(Qt.TextFormat.PlainText)
        for widget in (self.label, self.widget):
            widget.setToolTip(tool_tip(argument))
        self._mark()

    def add_to(self, grid: QGridLayout, row: int) -> None:
        """Put the widgets into two rows of a grid, the second one for what is wrong with the value."""
        grid.addWidget(self.label, row, 0)
        grid.addWidget(self.widget, row, 1)
        grid.addWidget(self.reset, row, 2)
        grid.addWidget(self.problem, row + 1, 0, 1, 3)

    def _edited(self, text: str) -> None:
        self._state.set(self._argument.name, text)
        self._mark()
        self._changed()

    def _reset(self) -> None:
        self._state.reset(self._argument.name)
        self._editor.show(self._argument.default or "")
        self._mark()
        self._changed()

    def _mark(self) -> None:
        changed, argument = self._state.is_changed(self._argument), self._argument
        star = " *" if argument.required and argument.default is None else ""
        text = escape(argument.label + star)
        self.label.setText(f"<b>{text}</b>" if changed else text)
        size = self.reset.sizePolicy()
        size.setRetainSizeWhenHidden(True)
        self.reset.setSizePolicy(size)
        self.reset.setVisible(changed)
        problem = self._state.problem(argument)
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))


def tool_tip(argument: ModelArgument) -> str:
    """Name, description, limits and default."""
    lines = [f"<p><b>{escape(argument.name)}</b></p>"]
    if argument.description:
        lines.append(f"<p>{escape(argument.description)}</p>")
    if argument.limits:
        lines.append(f"<p>{escape(tr('Allowed: {limits}', limits=argument.limits))}</p>")
    if argument.default is not None:
        lines.append(f"<p>{escape(tr('Default: {value}', value=argument.default))}</p>")
    return "".join(lines)


def undeclared_row(name: str, value: str, removed: Callable[[], None]) -> tuple[QWidget, QWidget, QWidget]:
    """Label, note and remove button for a value that the model does not declare."""
    label, note, remove = QLabel(f"<b>{escape(name)}</b>"), QLabel(), QToolButton()
    note.setText(tr("{value} - not an argument of this model; handed over all the same", value=value))
    note.setWordWrap(True)
    note.setTextFormat(Qt.TextFormat.PlainText)
    label.setTextFormat(Qt.TextFormat.RichText)
    remove.setIcon(QgsApplication.getThemeIcon("/mActionRemove.svg"))
    remove.setAutoRaise(True)
    remove.setToolTip(tr("Remove"))
    remove.clicked.connect(removed)
    return label, note, remove
