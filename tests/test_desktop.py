"""Runs tests/desktop inside the real QGIS, on a virtual screen."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_inside_qgis():
    done = subprocess.run(["bash", "tools/desktop_tests.sh"], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
