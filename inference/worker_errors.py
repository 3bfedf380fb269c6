"""What users read when a worker fails: its own report, its death, or an answer that is none."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .errors import FunctionError, OutOfMemoryError, WorkerError, printable
from .interpreter import VARIABLE, Interpreter
from .requirements import DISTRIBUTIONS
from .sandbox import Sandbox
from .translation import tr


def reported(report: Any, sandbox: Sandbox, interpreter: Interpreter) -> FunctionError:  # noqa: ANN401 - a worker may send anything
    """The error that a worker reports of the package's code, or of the plugin's network that runs in its place.

    Args:
        report: Its own words.
        sandbox: What contained it.
        interpreter: Its Python; both for what to do next.

    Raises:
        WorkerError: It is no report.
    """
    with understood():
        kind = OutOfMemoryError if report["out_of_memory"] else FunctionError
        texts = (printable(str(report[key] or "")) for key in ("message", "step", "native", "missing", "traceback"))
        text, step, network, missing, traceback = texts
        wants_network = bool(report["network"]) and sandbox.program is not None and not sandbox.has_network
    if step == "device":
        text = tr("The processor could not be made ready: {message}", message=text)
    elif step and network:
        text = tr("{step} of the plugin's network {network} failed: {message}", step=step, network=network, message=text)
    elif step:
        text = tr("{step} of the package failed: {message}", step=step, message=text)
    if wants_network:
        text += " " + tr(
            "It wants the network, which the sandbox does not give. If you trust the package, allow it: run "
            "dlpk:inspectpackage on it with TRUST switched on."
        )
    if library := missing.split(".")[0]:
        text = tr(
            "The package needs the Python library {library}, which the inference Python does not have. Install it there, "
            "for example with: {python} -m pip install {distribution} - or make a virtual environment that has it, and set "
            "{variable} to its Python. ({message})",
            variable=VARIABLE,
            library=library,
            distribution=DISTRIBUTIONS.get(library, library),
            python=interpreter.path,
            message=text,
        )
    return kind(text, traceback)


@contextmanager
def understood() -> Iterator[None]:
    """Where an answer is taken apart: a package that forges answers may send anything.

    Raises:
        WorkerError: A part is missing or of another kind.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise WorkerError(
            tr("The inference process sent something that is no answer ({error}).", error=f"{type(error).__name__}: {error}")
        ) from error


def ending(status: int) -> str:
    """How a process ended, by its status."""
    number = -status if status < 0 else status - 128
    try:
        name = signal.Signals(number).name if number > 0 else ""
    except ValueError:
        name = ""
    if name == "SIGKILL":
        return tr("killed (SIGKILL), by the system when memory ran out or by somebody")
    return name or tr("status {status}", status=status)
