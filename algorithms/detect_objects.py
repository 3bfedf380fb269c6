"""Detect Objects Using Deep Learning: raster in, points, boxes or polygons with class and confidence out."""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from qgis.core import (
    Qgis,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterFeatureSink,
)
from qgis.PyQt.QtGui import QIcon

from ..inference import description
from ..inference.arguments import parse_values
from ..inference.classes import parse_classes
from ..inference.errors import InferenceError
from ..inference.item import Item
from ..inference.plan import InferencePlan, SuppressionPlan
from ..inference.secrets import without_credentials
from ..inference.translation import tr
from . import consent, model_input, settings
from . import parameters as shared
from .addresses import WritesAddressesDown
from .area import Area
from .failure import check_number, reported
from .finishing import Finishing
from .items import opened
from .output import STOCK_FIELDS, WKB_TYPES, qgis_fields, why_not_writable
from .rasters.from_value import evaluated, raster_from_value
from .rasters.raster_input import RasterInput, Wish
from .secret_values import resolved
from .task import InferenceTask, TaskFeedback, interruptible
from .writing import written

POLYGON = 4
ICON = Path(__file__).parent.parent / "resources" / "icons" / "detect_objects.svg"


class DetectObjects(WritesAddressesDown):
    """dlpk:detectobjects."""

    INPUT = "INPUT"
    MODEL = "MODEL"
    ARGUMENTS = "ARGUMENTS"
    NMS = "NMS"
    CONFIDENCE_FIELD = "CONFIDENCE_FIELD"
    CLASS_FIELD = "CLASS_FIELD"
    CLASSES = "CLASSES"
    MAX_OVERLAP = "MAX_OVERLAP"
    PROCESSING_MODE = "PROCESSING_MODE"
    EXTENT = "EXTENT"
    MASK = "MASK"
    CELL_SIZE = "CELL_SIZE"
    UNSCALE = "UNSCALE"
    MAX_MISSING = "MAX_MISSING"
    AUTHCFG = "AUTHCFG"
    PROCESSOR = "PROCESSOR"
    RESTART = "RESTART"
    OUTPUT = "OUTPUT"
    REPORT = "REPORT"

    def __init__(self) -> None:
        super().__init__()
        self._rasters: RasterInput | None = None
        self._finishing: tuple[Finishing, str] | None = None

    def createInstance(self) -> DetectObjects:
        return DetectObjects()

    def name(self) -> str:
        return "detectobjects"

    def displayName(self) -> str:
        return tr("Detect objects using deep learning")

    def icon(self) -> QIcon:
        return QIcon(str(ICON))

    def tags(self) -> list[str]:
        return tr("dlpk,emd,arcgis,object detection,deep learning,neural network,inference,torch,gpu,ai").split(",")

    def helpUrl(self) -> str:
        return shared.manual("usage.md")

    def shortDescription(self) -> str:
        return tr("Runs a deep learning package (.dlpk) over a raster and makes a feature of every object it finds.")

    def shortHelpString(self) -> str:
        return tr(
            "Runs a trained model from an ArcGIS deep learning package (.dlpk, .emd or an unpacked folder) over a raster and "
            "makes a point, box or polygon of every object it finds, with its class and confidence.\n\n"
            "The package's own Python raster function does the work, in a process of its own; QGIS stays usable, and "
            "cancelling takes a second. The raster is read block by block, so its size does not matter.\n\n"
            "Each model has arguments of its own. They are written as name value;name value, for example threshold 0.5;"
            "padding 64, or as JSON; dlpk:inspectpackage lists those of a package. "
            "Blocks overlap by their padding, so an object at a seam may be found twice: Non Maximum Suppression "
            "removes the less confident of two features that overlap by more than the maximum overlap ratio."
        )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        for parameter in (
            shared.raster(self.INPUT),
            shared.package(self.MODEL),
            shared.arguments(
                self.ARGUMENTS, model=self.MODEL, raster=self.INPUT, cell_size=self.CELL_SIZE, processor=self.PROCESSOR
            ),
            shared.suppression(self.NMS),
            shared.confidence_field(self.CONFIDENCE_FIELD),
            shared.class_field(self.CLASS_FIELD),
            shared.maximum_overlap(self.MAX_OVERLAP),
            shared.classes(self.CLASSES, self.MODEL),
            shared.processing_mode(self.PROCESSING_MODE),
            shared.extent(self.EXTENT),
            shared.mask(self.MASK),
            shared.cell_size(self.CELL_SIZE),
            shared.unscale(self.UNSCALE),
            shared.maximum_missing(self.MAX_MISSING),
            shared.authentication(self.AUTHCFG),
            shared.processor(self.PROCESSOR),
            shared.restart(self.RESTART),
        ):
            self.addParameter(parameter)
        output = QgsProcessingParameterFeatureSink(
            self.OUTPUT, tr("Detected objects"), QgsProcessing.SourceType.TypeVectorAnyGeometry
        )
        output.setSupportsAppend(True)
        output.setHelp(tr("The layer of detected objects, in the CRS of the raster, with the fields that the model gives."))
        self.addParameter(output)
        self.addParameter(shared.report(self.REPORT))

    def checkParameterValues(self, parameters: dict[str, Any], context: QgsProcessingContext) -> tuple[bool, str]:
        """All checks that need no code of the package."""
        try:
            self._check(parameters, context)
        except (InferenceError, QgsProcessingException) as error:
            return False, without_credentials(str(error))
        return True, ""

    def _check(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        """Raise what is wrong; called also where Processing calls no checkParameterValues, as for a child of a model.

        INPUT takes more than its stock type would accept.
        """
        self._raster_input(parameters, context)
        model_input.check(self.parameterAsFile(parameters, self.MODEL, context))
        parse_values(evaluated(parameters.get(self.ARGUMENTS), context))
        ranges = ((self.MAX_OVERLAP, 0.0, 1.0), (self.CELL_SIZE, 0.0, math.inf), (self.MAX_MISSING, 0.0, 100.0))
        for name, low, high in ranges:
            check_number(self.parameterDefinition(name), low, high, evaluated(parameters.get(name), context))
        for definition in self.parameterDefinitions():
            value = parameters.get(definition.name())
            if definition.name() != self.INPUT and not definition.checkValueIsAcceptable(value, context):
                raise QgsProcessingException(
                    tr("The value {value} of {name} ({id}) cannot be used.", value=value, name=definition.description(),
                       id=definition.name())
                )  # fmt: skip
        for name in (self.OUTPUT, self.REPORT):
            if reason := why_not_writable(parameters.get(name)):
                raise QgsProcessingException(reason)

    def _raster_input(self, parameters: dict[str, Any], context: QgsProcessingContext) -> RasterInput:
        return raster_from_value(parameters.get(self.INPUT), context, self.parameterAsString(parameters, self.AUTHCFG, context))

    def sinkProperties(
        self, sink: str, parameters: dict[str, Any], context: QgsProcessingContext, source: dict[str, Any]
    ) -> QgsProcessingAlgorithm.VectorProperties:
        """What is known before the package runs, from earlier runs where there were some; maps fields onto an existing layer."""
        properties = super().sinkProperties(sink, parameters, context, source)
        if sink == self.OUTPUT:
            known = description.recalled_for(model_input.local_path(self.parameterAsFile(parameters, self.MODEL, context)))
            fields = STOCK_FIELDS if known is None or known.fields is None else known.fields
            properties.fields = qgis_fields(fields)
            properties.wkbType = WKB_TYPES[known.geometry_type or POLYGON] if known else Qgis.WkbType.Polygon
            try:
                properties.crs = self._raster_input(parameters, context).crs
            except InferenceError:
                pass  # no raster is chosen yet
            properties.availability = Qgis.ProcessingPropertyAvailability.Available
        return properties

    def prepareAlgorithm(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,  # noqa: ARG002
    ) -> bool:
        """Resolve layers, which only the main thread may do."""
        try:
            self._check(parameters, context)
            self._rasters = self._raster_input(parameters, context)
        except InferenceError as error:
            raise QgsProcessingException(without_credentials(str(error))) from error
        return True

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Run the plan and write what it found."""
        with interruptible(feedback), ExitStack() as stack:
            try:
                plan = self._plan(parameters, context, feedback, stack)
                task = InferenceTask(plan, feedback)
                stack.callback(task.close)
                task.run()
                if task.error is not None:
                    raise task.error
                confidence = self.parameterAsString(parameters, self.CONFIDENCE_FIELD, context) or "Confidence"
                finishing, results = written(self, parameters, context, plan, task, self._rasters.address, confidence)
                self._finishing = finishing, results[self.OUTPUT]
                return results
            except QgsProcessingException:
                raise
            except Exception as error:
                raise reported(error, feedback) from error

    def _plan(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback, stack: ExitStack
    ) -> InferencePlan:
        suppression = None
        if self.parameterAsBoolean(parameters, self.NMS, context):
            suppression = SuppressionPlan(
                self.parameterAsString(parameters, self.CONFIDENCE_FIELD, context) or "Confidence",
                self.parameterAsString(parameters, self.CLASS_FIELD, context),
                self.parameterAsDouble(parameters, self.MAX_OVERLAP, context),
            )
        options, told = settings.load(), TaskFeedback(feedback)
        values, secrets = resolved(parse_values(evaluated(parameters.get(self.ARGUMENTS), context)))
        items = self._items(parameters, context, told, stack)  # first, as a package may be large to download
        authcfg = self.parameterAsString(parameters, self.AUTHCFG, context)
        package = model_input.opened(self.parameterAsFile(parameters, self.MODEL, context), authcfg, told)
        hosting = settings.hosting(self.parameterAsEnumString(parameters, self.PROCESSOR, context), options)
        return InferencePlan(
            package=package,
            values=values,
            secrets=secrets,
            items=items,
            hosting=consent.allowed(package, hosting, told),
            suppression=suppression,
            classes=parse_classes(evaluated(parameters.get(self.CLASSES), context)),
            workers=options.workers or None,
            restart=self.parameterAsBoolean(parameters, self.RESTART, context),
            names_items=self._is_separate(parameters, context),
            max_missing=self.parameterAsDouble(parameters, self.MAX_MISSING, context) / 100,
        )

    def _items(
        self, parameters: dict[str, Any], context: QgsProcessingContext, told: TaskFeedback, stack: ExitStack
    ) -> tuple[Item, ...]:
        cell_size = self.parameterAsDouble(parameters, self.CELL_SIZE, context)
        unscale = self.parameterAsBoolean(parameters, self.UNSCALE, context)
        area = Area.of(self, parameters, self.EXTENT, self.MASK, context)
        is_separate = self._is_separate(parameters, context)
        wish = Wish(told, cell_size if cell_size > 0 else None, area.bounds_in, is_separate, unscale)
        return opened(self._rasters, wish, area, stack)

    def _is_separate(self, parameters: dict[str, Any], context: QgsProcessingContext) -> bool:
        return bool(self.parameterAsEnumString(parameters, self.PROCESSING_MODE, context) == shared.SEPARATELY)

    def postProcessAlgorithm(self, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> dict[str, Any]:
        """Style the layer; runs in the main thread, when the output is closed."""
        if self._finishing is not None:
            finishing, destination = self._finishing
            finishing.apply(destination, context, feedback)
        return {}
