"""What the inference Python offers: asked of a worker, in the sandbox that it would run in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..worker.protocol import Message
from .feedback import Feedback
from .raster_function import Device, Hosting
from .requirements import Requirement
from .translation import tr
from .worker import Worker
from .worker_errors import understood

SECONDS = 300
"""Importing torch from a cold disk takes a while."""


@dataclass(frozen=True)
class Environment:
    """The answers of one Python.

    Attributes:
        python: Its version.
        torch, cuda: Their versions; None where torch was not asked for, cannot be imported or has no CUDA.
        torch_error: Why torch cannot be imported.
        gpus: Names of the GPUs that torch sees.
        device: Where the network would run; None when the wanted one is not there.
        device_error: Why not.
        versions: Of each library that was asked for and found; None where it tells none.
        missing: Those that were not found.
    """

    python: str
    torch: str | None
    cuda: str | None
    torch_error: str
    gpus: tuple[str, ...]
    device: Device | None
    device_error: str
    versions: dict[str, str | None]
    missing: tuple[Requirement, ...]

    @property
    def place(self) -> str:
        """Where the network would run and why, or why it cannot."""
        if self.device is None:
            return self.device_error
        return tr("{name}, because {reason}", name=self.device.name, reason=self.device.reason)

    @property
    def lacking(self) -> list[str]:
        """What has to be installed, as pip calls it."""
        return [each.distribution for each in self.missing if not each.is_optional]


def inspect_environment(
    hosting: Hosting, requirements: Sequence[Requirement], feedback: Feedback, with_torch: bool = False
) -> Environment:
    """Ask the inference Python.

    Args:
        hosting: Which Python, in which sandbox, on which processor.
        requirements: Libraries to look for.
        feedback: Can cancel.
        with_torch: Whether to import torch, which takes seconds.

    Raises:
        WorkerError, Cancelled: See Worker.call.
    """
    worker = Worker(hosting.interpreter, hosting.sandbox, (), (), feedback.debug)
    try:
        worker.wait(feedback, SECONDS)
        names = [each.module for each in requirements]
        message = {"command": "inspect", "processor": hosting.processor, "modules": names, "with_torch": with_torch}
        answer = worker.call(message, feedback, SECONDS)
    finally:
        worker.kill()
    with understood():
        return _environment(answer, requirements)


def _environment(answer: Message, requirements: Sequence[Requirement]) -> Environment:
    found = {each.module: answer["modules"][each.module] for each in requirements}
    return Environment(
        python=answer["python"],
        torch=answer["torch"],
        cuda=answer["cuda"],
        torch_error=answer["torch_error"],
        gpus=tuple(answer["gpus"]),
        device=Device(**answer["device"]) if answer["device"] else None,
        device_error=answer["device_error"],
        versions={name: known["version"] for name, known in found.items() if known["found"] and not known["standard"]},
        missing=tuple(each for each in requirements if not found[each.module]["found"]),
    )
