"""Joins a panel with the package that it shows: reads it, fills the panel, and tells what changed.

It is no QObject and never touches the wrapper that owns it: in QGIS 3.40 a wrapper made in Python loses its C++
half when QGIS takes it over, so all talk goes through the wrapper that QGIS hands back.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qgis.PyQt.QtCore import QTimer

from ...inference.description import Description
from ...inference.environment import Environment
from ...inference.inspection import how_to_install
from ...inference.package import Package
from ...inference.raster_function import Hosting
from ...inference.services import downloads
from ...inference.translation import tr
from .panel import ArgumentsPanel
from .reading import PackageReader
from .siblings import Siblings
from .summary import summary

TYPING_PAUSE = 400
"""Milliseconds after the last change of the model before it is read."""


class ArgumentsController:
    """A panel and the package that it shows.

    Attributes:
        panel: What the user sees; None once it is gone.
    """

    def __init__(
        self,
        changed: Callable[[], None],
        siblings: Siblings,
    ) -> None:
        """Make the panel.

        Args:
            changed: Called when the stored value has changed.
            siblings: What the other parameters hold.
        """
        self._changed, self._siblings = changed, siblings
        self._path: str | None = ""
        self._package: Package | None = None
        self._reader = PackageReader()
        self._reader.opened.connect(self._opened)
        self._reader.described.connect(self._described)
        self._reader.environment_known.connect(self._environment_known)
        self._reader.environment_failed.connect(self._environment_failed)
        self._reader.failed.connect(self._failed)
        self._reader.raster_checked.connect(self._raster_checked)
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._show_wanted)
        self._wanted: str | None = ""
        self.panel: ArgumentsPanel | None = ArgumentsPanel(changed, self._read_again)
        self.panel.destroyed.connect(lambda: self.close())
        self._show("")

    def show_model(self, path: str | None, pause: int = 0) -> None:
        """Show the arguments of a package.

        Args:
            path: The package; empty when none is chosen, None when it is only known when a model runs.
            pause: Milliseconds to wait for further changes, as while a user types.
        """
        self._wanted = path
        if pause:
            self._timer.start(pause)
        else:
            self._show_wanted()

    def check_raster(self) -> None:
        """Compare the raster, which has changed, with the model."""
        if self._package is None or self.panel is None:
            return
        chosen = self._siblings.raster()
        if chosen is None:
            self.panel.show_warnings("raster", [])
        else:
            self._reader.check_raster(self._package.definition, chosen)

    def ask_environment(self) -> None:
        """Find out where the model would run, as the processor has changed."""
        if self._package is not None and self.panel is not None and self.panel.state.arguments is not None:
            self._reader.ask_environment(self._package, self._siblings.processor())

    def choose_again(self) -> None:
        """Ask the package anew if something else runs it now."""
        if self._package is not None and self._package.trained is not None:
            self._read()

    def close(self) -> None:
        """The panel is gone."""
        self.panel = None
        self._timer.stop()
        self._reader.drop_all()

    def _show_wanted(self) -> None:
        if self._wanted != self._path and self.panel is not None:
            self._reader.drop_all()
            self._show(self._wanted)

    def _show(self, path: str | None) -> None:
        self._path, self._package = path, None
        if path is None:
            self.panel.show_hint(
                tr("The package is only known when the model runs. Give names and values of arguments here; others keep "
                   "their defaults."), raw=True
            )  # fmt: skip
        elif not path:
            self.panel.show_hint(tr("Choose a deep learning package to see the arguments of its model."))
        elif downloads.is_address(path):
            self.panel.show_hint(
                tr("The package is downloaded when it is run. Run it once, or dlpk:inspectpackage, to see its arguments here; "
                   "until then give names and values."), raw=True
            )  # fmt: skip
        elif not is_package(path):
            self.panel.show_hint(tr("There is no deep learning package at {path}.", path=path))
        else:
            self._read()

    def _read_again(self) -> None:
        self._read(again=True)

    def _read(self, again: bool = False) -> None:
        if self.panel is not None and self._path:
            self.panel.show_busy()
            self._reader.read(self._path, self._siblings.arcgis_trained(), again)

    def _opened(self, package: Package) -> None:
        self._package = package
        if self.panel is not None:
            self.panel.summary.setText(summary(package.definition))
            self.panel.summary.show()
            self.check_raster()

    def _described(self, package: Package, description: Description) -> None:
        self._package = package
        if self.panel is not None:
            self.panel.state.declare(description.arguments)
            self.panel.show_rows()
            self.ask_environment()
            self._changed()

    def _environment_known(self, hosting: Hosting, environment: Environment) -> None:
        if self.panel is None:
            return
        lacking = environment.lacking
        self.panel.show_warnings("libraries", [how_to_install(hosting.interpreter, lacking)] if lacking else [])
        self.panel.device.setText(tr("Device: {device}", device=environment.place))
        self.panel.device.show()

    def _environment_failed(self, message: str) -> None:
        if self.panel is not None:
            self.panel.show_warnings("libraries", [message])

    def _failed(self, message: str, details: str) -> None:
        if self.panel is not None:
            self.panel.show_failure(message, details)

    def _raster_checked(self, doubts: list[str]) -> None:
        if self.panel is not None:
            self.panel.show_warnings("raster", doubts)


def is_package(path: str) -> bool:
    """Whether something that may be a package lies there; a folder counts when it holds a model definition."""
    place = Path(path).expanduser()
    try:
        if place.is_dir():
            return any(child.suffix.lower() == ".emd" for child in place.iterdir())
        return place.is_file()
    except OSError:
        return False
