"""Finds the Python that runs workers: the one the user chose, else QGIS's own."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .errors import WorkerError
from .translation import tr

VARIABLE = "DLPK_PYTHON"
"""Environment variable that names the Python which has the libraries of the packages."""
MINIMUM_VERSION = (3, 9)
PROBE_SECONDS = 60
NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
"""Windows shows a console for programs that are started without it."""
_PROBE = "import json, sys; print(json.dumps([list(sys.version_info[:3]), sys.prefix, sys.base_prefix, sys.path]))"


@dataclass(frozen=True)
class Interpreter:
    """A Python that can run workers.

    Attributes:
        path: The program.
        folders: What it reads: its prefixes and the folders of its libraries.
        inherits_path: Whether workers get this process's PYTHONPATH (only QGIS's own Python does: another one
            must not meet libraries that were built for QGIS's).
        origin: Why it is this one, for the log.
        version: Its own.
    """

    path: Path
    folders: tuple[Path, ...]
    inherits_path: bool
    origin: str = ""
    version: str = ""


def find_interpreter(chosen: str = "") -> Interpreter:
    """Find and check the Python for workers: what DLPK_PYTHON names, else what the user chose, else QGIS's own.

    Args:
        chosen: A program or the folder of an environment, from the user's options; empty for none.

    Raises:
        WorkerError: There is none, it does not start, or it is too old.
    """
    if named := os.environ.get(VARIABLE):
        return _probed(_program(named), False, tr("named by {variable}", variable=VARIABLE))
    if chosen:
        return _probed(_program(chosen), False, tr("chosen in the options"))
    candidates = own_candidates(sys.platform, Path(sys.prefix), Path(sys.exec_prefix))
    for candidate in candidates:
        if candidate.is_file():
            return _probed(str(candidate), True, tr("the Python of QGIS"))
    raise WorkerError(
        tr("No Python program was found beside QGIS in {folder}. Choose a Python that has torch in the options (Processing, "
           "Deep Learning Packages), or name it by {variable}.", folder=sys.prefix, variable=VARIABLE)
    )  # fmt: skip


def own_candidates(platform: str, prefix: Path, exec_prefix: Path) -> list[Path]:
    """Where this process's Python may lie as a program. Inside QGIS, sys.executable is QGIS, so it does not help.

    Args:
        platform: As sys.platform.
        prefix: As sys.prefix.
        exec_prefix: As sys.exec_prefix.
    """
    if platform == "win32":
        return [folder / name for folder in dict.fromkeys([prefix, exec_prefix]) for name in ("python.exe", "python3.exe")]
    names = (f"python{sys.version_info[0]}.{sys.version_info[1]}", "python3")
    folders = [prefix / "bin", exec_prefix / "bin"]
    if platform == "darwin":  # QGIS is a bundle: its programs lie in Contents/MacOS, wherever below Contents its prefix is
        contents = next((folder for folder in (prefix, *prefix.parents) if folder.name == "Contents"), prefix)
        folders += [
            contents / "MacOS" / "bin",
            contents / "MacOS",
            contents / "Frameworks" / "bin",
            contents / "Resources" / "bin",
        ]
    return [folder / name for folder in dict.fromkeys(folders) for name in names]


def _program(named: str) -> str:
    """The program itself, where a user named the folder of an environment."""
    path = Path(named).expanduser().absolute()
    if path.is_dir():
        inside = [
            path / "python.exe",
            path / "Scripts" / "python.exe",
            path / "bin" / "python3",
            path / "bin" / "python",
            path / "python3",
        ]
        path = next((program for program in inside if program.is_file()), path)
    return str(path)


@functools.lru_cache(maxsize=8)
def _probed(path: str, inherits_path: bool, origin: str) -> Interpreter:
    environment = dict(os.environ)
    if not inherits_path:
        environment.pop("PYTHONPATH", None)
    environment.pop("PYTHONHOME", None)
    try:
        # Bandit: a program that the user chose, or QGIS's own Python; no shell.
        done = subprocess.run(  # nosec B603
            [path, "-c", _PROBE], env=environment, capture_output=True, stdin=subprocess.DEVNULL,
            timeout=PROBE_SECONDS, check=True, text=True, creationflags=NO_WINDOW,
        )  # fmt: skip
        version, prefix, base_prefix, search_path = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        raise WorkerError(
            tr("The Python {path} ({origin}) does not start: {error}. Choose another one in the options (Processing, Deep "
               "Learning Packages) or by {variable}.", path=path, origin=origin,
               error=(str(reason).strip().splitlines() or [tr("it says nothing")])[-1], variable=VARIABLE)
        ) from error  # fmt: skip
    if tuple(version[:2]) < MINIMUM_VERSION:
        raise WorkerError(
            tr("The Python {path} is version {version}, and {least} or later is needed.", path=path,
               version=".".join(map(str, version)), least=".".join(map(str, MINIMUM_VERSION)))
        )  # fmt: skip
    folders = [Path(path).parent, Path(path).resolve().parent, Path(prefix), Path(base_prefix)]
    folders += [Path(entry) for entry in search_path if entry and os.path.isdir(entry)]
    return Interpreter(Path(path), tuple(dict.fromkeys(folders)), inherits_path, origin, ".".join(map(str, version)))
