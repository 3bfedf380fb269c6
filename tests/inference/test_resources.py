"""When the machine runs out of something, or changes under a run: a clear end, work kept, and the next run completes."""

from __future__ import annotations

import functools
import http.server
import os
import random
import resource
import shutil
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from deep_learning_packages.inference.errors import InferenceError, JournalError, PackageError, RasterError, WorkerError
from deep_learning_packages.inference.journals import kept_journals
from deep_learning_packages.inference.machine import free_memory
from engine_runs import Outcome, Recorder, make_plan, run
from packages import ORACLE, make_package, zip_package
from rasters import draw, write_raster

ROOT = Path(__file__).parents[2]
ARGUMENTS = "tile 32;padding 8"
SLOW = ORACLE.replace(
    "    def find(self, pixels, mask):\n", "    def find(self, pixels, mask):\n        __import__('time').sleep(0.01)\n"
)
is_root = os.name == "posix" and os.geteuid() == 0


def make_raster(path: Path, side: int = 320, seed: int = 2) -> Path:
    rng = np.random.default_rng(seed)
    pixels = np.zeros((1, side, side), np.uint16)
    for number in range(90):
        left, top = rng.integers(0, side - 8, 2)
        draw(pixels[0], (left, top, left + 6, top + 6), number + 1)
    return write_raster(path, pixels)


@pytest.fixture
def raster(tmp_path) -> Path:
    return make_raster(tmp_path / "raster.tif")


@pytest.fixture
def package(tmp_path) -> Path:
    return make_package(tmp_path / "package", SLOW)


def found(outcome: Outcome) -> list[bytes]:
    return [geometry.wkb for geometry in outcome.geometries]


