"""One editor for each kind of argument; all of them speak text, as raster functions do."""

from __future__ import annotations

from collections.abc import Callable

from qgis.gui import QgsFilterLineEdit
from qgis.PyQt.QtCore import QEvent, QObject, Qt
from qgis.PyQt.QtGui import QValidator
from qgis.PyQt.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QSizePolicy, QSpinBox, QWidget

from ...inference.arguments import FALSE, TRUE, ModelArgument
from ...inference.errors import ArgumentValueError
from ...inference.translation import tr

LARGEST_INTEGER = 2**31 - 1
LARGEST_NUMBER = 1e15
DECIMALS = 15
Changed = Callable[[str], None]


class NumberSpinBox(QDoubleSpinBox):
    """Shows a number as it was meant: 0.35, not 0.350000000000000."""

    def textFromValue(self, value: float) -> str:
        """As short as the number allows, with the decimal sign of the user's language."""
        text = f"{value:.12g}"
        return text if "e" in text else text.replace(".", self.locale().decimalPoint())

    def valueFromText(self, text: str) -> float:
        """Takes the decimal point as well as the decimal sign of the user's language."""
        try:
            return float(text.strip().replace(self.locale().decimalPoint(), "."))
        except ValueError:
            return self.value()

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        """Any beginning of a number can become one."""
        plain = text.strip().replace(self.locale().decimalPoint(), ".")
        try:
            number = float(plain)
        except ValueError:
            partial = all(character in "+-.eE0123456789" for character in plain)
            return (QValidator.State.Intermediate if partial else QValidator.State.Invalid), text, position
        fits = self.minimum() <= number <= self.maximum()
        return (QValidator.State.Acceptable if fits else QValidator.State.Intermediate), text, position


class NoWheel(QObject):
    """Lets the wheel scroll the dialog; it must not change values that the pointer happens to be over."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Pass the wheel on, unless the user is working in the editor."""
        if event.type() == QEvent.Type.Wheel and not watched.hasFocus():
            event.ignore()
            return True
        return False


class Editor:
    """An editor of one argument.

    Attributes:
        widget: What the user sees.
    """

    def __init__(self, widget: QWidget, text: Callable[[], str], show: Callable[[str], None]) -> None:
        self.widget = widget
        self._text, self._show = text, show
        widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._no_wheel = NoWheel(widget)
        widget.installEventFilter(self._no_wheel)

    def text(self) -> str:
        """The value."""
        return self._text()

    def show(self, text: str) -> None:
        """Show a value without telling that it changed."""
        self.widget.blockSignals(True)
        self._show(text)
        self.widget.blockSignals(False)


def editor_for(argument: ModelArgument, value: str, changed: Changed) -> Editor:
    """An editor that fits an argument and can show this value.

    Args:
        argument: The argument.
        value: Its present value; one that the argument does not allow is shown as text, so that it is not lost.
        changed: Called with the new text whenever the user changes it.
    """
    try:
        checked = argument.checked(value) if value else ""
        default = argument.checked(argument.default) if argument.default else ""
    except ArgumentValueError:
        return _line(argument, changed)
    if argument.kind == "boolean":
        return _check_box(changed)
    if argument.choices:
        return _combo_box(argument, changed)
    if argument.kind in ("number", "integer") and default:
        numbers = [float(text) for text in (default, checked or default)]
        numbers += [limit for limit in (argument.minimum, argument.maximum) if limit is not None]
        if all(abs(number) < LARGEST_NUMBER for number in numbers):
            return _spin_box(argument, numbers, changed)
    return _line(argument, changed)


def _check_box(changed: Changed) -> Editor:
    box = QCheckBox()
    box.toggled.connect(lambda checked: changed(TRUE if checked else FALSE))

    def show(text: str) -> None:
        box.setChecked(text.lower() in ("true", "1", "yes", "on"))

    return Editor(box, lambda: TRUE if box.isChecked() else FALSE, show)


def _combo_box(argument: ModelArgument, changed: Changed) -> Editor:
    box = QComboBox()
    if argument.default is None or argument.default not in argument.choices:
        box.addItem(argument.default or tr("(not set)"), argument.default or "")
    for choice in argument.choices:
        box.addItem(choice, choice)
    box.currentIndexChanged.connect(lambda _: changed(box.currentData()))

    def show(text: str) -> None:
        found = next((index for index in range(box.count()) if box.itemData(index).lower() == text.lower()), 0)
        box.setCurrentIndex(found)

    return Editor(box, box.currentData, show)


def _spin_box(argument: ModelArgument, numbers: list[float], changed: Changed) -> Editor:
    whole = argument.kind == "integer" and max(map(abs, numbers)) < LARGEST_INTEGER
    box = QSpinBox() if whole else NumberSpinBox()
    largest = LARGEST_INTEGER if whole else LARGEST_NUMBER
    low = -largest if argument.minimum is None else argument.minimum
    high = largest if argument.maximum is None else argument.maximum
    if whole:
        box.setRange(int(low), int(high))
    else:
        box.setDecimals(DECIMALS)
        box.setRange(low, high)
        box.setSingleStep(_step(argument))
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    box.setMinimumWidth(80)

    def text() -> str:
        number = box.value()
        return str(int(number)) if float(number).is_integer() else repr(float(f"{number:.12g}"))

    def show(shown: str) -> None:
        number = float(argument.checked(shown or argument.default or "0"))
        box.setValue(int(number) if whole else number)

    box.valueChanged.connect(lambda _: changed(text()))
    return Editor(box, text, show)


def _line(argument: ModelArgument, changed: Changed) -> Editor:
    line = QgsFilterLineEdit()
    line.setPlaceholderText(tr("needed") if argument.required and argument.default is None else "")
    line.textEdited.connect(changed)
    line.cleared.connect(lambda: changed(""))
    return Editor(line, line.text, line.setText)


def _step(argument: ModelArgument) -> float:
    if argument.minimum is not None and argument.maximum is not None:
        return max((argument.maximum - argument.minimum) / 20, 1e-12)
    return 1.0 if float(argument.default or "0").is_integer() else 0.1
