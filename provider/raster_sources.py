"""Asks for rasters that are no layer of the project: files, a folder, a collection, several layers, an address."""

from __future__ import annotations

import os
from collections.abc import Sequence

from qgis.core import QgsProject, QgsProviderRegistry, QgsRasterLayer, QgsSettings
from qgis.gui import QgsProcessingMultipleSelectionDialog
from qgis.PyQt.QtWidgets import QDialog, QFileDialog, QInputDialog, QWidget

from ..algorithms.rasters.from_value import SEPARATOR
from ..inference.translation import tr

LAST_FOLDER = "/Processing/LastInputPath"
"""Where Processing keeps the folder in which its own dialogs open."""
COLLECTIONS = "*.gti *.gpkg *.shp *.fgb *.geojson *.json *.parquet"
"""Files that may list rasters."""
EXAMPLES = (
    "https://example.com/image.tif",
    "s3://bucket/image.tif",
    "https://example.com/arcgis/rest/services/Imagery/ImageServer",
    "https://example.com/arcgis/rest/services/Imagery/MapServer",
    "https://example.com/tiles/{z}/{x}/{y}.png",
    "https://example.com/wms?service=WMS&layers=imagery",
    "https://example.com/wmts?service=WMTS&layer=imagery",
)


def ask_files(parent: QWidget) -> str:
    """Paths of files; empty when the user has none."""
    filters = QgsProviderRegistry.instance().fileRasterFilters()
    paths, _ = QFileDialog.getOpenFileNames(parent, tr("Select Rasters"), _last_folder(), filters)
    return _remembered(paths)


def ask_collection(parent: QWidget) -> str:
    """Path of a file that lists rasters; empty when the user has none."""
    kinds = tr("Tile indexes and STAC files ({patterns})", patterns=COLLECTIONS)
    filters = ";;".join((kinds, tr("All files (*)")))
    path, _ = QFileDialog.getOpenFileName(parent, tr("Select a Vector Tile Index or STAC File"), _last_folder(), filters)
    return _remembered([path] if path else [])


def ask_folder(parent: QWidget) -> str:
    """Path of a folder; empty when the user has none."""
    path = QFileDialog.getExistingDirectory(parent, tr("Select a Folder of Rasters"), _last_folder())
    if path:
        QgsSettings().setValue(LAST_FOLDER, path)
    return path


def ask_address(parent: QWidget, address: str) -> str:
    """An address; empty when the user has none.

    Args:
        parent: Around which the dialog appears.
        address: What it begins with.
    """
    dialog = QInputDialog(parent)
    dialog.setWindowTitle(tr("Address of a Raster"))
    explanation = tr("A file on a server, an image or map service of ArcGIS, tiles, WMS or WMTS. For example:")
    examples = (f"    {example.replace('&', '&&')}" for example in EXAMPLES)  # one & would underline a letter
    dialog.setLabelText("\n".join((explanation, "", *examples, "")))
    dialog.setTextValue(address)
    dialog.resize(620, dialog.sizeHint().height())
    accepted = dialog.exec() == QDialog.DialogCode.Accepted
    text = dialog.textValue().strip()
    dialog.deleteLater()
    return text if accepted else ""


def ask_layers(parent: QWidget, chosen: Sequence[str]) -> str:
    """Paths of layers of the project, in the order that the user gives them; empty when the user wants none.

    Args:
        parent: Around which the dialog appears.
        chosen: Ids and paths that are checked at first.
    """
    by_id = layers_with_file()
    count = [layer.name() for layer in by_id.values()].count
    paths = {
        layer.name() if count(layer.name()) == 1 else f"{layer.name()} ({layer.source()})": layer.source()
        for layer in by_id.values()
    }
    labels = {path: label for label, path in paths.items()}
    sources = [by_id[each].source() if each in by_id else each for each in chosen]
    dialog = QgsProcessingMultipleSelectionDialog(list(paths), [labels.get(each, each) for each in sources], parent)
    dialog.setWindowTitle(tr("Several Layers, the First One on Top"))
    accepted = dialog.exec() == QDialog.DialogCode.Accepted
    found = [paths.get(label, label) for label in dialog.selectedOptions()]
    dialog.deleteLater()
    return SEPARATOR.join(found) if accepted else ""


def layers_with_file() -> dict[str, QgsRasterLayer]:
    """The layers of the project that can be one of several rasters, by their ids."""
    layers = QgsProject.instance().mapLayers()
    return {key: layer for key, layer in layers.items() if isinstance(layer, QgsRasterLayer) and _is_of_file(layer)}


def _is_of_file(layer: QgsRasterLayer) -> bool:
    return layer.providerType() == "gdal" and "://" not in layer.source() and SEPARATOR not in layer.source()


def _last_folder() -> str:
    return str(QgsSettings().value(LAST_FOLDER, os.path.expanduser("~")))


def _remembered(paths: Sequence[str]) -> str:
    if paths:
        QgsSettings().setValue(LAST_FOLDER, os.path.dirname(paths[0]))
    return SEPARATOR.join(paths)
