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
_PROBE = "import json, sys; print(json.dumps([list(sys.version_info[:2]), sys.prefix, sys.base_prefix, sys.path]))"


@dataclass(frozen=True)
class Interpreter:
    """A Python that can run workers.

    Attributes:
        path: The program.
        folders: What it reads: its prefixes and the folders of its libraries.
        inherits_path: Whether workers get this process's PYTHONPATH (only QGIS's own Python does: another one
            must not meet libraries that were built for QGIS's).
    """

    path: Path
    folders: tuple[Path, ...]
    inherits_path: bool


def find_interpreter(chosen: str | None = None) -> Interpreter:
    """Find and check the Python for workers.

    Args:
        chosen: A path that the user set; without it DLPK_PYTHON counts, then QGIS's own Python.

    Raises:
        WorkerError: There is none, it does not start, or it is too old.
    """
    named = chosen or os.environ.get(VARIABLE)
    if named:
        return _probed(str(Path(named).expanduser().absolute()), inherits_path=False)
    for candidate in _own_candidates():
        if candidate.is_file():
            return _probed(str(candidate), inherits_path=True)
    raise WorkerError(
        tr("No Python program was found beside QGIS in {folder}. Set {variable} to the path of a Python that has torch.",
           folder=sys.prefix, variable=VARIABLE)
    )  # fmt: skip


def _own_candidates() -> list[Path]:
    """Where this process's Python lies as a program. Inside QGIS, sys.executable is QGIS, so it does not help."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    prefix = Path(sys.prefix)
    if sys.platform == "win32":
        return [prefix / "python.exe"]
    names = (f"python{version}", "python3")
    folders = (prefix / "bin", prefix / "MacOS" / "bin", Path(sys.exec_prefix) / "bin")
    return [folder / name for folder in folders for name in names]


@functools.lru_cache(maxsize=8)
def _probed(path: str, inherits_path: bool) -> Interpreter:
    environment = dict(os.environ)
    if not inherits_path:
        environment.pop("PYTHONPATH", None)
    environment.pop("PYTHONHOME", None)
    try:
        done = subprocess.run(
            [path, "-c", _PROBE], env=environment, capture_output=True, stdin=subprocess.DEVNULL,
            timeout=PROBE_SECONDS, check=True, text=True,
        )  # fmt: skip
        version, prefix, base_prefix, search_path = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        raise WorkerError(
            tr("The Python {path} does not start: {error}. Choose another one with {variable}.", path=path,
               error=str(reason).strip().splitlines()[-1], variable=VARIABLE)
        ) from error  # fmt: skip
    if tuple(version) < MINIMUM_VERSION:
        raise WorkerError(
            tr("The Python {path} is version {version}, and {least} or later is needed.", path=path,
               version=".".join(map(str, version)), least=".".join(map(str, MINIMUM_VERSION)))
        )  # fmt: skip
    folders = [Path(path).parent, Path(path).resolve().parent, Path(prefix), Path(base_prefix)]
    folders += [Path(entry) for entry in search_path if entry and os.path.isdir(entry)]
    return Interpreter(Path(path), tuple(dict.fromkeys(folders)), inherits_path)
