"""The toolbox dialog in the real QGIS: rows, warnings, failures, a whole run."""

from __future__ import annotations

import gc
import json
import os
import time

import numpy as np
import pytest
from desktop import ARGUMENTS, ROOT, SAMPLE, SLOW, Stalls, every_kind, pause, picture, wait
from packages import make_package
from processing.core.ProcessingResults import resultsList
from qgis import processing
from qgis.core import Qgis, QgsProject
from qgis.PyQt import sip
from qgis.PyQt.QtCore import QPoint, QPointF, Qt
from qgis.PyQt.QtGui import QWheelEvent
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QTextBrowser,
)
from qgis.utils import iface
from rasters import write_raster


def wrapper(dialog, name):
    return dialog.mainWidget().wrappers[name]


def value(dialog):
    return wrapper(dialog, "ARGUMENTS").parameterValue()


def visible(dialog, kind, name):
    return next((each for each in dialog.findChildren(kind) if each.objectName() == name and each.isVisible()), None)


def type_into(spin_box, text):
    spin_box.selectAll()
    QTest.keyClicks(spin_box, text)
    QTest.keyClick(spin_box, Qt.Key.Key_Return)


def test_pick_change_run(open_dialog, rows, tmp_path):
    """A user picks the sample package, changes two things and runs: the layer is in the project, named and styled."""
    dialog = open_dialog()
    wrapper(dialog, "MODEL").wrappedWidget().setFilePath(str(SAMPLE / "tree_crowns.dlpk"))
    editors = rows(dialog)
    assert list(editors) == ["padding", "threshold", "nms_overlap", "batch_size"]
    assert "Tree crowns" in visible(dialog, QLabel, "summary").text()
    type_into(editors["threshold"], "0.5")
    wrapper(dialog, "NMS").wrappedWidget().setChecked(True)
    wait(lambda: visible(dialog, QLabel, "device"))
    picture(dialog, "dialog")
    wrapper(dialog, "REPORT").setParameterValue(str(tmp_path / "report.html"), dialog.processingContext())
    assert json.loads(value(dialog)) == {"threshold": 0.5}
    dialog.runAlgorithm()
    wait(lambda: len(QgsProject.instance().mapLayers()) == 2, 120)
    layer = next(layer for layer in QgsProject.instance().mapLayers().values() if layer.type() == Qgis.LayerType.Vector)
    assert layer.name() == "Tree crowns"
    assert layer.featureCount() > 50
    categories = layer.renderer().categories()
    assert [category.label() for category in categories] == ["Tree"]
    assert categories[0].symbol().symbolLayer(1).strokeColor().name() == "#4caf50"
    assert "Confidence" in layer.mapTipTemplate()
    assert "sha256" in layer.metadata().abstract()
    wait(lambda: any(each.filename == str(tmp_path / "report.html") for each in resultsList.getResults()))
    dialog.hide()
    iface.mapCanvas().setExtent(layer.extent())
    iface.mapCanvas().refresh()
    wait(lambda: not iface.mapCanvas().isDrawing(), 30)
    pause(1.0)
    picture(iface.mainWindow(), "result")
    picture(iface.mapCanvas(), "result_map")


