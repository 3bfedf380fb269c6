"""What may run where: in a sandbox anything, without one only what the user trusts, by its hash."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from deep_learning_packages.algorithms import consent, settings, trusted
from deep_learning_packages.inference.errors import WorkerError
from deep_learning_packages.inference.interpreter import find_interpreter
from deep_learning_packages.inference.package import open_package
from deep_learning_packages.inference.raster_function import Hosting
from deep_learning_packages.inference.sandbox import Sandbox
from engine_runs import Recorder
from packages import make_package
from qgis.core import QgsSettings


@pytest.fixture
def package(tmp_path):
    return open_package(make_package(tmp_path / "package", definition={"Author": "<b>Somebody</b>"}))


@pytest.fixture
def none() -> Hosting:
    return Hosting(find_interpreter(), Sandbox(None, "bubblewrap is not installed"))


@pytest.fixture(autouse=True)
def nobody_and_nothing_trusted(qgis_app):
    QgsSettings().remove(trusted.SETTING)
    consent.set_question(None)
    yield
    consent.set_question(None)
    QgsSettings().remove(trusted.SETTING)
    QgsSettings().remove(f"{settings.GROUP}/sandbox")


def test_nobody_to_ask(package, none):
    feedback = Recorder()
    with pytest.raises(WorkerError, match=r"runs only if you trust it.*--RUN_CODE=false.*--TRUST=true"):
        consent.allowed(package, none, feedback)
    assert feedback.warnings == []


def test_no(package, none):
    consent.set_question(lambda package, reason: False)
    with pytest.raises(WorkerError, match="you did not allow it"):
        consent.allowed(package, none, Recorder())
    assert trusted.packages() == []


def test_yes_is_remembered_by_hash(package, none, tmp_path):
    consent.set_question(lambda package, reason: True)
    assert consent.allowed(package, none, Recorder()) is none
    consent.set_question(lambda package, reason: pytest.fail("asked again"))
    feedback = Recorder()
    assert consent.allowed(package, none, feedback) is none
    assert "runs without a sandbox, with all your rights, as bubblewrap is not installed" in feedback.warnings[0]
    (remembered,) = trusted.packages()
    assert (remembered.sha256, remembered.name) == (package.sha256, "Package")
    (tmp_path / "package" / "Function.py").write_text("changed = True\n")
    consent.set_question(None)
    with pytest.raises(WorkerError, match="only if you trust it"):
        consent.allowed(open_package(tmp_path / "package"), none, Recorder())
    trusted.revoke({package.sha256})
    assert not trusted.contains(package.sha256)


def test_sandboxed_packages_are_not_asked_about(package):
    consent.set_question(lambda package, reason: pytest.fail("asked"))
    contained = Hosting(find_interpreter(), Sandbox("/usr/bin/bwrap", "bubblewrap"))
    assert consent.allowed(package, contained, Recorder()) is contained
    trusted.add(package.sha256, "Package")
    assert consent.allowed(package, contained, Recorder()).sandbox.has_network


def test_what_comes_with_the_plugin_needs_no_question(none, cache):
    samples = list((Path(__file__).parents[2] / "resources").rglob("*.dlpk"))
    assert len(samples) == 3
    for sample in samples:
        assert consent.allowed(open_package(sample), none, Recorder()) is none


def test_question_is_asked_in_the_main_thread(qgis_app, package, none):
    from qgis.PyQt.QtCore import QCoreApplication, QThread

    asked, outcome = [], []
    consent.set_question(lambda package, reason: asked.append(QThread.currentThread()) or True)
    thread = threading.Thread(target=lambda: outcome.append(consent.allowed(package, none, Recorder())))
    thread.start()
    end = time.monotonic() + 10
    while thread.is_alive() and time.monotonic() < end:
        QCoreApplication.processEvents()
    thread.join(1)
    assert outcome == [none]
    assert asked == [qgis_app.thread()]


def test_question_shows_who_what_and_the_hash(package, monkeypatch):
    from deep_learning_packages.provider import consent_dialog
    from qgis.PyQt.QtCore import Qt
    from qgis.PyQt.QtWidgets import QMessageBox

    shown = []

    def press_first(box):
        shown.append((box.textFormat(), box.text() + box.informativeText()))
        box.buttons()[0].click()

    monkeypatch.setattr(QMessageBox, "exec", press_first)
    assert consent_dialog.ask(package, "bubblewrap is not installed")
    ((kind, text),) = shown
    assert kind == Qt.TextFormat.PlainText
    for told in (package.sha256, "Model: Package", "Author: <b>Somebody</b>", "It imports: numpy"):
        assert told in text


@pytest.mark.parametrize(
    ("option", "variable", "has_bubblewrap", "expected"),
    [
        ("auto", "", True, "bubblewrap"),
        ("auto", "", False, "not installed"),
        ("off", "", True, "it is switched off"),
        ("required", "", True, "bubblewrap"),
        ("required", "", False, WorkerError),
        ("off", "required", False, WorkerError),
        ("required", "off", False, "it is switched off"),
        ("nonsense", "", False, WorkerError),
        ("auto", "nonsense", True, WorkerError),
    ],
)
def test_option_and_variable(monkeypatch, option, variable, has_bubblewrap, expected):
    found = Sandbox("/usr/bin/bwrap", "bubblewrap") if has_bubblewrap else Sandbox(None, "bubblewrap is not installed")
    monkeypatch.setattr(settings, "find_sandbox", lambda: found)
    monkeypatch.setenv(settings.SANDBOX_VARIABLE, variable)
    QgsSettings().setValue(f"{settings.GROUP}/sandbox", option)
    if isinstance(expected, str):
        assert expected in settings.hosting().sandbox.description
    else:
        with pytest.raises(WorkerError, match="A sandbox is required, but|only auto, required, off are understood"):
            settings.hosting()


@pytest.mark.parametrize("stored", ["", "no JSON", "[1]", '[{"sha256": "x"}]', '{"sha256": 1}'])
def test_trust_that_cannot_be_read_is_none(stored):
    QgsSettings().setValue(trusted.SETTING, stored)
    assert trusted.packages() == []
