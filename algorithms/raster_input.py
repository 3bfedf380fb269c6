"""Turns whatever a user gives for INPUT into a raster that the engine can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qgis.core import (
    Qgis,
    QgsCoordinateReferenceSystem,
    QgsProcessingContext,
    QgsProcessingUtils,
    QgsProject,
    QgsProperty,
    QgsRasterLayer,
)

from ..inference.errors import RasterError
from ..inference.gdal_raster import GdalRaster
from ..inference.translation import tr


@dataclass(frozen=True)
class RasterInput:
    """A raster that was chosen: where GDAL finds it, and the CRS that counts for it."""

    path: str
    crs: QgsCoordinateReferenceSystem

    def source(self, cell_size: float | None) -> GdalRaster:
        """Open it at a cell size (units of the CRS; None for its own).

        Raises:
            RasterError: It cannot be opened.
        """
        return GdalRaster(self.path, cell_size, _wkt(self.crs))


def raster_from_value(value: Any, context: QgsProcessingContext) -> RasterInput:  # noqa: ANN401 - any parameter value
    """The raster behind a parameter value: a layer, its id or name in the project, or a path.

    Raises:
        RasterError: Nothing was given, it cannot be opened, or the layer is of a kind that is not supported.
    """
    value = evaluated(value, context)
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != 1:
            raise RasterError(tr("One raster is needed, but {count} were given.", count=len(value)))
        value = value[0]
    if not value:
        raise RasterError(tr("No raster was given for INPUT. Choose a raster layer or a file."))
    layer = value if isinstance(value, QgsRasterLayer) else _layer_of_project(str(value), context)
    if layer is not None:
        return _from_layer(layer)
    path = str(value)
    raster = GdalRaster(path)
    wkt = raster.grid.crs
    raster.close()
    return RasterInput(path, QgsCoordinateReferenceSystem.fromWkt(wkt) if wkt else QgsCoordinateReferenceSystem())


def raster_choice(value: Any, project: QgsProject) -> tuple[str, str | None] | None:  # noqa: ANN401 - any parameter value
    """Path and CRS (WKT; None for its own) of a raster that GDAL may open, without opening it, so also in the GUI."""
    if not isinstance(value, QgsRasterLayer):
        if not value or not isinstance(value, str):
            return None
        context = QgsProcessingContext()
        context.setProject(project)
        layer = _layer_of_project(value, context)
        if layer is None:
            return value, None
        value = layer
    return (value.source(), _wkt(value.crs())) if value.providerType() == "gdal" else None


def _wkt(crs: QgsCoordinateReferenceSystem) -> str:
    """As GDAL reads it; empty where there is none."""
    return crs.toWkt(Qgis.CrsWktVariant.PreferredGdal) if crs.isValid() else ""


def _layer_of_project(text: str, context: QgsProcessingContext) -> QgsRasterLayer | None:
    layer = QgsProcessingUtils.mapLayerFromString(text, context, False, QgsProcessingUtils.LayerHint.Raster)
    return layer if isinstance(layer, QgsRasterLayer) else None


def _from_layer(layer: QgsRasterLayer) -> RasterInput:
    if layer.providerType() != "gdal":
        raise RasterError(
            tr("The layer {name} comes from {provider}, which is not supported yet. Save it as a GeoTIFF and choose the file.",
               name=layer.name(), provider=layer.providerType())
        )  # fmt: skip
    return RasterInput(layer.source(), layer.crs())


def evaluated(value: Any, context: QgsProcessingContext) -> Any:  # noqa: ANN401
    """A parameter value, with expressions evaluated."""
    if isinstance(value, QgsProperty):
        return value.value(context.expressionContext(), None)[0]
    return value
