"""A small HTTP/1.1 server on a free port of the loopback device, and what it remembers of its callers."""

from __future__ import annotations

import threading
import traceback
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from servers.listening import Listener
from servers.messages import Request, Response

METHODS = ("GET", "HEAD", "POST")


class Server:
    """Answers until it is stopped; derived classes say what."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._listener: Listener | None = None
        self.errors: list[str] = []  # tracebacks of answers that failed; empty in a sound test
        self.stopping = threading.Event()

    def respond(self, request: Request) -> Response:
        """What the request is answered with."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """Where the server is, without a slash at the end."""
        assert self._listener is not None, "the server has not been started"
        return f"http://127.0.0.1:{self._listener.server_address[1]}"

    @property
    def requests(self) -> list[Request]:
        """All requests so far, in the order in which they came in."""
        with self._lock:
            return list(self._requests)

    def forget(self) -> None:
        """Start the list of requests anew."""
        with self._lock:
            self._requests.clear()

    def answer(self, request: Request) -> Response:
        """Note the request and respond; a failure of the server's own is an answer too, and is kept."""
        with self._lock:
            self._requests.append(request)
        try:
            return self.respond(request)
        except Exception:  # noqa: BLE001 - a broken double must not look like a broken connection
            self.errors.append(traceback.format_exc())
            return Response(500, self.errors[-1].encode(), "text/plain")

    def start(self) -> None:
        """Begin to answer, in threads of its own."""
        self._listener = Listener(lambda *arguments: _Handler(self, *arguments))

    def stop(self) -> None:
        """End all connections and threads."""
        self.stopping.set()
        if self._listener is not None:
            self._listener.stop()

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


class _Handler(BaseHTTPRequestHandler):
    """One connection, kept open for further requests as HTTP/1.1 has it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # header and body go out in two writes, and must not wait for each other

    def __init__(self, owner: Server, *arguments: Any) -> None:
        self.owner = owner
        super().__init__(*arguments)

    def log_message(self, *arguments: object) -> None:
        """Stay silent."""

    def _serve(self) -> None:
        response = self.owner.answer(self._request())
        if response.status is None:
            self.close_connection = True
            return
        self.send_response(response.status)
        self.send_header("Content-Type", response.kind)
        self.send_header("Content-Length", str(response.announced))
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(response)

    def _send_body(self, response: Response) -> None:
        sent = 0
        for piece in [response.body] if isinstance(response.body, bytes) else response.body:
            self.wfile.write(piece)
            sent += len(piece)
        if sent < response.announced:
            self.close_connection = True

    def _request(self) -> Request:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "form" in self.headers.get("Content-Type", ""):
            query.update(parse_qs(body.decode(), keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, unquote(parts.path), query, headers, self.path)


for _method in METHODS:
    setattr(_Handler, f"do_{_method}", _Handler._serve)
