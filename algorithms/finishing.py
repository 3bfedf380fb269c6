"""What happens to an output layer when it is complete: style, metadata, name; into the file where the file can hold them."""

from __future__ import annotations

from dataclasses import dataclass

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingUtils,
    QgsProviderRegistry,
    QgsVectorLayer,
)

from ..inference.definition import ModelDefinition
from ..inference.translation import tr
from .provenance import Provenance, apply_metadata
from .style import Occurring, apply_style


@dataclass(frozen=True)
class Finishing:
    """What an output layer needs.

    Attributes:
        definition: The model definition, for classes and their colours.
        provenance: For the metadata.
        confidence: The field with the confidence.
        label: The field with the class; None for the one that is usual.
        occurring: What the features hold, for the style.
        keep_look: Whether the layer was there before and keeps its own style and metadata.
        default_name: The name that Processing gives to the layer unless somebody chose one.
        aliases: What users read, by the name of a field: formats do not keep them.
    """

    definition: ModelDefinition
    provenance: Provenance
    confidence: str
    label: str | None
    occurring: Occurring
    keep_look: bool
    default_name: str
    aliases: dict[str, str]

    def apply(self, destination: str, context: QgsProcessingContext, feedback: QgsProcessingFeedback) -> None:
        """Do it to a layer, named as Processing names it; one that cannot be opened again is left as it is."""
        if context.willLoadLayerOnCompletion(destination):
            details = context.layerToLoadOnCompletionDetails(destination)
            if details.name == self.default_name:
                details.name = self.definition.name
        layer = QgsProcessingUtils.mapLayerFromString(destination, context)
        if not isinstance(layer, QgsVectorLayer) or self.keep_look:
            return
        for name, alias in self.aliases.items():
            layer.setFieldAlias(layer.fields().lookupField(name), alias)
        if layer.isSpatial():
            apply_style(layer, self.definition.classes, self.occurring, self.confidence, self.label)
        apply_metadata(layer, self.provenance)
        if layer.dataProvider().storageType() == "GPKG":
            self._save(layer, feedback)

    def _save(self, layer: QgsVectorLayer, feedback: QgsProcessingFeedback) -> None:
        name = self.definition.name
        problem = layer.saveStyleToDatabase(name, tr("Classes of the model {name}", name=name), True, "")
        if problem:
            feedback.pushWarning(tr("The style cannot be saved in the GeoPackage: {error}", error=problem))
        saved, problem = QgsProviderRegistry.instance().saveLayerMetadata("ogr", _with_table(layer.source()), layer.metadata())
        if not saved:
            feedback.pushWarning(tr("The metadata cannot be saved in the GeoPackage: {error}", error=problem))


def _with_table(source: str) -> str:
    """The source of an OGR layer with the name of its table, which the metadata need."""
    registry = QgsProviderRegistry.instance()
    parts = registry.decodeUri("ogr", source)
    if not parts.get("layerName"):
        tables = [each.name() for each in registry.querySublayers(source) if each.name() != "layer_styles"]
        parts["layerName"] = tables[0] if tables else ""
    return registry.encodeUri("ogr", parts)
