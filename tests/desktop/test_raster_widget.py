"""The widget of INPUT in the real QGIS: the dialog, the batch table, the modeler."""

from __future__ import annotations

import pytest
from desktop import SAMPLE, in_modal, pause, picture, wait
from processing.gui.BatchAlgorithmDialog import BatchAlgorithmDialog
from processing.modeler.ModelerParametersDialog import ModelerParametersDialog
from qgis.core import (
    QgsApplication,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProject,
    QgsRasterLayer,
)
from qgis.gui import QgsProcessingMultipleSelectionDialog
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import (
    QComboBox,
    QDialogButtonBox,
    QFileDialog,
    QInputDialog,
    QLineEdit,
    QListView,
    QToolButton,
)
from qgis.utils import iface

TILES = "http://127.0.0.1:9/{z}/{x}/{y}.png"
"""Nobody answers there, and says so at once."""
Source = QgsProcessingModelChildParameterSource


@pytest.fixture
def others(image):
    """More layers: tiles, and the image by another name."""
    layers = [QgsRasterLayer(f"type=xyz&url={TILES}", "Tiles", "wms"), QgsRasterLayer(image.source(), "another image")]
    QgsProject.instance().addMapLayers(layers)
    return layers


def raster(dialog):
    return dialog.mainWidget().wrappers["INPUT"]


def field(wrapper):
    return wrapper.wrappedWidget().findChild(QComboBox)


def menu_of(widget):
    button = next(each for each in widget.findChildren(QToolButton) if each.menu() is not None)
    return button.menu()


def choose(widget, text):
    next(action for action in menu_of(widget).actions() if text in action.text()).trigger()


def accept(dialog):
    dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Ok).click()


def algorithm():
    return QgsApplication.processingRegistry().createAlgorithmById("dlpk:detectobjects")


def test_active_layer_without_a_click(image, others, open_dialog):
    for layer in (others[1], image, others[0]):
        iface.setActiveLayer(layer)
        dialog = open_dialog()
        assert raster(dialog).parameterValue() == layer.id()
        assert field(raster(dialog)).currentText().startswith(layer.name())
    texts = [field(raster(dialog)).itemText(index).partition(" [")[0] for index in range(3)]
    assert sorted(texts) == ["Tiles", "another image", "tree_crowns"]
    visible = [each for each in raster(dialog).wrappedWidget().findChildren(QToolButton) if each.isVisible()]
    assert len(visible) == 1
    dialog.mainWidget().wrappers["MODEL"].wrappedWidget().setFilePath(str(SAMPLE / "tree_crowns.dlpk"))
    iface.setActiveLayer(image)
    dialog.close()


def test_values_come_back(image, others, open_dialog, tmp_path):
    """From history, a model or Python: what was given is shown and given back."""
    dialog = open_dialog()
    wrapper, context = raster(dialog), dialog.processingContext()
    file = tmp_path / "other.tif"
    file.write_bytes((SAMPLE / "tree_crowns.tif").read_bytes())
    foreign = QgsRasterLayer(f"type=xyz&url={TILES}", "Foreign", "wms")
    texts = [str(file), str(tmp_path), f"{file};{tmp_path}", "/nowhere/at all.tif", TILES, f"wms://type=xyz&url={TILES}"]
    values = [(text, text) for text in texts]
    values += [(image, image.id()), (image.id(), image.id()), (others[0], others[0].id())]
    values += [([str(file), str(tmp_path)], f"{file};{tmp_path}"), ([image.id(), str(file)], f"{image.id()};{file}")]
    values += [(QgsRasterLayer(str(file), "no layer of the project"), str(file)), (foreign, f"wms://type=xyz&url={TILES}")]
    for given, expected in values:
        wrapper.setParameterValue(given, context)
        value = wrapper.parameterValue()
        assert value.replace("%7B", "{").replace("%7D", "}") == expected
        wrapper.setParameterValue(value, context)
        assert wrapper.parameterValue() == value
        is_layer = QgsProject.instance().mapLayer(value) is not None
        assert is_layer or field(wrapper).currentText() == value
    wrapper.setParameterValue(image.id(), context)
    for nothing in (None, ""):
        wrapper.setParameterValue(nothing, context)
        assert wrapper.parameterValue() == image.id()


