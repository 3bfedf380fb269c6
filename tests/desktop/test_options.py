"""The options page in the real QGIS."""

from __future__ import annotations

import pytest
from desktop import in_modal, pause, picture, wait
from qgis.core import QgsSettings
from qgis.PyQt.QtWidgets import QPushButton, QWidget
from qgis.utils import iface

GROUP = "deep_learning_packages"


def open_options(work) -> None:
    """Open QGIS's options at our page and do something with it."""

    def look(dialog):
        pause(1.0)
        work(next(each for each in dialog.findChildren(QWidget) if hasattr(each, "processor")), dialog)
        dialog.reject()
        return True

    in_modal(look)
    iface.showOptionsDialog(iface.mainWindow(), "deepLearningPackagesOptions")


@pytest.fixture(autouse=True)
def settings():
    yield QgsSettings()
    for name in ("processor", "sandbox", "trusted_packages"):
        QgsSettings().remove(f"{GROUP}/{name}")


@pytest.fixture
def kept(plugin):
    """What two runs that were cut short have left."""
    from deep_learning_packages.inference.blocks import Block
    from deep_learning_packages.inference.grid import Window
    from deep_learning_packages.inference.journal import Journal
    from deep_learning_packages.inference.journal_file import NAME, RASTER, TOTAL

    folders = []
    for raster, fingerprint in (("orthophoto_2024.tif", "a" * 64), ("orthophoto_2025.tif", "b" * 64)):
        journal = Journal(fingerprint)
        journal.note({NAME: "Tree crowns", RASTER: raster, TOTAL: "1200"})
        journal.add(Block(Window(0, 0, 10, 10), 0), None, "[0, 0, {}, {}]")
        folders.append(journal.folder)
        journal.close()
    return folders


def test_check_tells_what_the_python_offers_and_what_is_set_is_saved(plugin, settings):
    """The page is under Processing."""
    seen = {}

    def work(page, dialog):
        page.findChild(QPushButton, "check").click()
        wait(lambda: "torch" in page.report.text() and "MiB" in page.size.text(), 60)
        seen.update(report=page.report.text(), size=page.size.text())
        page.processor.setCurrentText("CPU")
        page.sandbox.setCurrentIndex(1)
        page.apply()

    open_options(work)
    assert "torch 2." in seen["report"]
    assert "Device: CPU" in seen["report"]
    assert "MiB" in seen["size"]
    assert (settings.value(f"{GROUP}/processor"), settings.value(f"{GROUP}/sandbox")) == ("CPU", "required")


def test_trust_and_kept_runs_are_listed_and_taken_back(plugin, kept):
    from deep_learning_packages.algorithms import trusted
    from deep_learning_packages.inference.journals import kept_journals

    trusted.add("1" * 64, "Cars")
    trusted.add("2" * 64, "<b>Ships</b>")

    def take_away(page):
        wait(lambda: page.kept.tree.topLevelItemCount() == 2)
        texts = [page.kept.tree.topLevelItem(number).text(column) for number in range(2) for column in range(3)]
        names = ["orthophoto_2024.tif", "orthophoto_2025.tif"]
        assert sorted(texts) == sorted([*names, *["Tree crowns", "1 of 1200"] * 2])
        assert not page.kept.button.isEnabled()
        for each in (page.kept, page.trusted):
            each.tree.topLevelItem(0).setSelected(True)
            each.button.click()
            assert each.tree.topLevelItemCount() == 1

    def only_look(page, dialog):
        wait(lambda: page.kept.tree.topLevelItemCount() == 2)
        picture(dialog, "options")
        take_away(page)

    open_options(only_look)  # without OK nothing is done
    assert (len(trusted.packages()), len(kept_journals())) == (2, 2)

    def accept(page, dialog):
        take_away(page)
        page.apply()

    open_options(accept)
    assert [package.name for package in trusted.packages()] == ["<b>Ships</b>"]
    assert len(kept_journals()) == 1
    from deep_learning_packages.inference.journals import forget

    for journal in kept_journals():
        forget(journal.folder)
