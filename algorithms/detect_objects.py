"""Detect Objects Using Deep Learning: raster in, points, boxes or polygons with class and confidence out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    Qgis,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingParameterFeatureSink,
)
from qgis.PyQt.QtGui import QIcon

from ..inference import description
from ..inference.classes import parse_classes
from ..inference.errors import InferenceError
from ..inference.plan import InferencePlan, SuppressionPlan
from ..inference.purpose import check_purpose
from ..inference.translation import tr
from . import model_input
from . import parameters as shared
from .finishing import Finishing
from .output import STOCK_FIELDS, WKB_TYPES, detections_output, qgis_fields
from .package_algorithm import Call, PackageAlgorithm
from .rasters.from_value import evaluated
from .task import InferenceTask
from .writing import written

POLYGON = 4
ICON = Path(__file__).parent.parent / "resources" / "icons" / "detect_objects.svg"


class DetectObjects(PackageAlgorithm):
    """dlpk:detectobjects."""

    NMS = "NMS"
    CONFIDENCE_FIELD = "CONFIDENCE_FIELD"
    CLASS_FIELD = "CLASS_FIELD"
    CLASSES = "CLASSES"
    MAX_OVERLAP = "MAX_OVERLAP"
    RANGES = {MAX_OVERLAP: (0.0, 1.0), **PackageAlgorithm.RANGES}  # noqa: RUF012 - of the class

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
            "The package's own Python raster function does the work, or a network of the plugin where ArcGIS trained the "
            "package; in a process of its own, so QGIS stays usable, and cancelling takes a second. The raster is read "
            "block by block, so its size does not matter.\n\n"
            "Each model has arguments of its own. They are written as name value;name value, for example threshold 0.5;"
            "padding 64, or as JSON; dlpk:inspectpackage lists those of a package. "
            "Blocks overlap by their padding, so an object at a seam may be found twice: Non Maximum Suppression "
            "removes the less confident of two features that overlap by more than the maximum overlap ratio."
        )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        for parameter in (
            *self._model_parameters(),
            shared.suppression(self.NMS),
            shared.confidence_field(self.CONFIDENCE_FIELD),
            shared.class_field(self.CLASS_FIELD),
            shared.maximum_overlap(self.MAX_OVERLAP),
            shared.classes(self.CLASSES, self.MODEL),
            *self._run_parameters(),
        ):
            self.addParameter(parameter)
        output = QgsProcessingParameterFeatureSink(
            self.OUTPUT, tr("Detected objects"), QgsProcessing.SourceType.TypeVectorAnyGeometry
        )
        output.setSupportsAppend(True)
        output.setHelp(tr("The layer of detected objects, in the CRS of the raster, with the fields that the model gives."))
        self.addParameter(output)
        self.addParameter(shared.report(self.REPORT))

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

    def _plan(self, call: Call) -> InferencePlan:
        parameters, context = call.parameters, call.context
        suppression = None
        if self.parameterAsBoolean(parameters, self.NMS, context):
            suppression = SuppressionPlan(
                self._confidence(call),
                self.parameterAsString(parameters, self.CLASS_FIELD, context),
                self.parameterAsDouble(parameters, self.MAX_OVERLAP, context),
            )
        classes = parse_classes(evaluated(parameters.get(self.CLASSES), context))
        plan = self._plan_of(call, self._items(call), suppression=suppression, classes=classes)
        check_purpose(plan.package.definition, False, call.told)
        return plan

    def _written(self, call: Call, plan: InferencePlan, task: InferenceTask) -> tuple[Finishing, dict[str, Any]]:
        made = detections_output(call.parameters, plan, task, self._confidence(call))
        return written(self, call, plan, task, self._rasters.address, made)

    def _confidence(self, call: Call) -> str:
        return self.parameterAsString(call.parameters, self.CONFIDENCE_FIELD, call.context) or "Confidence"
