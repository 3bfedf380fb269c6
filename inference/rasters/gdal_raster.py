"""A raster that GDAL opens, at its own cell size or at another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from osgeo import gdal, gdal_array

from ..grid import Grid, Window
from ..secrets import without_credentials
from ..translation import tr
from .decoded import Decoded
from .files import REMOTE, check_one_server, files_of, forget_failures, is_gone, patient, status_of
from .opening import at_cell_size, has_place, name_of, opened, own_grid, raster_error, span_of, spans
from .preparing import prepared
from .source import Gap, Validity, ValueRange

EXACT_PIXELS = 50_000_000
"""Up to so many, all pixels of a band are looked at for its range, else a sample."""
LOOKS = 5
"""How often in a row a server has to tell of another file."""
QUICK_PIXELS = 400_000_000
"""A raster of so many pixels is read as a whole in seconds."""


class GdalRaster:
    """A RasterSource over one GDAL dataset; each clone has a handle of its own."""

    def __init__(
        self,
        path: str,
        cell_size: float | None = None,
        crs: str | None = None,
        name: str = "",
        unscale: bool = False,
        files: Sequence[str] = (),
        headers: str = "",
    ) -> None:
        """Open a raster.

        Args:
            path: Anything that GDAL opens, also the text of a virtual raster.
            cell_size: Side of a pixel in units of the CRS; None for the raster's own.
            crs: WKT that replaces the dataset's own, as when a user assigned one to the layer.
            name: What users know it by; empty for the file's name.
            unscale: Whether the bands' scale and offset are applied.
            files: Those that it is made of, where GDAL cannot tell.
            headers: Sent to a server, such as Authorization.

        Raises:
            RasterError: It cannot be opened, has no bands, or has pixels that no function can take.
        """
        self._path, self._cell_size, self._crs, self._unscale = path, cell_size, crs, unscale
        self._headers = headers
        original = opened(path, headers)
        self._files = list(files) or files_of(original)
        self.name = without_credentials((name or name_of(original, self._files)).partition("?")[0])
        if headers:
            check_one_server([path, *self._files])
        self._is_remote = any(name.startswith(REMOTE) for name in [path, *self._files])
        self.has_georeference = has_place(original)
        self._prepared = prepared(original, unscale)
        self._dataset: Any = original if self._prepared is None else opened(self._prepared, headers)
        self._own = own_grid(self._dataset, self.name, crs)
        self._grid, self._factors = at_cell_size(self._own, cell_size)
        self._decoded = Decoded(self._dataset)
        self._known: tuple[str, frozenset[str]] = ("", frozenset())
        bands = [self._dataset.GetRasterBand(number + 1) for number in range(self._dataset.RasterCount)]
        self._masks = [int(band.GetMaskFlags()) for band in bands]
        self._facts = [path, repr([band.GetNoDataValue() for band in bands]), str(unscale)]
        with patient(self._is_remote, headers):
            self._identity = self._identified()

    @property
    def gap(self) -> Gap | None:
        """See RasterSource: what GDAL cannot read is an error."""
        return None

    @property
    def may_recover(self) -> bool:
        """See RasterSource: whether a file comes through a network."""
        return self._is_remote

    @property
    def grid(self) -> Grid:
        """See RasterSource."""
        return self._grid

    @property
    def identity(self) -> str:
        """See RasterSource: each file's name, size and time of change, and what is NoData."""
        return self._identity

    def has_changed(self, identity: str) -> bool:
        """See RasterSource; a server that answers nonsense once, or nothing, has not changed anything."""
        if not self._is_remote:
            return self._differs(identity)
        with patient(True, self._headers):
            for _ in range(LOOKS):
                if not self._differs(identity):
                    return False
                forget_failures(self._path, *self._files)
        return True

    def _differs(self, identity: str) -> bool:
        if self._known[0] != identity:
            self._known = identity, frozenset(identity.split("\n"))
        before = self._known[1]
        now = [(name, status_of(name)) for name in self._files]
        return any(status not in before for name, status in now if not is_gone(name, status))

    def _identified(self) -> str:
        return "\n".join([*self._facts, *map(status_of, self._files)])

    def clone(self) -> GdalRaster:
        """See RasterSource."""
        return self._at(self._cell_size)

    def _at(self, cell_size: float | None) -> GdalRaster:
        return GdalRaster(self._path, cell_size, self._crs, self.name, self._unscale, self._files, self._headers)

    def coarser(self, factor: float) -> GdalRaster | None:
        """See RasterSource: overviews make it quick, and so does a raster that is small."""
        has_overviews = self._opened().GetRasterBand(1).GetOverviewCount() > 0
        if not has_overviews and self._own.width * self._own.height > QUICK_PIXELS:
            return None
        return self._at(max(self._grid.affine.cell_size) * factor)

    def close(self) -> None:
        """See RasterSource. QGIS destroys all of GDAL when it ends, and a dataset that Python still held would crash it."""
        self._dataset = None
        if self.may_recover:
            forget_failures(self._path, *self._files)

    def _opened(self) -> Any:  # noqa: ANN401 - GDAL has no type stubs
        if self._dataset is None:
            self._dataset = opened(self._prepared or self._path, self._headers)
        return self._dataset

    def mask_bands(self, bands: tuple[int, ...]) -> int:
        """See RasterSource: bands have masks of their own where NoData is declared a band, or NaN can occur."""
        own = gdal.GMF_NODATA
        separate = np.dtype(self._grid.dtype).kind == "f" or any(self._mask_flags(band, bands) & own for band in bands)
        return len(bands) if separate else 1

    def value_range(self, band: int) -> ValueRange:
        """See RasterSource: the band's stored statistics, for 8-bit the type's range, else that of its pixels or of a sample."""
        with patient(self._is_remote, self._headers):
            return self._value_range(band)

    def _value_range(self, band: int) -> ValueRange:
        handle = self._opened().GetRasterBand(band + 1)
        low, high = handle.GetMetadataItem("STATISTICS_MINIMUM"), handle.GetMetadataItem("STATISTICS_MAXIMUM")
        if low is not None and high is not None:
            return ValueRange(float(low), float(high), tr("stored statistics"))
        if self._grid.dtype == "uint8":
            return ValueRange(0.0, 255.0, tr("8 bit"))
        is_sample = self._own.width * self._own.height > EXACT_PIXELS
        try:
            low, high = handle.ComputeRasterMinMax(is_sample)
        except (RuntimeError, TypeError) as error:
            raise raster_error(
                tr("Band {band} of {path} has no valid value, so its values cannot be scaled for the model.",
                   band=band + 1, path=self.name)
            ) from error  # fmt: skip
        return ValueRange(float(low), float(high), tr("a sample of the pixels") if is_sample else tr("all pixels"))

    def read(self, window: Window, bands: tuple[int, ...], out: NDArray[Any], mask: NDArray[Any]) -> Validity:
        """See RasterSource."""
        inside = window.intersection(self._grid.window)
        whole = inside == window
        if not whole:
            out[...] = 0
        if inside is None:
            return Validity.EMPTY
        rows = slice(inside.row - window.row, inside.row - window.row + inside.height)
        columns = slice(inside.column - window.column, inside.column - window.column + inside.width)
        target = out[:, rows, columns]
        self._read_pixels(inside, bands, target)
        validity = self._read_mask(inside, bands, target, mask, (rows, columns), whole)
        is_own = self._factors == (1.0, 1.0)
        if self._decoded.is_much(inside) if is_own else self._decoded.is_much_with(target.nbytes):
            self._opened().FlushCache()
        return validity

    def _read_mask(
        self,
        inside: Window,
        bands: tuple[int, ...],
        pixels: NDArray[Any],
        mask: NDArray[Any],
        place: tuple[slice, slice],
        whole: bool,
    ) -> Validity:
        masked = [band for band in bands if not self._mask_flags(band, bands) & gdal.GMF_ALL_VALID]
        is_float = pixels.dtype.kind == "f"
        if whole and not masked and not is_float:
            return Validity.FULL
        mask[...] = 0
        target = mask[:, place[0], place[1]]
        if len(target) == 1:
            self._read_mask_plane(inside, masked[0] if masked else None, target[0])
        else:
            for band, plane in zip(bands, target):
                self._read_mask_plane(inside, band if band in masked else None, plane)
        if is_float:
            absent = np.isnan(pixels)
            target[absent] = 0
            pixels[absent] = 0
        if not target.any():
            return Validity.EMPTY
        return Validity.FULL if whole and target.all() else Validity.PARTIAL

    def _mask_flags(self, band: int, bands: tuple[int, ...]) -> int:
        """GDAL's flags; alpha that is asked for is a band like any other, and masks nothing."""
        is_asked = self._grid.alpha in bands and self._masks[band] & gdal.GMF_ALPHA
        return gdal.GMF_ALL_VALID if is_asked or band == self._grid.alpha else self._masks[band]

    def _read_mask_plane(self, window: Window, band: int | None, plane: NDArray[Any]) -> None:
        if band is None:
            plane[...] = 1
            return
        handle = self._opened().GetRasterBand(band + 1).GetMaskBand()
        for part, source, place in self._parts(window):
            target = plane[place]
            # Not straight into the plane: GDAL 3.10 fills but the first row of a NoData mask where rows do not follow each other.
            values = self._checked(gdal_array.BandReadAsArray, part, handle, *source, part.width, part.height)
            np.minimum(values, 1, out=target)

    def _read_pixels(self, window: Window, bands: tuple[int, ...], target: NDArray[Any]) -> None:
        numbers, resampling = [band + 1 for band in bands], self._resampling()
        for part, source, (rows, columns) in self._parts(window):
            self._checked(
                gdal_array.DatasetReadAsArray, part, self._opened(), *source, target[:, rows, columns], part.width, part.height,
                resample_alg=resampling, band_list=numbers,
            )  # fmt: skip

    def _parts(self, window: Window) -> Iterator[tuple[Window, tuple[float, float, float, float], tuple[slice, slice]]]:
        """Cut a window (inside the grid) where GDAL can read it at one scale.

        Yields:
            Pixels of the grid, the raster's own pixels under them (left, top, width, height), and their place in
            the window. A last column or row that the raster fills only in part comes by itself.
        """
        x_factor, y_factor = self._factors
        for row, height in spans(window.row, window.height, self._own.height / y_factor):
            for column, width in spans(window.column, window.width, self._own.width / x_factor):
                left, wide = span_of(column * x_factor, width * x_factor, self._own.width)
                top, high = span_of(row * y_factor, height * y_factor, self._own.height)
                source = left, top, wide, high
                down, right = row - window.row, column - window.column
                yield Window(column, row, width, height), source, (slice(down, down + height), slice(right, right + width))

    def _checked(self, read: Callable[..., Any], window: Window, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        """Call one of GDAL's reading functions, which fail by an exception or by None, as the process has set."""
        with patient(self.may_recover, self._headers):
            try:
                done, reason = read(*arguments, **named), gdal.GetLastErrorMsg()
            except RuntimeError as error:
                done, reason = None, str(error)
        if done is None:
            raise raster_error(
                tr("{path} cannot be read at column {column}, row {row}: {error}.", path=self.name,
                   column=window.column, row=window.row, error=reason or tr("GDAL gives no reason"))
            )  # fmt: skip
        return done

    def _resampling(self) -> int:
        if self._factors == (1.0, 1.0):
            return int(gdal.GRIORA_NearestNeighbour)
        return int(gdal.GRIORA_Average if max(self._factors) > 1 else gdal.GRIORA_Bilinear)
