"""Where extracted packages and journals lie, and how leftovers of processes that died are removed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import shutil
import sys
from pathlib import Path

from .errors import InferenceError
from .translation import tr

VARIABLE = "DLPK_CACHE"
"""Environment variable that moves the cache folder."""

CLEARED = ("packages", "descriptions", "digests", "downloads")
"""Folders of the cache that can be made again."""

_default = ""


def cache_folder() -> Path:
    """The folder of this user, created when missing: DLPK_CACHE, else what was set, else the platform's cache folder."""
    chosen = os.environ.get(VARIABLE) or _default
    folder = Path(chosen).expanduser() if chosen else platform_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InferenceError(
            tr("The cache folder {folder} cannot be made: {error}. Choose another one with the environment variable {variable}.",
               folder=folder, error=error.strerror, variable=VARIABLE)
        ) from error  # fmt: skip
    return folder.resolve()


def platform_folder() -> Path:
    """Where the platform wants caches of this user."""
    if sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA", Path.home()))
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Caches"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return folder / "deep_learning_packages"


def size() -> int:
    """Bytes that the cache takes."""
    total = 0
    for path in cache_folder().rglob("*"):
        with contextlib.suppress(OSError):  # removed meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return total


def clear() -> None:
    """Remove everything that can be made again; no run may need it at the moment (see `journals.clear_cache`)."""
    folder = cache_folder()
    remove_all_abandoned()
    for name in CLEARED:
        if (folder / name).exists():  # renamed first: what is half removed must never look complete
            doomed = unfinished_path(folder)
            (folder / name).rename(doomed)
            remove(doomed)


def set_default(folder: str) -> None:
    """Keep the cache in this folder where the environment names none; an empty text for the platform's own."""
    global _default  # noqa: PLW0603 - the process has one cache
    _default = folder


def write_text(path: Path, text: str) -> None:
    """Write a small file as a whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    unfinished = unfinished_path(path.parent)
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def unfinished_path(folder: Path, suffix: str = "") -> Path:
    """A path for something that is not finished yet; it names this process, so that others can tell."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder)
    return folder / f".{unfinished_name()}{suffix}"


def remove_all_abandoned() -> None:
    """Remove what processes that no longer run have left unfinished anywhere in the cache."""
    folder = cache_folder()
    for place in (folder, *(path for path in folder.iterdir() if path.is_dir())):
        remove_abandoned(place)


def remove_abandoned(folder: Path) -> None:
    """Remove what processes that no longer run have left unfinished in a folder."""
    for path in folder.glob(".unfinished-*"):
        if is_abandoned(path.name):
            remove(path)


def unfinished_name() -> str:
    """A name for something unfinished, which tells the process that works on it."""
    return f"unfinished-{_system()}-{os.getpid()}-{os.urandom(4).hex()}"


def is_abandoned(name: str) -> bool:
    """Whether this is such a name, of a process of this machine that no longer runs."""
    parts = name.lstrip(".").split("-")
    if len(parts) < 4 or parts[0] != "unfinished":  # noqa: PLR2004 - see unfinished_name
        return False
    return parts[1] == _system() and parts[2].isdigit() and not _runs(int(parts[2]))


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


@functools.lru_cache(maxsize=1)
def _system() -> str:
    """What tells apart whose process numbers these are: on a shared folder, those of other machines mean nothing here."""
    facts = [platform.node()]
    with contextlib.suppress(OSError):  # containers count their own processes
        facts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("|".join(facts).encode()).hexdigest()[:8]


def _runs(process: int) -> bool:
    if sys.platform == "win32":
        return _runs_on_windows(process)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _runs_on_windows(process: int) -> bool:
    """Whether a process has not ended; os.kill would end it there."""
    import ctypes

    query_limited_information, still_active = 0x1000, 259
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 - the attribute is there on Windows alone
    handle = kernel.OpenProcess(query_limited_information, False, process)
    if not handle:
        return False
    status = ctypes.c_ulong()
    known = kernel.GetExitCodeProcess(handle, ctypes.byref(status))
    kernel.CloseHandle(handle)
    return not known or status.value == still_active
