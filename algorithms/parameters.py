"""The parameters of the algorithms, each with its explanation; several algorithms share them."""

from __future__ import annotations

from pathlib import Path

from qgis.core import (
    Qgis,
    QgsProcessingParameterAuthConfig,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)
from qgis.PyQt.QtCore import QUrl

from ..inference.arcgis_trained import WAYS
from ..inference.translation import tr
from . import settings
from .settings import PROCESSORS

DOCUMENTATION = Path(__file__).resolve().parent.parent / "docs"
ARGUMENTS_WIDGET = "dlpk:arguments"
"""Widget type of ARGUMENTS; provider/arguments registers it."""
CLASSES_WIDGET = "dlpk:classes"
"""Widget type of CLASSES."""


MOSAICKED, SEPARATELY = "PROCESS_AS_MOSAICKED_IMAGE", "PROCESS_ITEMS_SEPARATELY"
"""What to do with several rasters, as ArcGIS calls it."""
RASTER_WIDGET = "dlpk:raster"
"""Widget type of INPUT."""


def raster(name: str) -> QgsProcessingParameterDefinition:
    """The raster; algorithms check its value themselves, as they take more than the stock type does."""
    parameter = QgsProcessingParameterRasterLayer(name, tr("Input raster"))
    parameter.setMetadata({"widget_wrapper": {"widget_type": RASTER_WIDGET}})
    parameter.setHelp(
        tr("The raster in which to look for objects: a layer of the project of any kind, a file, a folder or an archive of "
           "images, several of them, a VRT, a tile index, a STAC file, or an address: of a file (https, s3), an ArcGIS "
           "ImageServer or MapServer, tiles (…/{{z}}/{{x}}/{{y}}.png), WMS or WMTS.")
    )  # fmt: skip
    return parameter


def package(name: str) -> QgsProcessingParameterDefinition:
    """The package."""
    # The filter ends in all files: only then do folders and addresses pass the stock check.
    file_filter = tr("Deep learning packages (*.dlpk *.emd);;All files (*)")
    parameter = QgsProcessingParameterFile(name, tr("Deep learning package"), fileFilter=file_filter)
    parameter.setHelp(
        tr("The package (.dlpk), an unpacked package's model definition (.emd), its folder, or an address, which is downloaded "
           "once: of a file, or of an item in a portal (…/home/item.html?id=…, …/sharing/rest/content/items/…).")
    )  # fmt: skip
    return parameter


def arguments(name: str, **siblings: str) -> QgsProcessingParameterDefinition:
    """The model's arguments; `siblings` are the parameters that its widget looks at: model, raster,
    cell_size, processor and arcgis_trained.
    """
    parameter = QgsProcessingParameterString(name, tr("Model arguments"), optional=True)
    parameter.setMetadata({"widget_wrapper": {"widget_type": ARGUMENTS_WIDGET, **siblings}})
    parameter.setHelp(
        tr(
            "Values for the model's own arguments; those not named keep their defaults. Written as name value;name value, for "
            "example: threshold 0.5;padding 64;text_prompt 'car, bus; van' - or as JSON: "
            '{{"threshold": 0.5, "padding": 64}}. The dialog lists the arguments of the chosen model; on the command line '
            "dlpk:inspectpackage does."
        )
    )
    return parameter


def classes(name: str, model: str) -> QgsProcessingParameterDefinition:
    """The classes of interest; `model` is the parameter with the package."""
    parameter = QgsProcessingParameterString(name, tr("Classes of interest"), optional=True)
    parameter.setMetadata({"widget_wrapper": {"widget_type": CLASSES_WIDGET, "model": model}})
    parameter.setHelp(
        tr("Only objects of these classes are kept, before duplicates are removed. Names as in the model definition, with "
           "semicolons between them, for example: Car;Bus. Empty: all classes.")
    )  # fmt: skip
    return advanced(parameter)


def features(name: str) -> QgsProcessingParameterDefinition:
    """What is classified."""
    types = [int(Qgis.ProcessingSourceType.VectorAnyGeometry)]
    parameter = QgsProcessingParameterFeatureSource(name, tr("Input features"), types, optional=True)
    parameter.setHelp(
        tr("The points, lines or polygons to classify, in any CRS: each becomes an object of its own. Left empty, each image "
           "is one object.")
    )  # fmt: skip
    return parameter


