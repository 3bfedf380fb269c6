"""The page in QGIS's options, under Processing: which Python runs packages, on what, what is trusted, what is kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from qgis.gui import QgsFileWidget, QgsOptionsPageWidget, QgsOptionsWidgetFactory
from qgis.PyQt.QtCore import QCoreApplication, Qt
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QLabel, QPushButton, QSpinBox, QVBoxLayout, QWidget
from qgis.utils import iface

from ..algorithms import settings, trusted
from ..algorithms.settings import PROCESSORS, SANDBOX_VARIABLE, SANDBOXES, Options
from ..inference import cache, interpreter, journals
from ..inference.arcgis_trained import WAYS
from ..inference.environment import Environment, inspect_environment
from ..inference.errors import InferenceError
from ..inference.raster_function import Hosting
from ..inference.translation import tr
from .background import Background, Lines, Tell
from .removable_list import RemovableList

ICON = Path(__file__).parent.parent / "resources" / "icons" / "provider.svg"
MOST_WORKERS = 64


MOST_REQUESTS = 1000


class OptionsPage(QgsOptionsPageWidget):
    """The options; nothing is saved before `apply`."""

    def __init__(self, parent: QWidget | None) -> None:
        super().__init__(parent)
        self.setObjectName("deepLearningPackagesOptions")
        options = settings.load()
        self._background = Background()
        self._checking: int | None = None
        self.destroyed.connect(self._background.drop_all)
        self.python = _file_widget(options.python, QgsFileWidget.StorageMode.GetFile, tr("the Python of QGIS"))
        self.report = QLabel()
        self.report.setWordWrap(True)
        self.report.setTextFormat(Qt.TextFormat.PlainText)
        self.report.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.processor = QComboBox()
        self.processor.addItems(PROCESSORS)
        self.processor.setCurrentText(options.processor)
        self.trained_by_arcgis = QComboBox()
        for value, label in zip(WAYS, (tr("By networks of the plugin"), tr("By their own programs, which need arcgis"))):
            self.trained_by_arcgis.addItem(label, value)
        self.trained_by_arcgis.setCurrentIndex(WAYS.index(options.arcgis_trained))
        self.workers = QSpinBox()
        self.workers.setRange(0, MOST_WORKERS)
        self.workers.setSpecialValueText(tr("one for each GPU, or one"))
        self.workers.setValue(options.workers)
        self.requests = QSpinBox()
        self.requests.setRange(0, MOST_REQUESTS)
        self.requests.setSpecialValueText(tr("any number"))
        self.requests.setValue(options.requests)
        self.cache = _file_widget(options.cache, QgsFileWidget.StorageMode.GetDirectory, str(cache.platform_folder()))
        self.size = QLabel()
        self.sandbox = QComboBox()
        labels = (tr("Use one where there is one"), tr("Run nothing without one"), tr("Off"))
        for value, label in zip(SANDBOXES, labels):
            self.sandbox.addItem(label, value)
        self.sandbox.setCurrentIndex(SANDBOXES.index(options.sandbox))
        columns = (tr("Package"), tr("Since"), tr("sha256"))
        self.trusted = RemovableList(tr("Trusted packages"), "trusted", columns, tr("Trust no longer"))
        self.trusted.show_rows((each.sha256, (each.name, each.since, each.sha256)) for each in trusted.packages())
        columns = (tr("Package"), tr("Raster"), tr("Blocks"), tr("Size"), tr("Last changed"))
        self.kept = RemovableList(tr("Runs that were cut short, and can be gone on with"), "kept", columns, tr("Forget"))
        self._lay_out()
        self._measure()
        self._list_kept()

    def apply(self) -> None:
        """Save; QGIS calls this when the user accepts."""
        settings.save(self._options())
        trusted.revoke(self.trusted.removed)
        for folder in self.kept.removed:
            try:
                journals.forget(Path(folder))
            except (InferenceError, OSError) as error:
                iface.messageBar().pushWarning(tr("Deep Learning Packages"), str(error))

    def check(self) -> None:
        """Ask the chosen Python what it offers."""
        self.report.setText(tr("Asking…"))
        options = self._options()

        def work(tell: Tell, feedback: Lines) -> None:
            hosting = settings.hosting(options=options)
            text = described(hosting, inspect_environment(hosting, (), feedback, with_torch=True))
            tell(lambda: self.report.setText(text))

        self._background.drop(self._checking)
        self._checking = self._background.start(work, lambda message, _: self.report.setText(message))

    def clear(self) -> None:
        """Empty the cache."""

        def work(tell: Tell, feedback: Lines) -> None:  # noqa: ARG001 - it cannot be cancelled
            journals.clear_cache()
            tell(self._measure)

        self._background.start(work, lambda message, _: self.size.setText(message))

    def _options(self) -> Options:
        return Options(
            self.python.filePath().strip(),
            self.processor.currentText(),
            self.workers.value(),
            self.cache.filePath().strip(),
            self.sandbox.currentData(),
            self.requests.value(),
            self.trained_by_arcgis.currentData(),
        )

    def _measure(self) -> None:
        self.size.setText(tr("Measuring…"))

        def work(tell: Tell, feedback: Lines) -> None:  # noqa: ARG001
            text = tr("{folder} holds {size:.1f} MiB of unpacked packages and notes.", folder=cache.cache_folder(),
                      size=cache.size() / 2**20)  # fmt: skip
            tell(lambda: self.size.setText(text))

        self._background.start(work, lambda message, _: self.size.setText(message))

    def _list_kept(self) -> None:
        def work(tell: Tell, feedback: Lines) -> None:  # noqa: ARG001
            rows = [_kept_row(journal) for journal in journals.kept_journals()]
            tell(lambda: self.kept.show_rows(rows))

        self._background.start(work, lambda _, __: None)  # what is wrong with the cache is told beside its size

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.addRow(tr("Inference Python"), _beside(self.python, _button(tr("Check"), "check", self.check)))
        form.addRow("", _note(tr("A Python program or an environment's folder that has what packages import, usually torch; "
                                 "an ArcGIS Pro environment's python.exe will do.")))  # fmt: skip
        form.addRow("", _overridden(interpreter.VARIABLE))
        form.addRow("", self.report)
        form.addRow(tr("Processor, where a run says AUTO"), self.processor)
        form.addRow(tr("Inference processes"), self.workers)
        form.addRow(tr("Packages trained in ArcGIS"), self.trained_by_arcgis)
        form.addRow(tr("Sandbox"), self.sandbox)
        form.addRow("", _overridden(SANDBOX_VARIABLE))
        form.addRow(tr("Requests a second to a server"), self.requests)
        form.addRow(tr("Cache folder"), _beside(self.cache, _button(tr("Clear"), "clear", self.clear)))
        form.addRow("", self.size)
        form.addRow("", _overridden(cache.VARIABLE))
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self.kept)
        layout.addWidget(self.trusted)
        layout.addStretch()


class OptionsFactory(QgsOptionsWidgetFactory):
    """Puts the page into QGIS's options."""

    def __init__(self) -> None:
        super().__init__()
        self.setTitle(tr("Deep Learning Packages"))
        self.setKey("deep_learning_packages")

    def icon(self) -> QIcon:
        """Icon in the list of pages."""
        return QIcon(str(ICON))

    def path(self) -> list[str]:
        """Under Processing, as QGIS calls it in the user's language."""
        return [QCoreApplication.translate("ProcessingPlugin", "Processing")]

    def createWidget(self, parent: QWidget | None) -> QgsOptionsPageWidget:
        """The page."""
        return OptionsPage(parent)