class At(Recorder):
    """Does something when the run has come so far."""

    def __init__(self, percent: float, act) -> None:
        super().__init__()
        self._percent, self._act = percent, act

    def progress(self, percent: float) -> None:
        if percent >= self._percent and self._act is not None:
            act, self._act = self._act, None
            act()


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A cache on a disk of a few megabytes."""
    if not is_root:
        pytest.skip("mounting a small disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], check=True)
    monkeypatch.setenv("DLPK_CACHE", str(folder))
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_disk_full_while_extracting(small_disk, tmp_path, raster, package):
    (package / "weights.bin").write_bytes(random.Random(1).randbytes(20 << 20))
    archive = zip_package(package, tmp_path / "package.dlpk")
    with pytest.raises(PackageError, match="cannot be unpacked: .*No space left on device"):
        make_plan(archive, raster)
    assert list((small_disk / "packages").iterdir()) == []
    subprocess.run(["mount", "-o", "remount,size=60m", str(small_disk)], check=True)
    assert len(run(archive, raster, ARGUMENTS).rows) > 50


def test_disk_full_while_journalling(small_disk, raster, package, monkeypatch):
    reference = run(package, raster, ARGUMENTS)
    filler = small_disk / "filler"

    def fill():
        filler.write_bytes(b"x" * (shutil.disk_usage(small_disk).free - (64 << 10)))

    with pytest.raises(JournalError, match=r"Only 0 MiB are free .* \d+ of 100 blocks are kept: run it again"):
        run(package, raster, ARGUMENTS, feedback=At(30, fill))
    (kept,) = kept_journals()
    assert kept.done >= 25
    filler.unlink()
    resumed = run(package, raster, ARGUMENTS)
    assert any("Going on with an earlier run" in text for text in resumed.feedback.infos)
    assert found(resumed) == found(reference)


def test_disk_that_fills_in_the_middle_of_a_transaction(small_disk, raster, package, monkeypatch):
    """The check ahead is a courtesy; SQLite takes back what it could not finish."""
    from deep_learning_packages.inference.journal import Journal

    reference = run(package, raster, ARGUMENTS)
    monkeypatch.setattr(Journal, "_check_room", lambda journal: None)
    filler = small_disk / "filler"
    with pytest.raises(JournalError, match="(?s)disk is full.* blocks are kept"):
        run(package, raster, ARGUMENTS, feedback=At(30, lambda: filler.write_bytes(b"x" * shutil.disk_usage(small_disk).free)))
    filler.unlink()
    assert found(run(package, raster, ARGUMENTS)) == found(reference)


@pytest.mark.parametrize("change", ["replaced", "truncated", "overwritten", "removed"])
def test_raster_that_changes_during_the_run(cache, tmp_path, raster, package, change):
    """No block of the new raster gets among those of the old one; what was read before is kept for the old one."""
    reference = run(package, raster, ARGUMENTS)
    other = make_raster(tmp_path / "other.tif", seed=9)
    backup = shutil.copy2(raster, tmp_path / "backup.tif")
    act = {
        "replaced": lambda: os.replace(other, raster),
        "truncated": lambda: os.truncate(raster, 1000),
        "overwritten": lambda: raster.write_bytes(other.read_bytes()),
        "removed": raster.unlink,
    }[change]
    with pytest.raises(
        RasterError, match=r"was changed while it was read. Run again when it is complete. \d+ of 100 blocks are kept"
    ):
        run(package, raster, ARGUMENTS, feedback=At(30, act))
    shutil.copy2(backup, raster)
    resumed = run(package, raster, ARGUMENTS)
    assert any("Going on with an earlier run" in text for text in resumed.feedback.infos)
    assert found(resumed) == found(reference)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Serves a folder, with ranges, as a raster on the network; can be gone for a while."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0) -> None:
        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self):
                content = (folder / self.path.lstrip("/")).read_bytes()
                start, end = 0, len(content) - 1
                if given := self.headers.get("Range"):
                    first, _, last = given.split("=")[1].partition("-")
                    start, end = int(first), min(int(last or end), end)
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
                else:
                    self.send_response(200)
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(end - start + 1))
                self.end_headers()
                self.wfile.write(content[start : end + 1])

            def log_message(self, *arguments):
                pass

        super().__init__(("127.0.0.1", port), functools.partial(Handler, directory=str(folder)))
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def go(self) -> None:
        self.shutdown()
        self.server_close()


def test_network_raster_that_is_gone_for_a_while(cache, tmp_path, package, monkeypatch):
    from osgeo import gdal

    folder = tmp_path / "served"
    folder.mkdir()
    raster = make_raster(folder / "raster.tif", 800)
    package = make_package(tmp_path / "fast", ORACLE)
    reference = run(package, raster, ARGUMENTS)
    server = Server(folder)
    address = f"/vsicurl/http://127.0.0.1:{server.server_port}/raster.tif"
    gdal.SetConfigOption("CPL_VSIL_CURL_CHUNK_SIZE", "16384")
    try:
        with pytest.raises(RasterError, match=r"cannot be read at column .* blocks are kept: run it again"):
            run(package, address, ARGUMENTS, feedback=At(20, server.go))
        server = Server(folder, server.server_port)
        resumed = run(package, address, ARGUMENTS)
        assert any("Going on with an earlier run" in text for text in resumed.feedback.infos)
        assert sorted(found(resumed)) == sorted(found(reference))
    finally:
        gdal.SetConfigOption("CPL_VSIL_CURL_CHUNK_SIZE", None)
        server.go()


def test_ten_thousand_open_files(cache, raster, package):
    """Descriptors beyond those that select() can wait for; and none is handed to the worker."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 11_000:
        pytest.skip(f"this machine allows {hard} open files")
    reference = run(package, raster, ARGUMENTS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (11_000, hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(10_000)]
    try:
        assert found(run(package, raster, ARGUMENTS, workers=2)) == found(reference)
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_descriptor_left(cache, raster, package):
    """Each kind of file that a run needs may be the one that cannot be opened any more."""
    reference = run(package, raster, ARGUMENTS)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(120)]
    ends = set()
    try:
        for spare in (0, 2, 4, 6, 9, 12, 15, 20, 30, 100):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(held) + 1, hard))
            for descriptor in held[:spare]:
                os.close(descriptor)
            try:
                ends.add("complete" if found(run(package, raster, ARGUMENTS)) == found(reference) else "wrong")
            except (InferenceError, OSError) as error:
                ends.add(type(error).__name__)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                held[:spare] = [os.open(os.devnull, os.O_RDONLY) for _ in range(spare)]
    finally:
        for descriptor in held:
            os.close(descriptor)
    assert "complete" in ends
    assert "wrong" not in ends
    assert len(ends) > 1
    assert found(run(package, raster, ARGUMENTS)) == found(reference)


