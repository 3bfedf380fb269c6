"""The batch table and the modeler in the real QGIS."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from desktop import SAMPLE, every_kind, in_modal, pause, picture, wait
from processing.gui.BatchAlgorithmDialog import BatchAlgorithmDialog
from processing.modeler.ModelerDialog import ModelerDialog
from processing.modeler.ModelerParametersDialog import ModelerParametersDialog
from qgis import processing
from qgis.core import (
    Qgis,
    QgsApplication,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProject,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QPointF
from qgis.PyQt.QtWidgets import (
    QDialogButtonBox,
    QListWidget,
    QTableWidget,
    QToolButton,
    QWidget,
)
from qgis.utils import iface

Static = QgsProcessingModelChildParameterSource.fromStaticValue
Input = QgsProcessingModelChildParameterSource.fromModelParameter
Expression = QgsProcessingModelChildParameterSource.fromExpression
Output = QgsProcessingModelChildParameterSource.fromChildOutput


def accept(dialog):
    dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Ok).click()


def test_batch_with_two_models(image, tmp_path, rows):
    """Each row has its own model and its own arguments; autofill copies them; both rows run."""
    kinds = every_kind(tmp_path / "kinds")
    dialog = BatchAlgorithmDialog(
        QgsApplication.processingRegistry().createAlgorithmById("dlpk:detectobjects"), parent=iface.mainWindow()
    )
    dialog.resize(1250, 420)
    dialog.show()
    panel = dialog.mainWidget()
    panel.addRow()
    column = panel.parameter_to_column
    models = [SAMPLE / "tree_crowns.dlpk", kinds]
    context = dialog.processingContext()
    for row, model in enumerate(models):
        cells = panel.wrappers[row]
        cells[column["INPUT"]].setParameterValue(image.id(), context)
        cells[column["MODEL"]].setParameterValue(str(model), context)
        panel.tblParameters.cellWidget(row + 1, column["OUTPUT"]).setValue(str(tmp_path / f"found{row}.gpkg"))
    changed = [("threshold", 0.6), ("tile", 128)]
    for row, (name, value) in enumerate(changed):

        def change(opened, row=row, name=name, value=value):
            editor = next(
                (each for each in opened.findChildren(QWidget) if each.objectName() == f"argument_{name}" and each.isVisible()),
                None,
            )
            if editor is None:
                return False
            editor.setValue(value)
            pause(0.5)
            picture(opened, f"batch_arguments_{row}")
            accept(opened)
            return True

        in_modal(change)
        cell = panel.tblParameters.cellWidget(row + 1, column["ARGUMENTS"])
        cell.findChild(QToolButton).click() if cell.findChild(QToolButton).text() == "…" else next(
            button for button in cell.findChildren(QToolButton) if button.text() == "…"
        ).click()
    stored = [panel.wrappers[row][column["ARGUMENTS"]].parameterValue() for row in (0, 1)]
    assert [json.loads(each) for each in stored] == [{"threshold": 0.6}, {"tile": 128}]
    picture(dialog, "batch")
    dialog.runAlgorithm()
    wait(lambda: (tmp_path / "found0.gpkg").exists() and (tmp_path / "found1.gpkg").exists(), 120)
    wait(lambda: not dialog.cancelButton().isEnabled(), 60)
    panel.tblParameters.cellWidget(0, column["ARGUMENTS"]).fillDown()
    assert [panel.wrappers[row][column["ARGUMENTS"]].parameterValue() for row in (0, 1)] == [stored[0], stored[0]]
    dialog.close()
    dialog.deleteLater()


def build_model(model_source, arguments, inputs=()):
    """Detect objects, then centroids of them."""
    model = QgsProcessingModelAlgorithm("crowns", "test")
    raster = QgsProcessingModelParameter("image")
    raster.setPosition(QPointF(150, 60))
    model.addModelParameter(QgsProcessingParameterRasterLayer("image", "Image"), raster)
    for number, definition in enumerate(inputs):
        component = QgsProcessingModelParameter(definition.name())
        component.setPosition(QPointF(400 + 250 * number, 60))
        model.addModelParameter(definition, component)
    detect = QgsProcessingModelChildAlgorithm("dlpk:detectobjects")
    detect.setChildId("detect")
    detect.setDescription("Find crowns")
    detect.setPosition(QPointF(250, 200))
    detect.addParameterSources("INPUT", [Input("image")])
    detect.addParameterSources("MODEL", [model_source])
    detect.addParameterSources("ARGUMENTS", [arguments])
    detect.addParameterSources("NMS", [Static(True)])
    model.addChildAlgorithm(detect)
    centroids = QgsProcessingModelChildAlgorithm("native:centroids")
    centroids.setChildId("points")
    centroids.setDescription("Centroids")
    centroids.setPosition(QPointF(250, 340))
    centroids.addParameterSources("INPUT", [Output("detect", "OUTPUT")])
    result = QgsProcessingModelOutput("Crown points", "Crown points")
    result.setChildId("points")
    result.setChildOutputName("OUTPUT")
    result.setPosition(QPointF(480, 430))
    centroids.setModelOutputs({"Crown points": result})
    model.addChildAlgorithm(centroids)
    return model


def test_modeler_with_a_fixed_package(image, tmp_path, rows):
    """The child's dialog shows the package's arguments; a change is in the saved model, which runs again after loading."""
    model = build_model(Static(str(SAMPLE / "tree_crowns.dlpk")), Static('{"threshold": 0.5}'))
    dialog = ModelerParametersDialog(model.childAlgorithm("detect").algorithm(), model, "detect")
    dialog.resize(700, 900)
    dialog.show()
    editors = rows(dialog)
    assert editors["threshold"].value() == 0.5
    editors["threshold"].setValue(0.6)
    pause(0.5)
    picture(dialog, "modeler_child")
    child = dialog.createAlgorithm()
    child.setPosition(model.childAlgorithm("detect").position())
    sources = child.parameterSources()["ARGUMENTS"]
    assert json.loads(sources[0].staticValue()) == {"threshold": 0.6}
    dialog.close()
    dialog.deleteLater()
    model.setChildAlgorithm(child)
    path = tmp_path / "crowns.model3"
    assert model.toFile(str(path))
    loaded = QgsProcessingModelAlgorithm()
    assert loaded.fromFile(str(path))
    name = next(definition.name() for definition in loaded.destinationParameterDefinitions())
    found = processing.run(loaded, {"image": image, name: "memory:"})[name]
    straight = processing.run(
        "dlpk:detectobjects",
        {
            "INPUT": image,
            "MODEL": str(SAMPLE / "tree_crowns.dlpk"),
            "ARGUMENTS": "threshold 0.6",
            "NMS": True,
            "OUTPUT": "memory:",
        },
    )["OUTPUT"]
    assert found.featureCount() == straight.featureCount() > 20
    designer = ModelerDialog.create(loaded)
    designer.resize(1100, 700)
    designer.show()
    pause(1.0)
    picture(designer, "modeler")
    designer.setDirty(False)
    designer.close()
    designer.deleteLater()


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(Input("package"), id="model input"),
        pytest.param(Expression("concat('/some', '/where.dlpk')"), id="expression"),
    ],
)
def test_modeler_with_a_package_that_is_known_later(image, tmp_path, source):
    """Names and values can be given in a table."""
    inputs = [QgsProcessingParameterFile("package", "Package")]
    model = build_model(source, Static("threshold 0.5"), inputs)
    dialog = ModelerParametersDialog(model.childAlgorithm("detect").algorithm(), model, "detect")
    dialog.resize(700, 900)
    dialog.show()
    wait(lambda: any(table.isVisible() for table in dialog.findChildren(QTableWidget)))
    table = next(table for table in dialog.findChildren(QTableWidget) if table.isVisible())
    assert [table.item(0, column).text() for column in (0, 1)] == ["threshold", "0.5"]
    from qgis.PyQt.QtWidgets import QTableWidgetItem

    table.setItem(1, 0, QTableWidgetItem("padding"))
    table.setItem(1, 1, QTableWidgetItem("32"))
    pause(0.3)
    picture(dialog, "modeler_raw")
    child = dialog.createAlgorithm()
    assert json.loads(child.parameterSources()["ARGUMENTS"][0].staticValue()) == {"threshold": "0.5", "padding": "32"}
    dialog.close()
    dialog.deleteLater()


def test_modeler_new_child(image, rows):
    """A child that is not in the model yet: the package is chosen in the same dialog."""
    model = QgsProcessingModelAlgorithm("new", "test")
    dialog = ModelerParametersDialog(QgsApplication.processingRegistry().createAlgorithmById("dlpk:detectobjects"), model)
    dialog.resize(700, 900)
    dialog.show()
    pause(0.3)
    from qgis.gui import QgsFileWidget

    holder = dialog.widget.widget.wrappers["MODEL"] if hasattr(dialog.widget, "widget") else dialog.widget.wrappers["MODEL"]
    holder.findChild(QgsFileWidget).setFilePath(str(SAMPLE / "tree_crowns.dlpk"))
    assert "threshold" in rows(dialog)
    dialog.close()
    dialog.deleteLater()


def test_single_argument_from_a_model_input(image):
    """An expression on the JSON drives one argument."""
    inputs = [QgsProcessingParameterNumber("certainty", "Certainty", Qgis.ProcessingNumberParameterType.Double, 0.5)]
    expression = Expression("to_json(map('threshold', @certainty))")
    model = build_model(Static(str(SAMPLE / "tree_crowns.dlpk")), expression, inputs)
    name = next(definition.name() for definition in model.destinationParameterDefinitions())
    counts = [
        processing.run(model, {"image": image, "certainty": certainty, name: "memory:"})[name].featureCount()
        for certainty in (0.4, 0.7)
    ]
    assert counts[0] > counts[1] > 0


def test_same_features_everywhere(image, open_dialog, rows, tmp_path):
    """The dialog, a model, Python and the command line find the same."""
    package, arguments = str(SAMPLE / "tree_crowns.dlpk"), "threshold 0.55"
    values = {"INPUT": image.id(), "MODEL": package, "ARGUMENTS": arguments, "NMS": "true", "MAX_OVERLAP": 0.2}
    python = processing.run("dlpk:detectobjects", {**values, "NMS": True, "OUTPUT": "memory:"})["OUTPUT"]
    model = build_model(Static(package), Static(arguments))
    child = model.childAlgorithm("detect")
    child.addParameterSources("MAX_OVERLAP", [Static(0.2)])
    output = QgsProcessingModelOutput("found", "found")
    output.setChildId("detect")
    output.setChildOutputName("OUTPUT")
    child.setModelOutputs({"found": output})
    model.setChildAlgorithm(child)
    name = next(each.name() for each in model.destinationParameterDefinitions() if each.description() == "found")
    others = {each.name(): "memory:" for each in model.destinationParameterDefinitions() if each.name() != name}
    modelled = processing.run(model, {"image": image, name: "memory:", **others})[name]
    dialog = open_dialog({**values, "OUTPUT": tmp_path / "dialog.gpkg"})
    rows(dialog)
    dialog.runAlgorithm()
    wait(lambda: len(QgsProject.instance().mapLayers()) == 2, 60)
    given = [f"--{key}={value}" for key, value in {**values, "INPUT": image.source(), "OUTPUT": tmp_path / "line.gpkg"}.items()]
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "QGIS_CUSTOM_CONFIG_PATH": str(tmp_path / "profile")}
    subprocess.run(
        ["qgis_process", "plugins", "enable", "deep_learning_packages"], env=environment, capture_output=True, check=False
    )
    subprocess.run(["qgis_process", "run", "dlpk:detectobjects", *given], env=environment, capture_output=True, check=True)
    layers = [python, modelled, *(QgsVectorLayer(str(tmp_path / f"{each}.gpkg"), each) for each in ("dialog", "line"))]
    found = [
        sorted(
            (feature["Class"], round(feature["Confidence"], 9), feature.geometry().asWkt(6)) for feature in layer.getFeatures()
        )
        for layer in layers
    ]
    assert len(found[0]) > 30
    assert all(each == found[0] for each in found)


def test_classes_check_list(open_dialog, rows, kinds):
    dialog = open_dialog({"MODEL": kinds})
    rows(dialog)
    wrapper = dialog.mainWidget().wrappers["CLASSES"]

    def check(opened):
        names = opened.findChild(QListWidget)
        if names is None or names.count() != 3:
            return False
        from qgis.PyQt.QtCore import Qt

        names.item(0).setCheckState(Qt.CheckState.Checked)
        names.item(2).setCheckState(Qt.CheckState.Checked)
        picture(opened, "classes")
        accept(opened)
        return True

    in_modal(check)
    next(each for each in wrapper.wrappedWidget().findChildren(QToolButton) if each.text() == "…").click()
    assert wrapper.parameterValue() == "Car;Lorry"


def test_history_and_copied_commands(open_dialog, rows, kinds):
    """What the dialog's Advanced menu copies carries the arguments."""
    dialog = open_dialog({"MODEL": kinds, "ARGUMENTS": "text_prompt 'a \"b\"; c'"})
    rows(dialog)
    algorithm, context = dialog.algorithm(), dialog.processingContext()
    values = dialog.createProcessingParameters()
    assert json.loads(values["ARGUMENTS"]) == {"text_prompt": 'a "b"; c'}
    python = algorithm.asPythonCommand(values, context)
    copied = eval(python[python.index("{") : python.rindex("}") + 1])
    assert json.loads(copied["ARGUMENTS"]) == {"text_prompt": 'a "b"; c'}
    command, done = algorithm.asQgisProcessCommand(values, context)
    assert done
    import shlex

    argument = next(part for part in shlex.split(command) if part.startswith("--ARGUMENTS="))
    assert json.loads(argument.partition("=")[2]) == {"text_prompt": 'a "b"; c'}
    assert QgsProject.instance() is not None
