"""What rasters over another raster have in common: they hand on what they do not change."""

from __future__ import annotations

from .source import Gap, RasterSource, ValueRange


class OverRaster:
    """Most of a RasterSource, from another one, which becomes this one's and is closed by it."""

    def __init__(self, source: RasterSource) -> None:
        self._source = source

    @property
    def name(self) -> str:
        """See RasterSource."""
        return self._source.name

    @property
    def identity(self) -> str:
        """See RasterSource."""
        return self._source.identity

    @property
    def gap(self) -> Gap | None:
        """See RasterSource."""
        return self._source.gap

    @property
    def may_recover(self) -> bool:
        """See RasterSource."""
        return self._source.may_recover

    def has_changed(self, identity: str) -> bool:
        """See RasterSource."""
        return self._source.has_changed(identity)

    def mask_bands(self, bands: tuple[int, ...]) -> int:
        """See RasterSource."""
        return self._source.mask_bands(bands)

    def value_range(self, band: int) -> ValueRange:
        """See RasterSource: of the whole raster."""
        return self._source.value_range(band)

    def close(self) -> None:
        """See RasterSource."""
        self._source.close()
