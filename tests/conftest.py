"""What all tests share: the plugin under its QGIS name, small rasters, synthetic packages, no leftovers."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "build" / "plugins"))
sys.path.insert(0, str(ROOT / "tests"))
os.environ["DLPK_CACHE"] = tempfile.mkdtemp(prefix="dlpk-test-cache-")
atexit.register(shutil.rmtree, os.environ["DLPK_CACHE"], ignore_errors=True)
os.environ.setdefault("DLPK_PYTHON", sys.executable)

collect_ignore = ["desktop"]  # these run inside QGIS, see test_desktop.py

from leftovers import Leftovers  # noqa: E402


@pytest.fixture(autouse=True)
def no_leftovers(monkeypatch):
    """After every test: no worker, no shared memory, no journal, no unfinished extraction."""
    before = Leftovers.now()
    yield
    deadline = time.monotonic() + 2  # threads that wait for a server end a moment after their run
    while (left := Leftovers.now().beyond(before)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


@pytest.fixture(autouse=True)
def trusting():
    """Where there is no sandbox, packages run only when they are trusted; those of the tests are our own."""
    from deep_learning_packages.inference.sandbox import find_sandbox

    if find_sandbox().program is not None:
        yield
        return
    from deep_learning_packages.algorithms import consent

    consent.set_question(lambda package, reason: True)
    yield
    consent.set_question(None)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A cache folder of this test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("DLPK_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def provider(qgis_processing):
    """The provider in Processing's registry."""
    from deep_learning_packages.provider.provider import DeepLearningPackagesProvider
    from qgis.core import QgsApplication

    provider = DeepLearningPackagesProvider()
    QgsApplication.processingRegistry().addProvider(provider)
    yield provider
    QgsApplication.processingRegistry().removeProvider(provider)
