"""Hashes of packages, and which hash a file had when it last was read: so that large ones are hashed once.

A hash that is recalled by time and size is good enough to show what is known of a package. What decides whether
its code may run is always hashed anew.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .cache import cache_folder, write_text
from .errors import PackageError
from .translation import tr

CHUNK = 1 << 20


def digest_of(path: Path, check: Callable[[], None]) -> str:
    """The sha256 of a file, or of all files of a folder with their names; hexadecimal.

    Args:
        path: File or folder.
        check: Called now and then; raises to stop.
    """
    note, digest = _note(path), hashlib.sha256()  # the note's name is of before: what changes meanwhile is read again
    if path.is_dir():
        for file in _files(path):  # a hash of hashes: no content can pass for another file's name
            own = hashlib.sha256()
            _update(own, file, check)
            digest.update(hashlib.sha256(str(file.relative_to(path)).encode(errors="surrogateescape")).digest() + own.digest())
    else:
        _update(digest, path, check)
    result = digest.hexdigest()
    with contextlib.suppress(OSError):  # it is only read again then
        write_text(note, result)
    return result


def recall(path: Path) -> str | None:
    """The hash that this file or folder had, if nothing of it seems to have changed since."""
    try:
        return _note(path).read_text(encoding="ascii")
    except (OSError, ValueError):
        return None


def _note(path: Path) -> Path:
    """Where the hash is written down: named by place, size and time of every file."""
    files = _files(path) if path.is_dir() else [path]
    status = [(str(file), file.stat()) for file in files]
    facts = "\n".join(f"{name}|{known.st_size}|{known.st_mtime_ns}" for name, known in status)
    return cache_folder() / "digests" / hashlib.sha256(f"{path}\n{facts}".encode()).hexdigest()[:32]


def _files(folder: Path) -> list[Path]:
    """Everything that is there: Python runs what it finds in __pycache__, too."""
    found = sorted(folder.rglob("*"))
    for path in found:
        if path.is_symlink() and path.is_dir():
            raise PackageError(
                tr(
                    "{path} is a link to another folder, which the package's hash cannot stand for. Put a copy in its place.",
                    path=path,
                )
            )
    return [path for path in found if path.is_file()]


def _update(digest: Any, path: Path, check: Callable[[], None]) -> None:  # noqa: ANN401 - hashlib's object has no public type
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            check()
            digest.update(chunk)
