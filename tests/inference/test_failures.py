"""What DESIGN's failure rules promise: dead, hanging and starving workers, cancelled runs, and nothing left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from deep_learning_packages.inference import cache, pipeline, worker
from deep_learning_packages.inference.errors import (
    Cancelled,
    ConfigurationError,
    FunctionError,
    OutOfMemoryError,
    RasterError,
    WorkerError,
)
from deep_learning_packages.inference.interpreter import find_interpreter
from deep_learning_packages.inference.sandbox import Sandbox, find_sandbox
from engine_runs import Recorder, run
from packages import ORACLE, make_package
from rasters import draw, write_raster

NO_SANDBOX = Sandbox(None, "a test wants none")

# Functions in the sandbox cannot write, so they count by a file that the test makes outside: see `counted`.
DIES = """
def vectorize(self, **blocks):
    import signal
    if self.dies():
        os.kill(os.getpid(), signal.SIGKILL)
    return {"output_vectors": '{"features": [{"attributes": {}, "geometry": {"rings": [[[0,0],[1,0],[1,1]]]}}]}'}
"""


@pytest.fixture
def raster(tmp_path) -> Path:
    return write_raster(tmp_path / "raster.tif", np.ones((1, 64, 96), np.uint8))


def test_worker_killed_once_recovers(tmp_path, raster):
    mark = tmp_path / "mark"
    methods = (
        DIES
        + f"""
def dies(self):
    if os.path.exists({str(mark)!r}):
        return False
    open({str(mark)!r}, "w").close()
    return True
