"""A stand-in for arcpy: the environment and the messages that raster functions use, and nothing else."""

from __future__ import annotations

import sys
import tempfile
from types import SimpleNamespace

env = SimpleNamespace(
    processorType=None,
    gpuId="",
    scratchFolder=tempfile.gettempdir(),
    scratchWorkspace=tempfile.gettempdir(),
    workspace=None,
    parallelProcessingFactor="",
    overwriteOutput=True,
)


class ExecuteError(Exception):
    """What arcpy's tools raise."""


def AddMessage(message: object) -> None:
    """Write a message to the log."""
    print(message, file=sys.stderr)


def AddWarning(message: object) -> None:
    """Write a warning to the log."""
    print(f"Warning: {message}", file=sys.stderr)


def AddError(message: object) -> None:
    """Write an error to the log; as in arcpy it raises nothing."""
    print(f"Error: {message}", file=sys.stderr)


def AddIDMessage(message_type: object, message_id: object, *arguments: object) -> None:
    """Write one of ArcGIS's numbered messages to the log."""
    print(f"{message_type} {message_id}: {', '.join(map(str, arguments))}", file=sys.stderr)


def __getattr__(name: str) -> object:
    raise AttributeError(
        f"arcpy.{name} is not available: this package runs outside ArcGIS, with a stand-in that knows only "
        "arcpy.env, AddMessage, AddWarning, AddError, AddIDMessage and ExecuteError"
    )
