"""TiTiler, a tile server in wide use, in a virtual environment of its own that is made on first use.

Of its own, because it needs other versions of libraries than QGIS has.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from servers.processes import free_port, running

FOLDER = Path(__file__).resolve().parents[2] / "build" / "titiler"
PACKAGES = ("titiler.application==2.4.0", "uvicorn==0.54.0")
PYTHON = "/usr/bin/python3"  # the system's: the one first on PATH may be any version
LONGEST_INSTALLATION = 1200.0
DONE = "installed"


def tiles(url: str, raster: Path, suffix: str = "png", size: int = 256) -> str:
    """The template of a raster's tiles in web mercator, with {z}, {x} and {y} to be filled in."""
    source = quote(str(raster), safe="")
    return f"{url}/cog/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.{suffix}?url={source}&tilesize={size}"


def install(folder: Path = FOLDER) -> Path:
    """The environment's Python; only the first call takes long, and processes wait for each other."""
    python = folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mark = folder / DONE
        if mark.is_file() and mark.read_text() == "\n".join(PACKAGES):
            return python
        shutil.rmtree(folder, ignore_errors=True)  # of another version, or an installation that was interrupted
        _run([PYTHON, "-m", "venv", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES])
        mark.write_text("\n".join(PACKAGES))
    return python


@contextlib.contextmanager
def tile_server(folder: Path = FOLDER) -> Iterator[str]:
    """The address of a running TiTiler, without a slash at its end; it opens files of this machine by their path."""
    python = install(folder)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    application = ["-m", "uvicorn", "titiler.application.main:app", "--host", "127.0.0.1", "--port", str(port)]
    log = folder / f"server-{port}.log"
    try:
        with running([str(python), *application, "--log-level", "warning"], f"{url}/healthz", log, _environment()):
            yield url
    finally:
        log.unlink(missing_ok=True)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=_environment(), timeout=LONGEST_INSTALLATION)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")


def _environment() -> dict[str, str]:
    """Without the libraries of QGIS's environment, whose PROJ and GDAL are not those of TiTiler's wheels."""
    foreign = ("PYTHONPATH", "PYTHONHOME", "PROJ_LIB", "PROJ_DATA", "GDAL_DATA", "GDAL_DRIVER_PATH")
    return {name: value for name, value in os.environ.items() if name not in foreign}