def test_others_hear_of_a_change(image, others, open_dialog):
    iface.setActiveLayer(image)
    dialog = open_dialog()
    wrapper, heard = raster(dialog), []
    wrapper.widgetValueHasChanged.connect(lambda changed: heard.append(changed.parameterValue()))
    combo = field(wrapper)
    assert combo.currentText().startswith("tree_crowns")
    QTest.keyClicks(combo, "another")
    assert heard == [others[1].id()]
    wrapper.setParameterValue("/a.tif;/b.tif", dialog.processingContext())
    assert heard[1:] == ["/a.tif;/b.tif"]


def test_menu(image, others, open_dialog, tmp_path, monkeypatch):
    """Each entry asks, and its answer is the value; who cancels keeps what was chosen."""
    dialog = open_dialog({"MODEL": SAMPLE / "tree_crowns.dlpk"})
    wrapper = raster(dialog)
    widget = wrapper.wrappedWidget()
    files, folder = [str(tmp_path / "a.tif"), str(tmp_path / "b.tif")], str(tmp_path)
    answers = {"getOpenFileNames": (files, ""), "getExistingDirectory": folder, "getOpenFileName": ("/tiles.gpkg", "")}
    for name, answer in answers.items():
        monkeypatch.setattr(QFileDialog, name, lambda *_, answer=answer: answer)
    for entry, expected in (("Files", ";".join(files)), ("Folder", folder), ("Index", "/tiles.gpkg")):
        choose(widget, entry)
        assert wrapper.parameterValue() == expected
    wrapper.setParameterValue(
        ";".join(f"/a folder/with/image_{number:03}.tif" for number in range(40)), dialog.processingContext()
    )
    assert widget.width() < dialog.width()
    tip = field(wrapper).parentWidget().toolTip().splitlines()
    assert (tip[0], tip[-1], len(tip)) == ("/a folder/with/image_000.tif", "…", 21)
    picture(dialog, "raster_many_files")
    for name, answer in (("getOpenFileNames", ([], "")), ("getExistingDirectory", ""), ("getOpenFileName", ("", ""))):
        monkeypatch.setattr(QFileDialog, name, lambda *_, answer=answer: answer)
    kept = wrapper.parameterValue()
    for entry in ("Files", "Folder", "Index"):
        choose(widget, entry)
        assert wrapper.parameterValue() == kept


def test_menu_looks_native(image, others, open_dialog):
    iface.setActiveLayer(image)
    dialog = open_dialog({"MODEL": SAMPLE / "tree_crowns.dlpk"})
    pause(1.0)
    picture(dialog, "raster_dialog")
    menu = menu_of(raster(dialog).wrappedWidget())
    menu.popup(dialog.mapToGlobal(dialog.rect().center()))
    wait(menu.isVisible)
    assert all(action.isEnabled() for action in menu.actions())
    picture(menu, "raster_menu")
    menu.close()


def test_address(image, open_dialog):
    dialog = open_dialog()
    wrapper = raster(dialog)

    def write(opened):
        if not isinstance(opened, QInputDialog):
            return False
        assert opened.textValue() == ""
        opened.findChild(QLineEdit).setText(f" {TILES} ")
        picture(opened, "raster_address")
        accept(opened)
        return True

    in_modal(write)
    choose(wrapper.wrappedWidget(), "Address")
    assert wrapper.parameterValue() == TILES

    def cancel(opened):
        assert opened.textValue() == TILES
        opened.reject()
        return True

    in_modal(cancel)
    choose(wrapper.wrappedWidget(), "Address")
    assert wrapper.parameterValue() == TILES


