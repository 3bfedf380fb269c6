"""Reads the members of zip and 7z archives, one stream a member, with whatever this machine has.

Only contents are streamed and never links or folders made, so nothing that an archive holds can act on its own.
"""

from __future__ import annotations

import shutil
import stat
import struct
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .errors import PackageError, printable
from .translation import tr

SEVEN_ZIP_MAGIC = b"7z\xbc\xaf\x27\x1c"
ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
CHUNK = 1 << 20
ZIP_TAIL = 22 + (1 << 16)
"""The last record of a zip, and the comment behind it, fit in here."""
ZIP64_RECORDS = 56 + 20
"""Bytes of the two records before it, in large archives."""
MAXIMUM_DIRECTORY = 32 << 20
UNKNOWN_SIZE = 0xFFFFFFFF
LOCAL_HEADER = 30


@dataclass(frozen=True)
class Member:
    """One entry of an archive: its name as stored, and what it is."""

    name: str
    is_folder: bool
    is_link: bool


class ArchiveReader(Protocol):
    """What extraction needs of a kind of archive."""

    def members(self) -> list[Member]:
        """All entries."""

    def read(self, member: Member) -> Iterator[bytes]:
        """The content of an entry, in chunks."""


def is_archive(path: Path) -> bool:
    """Whether the file begins like a zip or a 7z archive."""
    with path.open("rb") as file:
        start = file.read(6)
    return start[:4] in ZIP_MAGIC or start == SEVEN_ZIP_MAGIC


@contextmanager
def open_archive(path: Path) -> Iterator[ArchiveReader]:
    """Open an archive by its first bytes.

    Raises:
        PackageError: It is a 7z archive, and nothing on this machine can read one.
    """
    with path.open("rb") as file:
        seven_zip = file.read(6) == SEVEN_ZIP_MAGIC
    if seven_zip:
        yield _seven_zip_reader(path)
        return
    _refuse_crowded(path)
    with zipfile.ZipFile(path) as zipped:
        _refuse_overlaps(zipped)
        yield _ZipReader(zipped)


