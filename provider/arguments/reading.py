"""Reads packages and rasters for the widgets; QGIS never waits for it."""

from __future__ import annotations

from dataclasses import dataclass

from qgis.PyQt.QtCore import pyqtSignal

from ...algorithms import consent, settings
from ...inference import description
from ...inference.arcgis_trained import NATIVE, PACKAGE, chosen, native_network
from ...inference.definition import ModelDefinition
from ...inference.description import Description
from ...inference.environment import Environment, inspect_environment
from ...inference.feedback import stop_if_canceled
from ...inference.package import Package, open_package
from ...inference.raster_function import Hosting
from ...inference.rasters.gdal_raster import GdalRaster
from ...inference.requirements import Requirement, requirements_of
from ...inference.suitability import doubts
from ..background import Background, Lines, Tell


@dataclass(frozen=True)
class RasterChoice:
    """A raster to compare with the model: where GDAL finds it, the layer's CRS as WKT (None for its own), cell size."""

    path: str
    crs: str | None
    cell_size: float | None = None


@dataclass(frozen=True)
class _Wanted:
    """What to read: see PackageReader.read."""

    path: str
    way: str
    again: bool
    run_code: bool


class PackageReader(Background):
    """Reads one package and looks at one raster at a time; a new request cancels the one before."""

    opened = pyqtSignal(object)
    """The Package, before any code of it has run."""
    described = pyqtSignal(object, object)
    """The Package with what runs it, and its Description."""
    environment_known = pyqtSignal(object, object)
    """Hosting and Environment of the Python that would run it."""
    environment_failed = pyqtSignal(str)
    """Why there is no such Python."""
    failed = pyqtSignal(str, str)
    """A message, and details such as a traceback."""
    raster_checked = pyqtSignal(list)
    """Sentences about how the raster differs from what the model is likely to want."""

    def __init__(self) -> None:
        super().__init__()
        self._reading: int | None = None
        self._checking: int | None = None
        self._asking: int | None = None

    def read(self, path: str, way: str = NATIVE, again: bool = False, run_code: bool = True) -> None:
        """Read a package.

        Args:
            path: A .dlpk, .emd or folder.
            way: What shall run it if ArcGIS trained it (see arcgis_trained).
            again: Whether to run its code even where its answers are known.
            run_code: Whether to go on after `opened`.
        """
        self.drop(self._reading)
        wanted = _Wanted(path, way, again, run_code)
        self._reading = self.start(lambda tell, feedback: self._read(wanted, tell, feedback), self.failed.emit)

    def check_raster(self, definition: ModelDefinition, choice: RasterChoice) -> None:
        """Compare a raster with a model."""

        def work(tell: Tell, feedback: Lines) -> None:  # noqa: ARG001 - GDAL cannot be cancelled
            found = _doubts(definition, choice)
            tell(lambda: self.raster_checked.emit(found))

        self.drop(self._checking)
        # Whether the raster can be opened is the question of its own parameter.
        self._checking = self.start(work, lambda _, __: self.raster_checked.emit([]))

    def ask_environment(self, package: Package, processor: str) -> None:
        """Ask the Python that would run a package what it has, and on which device that would be."""

        def work(tell: Tell, feedback: Lines) -> None:
            hosting = settings.hosting(processor)
            environment = _environment(hosting, requirements_of(package).libraries, feedback)
            tell(lambda: self.environment_known.emit(hosting, environment))

        self.drop(self._asking)
        self._asking = self.start(work, lambda message, _: self.environment_failed.emit(message))

    def _read(self, wanted: _Wanted, tell: Tell, feedback: Lines) -> None:
        opened = open_package(wanted.path, lambda: stop_if_canceled(feedback), quick=True)
        tell(lambda: self.opened.emit(opened))
        if not wanted.run_code:
            return
        package = chosen(opened, wanted.way)
        known = None if wanted.again else description.recall(package.identity)
        described = known or _asked(package, settings.hosting(), feedback)
        tell(lambda: self.described.emit(package, described))


def _asked(package: Package, hosting: Hosting, feedback: Lines) -> Description:
    """Run the package's code; consent to it goes by its true hash."""
    if package.is_recalled:
        opened = open_package(package.source, lambda: stop_if_canceled(feedback))
        package = chosen(opened, NATIVE if native_network(package) else PACKAGE)
    return description.describe(package, consent.allowed(package, hosting, feedback), feedback)


def _doubts(definition: ModelDefinition, choice: RasterChoice) -> list[str]:
    raster = GdalRaster(choice.path, choice.cell_size, choice.crs)
    grid = raster.grid
    raster.close()
    return doubts(definition, grid)


_environments: dict[tuple[object, ...], Environment] = {}


def _environment(hosting: Hosting, libraries: tuple[Requirement, ...], feedback: Lines) -> Environment:
    """What the inference Python offers; asked once as long as QGIS runs, but again where something was missing."""
    key = (hosting.interpreter.path, hosting.processor, libraries)
    if key not in _environments or _environments[key].missing:
        _environments[key] = inspect_environment(hosting, libraries, feedback)
    return _environments[key]
