"""The user's options, kept in QGIS's settings; environment variables count more."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass

from qgis.core import QgsSettings

from ..inference.arcgis_trained import NATIVE, WAYS
from ..inference.cache import set_default
from ..inference.errors import WorkerError
from ..inference.interpreter import find_interpreter
from ..inference.raster_function import Hosting
from ..inference.sandbox import Sandbox, find_sandbox
from ..inference.translation import tr

GROUP = "deep_learning_packages"
PROCESSORS = ["AUTO", "CPU", "GPU"]
SANDBOX_VARIABLE = "DLPK_SANDBOX"
"""Environment variable that counts more than the option of that name."""
USUAL_REQUESTS = 40
"""Requests a second that a server gets: about what somebody causes who moves a map."""
SANDBOXES = ["auto", "required", "off"]


@dataclass(frozen=True)
class Options:
    """What the options page holds.

    Attributes:
        python: The inference Python, a program or an environment's folder; empty for QGIS's own.
        processor: What PROCESSOR means when it is AUTO.
        workers: Inference processes; 0 for one a GPU, or one on the CPU.
        cache: Folder of unpacked packages and journals; empty for the platform's.
        sandbox: auto (where there is one), required (else nothing runs) or off.
        requests: That a server gets a second at most; 0 for any number.
        arcgis_trained: What runs packages that ArcGIS trained: NATIVE or PACKAGE.
    """

    python: str = ""
    processor: str = "AUTO"
    workers: int = 0
    cache: str = ""
    sandbox: str = "auto"
    requests: int = USUAL_REQUESTS
    arcgis_trained: str = NATIVE


def load() -> Options:
    """The options as they were saved; what cannot be read is as if it were not set."""
    settings = QgsSettings()
    processor = str(settings.value(f"{GROUP}/processor", "AUTO"))
    workers = str(settings.value(f"{GROUP}/workers", "0"))
    sandbox = str(settings.value(f"{GROUP}/sandbox", "auto"))
    requests = str(settings.value(f"{GROUP}/requests", USUAL_REQUESTS))
    trained = str(settings.value(f"{GROUP}/arcgis_trained", NATIVE))
    return Options(
        python=str(settings.value(f"{GROUP}/python", "") or ""),
        processor=processor if processor in PROCESSORS else "AUTO",
        workers=int(workers) if workers.isdigit() else 0,
        cache=str(settings.value(f"{GROUP}/cache", "") or ""),
        requests=int(requests) if requests.isdigit() else USUAL_REQUESTS,
        arcgis_trained=trained if trained in WAYS else NATIVE,
        sandbox=sandbox if sandbox in SANDBOXES else "required",  # what is not understood must not open the door
    )


def save(options: Options) -> None:
    """Write the options down and use them from now on."""
    settings = QgsSettings()
    for name, value in asdict(options).items():
        settings.setValue(f"{GROUP}/{name}", value)
    set_default(options.cache)


def hosting(processor: str = "AUTO", options: Options | None = None) -> Hosting:
    """Where packages run, by the options.

    Args:
        processor: AUTO, CPU or GPU, as an algorithm was told.
        options: Others than the saved ones, to try them.

    Raises:
        WorkerError: There is no usable Python, or no sandbox where one is required.
    """
    options = options or load()
    chosen = options.processor if processor == "AUTO" else processor
    return Hosting(find_interpreter(options.python), _sandbox(os.environ.get(SANDBOX_VARIABLE) or options.sandbox), chosen)


def _sandbox(wanted: str) -> Sandbox:
    if wanted not in SANDBOXES:
        raise WorkerError(
            tr("{variable} is {value}, and only {allowed} are understood.", variable=SANDBOX_VARIABLE, value=wanted,
               allowed=", ".join(SANDBOXES))
        )  # fmt: skip
    if wanted == "off":
        return Sandbox(None, tr("it is switched off"))
    found = find_sandbox()
    if found.program is None and wanted == "required":
        raise WorkerError(
            tr("A sandbox is required, but {reason}. On Linux, install bubblewrap and allow it, or change the option Sandbox "
               "(Processing, Deep Learning Packages) or {variable}.", reason=found.description, variable=SANDBOX_VARIABLE)
        )  # fmt: skip
    return found
