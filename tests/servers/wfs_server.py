"""QGIS Server's WFS for a file of features; what it needs is told by servers.qgis_server.missing."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from servers.processes import free_port, running
from servers.qgis_server import PROGRAM

LAYER = "features"
PAGE = 1000  # features; more than that take several requests


@dataclass(frozen=True)
class WfsServer:
    """A running server; `url` has no slash and no query at its end."""

    url: str
    log: Path

    def source(self, crs: str = "", **options: str) -> str:
        """The layer as QGIS's provider WFS names it, with further options of that provider."""
        values = {"pagingEnabled": "enabled", "pageSize": str(PAGE), "version": "auto", **({"srsname": crs} if crs else {})}
        further = "".join(f" {name}='{value}'" for name, value in {**values, **options}.items())
        return f"typename='{LAYER}' url='{self.url}/'{further}"

    def source_text(self, crs: str = "", **options: str) -> str:
        """The layer as parameters of algorithms and qgis_process name it."""
        return f"WFS://{self.source(crs, **options)}"

    @property
    def requests(self) -> list[str]:
        """The targets of all requests so far, the first one being that which found the server ready."""
        return re.findall(r'"GET (\S+) ', self.log.read_text())


@contextlib.contextmanager
def wfs_server(features: Path, folder: Path) -> Iterator[WfsServer]:
    """Publish a file of features with a project that is written into the folder."""
    runtime = folder / "runtime"
    folder.mkdir(parents=True, exist_ok=True)
    runtime.mkdir(mode=0o700, exist_ok=True)
    project, log = folder / "published.qgs", folder / "qgis_server.log"
    environment = {
        **os.environ,
        "QT_QPA_PLATFORM": "offscreen",
        "XDG_RUNTIME_DIR": str(runtime),
        "QGIS_OPTIONS_PATH": str(folder),
        "QGIS_CUSTOM_CONFIG_PATH": str(folder / "profile"),
        "QGIS_SERVER_CACHE_DIRECTORY": str(folder / "cache"),
    }
    writer = Path(__file__).with_name("qgis_vector_project.py")
    command = [sys.executable, str(writer), str(features), str(project), LAYER]
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=120)
    port = free_port()
    server = WfsServer(f"http://127.0.0.1:{port}", log)
    ready = f"{server.url}/?SERVICE=WFS&REQUEST=GetCapabilities"
    with running([PROGRAM, "-l", "1", "-p", str(project), f"127.0.0.1:{port}"], ready, log, environment):
        yield server
