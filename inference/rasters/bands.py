"""Names of bands: what a raster calls them, and when two names mean the same."""

from __future__ import annotations

from osgeo import gdal

_KNOWN = (
    ("coastal", "coastalaerosol", "ultrablue", "violet"),
    ("blue",),
    ("green",),
    ("red",),
    ("rededge", "vegetationrededge", "re", "rededge1"),
    ("nir", "nearinfrared", "nearinfrared1", "infrared", "nir1"),
    ("nir2", "nearinfrared2"),
    ("swir1", "shortwaveinfrared1", "swir16"),
    ("swir2", "shortwaveinfrared2", "swir22"),
    ("pan", "panchromatic"),
    ("cirrus",),
)
"""Common names of bands: those of Esri's sensors, of STAC (eo:bands) and of GDAL, as `band_key` writes them."""
_SAME = {name: names[0] for names in _KNOWN for name in names}


def band_key(name: str) -> str:
    """A name by which bands are compared: without case, blanks and signs, and one for all that mean the same."""
    plain = "".join(letter for letter in name.casefold() if letter.isalnum())
    return _SAME.get(plain, plain)


def names_of(dataset: gdal.Dataset) -> tuple[str, ...]:
    """Descriptions of bands; colours where there are none; empty text where nothing is known."""
    return tuple(_name(dataset.GetRasterBand(number + 1)) for number in range(dataset.RasterCount))


def alpha_of(dataset: gdal.Dataset) -> int | None:
    """Which band (from 0) is the alpha band."""
    interpretations = [dataset.GetRasterBand(number + 1).GetColorInterpretation() for number in range(dataset.RasterCount)]
    return interpretations.index(gdal.GCI_AlphaBand) if gdal.GCI_AlphaBand in interpretations else None


def _name(band: gdal.Band) -> str:
    if description := band.GetDescription():
        return str(description)
    color = gdal.GetColorInterpretationName(band.GetColorInterpretation())
    return "" if color in ("Undefined", "Gray", "Palette") else str(color)
