"""Opens what is to be searched: each raster at its cell size, with the part of it that counts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from ..inference.errors import RasterError
from ..inference.item import Item
from ..inference.rasters.source import RasterSource
from ..inference.translation import tr
from .area import Area
from .rasters.raster_input import RasterInput, Wish, crs_of


def opened(rasters: RasterInput, wish: Wish, area: Area, stack: ExitStack) -> tuple[Item, ...]:
    """The items of a run; those that the area does not touch are left out, and said to be.

    Args:
        rasters: What the user gave.
        wish: How to open it.
        area: What of it is searched.
        stack: Closes the rasters.

    Raises:
        InferenceError: A raster cannot be opened, or the area touches none.
    """
    sources: Sequence[RasterSource] = rasters.open(wish)
    for source in sources:
        stack.callback(source.close)
    items = []
    outside: list[RasterError] = []
    for source in sources:
        try:
            items.append(_item(source, area))
        except RasterError as error:
            outside.append(error)
    if not items:
        raise outside[0]
    if outside:
        wish.feedback.info(tr("Rasters: {count} lie outside the extent or mask and are left out", count=len(outside)))
    if not items[0].source.grid.crs:
        wish.feedback.warning(tr("The raster has no CRS, so the detections have none either."))
    return tuple(items)


def _item(source: RasterSource, area: Area) -> Item:
    crs = crs_of(source.grid.crs)
    bounds = area.bounds_in(crs)
    extent = source.grid.window if bounds is None else source.grid.window_of_extent(bounds)
    mask = area.mask_in(crs)
    if mask is not None:
        from ..inference.rasters.masked import MaskedRaster

        source = MaskedRaster(source, mask)
    return Item(source, extent, area.region_in(crs), mask)
