"""Keeps passwords, keys and tokens out of everything that is shown or kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from .errors import InferenceError
from .feedback import Feedback

HIDDEN = "…"
SHORTEST = 6
"""A shorter value is hidden where it stands by its name, but not wherever it occurs."""
_NAMES = re.compile(r"(?i)(^|_)(password|passwd|pwd|passphrase|secret|token|(api|access|secret|private)_?key|credentials?)$")
_IN_ADDRESS = re.compile(
    r"(?i)\b(\w*(?:password|passwd|pwd|token|key|secret|signature|sig|user))=('[^']*'|[^&\s'\"]*)"  # pragma: allowlist secret
)


def without_credentials(address: str) -> str:
    """An address, or a text with one, without what must not be handed on: passwords, tokens, users."""
    return re.sub(r"://[^/@\s]+@", f"://{HIDDEN}@", _IN_ADDRESS.sub(rf"\1={HIDDEN}", address))


class Secrets:
    """The secrets among the values of model arguments."""

    def __init__(self, values: Mapping[str, str], known: Iterable[str] = ()) -> None:
        """Find them: by the names of arguments, and those that are known to be secrets."""
        self._values = {*known, *(value for name, value in values.items() if _NAMES.search(name))}
        self._anywhere = sorted((value for value in self._values if len(value) >= SHORTEST), key=len, reverse=True)

    def shown(self, values: Mapping[str, str]) -> dict[str, str]:
        """Values of arguments as they may be shown."""
        return {name: HIDDEN if _NAMES.search(name) or value in self._values else value for name, value in values.items()}

    def hide(self, text: str) -> str:
        """A text without them."""
        for value in self._anywhere:
            text = text.replace(value, HIDDEN)
        return text


class Discreet:
    """A Feedback that tells another one everything but secrets."""

    def __init__(self, feedback: Feedback, secrets: Secrets) -> None:
        self._feedback, self._secrets = feedback, secrets

    def info(self, text: str) -> None:
        """Tell a fact."""
        self._feedback.info(self._secrets.hide(text))

    def warning(self, text: str) -> None:
        """Tell something to look at."""
        self._feedback.warning(self._secrets.hide(text))

    def debug(self, text: str) -> None:
        """Tell a detail."""
        self._feedback.debug(self._secrets.hide(text))

    def progress(self, percent: float) -> None:
        """Tell how far the run is."""
        self._feedback.progress(percent)

    def is_canceled(self) -> bool:
        """Whether the run shall stop."""
        return self._feedback.is_canceled()

    def about(self, error: InferenceError) -> InferenceError:
        """The same error without secrets."""
        return type(error)(self._secrets.hide(str(error)), self._secrets.hide(error.details))
