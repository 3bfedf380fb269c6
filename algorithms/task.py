"""The task that holds a run; Processing calls it in its own thread, other plugins may give it to a task manager."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from qgis.core import QgsProcessingFeedback, QgsTask

from ..inference.errors import Cancelled
from ..inference.plan import InferencePlan
from ..inference.translation import tr
from .engine import load_engine

if TYPE_CHECKING:
    from ..inference.run import Result


class InferenceTask(QgsTask):
    """Runs a plan.

    Attributes:
        result: What was found, after `run` returned True; readable until `close`.
        error: Why `run` returned False.
        feedback: What the run told.
    """

    def __init__(self, plan: InferencePlan, feedback: QgsProcessingFeedback) -> None:
        super().__init__(tr("Deep learning inference"), QgsTask.Flag.CanCancel)
        self.result: Result | None = None
        self.error: Exception | None = None
        self._plan = plan
        self._stack = ExitStack()
        self.feedback = TaskFeedback(feedback, self)

    def run(self) -> bool:
        """Run the plan; never raises, as an exception here would end qgis_process."""
        try:
            self.result = self._stack.enter_context(load_engine()(self._plan, self.feedback))
        except Exception as error:  # noqa: BLE001 - see above; the caller raises it
            self.error = error
        self.feedback.flush()
        return self.error is None

    def stop_writing_if_canceled(self) -> None:
        """Raise Cancelled when the user stopped the run though all is found."""
        if self.feedback.is_canceled():
            raise Cancelled(
                tr("The run was cancelled while its output was written, so there is none. What was found is kept: run it again "
                   "with the same inputs to write it.")
            )  # fmt: skip

    def settle(self) -> None:
        """Remove what the run keeps on disk; its output is written and closed."""
        if self.result is not None:
            self.result.settle()

    def close(self) -> None:
        """Let go of the run; unless it was settled, what it found stays on disk for the next one."""
        self._stack.close()


class TaskFeedback:
    """The engine's Feedback over Processing's; it remembers the warnings.

    Details come from other threads; they wait for the supervising thread, as not every feedback may be
    called from elsewhere.
    """

    def __init__(self, feedback: QgsProcessingFeedback, task: QgsTask | None = None) -> None:
        self._feedback, self._task = feedback, task
        self.warnings: list[str] = []
        self._details: deque[str] = deque()

    def info(self, text: str) -> None:
        """Show a fact."""
        self.flush()
        self._feedback.pushInfo(text)

    def warning(self, text: str) -> None:
        """Show a warning."""
        self.flush()
        self.warnings.append(text)
        self._feedback.pushWarning(text)

    def debug(self, text: str) -> None:
        """Keep a detail until the supervising thread shows it."""
        self._details.append(text)

    def progress(self, percent: float) -> None:
        """Show how far the run is."""
        self._feedback.setProgress(percent)
        if self._task is not None:
            self._task.setProgress(percent)

    def is_canceled(self) -> bool:
        """Whether the feedback or the task was cancelled."""
        self.flush()
        return self._feedback.isCanceled() or (self._task is not None and self._task.isCanceled())

    def flush(self) -> None:
        """Show the details that came in."""
        while self._details:
            self._feedback.pushDebugInfo(self._details.popleft())


@contextmanager
def interruptible(feedback: QgsProcessingFeedback) -> Iterator[None]:
    """Let Ctrl-C cancel the feedback: QGIS ignores it while an algorithm runs in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, lambda *_: feedback.cancel())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
