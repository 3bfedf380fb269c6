"""A reverse proxy that spoils some of the answers, the same ones in every run."""

from __future__ import annotations

import http.client
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from servers.messages import Request, Response
from servers.serving import Server

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length", "accept-encoding"}
KINDS = ("unavailable", "dropped", "stalled", "truncated", "html", "too_many")
TEXTS = ("xml", "json", "html", "text/plain")
SLOWEST = 120.0  # seconds that the server behind may take
PAGE = b"<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Proxy error</h1></body></html>"


@dataclass(frozen=True)
class Faults:
    """How often each fault happens, as shares of the requests whose path and query contain `only`.

    Attributes:
        unavailable: 503, half of them with Retry-After: 0.
        dropped: the connection is closed without an answer.
        stalled: nothing for `stall_seconds`, then the sound answer.
        truncated: Content-Length of the whole, half of the body, then the connection is closed.
        html: status 200 with an error page.
        too_many: 429, half of them with Retry-After: 0.
        missing: paths with their query for which it is true are answered with 404, always.
        seed: with the same seed the nth request for a URL has the same fate, however requests overlap.
    """

    unavailable: float = 0.0
    dropped: float = 0.0
    stalled: float = 0.0
    truncated: float = 0.0
    html: float = 0.0
    too_many: float = 0.0
    stall_seconds: float = 10.0
    missing: Callable[[str], bool] | None = None
    only: str | None = None
    seed: int = 0

    def fate(self, target: str, attempt: int) -> tuple[str | None, bool]:
        """Which fault hits this attempt, if any, and a coin for the faults that have two forms."""
        if self.only is not None and self.only not in target:
            return None, False
        if self.missing is not None and self.missing(target):
            return "missing", False
        generator = random.Random(f"{self.seed} {attempt} {target}")
        draw, coin = generator.random(), generator.random() < 0.5
        for kind in KINDS:
            draw -= getattr(self, kind)
            if draw < 0:
                return kind, coin
        return None, coin


class FaultyProxy(Server):
    """Stands before another server. `faults` may be replaced while it runs; `injected` counts what was done."""

    def __init__(self, upstream_url: str, faults: Faults | None = None) -> None:
        super().__init__()
        self.upstream = urlsplit(upstream_url)
        self.faults = faults or Faults()
        self.injected: Counter[str] = Counter()
        self._attempts: Counter[str] = Counter()
        self._counting = threading.Lock()

    def respond(self, request: Request) -> Response:
        """The upstream's answer, or a spoiled one."""
        if request.method not in ("GET", "HEAD"):
            return Response(405, b"only GET and HEAD are forwarded", "text/plain")
        with self._counting:
            self._attempts[request.target] += 1
            attempt = self._attempts[request.target]
        kind, coin = self.faults.fate(request.target, attempt)
        if kind is not None:
            with self._counting:
                self.injected[kind] += 1
        return self._spoiled(kind, coin, request)

    def _spoiled(self, kind: str | None, coin: bool, request: Request) -> Response:
        again = {"Retry-After": "0"} if coin else {}
        plain = {
            "unavailable": Response(503, b"unavailable", "text/plain", again),
            "dropped": Response(None),
            "html": Response(200, PAGE, "text/html"),
            "too_many": Response(429, b"too many requests", "text/plain", again),
            "missing": Response(404, b"not found", "text/plain"),
        }
        if kind in plain:
            return plain[kind]
        if kind == "stalled":
            self.stopping.wait(self.faults.stall_seconds)
        answer = self._forwarded(request)
        if kind == "truncated" and isinstance(answer.body, bytes):
            return Response(answer.status, answer.body[: len(answer.body) // 2], answer.kind, answer.headers, len(answer.body))
        return answer

    def _forwarded(self, request: Request) -> Response:
        """Ask the upstream. Its own address in texts becomes the proxy's, or clients would go past the proxy next time."""
        connection = http.client.HTTPConnection(self.upstream.hostname or "", self.upstream.port, timeout=SLOWEST)
        headers = {name: value for name, value in request.headers.items() if name not in HOP_BY_HOP}
        try:
            connection.request(request.method, self.upstream.path + request.target, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            return Response(502, str(error).encode(), "text/plain")
        finally:
            connection.close()
        kind = answer.headers.get("Content-Type", "")
        if any(word in kind for word in TEXTS):
            body = body.replace(self.upstream.netloc.encode(), self.url.removeprefix("http://").encode())
        own = {*HOP_BY_HOP, "content-type", "date", "server"}
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in own}
        announced = int(answer.headers.get("Content-Length") or 0) if request.method == "HEAD" else len(body)
        return Response(answer.status, body, kind, kept, announced)
