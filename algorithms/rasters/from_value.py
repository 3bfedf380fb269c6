"""Turns whatever a user gives for INPUT into rasters that the engine can read."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingUtils,
    QgsProject,
    QgsProperty,
    QgsProviderRegistry,
    QgsRasterLayer,
)

from ...inference.errors import RasterError
from ...inference.translation import tr
from .files import Files, files
from .provider_layer import ProviderLayer
from .raster_input import RasterInput, wkt_of
from .services import service_at, service_of_uri

_AUTHCFG = re.compile(r"\s*\bauthcfg='?(\w{7})'?")
"""How a layer's source names its authentication configuration."""
SEPARATOR = ";"
"""Between several rasters in one text."""


def raster_from_value(value: Any, context: QgsProcessingContext, authcfg: str = "") -> RasterInput:  # noqa: ANN401
    """The rasters behind a parameter value. Servers are not asked yet.

    Args:
        value: A layer, its id or name in the project, a path, an address, a data source of QGIS, or several of these.
        context: Has the project.
        authcfg: Authentication configuration for addresses.

    Raises:
        RasterError: Nothing was given, a file cannot be opened, or the layer is of a kind that is not supported.
    """
    found = [_one(each, context, authcfg) for each in _several(evaluated(value, context))]
    if not found:
        return files([])
    if len(found) == 1:
        return found[0]
    others = [each.address for each in found if not isinstance(each, Files)]
    if others:
        raise RasterError(tr("{address} cannot be one of several rasters: only files can. Choose it alone.", address=others[0]))
    authcfg = next((each.authcfg for each in found if each.authcfg), authcfg)
    for each in found:
        if each.layer_crs is not None and each.layer_crs != Files(each.paths).crs:
            raise RasterError(
                tr("The layer {address} was given another CRS than its file has, which only counts when it is searched alone. "
                   "Assign the CRS to the file (gdal_edit -a_srs), or choose the layer alone.", address=each.address)
            )  # fmt: skip
    return Files(tuple(path for each in found for path in each.paths), authcfg=authcfg)


def raster_choice(value: Any, project: QgsProject) -> tuple[str, str | None] | None:  # noqa: ANN401 - any parameter value
    """Path and CRS (WKT; None for its own) of a raster that GDAL may open, without opening it, so also in the GUI."""
    context = QgsProcessingContext()
    context.setProject(project)
    several = _several(value) if isinstance(value, (str, QgsRasterLayer)) else []
    if len(several) != 1:
        return None
    layer = several[0] if isinstance(several[0], QgsRasterLayer) else _layer_of_project(several[0], context)
    if layer is None:
        path = several[0]
        return (path, None) if os.path.isfile(path) or path.startswith("/vsi") else None
    return (layer.source(), wkt_of(layer.crs())) if layer.providerType() == "gdal" else None


def evaluated(value: Any, context: QgsProcessingContext) -> Any:  # noqa: ANN401
    """A parameter value, with expressions evaluated."""
    if isinstance(value, QgsProperty):
        return value.value(context.expressionContext(), None)[0]
    return value


def _several(value: Any) -> list[Any]:  # noqa: ANN401
    """The values in a value; a text with semicolons holds several paths, unless it is one itself."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [part for each in value for part in _several(each)]
    if not isinstance(value, str):
        return [value] if value else []
    parts = [part.strip() for part in value.split(SEPARATOR) if part.strip()]
    is_one = os.path.exists(value) or "url=" in value or ("://" in value and not all(map(_is_whole, parts)))
    return [value] if is_one and value else parts


def _is_whole(part: str) -> bool:
    """Whether a text is a path or an address of its own, and not the rest of an address with a semicolon."""
    return "://" in part or part.startswith("/vsi") or os.path.exists(part)


def _one(value: Any, context: QgsProcessingContext, authcfg: str) -> RasterInput:  # noqa: ANN401
    layer = value if isinstance(value, QgsRasterLayer) else _layer_of_project(str(value), context)
    if layer is not None:
        return _of_layer(layer)
    text = str(value)
    known, provider, uri = QgsProcessingUtils.decodeProviderKeyAndUri(text)
    if known and provider in QgsProviderRegistry.instance().providerList():
        return service_of_uri(provider, uri) or _of_layer(QgsRasterLayer(uri, uri, provider))
    if "type=xyz" in text or ("url=" in text and "://" not in text.partition("url=")[0]):
        found = service_of_uri("wms", text)
        if found is not None:
            return found
    if text.startswith(("http://", "https://")) and (found := service_at(text, authcfg)) is not None:
        return found
    return files([os.path.expanduser(text)], authcfg)


def _layer_of_project(text: str, context: QgsProcessingContext) -> QgsRasterLayer | None:
    layer = QgsProcessingUtils.mapLayerFromString(text, context, False, QgsProcessingUtils.LayerHint.Raster)
    return layer if isinstance(layer, QgsRasterLayer) else None


def _of_layer(layer: QgsRasterLayer) -> RasterInput:
    provider = layer.providerType()
    if provider == "gdal":
        own = _AUTHCFG.search(layer.source())
        return Files((_AUTHCFG.sub("", layer.source()),), layer.crs(), own.group(1) if own else "")
    service = service_of_uri(provider, layer.source())
    return service if service is not None else ProviderLayer.of(layer)
