"""Files that were downloaded, by their address: complete ones by their hash, and those that broke off."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..cache import cache_folder, remove, write_text
from ..feedback import Feedback

FOLDER = "downloads"
PARTIAL = 206
"""HTTP's status of an answer that is a part."""


@dataclass(frozen=True)
class Kept:
    """What is noted of a package that was downloaded.

    Attributes:
        sha256: Of the file, hexadecimal.
        version: What told this version from others: when the item was changed, or a server's own mark.
        name: Of the file.
    """

    sha256: str
    version: str
    name: str

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return downloads_folder() / self.sha256[:32] / self.name


class PartialFile:
    """The Sink of a download: a file that grows, and what tells whether the rest of it would still fit."""

    def __init__(self, path: Path, mark: Path, feedback: Feedback) -> None:
        self.path, self._mark, self._feedback = path, mark, feedback
        self.total: int | None = None
        self.version = ""

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def mark(self) -> str:
        """By what a server tells that a file is still the same; empty when it cannot be gone on with."""
        return self._mark.read_text(encoding="utf-8") if self.size and self._mark.is_file() else ""

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """See Sink."""
        if status != PARTIAL:
            remove(self.path)
        self.version = headers.get("etag") or headers.get("last-modified", "")
        write_text(self._mark, "" if self.version.startswith("W/") else self.version)
        length = headers.get("content-length", "")
        self.total = self.size + int(length) if length.isdigit() else None

    def write(self, chunk: bytes) -> None:
        """See Sink."""
        with open(self.path, "ab") as file:
            file.write(chunk)

    def tick(self) -> None:
        """See Sink."""
        if self.total:
            self._feedback.progress(100.0 * self.size / self.total)

    def discard(self) -> None:
        """Forget all of it."""
        remove(self.path)
        remove(self._mark)


def noted(address: str) -> Kept | None:
    """What is noted of an address; None where nothing is."""
    try:
        return Kept(**json.loads(note_of(address).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def note_of(address: str) -> Path:
    """Where it is noted."""
    return downloads_folder() / f"{key_of(address)}.json"


def key_of(address: str) -> str:
    """The name under which an address is kept."""
    return hashlib.sha256(address.encode()).hexdigest()[:32]


def downloads_folder() -> Path:
    """Where downloads lie; made if missing."""
    folder = cache_folder() / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return folder
