"""Non Maximum Suppression: a layer of detections in, the same without duplicates out, by the code that Detect uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qgis.core import (
    Qgis,
    QgsFeature,
    QgsField,
    QgsFields,
    QgsMapLayerStyle,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSource,
    QgsProcessingFeedback,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterFeatureSource,
    QgsProcessingUtils,
)
from qgis.PyQt.QtCore import QMetaType
from qgis.PyQt.QtGui import QIcon

from ..inference.errors import InferenceError
from ..inference.feedback import stop_if_canceled
from ..inference.translation import tr
from . import parameters as shared
from .detected_layer import DetectedLayer, read_detections
from .engine import check_shapely
from .failure import check_number, reported
from .features import PORTION, features_in
from .field_names import free_name
from .output import add_to, why_not_writable
from .overwriting import check_not_equal, check_not_source, layer_behind
from .rasters.from_value import evaluated
from .staging.staged_sink import Layout, StagedSink, staged_sink
from .task import TaskFeedback, interruptible

ICON = Path(__file__).parent.parent / "resources" / "icons" / "suppression.svg"
SUPPRESSED_BY = "SuppressedBy"


class NonMaximumSuppression(QgsProcessingAlgorithm):
    """dlpk:nonmaximumsuppression."""

    INPUT = "INPUT"
    CONFIDENCE_FIELD = "CONFIDENCE_FIELD"
    CLASS_FIELD = "CLASS_FIELD"
    MAX_OVERLAP = "MAX_OVERLAP"
    OUTPUT = "OUTPUT"
    REMOVED = "REMOVED"

    def __init__(self) -> None:
        super().__init__()
        self._style: QgsMapLayerStyle | None = None
        self._outputs: list[str] = []

    def createInstance(self) -> NonMaximumSuppression:
        return NonMaximumSuppression()

    def name(self) -> str:
        return "nonmaximumsuppression"

    def displayName(self) -> str:
        return tr("Non maximum suppression")

    def icon(self) -> QIcon:
        return QIcon(str(ICON))

    def tags(self) -> list[str]:
        return tr("nms,duplicates,overlap,object detection,deep learning,arcgis,iou").split(",")

    def helpUrl(self) -> str:
        return shared.manual("suppression.md")

    def shortDescription(self) -> str:
        return tr("Removes duplicates from a layer of detected objects: of two that overlap too much, the less confident one.")

    def shortHelpString(self) -> str:
        return tr(
            "Removes duplicates from a layer of detected objects: of two features whose intersection is larger than the maximum "
            "overlap ratio of their union, the less confident one; first within each class, then across all classes, as ArcGIS "
            "does. A feature that is removed itself removes no other.\n\n"
            "Of points and lines, which have no area, only those at equal places are duplicates. Features without confidence "
            "lose against all others; features without geometry stay."
        )

    def initAlgorithm(self, configuration: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        types = [int(Qgis.ProcessingSourceType.VectorAnyGeometry)]
        self.addParameter(QgsProcessingParameterFeatureSource(self.INPUT, tr("Detected objects"), types))
        self.addParameter(shared.confidence_field(self.CONFIDENCE_FIELD, self.INPUT))
        self.addParameter(shared.class_field(self.CLASS_FIELD, self.INPUT))
        self.addParameter(shared.maximum_overlap(self.MAX_OVERLAP))
        vector = QgsProcessing.SourceType.TypeVectorAnyGeometry
        kept = QgsProcessingParameterFeatureSink(self.OUTPUT, tr("Objects without duplicates"), vector, supportsAppend=True)
        kept.setHelp(tr("The features that stay, with all their attributes."))
        self.addParameter(kept)
        removed = QgsProcessingParameterFeatureSink(self.REMOVED, tr("Removed duplicates"), vector, None, True, False)
        removed.setHelp(
            tr("The features that were removed; the field {name} holds the id of the feature that each lost against.",
               name=SUPPRESSED_BY)
        )  # fmt: skip
        self.addParameter(removed)

    def checkParameterValues(self, parameters: dict[str, Any], context: QgsProcessingContext) -> tuple[bool, str]:
        """The stock checks, and whether the files can be written."""
        try:
            value = evaluated(parameters.get(self.MAX_OVERLAP), context)
            check_number(self.parameterDefinition(self.MAX_OVERLAP), 0.0, 1.0, value)
            layer = layer_behind(evaluated(parameters.get(self.INPUT), context), context)
            for name in (self.OUTPUT, self.REMOVED):
                check_not_source(layer, self.INPUT, parameters.get(name), name)
            check_not_equal({name: parameters.get(name) for name in (self.OUTPUT, self.REMOVED)})
        except QgsProcessingException as error:
            return False, str(error)
        for name in (self.OUTPUT, self.REMOVED):
            if reason := why_not_writable(parameters.get(name)):
                return False, reason
        return super().checkParameterValues(parameters, context)

    def prepareAlgorithm(
        self,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,  # noqa: ARG002
    ) -> bool:
        """Remember how the layer looks, which only the main thread may ask."""
        layer = self.parameterAsVectorLayer(parameters, self.INPUT, context)
        if layer is not None and layer.isSpatial():
            self._style = QgsMapLayerStyle()
            self._style.readFromLayer(layer)
        return True

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Find the duplicates, then write the others."""
        with interruptible(feedback):
            try:
                return self._suppressed(parameters, context, TaskFeedback(feedback))
            except InferenceError as error:
                raise reported(error, feedback) from error

    def _suppressed(self, parameters: dict[str, Any], context: QgsProcessingContext, told: TaskFeedback) -> dict[str, Any]:
        check_shapely()
        from ..inference.suppression import KEPT, suppress

        def check() -> None:
            stop_if_canceled(told)

        source = self.parameterAsSource(parameters, self.INPUT, context)
        if source is None:
            raise QgsProcessingException(self.invalidSourceError(parameters, self.INPUT))
        confidence = self.parameterAsString(parameters, self.CONFIDENCE_FIELD, context)
        layer = read_detections(source, confidence, self.parameterAsString(parameters, self.CLASS_FIELD, context), told, check)
        overlap = self.parameterAsDouble(parameters, self.MAX_OVERLAP, context)
        suppressor = suppress(layer.geometries, layer.confidence, layer.classes, overlap, check)
        removed = int((suppressor != KEPT).sum())
        told.info(tr("Features: {count}, of which {removed} are removed", count=len(suppressor), removed=removed))
        return self._written(parameters, context, source, _Verdict(layer, suppressor, check))

    def _written(
        self, parameters: dict[str, Any], context: QgsProcessingContext, source: QgsProcessingFeatureSource, verdict: _Verdict
    ) -> dict[str, Any]:
        """Write both layers; neither appears before both are complete."""
        kept = Layout(source.fields(), source.wkbType(), source.sourceCrs())
        lost = Layout(_with_suppressor(source.fields()), source.wkbType(), source.sourceCrs())
        results: dict[str, Any] = {}
        wants_removed = parameters.get(self.REMOVED) not in (None, "")
        with staged_sink(self, parameters, self.OUTPUT, context, kept) as output:
            if not wants_removed:
                count, _ = _write(source, verdict, output, None, lost.fields)
                results[self.OUTPUT] = output.publish(count)
            else:
                with staged_sink(self, parameters, self.REMOVED, context, lost) as removed:
                    count, others = _write(source, verdict, output, removed, lost.fields)
                    results[self.REMOVED] = removed.publish(others)
                    results[self.OUTPUT] = output.publish(count)
        self._outputs = list(results.values())
        return results

    def postProcessAlgorithm(
        self,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Let the outputs look like the input; runs in the main thread."""
        for destination in self._outputs if self._style is not None else ():
            layer = QgsProcessingUtils.mapLayerFromString(destination, context)
            if layer is not None:
                self._style.writeToLayer(layer)
        return {}


@dataclass(frozen=True)
class _Verdict:
    """Which features stay: the layer as it was read, the suppressor of each of its features, and what stops the writing."""

    layer: DetectedLayer
    suppressor: Any
    check: Callable[[], None]

    def judged(self, source: QgsProcessingFeatureSource) -> Iterator[tuple[QgsFeature, int | None]]:
        """Each feature with the id of the one that it lost against; None for one that stays."""
        from ..inference.suppression import KEPT

        for feature in features_in(source):
            place = self.layer.places.get(feature.id())
            lost = place is not None and self.suppressor[place] != KEPT
            yield feature, int(self.layer.ids[self.suppressor[place]]) if lost else None


def _write(
    source: QgsProcessingFeatureSource, verdict: _Verdict, kept: StagedSink, removed: StagedSink | None, fields: QgsFields
) -> tuple[int, int]:
    """Write the features that stay, and the others with the id of their suppressor; how many of both."""
    counts = [0, 0]
    for number, (feature, suppressor) in enumerate(verdict.judged(source)):
        if not number % PORTION:
            verdict.check()
        counts[suppressor is not None] += 1
        if suppressor is None:
            add_to(kept.sink, feature)
        elif removed is not None:
            lost = QgsFeature(fields)
            lost.setGeometry(feature.geometry())
            lost.setAttributes([*feature.attributes(), suppressor])
            add_to(removed.sink, lost)
    return counts[0], counts[1]


def _with_suppressor(fields: QgsFields) -> QgsFields:
    more = QgsFields(fields)
    name = free_name(SUPPRESSED_BY, {field.name().casefold() for field in fields})
    more.append(QgsField(name, QMetaType.Type.LongLong))
    return more
