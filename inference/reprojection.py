"""Coordinates of one CRS in another, by PROJ through GDAL."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from osgeo import osr

from .errors import RasterError
from .translation import tr


class Reprojection:
    """From one CRS to another; x is always easting or longitude."""

    def __init__(self, source: str, target: str) -> None:
        """Prepare it.

        Args:
            source: WKT.
            target: WKT.

        Raises:
            RasterError: A CRS is unknown, or there is no way between them.
        """
        try:
            self._transformation = osr.CoordinateTransformation(reference_of(source), reference_of(target))
        except RuntimeError as error:
            raise RasterError(tr("Coordinates cannot be brought from one CRS to the other: {error}.", error=error)) from error

    @classmethod
    def between(cls, source: str, target: str) -> Reprojection | None:
        """None where there is nothing to do: the CRSs are the same, or one is unknown.

        Raises:
            RasterError: As above.
        """
        if not source or not target or source == target or reference_of(source).IsSame(reference_of(target)):
            return None
        return cls(source, target)

    def apply(self, points: NDArray[Any]) -> NDArray[Any]:
        """Coordinates (n, 2) in the other CRS."""
        if not len(points):
            return points
        return np.array(self._transformation.TransformPoints(points.tolist()))[:, :2]


def reference_of(crs: str) -> Any:  # noqa: ANN401 - GDAL has no type stubs
    """GDAL's object of a CRS (WKT or the like), with x before y.

    Raises:
        RasterError: It is unknown.
    """
    reference = osr.SpatialReference()
    try:
        done = reference.SetFromUserInput(crs)
    except RuntimeError as error:
        raise RasterError(tr("The CRS {crs} is unknown: {error}.", crs=crs[:60], error=error)) from error
    if done != 0:
        raise RasterError(tr("The CRS {crs} is unknown: {error}.", crs=crs[:60], error=done))
    reference.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return reference
