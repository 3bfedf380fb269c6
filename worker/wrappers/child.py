"""What the built-in wrappers share: finding the child, reading the model definition."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any

from ..contract import POLYGON, Parameter, parameter, read_definition


class ChildError(Exception):
    """The model definition does not name a child that can be used."""


class ChildWrapper:
    """A raster function that drives a child class `ChildObjectDetector` of the package."""

    def __init__(self) -> None:
        self.name = type(self).__name__
        self.description = (self.__doc__ or "").strip()
        self.definition: dict[str, Any] = {}
        self.child: Any = None

    def initialize(self, **scalars: Any) -> None:  # noqa: ANN401 - the contract's signature
        """Read the model definition and create the child, which loads the model."""
        self.definition = read_definition(scalars["model"])
        self.child = _child_class(self.definition)()
        self.child.initialize(scalars["model"], True)

    def getConfiguration(self, **scalars: str) -> dict[str, Any]:
        """The child's own configuration, with the mask asked for and DataRange passed on."""
        configuration: dict[str, Any] = dict(self.child.getConfiguration(**scalars))
        if "DataRange" in self.definition:
            configuration["dataRange"] = tuple(self.definition["DataRange"])
        configuration["inputMask"] = True
        return configuration

    def getGeometryType(self) -> int:
        """Polygons."""
        return POLYGON

    def with_child(self, own: list[Parameter]) -> list[Parameter]:
        """What the child makes of our parameters; where it declares one of its own again, the child's counts."""
        answer: list[Parameter] = list(self.child.getParameterInfo(own))
        last = {entry["name"]: place for place, entry in enumerate(answer)}
        return [entry for place, entry in enumerate(answer) if last[entry["name"]] == place]

    def batch_size_parameter(self, default: int) -> list[Parameter]:
        """The argument batch_size, unless the model definition fixes it."""
        if "BatchSize" in self.definition:
            return []
        return [parameter("batch_size", "numeric", default, "Batch size", "Mini-tiles that run at once.")]


def ring(outline: Iterable[Sequence[float]]) -> list[list[float]]:
    """The (x, y) pairs of an outline of (y, x) pairs, as children give it."""
    return [[float(x), float(y)] for y, x in outline]


def _child_class(definition: dict[str, Any]) -> Any:  # noqa: ANN401 - a class of the package
    configuration = definition.get("ModelConfiguration")
    name = configuration.get("Name") if isinstance(configuration, dict) else configuration
    framework = definition.get("Framework")
    if not name:
        raise ChildError("the model definition has no ModelConfiguration, so there is no child to run")
    path = f"{framework}.{name}" if framework else str(name)
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        top = path.split(".")[0]
        if error.name not in (path, top) or framework is None:
            raise
        if top == "arcgis":
            raise ModuleNotFoundError(
                f"this package runs through {path}, a part of Esri's Python library arcgis, which this Python does not have",
                name="arcgis",
            ) from error
        module = importlib.import_module(str(name))
    if not hasattr(module, "ChildObjectDetector"):
        raise ChildError(f"{module.__name__} has no class ChildObjectDetector")
    return module.ChildObjectDetector
