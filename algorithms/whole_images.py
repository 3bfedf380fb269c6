"""Each image as one feature, where no features are given: its footprint where it has a place, else a row of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qgis.core import (
    Qgis,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCsException,
    QgsFeature,
    QgsField,
    QgsFields,
    QgsGeometry,
    QgsPointXY,
    QgsProcessingContext,
    QgsProcessingException,
)
from qgis.PyQt.QtCore import QMetaType

from ..inference.fields import IMAGE
from ..inference.item import Item
from ..inference.translation import tr
from .features import Table, packed
from .rasters.raster_input import crs_of
from .staging.destination import Destination
from .task import TaskFeedback

if TYPE_CHECKING:
    from ..inference.classification.features import Features

IMAGE_ID = "ImageId"
SPATIAL_ONLY = (".shp", ".fgb", ".dbf")
"""Formats without tables, or whose tables are no file of that name."""


def collect_images(items: Sequence[Item], features: Features, context: QgsProcessingContext, told: TaskFeedback) -> Table:
    """Make a feature of each image.

    One without a place has no geometry; where none has one, the output is a table.

    Args:
        items: The images.
        features: Takes them; it is not sealed.
        context: Knows how coordinates are transformed.
        told: Told of images without a place among others.
    """
    fields = QgsFields()
    fields.append(QgsField(IMAGE_ID, QMetaType.Type.LongLong))
    fields.append(QgsField(IMAGE.name, QMetaType.Type.QString))
    placed = [item for item in items if item.source.grid.has_place]
    crs = crs_of(placed[0].source.grid.crs) if placed else QgsCoordinateReferenceSystem()
    outlines = [_outline(item, crs, context) for item in items]
    for number, (item, outline) in enumerate(zip(items, outlines), 1):
        feature = QgsFeature(fields)
        feature.setAttributes([number, item.source.name])
        feature.setGeometry(outline)
        features.add([packed(feature)])
    without = sum(outline.isNull() for outline in outlines)
    if placed and without:
        told.warning(tr("{count} images have no georeference or CRS that fits, so their rows have no geometry.", count=without))
    return Table(fields, Qgis.WkbType.Polygon if placed else Qgis.WkbType.NoGeometry, crs)


def check_holds(table: Table, destination: object) -> None:
    """Refuse a file that cannot hold a table without geometry, before the run.

    Raises:
        QgsProcessingException: It cannot.
    """
    file = Destination.of(destination).file
    if table.wkb_type == Qgis.WkbType.NoGeometry and file is not None and file.suffix.lower() in SPATIAL_ONLY:
        raise QgsProcessingException(
            tr("The images have no georeference, so the output is a table without geometry, which {file} cannot be. Choose "
               "another format for OUTPUT, such as .gpkg or .csv.", file=file.name)
        )  # fmt: skip


def _outline(item: Item, crs: QgsCoordinateReferenceSystem, context: QgsProcessingContext) -> QgsGeometry:
    """The footprint of what is looked at, in a CRS; null where it is not known there."""
    grid, extent = item.source.grid, item.extent
    own = crs_of(grid.crs)
    if not grid.has_place or own.isValid() != crs.isValid():
        return QgsGeometry()
    corners = [QgsPointXY(x, y) for x, y in grid.corners_of(extent)]
    outline = QgsGeometry.fromPolygonXY([corners])
    if own != crs:
        outline = outline.densifyByCount(20)
        try:
            outline.transform(QgsCoordinateTransform(own, crs, context.transformContext()))
        except QgsCsException:
            return QgsGeometry()
    return outline
