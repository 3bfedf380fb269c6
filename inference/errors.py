"""The errors that users see. Each message says what is wrong, with the value, and what to do next."""

from __future__ import annotations


def printable(text: str) -> str:
    """A stranger's text for a message or a log: nothing in it can move a cursor, colour a terminal or turn the writing."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\t\n" else "\N{REPLACEMENT CHARACTER}" for each in text)


class InferenceError(Exception):
    """Base of all errors of the engine.

    Attributes:
        details: Longer text for the log, such as the traceback of a package's own code.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class PackageError(InferenceError):
    """The package or its model definition cannot be read."""


class ArgumentValueError(InferenceError):
    """A model argument has a value of the wrong kind."""


class ConfigurationError(InferenceError):
    """What the raster function answered about itself cannot be used."""


class RasterError(InferenceError):
    """The raster cannot be opened or read."""


class FunctionError(InferenceError):
    """The package's own code failed."""


class OutOfMemoryError(FunctionError):
    """The package's own code ran out of memory."""


class WorkerError(InferenceError):
    """The inference process could not be started, died or did not answer."""


class FeatureSetError(InferenceError):
    """What vectorize answered is no feature set."""


class JournalError(InferenceError):
    """The journal cannot be written."""


class Cancelled(InferenceError):  # noqa: N818 - not a failure
    """The user stopped the run."""
