"""Opens what is to be searched: each raster at its cell size, with the part of it that counts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from ..inference.errors import RasterError
from ..inference.feedback import stop_if_canceled
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
        stop_if_canceled(wish.feedback)
        try:
            items.append(_item(source, area, len(sources) > 1))
        except RasterError as error:
            outside.append(error)
    if not items:
        raise outside[0]
    if outside:
        wish.feedback.info(tr("Rasters: {count} lie outside the extent or mask and are left out", count=len(outside)))
    without = next((item.source.name for item in items if not item.source.grid.crs), None)
    if without is not None and items[0].source.grid.crs and not wish.mixes:
        raise RasterError(
            tr("{name} has no CRS, but the first raster has one. Give it one, or search it by itself.", name=without)
        )
    if without is not None and not wish.mixes:
        wish.feedback.warning(tr("The raster has no CRS, so the output has none either."))
    return tuple(items)


def _item(source: RasterSource, area: Area, is_one_of_many: bool) -> Item:
    crs = crs_of(source.grid.crs)
    bounds = area.bounds_in(crs)
    extent = source.grid.window if bounds is None else source.grid.window_of_extent(bounds)
    mask = area.mask_in(crs)
    if mask is not None:
        from ..inference.rasters.masked import MaskedRaster, clipped

        mask = clipped(mask, source.grid.bounds_of(extent)) if is_one_of_many else mask
        source = MaskedRaster(source, mask)
    return Item(source, extent, area.region_in(crs), mask)
