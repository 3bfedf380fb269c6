"""The user's options, kept in QGIS's settings; environment variables count more."""

from __future__ import annotations

from dataclasses import dataclass

from qgis.core import QgsSettings

from ..inference.cache import set_default
from ..inference.interpreter import find_interpreter
from ..inference.raster_function import Hosting
from ..inference.sandbox import find_sandbox

GROUP = "deep_learning_packages"
PROCESSORS = ["AUTO", "CPU", "GPU"]


@dataclass(frozen=True)
class Options:
    """What the options page holds.

    Attributes:
        python: The inference Python, a program or an environment's folder; empty for QGIS's own.
        processor: What PROCESSOR means when it is AUTO.
        workers: Inference processes; 0 for one a GPU, or one on the CPU.
        cache: Folder of unpacked packages and journals; empty for the platform's.
    """

    python: str = ""
    processor: str = "AUTO"
    workers: int = 0
    cache: str = ""


def load() -> Options:
    """The options as they were saved; what cannot be read is as if it were not set."""
    settings = QgsSettings()
    processor = str(settings.value(f"{GROUP}/processor", "AUTO"))
    workers = str(settings.value(f"{GROUP}/workers", "0"))
    return Options(
        python=str(settings.value(f"{GROUP}/python", "") or ""),
        processor=processor if processor in PROCESSORS else "AUTO",
        workers=int(workers) if workers.isdigit() else 0,
        cache=str(settings.value(f"{GROUP}/cache", "") or ""),
    )


def save(options: Options) -> None:
    """Write the options down and use them from now on."""
    settings = QgsSettings()
    for name in ("python", "processor", "workers", "cache"):
        settings.setValue(f"{GROUP}/{name}", getattr(options, name))
    set_default(options.cache)


def hosting(processor: str = "AUTO", options: Options | None = None) -> Hosting:
    """Where packages run, by the options.

    Args:
        processor: AUTO, CPU or GPU, as an algorithm was told.
        options: Others than the saved ones, to try them.

    Raises:
        WorkerError: There is no usable Python.
    """
    options = options or load()
    chosen = options.processor if processor == "AUTO" else processor
    return Hosting(find_interpreter(options.python), find_sandbox(), chosen)
