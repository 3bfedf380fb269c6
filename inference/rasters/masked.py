"""A raster of which only the inside of polygons is seen; what lies outside of them is not even read."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from osgeo import gdal, ogr

from ..grid import Bounds, Grid, Window
from .over import OverRaster
from .source import Gap, RasterSource, Validity


def polygonal(geometry: Any) -> Any:  # noqa: ANN401 - shapely has no type stubs
    """The polygons among what repairing or cutting has left, as one geometry: lines and points cover nothing."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    return shapely.union_all(parts[shapely.get_dimensions(parts) == 2])  # noqa: PLR2004 - areas


def clipped(mask: Any, bounds: Bounds) -> Any:  # noqa: ANN401
    """What of a mask lies in a rectangle."""
    return polygonal(shapely.make_valid(shapely.clip_by_rect(mask, *bounds)))


def _box(window: Window) -> Any:  # noqa: ANN401
    return shapely.box(window.column, window.row, window.column + window.width, window.row + window.height)


class MaskedRaster(OverRaster):
    """A RasterSource over another one."""

    def __init__(self, source: RasterSource, mask: Any) -> None:  # noqa: ANN401 - shapely has no type stubs
        """Put the mask over it.

        Args:
            source: The raster; becomes this one's, which closes it.
            mask: A polygon or several (shapely), in the raster's CRS.
        """
        super().__init__(source)
        self._mask = polygonal(mask)
        inverse = shapely.transform(self._mask, source.grid.affine.invert)
        shapely.prepare(inverse)
        self._pixels = inverse
        self._is_read = False

    @property
    def grid(self) -> Grid:
        """See RasterSource."""
        return self._source.grid

    @property
    def identity(self) -> str:
        """See RasterSource."""
        return f"{self._source.identity}\nmask:{hashlib.sha256(self._mask.wkb).hexdigest()}"

    @property
    def gap(self) -> Gap | None:
        """See RasterSource."""
        gap = self._source.gap if self._is_read else None
        if gap is None:
            return None
        windows = tuple(each for each in gap.windows if self._pixels.intersects(_box(each)))
        return replace(gap, windows=windows) if windows else None

    def has_changed(self, identity: str) -> bool:
        """See RasterSource."""
        return self._source.has_changed(identity.rpartition("\n")[0])

    def read(self, window: Window, bands: tuple[int, ...], out: NDArray[Any], mask: NDArray[Any]) -> Validity:
        """See RasterSource; pixels whose centre lies outside the polygons are 0, and 0 in the mask."""
        box = _box(window)
        self._is_read = bool(self._pixels.intersects(box))
        if not self._is_read:
            out[...] = 0
            return Validity.EMPTY
        validity = self._source.read(window, bands, out, mask)
        if validity is Validity.EMPTY or self._pixels.contains(box):
            return validity
        if validity is Validity.FULL:
            mask[...] = 1
        inside = covered(polygonal(self._pixels.intersection(box)), window)
        mask *= inside
        out[:, inside == 0] = 0
        return Validity.PARTIAL if mask.any() else Validity.EMPTY

    def coarser(self, factor: float) -> RasterSource | None:
        """See RasterSource; pictures show also what is outside."""
        return self._source.coarser(factor)

    def clone(self) -> MaskedRaster:
        """See RasterSource."""
        return MaskedRaster(self._source.clone(), self._mask)


def covered(shape: Any, window: Window) -> NDArray[Any]:  # noqa: ANN401
    """Which pixels of a window have their centre inside polygons: 1, others 0 (uint8).

    Args:
        shape: Polygons (shapely) in pixels of the grid.
        window: Of the grid.
    """
    memory = gdal.GetDriverByName("MEM").Create("", window.width, window.height, 1, gdal.GDT_Byte)
    memory.SetGeoTransform((window.column, 1.0, 0.0, window.row, 0.0, 1.0))
    vectors = ogr.GetDriverByName("Memory").CreateDataSource("")
    layer = vectors.CreateLayer("mask", geom_type=ogr.wkbUnknown)
    feature = ogr.Feature(layer.GetLayerDefn())
    feature.SetGeometry(ogr.CreateGeometryFromWkb(shape.wkb))
    layer.CreateFeature(feature)
    gdal.PushErrorHandler("CPLQuietErrorHandler")  # it warns that pixels have no CRS
    try:
        gdal.RasterizeLayer(memory, [1], layer, burn_values=[1])
    finally:
        gdal.PopErrorHandler()
    return np.asarray(memory.ReadAsArray())
