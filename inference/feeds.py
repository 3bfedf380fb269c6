"""How the pixels of a raster reach the function: which bands, and scaled to which range."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rasters.source import RasterSource, ValueRange
from .slots import part_bytes


@dataclass(frozen=True)
class Scaling:
    """Linear scaling of pixels to the model's data range (CONTRACT 3.4), one factor and offset a band."""

    factors: NDArray[Any]
    offsets: NDArray[Any]
    ranges: tuple[ValueRange, ...]

    @classmethod
    def of(cls, source: RasterSource, bands: tuple[int, ...], data_range: tuple[float, float]) -> Scaling:
        """From the actual range of each band, the same for all blocks."""
        low, high = data_range
        known = tuple(source.value_range(band) for band in bands)
        ranges = np.array([(each.low, each.high) for each in known], float)
        span = ranges[:, 1] - ranges[:, 0]
        factors = np.divide(high - low, span, out=np.zeros_like(span), where=span > 0)
        return cls(factors, low - ranges[:, 0] * factors, known)

    def apply(self, raw: NDArray[Any], out: NDArray[Any]) -> None:
        """Scale pixels (bands, height, width) into a float32 array."""
        np.multiply(raw, self.factors[:, None, None], out=out, casting="unsafe")
        out += self.offsets[:, None, None].astype(out.dtype)


@dataclass(frozen=True)
class Feed:
    """How the pixels of one item reach the function.

    Attributes:
        source: The raster.
        bands: Bands to read, in the order wanted.
        scaling: How pixels are scaled; None to leave them in their own dtype.
    """

    source: RasterSource
    bands: tuple[int, ...]
    scaling: Scaling | None

    @property
    def dtype(self) -> str:
        """Numpy's name of the dtype of blocks in slots."""
        return "float32" if self.scaling is not None else self.source.grid.dtype

    def slot_bytes(self, pixels: int) -> int:
        """What so many pixels of all bands take in a slot, with their mask."""
        return part_bytes(pixels * len(self.bands) * np.dtype(self.dtype).itemsize, pixels * self.mask_bands)

    @cached_property
    def mask_bands(self) -> int:
        """Bands that a mask in a slot has."""
        return self.source.mask_bands(self.bands)
