"""Packages by their address: downloaded once, resumed where it broke off, checked, and kept by the hash of what they hold."""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from ..archive_readers import is_archive
from ..cache import unfinished_path, write_text
from ..errors import InferenceError, PackageError, printable
from ..feedback import Feedback
from ..secrets import without_credentials
from ..translation import tr
from .arcgis import answered
from .fetching import BUSY, FORBIDDEN, FOUND, Answer, Fetcher, RefusedError, Transport, UnreachableError, followed
from .kept_files import PARTIAL, Kept, PartialFile, downloads_folder, key_of, note_of, noted

PACKAGE_TYPE = "Deep Learning Package"
PUBLIC_PORTAL = "https://www.arcgis.com"
CHUNK = 1 << 20
SHOWN, LONGEST_NAME = 120, 80
"""Letters of a stranger's words in a message, and of a file's name."""
ATTEMPTS = 5
"""How often in a row a download may break off without a byte more."""
NOT_MODIFIED, OUT_OF_RANGE = 304, 416
_ITEM = re.compile(r"(?i)^(https?://.+?)/(?:sharing/rest/content/items/|home/item\.html\?(?:.*&)?id=)([0-9a-f]{32})\b")
_ID = re.compile(r"(?i)^[0-9a-f]{32}$")
_SECRETS = {"token", "access_token", "api_key", "apikey"}  # pragma: allowlist secret


def is_address(text: str) -> bool:
    """Whether a text is the address of a package, and no path."""
    return text.startswith(("http://", "https://")) or bool(_ID.match(text) and not os.path.exists(text))


def check_address(address: str) -> None:
    """Refuse an address that holds a secret: it would be kept in the history.

    Raises:
        PackageError: It does.
    """
    parts = urlsplit(address)
    if parts.password or any(name.lower() in _SECRETS for name, _ in parse_qsl(parts.query)):
        raise PackageError(
            tr("The address of the package holds a password or token, which would be kept in the history. Leave it out, and "
               "choose an authentication configuration (AUTHCFG).")
        )  # fmt: skip


def known(address: str) -> Path | None:
    """The file that an address was downloaded to, without asking anybody."""
    kept = noted(address)
    return kept.path if kept is not None and kept.path.is_file() else None


def downloaded(address: str, transport: Transport, feedback: Feedback) -> Path:
    """The package behind an address, downloaded if it was not yet, or has changed since.

    Args:
        address: A portal's item, or of a file.
        transport: Carries requests.
        feedback: Told of progress; a download that is cancelled goes on another time.

    Raises:
        PackageError: There is no package, or it is damaged.
        InferenceError: The server cannot be reached, or refuses.
    """
    check_address(address)
    kept = noted(address)
    is_here = kept is not None and kept.path.is_file()
    try:
        wanted = _item(address, transport) if _is_item(address) else _Wanted(address, "", _name_in(address), None)
        if kept is not None and is_here and wanted.version == kept.version != "":
            return kept.path
        return _Download(address, wanted, kept if is_here else None, transport, feedback).run()
    except (UnreachableError, RefusedError) as error:
        if kept is None or not is_here or (isinstance(error, RefusedError) and error.status in FORBIDDEN):
            raise _unusable(address, error) from error
        feedback.warning(tr("{address} cannot be reached ({error}), so the copy of an earlier download is used.",
                            address=without_credentials(address), error=error))  # fmt: skip
        return kept.path


@dataclass(frozen=True)
class _Wanted:
    """A file to download: where it is, which version, its name, and its size where that is known."""

    address: str
    version: str
    name: str
    size: int | None


def _is_item(address: str) -> bool:
    return bool(_ITEM.match(address) or _ID.match(address))


def _item(address: str, transport: Transport) -> _Wanted:
    """Ask a portal about an item (CONTRACT 1.4)."""
    found = _ITEM.match(address)
    root, number = (found.group(1), found.group(2)) if found else (PUBLIC_PORTAL, address)
    base = f"{root}/sharing/rest/content/items/{number}"
    try:
        facts = answered(Fetcher(transport).get(f"{base}?f=json"))
    except RefusedError:
        raise
    except InferenceError as error:
        raise _unusable(address, error) from error
    if facts.get("type") != PACKAGE_TYPE:
        raise PackageError(
            tr("The item {name} is of type {kind}, not a Deep Learning Package.", name=facts.get("title") or number,
               kind=facts.get("type"))
        )  # fmt: skip
    size = facts.get("size")
    name = str(facts.get("name") or f"{facts.get('title') or number}.dlpk")
    known_size = size if isinstance(size, int) and size > 0 else None
    return _Wanted(f"{base}/data", f"{facts.get('modified')}-{size}", _plain(name), known_size)


