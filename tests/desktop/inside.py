"""Run by the real QGIS (`qgis --code`): the tests of this folder, then QGIS ends."""

import os
import shlex
import sys
from pathlib import Path

from qgis.PyQt.QtCore import QTimer

FOLDER = Path(os.environ["DLPK_DESKTOP_TESTS"])


def run() -> None:
    """Run pytest in the thread of the GUI; os._exit, as a dialog of QGIS must not ask anything at the end."""
    status = 3
    try:
        import pytest

        sys.path.insert(0, str(FOLDER))
        arguments = [
            "-c",
            str(FOLDER / "pytest.ini"),
            "--rootdir",
            str(FOLDER),
            "--confcutdir",
            str(FOLDER),
            "-p",
            "no:pytest_qgis",
        ]
        status = int(pytest.main([*arguments, *shlex.split(os.environ.get("DLPK_DESKTOP_ARGUMENTS", "")), str(FOLDER)]))
    finally:
        sys.stdout.flush()
        Path(os.environ["DLPK_DESKTOP_STATUS"]).write_text(str(status))
        os._exit(status)


QTimer.singleShot(500, run)
