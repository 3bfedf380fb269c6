"""Files that attack whoever opens them: archives, model definitions, and packages that claim to be others."""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
import time
import zipfile
from pathlib import Path

import pytest
from deep_learning_packages.inference import archive, archive_readers
from deep_learning_packages.inference.errors import InferenceError, PackageError
from deep_learning_packages.inference.package import open_package
from deep_learning_packages.inference.sandbox import find_sandbox
from engine_runs import Recorder, make_plan, run
from packages import DEFINITION, make_package, zip_package
from rasters import write_raster


def zip_of(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w") as zipped:
        for name, content in (("P.emd", json.dumps(DEFINITION)), ("Function.py", ""), *members):
            zipped.writestr(name, content)
    return path


def special(name: str, kind: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (kind | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../evil", "would be written outside"),
        ("a/../../evil", "would be written outside"),
        ("/etc/evil", "would be written outside"),
        ("\\\\server\\share\\evil", "would be written outside"),
        ("C:\\Windows\\evil", "would be written outside"),
        ("file.txt:stream", "would be written outside"),
        (special("weights.pth", stat.S_IFLNK), "is a link"),
        ("CON", "no file's on Windows"),
        ("folder/nul.txt", "no file's on Windows"),
        ("com1.py", "no file's on Windows"),
        ("trailing. /x", "no file's on Windows"),
        ("line\nbreak", "no file system should hold"),
        ("escape\x1b[2J", "no file system should hold"),
        ("right\u202eto left", "no file system should hold"),
        ("x" * 300, "no file system should hold"),
        ("/".join(["deep"] * 1000), "no file system should hold"),
    ],
    ids=repr,
)
def test_members_that_want_to_be_elsewhere(tmp_path, cache, name, message):
    with pytest.raises(PackageError, match=message) as caught:
        open_package(zip_of(tmp_path / "p.dlpk", (name, "evil")))
    assert str(caught.value).isprintable()
    assert list(cache.glob("packages/*")) == []
    assert not any(path.name == "evil" for path in tmp_path.rglob("*"))


def test_member_without_a_name(tmp_path, cache):
    """Found by fuzzing: Python's own reader fails on it."""
    content = bytearray(zip_of(tmp_path / "p.dlpk", ("x", "evil")).read_bytes())
    for start, length in ((content.index(b"PK\x03\x04", content.index(b"Function.py")), 26), (content.rindex(b"PK\x01\x02"), 28)):
        content[start + length : start + length + 4] = struct.pack("<2H", 0, 1)  # the name becomes an extra field
    (tmp_path / "p.dlpk").write_bytes(content)
    with pytest.raises(PackageError, match="cannot be unpacked|would be written outside"):
        open_package(tmp_path / "p.dlpk")


def test_65536_entries(tmp_path, cache):
    path = tmp_path / "p.dlpk"
    with zipfile.ZipFile(path, "w") as zipped:
        for number in range(65_536):
            zipped.writestr(f"{number}", b"")
    with pytest.raises(PackageError, match="has 65536 members, and 50000 is the limit"):
        open_package(path)


def test_directory_that_would_fill_the_memory(tmp_path, cache, monkeypatch):
    """A zip's list of members is read as a whole by Python's own reader; ours looks at its size before."""
    monkeypatch.setattr(archive_readers, "MAXIMUM_DIRECTORY", 1 << 20)
    path = tmp_path / "p.dlpk"
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
    directory = entry * 40_000
    path.write_bytes(b"PK\x03\x04" + directory + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, len(directory), 4, 0))
    with pytest.raises(PackageError, match="the list of its members takes 1 MiB, and 1 MiB are the most"):
        open_package(path)


def test_overlapping_entries(tmp_path, cache):
    """One compressed block that many members share (as in the bombs of D. Fifield)."""
    path = tmp_path / "p.dlpk"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a.bin", b"\0" * (1 << 20))
        for number in range(50):
            entry = zipfile.ZipInfo(f"{number}.bin")
            first = zipped.filelist[0]
            entry.header_offset, entry.compress_size, entry.file_size, entry.CRC = (
                0,
                first.compress_size,
                first.file_size,
                first.CRC,
            )
            entry.compress_type = zipfile.ZIP_DEFLATED
            zipped.filelist.append(entry)
            zipped.NameToInfo[entry.filename] = entry
    with pytest.raises(PackageError, match="overlaps another one"):
        open_package(path)
    assert list(cache.glob("packages/*")) == []