def described(hosting: Hosting, environment: Environment) -> str:
    """What a check tells."""
    chosen = hosting.interpreter
    lines = [tr("Python {version}: {path}, {origin}", version=environment.python, path=chosen.path, origin=chosen.origin)]
    if environment.torch is None:
        lines.append(tr("torch cannot be imported: {error}", error=environment.torch_error))
    else:
        lines.append(tr("torch {version}, CUDA {cuda}", version=environment.torch, cuda=environment.cuda or tr("none")))
    lines.append(tr("GPUs: {names}", names=", ".join(environment.gpus) or tr("none")))
    lines.append(tr("Device: {device}", device=environment.place))
    lines.append(tr("Sandbox: {description}", description=hosting.sandbox.description))
    return "\n".join(lines)


def _kept_row(journal: journals.KeptJournal) -> tuple[str, tuple[str, ...]]:
    name = tr("(a run that is going on)") if journal.in_use else journal.model or tr("(damaged)")
    blocks = "" if journal.in_use else tr("{done} of {total}", done=journal.done, total=journal.total)
    size, changed = f"{journal.size / 2**20:.1f} MiB", journal.changed.astimezone().strftime("%Y-%m-%d %H:%M")
    return str(journal.folder), (name, journal.raster, blocks, size, changed)


def _file_widget(path: str, mode: QgsFileWidget.StorageMode, placeholder: str) -> QgsFileWidget:
    widget = QgsFileWidget()
    widget.setStorageMode(mode)
    widget.setFilePath(path)
    widget.lineEdit().setPlaceholderText(placeholder)
    return widget


def _button(text: str, name: str, clicked: Callable[[], None]) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    button.clicked.connect(lambda _=False: clicked())
    return button


def _beside(*widgets: QWidget) -> QHBoxLayout:
    layout = QHBoxLayout()
    for widget in widgets:
        layout.addWidget(widget)
    return layout


def _note(text: str) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    font = label.font()
    font.setPointSizeF(font.pointSizeF() * 0.9)
    label.setFont(font)
    return label


def _overridden(variable: str) -> QLabel:
    """A note that an environment variable counts more; hidden while it is not set."""
    named = os.environ.get(variable)
    note = _note(tr("{variable} is set to {path}, which counts more.", variable=variable, path=named))
    note.setVisible(bool(named))
    return note
