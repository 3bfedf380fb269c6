"""Stands in for what ArcGIS gives to raster functions: arcpy, Esri's sample modules, older numpy and torch ways.

The modules lie in the folder `modules`, at the end of sys.path, so that a package's own copies and a real
arcpy come first (CONTRACT 5.2).
"""

from __future__ import annotations

import builtins
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from ..device import Device


def install(device: Device, framework: str) -> None:
    """Make the stand-ins importable and tell arcpy's environment the device.

    Args:
        device: What was chosen for this process.
        framework: `Framework` of the model definition. For arcgis.learn, arcgis is imported first: it
            probes for arcpy to choose how it reads files, and must not find the stand-in.
    """
    if framework.split(".")[0] == "arcgis" and importlib.util.find_spec("arcgis") is not None:
        importlib.import_module("arcgis")
    sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "modules"))
    arcpy = importlib.import_module("arcpy")
    arcpy.env.processorType = "GPU" if device.index >= 0 else "CPU"
    arcpy.env.gpuId = str(device.index) if device.index >= 0 else ""
    _name_numpy_aliases()
    sys.meta_path.insert(0, _TorchFinder(device))


def _name_numpy_aliases() -> None:
    """Give numpy back the names of Python's types, which Esri's samples still use."""
    for name in ("float", "int", "bool", "object", "complex", "str"):
        if name not in vars(np):
            setattr(np, name, getattr(builtins, name))


class _TorchFinder(importlib.abc.MetaPathFinder):
    """Changes torch.load's defaults once, right after torch was imported, whoever imports it."""

    def __init__(self, device: Device) -> None:
        self._device = device
        if "torch" in sys.modules:
            _relax_torch_load(sys.modules["torch"], device)

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_relax(module: ModuleType) -> None:
                execute(module)
                _relax_torch_load(module, self._device)

            spec.loader.exec_module = execute_and_relax  # type: ignore[method-assign]
        return spec


def _relax_torch_load(torch: Any, device: Device) -> None:  # noqa: ANN401 - a module
    """Let old weights open: whole pickled models (this process may run the package's code anyway), GPU weights on a CPU."""
    load = torch.load
    knows_weights_only = "weights_only" in inspect.signature(load).parameters  # since torch 1.13

    def relaxed(f: Any, map_location: Any = None, *rest: Any, **named: Any) -> Any:  # noqa: ANN401
        if knows_weights_only:
            named.setdefault("weights_only", False)
        if map_location is None and device.index < 0:
            map_location = "cpu"
        return load(f, map_location, *rest, **named)

    torch.load = relaxed
