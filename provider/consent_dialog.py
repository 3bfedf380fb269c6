"""Asks the user of the desktop, once a package, whether it may run without a sandbox."""

from __future__ import annotations

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QMessageBox
from qgis.utils import iface

from ..inference.package import Package
from ..inference.requirements import requirements_of
from ..inference.translation import tr

PUBLISHER_KEYS = ("Author", "Publisher", "Organization", "Credits", "ArcGISLearnVersion")
"""What model definitions tell of who made them; anybody can write anything there."""


def ask(package: Package, reason: str) -> bool:
    """Whether the user trusts the package.

    Args:
        package: What would run.
        reason: Why there is no sandbox.
    """
    box = QMessageBox(iface.mainWindow() if iface else None)
    box.setIcon(QMessageBox.Icon.Warning)
    box.setTextFormat(Qt.TextFormat.PlainText)  # a file's name must not shape the question
    box.setWindowTitle(tr("Run this package?"))
    box.setText(tr("{name} contains a Python program, which would run with all your rights.", name=package.source.name))
    box.setInformativeText("\n\n".join(paragraphs(package, reason)))
    run = box.addButton(tr("Run it and remember"), QMessageBox.ButtonRole.AcceptRole)
    box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
    box.exec()
    return box.clickedButton() is run


def paragraphs(package: Package, reason: str) -> list[str]:
    """What the question tells: why it is asked, what the package says of itself, what it imports, and its hash."""
    told = [(key, package.definition.shown(key)) for key in PUBLISHER_KEYS]
    facts = [tr("Model: {name}", name=package.definition.name), *(f"{key}: {value}" for key, value in told if value)]
    imported = ", ".join(each.module for each in requirements_of(package).libraries)
    return [
        tr("There is no sandbox to contain it, as {reason}. Run it only if you trust who made it.", reason=reason),
        "\n".join([*facts, tr("It imports: {libraries}", libraries=imported or tr("only Python's own library"))]),
        f"sha256 {package.sha256}",
    ]