def test_clock_that_jumps(cache, raster, package, monkeypatch):
    """Years forth and back, as when a machine finds a time server: nothing waits for the clock or is judged by it."""
    reference = run(package, raster, ARGUMENTS)
    rng = random.Random(3)
    monkeypatch.setattr(time, "time", lambda: rng.choice((0.0, 1e9, 4e9)))
    feedback = Recorder()
    threading.Timer(0.8, lambda: setattr(feedback, "canceled", True)).start()
    with pytest.raises(InferenceError, match="cancelled"):
        run(package, raster, ARGUMENTS, feedback=feedback)
    (kept,) = kept_journals()
    os.utime(kept.folder / "journal.sqlite", (1, 1))
    resumed = run(package, raster, ARGUMENTS)
    assert any("Going on with an earlier run" in text for text in resumed.feedback.infos)
    assert found(resumed) == found(reference)


LIMITED = """
import resource, sys; sys.path[:0] = sys.argv[1:3]
from pathlib import Path
import engine_runs
from deep_learning_packages.inference.errors import InferenceError
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[5]) << 20, int(sys.argv[5]) << 20))
try:
    print("complete", len(engine_runs.run(Path(sys.argv[3]), Path(sys.argv[4]), "tile 32;padding 8;batch_size 1024").rows))
except (InferenceError, MemoryError) as error:
    print("ended", type(error).__name__, error)
"""


def limited(package: Path, raster: Path, mebibytes: int) -> str:
    options = [str(ROOT / "build/plugins"), str(ROOT / "tests"), str(package), str(raster), str(mebibytes)]
    done = subprocess.run([sys.executable, "-c", LIMITED, *options], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout, done.stderr
    return done.stdout


def test_host_with_little_memory(cache, tmp_path, package):
    """As with `ulimit -v`: from too little to enough, each run completes or says what it lacks."""
    raster = make_raster(tmp_path / "large.tif", 3000)
    ends = [limited(package, raster, mebibytes) for mebibytes in (400, 500, 600, 800, 1200, 2400)]
    assert ends[-1].startswith("complete")
    for text in ends:
        assert text.startswith(("complete", "ended")), text
    assert len({text.split()[1] for text in ends if text.startswith("complete")}) == 1


@pytest.mark.skipif(
    not is_root or not os.access("/sys/fs/cgroup/cgroup.procs", os.W_OK), reason="needs control groups to write to"
)
def test_control_group_limits_what_is_taken(cache, tmp_path, package):
    """A container with 600 MB: blocks in flight and the worker fit into it, whatever the machine has."""
    controllers = Path("/sys/fs/cgroup/cgroup.subtree_control")
    if "memory" not in Path("/sys/fs/cgroup/cgroup.controllers").read_text():
        pytest.skip("the memory controller is not there")
    if "memory" not in controllers.read_text():
        controllers.write_text("+memory")
    group = Path("/sys/fs/cgroup") / f"dlpk-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.max").write_text(str(600 << 20))
        code = "import os, sys; open(sys.argv[6] + '/cgroup.procs', 'w').write(str(os.getpid()))\n" + LIMITED.replace(
            "resource.setrlimit",
            "print(__import__('deep_learning_packages.inference.machine', fromlist=['x']).free_memory() >> 20); (lambda *a: None)",
        )
        raster = make_raster(tmp_path / "large.tif", 3000)
        options = [str(ROOT / "build/plugins"), str(ROOT / "tests"), str(package), str(raster), "1", str(group)]
        done = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True, timeout=120, check=False)
        free, end = done.stdout.splitlines()[:2]
        assert int(free) < 600 < free_memory() >> 20
        assert end.startswith("complete"), done.stdout + done.stderr
    finally:
        time.sleep(0.2)
        group.rmdir()


def test_control_group_is_read(tmp_path, monkeypatch):
    """A double of the files that the kernel shows, as not every machine has groups of version 2 to write to."""
    from deep_learning_packages.inference import machine

    own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))[3:].strip("/")
    group = tmp_path / "cgroup" / own
    group.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "cgroup")
    for name, text in (("max", "max"), ("current", str(200 << 20)), ("stat", f"anon 1\ninactive_file {50 << 20}\n")):
        (group / f"memory.{name}").write_text(text)
    assert free_memory() > 600 << 20
    (group / "memory.max").write_text(str(600 << 20))
    assert free_memory() == 450 << 20


def test_worker_that_cannot_be_started(cache, raster, package, monkeypatch):
    monkeypatch.setattr(
        subprocess, "Popen", lambda *a, **k: (_ for _ in ()).throw(OSError(11, "Resource temporarily unavailable"))
    )
    with pytest.raises(WorkerError, match="cannot be started: .*Resource temporarily unavailable"):
        run(package, raster, ARGUMENTS)