"""
    )
    outcome = run(make_package(tmp_path / "p", methods), raster, sandbox=NO_SANDBOX)
    assert (len(outcome.rows), outcome.statistics.restarts) == (6, 1)
    assert any("killed (SIGKILL)" in text and "started again" in text for text in outcome.feedback.warnings)


def test_worker_killed_always_stops_with_the_cause(tmp_path, raster):
    package = make_package(tmp_path / "p", DIES + "\ndef dies(self):\n    return True\n")
    with pytest.raises(
        WorkerError, match=r"At the block at column \d+, row \d+: The inference process ended: killed \(SIGKILL\)"
    ):
        run(package, raster)


def test_crash_in_native_code_shows_where(tmp_path, raster):
    package = make_package(tmp_path / "p", "def vectorize(self, **blocks):\n    import ctypes\n    ctypes.string_at(0)\n")
    with pytest.raises(WorkerError, match="SIGSEGV") as caught:
        run(package, raster)
    assert "in vectorize" in caught.value.details


def test_worker_that_dies_while_loading(tmp_path, raster):
    package = make_package(tmp_path / "p", "def initialize(self, **scalars):\n    os._exit(7)\n")
    with pytest.raises(WorkerError, match="ended: status 7"):
        run(package, raster)


def test_block_that_never_answers_is_tried_twice(tmp_path, raster):
    package = make_package(tmp_path / "p", "def vectorize(self, **blocks):\n    import time\n    time.sleep(600)\n")
    feedback = Recorder()
    with pytest.raises(WorkerError, match=r"At the block .* did not answer within 0\.5 seconds"):
        run(package, raster, feedback=feedback, block_seconds=0.5)
    assert sum("started again" in text for text in feedback.warnings) == 1


def test_exception_on_the_third_block(tmp_path, raster):
    methods = """
    def vectorize(self, **blocks):
        self.count = getattr(self, "count", 0) + 1
        if self.count == 3:
            raise ValueError("the third")
        return {"output_vectors": '{"features": []}'}
    """
    with pytest.raises(FunctionError, match=r"column \d+, row \d+: vectorize\(\) of the package failed: ValueError: the third"):
        run(make_package(tmp_path / "p", methods), raster)


GREEDY = ORACLE.replace(
    "    def find(self, pixels, mask):\n",
    "    def find(self, pixels, mask):\n        if pixels.shape[1] > LIMIT:\n            raise RuntimeError('CUDA out of memory. Tried to')\n",
)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(("limit", "batch"), [(150, "16"), (70, "4"), (40, "1")])
def test_out_of_memory_goes_on_with_a_smaller_batch(tmp_path, limit, batch, workers):
    """64 → 16 → 4 → 1; each quarters the blocks exactly, and nothing is lost or found twice."""
    rng = np.random.default_rng(3)
    pixels = np.zeros((1, 330, 470), np.uint16)
    for number in range(1, 80):
        left, top = rng.integers(0, 460), rng.integers(0, 320)
        draw(pixels[0], (left, top, left + 5, top + 5), number)
    raster = write_raster(tmp_path / "r.tif", pixels)
    package = make_package(tmp_path / "p", GREEDY.replace("LIMIT", str(limit)))
    outcome = run(package, raster, "tile 20;padding 8;batch_size 64", workers=workers)
    reference = run(make_package(tmp_path / "q", ORACLE), raster, f"tile 20;padding 8;batch_size {batch}")
    assert sorted(g.wkb for g in outcome.geometries) == sorted(g.wkb for g in reference.geometries)
    assert outcome.statistics.pixels == 330 * 470
    told = [text for text in outcome.feedback.warnings if "goes on with batch_size" in text]
    assert f"goes on with batch_size {batch} " in told[-1]


def test_out_of_memory_with_the_smallest_batch_stops(tmp_path, raster):
    with pytest.raises(OutOfMemoryError, match="out of memory.*Choose a smaller batch_size"):
        run(make_package(tmp_path / "p", GREEDY.replace("LIMIT", "4")), raster, "tile 20;padding 10;batch_size 4")


def test_out_of_memory_where_the_function_fixes_its_block(tmp_path, raster):
    package = make_package(tmp_path / "p", "def vectorize(self, **blocks):\n    raise MemoryError('no room')\n")
    with pytest.raises(OutOfMemoryError, match="MemoryError: no room"):
        run(package, raster)


SLOW = "def vectorize(self, **blocks):\n    import time\n    time.sleep(60)\n"
BUSY = "def vectorize(self, **blocks):\n    while True:\n        pass\n"
LOADING = "def initialize(self, **scalars):\n    import time\n    time.sleep(60)\n"


@pytest.mark.parametrize("methods", [SLOW, BUSY, LOADING])
@pytest.mark.parametrize("sandbox", [find_sandbox(), NO_SANDBOX])
def test_cancel_takes_less_than_a_second(tmp_path, raster, methods, sandbox):
    feedback = Recorder()
    canceled_at = []

    def cancel():
        feedback.canceled = True
        canceled_at.append(time.monotonic())

    timer = threading.Timer(1.0, cancel)
    timer.start()
    with pytest.raises(Cancelled):
        run(make_package(tmp_path / "p", methods), raster, feedback=feedback, sandbox=sandbox)
    assert time.monotonic() - canceled_at[0] < 1.0


def test_children_of_the_package_die_with_it(tmp_path, raster):
    """Without a sandbox, too: what the function started ends with the worker."""
    methods = """
    def initialize(self, **scalars):
        import subprocess, sys
        subprocess.Popen([sys.executable, "-c", "import time; 'deep_learning_packages/worker'; time.sleep(60)"])
    """
    assert run(make_package(tmp_path / "p", methods), raster, sandbox=NO_SANDBOX).statistics.blocks == 6


def test_worker_ends_with_its_host(tmp_path):
    """The host is killed in the middle of a block; the worker goes, with and without a sandbox."""
    import subprocess
    import sys

    raster = write_raster(tmp_path / "raster.tif", np.ones((1, 64, 96), np.uint8))
    code = (
        "import sys; sys.path[:0] = sys.argv[4:6]\n"
        "from engine_runs import run; from deep_learning_packages.inference.sandbox import Sandbox, find_sandbox\n"
        "from pathlib import Path\n"
        "run(Path(sys.argv[1]), Path(sys.argv[2]), sandbox=find_sandbox() if sys.argv[3] == 'yes' else Sandbox(None, ''))\n"
    )
    root = Path(__file__).parents[2]
    for contained in ("yes", "no"):
        package = make_package(tmp_path / contained, SLOW)
        host = subprocess.Popen(
            [sys.executable, "-c", code, str(package), str(raster), contained, str(root / "build/plugins"), str(root / "tests")]
        )
        end = time.monotonic() + 20
        while not workers_of(host.pid) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.5)
        started = workers_of(host.pid)
        assert started
        host.send_signal(signal.SIGKILL)
        host.wait()
        end = time.monotonic() + 1.0
        while any(map(alive, started)) and time.monotonic() < end:
            time.sleep(0.02)
        assert not any(map(alive, started))
    cache.remove_abandoned(cache.cache_folder() / "journals")  # as the next run does


def workers_of(parent: int) -> list[int]:
    try:
        children = [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except OSError:
        return []
    return [one for child in children for one in (child, *workers_of(child))]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_truncated_raster_is_an_error(tmp_path):
    raster = write_raster(tmp_path / "r.tif", np.random.default_rng(0).integers(0, 255, (1, 300, 300), np.uint8))
    os.truncate(raster, raster.stat().st_size // 2)
    with pytest.raises(RasterError, match="cannot be read at column"):
        run(make_package(tmp_path / "p"), raster)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ('{"tx": -5, "ty": 32}', "value -5 of tx cannot be used"),
        ('{"tx": 32}', "did not answer ty"),
        ('{"tx": 32, "ty": 32, "padding": -1}', "padding cannot be used: it cannot be negative"),
        ('{"tx": 32.5, "ty": 32}', "must be a whole number"),
        ('{"tx": 32, "ty": 32, "extractBands": [0, 1]}', r"wants band 2, but the raster has 1 band"),
        ('{"tx": 32, "ty": 32, "extractBands": [-1]}', "wants band 0"),
        ('{"tx": 32, "ty": 32, "extractBands": ["NIR"]}', "wants a band named 'NIR'"),
        ('{"tx": 32, "ty": 32, "dataRange": [1]}', "dataRange"),
        ('{"tx": 10**7, "ty": 10**7}', "memory are free for blocks"),
        ("None", "must answer a dict, but answered NoneType"),
    ],
)
def test_nonsense_from_get_configuration(tmp_path, raster, answer, message):
    package = make_package(tmp_path / "p", f"def getConfiguration(self, **scalars):\n    return {answer}\n")
    with pytest.raises((ConfigurationError, WorkerError), match=message):
        run(package, raster)


def test_padding_answered_by_the_function_that_leaves_nothing(tmp_path, raster):
    package = make_package(tmp_path / "p", "def getConfiguration(self, **s):\n    return {'tx': 8, 'ty': 8, 'padding': 128}\n")
    with pytest.raises(ConfigurationError, match="less than half of the model's input of 256 pixels"):
        run(package, raster)


def test_shared_memory_cannot_be_cut_short(tmp_path, raster):
    """A package that truncates what it inherited would kill the host at its next write."""
    methods = """
    def vectorize(self, **blocks):
        tried = 0
        for name in os.listdir("/proc/self/fd"):
            if "deep_learning_packages-blocks" not in os.path.realpath("/proc/self/fd/" + name):
                continue
            for size in (0, 1 << 40):
                try:
                    os.ftruncate(int(name), size)
                except OSError:
                    tried += 1
                else:
                    raise RuntimeError("resized the shared memory")
        assert tried
        return {"output_vectors": '{"features": []}'}
    """
    assert run(make_package(tmp_path / "p", methods), raster).statistics.blocks == 6


def test_survivor_that_holds_the_pipes_does_not_stop_a_cancel(tmp_path, raster):
    """What the package started in a session of its own keeps the pipes open, without a sandbox."""
    mark = tmp_path / "survivor"
    methods = f"""
    def vectorize(self, **blocks):
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(20)"], start_new_session=True)
        open({str(mark)!r}, "w").write(str(child.pid))
        time.sleep(60)
    """
    feedback = Recorder()
    threading.Timer(1.5, lambda: setattr(feedback, "canceled", True)).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        run(make_package(tmp_path / "p", methods), raster, feedback=feedback, sandbox=NO_SANDBOX)
    assert time.monotonic() - began < 1.5 + 2.0
    os.kill(int(mark.read_text()), signal.SIGKILL)


def test_death_is_seen_though_a_child_holds_the_pipes(tmp_path, raster):
    methods = """
    def vectorize(self, **blocks):
        import subprocess, sys
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        os._exit(3)
    """
    with pytest.raises(WorkerError, match="ended: status 3"):
        run(make_package(tmp_path / "p", methods), raster, sandbox=NO_SANDBOX)


@pytest.mark.parametrize("padding", ["128", "200", "-1"])
def test_padding_that_leaves_nothing(tmp_path, raster, padding):
    """3.4: refused before the function meets it; the tile of this package has 256 pixels."""
    with pytest.raises(ConfigurationError, match="less than half of the model's input of 256 pixels"):
        run(make_package(tmp_path / "p"), raster, f"padding {padding}")


def test_geometry_type_that_is_unknown(tmp_path, raster):
    with pytest.raises(ConfigurationError, match=r"getGeometryType\(\) answered 9"):
        run(make_package(tmp_path / "p", "def getGeometryType(self):\n    return 9\n"), raster)


def test_gpu_asked_for_where_there_is_none(tmp_path, raster):
    if Path("/dev/nvidia0").exists() or Path("/dev/kfd").exists():
        pytest.skip("this machine has a GPU")
    with pytest.raises(FunctionError, match="a GPU was asked for, but no driver"):
        run(make_package(tmp_path / "p"), raster, processor="GPU")
    outcome = run(make_package(tmp_path / "q"), raster, processor="AUTO")
    assert "Device: CPU, because no driver of an NVIDIA or AMD GPU was found" in outcome.feedback.infos


def test_sandbox_hides_home_network_and_system(tmp_path, raster):
    """From inside: nothing of the user's, nothing to write, nobody to talk to."""
    if find_sandbox().program is None:
        pytest.skip(find_sandbox().description)
    methods = f"""
    def initialize(self, **scalars):
        import socket
        assert not os.path.exists({str(raster)!r}), "sees the raster"
        assert os.listdir(os.path.expanduser("~")) in ([], [".pyenv"], [".local"]), os.listdir(os.path.expanduser("~"))
        assert not os.path.exists("/etc/shadow") and not os.path.exists("/run/dbus")
        assert os.listdir("/proc").count(str(os.getppid())) <= 1 and len([p for p in os.listdir("/proc") if p.isdigit()]) < 5
        assert "SECRET" not in os.environ
        for path in ("/usr/x", os.path.dirname(scalars["model"]) + "/x"):
            try:
                open(path, "w")
            except OSError:
                continue
            raise RuntimeError("wrote " + path)
        open("/tmp/x", "w").close()
        try:
            socket.create_connection(("127.0.0.1", 9), timeout=1)
        except OSError as error:
            assert "refused" in str(error)  # its own loopback, where nobody listens
        assert socket.if_nameindex() == [(1, "lo")]
    """
    os.environ["SECRET"] = "x"
    assert run(make_package(tmp_path / "p", methods), raster).statistics.blocks == 6


def test_worker_starts_in_half_a_second(tmp_path):
    """Without the package: interpreter, sandbox, numpy."""
    interpreter, sandbox = find_interpreter(), find_sandbox()
    times = []
    for _ in range(3):
        began = time.monotonic()
        process = worker.Worker(interpreter, sandbox, (tmp_path,), (), lambda line: None)
        process.wait(Recorder(), 10)
        times.append(time.monotonic() - began)
        process.kill()
    assert min(times) < 0.5


def test_blocks_are_read_ahead(tmp_path, monkeypatch):
    """At least two blocks are in flight for each worker while a block is worked on."""
    raster = write_raster(tmp_path / "raster.tif", np.ones((1, 64, 640), np.uint8))
    most = []
    original = pipeline.Pipeline._handle_next_event

    def watched(self):
        most.append(max(len(lane.tasks) for lane in self._lanes._lanes))
        original(self)

    monkeypatch.setattr(pipeline.Pipeline, "_handle_next_event", watched)
    code = "def vectorize(self, **blocks):\n    import time\n    time.sleep(0.02)\n    return {'output_vectors': '{\"features\": []}'}\n"
    run(make_package(tmp_path / "p", code), raster)
    assert max(most) == 2
