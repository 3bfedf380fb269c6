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

CHUNK = 1 << 20


def digest_of(path: Path, check: Callable[[], None]) -> str:
    """The sha256 of a file, or of all files of a folder with their names; hexadecimal.

    Args:
        path: File or folder.
        check: Called now and then; raises to stop.
    """
    note, digest = _note(path), hashlib.sha256()  # the note's name is of before: what changes meanwhile is read again
    if path.is_dir():
        for file in _files(path):
            digest.update(str(file.relative_to(path)).encode() + b"\0")
            _update(digest, file, check)
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
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _update(digest: Any, path: Path, check: Callable[[], None]) -> None:  # noqa: ANN401 - hashlib's object has no public type
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            check()
            digest.update(chunk)