def class_label_field(name: str, default: str) -> QgsProcessingParameterDefinition:
    """Where the label goes."""
    parameter = QgsProcessingParameterString(name, tr("Class label field"), default, optional=True)
    parameter.setHelp(
        tr("The new field for the class label. Where the features have a field of this name, the new one gets a number behind "
           "its name.")
    )  # fmt: skip
    return parameter


def suppression(name: str) -> QgsProcessingParameterDefinition:
    """Whether duplicates are removed."""
    parameter = QgsProcessingParameterBoolean(name, tr("Non Maximum Suppression"), False)
    parameter.setHelp(tr("Remove duplicates: of two features that overlap too much, the less confident one."))
    return parameter


def confidence_field(name: str, layer: str = "") -> QgsProcessingParameterDefinition:
    """What tells which of two duplicates is better; of a layer that exists, if its parameter is named."""
    label = tr("Confidence field")
    if layer:
        parameter = QgsProcessingParameterField(name, label, "Confidence", layer)
    else:
        parameter = QgsProcessingParameterString(name, label, "Confidence", optional=True)
    parameter.setHelp(tr("The field with the confidence, for Non Maximum Suppression."))
    return parameter


def class_field(name: str, layer: str = "") -> QgsProcessingParameterDefinition:
    """What tells which features are of one class; as above."""
    label = tr("Class field")
    if layer:
        parameter = QgsProcessingParameterField(name, label, None, layer, optional=True)
    else:
        parameter = QgsProcessingParameterString(name, label, optional=True)
    parameter.setHelp(
        tr("The field with the class, for Non Maximum Suppression. Left empty, Classvalue or Value is used where the "
           "model gives it, else all features are of one class.")
    )  # fmt: skip
    return parameter


def maximum_overlap(name: str) -> QgsProcessingParameterDefinition:
    """How much two features may overlap."""
    number = Qgis.ProcessingNumberParameterType.Double
    parameter = QgsProcessingParameterNumber(name, tr("Maximum overlap ratio"), number, 0.0, False, 0.0, 1.0)
    parameter.setHelp(
        tr("Non Maximum Suppression removes a feature when its intersection with a better one is larger than this share "
           "of their union, 0 to 1.")
    )  # fmt: skip
    return parameter


def processing_mode(name: str) -> QgsProcessingParameterDefinition:
    """One mosaic, or each raster by itself."""
    parameter = QgsProcessingParameterEnum(
        name, tr("Processing mode"), [MOSAICKED, SEPARATELY], defaultValue=MOSAICKED, usesStaticStrings=True
    )
    parameter.setHelp(
        tr("What to do with several rasters, as in a folder or a VRT. PROCESS_AS_MOSAICKED_IMAGE: they are searched as one "
           "image, the first one on top. PROCESS_ITEMS_SEPARATELY: each is searched by itself, and the field Image tells its "
           "name.")
    )  # fmt: skip
    return advanced(parameter)


def mask(name: str) -> QgsProcessingParameterDefinition:
    """Polygons inside of which to search."""
    types = [int(Qgis.ProcessingSourceType.VectorPolygon)]
    parameter = QgsProcessingParameterFeatureSource(name, tr("Mask"), types, optional=True)
    parameter.setHelp(
        tr("Only what lies inside these polygons is searched, in any CRS. What is outside is not even read; an object counts "
           "when its middle is inside.")
    )  # fmt: skip
    return advanced(parameter)


def unscale(name: str) -> QgsProcessingParameterDefinition:
    """Whether bands are physical values."""
    parameter = QgsProcessingParameterBoolean(name, tr("Apply scale and offset of the bands"), False)
    parameter.setHelp(
        tr("Some rasters store numbers that become physical values, such as reflectance, by a scale and an offset. Switched "
           "on, the model gets these values, as 32-bit floating point numbers; off, the numbers as they are stored.")
    )  # fmt: skip
    return advanced(parameter)


def maximum_missing(name: str) -> QgsProcessingParameterDefinition:
    """What may be missing."""
    number = Qgis.ProcessingNumberParameterType.Double
    parameter = QgsProcessingParameterNumber(name, tr("Maximum missing, in percent"), number, 0.0, False, 0.0, 100.0)
    parameter.setHelp(
        tr("Tiles that a server has not, and blocks that cannot be read after several attempts, stop the run, as objects in "
           "them would be missed. Up to this share of the pixels, the run goes on and says what is missing.")
    )  # fmt: skip
    return advanced(parameter)


