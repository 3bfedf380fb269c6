"""What the engine needs of a raster, wherever its pixels come from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from ..grid import Grid, Window


class Validity(Enum):
    """What the pixels of a window are worth."""

    EMPTY = "no pixel is valid"
    PARTIAL = "the mask tells which pixels are valid"
    FULL = "all pixels are valid"


class ValueRange(NamedTuple):
    """Lowest and highest value of a band, and how they are known, for users."""

    low: float
    high: float
    origin: str


@dataclass(frozen=True)
class Gap:
    """What of a window could not be had: pixels of the grid, which do not overlap, and why."""

    windows: tuple[Window, ...]
    reason: str


class RasterSource(Protocol):
    """A raster that can be read by windows, also by several threads, each with its own clone."""

    @property
    def grid(self) -> Grid:
        """Size, affine, CRS, pixel type and band names."""

    @property
    def name(self) -> str:
        """What users know it by; without its address, which may hold credentials."""

    @property
    def identity(self) -> str:
        """What makes it the same raster tomorrow: name, size and time of its files, or the like, when it was opened."""

    def has_changed(self, identity: str) -> bool:
        """Whether it is now another one than that with this identity."""

    @property
    def gap(self) -> Gap | None:
        """What the last `read` did not get, such as tiles that a server has not; those pixels are invalid."""

    @property
    def may_recover(self) -> bool:
        """Whether a read that failed may succeed a little later, as from a server."""

    def mask_bands(self, bands: tuple[int, ...]) -> int:
        """How many bands a mask has for these bands: 1 when they share one, else their number."""

    def value_range(self, band: int) -> ValueRange:
        """Lowest and highest value of a band (from 0), the same for every window."""

    def read(self, window: Window, bands: tuple[int, ...], out: NDArray[Any], mask: NDArray[Any]) -> Validity:
        """Read pixels; what lies beyond the raster becomes 0, and 0 in the mask.

        Args:
            window: Pixels of the grid; may reach beyond the raster.
            bands: Bands from 0, in the order wanted.
            out: (bands, height, width) in the grid's dtype.
            mask: (mask_bands, height, width) uint8; filled with 1 and 0 when the answer is PARTIAL.

        Raises:
            RasterError: The pixels cannot be read.
        """

    def coarser(self, factor: float) -> RasterSource | None:
        """The same raster with pixels that many times larger, to look at; None where reading it would take long."""

    def clone(self) -> RasterSource:
        """The same raster for another thread."""

    def close(self) -> None:
        """Let go of files and connections; they are opened again when they are needed."""
