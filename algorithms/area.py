"""The part of the ground that is searched: EXTENT and MASK, each in any CRS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsGeometry,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
)

from ..inference.grid import Bounds
from ..inference.translation import tr

SEGMENTS = 20
"""Points on a side of an extent that is brought to another CRS, where its sides become curves."""


@dataclass(frozen=True)
class Area:
    """What is searched.

    Attributes:
        extent: Rectangle; None for all.
        mask: Polygons with their CRS; None for all.
        transforms: Of the project.
    """

    extent: tuple[QgsGeometry, QgsCoordinateReferenceSystem] | None
    mask: tuple[tuple[QgsGeometry, ...], QgsCoordinateReferenceSystem] | None
    transforms: QgsCoordinateTransformContext
    _known: dict[tuple[str, str], Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, algorithm: QgsProcessingAlgorithm, parameters: dict[str, Any], extent: str, mask: str, context: QgsProcessingContext
    ) -> Area:
        """From the parameters of these names.

        Raises:
            QgsProcessingException: The mask has no polygon.
        """
        rectangle = algorithm.parameterAsExtent(parameters, extent, context)
        region = None
        if not rectangle.isNull():
            region = QgsGeometry.fromRect(rectangle), algorithm.parameterAsExtentCrs(parameters, extent, context)
        source = algorithm.parameterAsSource(parameters, mask, context) if parameters.get(mask) else None
        if source is None:
            return cls(region, None, context.transformContext())
        polygons = tuple(feature.geometry() for feature in source.getFeatures() if not feature.geometry().isEmpty())
        if not polygons:
            raise QgsProcessingException(
                tr("The mask layer {name} has no polygon, so nothing would be searched. Choose another one, or none.",
                   name=source.sourceName())
            )  # fmt: skip
        return cls(region, (polygons, source.sourceCrs()), context.transformContext())

    def bounds_in(self, crs: QgsCoordinateReferenceSystem) -> Bounds | None:
        """The rectangle around all that is searched, in a CRS; None for everything."""
        return self._once("bounds", crs, self._bounds_in)

    def _bounds_in(self, crs: QgsCoordinateReferenceSystem) -> Bounds | None:
        found = []
        if self.extent is not None:
            densified = self.extent[0] if self.extent[1] == crs else self.extent[0].densifyByCount(SEGMENTS)
            found.append(self._in(densified, self.extent[1], crs).boundingBox())
        if self.mask is not None:
            rectangle = self._in(self.mask[0][0], self.mask[1], crs).boundingBox()
            for polygon in self.mask[0][1:]:
                rectangle.combineExtentWith(self._in(polygon, self.mask[1], crs).boundingBox())
            found.append(rectangle)
        if not found:
            return None
        box = found[0] if len(found) == 1 else found[0].intersect(found[1])
        if box.isEmpty():
            raise QgsProcessingException(tr("EXTENT and MASK do not overlap, so nothing would be searched. Change one of them."))
        return box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()

    def region_in(self, crs: QgsCoordinateReferenceSystem) -> Bounds | None:
        """The extent in a CRS; None where none was given."""
        return Area(self.extent, None, self.transforms).bounds_in(crs)

    def mask_in(self, crs: QgsCoordinateReferenceSystem) -> Any:  # noqa: ANN401 - shapely has no type stubs
        """The mask as one shapely geometry in a CRS; None where none was given."""
        return self._once("mask", crs, self._mask_in)

    def _once(self, kind: str, crs: QgsCoordinateReferenceSystem, make: Callable[[QgsCoordinateReferenceSystem], Any]) -> Any:  # noqa: ANN401
        """What is made for a CRS, made once: there may be thousands of rasters in it."""
        key = kind, crs.toWkt()
        if key not in self._known:
            self._known[key] = make(crs)
        return self._known[key]

    def _mask_in(self, crs: QgsCoordinateReferenceSystem) -> Any:  # noqa: ANN401
        if self.mask is None:
            return None
        import shapely

        from ..inference.rasters.masked import polygonal

        polygons = [shapely.from_wkb(bytes(self._in(polygon, self.mask[1], crs).asWkb())) for polygon in self.mask[0]]
        return polygonal(shapely.union_all(shapely.make_valid(shapely.force_2d(polygons))))

    def _in(
        self, geometry: QgsGeometry, source: QgsCoordinateReferenceSystem, target: QgsCoordinateReferenceSystem
    ) -> QgsGeometry:
        if not source.isValid() or not target.isValid() or source == target:
            return geometry
        moved = QgsGeometry(geometry)
        try:
            moved.transform(QgsCoordinateTransform(source, target, self.transforms))
        except QgsCsException as error:
            raise QgsProcessingException(
                tr("EXTENT or MASK cannot be brought into the CRS of the raster ({crs}): {error}", crs=target.authid(),
                   error=error)
            ) from error  # fmt: skip
        return moved
