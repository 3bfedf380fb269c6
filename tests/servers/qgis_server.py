"""QGIS Server itself, in its development build, for WMS, WMTS and WCS of a raster.

Needs the program qgis_mapserver, in Debian in the package qgis-server of the same version as QGIS.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from servers.processes import free_port, running

PROGRAM = "qgis_mapserver"
LAYER = "raster"


@dataclass(frozen=True)
class QgisServer:
    """A running server; `url` has no slash and no query at its end."""

    url: str
    layer: str
    log: Path

    def address(self, service: str, request: str = "GetCapabilities", **parameters: str) -> str:
        """A request with further parameters, which are written as they are."""
        version = {"WMS": "1.3.0", "WMTS": "1.0.0", "WCS": "1.0.0"}[service]
        further = "".join(f"&{name}={value}" for name, value in parameters.items())
        return f"{self.url}/?SERVICE={service}&VERSION={version}&REQUEST={request}{further}"


def missing() -> str | None:
    """Why there can be no QGIS Server here, for tests that are skipped."""
    return None if shutil.which(PROGRAM) else f"{PROGRAM} is not installed"


@contextlib.contextmanager
def qgis_server(raster: Path, folder: Path) -> Iterator[QgisServer]:
    """Publish a raster with a project that is written into the folder."""
    runtime = folder / "runtime"
    folder.mkdir(parents=True, exist_ok=True)
    runtime.mkdir(mode=0o700, exist_ok=True)
    project, log = folder / "published.qgs", folder / "qgis_server.log"
    environment = {
        **os.environ,
        "QT_QPA_PLATFORM": "offscreen",
        "XDG_RUNTIME_DIR": str(runtime),
        "GDAL_PAM_ENABLED": "NO",  # no files beside the raster
        "QGIS_OPTIONS_PATH": str(folder),
        "QGIS_CUSTOM_CONFIG_PATH": str(folder / "profile"),
        "QGIS_SERVER_CACHE_DIRECTORY": str(folder / "cache"),
    }
    writer = Path(__file__).with_name("qgis_project.py")
    command = [sys.executable, str(writer), str(raster), str(project), LAYER]
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=120)
    port = free_port()
    server = QgisServer(f"http://127.0.0.1:{port}", LAYER, log)
    with running([PROGRAM, "-l", "1", "-p", str(project), f"127.0.0.1:{port}"], server.address("WMS"), log, environment):
        yield server
