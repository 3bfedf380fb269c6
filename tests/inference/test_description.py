"""What is known of a package without running it again: hashes by time and size, answers by hash."""

from __future__ import annotations

import os

import pytest
from deep_learning_packages.inference import cache as cache_room
from deep_learning_packages.inference import description, digests
from deep_learning_packages.inference.errors import FunctionError, InferenceError
from deep_learning_packages.inference.interpreter import find_interpreter
from deep_learning_packages.inference.package import open_package
from deep_learning_packages.inference.raster_function import Hosting
from deep_learning_packages.inference.sandbox import find_sandbox
from engine_runs import Recorder
from packages import make_package, zip_package


@pytest.fixture
def hosting():
    return Hosting(find_interpreter(), find_sandbox())


@pytest.fixture
def archive(cache, tmp_path):
    return zip_package(make_package(tmp_path / "p"), tmp_path / "p.dlpk")


def test_described_once_and_recalled(archive, hosting):
    package = open_package(archive)
    assert description.recall(package.sha256) is None
    told = description.describe(package, hosting, Recorder(), with_fields=True)
    assert [argument.name for argument in told.arguments] == ["tile", "padding"]
    assert [field.name for field in told.fields] == ["Class", "Confidence"]
    assert told.geometry_type == 4
    assert description.recall(package.sha256) == told
    assert description.recalled_for(archive) == told
    assert description.recalled_for(str(archive) + ".gone") is None


def test_a_package_that_cannot_be_configured_keeps_its_arguments(cache, tmp_path, hosting):
    package = open_package(make_package(tmp_path / "p", "def getConfiguration(self, **s):\n    raise OSError('no')\n"))
    with pytest.raises(FunctionError):
        description.describe(package, hosting, Recorder(), with_fields=True)
    known = description.recall(package.sha256)
    assert [argument.name for argument in known.arguments] == ["tile", "padding"]
    assert known.fields is None


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"format": 99}', '{"format": 1, "arguments": [{"x": 1}]}'])
def test_damaged_notes_are_asked_again(archive, hosting, cache, damaged):
    package = open_package(archive)
    description.describe(package, hosting, Recorder())
    note = next((cache / "descriptions").iterdir())
    note.write_text(damaged)
    assert description.recall(package.sha256) is None


@pytest.mark.parametrize("kind", ["archive", "folder", "definition"])
def test_hash_is_recalled_until_something_changes(cache, tmp_path, kind):
    folder = make_package(tmp_path / "p")
    path = {"archive": zip_package(folder, tmp_path / "p.dlpk"), "folder": folder, "definition": folder / "Package.emd"}[kind]
    place = folder if kind == "definition" else path
    assert digests.recall(place) is None
    package = open_package(path)
    assert digests.recall(place) == package.sha256
    read = []
    assert open_package(path, lambda: read.append(1), quick=True).sha256 == package.sha256
    assert not read
    changed = folder / "Function.py" if path.suffix != ".dlpk" else path
    status = changed.stat()
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert digests.recall(place) is None


def test_a_run_never_trusts_the_note(archive):
    """Same size and time, other content: looking at it may be fooled, running it may not."""
    before = open_package(archive)
    status = archive.stat()
    content = bytearray(archive.read_bytes())
    at = content.index(b"Function.py")
    content[at : at + 8] = b"functioN"
    archive.write_bytes(content)
    os.utime(archive, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert open_package(archive, quick=True).sha256 == before.sha256
    try:
        assert open_package(archive).sha256 != before.sha256
    except InferenceError:
        pass  # refused, which is as good


def test_the_cache_can_be_cleared_but_not_under_a_run(archive, cache):
    from deep_learning_packages.inference.journal import Journal
    from deep_learning_packages.inference.journals import clear_cache

    open_package(archive)
    assert cache_room.size() > 0
    journal = Journal("12ab")
    with pytest.raises(InferenceError, match="A run uses the cache"):
        clear_cache()
    journal.remove()
    clear_cache()
    assert cache_room.size() == 0
    open_package(archive)


def test_default_folder_counts_less_than_the_environment(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setenv("DLPK_CACHE", str(tmp_path / "named"))
        patched.setattr(cache_room, "_default", str(tmp_path / "chosen"))
        assert cache_room.cache_folder() == tmp_path / "named"
        patched.delenv("DLPK_CACHE")
        assert cache_room.cache_folder() == tmp_path / "chosen"
