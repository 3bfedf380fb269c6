"""Opens rasters with GDAL and reads off their grids."""

from __future__ import annotations

import math
import os
from dataclasses import replace

import numpy as np
from osgeo import gdal, gdal_array

from ..errors import RasterError
from ..grid import ROUNDING, WITHOUT_GEOREFERENCE, Affine, Grid
from ..secrets import without_credentials
from ..translation import tr
from .bands import alpha_of, names_of
from .files import REMOTE, forget_failures, patient
from .preparing import is_virtual

TINY = 1e-6
"""Pixels that nobody can see."""


def raster_error(text: str) -> RasterError:
    """An error of GDAL's on one line, without credentials."""
    return RasterError(without_credentials(text.replace("\n", " ")))


def opened(path: str, headers: str = "", name: str = "") -> gdal.Dataset:
    """A dataset with bands; `headers` are sent to a server, `name` is what users know it by.

    Raises:
        RasterError: It cannot be opened, or has none.
    """
    with patient(path.startswith(REMOTE) or is_virtual(path), headers):
        try:
            dataset = gdal.OpenEx(path, gdal.OF_RASTER | gdal.OF_VERBOSE_ERROR)
            reason = gdal.GetLastErrorMsg()
        except RuntimeError as error:
            dataset, reason = None, str(error)
    if dataset is None and path.startswith(REMOTE):
        forget_failures(path)  # another time it may be there, or be asked for by somebody who may
    path = name or (tr("made of several") if is_virtual(path) else path)
    if dataset is None:
        raise raster_error(tr("The raster {path} cannot be opened: {error}.", path=path, error=reason or tr("unknown format")))
    if dataset.RasterCount == 0:
        raise raster_error(tr("{path} has no bands of its own. If it holds several rasters, choose one of them.", path=path))
    return dataset


def name_of(dataset: gdal.Dataset, files: list[str]) -> str:
    """What users know a dataset by."""
    return os.path.basename(files[0]) if files else str(dataset.GetDriver().ShortName)


def has_place(dataset: gdal.Dataset) -> bool:
    """Whether a dataset says where its pixels lie."""
    known = dataset.GetGeoTransform(can_return_null=True) is not None
    return bool(known or dataset.GetGCPCount() or dataset.GetMetadata("RPC"))


def own_grid(dataset: gdal.Dataset, name: str, crs: str | None) -> Grid:
    """The grid of a dataset, with another CRS (WKT) if one is given.

    Raises:
        RasterError: Its pixels are complex, or its georeference is broken.
    """
    bands = [dataset.GetRasterBand(number + 1) for number in range(dataset.RasterCount)]
    codes = [gdal_array.GDALTypeCodeToNumericTypeCode(band.DataType) for band in bands]
    if any(code is None or np.dtype(code).kind == "c" for code in codes):
        raise raster_error(tr("{path} has complex pixels, which models cannot take.", path=name))
    transform = dataset.GetGeoTransform(can_return_null=True)
    affine = Affine(*transform) if transform is not None else WITHOUT_GEOREFERENCE
    if affine.column_x * affine.row_y == affine.row_x * affine.column_y:
        raise raster_error(tr("{path} has a broken georeference: {transform}.", path=name, transform=transform))
    return Grid(
        dataset.RasterXSize,
        dataset.RasterYSize,
        affine,
        dataset.GetProjection() if crs is None else crs,
        np.result_type(*codes).name,
        names_of(dataset),
        alpha_of(dataset),
    )


def spans(start: int, length: int, available: float) -> list[tuple[int, int]]:
    """A range of columns or rows, cut where the last one begins that the raster fills only in part."""
    whole = math.floor(available + ROUNDING)
    if start < whole < start + length:
        return [(start, whole - start), (whole, start + length - whole)]
    return [(start, length)]


def span_of(start: float, length: float, available: int) -> tuple[float, float]:
    """Begin and length of what GDAL reads of so many columns or rows.

    GDAL rounds both to whole pixels to see whether they are inside: at a begin of 17.5 the rest of the raster would not be.
    """
    length = min(length, available - start)
    is_inside = math.floor(start + 0.5) + math.floor(length + 0.5) <= available
    return (start if is_inside else start - TINY), length


def at_cell_size(own: Grid, cell_size: float | None) -> tuple[Grid, tuple[float, float]]:
    """The grid at a cell size, and how many of the raster's own pixels one of its pixels spans in x and y."""
    if cell_size is None or all(math.isclose(side, cell_size, rel_tol=1e-9) for side in own.affine.cell_size):
        return own, (1.0, 1.0)
    x_factor, y_factor = (cell_size / side for side in own.affine.cell_size)
    width, height = max(math.ceil(own.width / x_factor - ROUNDING), 1), max(math.ceil(own.height / y_factor - ROUNDING), 1)
    return replace(own, width=width, height=height, affine=own.affine.scaled(x_factor, y_factor)), (x_factor, y_factor)
