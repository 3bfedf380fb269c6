"""Layers of QGIS's other raster providers, such as WCS and PostGIS raster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qgis.core import QgsCoordinateReferenceSystem, QgsRasterDataProvider, QgsRasterLayer

from ...inference.errors import RasterError
from ...inference.rasters.source import RasterSource
from ...inference.translation import tr
from .provider_raster import ProviderRaster
from .raster_input import Wish


@dataclass(frozen=True)
class ProviderLayer:
    """A layer by a clone of its provider, so that it can go while the run goes on.

    Attributes:
        provider: Used by this only.
        name: Of the layer.
        crs: Of the layer.
    """

    provider: QgsRasterDataProvider
    name: str
    crs: QgsCoordinateReferenceSystem

    @classmethod
    def of(cls, layer: QgsRasterLayer) -> ProviderLayer:
        """A layer of the project, in the main thread.

        Raises:
            RasterError: It is invalid.
        """
        provider = layer.dataProvider()
        if not layer.isValid() or provider is None:
            reason = layer.error().summary() or tr("unknown reason")
            raise RasterError(tr("The layer {name} cannot be opened: {error}.", name=layer.name(), error=reason))
        return cls(provider.clone(), layer.name(), layer.crs())

    @property
    def address(self) -> str:
        """See RasterInput."""
        return str(self.provider.dataSourceUri())

    def open(self, wish: Wish) -> Sequence[RasterSource]:
        """See RasterInput."""
        return [ProviderRaster(self.provider.clone(), self.name, wish.cell_size)]
