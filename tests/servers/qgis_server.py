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
def published(writer: str, source: Path, folder: Path, layer: str, ready: str) -> Iterator[tuple[str, Path]]:
    """Run a server for a project that a program beside this file writes into the folder; its address and its log.

    Args:
        writer: The program, which is told the source, the project and the layer.
        source: What is published.
        folder: Made if it is missing.
        layer: Its name.
        ready: What is asked for to see whether the server answers.
    """
    runtime = folder / "runtime"
    folder.mkdir(parents=True, exist_ok=True)
    runtime.mkdir(mode=0o700, exist_ok=True)
    project, log = folder / "published.qgs", folder / "qgis_server.log"
    environment = {
        **os.environ,
        "QT_QPA_PLATFORM": "offscreen",
        "XDG_RUNTIME_DIR": str(runtime),
        "GDAL_PAM_ENABLED": "NO",  # no files beside the source
        "QGIS_OPTIONS_PATH": str(folder),
        "QGIS_CUSTOM_CONFIG_PATH": str(folder / "profile"),
        "QGIS_SERVER_CACHE_DIRECTORY": str(folder / "cache"),
    }
    command = [sys.executable, str(Path(__file__).with_name(writer)), str(source), str(project), layer]
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=120)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running([PROGRAM, "-l", "1", "-p", str(project), f"127.0.0.1:{port}"], f"{url}/?{ready}", log, environment):
        yield url, log


@contextlib.contextmanager
def qgis_server(raster: Path, folder: Path) -> Iterator[QgisServer]:
    """Publish a raster with a project that is written into the folder."""
    ready = "SERVICE=WMS&VERSION=1.3.0&REQUEST=GetCapabilities"
    with published("qgis_project.py", raster, folder, LAYER, ready) as (url, log):
        yield QgisServer(url, LAYER, log)
