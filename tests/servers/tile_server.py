"""TiTiler, a tile server in wide use, in a virtual environment of its own that is made on first use.

Of its own, because it needs other versions of libraries than QGIS has.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from servers.installation import install_once, run
from servers.processes import free_port, running

FOLDER = Path(__file__).resolve().parents[2] / "build" / "titiler"
PACKAGES = ("titiler.application==2.4.0", "uvicorn==0.54.0")
PYTHON = "/usr/bin/python3"  # the system's: the one first on PATH may be any version


def tiles(url: str, raster: Path, suffix: str = "png", size: int = 256) -> str:
    """The template of a raster's tiles in web mercator, with {z}, {x} and {y} to be filled in."""
    source = quote(str(raster), safe="")
    return f"{url}/cog/tiles/WebMercatorQuad/{{z}}/{{x}}/{{y}}.{suffix}?url={source}&tilesize={size}"


def install(folder: Path = FOLDER) -> Path:
    """The environment's Python; only the first call takes long."""
    python = folder / "bin" / "python"

    def make() -> None:
        run([PYTHON, "-m", "venv", str(folder)], folder, _environment())
        run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES], folder, _environment())

    install_once(folder, "\n".join(PACKAGES), make)
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


def _environment() -> dict[str, str]:
    """Without the libraries of QGIS's environment, whose PROJ and GDAL are not those of TiTiler's wheels."""
    foreign = ("PYTHONPATH", "PYTHONHOME", "PROJ_LIB", "PROJ_DATA", "GDAL_DATA", "GDAL_DRIVER_PATH")
    return {name: value for name, value in os.environ.items() if name not in foreign}
