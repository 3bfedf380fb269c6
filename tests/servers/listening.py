"""The sockets and threads of a server in this process, all of which end when it is stopped."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from typing import Any

PATIENCE = 10.0  # seconds that one answer may take to notice that its connection is gone


class Listener(ThreadingHTTPServer):
    """Listens from its construction on."""

    daemon_threads = True  # a test that is interrupted must not wait for them
    request_queue_size = 128  # several clients with many connections each

    def __init__(self, handler: Callable[..., Any]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self._guard = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._accepting = threading.Thread(target=self.serve_forever, args=(0.05,), name="listener", daemon=True)
        self._accepting.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread that is known here: the base class forgets those of its daemons."""
        thread = threading.Thread(target=self._answer, args=(request, client_address), name="connection", daemon=True)
        with self._guard:
            self._connections[request] = thread
        thread.start()

    def _answer(self, request: Any, client_address: Any) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            with self._guard:
                self._connections.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are what tests are about."""

    def stop(self) -> None:
        """Accept nothing more, hang up on everyone, and wait for the threads."""
        self.shutdown()
        self._accepting.join()
        self.server_close()
        with self._guard:
            connections = dict(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):  # already closed by its thread
                connection.shutdown(socket.SHUT_RDWR)
        for thread in connections.values():
            thread.join(PATIENCE)
