"""Make small pictures for the manual from those that the tests inside QGIS have left."""

from __future__ import annotations

import sys
from pathlib import Path

from qgis.PyQt.QtCore import QRect, Qt
from qgis.PyQt.QtGui import QGuiApplication, QImage

WANTED = {
    "light-1/dialog.png": ("dialog.png", 760),
    "light-1/warnings.png": ("warnings.png", 760),
    "light-1/batch.png": ("batch.png", 820),
    "light-1/modeler_child.png": ("modeler.png", 560),
    "light-1/result.png": ("result.jpg", 900),
    "report.png": ("report.jpg", 700),
}
QUALITY = 82


def main() -> None:
    """Shrink what is there."""
    application = QGuiApplication(sys.argv)
    source, target = map(Path, sys.argv[1:3])
    target.mkdir(parents=True, exist_ok=True)
    for name, (small, width) in WANTED.items():
        picture = QImage(str(source / name))
        if picture.isNull():
            print(f"{name} is not there")
            continue
        if small == "report.jpg":
            picture = picture.copy(QRect(0, 0, picture.width(), min(picture.height(), 1800)))
        picture = picture.scaledToWidth(width, Qt.TransformationMode.SmoothTransformation)
        picture.save(str(target / small), quality=QUALITY if small.endswith(".jpg") else -1)
        print(f"{target / small}: {(target / small).stat().st_size // 1024} KiB")
    del application


if __name__ == "__main__":
    main()
