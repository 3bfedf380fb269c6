"""Packages whose program attacks the machine, run in the sandbox: none gets what it wants, and the run ends with a message."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from deep_learning_packages.inference import sandbox as sandbox_module
from deep_learning_packages.inference import worker as worker_module
from deep_learning_packages.inference.errors import Cancelled, FunctionError, InferenceError, OutOfMemoryError, WorkerError
from deep_learning_packages.inference.sandbox import Sandbox, find_sandbox
from deep_learning_packages.inference.worker import LOG_BYTES
from engine_runs import Recorder, run
from packages import make_package
from rasters import write_raster

pytestmark = pytest.mark.skipif(find_sandbox().program is None, reason=f"no sandbox here: {find_sandbox().description}")


@pytest.fixture
def raster(tmp_path) -> Path:
    return write_raster(tmp_path / "raster.tif", np.ones((1, 64, 96), np.uint8))


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A home with secrets in it."""
    folder = tmp_path / "home"
    monkeypatch.setenv("HOME", str(folder))
    for name in (".ssh/id_ed25519", ".local/share/QGIS/QGIS3/profiles/default/qgis-auth.db", ".netrc", ".aws/credentials"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("secret")
    return folder


def attack(tmp_path: Path, raster: Path, body: str, **settings):
    """Run a package that tries something in `initialize`; `tell(x)` prints what it got."""
    lines = "\n".join(f"        {line}" for line in body.strip("\n").splitlines())
    methods = f"\n    def initialize(self, **scalars):\n        import os, sys, time\n        tell = lambda *x: print('GOT', *x)\n{lines}\n"
    return run(make_package(tmp_path / "package", methods), raster, **settings)


def got(outcome) -> list[str]:
    return [line[4:] for line in outcome.feedback.details if line.startswith("GOT ")]


def test_reads_secrets_of_the_user(tmp_path, raster, home):
    places = [str(path) for path in home.rglob("*")] + [
        "/etc/shadow",
        "/root/.bash_history",
        str(raster),
        "/var/lib",
        "/run",
    ]
    outcome = attack(tmp_path, raster, f"""
for place in {places!r}:
    try:
        tell(place, os.listdir(place) if os.path.isdir(place) else open(place).read())
    except OSError as error:
        continue
tell("home", os.listdir(os.path.expanduser("~")))
""")  # fmt: skip
    assert got(outcome) == ["home []"]


def test_reads_environment_and_other_processes(tmp_path, raster, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "secret-of-the-test")  # pragma: allowlist secret
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-test")
    monkeypatch.setenv("QGIS_AUTH_PASSWORD_FILE", "secret-of-the-test")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/secret-of-the-test")
    monkeypatch.setenv("DISPLAY", ":secret-of-the-test")
    outcome = attack(tmp_path, raster, """
import glob
tell([name for name in os.environ if "secret" in os.environ[name]])
for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
    try:
        content = open(path).read()
    except OSError:
        continue
    if "secret-of-the-test" in content:
        tell(path)
""")  # fmt: skip
    assert got(outcome) == ["[]"]


def test_connects(tmp_path, raster):
    """To loopback, to an abstract socket, to the outside; nobody is called."""
    server, abstract = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
    abstract.bind("\0dlpk-test")
    abstract.listen()
    for each in (server, abstract):
        each.settimeout(0.2)
    outcome = attack(tmp_path, raster, f"""
import socket
for family, address in ((socket.AF_INET, ("127.0.0.1", {server.getsockname()[1]})), (socket.AF_UNIX, "\\0dlpk-test"),
                        (socket.AF_INET, ("192.0.2.1", 80)), (socket.AF_INET, ("1.1.1.1", 53))):
    connection = socket.socket(family)
    connection.settimeout(1)
    try:
        connection.connect(address)
    except OSError:
        continue
    tell(address)
""")  # fmt: skip
    assert got(outcome) == []
    for each in (server, abstract):
        with pytest.raises(TimeoutError):
            each.accept()
        each.close()


@pytest.mark.parametrize(
    "raised", ["urllib.request.urlopen('http://example.org', timeout=2)", "socket.create_connection(('192.0.2.1', 80), 1)"]
)
def test_package_that_needs_the_network_is_told_how(tmp_path, raster, raised):
    with pytest.raises(FunctionError, match=r"It wants the network.*dlpk:inspectpackage on it with TRUST"):
        attack(tmp_path, raster, f"import socket, urllib.request\n{raised}")


def test_trusted_package_has_the_network(tmp_path, raster):
    server = socket.create_server(("127.0.0.1", 0))
    outcome = attack(
        tmp_path, raster, f"import socket\nsocket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 2)\ntell('connected')",
        sandbox=find_sandbox().with_network(),
    )  # fmt: skip
    assert got(outcome) == ["connected"]
    server.close()


def test_writes_where_it_must_not(tmp_path, raster, home, cache):
    output = tmp_path / "output.gpkg"
    output.write_text("of the user")
    (cache / "packages" / "other").mkdir(parents=True)
    places = [str(output), str(cache / "packages" / "other" / "x"), str(home / ".bashrc"), str(home / "QGIS3.ini"), "/usr/bin/x",
              "/etc/x", "/x", "/dev/x", "/proc/sys/kernel/core_pattern", "/sys/kernel/x"]  # fmt: skip
    attack(tmp_path, raster, f"""
for place in [*{places!r}, os.path.dirname(scalars["model"]) + "/Function.py", __file__, sys.executable]:
    try:
        open(place, "a").write("attack")
    except OSError:
        pass
""")  # fmt: skip
    assert output.read_text() == "of the user"
    assert "attack" not in (tmp_path / "package" / "Function.py").read_text().replace('write("attack")', "")
    assert list((cache / "packages" / "other").iterdir()) == []
    assert not (home / ".bashrc").exists()
    assert not Path("/usr/bin/x").exists()


def test_fork_bomb(tmp_path, raster):
    began = time.monotonic()
    with pytest.raises(WorkerError, match=r"was stopped: it ran \d+ processes, and 256 are allowed"):
        attack(tmp_path, raster, "while True:\n    try:\n        os.fork()\n    except OSError:\n        pass")
    assert time.monotonic() - began < 30


def test_fills_memory_alone(tmp_path, raster, monkeypatch):
    """The kernel's own limit: the package gets a MemoryError, as on a small machine."""
    monkeypatch.setattr(worker_module, "free_memory", lambda: 1 << 30)
    with pytest.raises(OutOfMemoryError, match="MemoryError"):
        attack(tmp_path, raster, "kept = []\nwhile True:\n    kept.append(bytearray(64 << 20))")


def test_fills_memory_by_many_processes(tmp_path, raster, monkeypatch):
    """No process is over the limit, all together are: seen from outside."""
    monkeypatch.setattr(worker_module, "free_memory", lambda: 1 << 30)
    with pytest.raises(OutOfMemoryError, match=r"was stopped: it took \d+ MiB of memory"):
        attack(tmp_path, raster, "for number in range(8):\n    os.fork()\nkept = bytearray(os.urandom(1 << 20) * 200)\ntime.sleep(60)"
               .replace("range(8)", "range(4)"))  # fmt: skip


def test_fills_memory_that_is_nobody_s(tmp_path, raster, monkeypatch):
    """Files in memory are in no process's own memory, and no limit of the kernel counts them."""
    monkeypatch.setattr(worker_module, "free_memory", lambda: 1 << 30)
    with pytest.raises(OutOfMemoryError, match=r"was stopped: it took \d+ MiB of memory"):
        attack(tmp_path, raster, "file = os.memfd_create('deep_learning_packages-blocks')\nfor number in range(40):\n"
               "    os.write(file, b'x' * (64 << 20))\n    time.sleep(0.05)\ntime.sleep(60)")  # fmt: skip


def test_hides_from_the_watchdog(tmp_path, raster, monkeypatch):
    """Children that end while it looks do not blind it."""
    monkeypatch.setattr(worker_module, "free_memory", lambda: 1 << 30)
    body = """
if os.fork() == 0:
    while True:
        if os.fork() == 0:
            os._exit(0)
        try:
            os.waitpid(-1, os.WNOHANG)
        except OSError:
            pass
time.sleep(4)
file = os.memfd_create("x")
for number in range(40):
    os.write(file, b"x" * (64 << 20))
    time.sleep(0.05)
time.sleep(60)
"""
    with pytest.raises(InferenceError, match="was stopped: it"):
        attack(tmp_path, raster, body)


def test_fills_its_disk(tmp_path, raster, monkeypatch):
    monkeypatch.setattr(sandbox_module, "TEMPORARY_BYTES", 8 << 20)
    outcome = attack(tmp_path, raster, """
for folder in ("/tmp", os.path.expanduser("~"), "/dev/shm"):
    written = 0
    try:
        with open(folder + "/x", "wb") as file:
            while written < (1 << 30):
                written += file.write(b"x" * (1 << 20))
                file.flush()
    except OSError as error:
        pass
    tell(folder, written >> 20 <= 8)
""")  # fmt: skip
    assert [line.split()[1] for line in got(outcome)] == ["True"] * 3


def test_fills_the_log(tmp_path, raster):
    outcome = attack(tmp_path, raster, "for number in range(400_000):\n    print('x' * 100)")
    assert sum(len(line) for line in outcome.feedback.details) < LOG_BYTES * 1.1
    assert "The package prints very much; the rest is left out." in outcome.feedback.details


def test_line_without_end(tmp_path, raster):
    outcome = attack(tmp_path, raster, "for number in range(1000):\n    sys.stdout.write('x' * 100_000)")
    assert max(map(len, outcome.feedback.details)) <= 2000


def test_ignores_signals_and_never_returns(tmp_path, raster):
    feedback = Recorder()
    canceled = []
    threading.Timer(1.5, lambda: (canceled.append(time.monotonic()), setattr(feedback, "canceled", True))).start()
    with pytest.raises(Cancelled):
        attack(tmp_path, raster, """
import signal
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    time.sleep(60)
""", feedback=feedback)  # fmt: skip
    assert time.monotonic() - canceled[0] < 1.0


def test_leaves_somebody_behind(tmp_path, raster):
    """A grandchild in a session of its own, that ignores what it is told."""
    attack(tmp_path, raster, """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", "import time; 'left behind by the test'; time.sleep(4242)"])
    os._exit(0)
time.sleep(0.3)
""")  # fmt: skip
    end = time.monotonic() + 2
    while left_behind() and time.monotonic() < end:
        time.sleep(0.05)
    assert left_behind() == []


def left_behind() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"left behind by the test" in path.read_bytes():
                found.append(path.parts[2])
        except OSError:
            pass
    return found


def test_kills_everybody_it_sees(tmp_path, raster):
    pids = [os.getpid(), os.getppid()]
    with pytest.raises(InferenceError, match="ended"):
        attack(tmp_path, raster, f"""
for pid in [*{pids!r}, -1]:
    try:
        os.kill(pid, 9)
    except OSError:
        pass
os.kill(os.getpid(), 9)
""")  # fmt: skip


JUNK = {
    "text on standard output": "for number in range(100):\n    print('{\"reply\": \"open\"}'); os.write(1, b'\\0\\0\\0\\x02\\0\\0\\0\\0{}')",
    "text everywhere": "for number in range(1, 64):\n    try:\n        os.write(number, b'no message')\n    except OSError:\n        pass",
    "a message too many": "import struct\nfor number in range(3, 64):\n    try:\n        os.write(number, struct.pack('>II', 2, 0) + b'{}')\n    except OSError:\n        pass",
    "a message of 4 GB": "import struct\nfor number in range(3, 64):\n    try:\n        os.write(number, struct.pack('>II', 2**32 - 1, 2**32 - 1))\n    except OSError:\n        pass",
    "a list": "import struct\nfor number in range(3, 64):\n    try:\n        os.write(number, struct.pack('>II', 2, 0) + b'[]')\n    except OSError:\n        pass",
    "another error": "import struct\nfor number in range(3, 64):\n    try:\n        os.write(number, struct.pack('>II', 13, 0) + b'{\"error\": [1]}')\n    except OSError:\n        pass",
    "without end": "import struct\nwhile True:\n    for number in range(3, 64):\n        try:\n            os.write(number, struct.pack('>II', 2, 1 << 20) + b'{}' + b'x' * (1 << 20))\n        except OSError:\n            pass",
}


@pytest.mark.parametrize("body", list(JUNK.values()), ids=list(JUNK))
def test_forges_messages(tmp_path, raster, body):
    """On standard output it is a line of the log; on the pipe of the answers, which it can find, it ends the run with a message."""
    before = memory()
    try:
        outcome = attack(tmp_path, raster, body)
        assert outcome.statistics.blocks == 6
    except InferenceError as error:
        assert "inference process" in str(error)  # noqa: PT017 - either is right
    assert memory() - before < 300 << 20


def memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_writes_into_shared_memory_of_others(tmp_path):
    """It may spoil its own blocks; the host neither reads sizes from there nor follows anything in it."""
    raster = write_raster(tmp_path / "many.tif", np.ones((1, 64, 960), np.uint8))
    methods = """
    def vectorize(self, **blocks):
        import mmap
        for name in os.listdir("/proc/self/fd"):
            if "deep_learning_packages-blocks" in os.path.realpath("/proc/self/fd/" + name):
                try:
                    memory = mmap.mmap(int(name), 0)
                    memory[:] = b"\\xff" * len(memory)
                except (OSError, ValueError):
                    pass
        return {"output_vectors": '{"features": []}'}
    """
    outcome = run(make_package(tmp_path / "package", methods), raster, workers=2)
    assert outcome.statistics.pixels == 64 * 960


def test_without_a_sandbox_the_end_of_the_host_still_ends_it(tmp_path, raster):
    """What the sandbox does not contain is at least ended: here the package closes its pipes and goes on."""
    feedback = Recorder()
    threading.Timer(1.0, lambda: setattr(feedback, "canceled", True)).start()
    with pytest.raises((Cancelled, WorkerError)):
        attack(
            tmp_path,
            raster,
            "os.closerange(0, 64)\ntime.sleep(60)",
            feedback=feedback,
            sandbox=Sandbox(None, "a test wants none"),
        )
