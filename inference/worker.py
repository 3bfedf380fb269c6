"""The handle on an inference process: start it, talk to it, watch it, end it."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..worker.protocol import Message, ProtocolError, receive, send
from .errors import InferenceError, OutOfMemoryError, WorkerError, printable
from .feedback import Feedback, stop_if_canceled
from .interpreter import NO_WINDOW, Interpreter
from .machine import SHARE_OF_MEMORY, free_memory
from .sandbox import TEMPORARY_FOLDER, Sandbox
from .translation import tr
from .watchdog import SECONDS as WATCH_SECONDS
from .watchdog import Excess, Watchdog
from .worker_errors import ending, reported

PROGRAM = Path(__file__).resolve().parent.parent / "worker"
KEPT_VARIABLES = frozenset(
    [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "TZ",
        "TMPDIR",
        "TEMP",
        "TMP",
        "SYSTEMROOT",
        "LD_LIBRARY_PATH",
        "CUDA_VISIBLE_DEVICES",
        "CUDA_PATH",
        "NVIDIA_VISIBLE_DEVICES",
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "PYTORCH_CUDA_ALLOC_CONF",
    ]
)
"""Variables of the environment that a package may see."""
POLL_SECONDS = 0.1
KEPT_LINES = 200
LINE_LENGTH = 2000
LOG_BYTES = 4 << 20
"""Of what a process prints, so much is handed on."""
MAXIMUM_TASKS = 8192
"""Processes and threads in a sandbox."""


@dataclass(frozen=True)
class Reply:
    """What a worker answered; `message` is None when the worker is gone."""

    worker: Worker
    message: Message | None
    payload: bytes = b""


@dataclass(eq=False)
class Worker:
    """One inference process.

    Must be started in the thread that supervises the run: bubblewrap's --die-with-parent follows that thread.

    Attributes:
        interpreter: Which Python.
        sandbox: What contains it.
        folders: What it may read: the package.
        descriptors: What it inherits: the slots.
        log: Called from another thread with each line that the package prints.
    """

    interpreter: Interpreter
    sandbox: Sandbox
    folders: tuple[Path, ...]
    descriptors: tuple[int, ...]
    log: Callable[[str], None]
    _process: subprocess.Popen[bytes] = field(init=False, repr=False)
    _deliver: Callable[[Reply], None] = field(init=False, repr=False)
    _last_lines: deque[str] = field(init=False, repr=False, default_factory=lambda: deque(maxlen=KEPT_LINES))
    _threads: list[threading.Thread] = field(init=False, repr=False, default_factory=list)
    # Each is written by one thread alone. The first answer comes unasked: it is ready.
    _asked: int = field(init=False, repr=False, default=1)
    _answered: int = field(init=False, repr=False, default=0)
    _excess: Excess | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        self._inbox: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        self._deliver = self._inbox.put
        program = [str(self.interpreter.path), str(PROGRAM)]
        command = self.sandbox.wrap(program, (*self.interpreter.folders, *self._path_folders(), PROGRAM, *self.folders))
        try:
            # Bandit: running packages is what this plugin is for: in a sandbox or trusted; no shell.
            self._process = subprocess.Popen(  # nosec B603
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self._environment(),
                pass_fds=self.descriptors, start_new_session=sys.platform != "win32", creationflags=NO_WINDOW,
            )  # fmt: skip
        except OSError as error:
            raise WorkerError(tr("The inference process cannot be started: {error}.", error=error)) from error
        self.memory_limit = int(free_memory() * SHARE_OF_MEMORY)
        self._killed = threading.Event()
        for target in (self._receive, self._read_log, *([self._watch] if sys.platform == "linux" else [])):
            thread = threading.Thread(target=target, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                self.kill()
                raise WorkerError(tr("The inference process cannot be looked after: {error}.", error=error)) from error
            self._threads.append(thread)

    def deliver_to(self, deliver: Callable[[Reply], None]) -> None:
        """From now on hand replies to this function, in another thread, instead of to `call`."""
        self._deliver = deliver
        while not self._inbox.empty():  # what came since the last call, such as its end
            deliver(self._inbox.get())

    def send(self, message: Message) -> None:
        """Ask for something; a worker that is gone shows by its last Reply."""
        self._asked += 1
        try:
            send(cast(BinaryIO, self._process.stdin), message)
        except (OSError, ValueError):
            pass  # the pipe is closed: _receive has delivered, or will deliver, the end

    def call(self, message: Message, feedback: Feedback, seconds: float) -> Message:
        """Ask for something and wait.

        Raises:
            FunctionError: The package's code failed.
            WorkerError: The worker died or did not answer in time.
            Cancelled: The user stopped the run.
        """
        self.send(message)
        return self.wait(feedback, seconds)

    def wait(self, feedback: Feedback, seconds: float) -> Message:
        """Wait for the next answer; raises as `call` does."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            stop_if_canceled(feedback)
            try:
                reply = self._inbox.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if reply.message is None:
                raise self.death()
            self.raise_error(reply.message)
            return reply.message
        raise WorkerError(tr("The package did not answer within {seconds} seconds.", seconds=int(seconds)), self.last_lines)

    def raise_error(self, message: Mapping[str, Any]) -> None:
        """Raise what a reply reports.

        Raises:
            OutOfMemoryError: The package's code ran out of memory.
            FunctionError: It failed otherwise; the original traceback is in the details.
        """
        if message.get("error") is not None:
            raise reported(message["error"], self.sandbox, self.interpreter)

    def kill(self) -> None:
        """End the process and all that it started, at once."""
        self._killed.set()
        self._kill()
        self._process.wait()
        try:
            cast(BinaryIO, self._process.stdin).close()
        except OSError:
            pass  # what was still to be written to a dead process
        for thread, stream in zip(self._threads, (self._process.stdout, self._process.stderr)):
            thread.join(timeout=0.5)
            if not thread.is_alive():  # else something that left the group holds the pipe, and closing would wait for it
                cast(BinaryIO, stream).close()

    def _kill(self) -> None:
        try:
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)  # what a dead worker has started may still live
        except (ProcessLookupError, PermissionError):
            self._process.kill()

    @property
    def limits(self) -> dict[str, int]:
        """For the kernel (see worker/limits.py): in a sandbox, processes are counted apart from the user's others."""
        contained = {"tasks": MAXIMUM_TASKS} if self.sandbox.program is not None else {}
        return {"core": 0, "memory": self.memory_limit, **contained}

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended; its pipes may be open still, held by what it has started."""
        return self._process.poll() is not None

    @property
    def last_lines(self) -> str:
        """What the package printed last."""
        return "\n".join(self._last_lines)

    def death(self) -> InferenceError:
        """The error that tells how the process ended: an OutOfMemoryError where it was stopped for its memory."""
        self._threads[1].join(timeout=1)
        if self._excess is not None:
            kind = OutOfMemoryError if self._excess.is_memory else WorkerError
            return kind(tr("The inference process was stopped: {why}.", why=self._excess.text), self.last_lines)
        try:
            status = self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            return WorkerError(tr("The inference process sent something that is no message."), self.last_lines)
        return WorkerError(tr("The inference process ended: {how}.", how=ending(status)), self.last_lines)

    def _receive(self) -> None:
        try:
            while (received := receive(cast(BinaryIO, self._process.stdout))) is not None:
                self._answered += 1
                if self._answered > self._asked:  # a package that forges answers shall not fill our memory with them
                    raise ProtocolError("an answer without a question")
                self._deliver(Reply(self, *received))
        except (ProtocolError, OSError, ValueError) as error:
            self._last_lines.append(str(error))
        self._deliver(Reply(self, None))

    def _read_log(self) -> None:
        stream, left = cast(BinaryIO, self._process.stderr), LOG_BYTES
        while line := stream.readline(LINE_LENGTH):
            text = printable(line.decode(errors="replace").rstrip())
            if not text:
                continue
            self._last_lines.append(text)
            if left > 0:
                self.log(text)
                left -= len(line)
                if left <= 0:
                    self.log(tr("The package prints very much; the rest is left out."))

    def _watch(self) -> None:
        watchdog = Watchdog(self._process.pid, self.memory_limit, next(iter(self.descriptors), None))
        while not self._killed.wait(WATCH_SECONDS) and self._process.poll() is None:
            try:
                self._excess = watchdog.look()
            except OSError:
                continue  # no descriptor is left just now: the next look may have one
            except Exception as error:  # noqa: BLE001 - a package must not go on unwatched
                self._excess = Excess(tr("it could not be watched: {error}", error=error), is_memory=False)
            if self._excess is not None:
                self._kill()
                return

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name.upper() in KEPT_VARIABLES}
        kept |= {
            "LC_NUMERIC": "C",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONUTF8": "1",
            # glibc keeps the memory of a block for the next one; taking it anew costs per cents of a run on a CPU.
            "MALLOC_MMAP_THRESHOLD_": "33554432",
            "MALLOC_TRIM_THRESHOLD_": "1073741824",
        }
        if self.sandbox.program is not None:
            kept["TMPDIR"] = TEMPORARY_FOLDER
        if self.interpreter.inherits_path and "PYTHONPATH" in os.environ:
            kept["PYTHONPATH"] = os.environ["PYTHONPATH"]
        return kept

    def _path_folders(self) -> list[Path]:
        entries = os.environ.get("PYTHONPATH", "").split(os.pathsep) if self.interpreter.inherits_path else []
        return [Path(entry) for entry in entries if os.path.isdir(entry)]
