"""Serves the host's requests, one after another, over the pipes that the process was started with.

Standard input and output become private before anything else runs, so that what a raster function prints
goes to the log and never into the protocol. A second thread reads the requests: it sees the end of the
pipe also while the function is busy, and then the process ends at once. It also copies the next
block out of its slot meanwhile, so that the function never waits for that.
"""

from __future__ import annotations

import errno
import faulthandler
import os
import queue
import socket
import sys
import threading
import traceback
from typing import Any, BinaryIO, Callable

from . import environment
from .host import FunctionHost
from .protocol import Message, check_size, receive, send

Answer = tuple[Message, bytes]
NO_MEMORY = (
    "out of memory", "can't allocate memory",
    "not enough memory",  # torch on Windows
    "could not create a primitive", "could not create a memory object",  # oneDNN
    "cublas_status_alloc_failed", "cudnn_status_alloc_failed",
)  # fmt: skip
"""What libraries say of too little memory, in lower case."""


def serve() -> int:
    """Answer requests until the host closes the pipe; returns the exit status."""
    requests, replies = _private_pipes()
    faulthandler.enable(sys.stderr)
    inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
    host = FunctionHost()
    threading.Thread(target=_read, args=(requests, inbox, host), daemon=True).start()
    handlers: dict[str, Callable[[Message], Answer]] = {
        "inspect": environment.inspect,
        "open": host.open,
        "configure": host.configure,
        "share": host.share,
        "vectorize": host.vectorize,
    }
    send(replies, {"reply": "ready", "python": sys.version.split()[0], "pid": os.getpid()})
    while True:
        request = inbox.get()
        send(replies, *_answer(host, handlers[request["command"]], request))


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the pipes for the protocol; let descriptor 0 read nothing and descriptor 1 write to the log."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    return requests, replies


def _read(requests: BinaryIO, inbox: queue.SimpleQueue[Message], host: FunctionHost) -> None:
    while (received := receive(requests)) is not None:
        if received[0]["command"] == "vectorize":
            host.prepare(received[0])
        inbox.put(received[0])
    os._exit(0)


def _answer(host: FunctionHost, handle: Callable[[Message], Answer], request: Message) -> Answer:
    """Handle one request; whatever the package raises becomes an answer, as the process must outlive it."""
    answer: Message = {"reply": request["command"], "block": request.get("block")}
    try:
        content, payload = handle(request)
        check_size(payload)
    except BaseException as error:  # noqa: BLE001 - a package may raise anything, SystemExit too
        answer["error"] = _description(error, host)
        return answer, b""
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    answer.update(content)
    return answer, payload


def _description(error: BaseException, host: FunctionHost) -> dict[str, Any]:
    """What the host tells the user: our own errors speak for themselves, the package's keep their type."""
    chain = _causes(error)
    missing = next((cause.name for cause in chain if isinstance(cause, ModuleNotFoundError)), None)
    own = type(error).__module__.startswith(__name__.rpartition(".")[0])
    text = str(error) if own else "".join(traceback.format_exception_only(type(error), error))
    return {
        "step": "" if own else host.step,
        "native": host.network,
        "message": " ".join(text.split())[-4000:],
        "traceback": "".join(traceback.format_exception(type(error), error, error.__traceback__))[-100_000:],
        "missing": missing,
        "out_of_memory": any(_is_out_of_memory(cause) for cause in chain),
        "network": any(_is_about_network(cause) for cause in chain),
    }


def _causes(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return chain


def _is_about_network(error: BaseException) -> bool:
    """Whether something could not be reached, by the system's errors or by the words that libraries wrap them in."""
    unreachable = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ECONNREFUSED)
    words = ("name resolution", "name or service not known", "network is unreachable", "max retries exceeded with url")
    known = isinstance(error, OSError) and error.errno in unreachable
    return known or isinstance(error, socket.gaierror) or any(word in str(error).lower() for word in words)


def _is_out_of_memory(error: BaseException) -> bool:
    """CONTRACT 3.6: functions raise their own RuntimeError whose text holds "out of memory"."""
    text = str(error).lower()
    is_known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return is_known or any(words in text for words in NO_MEMORY)
