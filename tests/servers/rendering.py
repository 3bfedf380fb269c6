"""Pictures of eight bits for looking at, as map services and browsers have them."""

from __future__ import annotations

import numpy

from servers.cutting import Cut, Pixels, encoded

FORMATS = {"png": True, "png8": True, "png24": False, "png32": True, "jpg": False}  # whether it can be transparent
KINDS = {"png": "image/png", "jpg": "image/jpeg"}


def picture(area: Cut, form: str, transparent: bool, limits: tuple[float, float] | None = None) -> tuple[bytes, str]:
    """The picture and its media type. Bytes stay what they are; other values are stretched between the limits."""
    shown = area.values[:3] if len(area.values) >= 3 else area.values[:1]
    if form == "jpgpng":  # JPEG where the picture is full, PNG where it has holes
        form = "jpg" if area.valid.all() else "png32"
    grey = stretched(shown, limits)
    colours = numpy.repeat(grey, 3, axis=0) if len(grey) == 1 else grey
    alpha = numpy.where(area.valid, 255, 0).astype(numpy.uint8)[None]
    if transparent and FORMATS[form]:
        colours = numpy.concatenate([numpy.where(area.valid, colours, 0).astype(numpy.uint8), alpha])
    else:
        colours = numpy.where(area.valid, colours, 255).astype(numpy.uint8)
    if form == "jpg":
        return encoded(colours, "JPEG", ["QUALITY=90"]), KINDS["jpg"]
    return encoded(colours, "PNG", []), KINDS["png"]


def stretched(values: Pixels, limits: tuple[float, float] | None) -> Pixels:
    """Eight bits of any values."""
    if values.dtype == numpy.uint8:
        return values
    low, high = limits or (float(values.min()), float(values.max()))
    span = (high - low) or 1.0
    return numpy.clip(numpy.nan_to_num((values.astype(numpy.float64) - low) / span) * 255, 0, 255).astype(numpy.uint8)
