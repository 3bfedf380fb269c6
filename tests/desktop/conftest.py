"""Switches the plugin on in the QGIS that runs these tests, and opens the sample image."""

from __future__ import annotations

import sys
import traceback

import pytest
from desktop import SAMPLE, every_kind, wait
from qgis import processing
from qgis.core import QgsProject, QgsRasterLayer, QgsSettings
from qgis.PyQt import sip
from qgis.PyQt.QtWidgets import QApplication
from qgis.utils import iface, loadPlugin, plugins, startPlugin, updateAvailablePlugins


@pytest.fixture(scope="session", autouse=True)
def plugin():
    QgsSettings().setValue("Processing/Configuration/PREFER_FILENAME_AS_LAYER_NAME", False)
    updateAvailablePlugins()
    if "deep_learning_packages" not in plugins:
        assert loadPlugin("deep_learning_packages")
        assert startPlugin("deep_learning_packages")
    iface.mainWindow().resize(1280, 800)
    return plugins["deep_learning_packages"]


@pytest.fixture(autouse=True)
def consent(plugin):
    """Where there is no sandbox, QGIS would ask and wait; these packages are our own."""
    from deep_learning_packages.algorithms import consent
    from deep_learning_packages.provider.consent_dialog import ask

    consent.set_question(lambda package, reason: True)
    yield consent
    consent.set_question(ask)


@pytest.fixture(autouse=True)
def no_errors_in_slots(monkeypatch):
    """An exception in a slot fails the test; QGIS would show a dialog and wait."""
    raised = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: raised.append("".join(traceback.format_exception(*error))))
    yield
    assert not raised, "\n".join(raised)


@pytest.fixture
def image():
    """The sample image as the project's only layer."""
    project = QgsProject.instance()
    project.clear()
    layer = QgsRasterLayer(str(SAMPLE / "tree_crowns.tif"), "tree_crowns")
    project.addMapLayer(layer)
    iface.mapCanvas().setExtent(layer.extent())
    return layer


@pytest.fixture
def kinds(tmp_path):
    return every_kind(tmp_path / "kinds")


@pytest.fixture
def open_dialog(image):
    """Open the toolbox dialog of an algorithm; closed after the test."""
    opened = []

    def open_(parameters=None, algorithm="dlpk:detectobjects"):
        dialog = processing.createAlgorithmDialog(algorithm, {key: str(value) for key, value in (parameters or {}).items()})
        dialog.show()
        dialog.resize(900, 900)  # it comes up with the size of the last one
        opened.append(dialog)
        return dialog

    yield open_
    for dialog in opened:
        if not sip.isdeleted(dialog):
            dialog.close()
            dialog.deleteLater()
    QApplication.processEvents()


@pytest.fixture
def rows():
    """Wait for the editors of arguments in a widget; by argument."""
    from qgis.PyQt.QtWidgets import QWidget

    def find(widget):
        found = [each for each in widget.findChildren(QWidget) if each.objectName().startswith("argument_")]
        return {each.objectName()[len("argument_") :]: each for each in found if each.isVisible()}

    def wait_for(widget, seconds=30.0):
        wait(lambda: find(widget), seconds)
        return find(widget)

    return wait_for
