"""Koop, an open server of ArcGIS feature services, from npm; it is installed on first use.

package-lock.json pins all packages; it is made, after a change of package.json, in a copy of the folder koop by
npm install with OPTIONS.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from servers.installation import install_once, run
from servers.processes import free_port, running

SOURCE = Path(__file__).with_name("koop")
FOLDER = Path(__file__).resolve().parents[2] / "build" / "koop"
PINNED = ("package.json", "package-lock.json")
# Peers and optional packages would bring in all of React Native. No addresses belong in the lock file.
OPTIONS = ("--legacy-peer-deps", "--omit=optional", "--omit-lockfile-registry-resolved", "--ignore-scripts", "--no-audit")
LARGEST_ANSWER = 1000  # features; QGIS has to ask for the next ones


@dataclass(frozen=True)
class FeatureServer:
    """A running server; `url` is the address of its only layer."""

    url: str
    log: Path

    def source(self, crs: str = "") -> str:
        """The layer as QGIS's provider arcgisfeatureserver names it; without a CRS it comes in its own."""
        return f"crs='{crs}' url='{self.url}'" if crs else f"url='{self.url}'"

    def source_text(self, crs: str = "") -> str:
        """The layer as parameters of algorithms and qgis_process name it."""
        return f"arcgisfeatureserver://{self.source(crs)}"

    @property
    def requests(self) -> list[str]:
        """Method and target of all requests so far."""
        return [line for line in self.log.read_text().splitlines() if line.startswith(("GET ", "POST "))]


def install(folder: Path = FOLDER) -> Path:
    """The folder with Koop; a RuntimeError tells why it cannot be had, for tests that are skipped."""
    if missing := [program for program in ("node", "npm") if not shutil.which(program)]:
        raise RuntimeError(f"{' and '.join(missing)} not installed")

    def make() -> None:
        for name in PINNED:
            shutil.copy(SOURCE / name, folder)
        run(["npm", "ci", *OPTIONS], folder, dict(os.environ))

    install_once(folder, "\n".join((SOURCE / name).read_text() for name in PINNED), make)
    return folder


@contextlib.contextmanager
def feature_server(geojson: Path, largest: int = LARGEST_ANSWER, folder: Path = FOLDER) -> Iterator[FeatureServer]:
    """Serve a GeoJSON file, whose member "metadata" may name fields, types, aliases and the field of object ids (idField).

    Coordinates are in the CRS that the file's member "crs" names, else in degrees. No answer has more features than `largest`.
    """
    install(folder)
    port = free_port()
    address = f"http://127.0.0.1:{port}/file/rest/services/FeatureServer"
    log = folder / f"server-{port}.log"
    environment = {**os.environ, "NODE_PATH": str(folder / "node_modules"), "SUPPRESS_NO_CONFIG_WARNING": "1"}
    command = ["node", str(SOURCE / "server.js"), str(port), str(geojson), str(largest)]
    try:
        with running(command, f"{address}?f=json", log, environment):
            yield FeatureServer(f"{address}/0", log)
    finally:
        log.unlink(missing_ok=True)
