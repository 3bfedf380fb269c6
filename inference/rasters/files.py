"""The files that a raster is made of, and what tells whether they are still the same."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from osgeo import gdal

from ..errors import RasterError
from ..translation import tr

DEEPEST = 4
"""Virtual rasters inside virtual rasters that are looked into."""
REMOTE = ("/vsicurl", "/vsis3", "/vsiaz", "/vsigs", "/vsiadls", "/vsioss", "/vsiswift", "/vsihdfs", "/vsiwebhdfs", "http://",
          "https://", "ftp://")  # fmt: skip
"""How paths to other machines begin."""
_PATIENT = {
    "GDAL_HTTP_MAX_RETRY": "6", "GDAL_HTTP_RETRY_DELAY": "0.3", "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_TIME": "30", "GDAL_HTTP_LOW_SPEED_LIMIT": "1", "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
}  # fmt: skip
_SERVER = re.compile(r"(https?://[^/]+)")
_INSIDE = re.compile(r"^(/vsi[a-z0-9_]+/)+(?=.)")


def files_of(dataset: gdal.Dataset, depth: int = 0) -> list[str]:
    """All files of a raster, also those that its virtual rasters are made of.

    Without what QGIS writes beside a raster whenever it looks at it: statistics and the like.
    """
    files = [str(name) for name in dataset.GetFileList() or [] if not name.endswith(".aux.xml")]
    nested = [name for name in files[1:] if name.lower().endswith(".vrt")] if depth < DEEPEST else []
    for name in nested:
        with contextlib.suppress(RuntimeError):
            inner = gdal.OpenEx(name, gdal.OF_RASTER)
            files += files_of(inner, depth + 1) if inner is not None else []
    return list(dict.fromkeys(files))


@contextlib.contextmanager
def patient(is_remote: bool, headers: str = "") -> Iterator[None]:
    """While GDAL asks a server in this thread: again where it is busy, and for nothing that only might be beside a file.

    Args:
        is_remote: Whether it does ask a server.
        headers: Sent along, such as Authorization.
    """
    options = {**_PATIENT, **({"GDAL_HTTP_HEADERS": headers} if headers else {})} if is_remote else {}
    before = {name: gdal.GetThreadLocalConfigOption(name) for name in options}
    for name, value in options.items():
        gdal.SetThreadLocalConfigOption(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            gdal.SetThreadLocalConfigOption(name, value)


def check_one_server(names: Iterable[str]) -> None:
    """Refuse files on several servers, where a secret is meant for one of them.

    Raises:
        RasterError: They are.
    """
    servers = {match.group(1) for name in names if (match := _SERVER.search(name))}
    if len(servers) > 1:
        raise RasterError(
            tr("The raster has files on several servers ({servers}), and AUTHCFG would be told to all of them. Choose those of "
               "one server.", servers=", ".join(sorted(servers)))
        )  # fmt: skip


def is_gone(name: str, status: str) -> bool:
    """Whether nothing is known of a remote file at the moment."""
    return name.startswith(REMOTE) and status == f"{name}:"


def forget_failures(*paths: str) -> None:
    """Have GDAL ask again for remote files: it remembers also those that it could not get."""
    for path in paths:
        if path.startswith("/vsi"):
            gdal.VSICurlPartialClearCache(path)


def status_of(name: str) -> str:
    """Size and time of change of a file, or what GDAL knows of one that is elsewhere, such as in an archive or on a server."""
    with contextlib.suppress(OSError):
        status = os.stat(name)
        return f"{name}:{status.st_size}:{status.st_mtime_ns}"
    with contextlib.suppress(RuntimeError):
        known = gdal.VSIStatL(name)
        around = next((str(each) for each in Path(_INSIDE.sub("", name)).parents if each.is_file()), "")
        if known is not None:
            return f"{name}:{known.size}:{known.mtime}" + (f"|{status_of(around)}" if around else "")
    return f"{name}:"
