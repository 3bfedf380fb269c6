"""How a run tells its caller what happens, and learns that it shall stop."""

from __future__ import annotations

import logging
from typing import Protocol

from .errors import Cancelled
from .translation import tr


class Feedback(Protocol):
    """What the engine calls; all methods are called in the thread that runs the plan, except `debug`."""

    def info(self, text: str) -> None:
        """Tell a fact about the run."""

    def warning(self, text: str) -> None:
        """Tell something that the user should look at, though the run goes on."""

    def debug(self, text: str) -> None:
        """Tell a detail, such as what a package prints. Called from any thread."""

    def progress(self, percent: float) -> None:
        """Tell how far the run is, 0 to 100."""

    def is_canceled(self) -> bool:
        """Whether the run shall stop."""


class LogFeedback:
    """Feedback for scripts: writes to Python's logging and is never cancelled."""

    def __init__(self, name: str = "deep_learning_packages") -> None:
        self._logger = logging.getLogger(name)

    def info(self, text: str) -> None:
        """Log at level INFO."""
        self._logger.info(text)

    def warning(self, text: str) -> None:
        """Log at level WARNING."""
        self._logger.warning(text)

    def debug(self, text: str) -> None:
        """Log at level DEBUG."""
        self._logger.debug(text)

    def progress(self, percent: float) -> None:
        """Log at level DEBUG."""
        self._logger.debug("%.0f %%", percent)

    def is_canceled(self) -> bool:
        """Never."""
        return False


def canceled() -> Cancelled:
    """The error of a run that the user stopped."""
    return Cancelled(tr("The run was cancelled. No output was written."))


def stop_if_canceled(feedback: Feedback) -> None:
    """Raise Cancelled when the user stopped the run."""
    if feedback.is_canceled():
        raise canceled()
