"""QGIS Server's WFS for a file of features; what it needs is told by servers.qgis_server.missing."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from servers.qgis_server import published

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
    ready = "SERVICE=WFS&REQUEST=GetCapabilities"
    with published("qgis_vector_project.py", features, folder, LAYER, ready) as (url, log):
        yield WfsServer(url, log)
