"""PostgreSQL with PostGIS, on a socket of its own, as another user where this is root, as PostgreSQL wants it."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1:]
USER = "tester"


def missing() -> str | None:
    """Why there can be no server here, for tests that are skipped."""
    return None if PROGRAMS and shutil.which("runuser") else "PostgreSQL is not installed"


@contextlib.contextmanager
def postgres_server() -> Iterator[Path]:
    """Start a server; the folder is the host by which clients reach it."""
    folder = Path(tempfile.mkdtemp(prefix="dlpk-postgres-"))
    as_other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_other:
        shutil.chown(folder, "postgres")
    data, programs = folder / "data", PROGRAMS[0]
    _run([*as_other, f"{programs}/initdb", "-D", str(data), "-A", "trust", "-U", USER])
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    _run([*as_other, f"{programs}/pg_ctl", "-D", str(data), "-o", options, "-w", "-l", str(folder / "log"), "start"])
    try:
        execute(folder, "CREATE EXTENSION postgis")
        yield folder
    finally:
        _run([*as_other, f"{programs}/pg_ctl", "-D", str(data), "-m", "immediate", "stop"])
        shutil.rmtree(folder)


def execute(folder: Path, statement: str) -> None:
    """Run a statement in the server's database."""
    _run(["psql", "-q", "-h", str(folder), "-U", USER, "postgres", "-v", "ON_ERROR_STOP=1", "-c", statement])


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)
