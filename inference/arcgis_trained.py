"""Packages that ArcGIS trained: the plugin's own networks run them, or the package's wrapper where Esri's library is."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from ..worker.native.families import FORMAT, PREFIX, network_of
from .errors import PackageError
from .package import Package
from .purpose import algorithm_for
from .translation import tr

NATIVE, PACKAGE = "NATIVE", "PACKAGE"
WAYS = [NATIVE, PACKAGE]
"""What runs such a package: networks of the plugin, or its own wrapper."""


def chosen(package: Package, way: str) -> Package:
    """The package with what shall run it.

    Args:
        package: As it was opened.
        way: NATIVE or PACKAGE; of no account where ArcGIS did not train it.

    Raises:
        PackageError: It cannot run natively, as it should.
    """
    if package.trained is None or way == PACKAGE:
        return package
    if reason := obstacle(package, way):
        raise PackageError(reason)
    return replace(package, function=f"{PREFIX}{package.trained.family}", identity=native_identity(package.sha256))


def obstacle(package: Package, way: str) -> str:
    """Why a package cannot run the way it should; empty where it can, as far as its definition tells."""
    trained, definition = package.trained, package.definition
    if trained is None or way == PACKAGE or not trained.obstacle:
        return ""
    if definition.model_type and not algorithm_for(definition.model_type):
        return tr(
            "The model {name} is of the type {kind}, which neither detects nor classifies objects. Choose another package.",
            name=definition.name, kind=definition.model_type,
        )  # fmt: skip
    return tr(
        "The model {name} was trained in ArcGIS as {family}, which cannot run natively: {why}. Where the inference Python has "
        "Esri's library arcgis with its deep learning libraries, ARCGIS_TRAINED=PACKAGE runs it by that.",
        name=definition.name, family=trained.family, why=trained.obstacle,
    )  # fmt: skip


def native_network(package: Package) -> str:
    """The network of the plugin that runs it, so that no code of it does; empty where its own function runs."""
    return network_of(package.function)


def native_identity(sha256: str) -> str:
    """Stands for a package that runs natively, as its hash does for one that runs by itself; hexadecimal."""
    return hashlib.sha256(f"{PREFIX}{FORMAT}:{sha256}".encode()).hexdigest()
