"""What every kind of INPUT can do: tell what it is, and open its rasters as a run wants them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from qgis.core import Qgis, QgsCoordinateReferenceSystem

from ...inference.feedback import Feedback
from ...inference.grid import Bounds
from ...inference.rasters.source import RasterSource


@dataclass(frozen=True)
class Wish:
    """How a run wants its rasters.

    Attributes:
        feedback: Told what is noteworthy; a run that is cancelled opens nothing more.
        cell_size: Side of a pixel in units of the raster's CRS; None for the raster's own.
        extent_in: The part to search, in the CRS that it is given; None for all.
        separately: Whether each raster is searched by itself, and not all of them as one mosaic.
        splits: Whether a mosaic, such as a VRT, is then taken for the rasters that it is made of.
        mixes: Whether some rasters may have a CRS and others not.
        unscale: Whether scale and offset of bands are applied.
    """

    feedback: Feedback
    cell_size: float | None
    extent_in: Callable[[QgsCoordinateReferenceSystem], Bounds | None]
    separately: bool = False
    unscale: bool = False
    splits: bool = True
    mixes: bool = False


class RasterInput(Protocol):
    """What a user gave for INPUT."""

    @property
    def address(self) -> str:
        """Where it lies, for those who want to find it again; may hold credentials."""

    @property
    def crs(self) -> QgsCoordinateReferenceSystem:
        """That of the result, where it is known without much work; else an invalid one."""

    def open(self, wish: Wish) -> Sequence[RasterSource]:
        """Open the rasters: one, or one an item. The caller closes them.

        Raises:
            InferenceError: One cannot be opened, or something that it needs was not given.
        """


def crs_of(wkt: str) -> QgsCoordinateReferenceSystem:
    """QGIS's object for the CRS of a grid; invalid where there is none."""
    return QgsCoordinateReferenceSystem.fromWkt(wkt) if wkt else QgsCoordinateReferenceSystem()


def wkt_of(crs: QgsCoordinateReferenceSystem) -> str:
    """A CRS as GDAL reads it; empty where there is none."""
    return crs.toWkt(Qgis.CrsWktVariant.PreferredGdal) if crs.isValid() else ""
