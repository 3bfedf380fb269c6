"""ArcGIS Server's image and map services, by the public REST API (developers.arcgis.com, Image and Map Service)."""

from __future__ import annotations

import json
import math
import re
from typing import Any
from urllib.parse import urlencode, urlsplit

from ..errors import RasterError
from ..grid import Bounds
from ..reprojection import reference_of
from ..translation import tr
from .exports import Export
from .fetching import Answer, Fetcher
from .pyramids import COLORS, Level, Pyramid, exact

DTYPES = {
    "U1": "uint8", "U2": "uint8", "U4": "uint8", "U8": "uint8", "S8": "int16", "U16": "uint16", "S16": "int16",
    "U32": "uint32", "S32": "int32", "F32": "float32", "F64": "float64",
}  # fmt: skip
"""numpy's name by the pixelType of a service; GDAL 3.6 has no signed bytes."""
_SERVICE = re.compile(r"(?i)/(ImageServer|MapServer(/\d+)?)$")
INVALID_TOKEN, TOKEN_REQUIRED = 498, 499


def service_of(address: str, fetcher: Fetcher) -> Export | Pyramid:
    """Ask a service what it has.

    Args:
        address: …/ImageServer or …/MapServer, perhaps with a layer's number behind it.
        fetcher: Asks.

    Raises:
        RasterError: It does not answer, refuses, or is of a kind that gives no pixels.
    """
    base, query, is_image = _taken_apart(address)
    facts = _asked(fetcher, f"{base}?{_joined(query, f='json')}")
    name = urlsplit(base).path.split("/services/")[-1]
    if is_image:
        return _image_service(base, query, facts, name)
    if facts.get("singleFusedMapCache") and isinstance(facts.get("tileInfo"), dict) and not _layer_of(address):
        return _cached_map(base, query, facts, name)
    return _drawn_map(base, query, facts, name, _layer_of(address))


def is_service(address: str) -> bool:
    """Whether an address is one of an image or map service."""
    return bool(_SERVICE.search(urlsplit(address).path.rstrip("/")))


def answered(answer: Answer) -> dict[str, Any]:
    """The JSON of an answer; errors come with status 200.

    Raises:
        RasterError: It is none, or an error.
    """
    try:
        content = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise RasterError(tr("the server sends something else than JSON")) from error
    problem = content.get("error") if isinstance(content, dict) else None
    if isinstance(problem, dict):
        code = problem.get("code")
        hint = tr(" Choose an authentication configuration (AUTHCFG).") if code in (INVALID_TOKEN, TOKEN_REQUIRED) else ""
        raise RasterError(tr("{message} (code {code}).", message=problem.get("message", ""), code=code) + hint)
    if not isinstance(content, dict):
        raise RasterError(tr("the server sends something else than JSON"))
    return content


def _asked(fetcher: Fetcher, address: str) -> dict[str, Any]:
    try:
        return answered(fetcher.get(address))
    except RasterError as error:
        shown = address.partition("?")[0]
        raise RasterError(tr("The service {address} cannot be used: {error}", address=shown, error=error)) from error


def _taken_apart(address: str) -> tuple[str, str, bool]:
    parts = urlsplit(address)
    path = parts.path.rstrip("/")
    is_image = path.lower().endswith("/imageserver")
    if not is_image:
        path = path[: path.lower().index("/mapserver") + len("/mapserver")]
    return f"{parts.scheme}://{parts.netloc}{path}", parts.query, is_image


def _layer_of(address: str) -> str:
    tail = urlsplit(address).path.rstrip("/").rpartition("/")[2]
    return tail if tail.isdigit() else ""


def _joined(query: str, **values: object) -> str:
    """Parameters of a request, with those that the address had, such as a token."""
    own = urlencode(values, safe=",:")
    kept = "&".join(part for part in query.split("&") if part and part.partition("=")[0].lower() not in values)
    return f"{kept}&{own}" if kept else own


