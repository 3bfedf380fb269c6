"""Puts a worker into bubblewrap: no network, a read-only system, no home, and it dies with its parent."""

from __future__ import annotations

import functools
import glob
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from .machine import free_memory
from .translation import tr

PROBE_SECONDS = 20
# Bandit: inside the sandbox it is empty and of its own, and nobody else can write there.
TEMPORARY_FOLDER = "/tmp"  # nosec B108
TEMPORARY_BYTES = 2 << 30
TEMPORARY_SHARE = 8
"""What a package may write there and to its home: memory, so at most this fraction of what is free."""
# What programs need of the system. /etc and /opt are not shown as a whole: they hold secrets and other programs.
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/sys/devices/system")
_SETTINGS = (
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime",
    "/etc/OpenCL", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf",
)  # fmt: skip
_NETWORK_SETTINGS = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/run/systemd/resolve")
_GPU_DEVICES = ("/dev/nvidia*", "/dev/dri", "/dev/kfd")
_GPU_SYSTEM = ("/sys", "/opt/rocm*")
# Options that older versions lack, from the strictest set on: no further namespaces inside, bounded memory file systems.
_STRICTNESS = (
    ("--unshare-user", "--disable-userns", "--size"),
    ("--size",),
    (),
)


@dataclass(frozen=True)
class Sandbox:
    """How a worker is contained.

    Attributes:
        program: Path of bwrap; None when there is no sandbox.
        description: For the log: what is used, or why nothing is.
        has_network: Whether the package may use the network, as the user trusts it.
        options: Those of _STRICTNESS that this bubblewrap has.
    """

    program: str | None
    description: str
    has_network: bool = False
    options: tuple[str, ...] = ()

    def with_network(self) -> Sandbox:
        """The same for a package that the user trusts."""
        if self.program is None:
            return self
        described = tr("bubblewrap (read-only system, no home; with network, as you trust the package)")
        return replace(self, has_network=True, description=described)

    def wrap(self, command: list[str], folders: Iterable[Path]) -> list[str]:
        """The command line that runs a command inside the sandbox.

        Args:
            command: What to run.
            folders: What it may read beside the system; all else of the user's files is out of sight.
        """
        if self.program is None:
            return command
        options = ["--die-with-parent", "--unshare-all", "--new-session", "--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev"]
        options += [option for option in self.options if option != "--size"]
        options += ["--share-net"] if self.has_network else []
        devices = [device for pattern in _GPU_DEVICES for device in sorted(glob.glob(pattern))]
        gpu_system = [path for pattern in _GPU_SYSTEM for path in sorted(glob.glob(pattern))] if devices else []
        for path in (*_SYSTEM, *gpu_system, *_SETTINGS, *(_NETWORK_SETTINGS if self.has_network else ())):
            options += ["--ro-bind-try", path, path]
        room = min(TEMPORARY_BYTES, free_memory() // TEMPORARY_SHARE)
        for device in devices:
            options += ["--dev-bind-try", device, device]
        # Bandit: as above.
        for folder in (TEMPORARY_FOLDER, os.path.expanduser("~"), "/dev/shm"):  # nosec B108
            options += ["--size", str(room)] if "--size" in self.options else []
            options += ["--tmpfs", folder]
        for path in _outermost(folders):
            options += ["--ro-bind", str(path), str(path)]
        options += ["--remount-ro", "/dev", "--remount-ro", "/"]
        return [self.program, *options, "--chdir", "/", "--", *command]


def find_sandbox() -> Sandbox:
    """Bubblewrap where it is installed and works; a Sandbox without a program, saying why, where not."""
    program = shutil.which("bwrap")
    if program is None:
        return Sandbox(None, tr("bubblewrap is not installed"))
    options, reason = _working_options(program)
    if options is None:
        return Sandbox(None, tr("bubblewrap cannot be used here: {reason}", reason=reason))
    described = tr("bubblewrap (no network, read-only system, no home)")
    if "--size" not in options:
        described = tr("bubblewrap (no network, read-only system, no home; too old to bound what is written to memory)")
    return Sandbox(program, described, options=options)


@functools.lru_cache(maxsize=2)
def _working_options(program: str) -> tuple[tuple[str, ...] | None, str]:
    """The strictest options that work here; None, and why the last ones do not, where none do."""
    reason = ""
    for options in _STRICTNESS:
        reason = _why_it_fails(Sandbox(program, "", options=options))
        if not reason:
            return options, ""
    return None, reason


def _why_it_fails(sandbox: Sandbox) -> str:
    command = sandbox.wrap(["/bin/true"], ())
    try:
        # Bandit: bubblewrap, found on the PATH, with options of ours; no shell.
        done = subprocess.run(  # nosec B603
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
