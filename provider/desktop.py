"""What only the desktop has: our widgets in Processing's dialogs, and questions to the user."""

from __future__ import annotations

from qgis.gui import QgsGui
from qgis.utils import iface

from ..algorithms import consent
from ..algorithms.parameters import ARGUMENTS_WIDGET, CLASSES_WIDGET, RASTER_WIDGET
from .arguments.factory import arguments_factory
from .classes import classes_factory
from .consent_dialog import ask
from .options import OptionsFactory
from .raster import raster_factory


class Desktop:
    """Registered from its creation to `close`."""

    def __init__(self) -> None:
        self._factories = [
            arguments_factory(ARGUMENTS_WIDGET),
            classes_factory(CLASSES_WIDGET),
            raster_factory(RASTER_WIDGET),
        ]
        for factory in self._factories:
            QgsGui.processingGuiRegistry().addParameterWidgetFactory(factory)
        self._options = OptionsFactory()
        iface.registerOptionsWidgetFactory(self._options)
        consent.set_question(ask)

    def close(self) -> None:
        """Take everything back."""
        consent.set_question(None)
        iface.unregisterOptionsWidgetFactory(self._options)
        for factory in self._factories:
            QgsGui.processingGuiRegistry().removeParameterWidgetFactory(factory)
        self._factories.clear()
