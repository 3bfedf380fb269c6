"""Classify Objects Using Deep Learning: raster and features in, the same features with a class label out."""

from __future__ import annotations

from functools import partial
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

from ..inference.feedback import stop_if_canceled
from ..inference.fields import Field
from ..inference.plan import InferencePlan
from ..inference.purpose import check_purpose
from ..inference.secrets import without_credentials
from ..inference.translation import tr
from . import parameters as shared
from .engine import load_engine
from .features import Table, check_features, collect, is_service, layer_of_service
from .finishing import Finishing
from .labelled import labels_output
from .output import qgis_fields
from .overwriting import check_not_source, is_partial, layer_behind
from .package_algorithm import Call, PackageAlgorithm
from .rasters.from_value import evaluated
from .task import InferenceTask
from .whole_images import check_holds, collect_images
from .writing import written

ICON = Path(__file__).parent.parent / "resources" / "icons" / "classify_objects.svg"
LABEL_FIELD = "ClassLabel"


class ClassifyObjects(PackageAlgorithm):
    """dlpk:classifyobjects."""

    FEATURES = "FEATURES"
    CLASS_LABEL_FIELD = "CLASS_LABEL_FIELD"
    CHECKED_HERE = (PackageAlgorithm.INPUT, FEATURES)

    def __init__(self) -> None:
        super().__init__()
        self._features_value: object = None
        self._table: Table | None = None

    def createInstance(self) -> ClassifyObjects:
        return ClassifyObjects()

    def name(self) -> str:
        return "classifyobjects"

    def displayName(self) -> str:
        return tr("Classify objects using deep learning")

    def icon(self) -> QIcon:
        return QIcon(str(ICON))

    def tags(self) -> list[str]:
        return tr("dlpk,emd,arcgis,object classification,deep learning,neural network,inference,torch,gpu,ai").split(",")

    def helpUrl(self) -> str:
        return shared.manual("classify.md")

    def shortDescription(self) -> str:
        return tr("Runs a deep learning package (.dlpk) on the pixels around each feature and gives the feature a class label.")

    def shortHelpString(self) -> str:
        return tr(
            "Runs a trained model from an ArcGIS deep learning package (.dlpk, .emd or an unpacked folder) on the pixels around "
            "each feature, and gives a copy of the features with a class label and its confidence.\n\n"
            "The features may be points, lines or polygons in any CRS; all their attributes stay. The output has the same "
            "features in the same order: one that lies off the raster has no label (NULL), and the log says how many.\n\n"
            "Without features, each image is one object: the output has the outline of each image, or is a table where the "
            "images have no georeference.\n\n"
            "Each model has arguments of its own, written as name value;name value, for example batch_size 16, or as JSON; "
            "dlpk:inspectpackage lists those of a package."
        )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        raster, *others = self._model_parameters()
        for parameter in (
            raster,
            shared.features(self.FEATURES),
            *others,
            shared.class_label_field(self.CLASS_LABEL_FIELD, LABEL_FIELD),
            *self._run_parameters(),
        ):
            self.addParameter(parameter)
        output = QgsProcessingParameterFeatureSink(
            self.OUTPUT, tr("Classified objects"), QgsProcessing.SourceType.TypeVector, supportsAppend=True
        )
        output.setHelp(tr("The features with their attributes, the label, its confidence, and what else the model says."))
        self.addParameter(output)
        self.addParameter(shared.report(self.REPORT))

    def _check(self, parameters: dict[str, Any], context: QgsProcessingContext) -> None:
        super()._check(parameters, context)
        value = evaluated(parameters.get(self.FEATURES), context)
        if is_service(value) or value in (None, ""):
            return
        check_features(self.parameterAsSource(parameters, self.FEATURES, context))
        layer = layer_behind(value, context)
        if is_partial(value, layer):  # else the output has all that the file had
            check_not_source(layer, self.FEATURES, parameters.get(self.OUTPUT), self.OUTPUT)

    def _has_features(self, parameters: dict[str, Any], context: QgsProcessingContext) -> bool:
        return evaluated(parameters.get(self.FEATURES), context) not in (None, "")

    def sinkProperties(
        self, sink: str, parameters: dict[str, Any], context: QgsProcessingContext, source: dict[str, Any]
    ) -> QgsProcessingAlgorithm.VectorProperties:
        """What is known before the package runs; maps fields onto an existing layer."""
        properties = super().sinkProperties(sink, parameters, context, source)
        if sink == self.OUTPUT:
            known = (
                None if is_service(parameters.get(self.FEATURES)) else self.parameterAsSource(parameters, self.FEATURES, context)
            )
            label = self._label_field(parameters, context)
            added = qgis_fields([Field(label, "text", label), Field("Confidence", "double", "Confidence")])
            properties.wkbType = Qgis.WkbType.Polygon
            if known is not None:
                properties.fields, properties.wkbType, properties.crs = known.fields(), known.wkbType(), known.sourceCrs()
            fields = properties.fields
            for field in added:
                fields.append(field)
            properties.fields = fields
            properties.availability = Qgis.ProcessingPropertyAvailability.Available
        return properties

    def prepareAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        """Resolve layers, which only the main thread may do."""
        done = super().prepareAlgorithm(parameters, context, feedback)
        try:
            self._features_value = layer_of_service(evaluated(parameters.get(self.FEATURES), context), context)
        except QgsProcessingException as error:
            raise QgsProcessingException(without_credentials(str(error))) from error
        return bool(done)

    def _plan(self, call: Call) -> InferencePlan:
        load_engine()  # says what is missing before anything is read
        from ..inference.classification.features import Features

        is_whole = not self._has_features(call.parameters, call.context)
        items = self._items(call, **({"separately": True, "splits": self._is_separate(call), "mixes": True} if is_whole else {}))
        label = self._label_field(call.parameters, call.context)
        features = Features(items, is_whole)
        call.stack.callback(features.close)
        plan = self._plan_of(call, items, features=features, label_field=label)
        check_purpose(plan.package.definition, True, call.told)
        if is_whole:
            self._table = collect_images(items, features, call.context, call.told)
        else:
            source = self.parameterAsSource({**call.parameters, self.FEATURES: self._features_value}, self.FEATURES, call.context)
            check_features(source)
            self._table = collect(source, features, call.context, partial(stop_if_canceled, call.told))
        check_holds(self._table, call.parameters.get(self.OUTPUT))
        features.seal()
        return plan

    def _written(self, call: Call, plan: InferencePlan, task: InferenceTask) -> tuple[Finishing, dict[str, Any]]:
        output = labels_output(call.parameters.get(self.OUTPUT), plan, task, self._table, call.told)
        return written(self, call, plan, task, self._rasters.address, output)

    def _label_field(self, parameters: dict[str, Any], context: QgsProcessingContext) -> str:
        return self.parameterAsString(parameters, self.CLASS_LABEL_FIELD, context).strip() or LABEL_FIELD
