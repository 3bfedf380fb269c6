"""Rasters that servers give in tiles or pictures: layers of QGIS's wms and arcgismapserver providers, and addresses."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Union
from urllib.parse import parse_qs

import numpy as np
from qgis.core import QgsCoordinateReferenceSystem, QgsDataSourceUri

from ...inference.errors import RasterError
from ...inference.grid import Bounds
from ...inference.rasters.resampled import at_cell_size
from ...inference.rasters.source import RasterSource
from ...inference.secrets import without_credentials
from ...inference.services import arcgis, ogc
from ...inference.services.exports import Export
from ...inference.services.fetching import FORBIDDEN, Fetcher, RefusedError
from ...inference.services.images import decoded
from ...inference.services.pyramids import (
    LAST_LEVEL,
    USUAL_SIDE,
    WEB_MERCATOR,
    Pyramid,
    PyramidLayer,
    web_mercator_levels,
    xyz_address,
)
from ...inference.services.tiles import TiledRaster
from ...inference.translation import tr
from .. import settings
from ..network import Network
from .raster_input import Wish, crs_of, wkt_of

Find = Callable[[Fetcher, Wish], Union[Export, Pyramid]]
"""Asks a service what it has."""
_PLACES = re.compile(r"\{-?[xyzq]\}")


@dataclass(frozen=True)
class Service:
    """A service that gives pixels.

    Attributes:
        address: Where it is, with whatever it needs.
        find: Asks it what it has.
        crs: That of its pixels, where that is known without asking.
        authcfg: Authentication configuration; empty for none.
        headers: Sent along.
    """

    address: str
    find: Find
    crs: QgsCoordinateReferenceSystem = field(default_factory=QgsCoordinateReferenceSystem)
    authcfg: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def open(self, wish: Wish) -> Sequence[RasterSource]:
        """See RasterInput; a service is one raster."""
        fetcher = Fetcher(Network(self.authcfg, self.headers, wish.feedback.is_canceled), settings.load().requests)
        try:
            found = self.find(fetcher, wish)
            layer = found.at(wish.cell_size, wish.extent_in(crs_of(found.crs)))
        except BaseException:
            fetcher.stop()
            raise
        wish.feedback.info(tr("Server: {name}, cell size {size:.10g}", name=found.name, size=layer.grid.affine.cell_size[0]))
        return [at_cell_size(TiledRaster(layer, fetcher), wish.cell_size)]


def service_at(address: str, authcfg: str = "", headers: dict[str, str] | None = None) -> Service | None:
    """The service behind an address; None where it is the address of a file.

    Raises:
        RasterError: The address lacks something.
    """
    own = headers or {}
    if _PLACES.search(address):
        return _xyz(address, authcfg, own, 0, LAST_LEVEL, 0)
    parameters = ogc.parameters_of(address)
    kind = parameters.get("service", "").upper()
    if kind == "WMS":
        crs = parameters.get("crs") or parameters.get("srs") or WEB_MERCATOR
        names = [parameters.get(name, "") for name in ("layers", "styles")]
        return _wms(address, *names, crs, parameters.get("format", ""), authcfg, own)
    if kind == "WMTS" or address.lower().partition("?")[0].endswith("wmtscapabilities.xml"):
        names = [parameters.get(name, "") for name in ("layer", "style", "tilematrixset", "format")]
        return _wmts(address, *names, authcfg, own)
    if arcgis.is_service(address):
        return Service(address, lambda fetcher, _: arcgis.service_of(address, fetcher), authcfg=authcfg, headers=own)
    return None


def service_of_uri(provider: str, uri: str) -> Service | None:
    """The service behind a layer of QGIS, by its provider and its data source; None where it is none of ours.

    Raises:
        RasterError: The data source lacks something.
    """
    if provider == "arcgismapserver":
        parts = QgsDataSourceUri(uri)
        address, layer = parts.param("url").rstrip("/"), parts.param("layer")
        is_part = layer and not address.lower().endswith("/imageserver") and not address.endswith(f"/{layer}")
        headers = {"Referer": parts.param("referer")} if parts.param("referer") else {}
        return service_at(f"{address}/{layer}" if is_part else address, parts.authConfigId(), headers)
    if provider != "wms":
        return None
    many = parse_qs(uri, keep_blank_values=True)
    values = {name: found[0] for name, found in many.items()}
    authcfg, headers, address = values.get("authcfg", ""), _headers(values), values.get("url", "")
    if values.get("type") == "xyz":
        first, last = int(values.get("zmin") or 0), int(values.get("zmax") or LAST_LEVEL)
        ratio = int(float(values.get("tilePixelRatio") or 0))
        return _xyz(address, authcfg, headers, first, last, USUAL_SIDE * ratio)
    layers, styles = ",".join(many.get("layers", [])), ",".join(many.get("styles", []))
    if "tileMatrixSet" in values:
        names = layers, styles, values["tileMatrixSet"], values.get("format", "")
        return _wmts(address, *names, authcfg, headers, values.get("crs", ""))
    return _wms(address, layers, styles, values.get("crs", WEB_MERCATOR), values.get("format", ""), authcfg, headers)


def _xyz(template: str, authcfg: str, headers: dict[str, str], first: int, last: int, side: int) -> Service:
    """A layer of tiles in EPSG:3857; `side` is that of a tile in pixels, 0 where a tile has to tell."""
    mercator = QgsCoordinateReferenceSystem(WEB_MERCATOR)

    def pyramid(side: int) -> Pyramid:
        levels = web_mercator_levels(side, first, last)
        return Pyramid(_shown(template), wkt_of(mercator), levels, lambda *tile: xyz_address(template, *tile))

    def find(fetcher: Fetcher, wish: Wish) -> Pyramid:
        usual = pyramid(side or USUAL_SIDE)
        extent = wish.extent_in(mercator)
        layer = usual.at(wish.cell_size, extent)  # refuses what lacks a size or an extent
        return usual if side or extent is None else pyramid(_side_of(layer, extent, fetcher))

    return Service(template, find, mercator, authcfg, headers)


def _side_of(layer: PyramidLayer, extent: Bounds, fetcher: Fetcher) -> int:
    """The pixels that a side of a tile has, by the one in the middle of the extent; where there is none, the usual ones."""
    middle = np.array([[(extent[0] + extent[2]) / 2, (extent[1] + extent[3]) / 2]])
    column, row = (int(pixel) // USUAL_SIDE for pixel in layer.grid.affine.invert(middle)[0])
    try:
        tile = decoded(fetcher.get(layer.address(column, row, ()), ogc.FEW_ATTEMPTS))
    except RefusedError as error:
        if error.status in (0, *FORBIDDEN):  # nobody answers, or not to us
            raise
        return USUAL_SIDE
    except RasterError:
        return USUAL_SIDE
    return tile.valid.shape[0]


def _wms(address: str, layers: str, styles: str, crs: str, form: str, authcfg: str, headers: dict[str, str]) -> Service:
    if not layers:
        raise RasterError(
            tr("The address {address} names no layer. Add &layers= with its name, or load the layer in QGIS and choose it.",
               address=without_credentials(address))
        )  # fmt: skip
    found = ogc.web_map(address, layers, styles, crs, form)
    return Service(address, lambda *_: found, QgsCoordinateReferenceSystem(crs), authcfg, headers)


def _wmts(
    address: str, layer: str, style: str, matrices: str, form: str, authcfg: str, headers: dict[str, str], crs: str = ""
) -> Service:
    if not layer:
        raise RasterError(
            tr("The address {address} names no layer. Add &layer= with its name, or load the layer in QGIS and choose it.",
               address=without_credentials(address))
        )  # fmt: skip

    def find(fetcher: Fetcher, _: Wish) -> Pyramid:
        return ogc.tile_map(address, layer, style, matrices, form, fetcher)

    return Service(address, find, QgsCoordinateReferenceSystem(crs), authcfg, headers)


def _headers(values: dict[str, str]) -> dict[str, str]:
    """What a layer's data source tells to send: its referer, its own headers, its user and password."""
    prefix = "http-header:"
    sent = {name[len(prefix) :]: value for name, value in values.items() if name.startswith(prefix)}
    if values.get("referer"):
        sent["Referer"] = values["referer"]
    if values.get("username"):
        both = f"{values['username']}:{values.get('password', '')}".encode()
        sent["Authorization"] = f"Basic {base64.b64encode(both).decode()}"
    return sent


def _shown(template: str) -> str:
    return without_credentials(template.partition("?")[0])
