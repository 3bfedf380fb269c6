"""Switching the plugin off and on again while QGIS runs."""

from __future__ import annotations

from desktop import SAMPLE, pause
from qgis.core import QgsApplication
from qgis.gui import QgsGui, QgsProcessingGui
from qgis.utils import loadPlugin, plugins, startPlugin, unloadPlugin

NAME = "deep_learning_packages"


def test_off_and_on(open_dialog, rows):
    """Nothing of it is left when it is off; a dialog that was open does no harm; on again, all is there."""
    dialog = open_dialog({"MODEL": SAMPLE / "tree_crowns.dlpk"})
    rows(dialog)
    assert unloadPlugin(NAME)
    pause(0.5)
    assert NAME not in plugins
    assert QgsApplication.processingRegistry().providerById("dlpk") is None
    dialog.close()
    dialog.deleteLater()
    pause(0.5)
    assert loadPlugin(NAME)
    assert startPlugin(NAME)
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("dlpk:detectobjects")
    parameter = algorithm.parameterDefinition("ARGUMENTS")
    wrapper = QgsGui.processingGuiRegistry().createParameterWidgetWrapper(parameter, QgsProcessingGui.WidgetType.Standard)
    assert wrapper is not None
    again = open_dialog({"MODEL": SAMPLE / "tree_crowns.dlpk"})
    assert "threshold" in rows(again)