def authentication(name: str) -> QgsProcessingParameterDefinition:
    """Who asks servers."""
    parameter = QgsProcessingParameterAuthConfig(name, tr("Authentication"), optional=True)
    parameter.setHelp(
        tr("Authentication configuration of QGIS for the addresses of the raster and of the package. Layers of the project use "
           "their own.")
    )  # fmt: skip
    return advanced(parameter)


def extent(name: str) -> QgsProcessingParameterDefinition:
    """The part of the raster to look at."""
    parameter = QgsProcessingParameterExtent(name, tr("Processing extent"), optional=True)
    parameter.setHelp(
        tr("Only this part of the raster is searched, in any CRS. An object that crosses its edge counts when its middle is "
           "inside.")
    )  # fmt: skip
    return advanced(parameter)


def cell_size(name: str) -> QgsProcessingParameterDefinition:
    """The pixels that the model sees.

    A plain number: one with units opens the raster in the main thread whenever it changes, which may wait for a server.
    """
    number = Qgis.ProcessingNumberParameterType.Double
    parameter = QgsProcessingParameterNumber(name, tr("Cell size (in units of the raster's CRS)"), number, None, True, 0.0)
    parameter.setHelp(
        tr("Size of the pixels that the model sees, in units of the raster's CRS. Left empty, the raster's own. Choose the "
           "one that the model was trained on.")
    )  # fmt: skip
    return advanced(parameter)


def processor(name: str) -> QgsProcessingParameterDefinition:
    """Where the network runs."""
    parameter = QgsProcessingParameterEnum(name, tr("Processor"), PROCESSORS, defaultValue="AUTO", usesStaticStrings=True)
    parameter.setHelp(
        tr("AUTO uses a GPU where there is one and says in the log why when it does not; GPU fails without one; CPU never uses "
           "one. The options of the plugin can set what AUTO means.")
    )  # fmt: skip
    return advanced(parameter)


def arcgis_trained(name: str) -> QgsProcessingParameterDefinition:
    """What runs packages that ArcGIS trained; as in the options, where nothing is told."""
    default = settings.load().arcgis_trained
    parameter = QgsProcessingParameterEnum(
        name, tr("Packages trained in ArcGIS"), WAYS, defaultValue=default, usesStaticStrings=True
    )
    parameter.setHelp(
        tr("NATIVE: networks of the plugin run them; no code of the package does, and nothing of Esri's is needed. PACKAGE: the "
           "package's own program, which needs Esri's library arcgis in the inference Python. Of no account for other "
           "packages.")
    )  # fmt: skip
    return advanced(parameter)


def restart(name: str) -> QgsProcessingParameterDefinition:
    """Whether to begin anew."""
    parameter = QgsProcessingParameterBoolean(name, tr("Restart: forget what an earlier run has found"), False)
    parameter.setHelp(
        tr("A run that was cancelled or cut short goes on where it stopped when it is started again with the same raster, "
           "package and arguments. Switched on, it begins anew.")
    )  # fmt: skip
    return advanced(parameter)


def report(name: str) -> QgsProcessingParameterDefinition:
    """The page about the run."""
    text = tr(
        "A page with the numbers of objects, their confidence, a map, the most and the least certain ones as pictures, and "
        "where the time went. It is shown in the Results Viewer."
    )
    return html(name, tr("Report"), text)


def html(name: str, label: str, text: str) -> QgsProcessingParameterDefinition:
    """A page that is made if it is wanted; `text` explains it."""
    parameter = QgsProcessingParameterFileDestination(name, label, tr("HTML files (*.html)"), None, True, False)
    parameter.setHelp(text)
    return parameter


def advanced(parameter: QgsProcessingParameterDefinition) -> QgsProcessingParameterDefinition:
    """The parameter, shown among the advanced ones."""
    parameter.setFlags(parameter.flags() | Qgis.ProcessingParameterFlag.Advanced)
    return parameter


def manual(page: str) -> str:
    """The address of a page of the manual, which comes with the plugin."""
    return QUrl.fromLocalFile(str(DOCUMENTATION / page)).toString()
