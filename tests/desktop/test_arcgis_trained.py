"""A package that ArcGIS trained in the dialog: its arguments, and what becomes of them when its own program shall run it."""

from __future__ import annotations

import pytest
from desktop import picture, wait
from qgis.PyQt.QtWidgets import QLabel

trained = pytest.importorskip("trained")


@pytest.fixture
def package(tmp_path):
    values = trained.definition("RetinaNet", ModelName="RetinaNet", ModelDescription="parking lots")
    return trained.package(tmp_path / "cars", values, trained.random_state(values))


def texts(dialog):
    return " ".join(label.text() for label in dialog.findChildren(QLabel) if label.isVisible())


def test_arguments_follow_what_runs_it(open_dialog, rows, package):
    dialog = open_dialog({"MODEL": package})
    editors = rows(dialog)
    assert list(editors)[:3] == ["padding", "threshold", "nms_overlap"]
    assert {"precision", "compile", "tta_scales"} <= set(editors)
    picture(dialog, "trained_in_arcgis")
    way = dialog.mainWidget().wrappers["ARCGIS_TRAINED"]
    assert way.parameterValue() == "NATIVE"
    way.setParameterValue("PACKAGE", dialog.processingContext())
    wait(lambda: "arcgis" in texts(dialog), 60)
    picture(dialog, "trained_in_arcgis_failed")
    way.setParameterValue("NATIVE", dialog.processingContext())
    wait(lambda: "precision" in rows(dialog), 60)
