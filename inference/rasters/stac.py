"""Reads STAC item collections and single items: which files hold the pixels of each item (stacspec.org, 1.0)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin

from osgeo import gdal

from ..errors import RasterError
from ..translation import tr

LARGEST = 256 << 20
"""Bytes of a STAC file that are read at most."""
_IMAGES = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff")
_NO_DATA_ROLES = {"thumbnail", "overview", "metadata", "cloud", "cloud-optimized-metadata", "snow-ice", "reflectance-metadata"}
_WHOLE = ("image", "data", "visual", "analytic", "ortho", "rgb", "rgbir")
"""Keys of assets that hold all bands of an item."""


def is_stac(path: str) -> bool:
    """Whether a JSON file is a STAC item, or a collection of them."""
    try:
        with open(path, encoding="utf-8") as file:
            return '"stac_version"' in file.read(1 << 20)
    except (OSError, UnicodeDecodeError):
        return False


def items_of(path: str, check: Callable[[], None] = lambda: None) -> Iterator[tuple[str, str]]:
    """Where the pixels of each item lie, as GDAL or a virtual raster takes it, and the item's id; `check` may raise to stop.

    Raises:
        RasterError: The file cannot be read, or an item has no asset with pixels.
    """
    try:
        if os.path.getsize(path) > LARGEST:
            raise RasterError(tr("{path} is too large for a STAC file.", path=path))
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise RasterError(tr("{path} cannot be read as STAC: {error}.", path=path, error=error)) from error
    features = content.get("features", [content]) if isinstance(content, dict) else []
    for feature in features:
        check()
        yield _pixels_of(feature, path), str(feature.get("id", "?"))


def _pixels_of(feature: Any, path: str) -> str:  # noqa: ANN401 - JSON
    assets = feature.get("assets") if isinstance(feature, dict) else None
    images = {key: asset for key, asset in (assets or {}).items() if isinstance(asset, dict) and _has_pixels(asset)}
    whole = next((images[key] for key in _WHOLE if key in images), None)
    whole = whole or max(images.values(), key=lambda asset: len(_bands(asset)), default=None)
    if whole is None:
        raise RasterError(
            tr("The STAC item {name} in {path} has no asset with pixels (GeoTIFF or JPEG 2000).", name=feature.get("id", "?")
               if isinstance(feature, dict) else "?", path=path)
        )  # fmt: skip
    singles = [asset for asset in images.values() if len(_bands(asset)) == 1]
    if len(_bands(whole)) > 1 or len(singles) < 2:  # noqa: PLR2004 - bands in files of their own are two or more
        return _address(whole, path)
    return _stacked(singles, path)


def _has_pixels(asset: dict[str, Any]) -> bool:
    kind, roles = str(asset.get("type", "")).lower(), set(asset.get("roles") or [])
    is_image = kind.startswith(_IMAGES) or (not kind and str(asset.get("href", "")).lower().endswith((".tif", ".tiff", ".jp2")))
    return is_image and not roles & _NO_DATA_ROLES


def _bands(asset: dict[str, Any]) -> list[Any]:
    bands = asset.get("eo:bands") or asset.get("bands") or []
    return bands if isinstance(bands, list) else []


def _address(asset: dict[str, Any], path: str) -> str:
    href = str(asset.get("href", ""))
    if "://" in href or os.path.isabs(href):
        return href
    return urljoin(path, href) if "://" in path else os.path.normpath(os.path.join(os.path.dirname(path), href))


def _stacked(assets: list[dict[str, Any]], path: str) -> str:
    """Bands that lie in a file each, as one virtual raster with their names; the finest pixels count."""
    from .collections import gdal_path
    from .preparing import text_of

    files = [gdal_path(_address(asset, path)) for asset in assets]
    try:
        stacked = gdal.BuildVRT("", files, separate=True, resolution="highest", resampleAlg="bilinear")
    except RuntimeError as error:
        raise RasterError(tr("The bands of a STAC item cannot be put together: {error}.", error=error)) from error
    if stacked is None or stacked.RasterCount != len(files):
        raise RasterError(tr("The bands of a STAC item cannot be put together: {error}.", error=gdal.GetLastErrorMsg()))
    for number, asset in enumerate(assets, 1):
        band = _bands(asset)[0]
        name = (band.get("common_name") or band.get("eo:common_name") or band.get("name")) if isinstance(band, dict) else ""
        stacked.GetRasterBand(number).SetDescription(str(name or ""))
    return text_of(stacked)