@pytest.mark.parametrize(("told", "message"), [(32 << 20, "made to fill a disk"), (100, "")], ids=["honest", "lying"])
def test_bomb(tmp_path, cache, monkeypatch, told, message):
    """What comes out is counted, not what the archive says."""
    monkeypatch.setattr(archive, "RATIO_FROM", 1 << 20)
    path = tmp_path / "p.dlpk"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("bomb", b"\0" * (32 << 20))
    path.write_bytes(path.read_bytes().replace(struct.pack("<L", 32 << 20), struct.pack("<L", told)))
    with pytest.raises(PackageError, match=message):
        open_package(path)
    assert list(cache.glob("packages/*")) == []


def write_definition(folder: Path, text: str | bytes) -> Path:
    make_package(folder)
    path = folder / "Package.emd"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"a": "' + b"x" * (100 << 20) + b'"}', "has more than 16 MiB"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' * 500 + "1" + "}" * 500, "nested too deeply"),
        ('{"ImageHeight": ' + "9" * 5000 + "}", "cannot be read: .*digits"),
        ("\0" * 1000, "not valid JSON"),
        ("[]", "must hold a JSON object"),
        ('{"InferenceFunction": ["a"]}', "InferenceFunction must be text"),
        ('{"InferenceFunction": "../../outside.py"}', "no such file in the package"),
        ('{"InferenceFunction": "/etc/passwd"}', "no such file in the package"),
        (json.dumps({"InferenceFunction": "x" * 5000 + ".py"}), "no such file in the package"),
        (json.dumps({"InferenceFunction": "x\0.py"}), "no such file in the package"),
        ('{"InferenceFunction": "Function.py", "ModelFile": "../../../etc/shadow"}', "ModelFile names .*outside the package"),
        ('{"InferenceFunction": "Function.py", "ModelFile": "/etc/shadow"}', "ModelFile names .*outside the package"),
        ('{"InferenceFunction": "Function.py", "ModelFile": "a\\\\..\\\\..\\\\x"}', "ModelFile names .*outside the package"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_definitions(tmp_path, text, message):
    (tmp_path / "outside.py").write_text("")
    began = time.monotonic()
    with pytest.raises(PackageError, match=message):
        open_package(write_definition(tmp_path / "p", text))
    assert time.monotonic() - began < 3


def test_repeated_keys_are_told(tmp_path):
    """The last one counts, as in the package's own code; but somebody who reads the file may see another one."""
    text = json.dumps(DEFINITION)[:-1] + ', "ModelName": "Harmless", "ModelName": "Other"}'
    raster = write_raster(tmp_path / "raster.tif", __import__("numpy").ones((1, 32, 32), "uint8"))
    package = write_definition(tmp_path / "p", text)
    assert open_package(package).definition.name == "Other"
    outcome = run(package, raster)
    assert "The model definition has ModelName more than once; the last one counts." in outcome.feedback.warnings


def test_definition_that_is_a_link_to_a_device(tmp_path):
    package = make_package(tmp_path / "p")
    (package / "Package.emd").unlink()
    (package / "Package.emd").symlink_to("/dev/zero")
    with pytest.raises(PackageError, match="holds no model definition"):
        open_package(package)


def test_links_in_a_folder_lead_nowhere(tmp_path):
    """The function sees the folder, not what a link in it points to."""
    if find_sandbox().program is None:
        pytest.skip(find_sandbox().description)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    package = make_package(
        tmp_path / "p",
        "def initialize(self, **scalars):\n    try:\n        print('GOT', open(os.path.dirname(scalars['model']) + '/link').read())\n    except OSError:\n        pass\n",
    )
    (package / "link").symlink_to(secret)
    raster = write_raster(tmp_path / "raster.tif", __import__("numpy").ones((1, 32, 32), "uint8"))
    assert not any("GOT" in line for line in run(package, raster).feedback.details)


@pytest.mark.parametrize("scheme", ["http", "https", "file", "ftp"])
def test_address_for_a_model_is_not_followed(tmp_path, scheme):
    """Nothing is fetched, so nothing can be redirected: an address is a path that is not there."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.3)
    (tmp_path / "secret.dlpk").write_text("secret")
    place = str(tmp_path / "secret.dlpk") if scheme == "file" else f"127.0.0.1:{server.getsockname()[1]}/model.dlpk?token=t"
    with pytest.raises(PackageError, match="does not exist"):
        open_package(f"{scheme}://{place}")
    with pytest.raises(TimeoutError):
        server.accept()
    server.close()


def test_fake_hash(tmp_path, cache):
    """A package is what it holds: neither its name, nor its definition, nor its time, nor what lies in the cache counts."""
    honest = zip_package(make_package(tmp_path / "honest"), tmp_path / "honest.dlpk")
    known = open_package(honest)
    evil = make_package(tmp_path / "evil", "def initialize(self, **s):\n    raise ValueError('evil')\n", {"sha256": known.sha256})
    path = zip_package(evil, tmp_path / f"{known.sha256}.dlpk")
    os.utime(path, ns=(honest.stat().st_atime_ns, honest.stat().st_mtime_ns))
    opened = open_package(path)
    assert opened.sha256 != known.sha256
    assert opened.folder != known.folder
    raster = write_raster(tmp_path / "raster.tif", __import__("numpy").ones((1, 32, 32), "uint8"))
    assert make_plan(honest, raster).fingerprint != make_plan(path, raster).fingerprint


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a.txt": "benignz.py\0import os"}, {"a.txt": "benign", "z.py": "import os"}),
        ({"ab": "c"}, {"a": "bc"}),
        ({"__pycache__/Function.cpython-311.pyc": "x"}, {"__pycache__/Function.cpython-311.pyc": "y"}),
    ],
)
def test_what_differs_has_another_hash(tmp_path, one, other):
    """Names and contents are kept apart, and everything counts that Python may run."""
    hashes = set()
    for number, content in enumerate((one, other)):
        folder = make_package(tmp_path / str(number))
        for name, text in content.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        hashes.add(open_package(folder).sha256)
    assert len(hashes) == 2


def test_link_to_another_folder_is_refused(tmp_path):
    """Its content could change without the hash."""
    package = make_package(tmp_path / "p")
    (tmp_path / "elsewhere").mkdir()
    (package / "modules").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PackageError, match="modules is a link to another folder"):
        open_package(package)


def test_honest_names_of_old_zip_programs(tmp_path, cache):
    """Without the mark for UTF-8 names are stored in code page 437, where letters take one byte."""
    path = zip_of(tmp_path / "p.dlpk", ("M\u00e4dchen.txt", "x"), ("N\u00e4chste.txt", "y"))
    content = path.read_bytes().replace("M\u00e4dchen".encode(), b"Ma\x84dchen").replace("N\u00e4chste".encode(), b"Na\x84chste")
    raw = bytearray(content)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = raw.find(mark)
        while start >= 0:
            raw[start + offset + 1] &= ~0x08  # bit 11
            start = raw.find(mark, start + 4)
    path.write_bytes(bytes(raw))
    assert len(list(open_package(path).folder.iterdir())) == 4


@pytest.mark.parametrize("decoy", ["in the last record", "in the comment"])
def test_directory_behind_a_decoy(tmp_path, cache, monkeypatch, decoy):
    monkeypatch.setattr(archive_readers, "MAXIMUM_DIRECTORY", 1 << 20)
    path = tmp_path / "p.dlpk"
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
    directory = entry * 40_000
    start = b"PK\x03\x04"
    offset = struct.unpack("<L", b"PK\x05\x06")[0] if decoy == "in the last record" else len(start)
    comment = b"" if decoy == "in the last record" else b"PK\x06\x06" + b"\0" * 80
    last = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, len(directory), offset, len(comment)) + comment
    path.write_bytes(start + directory + last)
    with pytest.raises(PackageError, match="the list of its members takes 1 MiB"):
        open_package(path)


def test_names_with_html_and_svg_are_shown_as_text(tmp_path, cache):
    from deep_learning_packages.algorithms.inspection_page import page
    from deep_learning_packages.inference.inspection import inspect_package

    name = "<svg onload=alert(1)>"
    package = open_package(
        make_package(
            tmp_path / "p",
            definition={"ModelName": name, "Classes": [{"Value": 1, "Name": name, "Color": [name]}], "Description": name},
        )
    )

    def nowhere(package):
        raise InferenceError(name)

    assert "<svg onload" not in page(inspect_package(package, "NATIVE", nowhere, Recorder(), run_code=False))
