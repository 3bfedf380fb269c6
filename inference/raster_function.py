"""A raster function of a package, hosted by a worker: opened, configured, restarted, asked block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .arguments import ModelArgument, declared_arguments
from .configuration import Configuration
from .errors import ConfigurationError
from .feedback import Feedback
from .fields import GEOMETRY_TYPES, Field, declared_fields
from .interpreter import Interpreter
from .package import Package
from .sandbox import Sandbox
from .slots import Part, Slots, runs_of
from .translation import tr
from .worker import Worker
from .worker_errors import understood


@dataclass(frozen=True)
class Hosting:
    """Where and how workers run.

    Attributes:
        interpreter, sandbox: Which Python, and what contains it.
        processor: AUTO, CPU or GPU.
        start_seconds: How long the package may take to load before the run gives up.
        trusts: Whether the user trusts the package.
    """

    interpreter: Interpreter
    sandbox: Sandbox
    processor: str = "AUTO"
    start_seconds: float = 1800.0
    trusts: bool = False


@dataclass(frozen=True)
class Device:
    """Where the network runs, as the worker told: index (-1 is the CPU), name, why, and how many GPUs there are."""

    index: int
    name: str
    reason: str
    count: int


@dataclass(frozen=True)
class FunctionAnswers:
    """What a function told about itself once it had all its arguments."""

    configuration: Configuration
    fields: tuple[Field, ...]
    geometry_type: int


class RasterFunction:
    """One instance of a package's raster function in its own process."""

    def __init__(self, package: Package, hosting: Hosting, slots: Slots, feedback: Feedback, gpu: int = 0) -> None:
        """Start the process; no code of the package runs yet.

        Raises:
            WorkerError: It does not start.
            Cancelled: The user stopped the run.
        """
        self._package, self._hosting, self._slots, self._feedback, self._gpu = package, hosting, slots, feedback, gpu
        self._values: Mapping[str, str] = {}
        self.device = Device(-1, "", "", 0)
        self.worker = self._start()

    def open(self, values: Mapping[str, str]) -> list[ModelArgument]:
        """Load the package's code and model.

        Args:
            values: The user's own values; defaults are not known yet.

        Returns:
            The arguments that the function declares.

        Raises:
            FunctionError: Its code failed; the original traceback is in the details.
            WorkerError, Cancelled: See Worker.call.
        """
        self._values = values
        message = {
            "command": "open",
            "function": self._package.function,
            "definition": str(self._package.definition.path),
            "framework": self._package.definition.framework,
            "processor": self._hosting.processor,
            "gpu": self._gpu,
            "values": dict(values),
            "limits": self.worker.limits,
            "contained": self._hosting.sandbox.program is not None or self._hosting.trusts,
        }
        answer = self.worker.call(message, self._feedback, self._hosting.start_seconds)
        with understood():
            self.device = Device(**answer["device"])
            return declared_arguments(answer["parameters"])

    def configure(self, scalars: Mapping[str, str]) -> FunctionAnswers:
        """Hand over the values of all arguments.

        Raises:
            ConfigurationError: The answers cannot be used.
            FunctionError, WorkerError, Cancelled: As in `open`.
        """
        message = {
            "command": "configure",
            "definition": str(self._package.definition.path),
            "device": self.device.index,
            "scalars": dict(scalars),
        }
        answer = self.worker.call(message, self._feedback, self._hosting.start_seconds)
        with understood():
            configuration = Configuration.from_answer(answer["configuration"], self._package.definition.values, scalars)
            fields, geometry_type = declared_fields(answer["fields"]), answer["geometry_type"]
        if not isinstance(geometry_type, int) or geometry_type not in GEOMETRY_TYPES:
            raise ConfigurationError(
                tr("getGeometryType() answered {value}; 1 (point), 2 (multipoint), 3 (polyline) or 4 (polygon) is allowed.",
                   value=geometry_type)
            )  # fmt: skip
        return FunctionAnswers(configuration, fields, geometry_type)

    def share(self) -> None:
        """Let the process map the slots, once they are allocated."""
        message = {
            "command": "share",
            "descriptor": self._slots.descriptor,
            "path": self._slots.path,
            "bytes": self._slots.total_bytes,
            "slot_bytes": self._slots.slot_bytes,
        }
        self.worker.call(message, self._feedback, self._hosting.start_seconds)

    def restart(self, scalars: Mapping[str, str]) -> FunctionAnswers:
        """Replace the process by a new one that is ready for blocks; raises what starting and opening raise."""
        self.kill()
        self.worker = self._start()
        self.open(self._values)
        answers = self.configure(scalars)
        self.share()
        return answers

    def request(self, slot: int, parts: Sequence[Part], batch: int | None) -> None:
        """Ask for a block, or for chips in batches of at most so many; the answer comes to where the worker delivers."""
        message: dict[str, Any] = {
            "command": "vectorize", "slot": slot, "runs": runs_of(parts), "batch": batch,
        }  # fmt: skip
        self.worker.send(message)

    def kill(self) -> None:
        """End the process at once."""
        self.worker.kill()

    def _start(self) -> Worker:
        hosting = self._hosting
        inherited = () if self._slots.descriptor is None else (self._slots.descriptor,)
        worker = Worker(hosting.interpreter, hosting.sandbox, (self._package.folder,), inherited, self._feedback.debug)
        try:
            worker.wait(self._feedback, hosting.start_seconds)
        except BaseException:
            worker.kill()
            raise
        return worker