def _image_service(base: str, query: str, facts: dict[str, Any], name: str) -> Export:
    crs, wkid = _crs(facts)
    count, kind = int(facts.get("bandCount", 1)), str(facts.get("pixelType", "U8"))
    if kind not in DTYPES:
        raise RasterError(tr("{name} has pixels of type {kind}, which models cannot take.", name=name, kind=kind))
    names = facts.get("bandNames") or []
    given = tuple(map(str, names)) if len(names) == count else ("",) * count

    def address(bounds: Bounds, width: int, height: int, bands: tuple[int, ...]) -> str:
        values = {
            "bbox": _numbers(bounds), "bboxSR": wkid, "imageSR": wkid, "size": f"{width},{height}", "format": "tiff",
            "pixelType": kind, "interpolation": "RSP_BilinearInterpolation" if _resamples(bounds, width, cell_size) else
            "RSP_NearestNeighbor", "adjustAspectRatio": "false", "f": "image",
            **({} if bands == tuple(range(count)) else {"bandIds": ",".join(map(str, bands))}),
        }  # fmt: skip
        return f"{base}/exportImage?{_joined(query, **values)}"

    cell_size = float(facts.get("pixelSizeX", 1)), float(facts.get("pixelSizeY", 1))
    low, high = facts.get("minValues") or [], facts.get("maxValues") or []
    ranges = tuple((float(a), float(b)) for a, b in zip(low, high)) if len(low) == len(high) == count else None
    return Export(
        name, crs, address, _bounds(facts.get("extent"), name), cell_size, DTYPES[kind], given, _nodata(facts), ranges,
        _largest(facts), is_map=False,
    )  # fmt: skip


def _resamples(bounds: Bounds, width: int, cell_size: tuple[float, float]) -> bool:
    return not math.isclose((bounds[2] - bounds[0]) / width, cell_size[0], rel_tol=1e-6)


def _cached_map(base: str, query: str, facts: dict[str, Any], name: str) -> Pyramid:
    crs, _ = _crs(facts)
    info = facts["tileInfo"]
    origin, size = (float(info["origin"]["x"]), float(info["origin"]["y"])), (int(info["cols"]), int(info["rows"]))
    levels = [Level(str(lod["level"]), float(lod["resolution"]), origin, size) for lod in info["lods"]]
    tail = f"?{query}" if query else ""
    return Pyramid(
        name, crs, exact(levels, crs), lambda level, column, row: f"{base}/tile/{level}/{row}/{column}{tail}",
        _bounds(facts.get("fullExtent"), name),
    )  # fmt: skip


def _drawn_map(base: str, query: str, facts: dict[str, Any], name: str, layer: str) -> Export:
    crs, wkid = _crs(facts)
    chosen = {"layers": f"show:{layer}"} if layer else {}

    def address(bounds: Bounds, width: int, height: int, _: tuple[int, ...]) -> str:
        values = {
            "bbox": _numbers(bounds), "bboxSR": wkid, "imageSR": wkid, "size": f"{width},{height}", "format": "png32",
            "transparent": "true", "dpi": 96, "f": "image", **chosen,
        }  # fmt: skip
        return f"{base}/export?{_joined(query, **values)}"

    return Export(name, crs, address, _bounds(facts.get("fullExtent"), name), None, "uint8", COLORS, largest=_largest(facts))


def _crs(facts: dict[str, Any]) -> tuple[str, str]:
    """A service's CRS as WKT, and as its parameters name it."""
    extent = facts.get("extent") or facts.get("fullExtent") or {}
    reference = facts.get("spatialReference") or extent.get("spatialReference") or {}
    if text := reference.get("wkt") or reference.get("wkt2"):
        return str(reference_of(str(text)).ExportToWkt()), json.dumps({"wkt": text})
    number = reference.get("latestWkid") or reference.get("wkid")
    for authority in ("EPSG", "ESRI"):
        try:
            return str(reference_of(f"{authority}:{number}").ExportToWkt()), str(reference.get("wkid") or number)
        except RasterError:
            continue
    raise RasterError(tr("The service has the unknown spatial reference {reference}.", reference=json.dumps(reference)))


def _bounds(extent: Any, name: str) -> Bounds:  # noqa: ANN401 - JSON
    try:
        return float(extent["xmin"]), float(extent["ymin"]), float(extent["xmax"]), float(extent["ymax"])
    except (TypeError, KeyError, ValueError) as error:
        raise RasterError(tr("{name} does not tell its extent.", name=name)) from error


def _nodata(facts: dict[str, Any]) -> float | None:
    values = facts.get("noDataValues")
    value = facts.get("noDataValue") if not isinstance(values, list) or not values else values[0]
    return float(value) if isinstance(value, (int, float)) else None


def _largest(facts: dict[str, Any]) -> tuple[int, int]:
    return int(facts.get("maxImageWidth") or 2048), int(facts.get("maxImageHeight") or 2048)


def _numbers(bounds: Bounds) -> str:
    return ",".join(f"{value:.15g}" for value in bounds)
