"""The kernel's own limits on this process, set before any code of a package is there."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

MEMORY = "memory"
NAMES = {"core": "RLIMIT_CORE", "tasks": "RLIMIT_NPROC", MEMORY: "RLIMIT_DATA"}
"""Bytes of a core dump, processes and threads, bytes of memory that is no file's."""


def apply(limits: Mapping[str, int], with_memory: bool) -> None:
    """Set limits by their names; where the system has none, as on Windows, nothing happens.

    Args:
        limits: Values by the names of NAMES; they are never raised.
        with_memory: Whether that of memory counts.
    """
    try:
        import resource
    except ImportError:
        return
    for name, value in limits.items():
        kind = getattr(resource, NAMES[name], None)
        if kind is None or (name == MEMORY and not with_memory):
            continue
        hard = resource.getrlimit(kind)[1]
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with contextlib.suppress(ValueError, OSError):  # a system that knows the limit but not to set it
            resource.setrlimit(kind, (least, least))
