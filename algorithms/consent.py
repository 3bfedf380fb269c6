"""Whether a package may run where no sandbox contains it: the desktop asks; without one, the log tells."""

from __future__ import annotations

from collections.abc import Callable

from qgis.core import QgsProcessingException
from qgis.PyQt.QtCore import QCoreApplication, QObject, Qt, QThread, pyqtSignal, pyqtSlot

from ..inference.feedback import Feedback
from ..inference.package import Package
from ..inference.sandbox import Sandbox
from ..inference.translation import tr

Question = Callable[[Package, str], bool]

_question: Question | None = None


def set_question(question: Question | None) -> None:
    """Have this asked before a package runs without a sandbox; it is called in the main thread."""
    global _question  # noqa: PLW0603 - the process has one desktop
    _question = question


def require(package: Package, sandbox: Sandbox, feedback: Feedback) -> None:
    """Go on when a sandbox contains the package, or the user agrees, or nobody can be asked (then say so).

    Raises:
        QgsProcessingException: The user said no.
    """
    if sandbox.program is not None:
        return
    feedback.warning(
        tr("The package runs without a sandbox, with all your rights, as {reason}. Run only packages that you trust.",
           reason=sandbox.description)
    )  # fmt: skip
    if _question is not None and not _asked_in_main_thread(_question, package, sandbox.description):
        raise QgsProcessingException(tr("The package was not run, as you did not allow it."))


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
