"""What a run may leave behind and must not: processes, shared memory, files."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

WORKER = "deep_learning_packages/worker"
PATIENCE = 3.0  # the kernel takes a moment to end a process


@dataclass(frozen=True)
class Leftovers:
    """Names of what is there."""

    names: frozenset[str]

    @classmethod
    def now(cls) -> Leftovers:
        """Look around."""
        return cls(frozenset([*cls._processes(), *cls._files()]))

    def beyond(self, before: Leftovers) -> list[str]:
        """What is there now and was not before, given a moment to go away."""
        end = time.monotonic() + PATIENCE
        found = self.names - before.names
        while found and time.monotonic() < end:
            time.sleep(0.05)
            found = Leftovers.now().names - before.names
        return sorted(found)

    @staticmethod
    def _processes() -> list[str]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(Path(__file__).parent.parent / "worker") in command or WORKER in command:
                found.append(f"process {folder.name}: {command}")
        return found

    @staticmethod
    def _files() -> list[str]:
        cache = Path(os.environ["DLPK_CACHE"])
        unfinished = [str(path) for path in cache.glob("*/.unfinished-*")]
        shared = []
        for link in Path("/proc/self/fd").iterdir():  # others that hold some are workers, and found as such
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if "deep_learning_packages-blocks" in target:
                shared.append(f"shared memory {target}")
        return [*unfinished, *shared]
