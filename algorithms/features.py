"""FEATURES: any vector source, read once, so that what is classified is what is written."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qgis.core import (
    Qgis,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsDataSourceUri,
    QgsFeature,
    QgsFeatureRequest,
    QgsFeatureSource,
    QgsField,
    QgsFields,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSource,
    QgsProcessingFeatureSourceDefinition,
    QgsProperty,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QByteArray, QDataStream, QIODevice, QMetaType

from ..inference.fields import find_name
from ..inference.translation import tr
from .rasters.raster_input import crs_of

if TYPE_CHECKING:
    from ..inference.classification.features import Features

PORTION = 1000
"""Features that are handed on at a time."""
_SERVICE = re.compile(r"^https?://.+/(FeatureServer|MapServer)/\d+/?$", re.IGNORECASE)


@dataclass(frozen=True)
class Table:
    """What the features of a source have in common.

    Attributes:
        fields, wkb_type, crs: Of the output, but for what is added.
        keeps_ids: Whether a field `fid` holds the features' own ids.
    """

    fields: QgsFields
    wkb_type: Qgis.WkbType
    crs: QgsCoordinateReferenceSystem
    keeps_ids: bool = True


def is_service(value: object) -> bool:
    """Whether a value is the address of a layer of an ArcGIS service, or a selection from one."""
    if isinstance(value, QgsProcessingFeatureSourceDefinition):
        value = value.source.staticValue()
    return isinstance(value, str) and _SERVICE.match(value.strip()) is not None


def layer_of_service(value: object, context: QgsProcessingContext) -> object:
    """The layer for the address of a layer of an ArcGIS service; any other value as it is. Main thread only.

    Raises:
        QgsProcessingException: The service cannot be read.
    """
    if not is_service(value):
        return value
    if isinstance(value, QgsProcessingFeatureSourceDefinition):
        selected = QgsProcessingFeatureSourceDefinition(value)
        selected.source = QgsProperty.fromValue(layer_of_service(value.source.staticValue(), context))
        return selected
    address = value.strip().rstrip("/")
    # Without a CRS the layer comes in its own, whose rectangles a server understands. AUTHCFG is for the servers of raster
    # and package, and no other server is told it.
    source = QgsDataSourceUri()
    source.setParam("url", address)
    layer = QgsVectorLayer(source.uri(False), address, "arcgisfeatureserver")
    if not layer.isValid():
        error = layer.error().summary() or tr("the server did not answer as such a service does")
        raise QgsProcessingException(
            tr("FEATURES: the feature layer {address} cannot be read: {error}. Check the address; where it needs a password, add "
               "it to the project with its authentication, and choose that layer.", address=address, error=error)
        )  # fmt: skip
    context.temporaryLayerStore().addMapLayer(layer)
    return layer.id()


def check_features(source: QgsFeatureSource | None) -> None:
    """Refuse what cannot be classified.

    Raises:
        QgsProcessingException: The source cannot be read, or is a table without geometry.
    """
    if source is None:
        raise QgsProcessingException(tr("FEATURES cannot be read. Choose a vector layer of the project, a file or a table."))
    if source.wkbType() == Qgis.WkbType.NoGeometry:
        raise QgsProcessingException(
            tr("FEATURES ({name}) is a table without geometry, so nobody can tell where its features lie. Choose a layer of "
               "points, lines or polygons, or leave it empty to classify each image as a whole.", name=source.sourceName())
        )  # fmt: skip


def collect(
    source: QgsProcessingFeatureSource, features: Features, context: QgsProcessingContext, check: Callable[[], None]
) -> Table:
    """Read all features of a source.

    Args:
        source: As Processing made it: with its selection and filter.
        features: Takes them; it is not sealed.
        context: Knows how coordinates are transformed.
        check: Called now and then; raises when the user stopped the run.
    """
    fields, geometries = _plain(source.fields())
    own_id, keeps_ids = find_name(fields.names(), "fid"), True
    transforms = [(wkt, _transform(source.sourceCrs(), crs_of(wkt), context)) for wkt in features.crs]
    is_straight = not QgsWkbTypes.isCurvedType(source.wkbType())
    for read in portions(source):
        check()
        portion = [straight(feature) for feature in read] if is_straight else read
        records = [packed(feature, geometries) for feature in portion]
        if own_id is not None:
            keeps_ids = keeps_ids and all(feature[own_id] == feature.id() for feature in portion)
        features.add(
            records, {wkt: [plain_wkb(feature.geometry(), transform) for feature in portion] for wkt, transform in transforms}
        )
    return Table(fields, source.wkbType(), source.sourceCrs(), keeps_ids)


def _plain(fields: QgsFields) -> tuple[QgsFields, list[int]]:
    """The fields, with text in the place of further geometries, and which ones these are: few formats can hold them."""
    plain, geometries = QgsFields(), []
    for index, field in enumerate(fields):
        is_geometry = field.typeName().lower().startswith("geometry") or field.type() == QMetaType.Type.User
        geometries += [index] if is_geometry else []
        plain.append(QgsField(field.name(), QMetaType.Type.QString) if is_geometry else field)
    return plain, geometries


def packed(feature: QgsFeature, geometries: Sequence[int] = ()) -> bytes:
    """Attributes and geometry of a feature; types and NULLs stay what they are, but for these attributes, which become WKT."""
    attributes = feature.attributes()
    for index in geometries:
        value = attributes[index]
        attributes[index] = value.asWkt() if isinstance(value, QgsGeometry) and not value.isNull() else None
    data = QByteArray()
    stream = QDataStream(data, QIODevice.OpenModeFlag.WriteOnly)
    stream.writeQVariantList(attributes)
    if stream.status() != QDataStream.Status.Ok:  # else the geometry would be lost with it
        raise QgsProcessingException(
            tr("The feature {id} has a value that cannot be kept: {values}. Leave that field out, for example with Refactor "
               "fields.", id=feature.id(), values=", ".join(type(value).__name__ for value in attributes))
        )  # fmt: skip
    stream.writeBytes(b"" if feature.geometry().isNull() else bytes(feature.geometry().asWkb()))
    return bytes(data)


def unpacked(record: bytes) -> tuple[list[Any], QgsGeometry]:
    """What `packed` gave."""
    data = QByteArray(record)  # the stream only points to it
    stream = QDataStream(data, QIODevice.OpenModeFlag.ReadOnly)
    attributes, geometry = stream.readQVariantList(), QgsGeometry()
    wkb = stream.readBytes()
    if wkb:
        geometry.fromWkb(wkb)
    return attributes, geometry


def portions(source: QgsProcessingFeatureSource) -> Iterator[list[QgsFeature]]:
    """All features of a source, so many at a time."""
    features = features_in(source)
    while portion := list(itertools.islice(features, PORTION)):
        yield portion


def features_in(source: QgsProcessingFeatureSource) -> Iterator[QgsFeature]:
    """All features of a source, also those whose geometry is invalid, which stop other algorithms."""
    for feature in source.getFeatures(QgsFeatureRequest(), Qgis.ProcessingFeatureSourceFlag.SkipGeometryValidityChecks):
        yield QgsFeature(feature)


def straight(feature: QgsFeature) -> QgsFeature:
    """A copy without curves: layers of ArcGIS services say that they have none, and give them all the same."""
    copy = QgsFeature(feature)
    geometry = copy.geometry()
    if QgsWkbTypes.isCurvedType(geometry.wkbType()):
        copy.setGeometry(QgsGeometry(geometry.constGet().segmentize()))
    return copy


def _transform(
    source: QgsCoordinateReferenceSystem, target: QgsCoordinateReferenceSystem, context: QgsProcessingContext
) -> QgsCoordinateTransform | None:
    if not source.isValid() or not target.isValid() or source == target:
        return None
    return QgsCoordinateTransform(source, target, context.transformContext())


def plain_wkb(geometry: QgsGeometry, transform: QgsCoordinateTransform | None = None) -> bytes | None:
    """A geometry of straight lines in the plane, in another CRS if one is wanted; None where there is none there."""
    if geometry.isNull() or geometry.isEmpty():
        return None
    geometry = QgsGeometry(geometry)
    is_collection = QgsWkbTypes.flatType(geometry.wkbType()) == Qgis.WkbType.GeometryCollection
    if is_collection or QgsWkbTypes.isCurvedType(geometry.wkbType()):
        geometry = QgsGeometry(geometry.constGet().segmentize())
    geometry.get().dropZValue()
    geometry.get().dropMValue()
    if transform is not None:
        try:
            geometry.transform(transform)
        except QgsCsException:
            return None
    return bytes(geometry.asWkb())