def test_several_layers(image, others, open_dialog, tmp_path):
    """Layers with a file can be checked, the chosen one is; layers of servers are not offered."""
    file = tmp_path / "second.tif"
    file.write_bytes((SAMPLE / "tree_crowns.tif").read_bytes())
    QgsProject.instance().removeMapLayer(others[1])
    QgsProject.instance().addMapLayer(QgsRasterLayer(str(file), "second"))
    iface.setActiveLayer(image)
    dialog = open_dialog()
    wrapper = raster(dialog)
    seen = []

    def check(opened):
        if not isinstance(opened, QgsProcessingMultipleSelectionDialog):
            return False
        model = opened.findChild(QListView).model()
        rows = [model.index(row, 0) for row in range(model.rowCount())]
        checked = Qt.CheckState.Checked
        seen.extend((row.data(), row.data(Qt.ItemDataRole.CheckStateRole) in (checked, 2)) for row in rows)
        for row in rows:
            model.setData(row, checked, Qt.ItemDataRole.CheckStateRole)
        picture(opened, "raster_several")
        accept(opened)
        return True

    in_modal(check)
    choose(wrapper.wrappedWidget(), "Several")
    assert seen == [("tree_crowns", True), ("second", False)]
    assert wrapper.parameterValue() == f"{image.source()};{file}"


def test_batch(image, others, tmp_path):
    """A row for a layer, one for a folder, one for several files; a long list does not widen the table."""
    iface.setActiveLayer(image)
    dialog = BatchAlgorithmDialog(algorithm(), parent=iface.mainWindow())
    dialog.resize(1250, 420)
    dialog.show()
    panel, context = dialog.mainWidget(), dialog.processingContext()
    panel.addRow()
    panel.addRow()
    column = panel.parameter_to_column["INPUT"]
    cells = [panel.wrappers[row][column] for row in range(3)]
    assert [cell.parameterValue() for cell in cells] == [image.id()] * 3
    files = ";".join(f"/some/folder/image_{number}.tif" for number in range(50))
    cells[1].setParameterValue(str(tmp_path), context)
    cells[2].setParameterValue(files, context)
    assert [cell.parameterValue() for cell in cells] == [image.id(), str(tmp_path), files]
    pause(0.3)
    assert panel.tblParameters.columnWidth(column) < 400
    picture(dialog, "raster_batch")
    cells[0].setParameterValue(files, context)
    panel.tblParameters.cellWidget(0, column).fillDown()
    assert [cell.parameterValue() for cell in cells] == [files] * 3
    dialog.close()
    dialog.deleteLater()


@pytest.mark.parametrize("text", ["/data/a.tif;/data/b.tif", TILES, "/data/folder"])
def test_modeler(image, text):
    """Outputs of other steps can be chosen; a fixed text is kept, also one that is typed."""
    model = QgsProcessingModelAlgorithm("rasters", "test")
    warp = QgsProcessingModelChildAlgorithm("gdal:warpreproject")
    warp.setChildId("warp")
    warp.setDescription("Warp")
    model.addChildAlgorithm(warp)
    detect = QgsProcessingModelChildAlgorithm("dlpk:detectobjects")
    detect.setChildId("detect")
    detect.addParameterSources("INPUT", [Source.fromChildOutput("warp", "OUTPUT")])
    detect.addParameterSources("MODEL", [Source.fromStaticValue("/no.dlpk")])
    model.addChildAlgorithm(detect)
    dialog = ModelerParametersDialog(algorithm(), model, "detect")
    dialog.resize(700, 500)
    dialog.show()
    child = dialog.createAlgorithm()
    kept = child.parameterSources()["INPUT"][0]
    assert (kept.outputChildId(), kept.outputName()) == ("warp", "OUTPUT")
    widget = dialog.widget.widget.wrappers["INPUT"]
    offered = [combo.itemText(index) for combo in widget.findChildren(QComboBox) for index in range(combo.count())]
    assert any("Warp" in each for each in offered)
    widget.setWidgetValue(Source.fromStaticValue(text))
    picture(dialog, "raster_modeler")
    child = dialog.createAlgorithm()
    assert child.parameterSources()["INPUT"][0].staticValue() == text
    editable = next(combo for combo in widget.findChildren(QComboBox) if combo.isEditable() and combo.isVisible())
    editable.setEditText("/typed.tif")
    assert dialog.createAlgorithm().parameterSources()["INPUT"][0].staticValue() == "/typed.tif"
    dialog.close()
    dialog.deleteLater()