def _refuse_crowded(path: Path) -> None:
    """The directory of a zip is read as a whole, so look at its size before: the last record of the file tells it.

    Source: APPNOTE.TXT of PKWARE, 4.3.14 to 4.3.16.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - ZIP_TAIL - ZIP64_RECORDS, 0))
        tail = file.read()
    record = tail.rfind(b"PK\x05\x06", max(len(tail) - ZIP_TAIL, 0))
    if tail[-22:-18] == b"PK\x05\x06" and tail[-2:] == b"\0\0":
        record = len(tail) - 22
    told = [struct.unpack_from("<I", tail, record + 12)[0]] if 0 <= record <= len(tail) - 22 else []
    large = record - ZIP64_RECORDS  # right before it, where there is one
    if large >= 0 and tail[large : large + 4] == b"PK\x06\x06":
        told.append(struct.unpack_from("<Q", tail, large + 40)[0])
    told = [number for number in told if number != UNKNOWN_SIZE]
    if told and max(told) > MAXIMUM_DIRECTORY:
        raise PackageError(
            tr("{path} was refused: the list of its members takes {size} MiB, and {most} MiB are the most.", path=path,
               size=max(told) >> 20, most=MAXIMUM_DIRECTORY >> 20)
        )  # fmt: skip


def _refuse_overlaps(zipped: zipfile.ZipFile) -> None:
    """Members that share bytes make bombs out of small files; no honest program writes them."""
    end, file = 0, zipped.fp
    for entry in sorted(zipped.infolist(), key=lambda entry: entry.header_offset):
        if entry.header_offset < end or file is None:
            raise PackageError(
                tr("{path} was refused: its member '{name}' overlaps another one, as in archives that are made to fill a disk.",
                   path=zipped.filename, name=printable(entry.filename))
            )  # fmt: skip
        file.seek(entry.header_offset + 26)
        lengths = file.read(4)
        if len(lengths) < 4:  # noqa: PLR2004
            raise zipfile.BadZipFile("a member lies beyond the end")
        end = entry.header_offset + LOCAL_HEADER + sum(struct.unpack("<2H", lengths)) + entry.compress_size


def _chunks(stream: Any) -> Iterator[bytes]:  # noqa: ANN401 - anything with read()
    while chunk := stream.read(CHUNK):
        yield chunk


class _ZipReader:
    def __init__(self, zipped: zipfile.ZipFile) -> None:
        self._zipped = zipped

    def members(self) -> list[Member]:
        return [
            Member(entry.filename, entry.is_dir(), stat.S_ISLNK(entry.external_attr >> 16)) for entry in self._zipped.infolist()
        ]

    def read(self, member: Member) -> Iterator[bytes]:
        with self._zipped.open(member.name) as content:
            yield from _chunks(content)


def _seven_zip_reader(path: Path) -> ArchiveReader:
    if _gdal_reads_7z():
        return _GdalReader(path)
    for program in ("7zz", "7z", "7za", "7zr"):
        if found := shutil.which(program):
            return _SevenZipProgram(path, found)
    if found := shutil.which("bsdtar"):
        return _TarProgram(path, found)
    try:
        import py7zr
    except ImportError:
        raise PackageError(
            tr(
                "{path} is a 7-Zip archive, and nothing here can read one. Install the program 7z (on Debian and Ubuntu: "
                "apt install 7zip) or the Python package py7zr, or unpack it by hand and give the folder.",
                path=path,
            )
        ) from None
    return _Py7zrReader(path, py7zr)


def _gdal_reads_7z() -> bool:
    """GDAL 3.7 and later read 7z archives when built with libarchive."""
    try:
        from osgeo import gdal
    except ImportError:
        return False
    return "/vsi7z/" in getattr(gdal, "GetFileSystemsPrefixes", list)()


class _GdalReader:
    def __init__(self, path: Path) -> None:
        self._root = f"/vsi7z/{{{path}}}/"

    def members(self) -> list[Member]:
        from osgeo import gdal

        names = gdal.ReadDirRecursive(self._root) or []
        return [Member(name.rstrip("/"), name.endswith("/"), is_link=False) for name in names]

    def read(self, member: Member) -> Iterator[bytes]:
        from osgeo import gdal

        file = gdal.VSIFOpenL(self._root + member.name, "rb")
        if file is None:
            raise OSError(f"{member.name} cannot be read")
        missing = gdal.VSIStatL(self._root + member.name).size
        try:
            while chunk := gdal.VSIFReadL(1, CHUNK, file):
                missing -= len(chunk)
                yield bytes(chunk)
        finally:
            gdal.VSIFCloseL(file)
        if missing:
            raise OSError(f"{member.name} ends {missing} bytes too early")


def _run_for_text(command: list[str]) -> str:
    # Bandit: 7-Zip or bsdtar, found on the PATH; names of members come behind --; no shell.
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)  # nosec B603
    if done.returncode != 0:
        lines = (done.stderr + done.stdout).decode(errors="replace").strip().splitlines()
        raise OSError(lines[-1] if lines else f"{command[0]} failed")
    return done.stdout.decode(errors="replace")


def _run_for_content(command: list[str]) -> Iterator[bytes]:
    # Bandit: as above.
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:  # nosec B603
        yield from _chunks(process.stdout)
    if process.returncode != 0:
        raise OSError(f"{command[0]} ended with status {process.returncode}")


class _SevenZipProgram:
    """One of 7-Zip's own programs; an empty password keeps it from asking for one."""

    def __init__(self, path: Path, program: str) -> None:
        self._path, self._program = str(path), program

    def members(self) -> list[Member]:
        listing = _run_for_text([self._program, "l", "-slt", "-ba", "-p", "--", self._path])
        return [self._member(block) for block in listing.replace("\r", "").split("\n\n") if "Path = " in block]

    @staticmethod
    def _member(block: str) -> Member:
        values = dict(line.split(" = ", 1) for line in block.splitlines() if " = " in line)
        attributes = values.get("Attributes", "")
        unix_mode = attributes.split()[-1] if attributes.split() else ""
        is_folder = attributes.startswith("D") or unix_mode.startswith("d")
        return Member(values["Path"], is_folder, unix_mode.startswith("l"))

    def read(self, member: Member) -> Iterator[bytes]:
        return _run_for_content([self._program, "x", "-so", "-p", "-spd", "--", self._path, member.name])


class _TarProgram:
    """bsdtar of libarchive."""

    def __init__(self, path: Path, program: str) -> None:
        self._path, self._program = str(path), program

    def members(self) -> list[Member]:
        modes = _run_for_text([self._program, "-tvf", self._path]).splitlines()
        names = _run_for_text([self._program, "-tf", self._path]).splitlines()
        return [Member(name.rstrip("/"), mode[0] == "d", mode[0] in "lh") for mode, name in zip(modes, names)]

    def read(self, member: Member) -> Iterator[bytes]:
        pattern = "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in member.name)
        return _run_for_content([self._program, "-xOf", self._path, "--", pattern])


class _Py7zrReader:
    """The Python package py7zr; it writes files only, so each member passes through a temporary one."""

    def __init__(self, path: Path, py7zr: Any) -> None:  # noqa: ANN401 - a module
        self._path, self._py7zr = path, py7zr

    def members(self) -> list[Member]:
        try:
            with self._py7zr.SevenZipFile(self._path) as archive:
                return [Member(entry.filename, entry.is_directory, entry.is_symlink) for entry in archive.files]
        except self._py7zr.exceptions.ArchiveError as error:
            raise OSError(str(error)) from error

    def read(self, member: Member) -> Iterator[bytes]:
        with tempfile.TemporaryDirectory() as folder:
            try:
                with self._py7zr.SevenZipFile(self._path) as archive:
                    archive.extract(folder, targets=[member.name])
            except self._py7zr.exceptions.ArchiveError as error:
                raise OSError(str(error)) from error
            with Path(folder, member.name).open("rb") as content:
                yield from _chunks(content)
