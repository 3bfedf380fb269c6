"""Web Map Services and Web Map Tile Services (OGC 06-042, 07-057r7): where a picture or a tile is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from osgeo import gdal

from ..errors import RasterError
from ..grid import Bounds
from ..reprojection import reference_of
from ..translation import tr
from .exports import Export
from .fetching import Fetcher
from .pyramids import Level, Pyramid, exact

PIXEL = 0.00028
"""Metres of a pixel by which scale denominators of tile matrices are meant (07-057r7, 6.1)."""
FEW_ATTEMPTS = 3
MOST_NAMES = 20
"""Names that a message lists."""
_OWN = ("service", "request", "version", "layers", "layer", "styles", "style", "crs", "srs", "bbox", "width", "height", "format",
        "transparent", "tilematrixset", "tilematrix", "tilerow", "tilecol")  # fmt: skip


def web_map(address: str, layers: str, styles: str, crs: str, form: str, bounds: Bounds | None = None) -> Export:
    """A layer of a Web Map Service, drawn by the server.

    Args:
        address: Of the service, with whatever parameters it needs besides those of the standard.
        layers: Names, with commas between them.
        styles: One a layer, or empty.
        crs: As the service names it.
        form: Content type of pictures.
        bounds: Where there is anything, in map units.
    """
    reference = reference_of(crs)
    is_turned = bool(reference.EPSGTreatsAsLatLong() or reference.EPSGTreatsAsNorthingEasting())

    def picture(around: Bounds, width: int, height: int, _: tuple[int, ...]) -> str:
        left, low, right, high = around
        box = (low, left, high, right) if is_turned else around  # 1.3.0 gives coordinates in the order of the CRS
        return with_parameters(
            address, SERVICE="WMS", VERSION="1.3.0", REQUEST="GetMap", LAYERS=layers, STYLES=styles, CRS=crs,
            BBOX=",".join(f"{value:.15g}" for value in box), WIDTH=width, HEIGHT=height, FORMAT=form or "image/png",
            TRANSPARENT="TRUE",
        )  # fmt: skip

    return Export(layers, str(reference.ExportToWkt()), picture, bounds)


def tile_map(address: str, layer: str, style: str, matrices: str, form: str, fetcher: Fetcher) -> Pyramid:
    """A layer of a Web Map Tile Service.

    Args:
        address: Of the service or of its capabilities.
        layer: Its identifier.
        style: Its identifier.
        matrices: Identifier of the tile matrix set; empty for the first of the layer.
        form: Content type of tiles; empty for the first of the layer.
        fetcher: Asks for the capabilities.

    Raises:
        RasterError: The service does not answer, or has no such layer.
    """
    asked = address if address.lower().partition("?")[0].endswith(".xml") else with_parameters(
        address, SERVICE="WMTS", REQUEST="GetCapabilities", VERSION="1.0.0"
    )  # fmt: skip
    contents = _Node.parsed(fetcher.get(asked, attempts=FEW_ATTEMPTS).body).first("Contents")
    found = _named(contents.all("Layer"), layer)
    style = style or next((node.text("Identifier") for node in found.all("Style")), "")
    links = [link.text("TileMatrixSet") for link in found.all("TileMatrixSetLink")]
    chosen = matrices or (links[0] if links else "")
    matrix_set = _named(contents.all("TileMatrixSet"), chosen)
    reference = reference_of(_plain(matrix_set.text("SupportedCRS")))
    is_turned = bool(reference.EPSGTreatsAsLatLong() or reference.EPSGTreatsAsNorthingEasting())
    metres = reference.GetLinearUnits() if not reference.IsGeographic() else 111319.49079327358
    levels = [_level(node, metres, is_turned) for node in matrix_set.all("TileMatrix")]
    form = form or next((node.value for node in found.all("Format")), "image/png")
    templates = [node for node in found.all("ResourceURL") if node.text("resourceType") == "tile"]
    template = next((node.text("template") for node in templates if node.text("format") == form), "")

    def tile(level: str, column: int, row: int) -> str:
        if not template:
            return with_parameters(
                address, SERVICE="WMTS", VERSION="1.0.0", REQUEST="GetTile", LAYER=layer, STYLE=style,
                FORMAT=form, TILEMATRIXSET=chosen, TILEMATRIX=level, TILEROW=row, TILECOL=column,
            )  # fmt: skip
        dimensions = {node.text("Identifier"): node.text("Default") for node in found.all("Dimension")}
        values = {
            **dimensions, "TileMatrixSet": chosen, "TileMatrix": level, "TileRow": row, "TileCol": column, "Style": style,
            "style": style,
        }  # fmt: skip
        filled = template
        for name, value in values.items():
            filled = filled.replace("{" + name + "}", quote(str(value), safe=""))
        return filled

    crs_text = str(reference.ExportToWkt())
    return Pyramid(layer, crs_text, exact(levels, crs_text), tile)


def with_parameters(address: str, **values: object) -> str:
    """An address with parameters of a request in the place of its own ones of those names."""
    parts = urlsplit(address)
    kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name.lower() not in _OWN]
    query = urlencode([*kept, *values.items()], quote_via=quote, safe=",:/")
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def parameters_of(address: str) -> Mapping[str, str]:
    """The parameters of an address, by their names in lower case."""
    return {name.lower(): value for name, value in parse_qsl(urlsplit(address).query, keep_blank_values=True)}


def _level(node: _Node, metres: float, is_turned: bool) -> Level:
    first, second = map(float, node.text("TopLeftCorner").split())
    return Level(
        node.text("Identifier"),
        float(node.text("ScaleDenominator")) * PIXEL / metres,
        (second, first) if is_turned else (first, second),
        (int(node.text("TileWidth")), int(node.text("TileHeight"))),
        (int(node.text("MatrixWidth")), int(node.text("MatrixHeight"))),
    )


def _named(nodes: Iterator[_Node], name: str) -> _Node:
    known = {node.text("Identifier"): node for node in nodes}
    if name not in known:
        raise RasterError(
            tr("The tile service has no {name}; it has: {known}.", name=name or "?",
               known=", ".join(list(known)[:MOST_NAMES]) or tr("nothing"))
        )  # fmt: skip
    return known[name]


def _plain(crs: str) -> str:
    """EPSG:number of a name such as urn:ogc:def:crs:EPSG::3857, which GDAL reads with turned axes."""
    parts = crs.split(":")
    return f"{parts[-3]}:{parts[-1]}" if crs.lower().startswith("urn:") and len(parts) > 3 else crs  # noqa: PLR2004


class _Node:
    """An element of XML as GDAL parses it, without namespaces; Python's own parsers are not safe with a stranger's text."""

    def __init__(self, content: list[Any]) -> None:
        self._content = content

    @classmethod
    def parsed(cls, body: bytes) -> _Node:
        """The document.

        Raises:
            RasterError: It is no XML.
        """
        try:
            content = gdal.ParseXMLString(body.decode("utf-8", "replace"))
        except RuntimeError:
            content = None
        if content is None:
            raise RasterError(tr("The tile service sends no capabilities: {words}", words=body[:200].decode("utf-8", "replace")))
        return cls([0, "", content])

    @property
    def value(self) -> str:
        """Its own text."""
        return next((str(part[1]) for part in self._content[2:] if part[0] == gdal.CXT_Text), "").strip()

    def all(self, name: str) -> Iterator[_Node]:
        """The elements and attributes of this name directly below."""
        parts = (part for part in self._content[2:] if part[0] in (gdal.CXT_Element, gdal.CXT_Attribute))
        return (_Node(part) for part in parts if str(part[1]).rpartition(":")[2] == name)

    def first(self, name: str) -> _Node:
        """The first element of this name anywhere below."""
        waiting = [self]
        while waiting:
            node = waiting.pop(0)
            found = next(node.all(name), None)
            if found is not None:
                return found
            waiting += [_Node(part) for part in node._content[2:] if part[0] == gdal.CXT_Element]
        raise RasterError(tr("The tile service's capabilities have no {name}.", name=name))

    def text(self, name: str) -> str:
        """The text of the element or attribute of this name directly below; empty when there is none."""
        return next((node.value for node in self.all(name)), "")
