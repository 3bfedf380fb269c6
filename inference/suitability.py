"""Whether a raster looks like what a model was trained on: bands, pixel type and cell size."""

from __future__ import annotations

import math
from typing import Any

from osgeo import osr

from .definition import ModelDefinition
from .grid import Grid
from .translation import tr

MAXIMUM_FACTOR = 2.0
"""Cell sizes further than this from the trained ones are warned about (CONTRACT 2, MinCellSize)."""
LARGEST_CELL = 1e9
"""A cell size beyond this is no cell size."""
METRES_PER_DEGREE = 111_320.0
"""At the equator."""


def doubts(definition: ModelDefinition, grid: Grid) -> list[str]:
    """One sentence for each way in which the raster differs from what the model is likely to want."""
    found = [_bands(definition, grid), _pixel_type(definition, grid), _cell_size(definition, grid)]
    return [text for text in found if text]


def trained_cell_sizes(definition: ModelDefinition) -> tuple[float, float] | None:
    """The smallest and the largest cell size that the model was trained on, in metres; None where it does not tell."""
    sizes = [_metres_of(definition.values.get(key)) for key in ("MinCellSize", "MaxCellSize")]
    known = [size for size in sizes if size is not None]
    return (min(known), max(known)) if known else None


def cell_size_in_metres(grid: Grid) -> float | None:
    """The larger side of a pixel on the ground; None without a CRS."""
    reference = _reference(grid.crs)
    if reference is None:
        return None
    size = max(grid.affine.cell_size)
    if not reference.IsGeographic():
        return float(size * reference.GetLinearUnits())
    middle = grid.affine.y + grid.affine.row_y * grid.height / 2 + grid.affine.column_y * grid.width / 2
    return float(size * METRES_PER_DEGREE * max(math.cos(math.radians(min(abs(middle), 90.0))), 0.01))


def _bands(definition: ModelDefinition, grid: Grid) -> str:
    bands = definition.values.get("ExtractBands")
    numbers = [band for band in bands if isinstance(band, int)] if isinstance(bands, list) else []
    if not numbers or max(numbers) < len(grid.band_names):
        return ""
    return tr(
        "The model reads band {number}, but the raster has {count} band(s).", number=max(numbers) + 1, count=len(grid.band_names)
    )


def _pixel_type(definition: ModelDefinition, grid: Grid) -> str:
    """Without statistics of its own a network of ArcGIS divides by 255 (CONTRACT 2, NormalizationStats)."""
    values = definition.values
    statistics = values.get("NormalizationStats")
    highest = statistics.get("band_max_values") if isinstance(statistics, dict) else None
    numbers = [value for value in highest if isinstance(value, (int, float))] if isinstance(highest, list) else []
    if values.get("DataRange") or (grid.dtype == "uint8" and not numbers):
        return ""
    if not numbers:
        return tr("The raster has {dtype} pixels, but the model probably wants 8 bit (0 to 255).", dtype=grid.dtype)
    if grid.dtype == "uint8" and max(numbers) > 255:  # noqa: PLR2004 - the highest value of 8 bit
        return tr("The raster has 8-bit pixels, but the model was trained on values up to {most:g}.", most=max(numbers))
    return ""


def _cell_size(definition: ModelDefinition, grid: Grid) -> str:
    trained, size = trained_cell_sizes(definition), cell_size_in_metres(grid)
    if trained is None or size is None or trained[0] / MAXIMUM_FACTOR <= size <= trained[1] * MAXIMUM_FACTOR:
        return ""
    return tr(
        "The raster has a cell size of {size}, but the model was trained on {trained}. Set the cell size (CELL_SIZE), or "
        "expect it to miss objects.", size=length(size), trained=span(trained),
    )  # fmt: skip


def span(sizes: tuple[float, float]) -> str:
    """A range of cell sizes for users."""
    low, high = map(length, sizes)
    return low if low == high else tr("{low} to {high}", low=low, high=high)


def length(metres: float) -> str:
    """A length for users, in centimetres below a metre."""
    return tr("{size:.3g} cm", size=metres * 100) if metres < 0.995 else tr("{size:.3g} m", size=metres)  # noqa: PLR2004


def _metres_of(value: Any) -> float | None:  # noqa: ANN401 - any value of JSON
    if not isinstance(value, dict):
        return None
    sides = [value.get(axis) for axis in ("x", "y")]
    known = [abs(float(side)) for side in sides if isinstance(side, (int, float)) and 0 < abs(side) < LARGEST_CELL]
    if not known:
        return None
    reference = value.get("spatialReference")
    wkid = reference.get("latestWkid") or reference.get("wkid") if isinstance(reference, dict) else None
    return max(known) * _unit(wkid)


def _unit(wkid: object) -> float:
    """Metres in a unit of a spatial reference of Esri's; metres are assumed where it is not known."""
    if not isinstance(wkid, int):
        return 1.0
    reference = osr.SpatialReference()
    for authority in ("EPSG", "ESRI"):
        try:
            if reference.SetFromUserInput(f"{authority}:{wkid}") == 0:
                return METRES_PER_DEGREE if reference.IsGeographic() else float(reference.GetLinearUnits())
        except RuntimeError:
            continue
    return 1.0


def _reference(wkt: str) -> Any:  # noqa: ANN401 - GDAL has no type stubs
    if not wkt:
        return None
    reference = osr.SpatialReference()
    try:
        return reference if reference.ImportFromWkt(wkt) == 0 else None
    except RuntimeError:
        return None
