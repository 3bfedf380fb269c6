"""Makes one raster of many, on the fly: a virtual raster (VRT) in the CRS of the first, the first one on top."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from osgeo import gdal, gdal_array

from ..errors import RasterError
from ..reprojection import reference_of
from ..translation import tr
from .collections import Piece
from .files import files_of
from .opening import has_place, opened
from .preparing import prepared, text_of

SAME_SIZE = 1e-6
"""Pixels whose sides differ by less than this share of them are of one size."""


@dataclass(frozen=True)
class _Like:
    """What all rasters of a mosaic are brought to: that of the first."""

    crs: str
    x_size: float
    y_size: float
    bands: int
    dtype: str


def mosaic_of(
    pieces: Sequence[Piece],
    cell_size: float | None = None,
    unscale: bool = False,
    headers: str = "",
    check: Callable[[], None] = lambda: None,
) -> tuple[str, tuple[str, ...]]:
    """The text of a virtual raster, which GDAL opens, and all files that it is made of.

    Args:
        pieces: The rasters; where they overlap, the first one counts.
        cell_size: Side of a pixel in units of the first one's CRS; None for its own.
        unscale: Whether scale and offset of bands are applied.
        headers: Sent to servers, such as Authorization.
        check: Called for each raster; raises to stop.

    Raises:
        RasterError: One cannot be opened, has no place on the ground, or has other bands than the first.
    """
    like: _Like | None = None
    parts: list[_Part] = []
    files: list[str] = []
    for piece in pieces:
        check()
        dataset = _opened(piece, headers)
        files += files_of(dataset)
        text = prepared(dataset, unscale)
        dataset = dataset if text is None else gdal.Open(text)
        like = like or _like(dataset, cell_size)
        parts.append(_part(_brought(dataset, piece, like)))
        dataset = None
    if like is None:
        raise RasterError(tr("There is no raster to make a mosaic of."))
    is_one_nodata = len({part.nodata for part in parts}) == 1
    paths = [part.path if is_one_nodata else part.with_mask() for part in parts]
    options = gdal.BuildVRTOptions(
        resolution="user", xRes=like.x_size, yRes=like.y_size, addAlpha=all(part.is_open for part in parts),
        VRTNodata=parts[0].nodata if is_one_nodata else None, strict=True,
        resampleAlg="average" if min(part.side for part in parts) < like.x_size * (1 - SAME_SIZE) else "bilinear",
    )  # fmt: skip
    try:
        # Where rasters overlap, GDAL shows the last one.
        mosaic = gdal.BuildVRT("", paths[::-1], options=options)
    except RuntimeError as error:
        raise RasterError(tr("The rasters cannot be put together: {error}.", error=error)) from error
    if mosaic is None:
        raise RasterError(tr("The rasters cannot be put together: {error}.", error=gdal.GetLastErrorMsg()))
    return text_of(mosaic), tuple(dict.fromkeys(files))


@dataclass(frozen=True)
class _Part:
    """A raster that is ready for the mosaic: how GDAL opens it, NoData, whether all of it is valid, and the side of a pixel."""

    path: str
    nodata: float | None
    is_open: bool
    side: float

    def with_mask(self) -> str:
        """With a mask in the place of NoData, which would hide pixels of that value in rasters that mean them."""
        if self.nodata is None:
            return self.path
        return text_of(gdal.Translate("", gdal.Open(self.path), format="VRT", noData="none", maskBand="mask,1"))


def _part(dataset: Any) -> _Part:  # noqa: ANN401 - GDAL has no type stubs
    band = dataset.GetRasterBand(1)
    path, is_open = dataset.GetDescription() or text_of(dataset), band.GetMaskFlags() == gdal.GMF_ALL_VALID
    return _Part(path, band.GetNoDataValue(), is_open, abs(dataset.GetGeoTransform()[1]))


def _opened(piece: Piece, headers: str) -> Any:  # noqa: ANN401 - GDAL has no type stubs
    dataset = opened(piece.path, headers, piece.name)
    if not has_place(dataset):
        raise RasterError(
            tr("{path} does not say where it lies, so it cannot be a part of a mosaic. Choose PROCESS_ITEMS_SEPARATELY for such "
               "images.", path=piece.name)
        )  # fmt: skip
    return dataset


def _like(dataset: Any, cell_size: float | None) -> _Like:  # noqa: ANN401
    transform = dataset.GetGeoTransform()
    x_size, y_size = math.hypot(transform[1], transform[4]), math.hypot(transform[2], transform[5])
    return _Like(dataset.GetProjection(), cell_size or x_size, cell_size or y_size, dataset.RasterCount, _dtype(dataset))


def _dtype(dataset: Any) -> str:  # noqa: ANN401
    codes = [dataset.GetRasterBand(number + 1).DataType for number in range(dataset.RasterCount)]
    return str(np.result_type(*map(gdal_array.GDALTypeCodeToNumericTypeCode, codes)))


def _brought(dataset: Any, piece: Piece, like: _Like) -> Any:  # noqa: ANN401
    """The raster in the CRS of the first, with its kind of pixels and without rotation."""
    if dataset.RasterCount != like.bands:
        raise RasterError(
            tr("{path} has {count} bands, but the first raster has {first}. Rasters of a mosaic need the same bands; "
               "PROCESS_ITEMS_SEPARATELY needs them too, if the model does not name its bands.", path=piece.name,
               count=dataset.RasterCount, first=like.bands)
        )  # fmt: skip
    transform, crs = dataset.GetGeoTransform(), dataset.GetProjection()
    is_elsewhere = bool(crs and like.crs) and crs != like.crs and not reference_of(crs).IsSame(reference_of(like.crs))
    if is_elsewhere or transform[2] or transform[4]:
        dataset = _warped(dataset, like)
    if _dtype(dataset) != like.dtype:
        code = gdal_array.NumericTypeCodeToGDALTypeCode(np.dtype(like.dtype))
        dataset = gdal.Translate("", dataset, format="VRT", outputType=code)
    return dataset


def _warped(dataset: Any, like: _Like) -> Any:  # noqa: ANN401
    """North up in the CRS of the first; with a mask where nothing else would tell what lies outside of the raster."""
    band = dataset.GetRasterBand(1)
    is_open = band.GetNoDataValue() is None and not band.GetMaskFlags() & gdal.GMF_ALPHA
    warped = gdal.Warp(
        "", dataset, format="VRT", dstSRS=like.crs or None, xRes=like.x_size, yRes=like.y_size, targetAlignedPixels=True,
        resampleAlg="bilinear", dstAlpha=is_open,
    )  # fmt: skip
    if not is_open:
        return warped
    bands = list(range(1, like.bands + 1))
    return gdal.Translate("", gdal.Open(text_of(warped)), format="VRT", bandList=bands, maskBand=like.bands + 1)
