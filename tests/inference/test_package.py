"""Reading packages: containers, model definitions, and what must be refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from deep_learning_packages.inference import archive, archive_readers
from deep_learning_packages.inference.errors import Cancelled, InferenceError, PackageError
from deep_learning_packages.inference.package import open_package
from packages import make_package, zip_package


@pytest.fixture
def folder(tmp_path) -> Path:
    return make_package(tmp_path / "package")


def zip_of(path: Path, *members: tuple[str | zipfile.ZipInfo, str]) -> Path:
    with zipfile.ZipFile(path, "w") as zipped:
        for name, content in members:
            zipped.writestr(name, content)
    return path


def test_folder_definition_and_archive_are_the_same_package(folder, tmp_path, cache):
    archived = open_package(zip_package(folder, tmp_path / "package.dlpk"))
    for package in (open_package(folder), open_package(folder / "Package.emd"), archived):
        assert package.definition.values["InferenceFunction"] == "Function.py"
        assert Path(package.function).name == "Function.py"
        assert len(package.sha256) == 64
    assert archived.definition.path.is_relative_to(cache)


def test_definition_in_an_outer_folder(folder, tmp_path, cache):
    package = open_package(zip_package(folder, tmp_path / "package.dlpk", inside="outer/inner/"))
    assert package.definition.path.parts[-3:] == ("outer", "inner", "Package.emd")


def test_definition_named_like_the_package_wins(folder, tmp_path, cache):
    shutil.copy(folder / "Package.emd", folder / "Other.EMD")
    assert open_package(zip_package(folder, tmp_path / "package.dlpk")).definition.path.name == "Package.emd"
    with pytest.raises(PackageError, match=r"several model definitions: .*Other\.EMD"):
        open_package(zip_package(folder, tmp_path / "unrelated.dlpk"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "cp1252", "utf-8"])
def test_encodings_of_the_definition(folder, tmp_path, cache, encoding):
    values = json.loads((folder / "Package.emd").read_text()) | {"ModelName": "Bäume"}
    (folder / "Package.emd").write_bytes(json.dumps(values, ensure_ascii=False).encode(encoding))
    assert open_package(folder).definition.name == "Bäume"
    package = open_package(zip_package(folder, tmp_path / "p.dlpk"))
    assert json.loads(package.definition.path.read_text(encoding="utf-8"))["ModelName"] == "Bäume"  # as functions open it


def test_backslashes_in_the_definition_and_in_the_archive(folder, tmp_path, cache):
    definition = json.dumps({"InferenceFunction": ".\\code\\Function.py"})
    code = (folder / "Function.py").read_text()
    path = zip_of(tmp_path / "p.dlpk", ("Package.emd", definition), ("code\\Function.py", code))
    assert Path(open_package(path).function).parts[-2:] == ("code", "Function.py")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n  "ModelType": 1,\n  oops\n}', "line 3, column 3"),
        ('{"ModelFile": "c:\\models\\x.pt"}', "single backslash must be written as two"),
        ("[1, 2]", "must hold a JSON object"),
        ("{}", "neither InferenceFunction"),
        ('{"InferenceFunction": "Missing.py"}', "names 'Missing.py', but there is no such file"),
        ('{"InferenceFunction": 7}', "InferenceFunction must be text, but it is 7"),
    ],
)
def test_bad_definitions(tmp_path, text, message):
    (tmp_path / "P.emd").write_text(text)
    with pytest.raises(PackageError, match=message):
        open_package(tmp_path / "P.emd")


def test_function_above_a_nested_definition_is_seen(folder, tmp_path, cache):
    definition = json.dumps({"InferenceFunction": "..\\Function.py"})
    path = zip_of(tmp_path / "p.dlpk", ("models/P.emd", definition), ("Function.py", (folder / "Function.py").read_text()))
    package = open_package(path)
    assert Path(package.function).parent == package.folder


def test_function_outside_the_package_is_refused(folder, tmp_path):
    (tmp_path / "Outside.py").write_text("")
    (folder / "Package.emd").write_text('{"InferenceFunction": "../Outside.py"}')
    with pytest.raises(PackageError, match="no such file in the package"):
        open_package(folder)


def test_definition_among_other_things_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "P.emd").write_text("{}")
    with pytest.raises(PackageError, match="into a folder of their own"):
        open_package(tmp_path / "P.emd")


def test_twins_that_macos_adds_are_ignored(folder, tmp_path, cache):
    content = (folder / "Package.emd").read_text()
    path = zip_of(tmp_path / "p.dlpk", ("a/Package.emd", content), ("__MACOSX/a/._Package.emd", "x"), ("a/Function.py", ""))
    assert open_package(path).definition.path.parent.name == "a"


def test_cache_that_cannot_be_made_is_told(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DLPK_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InferenceError, match="cache folder .* cannot be made.*DLPK_CACHE"):
        open_package(zip_package(folder, tmp_path / "p.dlpk"))


def test_opening_stops_when_the_user_does(folder, tmp_path, cache):
    def stop():
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        open_package(zip_package(folder, tmp_path / "p.dlpk"), stop)
    assert not cache.exists() or list(cache.glob("packages/*")) == []


def test_sample_package_is_built_from_its_source():
    sample = Path(__file__).parents[2] / "resources" / "sample"
    with zipfile.ZipFile(sample / "tree_crowns.dlpk") as package:
        members = {name: package.read(name) for name in package.namelist() if name != "tree_crowns.pt"}
    assert members == {path.name: path.read_bytes() for path in (sample / "tree_crowns").iterdir() if path.is_file()}


def link(name):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("../evil.py", "")], r"'\.\./evil\.py' would be written outside"),
        ([("/etc/evil", "")], "outside"),
        ([("a/../../evil", "")], "outside"),
        ([("..\\evil", "")], "outside"),
        ([("C:\\evil", "")], "outside"),
        ([("folder/C:/evil", "")], "outside"),
        ([("A.emd", "{}"), ("B.emd", "{}")], "several model definitions"),
        ([("P.emd", "{oops}")], r"/p\.dlpk/P\.emd, line 1, column 2: not valid JSON"),
        ([("P.emd", '{"InferenceFunction": "gone.py"}')], "no such file in the package"),
        ([(link("weights.pt"), "/etc/passwd")], "is a link"),
        ([("a.py", ""), ("A.py", "")], "the same name, but for their case"),
        ([("readme.txt", "")], "no model definition"),
    ],
)
def test_refused_archives_leave_nothing(tmp_path, cache, members, message):
    with pytest.raises(PackageError, match=message):
        open_package(zip_of(tmp_path / "p.dlpk", *members))
    assert not cache.exists() or list(cache.glob("packages/*")) == []
    assert sorted(path.name for path in tmp_path.iterdir() if path != cache) == ["p.dlpk"]
    assert not Path("/etc/evil").exists()


def test_bombs_are_refused(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(archive, "RATIO_FROM", 1 << 20)
    with zipfile.ZipFile(tmp_path / "p.dlpk", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("P.emd", b"\0" * (8 << 20))
    with pytest.raises(PackageError, match="made to fill a disk"):
        open_package(tmp_path / "p.dlpk")
    assert list((cache / "packages").iterdir()) == []


def test_too_many_members_are_refused(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(archive, "MAXIMUM_MEMBERS", 2)
    with pytest.raises(PackageError, match="has 3 members, and 2 is the limit"):
        open_package(zip_of(tmp_path / "p.dlpk", ("a", ""), ("b", ""), ("c", "")))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "encrypted", "empty", "text"])
def test_damaged_archives(folder, tmp_path, cache, damage):
    path = zip_package(folder, tmp_path / "p.dlpk")
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[60] ^= 0xFF
    elif damage == "encrypted":
        content[6] |= 1
        content[content.rindex(b"PK\x01\x02") + 8] |= 1
        content[content.index(b"PK\x01\x02") + 8] |= 1
    elif damage == "empty":
        content = bytearray()
    else:
        content = bytearray(b"this is no archive")
    path.write_bytes(content)
    with pytest.raises(PackageError, match=r"cannot be unpacked|no deep learning package"):
        open_package(path)
    assert not cache.exists() or list(cache.glob("packages/*")) == []


def seven_zip(folder: Path, path: Path) -> Path:
    import py7zr

    with py7zr.SevenZipFile(path, "w") as archive_file:
        for member in sorted(folder.rglob("*")):
            archive_file.write(member, member.relative_to(folder).as_posix())
    return path


def test_7z_with_py7zr(folder, tmp_path, cache, monkeypatch):
    monkeypatch.setattr(archive_readers, "_gdal_reads_7z", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert open_package(seven_zip(folder, tmp_path / "p.dlpk")).definition.name == "Package"


@pytest.mark.parametrize("program", ["7zz", "7z", "bsdtar"])
def test_7z_with_a_program(folder, tmp_path, cache, monkeypatch, program):
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    (folder / "sub").mkdir()
    (folder / "sub" / "[odd] *name.txt").write_text("inside")
    path = seven_zip(folder, tmp_path / "p.dlpk")
    monkeypatch.setattr(archive_readers, "_gdal_reads_7z", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: found if name == program else None)
    package = open_package(path)
    assert (package.folder / "sub" / "[odd] *name.txt").read_text() == "inside"


def test_7z_with_gdal(folder, tmp_path, cache):
    if not archive_readers._gdal_reads_7z():
        pytest.skip("this GDAL has no /vsi7z/ (3.7 and later, with libarchive)")
    assert open_package(seven_zip(folder, tmp_path / "p.dlpk")).definition.name == "Package"


def test_7z_without_any_reader(folder, tmp_path, cache, monkeypatch):
    path = seven_zip(folder, tmp_path / "p.dlpk")
    monkeypatch.setattr(archive_readers, "_gdal_reads_7z", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "py7zr", None)
    with pytest.raises(PackageError, match="Install the program 7z"):
        open_package(path)


def test_killed_extraction_leaves_nothing_half(folder, tmp_path, cache):
    """A process that is killed while it extracts; the next one finds no half package and removes the rest."""
    (folder / "weights.bin").write_bytes(os.urandom(64 << 20))
    path = zip_package(folder, tmp_path / "p.dlpk")
    code = "import sys; sys.path[:0] = sys.argv[2:]; from deep_learning_packages.inference.package import open_package as o; o(sys.argv[1])"
    plugins = str(Path(__file__).parents[2] / "build" / "plugins")
    process = subprocess.Popen([sys.executable, "-c", code, str(path), plugins])
    end = time.monotonic() + 30
    while not list(cache.glob("packages/.unfinished-*/*")) and time.monotonic() < end:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [entry for entry in cache.glob("packages/*") if not entry.name.startswith(".unfinished")] == []
    package = open_package(path)
    assert (package.folder / "weights.bin").stat().st_size == 64 << 20
    assert list(cache.glob("packages/.unfinished-*")) == []
