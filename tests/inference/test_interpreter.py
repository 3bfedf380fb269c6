"""Which Python runs packages, on the layouts of all systems, and what it tells about itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from deep_learning_packages.inference import interpreter
from deep_learning_packages.inference.environment import inspect_environment
from deep_learning_packages.inference.errors import WorkerError
from deep_learning_packages.inference.raster_function import Hosting
from deep_learning_packages.inference.requirements import Requirement
from deep_learning_packages.inference.sandbox import find_sandbox
from engine_runs import Recorder

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
LAYOUTS = {
    "OSGeo4W": ("win32", "OSGeo4W/apps/Python312", "OSGeo4W/apps/Python312/python.exe"),
    "standalone installer": ("win32", "QGIS 3.40/apps/Python312", "QGIS 3.40/apps/Python312/python3.exe"),
    "macOS bundle": ("darwin", "QGIS.app/Contents/MacOS", "QGIS.app/Contents/MacOS/bin/python3"),
    "macOS bundle, framework": (
        "darwin", "QGIS.app/Contents/Frameworks/Python.framework/Versions/Current", "QGIS.app/Contents/MacOS/python3",
    ),
    "macOS bundle, resources": ("darwin", "QGIS.app/Contents/Resources/python", f"QGIS.app/Contents/Frameworks/bin/python{VERSION}"),
    "Linux": ("linux", "usr", "usr/bin/python3"),
    "conda": ("linux", "opt/conda/envs/qgis", f"opt/conda/envs/qgis/bin/python{VERSION}"),
}  # fmt: skip


def program(path: Path) -> Path:
    """A Python: a script that starts the present one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_own_python_of_every_system(tmp_path, layout, monkeypatch):
    platform, prefix, expected = LAYOUTS[layout]
    python = program(tmp_path / expected)
    candidates = interpreter.own_candidates(platform, tmp_path / prefix, tmp_path / prefix)
    assert next(path for path in candidates if path.is_file()) == python
    monkeypatch.delenv("DLPK_PYTHON", raising=False)
    monkeypatch.setattr(interpreter.sys, "platform", platform)
    monkeypatch.setattr(interpreter.sys, "prefix", str(tmp_path / prefix))
    monkeypatch.setattr(interpreter.sys, "exec_prefix", str(tmp_path / prefix))
    monkeypatch.setattr(interpreter.sys, "executable", "/never/qgis-bin.exe")
    found = interpreter.find_interpreter()
    assert (found.path, found.inherits_path, found.origin) == (python, True, "the Python of QGIS")


def test_order(tmp_path, monkeypatch):
    """The environment variable counts more than the option, and the option more than QGIS's own."""
    named, chosen = program(tmp_path / "named"), program(tmp_path / "chosen")
    monkeypatch.setenv("DLPK_PYTHON", str(named))
    assert interpreter.find_interpreter(str(chosen)).path == named
    monkeypatch.delenv("DLPK_PYTHON")
    found = interpreter.find_interpreter(str(chosen))
    assert (found.path, found.inherits_path, found.origin) == (chosen, False, "chosen in the options")


@pytest.mark.parametrize("inside", ["python.exe", "Scripts/python.exe", "bin/python3", "bin/python"])
def test_the_folder_of_an_environment_will_do(tmp_path, monkeypatch, inside):
    """As of ArcGIS Pro's cloned environments, whose python.exe lies in the folder itself."""
    monkeypatch.delenv("DLPK_PYTHON", raising=False)
    python = program(tmp_path / "arcgispro-py3-clone" / inside)
    assert interpreter.find_interpreter(str(tmp_path / "arcgispro-py3-clone")).path == python


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("#!/bin/sh\necho broken >&2\nexit 3\n", "does not start: broken"),
        ("#!/bin/sh\nexit 3\n", "does not start"),
        ('#!/bin/sh\necho \'[[3, 7, 1], "/", "/", []]\'\n', "is version 3.7.1, and 3.9 or later is needed"),
    ],
)
def test_bad_choice(tmp_path, monkeypatch, content, message):
    monkeypatch.delenv("DLPK_PYTHON", raising=False)
    path = tmp_path / "python"
    path.write_text(content)
    path.chmod(0o755)
    with pytest.raises(WorkerError, match=message):
        interpreter.find_interpreter(str(path))
    with pytest.raises(WorkerError, match="does not start"):
        interpreter.find_interpreter(str(tmp_path / "gone"))


def test_what_it_offers():
    hosting = Hosting(interpreter.find_interpreter(), find_sandbox(), "CPU")
    wanted = [Requirement("numpy", False), Requirement("no_such_library", False), Requirement("xml", True)]
    told = inspect_environment(hosting, wanted, Recorder(), with_torch=True)
    assert told.python == sys.version.split()[0]
    assert set(told.versions) == {"numpy"}
    assert [each.module for each in told.missing] == ["no_such_library"]
    assert told.torch.startswith("2.")
    assert (told.device.index, told.device.name) == (-1, "CPU")


def test_gpu_that_is_not_there():
    if Path("/dev/nvidia0").exists():
        pytest.skip("this machine has a GPU")
    hosting = Hosting(interpreter.find_interpreter(), find_sandbox(), "GPU")
    told = inspect_environment(hosting, [], Recorder())
    assert told.device is None
    assert "a GPU was asked for, but" in told.device_error
