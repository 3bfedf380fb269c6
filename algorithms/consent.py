"""Whether a package may run where no sandbox contains it: only when the user trusts it; the desktop asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from qgis.PyQt.QtCore import QCoreApplication, QObject, Qt, QThread, pyqtSignal, pyqtSlot

from ..inference.arcgis_trained import native_network
from ..inference.errors import WorkerError
from ..inference.feedback import Feedback
from ..inference.package import Package
from ..inference.raster_function import Hosting
from ..inference.translation import tr
from . import trusted

Question = Callable[[Package, str], bool]
OWN_PACKAGES = Path(__file__).resolve().parent.parent / "resources"

_question: Question | None = None


def set_question(question: Question | None) -> None:
    """Have this asked before a package runs without a sandbox; it is called in the main thread."""
    global _question  # noqa: PLW0603 - the process has one desktop
    _question = question


def allowed(package: Package, hosting: Hosting, feedback: Feedback) -> Hosting:
    """How a package may run: in the sandbox, with network if the user trusts it; without one only if the user trusts it.

    One that a network of the plugin runs needs no trust, as no code of it does.

    Args:
        package: Opened by its true hash.
        hosting: Where it would run.
        feedback: Told when there is no sandbox.

    Raises:
        WorkerError: There is no sandbox and the user does not trust the package, or cannot be asked.
    """
    is_trusted, sandbox = trusted.contains(package.sha256), hosting.sandbox
    if native_network(package):
        return replace(hosting, trusts=is_trusted)
    if sandbox.program is not None:
        return replace(hosting, sandbox=sandbox.with_network()) if is_trusted else hosting
    is_own = package.source.resolve().is_relative_to(OWN_PACKAGES)  # what comes with the plugin is part of it
    if not is_trusted and not is_own:
        _ask(package, sandbox.description)
    feedback.warning(
        tr("The package runs without a sandbox, with all your rights, as {reason}. Run only packages that you trust.",
           reason=sandbox.description)
    )  # fmt: skip
    return hosting


def _ask(package: Package, reason: str) -> None:
    if _question is None:
        raise WorkerError(
            tr("There is no sandbox to contain the package, as {reason}, so it runs only if you trust it. Look at it with: "
               "qgis_process run dlpk:inspectpackage --MODEL={path} --RUN_CODE=false - and if you trust who made it, run the "
               "same with --TRUST=true.", reason=reason, path=package.source)
        )  # fmt: skip
    if not _asked_in_main_thread(_question, package, reason):
        raise WorkerError(tr("The package was not run, as you did not allow it."))
    trusted.add(package.sha256, package.definition.name)


def _asked_in_main_thread(question: Question, package: Package, reason: str) -> bool:
    application = QCoreApplication.instance()
    if application is None or QThread.currentThread() is application.thread():
        return question(package, reason)
    asker = _Asker(question, package, reason)
    asker.moveToThread(application.thread())
    asker.asked.connect(asker.answer, Qt.ConnectionType.BlockingQueuedConnection)
    asker.asked.emit()
    return asker.allowed


class _Asker(QObject):
    """Carries the question into the main thread and waits for its answer."""

    asked = pyqtSignal()

    def __init__(self, question: Question, package: Package, reason: str) -> None:
        super().__init__()
        self._question, self._package, self._reason = question, package, reason
        self.allowed = False

    @pyqtSlot()
    def answer(self) -> None:
        """Ask; runs in the main thread."""
        self.allowed = self._question(self._package, self._reason)
