"""Extracts archives of strangers: bounded, checked, and whole or not at all."""

from __future__ import annotations

import lzma
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from . import cache
from .archive_readers import ArchiveReader, Member, open_archive
from .errors import PackageError, printable
from .translation import tr

DEVICES = re.compile(r"(?i)^(con|prn|aux|nul|clock\$|com\d|lpt\d)(\.|$)")
"""Names that are no files on Windows."""
MAXIMUM_MEMBERS = 50_000
MAXIMUM_BYTES = 64 << 30
MAXIMUM_RATIO = 200
"""Limits of an extraction: members, bytes in all, and bytes out per byte in (beyond RATIO_FROM)."""
RATIO_FROM = 64 << 20
LONGEST_NAME = 255
LONGEST_PATH = 2000

# What damaged, encrypted or unusual archives make the readers raise.
READ_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, RuntimeError, OSError,
    ValueError, LookupError, ArithmeticError,
)  # fmt: skip


def extract(path: Path, folder: Path, finish: Callable[[Path], None], check: Callable[[], None]) -> None:
    """Extract an archive so that the folder appears whole and finished, or not at all.

    Args:
        path: A zip or 7z archive.
        folder: The folder to create. If it is there already, it was extracted before and is kept.
        finish: Called with the folder before it gets its name; what it raises keeps the folder from appearing.
        check: Called now and then; raises when the user stopped the run.

    Raises:
        PackageError: The archive is damaged, encrypted, or over a limit; or a member would land outside the
            folder, is a link, or has a name that differs from another one only by case.
    """
    if folder.exists():
        return
    unfinished = cache.unfinished_path(folder.parent)
    try:
        with open_archive(path) as archive:
            _extract_members(archive, path, unfinished, check)
        finish(unfinished)
        if not folder.exists():
            os.replace(unfinished, folder)
    except READ_ERRORS as error:
        raise PackageError(
            tr("{path} cannot be unpacked: {error}. If it was downloaded, download it again.", path=path, error=error)
        ) from error
    finally:
        cache.remove(unfinished)


def _extract_members(archive: ArchiveReader, path: Path, folder: Path, check: Callable[[], None]) -> None:
    members = archive.members()
    places = _checked_places(members, path)
    budget = _Budget(path)
    folder.mkdir()
    for member, place in zip(members, places):
        target = folder.joinpath(*place.parts)
        if member.is_folder:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            for chunk in archive.read(member):
                check()
                budget.spend(len(chunk))
                file.write(chunk)


class _Budget:
    """Counts what really comes out, as an archive may lie about its sizes."""

    def __init__(self, path: Path) -> None:
        self._path, self._packed, self._spent = path, path.stat().st_size, 0

    def spend(self, count: int) -> None:
        self._spent += count
        if self._spent > MAXIMUM_BYTES or self._spent > max(RATIO_FROM, MAXIMUM_RATIO * self._packed):
            raise PackageError(
                tr(
                    "{path} was refused: its {packed} bytes unpack to more than {spent} bytes, "
                    "as archives do that are made to fill a disk.",
                    path=self._path,
                    packed=self._packed,
                    spent=self._spent,
                )
            )


def _checked_places(members: list[Member], path: Path) -> list[PurePosixPath]:
    """Where each member goes, relative to the folder; refuses whatever could land elsewhere."""
    if len(members) > MAXIMUM_MEMBERS:
        text = tr("{path} was refused: it has {count} members, and {most} is the limit.", path=path,
                  count=len(members), most=MAXIMUM_MEMBERS)  # fmt: skip
        raise PackageError(text)
    places = [PurePosixPath(member.name.replace("\\", "/")) for member in members]
    for member, place in zip(members, places):
        if why := _objection(member, place):
            name = printable(member.name.replace("\n", " "))[:LONGEST_NAME]
            raise PackageError(tr("{path} was refused: its member '{name}' {why}.", path=path, name=name, why=why))
    _refuse_twins((str(place) for member, place in zip(members, places) if not member.is_folder), path)
    return places


def _objection(member: Member, place: PurePosixPath) -> str:
    """Why a member is refused; empty when it is not."""
    if member.is_link:
        return tr("is a link")
    if (not place.parts and not member.is_folder) or place.is_absolute() or ".." in place.parts or ":" in str(place):
        return tr("would be written outside the package's folder")  # a colon: a drive or a stream on Windows
    if any(DEVICES.match(part) or part != part.rstrip(". ") for part in place.parts):
        return tr("has a name that is no file's on Windows")
    longest = max((len(part.encode(errors="replace")) for part in place.parts), default=0)
    if not member.name.isprintable() or longest > LONGEST_NAME or len(member.name) > LONGEST_PATH:
        return tr("has a name that no file system should hold")
    return ""


def _refuse_twins(names: Iterable[str], path: Path) -> None:
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(name.casefold(), name)
        if first is not name:
            text = tr("{path} was refused: its members '{first}' and '{second}' have the same name, but for their case.",
                      path=path, first=first, second=name)  # fmt: skip
            raise PackageError(text)
