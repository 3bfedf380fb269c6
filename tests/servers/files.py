"""A static file server that knows ranges, as GDAL's /vsicurl/ and downloads that are resumed need it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

from servers.messages import Request, Response
from servers.serving import Server

PIECE = 1 << 16
KINDS = {".tif": "image/tiff", ".json": "application/json", ".png": "image/png", ".xml": "text/xml"}


class FileServer(Server):
    """Serves the files below a folder; listings are not given."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder.resolve()

    def respond(self, request: Request) -> Response:
        """The file, a part of it, or 404."""
        path = (self.folder / request.path.lstrip("/")).resolve()
        if not path.is_relative_to(self.folder) or not path.is_file():
            return Response(404, b"not found", "text/plain")
        return file_response(path, request)


def file_response(path: Path, request: Request) -> Response:
    """A file with validators, whole or as the single range that was asked for."""
    status = path.stat()
    size = status.st_size
    headers = {
        "Accept-Ranges": "bytes",
        "Last-Modified": formatdate(status.st_mtime, usegmt=True),
        "ETag": f'"{size:x}-{status.st_mtime_ns:x}"',
    }
    wanted = _wanted(request, headers, size)
    kind = KINDS.get(path.suffix.lower(), "application/octet-stream")
    if wanted is None:
        return Response(200, _pieces(path, 0, size), kind, headers, size)
    first, last = wanted
    if first > last:
        return Response(416, b"", kind, {**headers, "Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return Response(206, _pieces(path, first, last + 1), kind, headers, last + 1 - first)


def _wanted(request: Request, headers: dict[str, str], size: int) -> tuple[int, int] | None:
    """First and last byte; None where the whole file is due; first beyond last where nothing fits."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", "").strip())
    if match is None or match.group(0) == "bytes=-":
        return None  # no range, or one in a form that a server may ignore
    condition = request.headers.get("if-range")
    if condition is not None and condition not in (headers["ETag"], headers["Last-Modified"]):
        return None  # the file has changed since the caller began
    first, last = match.groups()
    if not first:
        return (max(0, size - int(last)), size - 1) if int(last) else (1, 0)
    return (int(first), min(int(last), size - 1) if last else size - 1) if int(first) < size else (1, 0)


def _pieces(path: Path, begin: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(begin)
        while begin < end:
            piece = file.read(min(PIECE, end - begin))
            if not piece:
                return  # the file was cut meanwhile; the announced length tells the caller
            begin += len(piece)
            yield piece
