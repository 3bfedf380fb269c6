"""What the tests inside QGIS share: waiting, pictures, packages of every kind."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from qgis.PyQt.QtCore import QEventLoop, QTimer
from qgis.PyQt.QtWidgets import QApplication, QWidget
from qgis.utils import iface

ROOT = Path(__file__).parents[2]
SAMPLE = Path("resources") / "sample"  # relative, so that pictures show no paths of the machine
os.chdir(ROOT)
PICTURES = Path(os.environ["DLPK_PICTURES"])
sys.path.insert(0, str(ROOT / "tests"))

from packages import make_package  # noqa: E402

ARGUMENTS = """
    def getParameterInfo(self):
        return [
            {"name": "raster", "dataType": "raster", "required": True},
            {"name": "model", "dataType": "string", "required": True},
            {"name": "device", "dataType": "numeric"},
            {"name": "tile", "dataType": "GPLong", "value": 256, "displayName": "Tile size", "domain": [32, 1024],
             "description": "Side of a mini-tile in pixels."},
            {"name": "padding", "dataType": "numeric", "value": 0, "displayName": "Padding"},
            {"name": "threshold", "dataType": "GPDouble", "value": 0.5, "domain": [0.0, 1.0], "displayName": "Confidence threshold"},
            {"name": "return_bboxes", "dataType": "GPString", "value": "False", "domain": ("True", "False"),
             "displayName": "Return bounding boxes"},
            {"name": "merge_policy", "dataType": "string", "value": "mean", "domain": ("mean", "max", "min"),
             "displayName": "Merge policy"},
            {"name": "text_prompt", "dataType": "string", "value": "", "displayName": "Text prompt",
             "description": "What to look for; several things with commas."},
            {"name": "seed", "dataType": "numeric", "displayName": "Seed", "description": "Has no default."},
        ]
"""
SLOW = """
    def initialize(self, **scalars):
        import time
        time.sleep(3)
"""
CLASSES = [
    {"Value": 1, "Name": "Car", "Color": [228, 26, 28]},
    {"Value": 2, "Name": "Bus", "Color": [55, 126, 184]},
    {"Value": 3, "Name": "Lorry", "Color": [255, 127, 0]},
]


def every_kind(folder: Path, name: str = "Vehicles") -> Path:
    """A package with an argument of each kind."""
    sizes = {"MinCellSize": {"x": 0.25, "y": 0.25}, "MaxCellSize": {"x": 0.5, "y": 0.5}}
    definition = {"ModelName": name, "Classes": CLASSES, "ExtractBands": [0, 1, 2], **sizes}
    return make_package(folder, ARGUMENTS, definition)


def wait(until: Callable[[], object], seconds: float = 30.0) -> None:
    """Let QGIS work until something is true."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it did not happen"
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)
        time.sleep(0.005)


def pause(seconds: float) -> None:
    """Let QGIS work for a while."""
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() > end, seconds + 5)


def picture(widget: QWidget, name: str) -> None:
    """Keep a picture of a widget for people to look at."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    iface.messageBar().clearWidgets()
    pause(0.2)
    assert widget.grab().save(str(PICTURES / f"{name}.png"))


class Stalls:
    """Measures how long the event loop did not turn."""

    def __enter__(self) -> Stalls:
        self.longest, self._last = 0.0, time.monotonic()
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(5)
        return self

    def _tick(self) -> None:
        now = time.monotonic()
        self.longest, self._last = max(self.longest, now - self._last), now

    def __exit__(self, *_: object) -> None:
        self._tick()
        self._timer.stop()


def in_modal(act):
    """Call a function with the next modal dialog, as soon as there is one for which it returns True."""

    def look():
        dialog = QApplication.activeModalWidget()
        try:
            if dialog is None or not act(dialog):
                QTimer.singleShot(50, look)
        except Exception:
            dialog.reject()
            raise

    QTimer.singleShot(50, look)
