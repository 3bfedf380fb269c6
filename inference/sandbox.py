"""Puts a worker into bubblewrap: no network, a read-only system, no home, and it dies with its parent."""

from __future__ import annotations

import functools
import glob
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .translation import tr

PROBE_SECONDS = 20
TEMPORARY_FOLDER = "/tmp"  # nosec B108
"""Inside the sandbox, where it is empty and of its own."""
# What programs need of the system. /etc is not shown as a whole: it holds secrets.
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/sys", "/nix/store")
_SETTINGS = (
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime",
    "/etc/OpenCL", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf",
)  # fmt: skip
_GPU_DEVICES = ("/dev/nvidia*", "/dev/dri", "/dev/kfd")


@dataclass(frozen=True)
class Sandbox:
    """How a worker is contained.

    Attributes:
        program: Path of bwrap; None when there is no sandbox.
        description: For the log: what is used, or why nothing is.
    """

    program: str | None
    description: str

    def wrap(self, command: list[str], folders: Iterable[Path]) -> list[str]:
        """The command line that runs a command inside the sandbox.

        Args:
            command: What to run.
            folders: What it may read beside the system; all else of the user's files is out of sight.
        """
        if self.program is None:
            return command
        home = os.path.expanduser("~")
        options = ["--die-with-parent", "--unshare-all", "--new-session", "--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev"]
        for path in (*_SYSTEM, *_SETTINGS):
            options += ["--ro-bind-try", path, path]
        for pattern in _GPU_DEVICES:
            for device in sorted(glob.glob(pattern)):
                options += ["--dev-bind-try", device, device]
        options += ["--tmpfs", TEMPORARY_FOLDER, "--tmpfs", home]
        for folder in _outermost(folders):
            options += ["--ro-bind", str(folder), str(folder)]
        return [self.program, *options, "--chdir", "/", "--", *command]


def find_sandbox() -> Sandbox:
    """Bubblewrap where it is installed and works; a Sandbox without a program, saying why, where not."""
    program = shutil.which("bwrap")
    if program is None:
        return Sandbox(None, tr("bubblewrap is not installed"))
    reason = _why_it_fails(program)
    if reason:
        return Sandbox(None, tr("bubblewrap cannot be used here: {reason}", reason=reason))
    return Sandbox(program, tr("bubblewrap (no network, read-only system, no home)"))


@functools.lru_cache(maxsize=2)
def _why_it_fails(program: str) -> str:
    command = Sandbox(program, "").wrap(["/bin/true"], ())
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=PROBE_SECONDS, check=False, text=True
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    return said.split(". ")[0].rstrip(".")  # its further sentences name pages to read


def _outermost(folders: Iterable[Path]) -> list[Path]:
    """Folders that are not inside another one or the system; never the root or the home itself."""
    home = Path(os.path.expanduser("~"))
    hidden = (Path("/"), home, *home.parents)
    wanted = {path for folder in folders for path in (Path(os.path.abspath(folder)), folder.resolve()) if path not in hidden}
    seen = [*map(Path, _SYSTEM), *wanted]
    return sorted(
        folder for folder in wanted if not any(other in folder.parents for other in seen) and folder not in map(Path, _SYSTEM)
    )