def test_every_kind(open_dialog, rows, kinds):
    """Each kind of argument has its editor, with the limits of its domain; what is typed arrives."""
    dialog = open_dialog({"MODEL": kinds})
    editors = rows(dialog)
    expected = {
        "tile": QSpinBox, "padding": QDoubleSpinBox, "threshold": QDoubleSpinBox, "return_bboxes": QCheckBox,
        "merge_policy": QComboBox, "text_prompt": QLineEdit, "seed": QLineEdit,
    }  # fmt: skip
    assert list(editors) == list(expected)
    assert all(isinstance(editors[name], kind) for name, kind in expected.items())
    assert (editors["tile"].minimum(), editors["tile"].maximum()) == (32, 1024)
    assert [editors["merge_policy"].itemText(index) for index in range(3)] == ["mean", "max", "min"]
    type_into(editors["tile"], "128")
    editors["return_bboxes"].click()
    editors["merge_policy"].setCurrentText("max")
    QTest.keyClicks(editors["text_prompt"], "car, 'bus'; \"van\"")
    given = {"tile": 128, "return_bboxes": True, "merge_policy": "max", "text_prompt": "car, 'bus'; \"van\""}
    assert json.loads(value(dialog)) == given
    picture(dialog, "every_kind")
    type_into(editors["tile"], "256")
    del given["tile"]
    assert json.loads(value(dialog)) == given
    next(each for each in dialog.findChildren(QPushButton) if each.objectName() == "reset_all").click()
    assert value(dialog) == ""


def test_values_stay_where_the_next_model_has_the_argument(open_dialog, rows, kinds):
    dialog = open_dialog({"MODEL": kinds})
    editors = rows(dialog)
    type_into(editors["threshold"], "0.7")
    type_into(editors["tile"], "64")
    wrapper(dialog, "MODEL").wrappedWidget().setFilePath(str(SAMPLE / "tree_crowns.dlpk"))
    wait(lambda: "nms_overlap" in rows(dialog))
    assert json.loads(value(dialog)) == {"threshold": 0.7}
    wrapper(dialog, "MODEL").wrappedWidget().setFilePath(str(kinds))
    wait(lambda: "tile" in rows(dialog))
    assert json.loads(value(dialog)) == {"threshold": 0.7, "tile": 64}


def test_stored_value_comes_back(open_dialog, rows, kinds):
    """As from history, in ArcGIS's own notation; a name that the model does not know is kept and shown."""
    dialog = open_dialog({"MODEL": kinds, "ARGUMENTS": "threshold 0.6;text_prompt 'a;b';stranger 1"})
    editors = rows(dialog)
    assert editors["threshold"].value() == 0.6
    assert editors["text_prompt"].text() == "a;b"
    assert json.loads(value(dialog)) == {"threshold": 0.6, "text_prompt": "a;b", "stranger": "1"}
    assert any("not an argument of this model" in label.text() for label in dialog.findChildren(QLabel))


