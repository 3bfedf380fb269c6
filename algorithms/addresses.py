"""Lets Processing write down an address for INPUT without opening it, which would wait for its server in the main thread.

Processing writes parameters down when a run begins: for the history, the log and the command that users copy.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from qgis.core import QgsProcessingAlgorithm, QgsProcessingContext, QgsProcessingUtils

INPUT = "INPUT"
STAND_IN = str(Path(__file__).resolve().parent.parent / "resources" / "sample" / "tree_crowns.tif")
"""What stands in the place of an address meanwhile: opened in no time, and nobody's own raster."""


class WritesAddressesDown(QgsProcessingAlgorithm):
    """An algorithm whose INPUT may be an address."""

    def asPythonCommand(self, parameters: dict[str, Any], context: QgsProcessingContext) -> str:
        written = super().asPythonCommand(_hidden(parameters), context)
        if _is_remote(parameters):
            literal = QgsProcessingUtils.stringToPythonLiteral
            written = written.replace(literal(STAND_IN), literal(parameters[INPUT]), 1)
        return written

    def asQgisProcessCommand(self, parameters: dict[str, Any], context: QgsProcessingContext) -> tuple[str, bool]:
        written, done = super().asQgisProcessCommand(_hidden(parameters), context)
        if _is_remote(parameters):
            before, _, rest = written.partition(f"--{INPUT}=")
            after = rest.partition(" --")
            written = f"{before}--{INPUT}={shlex.quote(parameters[INPUT])}{after[1]}{after[2]}"
        return written, done

    def asMap(self, parameters: dict[str, Any], context: QgsProcessingContext) -> dict[str, Any]:
        written = super().asMap(_hidden(parameters), context)
        if _is_remote(parameters):
            written["inputs"][INPUT] = parameters[INPUT]
        return written


def _is_remote(parameters: dict[str, Any]) -> bool:
    value = parameters.get(INPUT)
    return isinstance(value, str) and ("://" in value or value.startswith("/vsi"))


def _hidden(parameters: dict[str, Any]) -> dict[str, Any]:
    return {**parameters, INPUT: STAND_IN} if _is_remote(parameters) else parameters
