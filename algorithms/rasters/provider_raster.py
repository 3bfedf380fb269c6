"""Rasters of QGIS's own providers that give pixels: WCS, PostGIS raster and others; each thread has a provider of its own."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qgis.core import Qgis, QgsRasterBlock, QgsRasterBlockFeedback, QgsRasterDataProvider, QgsRectangle

from ...inference.errors import RasterError
from ...inference.grid import ROUNDING, Affine, Bounds, Grid, Window
from ...inference.rasters.source import Gap, RasterSource, Validity, ValueRange
from ...inference.secrets import without_credentials
from ...inference.translation import tr
from .raster_input import wkt_of

_DTYPES = {
    Qgis.DataType.Byte: "uint8", Qgis.DataType.Int8: "int8", Qgis.DataType.UInt16: "uint16", Qgis.DataType.Int16: "int16",
    Qgis.DataType.UInt32: "uint32", Qgis.DataType.Int32: "int32", Qgis.DataType.Float32: "float32",
    Qgis.DataType.Float64: "float64",
}  # fmt: skip
_ASKING = threading.Lock()
"""Some providers share a connection among all their clones."""


class ProviderRaster:
    """A RasterSource over a raster data provider of QGIS, at any cell size: providers resample, or have their server do it."""

    may_recover = True
    gap: Gap | None = None
    """A provider tells only that all of a block failed, which is an error."""

    def __init__(self, provider: QgsRasterDataProvider, name: str, cell_size: float | None = None) -> None:
        """Take over a clone of a layer's provider.

        Args:
            provider: Used by this only.
            name: Of the layer.
            cell_size: Side of a pixel in units of the CRS; None for the provider's own.

        Raises:
            RasterError: It has no pixels of its own, or of a kind that models cannot take.
        """
        self._provider, self.name, self._cell_size = provider, name, cell_size
        self._grid = _grid_of(provider, name, cell_size)
        provider.setZoomedInResamplingMethod(QgsRasterDataProvider.ResamplingMethod.Bilinear)
        provider.setZoomedOutResamplingMethod(QgsRasterDataProvider.ResamplingMethod.Average)
        provider.enableProviderResampling(True)
        self._nodata = [
            provider.sourceNoDataValue(band)
            if provider.sourceHasNoDataValue(band) and provider.useSourceNoDataValue(band)
            else None
            for band in range(1, provider.bandCount() + 1)
        ]
        self._feedback = QgsRasterBlockFeedback()

    @property
    def grid(self) -> Grid:
        """See RasterSource."""
        return self._grid

    @property
    def identity(self) -> str:
        """See RasterSource; a server does not tell when its pixels change."""
        return f"{self._provider.name()} {without_credentials(self._provider.dataSourceUri())}"

    def has_changed(self, identity: str) -> bool:
        """See RasterSource."""
        return identity != self.identity

    def mask_bands(self, bands: tuple[int, ...]) -> int:
        """See RasterSource."""
        return len(bands)

    def value_range(self, band: int) -> ValueRange:
        """See RasterSource: of 8 bit the type's range, else what the provider estimates."""
        if self._grid.dtype == "uint8":
            return ValueRange(0.0, 255.0, tr("8 bit"))
        found = self._provider.bandStatistics(band + 1, Qgis.RasterBandStatistic.Min | Qgis.RasterBandStatistic.Max)
        return ValueRange(float(found.minimumValue), float(found.maximumValue), tr("as the service tells"))

    def read(self, window: Window, bands: tuple[int, ...], out: NDArray[Any], mask: NDArray[Any]) -> Validity:
        """See RasterSource."""
        out[...] = 0
        mask[...] = 0
        inside = window.intersection(self._grid.window)
        if inside is None:
            return Validity.EMPTY
        rows = slice(inside.row - window.row, inside.row - window.row + inside.height)
        columns = slice(inside.column - window.column, inside.column - window.column + inside.width)
        rectangle = QgsRectangle(*self._grid.bounds_of(inside))
        for number, band in enumerate(bands):
            pixels = self._block(band, rectangle, inside)
            valid = np.ones(pixels.shape, bool) if self._nodata[band] is None else pixels != self._nodata[band]
            if pixels.dtype.kind == "f":
                valid &= ~np.isnan(pixels)
            out[number, rows, columns] = np.where(valid, pixels, 0)
            mask[number, rows, columns] = valid
        if not mask.any():
            return Validity.EMPTY
        return Validity.FULL if mask.all() else Validity.PARTIAL

    def _block(self, band: int, rectangle: QgsRectangle, window: Window) -> NDArray[Any]:
        with _ASKING:
            block: QgsRasterBlock = self._provider.block(band + 1, rectangle, window.width, window.height, self._feedback)
        errors = self._feedback.errors()
        if errors or not block.isValid() or block.isEmpty():
            self._feedback = QgsRasterBlockFeedback()
            reason = "; ".join(errors) or block.error().summary() or tr("it gives no pixels")
            raise RasterError(
                tr("{name} cannot be read at column {column}, row {row}: {error}.", name=self.name, column=window.column,
                   row=window.row, error=without_credentials(reason))
            )  # fmt: skip
        dtype = _DTYPES[block.dataType()]
        return np.frombuffer(bytes(block.data()), dtype).reshape(window.height, window.width)

    def coarser(self, factor: float) -> RasterSource | None:  # noqa: ARG002
        """See RasterSource: a server is not asked for pictures."""
        return None

    def clone(self) -> ProviderRaster:
        """See RasterSource."""
        return ProviderRaster(self._provider.clone(), self.name, self._cell_size)

    def close(self) -> None:
        """See RasterSource."""
        self._feedback.cancel()
        self._feedback = QgsRasterBlockFeedback()


def _grid_of(provider: QgsRasterDataProvider, name: str, cell_size: float | None) -> Grid:
    width, height, extent = provider.xSize(), provider.ySize(), provider.extent()
    if width <= 0 or height <= 0 or extent.isEmpty() or not math.isfinite(extent.width()):
        raise RasterError(
            tr("{name} comes from {provider}, which does not tell how many pixels there are. Save the part that you need as a "
               "GeoTIFF, and choose that.", name=name, provider=provider.name())
        )  # fmt: skip
    kinds = [provider.sourceDataType(band) for band in range(1, provider.bandCount() + 1)]
    if not kinds or any(kind not in _DTYPES for kind in kinds):
        raise RasterError(tr("{name} has pixels that models cannot take.", name=name))
    bounds: Bounds = extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()
    x, y = (cell_size, cell_size) if cell_size is not None else (extent.width() / width, extent.height() / height)
    width, height = (max(math.ceil(size - ROUNDING), 1) for size in (extent.width() / x, extent.height() / y))
    affine = Affine(bounds[0], x, 0.0, bounds[3], 0.0, -y)
    names = tuple(provider.generateBandName(band) for band in range(1, len(kinds) + 1))
    return Grid(width, height, affine, wkt_of(provider.crs()), str(np.result_type(*(_DTYPES[kind] for kind in kinds))), names)