class _Download:
    """One download, into a file that is renamed when it is complete."""

    def __init__(self, address: str, wanted: _Wanted, kept: Kept | None, transport: Transport, feedback: Feedback) -> None:
        self._address, self._wanted, self._kept = address, wanted, kept
        self._transport, self._feedback = transport, feedback
        key = key_of(address)
        self._broken = downloads_folder() / f"{key}.part"
        self._file = PartialFile(unfinished_path(downloads_folder(), ".part"), downloads_folder() / f"{key}.mark", feedback)

    def run(self) -> Path:
        """Download, check and keep it."""
        self._feedback.info(tr("Downloading {address}", address=without_credentials(self._address)))
        with suppress(FileNotFoundError):
            os.replace(self._broken, self._file.path)  # so that one process alone goes on with it
        try:
            answer = self._fetched()
            if answer.status == NOT_MODIFIED and self._kept is not None:
                return self._kept.path
            self._check()
            return self._keep()
        finally:
            with suppress(OSError):  # goes on another time
                os.replace(self._file.path, self._broken)

    def _fetched(self) -> Answer:
        """Ask until all is there; each attempt goes on where the one before broke off."""
        failures, before = 0, -1
        while True:
            failures = failures + 1 if self._file.size == before else 0
            before = self._file.size
            try:
                answer = followed(self._transport, self._wanted.address, self._headers(), self._file)
            except UnreachableError:
                if failures >= ATTEMPTS:
                    raise
                continue
            if answer.status == OUT_OF_RANGE and self._file.size:
                self._file.discard()
            elif answer.status in (FOUND, PARTIAL, NOT_MODIFIED):
                return answer
            elif answer.status not in BUSY or failures >= ATTEMPTS:
                raise RefusedError(tr("status {status}", status=answer.status), answer.status)

    def _headers(self) -> dict[str, str]:
        if mark := self._file.mark:
            return {"Range": f"bytes={self._file.size}-", "If-Range": mark}
        if self._kept is not None and self._kept.version and not _is_item(self._address):
            name = "If-None-Match" if self._kept.version.startswith(('"', "W/")) else "If-Modified-Since"
            return {name: self._kept.version}
        return {}

    def _check(self) -> None:
        """Refuse what is no package, or not all of it.

        Raises:
            PackageError: It is so.
        """
        size, wanted = self._file.size, self._wanted.size or self._file.total
        shown = without_credentials(self._address)
        if not size or not is_archive(self._file.path):
            words = self._file.path.read_bytes()[:SHOWN].decode("utf-8", "replace") if size else ""
            self._file.discard()
            raise PackageError(
                tr(
                    "{address} is no deep learning package: it holds {words}",
                    address=shown,
                    words=printable(words) or tr("nothing"),
                )
            )
        if wanted is not None and size != wanted:
            self._file.discard()
            raise PackageError(
                tr("{address} was downloaded with {size} bytes instead of {wanted}. Try it again.", address=shown, size=size,
                   wanted=wanted)
            )  # fmt: skip

    def _keep(self) -> Path:
        digest = hashlib.sha256()
        with open(self._file.path, "rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
        kept = Kept(digest.hexdigest(), self._wanted.version or self._file.version, self._wanted.name)
        kept.path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self._file.path, kept.path)
        write_text(note_of(self._address), json.dumps(asdict(kept)))
        self._file.discard()
        self._feedback.info(tr("Downloaded, sha256 {hash}", hash=kept.sha256))
        return kept.path


def _name_in(address: str) -> str:
    return _plain(unquote(urlsplit(address).path.rpartition("/")[2])) or "package.dlpk"


def _plain(name: str) -> str:
    """A stranger's file name without anything that could lead elsewhere."""
    plain = re.sub(r"[^\w.\- ]", "_", name).strip(". ")[:LONGEST_NAME]
    return plain if plain.lower().endswith((".dlpk", ".zip", ".7z")) else f"{plain or 'package'}.dlpk"


def _unusable(address: str, error: Exception) -> PackageError:
    hint = ""
    if isinstance(error, RefusedError) and error.status in FORBIDDEN:
        hint = tr(" Choose an authentication configuration (AUTHCFG) that may read it.")
    return PackageError(
        tr("The package {address} cannot be downloaded: {error}", address=without_credentials(address), error=error) + hint
    )
