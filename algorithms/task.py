"""The task that holds a run; Processing calls it in its own thread, other plugins may give it to a task manager."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from qgis.core import QgsProcessingFeedback, QgsTask

from ..inference.errors import InferenceError
from ..inference.plan import InferencePlan
from ..inference.translation import tr

if TYPE_CHECKING:
    from ..inference.run import InferenceResult


class InferenceTask(QgsTask):
    """Runs a plan.

    Attributes:
        result: What was found, after `run` returned True; readable until `close`.
        error: Why `run` returned False.
    """

    def __init__(self, plan: InferencePlan, feedback: QgsProcessingFeedback) -> None:
        super().__init__(tr("Deep learning inference"), QgsTask.Flag.CanCancel)
        self.result: InferenceResult | None = None
        self.error: Exception | None = None
        self._plan = plan
        self._stack = ExitStack()
        self._feedback = TaskFeedback(feedback, self)

    def run(self) -> bool:
        """Run the plan; never raises, as an exception here would end qgis_process."""
        try:
            run_plan = _engine()
            self.result = self._stack.enter_context(run_plan(self._plan, self._feedback))
        except Exception as error:  # noqa: BLE001 - see above; the caller raises it
            self.error = error
        self._feedback.flush()
        return self.error is None

    def close(self) -> None:
        """Remove what the run keeps on disk."""
        self._stack.close()


class TaskFeedback:
    """The engine's Feedback over Processing's.

    Details come from other threads; they wait for the supervising thread, as not every feedback may be
    called from elsewhere.
    """

    def __init__(self, feedback: QgsProcessingFeedback, task: QgsTask | None = None) -> None:
        self._feedback, self._task = feedback, task
        self._details: deque[str] = deque()

    def info(self, text: str) -> None:
        """Show a fact."""
        self.flush()
        self._feedback.pushInfo(text)

    def warning(self, text: str) -> None:
        """Show a warning."""
        self.flush()
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


def _engine() -> Callable[..., ExitStack]:
    """The engine's run_plan; it needs shapely 2, which not every QGIS has.

    Raises:
        InferenceError: shapely is missing or too old.
    """
    try:
        with _own_libraries_first():
            import shapely

        found = shapely.__version__
    except ImportError:
        found = ""
    if not found or int(found.split(".")[0]) < 2:  # noqa: PLR2004 - the version that works on arrays
        raise InferenceError(
            tr("The Python library shapely 2 is needed in QGIS's own Python, which has {found}. Install it, for example with: "
               "python3 -m pip install --user \"shapely>=2\", or start QGIS with PYTHONPATH set to a folder that has it.",
               found=tr("version {found}", found=found) if found else tr("none"))
        )  # fmt: skip
    from ..inference.run import run_plan

    return run_plan  # type: ignore[return-value]


@contextmanager
def _own_libraries_first() -> Iterator[None]:
    """Let an extension use the libraries that it brings.

    QGIS has loaded GEOS already. Without this, shapely would call that one, though it may be older than the one
    that shapely was built for.
    """
    if not hasattr(os, "RTLD_DEEPBIND"):
        yield
        return
    flags = sys.getdlopenflags()
    sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
    try:
        yield
    finally:
        sys.setdlopenflags(flags)
