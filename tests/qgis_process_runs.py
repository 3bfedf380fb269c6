"""Runs the detector with the real qgis_process, in a profile of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from deep_learning_packages.inference.sandbox import find_sandbox
from osgeo import gdal
from packages import ORACLE, make_package, zip_package
from rasters import draw, write_raster

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "resources" / "sample"


@dataclass
class Ended:
    """How a call of qgis_process ended."""

    status: int
    text: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.text.splitlines() if line.startswith("ERROR")]


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """QGIS with this plugin in a fresh profile, and a PATH without foreign Pythons."""
    values = {
        "HOME": str(tmp_path_factory.mktemp("home")),
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "QT_QPA_PLATFORM": "offscreen",
        "XDG_RUNTIME_DIR": str(tmp_path_factory.mktemp("runtime")),
        "QGIS_CUSTOM_CONFIG_PATH": str(tmp_path_factory.mktemp("profile")),
        "QGIS_PLUGINPATH": str(ROOT / "build" / "plugins"),
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry.endswith("site-packages")),
        "DLPK_PYTHON": sys.executable,
        "DLPK_CACHE": os.environ["DLPK_CACHE"],
    }
    subprocess.run(["qgis_process", "plugins", "enable", "deep_learning_packages"], env=values, capture_output=True, check=False)
    return values


def trust(environment: dict[str, str], model: Path) -> Ended:
    options = [f"--MODEL={model}", "--TRUST=true", "--RUN_CODE=false"]
    done = subprocess.run(
        ["qgis_process", "run", "dlpk:inspectpackage", *options], env=environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout + done.stderr)


@pytest.fixture
def detect(environment, tmp_path):
    """Run dlpk:detectobjects with these parameters."""

    def call(environment_changes=None, **parameters) -> Ended:
        parameters.setdefault("OUTPUT", tmp_path / "output.gpkg")
        if find_sandbox().program is None and Path(parameters.get("MODEL", "")).exists():
            trust(environment, parameters["MODEL"])
        given = {name: value if isinstance(value, list) else [value] for name, value in parameters.items()}
        options = [f"--{name}={value}" for name, values in given.items() for value in values]
        done = subprocess.run(
            ["qgis_process", "run", "dlpk:detectobjects", *options],
            env={**environment, **(environment_changes or {})}, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout + done.stderr)

    return call


@pytest.fixture
def raster(tmp_path):
    pixels = np.zeros((1, 120, 160), np.uint16)
    draw(pixels[0], (20, 30, 30, 36), 1)
    draw(pixels[0], (60, 30, 68, 40), 2)
    return write_raster(tmp_path / "raster.tif", pixels)


@pytest.fixture
def package(tmp_path):
    return zip_package(make_package(tmp_path / "package", ORACLE), tmp_path / "package.dlpk")


def layers(path: Path) -> dict[str, int]:
    """The layers of a file with their numbers of features, without the table that holds QGIS's styles."""
    dataset = gdal.OpenEx(str(path))
    counts = {dataset.GetLayer(i).GetName(): dataset.GetLayer(i).GetFeatureCount() for i in range(dataset.GetLayerCount())}
    counts.pop("layer_styles", None)
    return counts
