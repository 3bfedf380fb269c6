"""Estimates how much GDAL keeps of what it has decoded for a dataset, as it does not tell."""

from __future__ import annotations

from typing import Any

from osgeo import gdal

from ..grid import Window

FLUSH_AFTER = 24 << 20
"""Bytes of a dataset after which GDAL's cached blocks of it are dropped: GDAL's own limit is a share of the machine's memory."""


class Decoded:
    """The blocks of a dataset that were read since its cache was dropped: small windows far apart decode a block each."""

    def __init__(self, dataset: Any) -> None:  # noqa: ANN401 - GDAL has no type stubs
        bands = [dataset.GetRasterBand(number + 1) for number in range(dataset.RasterCount)]
        self._width, self._height = bands[0].GetBlockSize()
        self._bytes = self._width * self._height * sum(max(-(-_bits(band) // 8), 1) for band in bands)
        self._blocks: set[tuple[int, int]] = set()
        self._others = 0

    def is_much(self, window: Window) -> bool:
        """Count the blocks under a window of the dataset's own pixels; whether it is time to drop the cache."""
        columns = range(window.column // self._width, (window.column + window.width - 1) // self._width + 1)
        for row in range(window.row // self._height, (window.row + window.height - 1) // self._height + 1):
            self._blocks.update((column, row) for column in columns)
        return self._is_over()

    def is_much_with(self, size: int) -> bool:
        """Count bytes that come from overviews, whose blocks are not known; alike."""
        self._others += size
        return self._is_over()

    def _is_over(self) -> bool:
        if len(self._blocks) * self._bytes + self._others <= FLUSH_AFTER:
            return False
        self._blocks.clear()
        self._others = 0
        return True


def _bits(band: Any) -> int:  # noqa: ANN401
    return int(gdal.GetDataTypeSize(band.DataType))
