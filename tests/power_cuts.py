"""Cuts a run short again and again, with kill -9, and looks whether the next run completes with the same output.

python tests/power_cuts.py --cuts 200    every run is a real qgis_process; prints what was killed when, and how it ended

A scene is a raster with 600 boxes in 450 blocks, written as a GeoPackage that holds another layer. A run takes a second or
two after QGIS has started. Victims are QGIS, the worker, or both; the moment is random over the whole run, so it also meets
the extraction of the package, transactions of the journal, and the writing and publishing of the output.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "build" / "plugins")]

from deep_learning_packages.inference.sandbox import find_sandbox  # noqa: E402
from packages import ORACLE, make_package, zip_package  # noqa: E402
from rasters import draw, write_raster  # noqa: E402

BOXES = 600
AFTER = "after the end"
VICTIMS = ("qgis", "worker", "both")
WORKER = str(ROOT / "worker").encode()
# Each block takes a few milliseconds, so that most of the run is made of blocks and their transactions.
SLOW = ORACLE.replace(
    "    def find(self, pixels, mask):\n", "    def find(self, pixels, mask):\n        __import__('time').sleep(0.002)\n"
)


@dataclass
class Scene:
    """Inputs, an environment of its own, and the output that an undisturbed run gives."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    reference: str = ""

    def __post_init__(self) -> None:
        rng = np.random.default_rng(11)
        pixels = np.zeros((1, 960, 960), np.uint16)
        for number in range(BOXES):
            left, top = rng.integers(0, 950), rng.integers(0, 950)
            draw(pixels[0], (left, top, left + 7, top + 7), number + 1)
        self.raster = write_raster(self.folder / "raster.tif", pixels)
        package = make_package(self.folder / "package", SLOW)
        (package / "weights.bin").write_bytes(np.random.default_rng(1).bytes(40 << 20))  # extracting takes a moment
        self.package = zip_package(package, self.folder / "package.dlpk")
        self.output = self.folder / "out" / "output.gpkg"
        self.output.parent.mkdir()
        self.environment = {
            **os.environ, "QT_QPA_PLATFORM": "offscreen", "DLPK_CACHE": str(self.folder / "cache"),
            "QGIS_CUSTOM_CONFIG_PATH": str(self.folder / "profile"), "QGIS_PLUGINPATH": str(ROOT / "build" / "plugins"),
            "DLPK_PYTHON": sys.executable, "PATH": "/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry.endswith("site-packages")),
        }  # fmt: skip
        subprocess.run(
            ["qgis_process", "plugins", "enable", "deep_learning_packages"],
            env=self.environment,
            capture_output=True,
            check=False,
        )
        if find_sandbox().program is None:  # then packages run only when they are trusted
            options = [f"--MODEL={self.package}", "--TRUST=true", "--RUN_CODE=false"]
            subprocess.run(
                ["qgis_process", "run", "dlpk:inspectpackage", *options], env=self.environment, capture_output=True, check=True
            )
        self.forget_output()
        began = time.monotonic()
        text = self.start().communicate()[0].decode()
        self.seconds = time.monotonic() - began
        self.reference = self.content()
        if not self.reference:
            raise SystemExit(text)

    def start(self) -> subprocess.Popen[bytes]:
        """One run."""
        options = [f"--INPUT={self.raster}", f"--MODEL={self.package}", "--ARGUMENTS=tile 32;padding 12;batch_size 2", "--NMS=true",
                   f"--OUTPUT=ogr:dbname='{self.output}' table=\"found\" (geom)"]  # fmt: skip
        return subprocess.Popen(
            ["qgis_process", "run", "dlpk:detectobjects", *options],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def forget_output(self) -> None:
        """A GeoPackage with a layer of somebody else, as it was before the first run."""
        for path in self.output.parent.iterdir():
            path.unlink()
        subprocess.run([sys.executable, "-c", OTHER_LAYER, str(self.output)], check=True)

    def forget_package(self) -> None:
        """Have it extracted again."""
        for path in (self.folder / "cache").glob("packages/*"):
            subprocess.run(["rm", "-r", str(path)], check=True)

    def content(self) -> str:
        """A hash of all features of the output in their order; empty when it is not there. The other layer must be."""
        database = sqlite3.connect(self.output)
        try:
            if database.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                return "damaged"
            if database.execute("SELECT count(*) FROM other").fetchone() != (7,):
                return "lost the other layer"
            rows = database.execute("SELECT fid, geom, Class, Confidence FROM found ORDER BY fid").fetchall()
            indexed = database.execute("SELECT count(*) FROM rtree_found_geom").fetchone()[0]
            return hashlib.sha256(repr(rows).encode()).hexdigest() if indexed == len(rows) else "index and layer differ"
        except sqlite3.Error:
            return ""
        finally:
            database.close()

    def leftovers(self) -> list[str]:
        """What a completed run must not leave: unfinished files, journals, processes."""
        files = [*(self.folder / "cache").rglob(".unfinished-*"), *(self.folder / "cache").glob("journals/*"),
                 *(path for path in self.output.parent.iterdir() if path != self.output)]  # fmt: skip
        return [str(path) for path in files] + [f"process {pid}" for pid in workers()]


OTHER_LAYER = """
import sys
from osgeo import ogr
source = ogr.GetDriverByName("GPKG").CreateDataSource(sys.argv[1])
layer = source.CreateLayer("other", geom_type=ogr.wkbPoint)
for number in range(7):
    feature = ogr.Feature(layer.GetLayerDefn())
    feature.SetGeometry(ogr.CreateGeometryFromWkt(f"POINT ({number} 0)"))
    layer.CreateFeature(feature)
source = None
"""


def workers() -> list[int]:
    """Processes that run the worker, also those around it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if WORKER in path.read_bytes():
                found.append(int(path.parts[2]))
        except OSError:
            continue
    return found


def cut(scene: Scene, rng: random.Random) -> tuple[str, str]:
    """Start a run and kill somebody at a random moment; who it was, and what was going on."""
    process, victim = scene.start(), rng.choice(VICTIMS)
    end = time.monotonic() + rng.uniform(0.25, 0.9) * scene.seconds
    extracts = not any((scene.folder / "cache").glob("packages/[0-9a-f]*"))
    # These phases are so short that they would hardly be met by chance.
    awaited = rng.choice((None, None, "extracting" if extracts else None, "writing the output"))
    while process.poll() is None and (awaited or time.monotonic() < end):
        if awaited and phase_of(scene, process) == awaited:
            time.sleep(rng.random() * 0.03)
            break
        time.sleep(0.001)
    phase = phase_of(scene, process)
    if victim in ("worker", "both"):
        for pid in workers():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    if victim in ("qgis", "both"):
        process.kill()
    process.communicate()
    return victim, phase


def phase_of(scene: Scene, process: subprocess.Popen[bytes]) -> str:
    """What a run is doing, by what lies on the disk."""
    if process.poll() is not None:
        return AFTER
    cache = scene.folder / "cache"
    if any(cache.glob("packages/.unfinished-*")):
        return "extracting"
    if any(scene.output.parent.glob(".unfinished-*")):
        return "writing the output"
    return "blocks" if any(cache.glob("journals/[0-9a-f]*")) else "starting or ending"


def main() -> int:
    """Cut, run on, compare; the status is the number of failures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    rng, failures = random.Random(chosen.seed), 0
    table: collections.Counter[tuple[str, str]] = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="dlpk-power-cuts-") as folder:
        scene = Scene(Path(folder))
        print(f"an undisturbed run takes {scene.seconds:.1f} s", flush=True)
        done = 0
        while done < chosen.cuts:
            scene.forget_output()
            if rng.random() < 0.3:
                scene.forget_package()
            for _ in range(rng.choice((1, 1, 2, 3))):
                met = cut(scene, rng)
                table[met] += 1
                done += met[1] != AFTER  # who was not there any more was not cut short
            time.sleep(0.3)
            orphans = workers()
            text = scene.start().communicate()[0].decode()
            problems = [f"orphans {orphans}"] * bool(orphans) + scene.leftovers()
            found = scene.content()
            if found != scene.reference or problems:
                failures += 1
                print(f"FAILED after {done} cuts: {found or 'no output'}; {problems}\n{text}", flush=True)
    for (victim, phase), count in sorted(table.items()):
        print(f"{count:4} × killed {victim:6} while {phase}")
    print(f"{done} cuts, {failures} failures")
    return failures


if __name__ == "__main__":
    sys.exit(main())
