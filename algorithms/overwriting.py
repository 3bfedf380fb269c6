"""Refuses outputs that would destroy what they are made of."""

from __future__ import annotations

import os

from qgis.core import (
    QgsDataSourceUri,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingUtils,
    QgsProviderRegistry,
    QgsVectorLayer,
)

from ..inference.translation import tr
from .staging.destination import Destination
from .staging.postgres import PostgresTable


def layer_behind(value: object, context: QgsProcessingContext) -> QgsVectorLayer | None:
    """The layer of a feature source's value; None where there is none."""
    if isinstance(value, QgsProcessingFeatureSourceDefinition):
        value = value.source.staticValue()
    if isinstance(value, str):
        value = QgsProcessingUtils.mapLayerFromString(value, context)
    return value if isinstance(value, QgsVectorLayer) else None


def check_not_source(layer: QgsVectorLayer | None, source: str, output: object, name: str) -> None:
    """Refuse an output in the place of the layer that it is made of: what is not selected would be lost.

    Args:
        layer: See `layer_behind`.
        source: Id of its parameter, for the message.
        output: Value of the output's parameter.
        name: Id of the output's parameter.

    Raises:
        QgsProcessingException: They are the same.
    """
    destination = Destination.of(output)
    if layer is not None and not destination.appends and _is_same(layer, destination):
        raise QgsProcessingException(
            tr("{output} is the layer that {source} comes from, and would replace it. Choose another file or table.", output=name,
               source=source)
        )  # fmt: skip


def is_partial(value: object, layer: QgsVectorLayer | None) -> bool:
    """Whether a feature source is but a part of its layer's file or table: a selection, a filter, a number of features."""
    if layer is not None and layer.subsetString():
        return True
    if not isinstance(value, QgsProcessingFeatureSourceDefinition):
        return False
    return bool(value.selectedFeaturesOnly or value.filterExpression or value.featureLimit >= 0)


def check_not_equal(values: dict[str, object]) -> None:
    """Refuse two outputs in one place.

    Args:
        values: Of the outputs' parameters, by their ids.

    Raises:
        QgsProcessingException: Two are the same file or table.
    """
    seen: dict[tuple[str, str], str] = {}
    for name, value in values.items():
        known = Destination.of(value)
        if known.file is None and PostgresTable.of(known.text) is None:
            continue
        place = (known.text if known.file is None else os.path.realpath(known.file), known.layer)
        if place in seen:
            raise QgsProcessingException(
                tr("{one} and {other} name the same place, {place}. Choose another one for one of them.", one=seen[place],
                   other=name, place=known.text)
            )  # fmt: skip
        seen[place] = name


def _is_same(layer: QgsVectorLayer, destination: Destination) -> bool:
    table = PostgresTable.of(destination.text)
    if table is not None and layer.providerType() == "postgres":
        one, other = QgsDataSourceUri(layer.source()), QgsDataSourceUri(table.address)
        places = [
            (uri.host(), uri.port(), uri.service(), uri.database(), uri.schema() or "public", uri.table()) for uri in (one, other)
        ]
        return bool(places[0] == places[1])
    if destination.file is None:
        return False
    parts = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source())
    if os.path.realpath(str(parts.get("path") or "")) != os.path.realpath(destination.file):
        return False
    name = parts.get("layerName")
    return not name or name == destination.layer or destination.file.suffix.lower() != ".gpkg"