def test_wheel_does_not_change_values(open_dialog, rows, kinds):
    """It scrolls the dialog, unless the user is working in the editor."""
    dialog = open_dialog({"MODEL": kinds})
    editors = rows(dialog)
    for name in ("threshold", "tile", "merge_policy"):
        editor = editors[name]
        middle = QPointF(editor.rect().center())
        event = QWheelEvent(
            middle, QPointF(editor.mapToGlobal(editor.rect().center())), QPoint(0, 0), QPoint(0, -120), Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        editor.clearFocus()
        QApplication.sendEvent(editor, event)
    assert value(dialog) == ""


def test_values_that_editors_cannot_show_are_not_lost(open_dialog, rows, tmp_path):
    """Decimal commas, limits beyond a spin box, a stored value that is no JSON."""
    limits = ARGUMENTS.replace("[32, 1024]", "[0, 4294967295]").replace('"domain": [0.0, 1.0]', '"domain": [0.0, float("inf")]')
    package = make_package(tmp_path / "p", limits)
    dialog = open_dialog({"MODEL": package, "ARGUMENTS": "threshold 0,6;tile 3000000000;padding wide"})
    assert set(rows(dialog)) >= {"threshold", "tile", "padding"}
    assert json.loads(value(dialog)) == {"tile": 3000000000, "padding": "wide", "threshold": 0.6}
    assert any("must be a number, but 'wide'" in label.text() for label in dialog.findChildren(QLabel))
    broken = open_dialog({"MODEL": package, "ARGUMENTS": '{"tile": '})
    rows(broken)
    assert value(broken) == '{"tile": '
    assert any("not valid JSON" in label.text() for label in broken.findChildren(QLabel))


def shown_warnings(dialog):
    return [each.text() for each in dialog.findChildren(QLabel) if each.objectName() == "warning" and each.isVisible()]


def test_warnings(open_dialog, rows, kinds, tmp_path, monkeypatch):
    """One band, 16 bit and too coarse: three sentences, which follow the raster; the device follows the processor."""
    monkeypatch.chdir(tmp_path)
    write_raster(tmp_path / "coarse.tif", np.zeros((1, 64, 64), np.uint16), (500000, 10, 0, 4000000, 0, -10))
    dialog = open_dialog({"MODEL": kinds.name, "INPUT": "coarse.tif"})
    rows(dialog)
    wait(lambda: visible(dialog, QLabel, "device") and len(shown_warnings(dialog)) == 3)
    for sentence in ("reads band 3, but the raster has 1", "uint16 pixels", "cell size of 10 m"):
        assert any(sentence in warning for warning in shown_warnings(dialog)), sentence
    picture(dialog, "warnings")
    wrapper(dialog, "PROCESSOR").setParameterValue("CPU", dialog.processingContext())
    wait(lambda: "the CPU was asked for" in visible(dialog, QLabel, "device").text())
    wrapper(dialog, "INPUT").setParameterValue(str(ROOT / SAMPLE / "tree_crowns.tif"), dialog.processingContext())
    wait(lambda: len(shown_warnings(dialog)) == 1)
    wrapper(dialog, "CELL_SIZE").setParameterValue(0.3, dialog.processingContext())
    wait(lambda: not shown_warnings(dialog))


def test_missing_library(open_dialog, rows, kinds):
    """Which one, and how to get it."""
    function = kinds / "Function.py"
    function.write_text(function.read_text() + "\ndef later():\n    import no_such_library\n")
    dialog = open_dialog({"MODEL": kinds})
    rows(dialog)
    wait(lambda: any("pip install no_such_library" in warning for warning in shown_warnings(dialog)))


def test_broken_package(open_dialog, tmp_path, rows):
    """Its message is in the widget, and QGIS is alive; mended, it can be read again."""
    package = make_package(tmp_path / "broken", code="import json\nraise RuntimeError('the weights are damaged')\n")
    dialog = open_dialog({"MODEL": package})
    wait(lambda: visible(dialog, QPushButton, "retry"))
    assert "the weights are damaged" in visible(dialog, QLabel, "message").text()
    assert visible(dialog, QPushButton, "details")
    picture(dialog, "broken")
    every_kind(package)
    visible(dialog, QPushButton, "retry").click()
    assert "threshold" in rows(dialog)


def test_nothing_runs_without_consent(open_dialog, tmp_path, consent, monkeypatch):
    """Without a sandbox the user is asked, in QGIS's own thread; after a no, the package has not run."""
    import threading

    from deep_learning_packages.algorithms import settings
    from deep_learning_packages.inference.sandbox import Sandbox

    asked = []
    monkeypatch.setattr(settings, "find_sandbox", lambda: Sandbox(None, "bubblewrap is not installed"))
    consent.set_question(
        lambda package, reason: asked.append((package.sha256, threading.current_thread() is threading.main_thread()))
    )
    mark = tmp_path / "ran"
    package = make_package(tmp_path / "p", code=f"open({str(mark)!r}, 'w')\n")
    dialog = open_dialog({"MODEL": package})
    wait(lambda: visible(dialog, QPushButton, "retry"))
    assert "was not run, as you did not allow it" in visible(dialog, QLabel, "message").text()
    assert [in_main for _, in_main in asked] == [True]
    assert not mark.exists()


def test_slow_package_does_not_stop_qgis(open_dialog, rows, tmp_path):
    """While a package takes three seconds to start, the event loop turns; the second time its rows are there at once."""
    package = make_package(tmp_path / "slow", SLOW)
    dialog = open_dialog()
    pause(1.0)
    began = time.monotonic()
    with Stalls() as stalls:
        wrapper(dialog, "MODEL").wrappedWidget().setFilePath(str(package))
        wait(lambda: any(bar.isVisible() and bar.maximum() == 0 for bar in dialog.findChildren(QProgressBar)))
        rows(dialog)
    assert time.monotonic() - began > 3
    print(f"\nlongest stall of the event loop while a package was read: {stalls.longest * 1000:.0f} ms")
    if "DLPK_STALLS" in os.environ:
        with open(os.environ["DLPK_STALLS"], "a", encoding="utf-8") as file:
            file.write(f"{stalls.longest * 1000:.0f} ms\n")
    assert stalls.longest < 0.1
    began = time.monotonic()
    again = open_dialog({"MODEL": package})
    rows(again)
    assert time.monotonic() - began < 2


def test_dialog_closed_while_it_reads(open_dialog, tmp_path):
    """Nothing of it is left: no thread, no worker, no error."""
    import threading

    package = make_package(tmp_path / "slow", SLOW.replace("sleep(3)", "sleep(60)"))
    before = threading.active_count()
    dialog = open_dialog({"MODEL": package})
    wait(lambda: threading.active_count() > before)
    wait(lambda: any(bar.isVisible() and bar.maximum() == 0 for bar in dialog.findChildren(QProgressBar)))
    picture(dialog, "busy")
    dialog.close()
    dialog.deleteLater()
    wait(lambda: threading.active_count() <= before, 10)


@pytest.mark.parametrize("path", ["/nowhere/model.dlpk", "/"])
def test_no_package_there(open_dialog, path):
    dialog = open_dialog({"MODEL": path})
    wait(lambda: "There is no deep learning package at" in visible(dialog, QLabel, "message").text())


def test_close_and_reopen_many_times(image, rows):
    """Wrappers do not pile up."""
    from deep_learning_packages.provider.arguments.wrapper import alive

    def reopen():
        dialog = processing.createAlgorithmDialog("dlpk:detectobjects", {"MODEL": str(SAMPLE / "tree_crowns.dlpk")})
        dialog.show()
        rows(dialog)
        dialog.close()
        sip.delete(dialog)
        del dialog
        gc.collect()

    reopen()
    count = len(alive)
    for _ in range(5):
        reopen()
    assert len(alive) <= count


def test_cancelled_in_the_dialog_and_gone_on_with(open_dialog, image, rows, tmp_path):
    """The button gives QGIS back within a second, the log says how to go on, and the next click goes on."""
    from deep_learning_packages.inference.journals import kept_journals
    from leftovers import Leftovers

    slow = "\n    def vectorize(self, **blocks):\n        import time\n        time.sleep(0.03)\n        return {'output_vectors': '{\"features\": []}'}\n"
    output = str(tmp_path / "output.gpkg")
    dialog = open_dialog(
        {"INPUT": image.id(), "MODEL": make_package(tmp_path / "package", slow), "ARGUMENTS": '{"tile": 64}', "OUTPUT": output}
    )
    rows(dialog)
    dialog.runAlgorithm()
    wait(lambda: any(journal.in_use for journal in kept_journals()))
    pause(1.0)
    began = time.monotonic()
    dialog.cancelButton().click()
    wait(lambda: not dialog.cancelButton().isEnabled(), 5)
    assert time.monotonic() - began < 1.0
    assert Leftovers.now().beyond(Leftovers(frozenset())) == []
    log = dialog.findChild(QTextBrowser, "txtLog").toPlainText()
    assert "blocks are kept: run it again with the same inputs" in log
    picture(dialog, "cancelled")
    (kept,) = kept_journals()
    assert 0 < kept.done < kept.total
    dialog.runAlgorithm()
    wait(lambda: not dialog.cancelButton().isEnabled() and kept_journals() == [], 120)
    assert "Going on with an earlier run" in dialog.findChild(QTextBrowser, "txtLog").toPlainText()
