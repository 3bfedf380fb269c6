"""Runs functions in threads of their own and brings what they tell back into the GUI's thread."""

from __future__ import annotations

import itertools
import threading
import traceback
from collections import deque
from collections.abc import Callable

from qgis.core import QgsProcessingException
from qgis.PyQt.QtCore import QObject, pyqtSignal

from ..inference.errors import Cancelled, InferenceError
from ..inference.translation import tr

Tell = Callable[[Callable[[], None]], None]
"""Delivers a call to the thread of the GUI."""

KEPT_LINES = 200


class Lines:
    """A Feedback that keeps what a package prints, and can be cancelled from any thread."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._canceled = threading.Event()

    def info(self, text: str) -> None:
        """Keep it."""
        self.lines.append(text)

    def warning(self, text: str) -> None:
        """Keep it."""
        self.lines.append(text)

    def debug(self, text: str) -> None:
        """Keep it."""
        self.lines.append(text)

    def progress(self, percent: float) -> None:
        """Nobody looks at it."""

    def is_canceled(self) -> bool:
        """Whether `cancel` was called."""
        return self._canceled.is_set()

    def cancel(self) -> None:
        """Stop what uses this feedback."""
        self._canceled.set()


class Background(QObject):
    """One place for background work; what a dropped piece of work tells is not delivered any more."""

    _told = pyqtSignal(int, object)

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count()
        self._feedbacks: dict[int, Lines] = {}
        self._told.connect(self._deliver)

    def start(self, work: Callable[[Tell, Lines], None], failed: Callable[[str, str], None]) -> int:
        """Start work in a thread.

        Args:
            work: Called with a function that delivers a call to the GUI's thread, and a feedback that can cancel it.
            failed: Called in the GUI's thread with a message, and details such as a traceback, when the work fails.

        Returns:
            A number to drop it by.
        """
        number, feedback = next(self._numbers), Lines()
        self._feedbacks[number] = feedback

        def run() -> None:
            try:
                work(lambda call: self._tell(number, call), feedback)
            except Cancelled:
                pass  # somebody dropped it
            except (InferenceError, QgsProcessingException) as error:
                message, details = str(error), "\n".join([*feedback.lines, getattr(error, "details", "")]).strip()
                self._tell(number, lambda: failed(message, details))
            except Exception as error:  # noqa: BLE001 - a thread has nobody else to tell
                message = tr("Unexpected error: {kind}: {error}", kind=type(error).__name__, error=error)
                details = traceback.format_exc()
                self._tell(number, lambda: failed(message, details))

        threading.Thread(target=run, daemon=True).start()
        return number

    def drop(self, number: int | None) -> None:
        """Cancel work; nothing more of it is delivered."""
        feedback = self._feedbacks.pop(number, None) if number is not None else None
        if feedback is not None:
            feedback.cancel()

    def drop_all(self) -> None:
        """Cancel everything."""
        for number in list(self._feedbacks):
            self.drop(number)

    def _tell(self, number: int, call: Callable[[], None]) -> None:
        try:
            self._told.emit(number, call)
        except RuntimeError:
            pass  # QGIS has closed meanwhile

    def _deliver(self, number: int, call: Callable[[], None]) -> None:
        if number in self._feedbacks:
            call()
