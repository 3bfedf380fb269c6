"""Asks the user of the desktop, once a package, whether it may run without a sandbox."""

from __future__ import annotations

from qgis.core import QgsSettings
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QMessageBox
from qgis.utils import iface

from ..algorithms.settings import GROUP
from ..inference.package import Package
from ..inference.translation import tr

SETTING = f"{GROUP}/trusted"


def ask(package: Package, reason: str) -> bool:
    """Whether the user lets the package run; a yes is remembered by the package's hash.

    Args:
        package: What would run.
        reason: Why there is no sandbox.
    """
    settings = QgsSettings()
    trusted = settings.value(SETTING, []) or []
    trusted = [trusted] if isinstance(trusted, str) else list(trusted)
    if package.sha256 in trusted:
        return True
    box = QMessageBox(iface.mainWindow() if iface else None)
    box.setIcon(QMessageBox.Icon.Warning)
    box.setTextFormat(Qt.TextFormat.PlainText)  # a file's name must not shape the question
    box.setWindowTitle(tr("Run this package?"))
    box.setText(tr("{name} contains a Python program, which would run with all your rights.", name=package.source.name))
    box.setInformativeText(
        tr("There is no sandbox to contain it, as {reason}. Run it only if you trust who made it.\n\nsha256 {hash}",
           reason=reason, hash=package.sha256)
    )  # fmt: skip
    run = box.addButton(tr("Run it and remember"), QMessageBox.ButtonRole.AcceptRole)
    box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
    box.exec()
    if box.clickedButton() is not run:
        return False
    settings.setValue(SETTING, [*trusted, package.sha256])
    return True
