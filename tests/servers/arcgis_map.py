"""The map service of the double: pictures of a raster, drawn on demand and, where it is cached, cut into tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers.arcgis import VERSION, Image, RestError
from servers.arcgis_export import INCHES, METRES_PER_DEGREE, Source, View
from servers.cutting import WEB_MERCATOR, Box, cut, described
from servers.messages import Request, Response
from servers.rendering import FORMATS, picture

TILE = 256
HALF_WORLD = 20037508.342787  # of web mercator, as the usual scheme writes it
MARGIN = 3  # empty tiles left of and above a raster whose scheme is its own: the finest 0/0 is not a tile by chance


@dataclass(frozen=True)
class Scheme:
    """Where tiles begin and how wide their pixels are, from coarse to fine."""

    origin: tuple[float, float]
    resolutions: list[float]

    @classmethod
    def of(cls, source: Source) -> Scheme:
        """The usual scheme for web mercator; else one that ends with the raster's own pixels."""
        finest = source.pixel[0]
        if described(source.system).get("wkid") == WEB_MERCATOR:
            coarsest = 2 * HALF_WORLD / TILE
            levels = max(0, math.ceil(math.log2(coarsest / finest) - 1e-9))
            return cls((-HALF_WORLD, HALF_WORLD), [coarsest / 2**level for level in range(levels + 1)])
        levels = math.ceil(math.log2(max(source.size) / TILE + MARGIN))  # level 0 is one tile over all
        edge = MARGIN * TILE * finest
        return cls((source.box[0] - edge, source.box[3] + edge), [finest * 2**level for level in range(levels, -1, -1)])

    def box(self, level: int, row: int, column: int) -> Box:
        """The rectangle of a tile."""
        side = TILE * self.resolutions[level]
        left, top = self.origin[0] + column * side, self.origin[1] - row * side
        return left, top - side, left + side, top

    def described(self, source: Source) -> dict[str, Any]:
        """As ArcGIS tells it."""
        unit = METRES_PER_DEGREE if source.system.IsGeographic() else source.system.GetLinearUnits()
        levels = [
            {"level": level, "resolution": resolution, "scale": resolution * unit * 96 * INCHES}
            for level, resolution in enumerate(self.resolutions)
        ]
        system = described(source.system)
        origin = {"x": self.origin[0], "y": self.origin[1]}
        return {"rows": TILE, "cols": TILE, "dpi": 96, "format": "PNG32", "compressionQuality": 0, "origin": origin,
                "spatialReference": system, "lods": levels}  # fmt: skip


class MapService:
    """One GeoTIFF as a map service. `largest` is columns × rows."""

    type = "MapServer"

    def __init__(self, raster: Path, cached: bool = False, largest: tuple[int, int] = (4096, 4096)) -> None:
        self.source = Source.of(raster)
        self.largest = largest
        self.scheme = Scheme.of(self.source) if cached else None

    def description(self, name: str) -> dict[str, Any]:
        """The service's own resource."""
        layer = {"id": 0, "name": name, "parentLayerId": -1, "defaultVisibility": True, "subLayerIds": None, "minScale": 0,
                 "maxScale": 0, "type": "Raster Layer"}  # fmt: skip
        content = {
            "currentVersion": VERSION,
            "serviceDescription": "",
            "mapName": name,
            "description": "",
            "copyrightText": "",
            "supportsDynamicLayers": False,
            "layers": [layer],
            "tables": [],
            "spatialReference": described(self.source.system),
            "singleFusedMapCache": self.scheme is not None,
            "initialExtent": self.source.extent(),
            "fullExtent": self.source.extent(),
            "minScale": 0,
            "maxScale": 0,
            "units": "esriDecimalDegrees" if self.source.system.IsGeographic() else "esriMeters",
            "supportedImageFormatTypes": "PNG32,PNG24,PNG,JPG",
            "documentInfo": {"Title": name},
            "capabilities": "Map,Query,Data",
            "supportedQueryFormats": "JSON",
            "exportTilesAllowed": False,
            "maxRecordCount": 1000,
            "maxImageHeight": self.largest[1],
            "maxImageWidth": self.largest[0],
        }
        if self.scheme is not None:
            content["tileInfo"] = self.scheme.described(self.source)
        return content

    def operation(self, rest: list[str], request: Request) -> Image | Response:
        """Export, and tiles where there is a cache."""
        if rest == ["export"]:
            return self._export(request)
        if rest[0] == "tile" and len(rest) == 4 and all(map(str.isdigit, rest[1:])) and self.scheme is not None:
            return self._tile(self.scheme, int(rest[1]), int(rest[2]), int(rest[3]))
        raise RestError(400, "Invalid URL")

    def _export(self, request: Request) -> Image:
        view = View.asked(request, self.source, self.largest, adjusted=True)
        form = request.value("format", "png").lower()
        if form not in FORMATS:
            raise RestError(400, "Invalid or missing input parameters.", [f"format {form}"])
        area = cut(self.source.path, view.box, view.size, view.system, "near", None)
        content, kind = picture(area, form, request.value("transparent", "false").lower() == "true", self.source.limits[0])
        return Image(content, kind, ".png" if kind == "image/png" else ".jpg", view.facts)

    def _tile(self, scheme: Scheme, level: int, row: int, column: int) -> Response:
        missing = Response(404, b"<html><body>Tile not found</body></html>", "text/html")
        if not 0 <= level < len(scheme.resolutions):
            return missing
        box, whole = scheme.box(level, row, column), self.source.box
        if box[0] >= whole[2] or box[2] <= whole[0] or box[1] >= whole[3] or box[3] <= whole[1]:
            return missing
        area = cut(self.source.path, box, (TILE, TILE), self.source.system, "near", None)
        content, kind = picture(area, "png32", True, self.source.limits[0])
        return Response(200, content, kind)
