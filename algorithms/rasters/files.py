"""Rasters that GDAL opens: files, folders, archives, lists, addresses of files, collections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from qgis.core import QgsCoordinateReferenceSystem

from ...inference.errors import RasterError
from ...inference.feedback import stop_if_canceled
from ...inference.rasters.collections import Piece, gdal_path, holds_several, items_of, pieces_of
from ...inference.rasters.files import REMOTE, check_one_server, patient
from ...inference.rasters.gdal_raster import GdalRaster
from ...inference.rasters.mosaic import mosaic_of
from ...inference.translation import tr
from ..network import authorization
from .raster_input import Wish, crs_of, wkt_of


@dataclass(frozen=True)
class Files:
    """Paths and addresses that GDAL knows.

    Attributes:
        paths: As they were given, or of layers of the project.
        layer_crs: What a layer of the project says instead of its file; None where the file counts.
        authcfg: Authentication configuration for files on servers; empty for none.
    """

    paths: tuple[str, ...]
    layer_crs: QgsCoordinateReferenceSystem | None = None
    authcfg: str = ""

    @property
    def address(self) -> str:
        """See RasterInput."""
        return "; ".join(self.paths)

    @property
    def crs(self) -> QgsCoordinateReferenceSystem:
        """See RasterInput: that of the first raster, where that is a file on this machine."""
        if self.layer_crs is not None:
            return self.layer_crs
        path = gdal_path(self.paths[0])
        if path.startswith(REMOTE) or holds_several(path):
            return QgsCoordinateReferenceSystem()
        raster = GdalRaster(path)
        raster.close()
        return crs_of(raster.grid.crs)

    def open(self, wish: Wish) -> Sequence[GdalRaster]:
        """See RasterInput."""
        with patient(is_remote=True):  # whatever they name may lie on a server
            return self._opened(wish)

    def _opened(self, wish: Wish) -> Sequence[GdalRaster]:
        check = partial(stop_if_canceled, wish.feedback)
        pieces = [piece for path in self.paths for piece in pieces_of(path, check)]
        headers = self._headers(pieces)
        if wish.separately:
            if wish.splits:
                pieces = [item for piece in pieces for item in items_of(piece, headers)]
            return self._each(pieces, wish, self._headers(pieces))
        if len(pieces) == 1:
            return [self._raster(pieces[0], wish, headers)]
        text, files = mosaic_of(pieces, wish.cell_size, wish.unscale, headers, check)
        name = tr("{first} and {count} others", first=pieces[0].name, count=len(pieces) - 1)
        wish.feedback.info(tr("Rasters: {count}, searched as one mosaic", count=len(pieces)))
        return [GdalRaster(text, name=name, files=files, headers=headers)]

    def _each(self, pieces: Sequence[Piece], wish: Wish, headers: str) -> list[GdalRaster]:
        rasters = []
        for piece in pieces:
            stop_if_canceled(wish.feedback)
            raster = self._raster(piece, wish, headers)
            raster.close()  # there may be more of them than files can be open
            rasters.append(raster)
        return rasters

    def _headers(self, pieces: Sequence[Piece]) -> str:
        """What is sent to the server of these rasters; nothing is opened before it is sure that there is but one."""
        remote = [piece.path for piece in pieces if piece.path.startswith(REMOTE)]
        if not self.authcfg or not remote:
            return ""
        check_one_server(remote)
        return authorization(self.authcfg)

    def _raster(self, piece: Piece, wish: Wish, headers: str) -> GdalRaster:
        crs = None if self.layer_crs is None else wkt_of(self.layer_crs)
        return GdalRaster(piece.path, wish.cell_size, crs, piece.name, wish.unscale, headers=headers)


def files(paths: Sequence[str], authcfg: str = "") -> Files:
    """Rasters by their paths; the first is looked at at once, if it lies on this machine.

    Raises:
        RasterError: There is no path, or the first raster cannot be opened.
    """
    if not paths:
        raise RasterError(tr("No raster was given for INPUT. Choose a raster layer, a file, a folder or an address."))
    found = Files(tuple(paths), authcfg=authcfg)
    _ = found.crs
    return found
