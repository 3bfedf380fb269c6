"""Short runs of what `make fuzz` and `make power-cuts` do for long."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
TARGETS = ("archive", "definition", "arguments", "features", "answers", "requests")


@pytest.mark.parametrize("target", TARGETS)
def test_fuzzing_finds_nothing(target):
    pytest.importorskip("atheris", reason="Atheris is not made for this platform")
    done = subprocess.run(
        [sys.executable, str(TESTS / "fuzzing.py"), target, "15000"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "number_of_executed_units: 15000" in done.stderr


def test_power_cuts():
    """Each a real qgis_process that is killed, and one that goes on."""
    if shutil.which("qgis_process") is None:
        pytest.skip("qgis_process is not on the PATH")
    environment = {**os.environ, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, str(TESTS / "power_cuts.py"), "--cuts", "5", "--seed", "8"], env=environment, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failures" in done.stdout
