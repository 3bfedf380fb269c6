"""Puts finished files in the place of others."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from qgis.core import QgsProviderRegistry

from ...inference import cache

KEPT = (".shp.xml",)
"""What lies beside a file and is somebody's own, not an index."""
_OF_DATABASES = ("-wal", "-shm", "-journal")


def beside(file: Path) -> list[Path]:
    """The files that belong to one and exist; without it itself."""
    metadata = QgsProviderRegistry.instance().providerMetadata("ogr")
    named = [*metadata.sidecarFilesForUri(str(file)), *(f"{file}{ending}" for ending in _OF_DATABASES)]
    return [Path(name) for name in dict.fromkeys(named) if os.path.exists(name) and not name.endswith(KEPT)]


def replace(target: Path, folder: Path) -> None:
    """Move all files of a folder to where a file lies, which they replace; the file itself comes last.

    A format of one file is replaced in one step. One of several, such as a Shapefile, takes a few; where the power goes
    between them, the next run writes them again.

    Args:
        target: The file.
        folder: On the same disk; holds the new file, by the same name, and what belongs to it.

    Raises:
        OSError: It could not be done, as when another program on Windows has the file open.
    """
    names = sorted((path.name for path in folder.iterdir()), key=lambda name: name == target.name)
    for name in names:
        _flush(folder / name)
    stale = [path for path in beside(target) if path.name not in names]
    for path in stale:
        if path.name.endswith(_OF_DATABASES):  # SQLite would play them into the new file
            path.unlink()
    if target.is_dir():  # formats that are folders cannot be replaced in one step
        os.replace(target, cache.unfinished_path(target.parent))
    for name in names:
        os.replace(folder / name, target.parent / name)
    for path in stale:  # indexes of the old file
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # some file systems flush no folders, and the files are in place
        _flush(target.parent)


def _flush(path: Path) -> None:
    """Have it on the disk before anything that counts on it."""
    if os.name == "nt":
        return  # files that are open for reading cannot be flushed there
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
