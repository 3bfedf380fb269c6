"""Programs of servers that are installed into a folder on first use."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

LONGEST = 1200.0  # seconds
MARK = "installed"


def install_once(folder: Path, version: str, make: Callable[[], None]) -> None:
    """Only the first call for a version makes the folder; processes wait for each other."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mark = folder / MARK
        if mark.is_file() and mark.read_text() == version:
            return
        shutil.rmtree(folder, ignore_errors=True)  # of another version, or an installation that was interrupted
        folder.mkdir()
        make()
        mark.write_text(version)


def run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    """Run a step of an installation; a RuntimeError tells what is wrong with it."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, env=environment, timeout=LONGEST)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"{' '.join(command)} failed: {error}") from error
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
