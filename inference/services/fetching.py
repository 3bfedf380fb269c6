"""Asks servers: patiently where they are busy, politely in number, and never with a secret for a stranger."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar
from urllib.parse import urljoin, urlsplit

from ..errors import InferenceError, RasterError
from ..feedback import canceled
from ..secrets import without_credentials
from ..translation import tr

ATTEMPTS = 7
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds before a second attempt, doubled for each further one, and the most that a server may ask for (Retry-After)."""
FOUND = 200
FORBIDDEN = (401, 403)
"""Answers that no further attempt will change."""
BUSY = (408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524)
"""Answers that may be others a little later."""
REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 8
IN_FLIGHT = 6
"""Requests at a time: what browsers allow themselves for a server."""


@dataclass(frozen=True)
class Answer:
    """What a server answered.

    Attributes:
        status: HTTP's number.
        headers: By their names in lower case.
        body: All bytes.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        """Content type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


Understood = TypeVar("Understood")
"""What is made of an answer."""


class UnreachableError(InferenceError):
    """A server cannot be reached, hangs up or takes too long."""


class RefusedError(RasterError):
    """A server answers that it has not what was asked for.

    Attributes:
        status: HTTP's number; 0 where it answered something else.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Sink(Protocol):
    """Takes what comes, where it is too large for memory; called in the transport's thread, unless it says otherwise."""

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """What comes now is good (200) or a part of it (206)."""

    def write(self, chunk: bytes) -> None:
        """A piece of it."""

    def tick(self) -> None:
        """Some time has passed; called in the thread that waits."""


class Transport(Protocol):
    """Carries requests, for several threads at a time."""

    def get(self, address: str, headers: Mapping[str, str], with_credentials: bool, sink: Sink | None = None) -> Answer:
        """Ask once; redirects are not followed.

        Args:
            address: http or https.
            headers: Besides those that the transport adds.
            with_credentials: Whether the server may know who asks.
            sink: Takes the body, which is empty in the answer then.

        Raises:
            UnreachableError: There is no answer.
            Cancelled: The transport was stopped.
        """

    def stop(self) -> None:
        """End what is under way, and refuse what comes."""


@dataclass
class Fetcher:
    """Asks for small things, such as tiles, again and again where that helps.

    Attributes:
        transport: Carries the requests.
        per_second: Requests a second at most; 0 for any number.
    """

    transport: Transport
    per_second: float = 0.0
    _next: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def get(self, address: str, attempts: int = ATTEMPTS) -> Answer:
        """The answer to a request; see `read`."""
        return self.read(address, lambda answer: answer, attempts)

    def read(self, address: str, understand: Callable[[Answer], Understood], attempts: int = ATTEMPTS) -> Understood:
        """What an answer to a request holds.

        Args:
            address: http or https.
            understand: Takes an answer of status 200; raises RasterError when it is not what was asked for, so that it is asked
                for again.
            attempts: How often to ask at most.

        Raises:
            RefusedError: The server has it not, also after several attempts.
            Cancelled: The fetcher was stopped.
        """
        reason, answer, pause = "", None, 0.0
        for attempt in range(attempts):
            self._wait(pause)
            self._take_turn()
            try:
                answer = followed(self.transport, address)
                if answer.status == FOUND:
                    return understand(answer)
                reason = tr("status {status}", status=answer.status)
                if answer.status not in BUSY:
                    break
            except UnreachableError as error:
                reason, answer = str(error), None
            except RasterError as error:
                reason = str(error)
            pause = _asked_pause(answer) or min(FIRST_WAIT * 2**attempt, LONGEST_WAIT) * random.SystemRandom().uniform(0.5, 1.5)
        shown = without_credentials(address)
        raise RefusedError(
            tr("{address} gives no answer that can be used: {reason}.", address=shown, reason=reason.rstrip(".")),
            answer.status if answer is not None else 0,
        )

    def stop(self) -> None:
        """End what is under way, and refuse what comes."""
        self._stopped.set()
        self.transport.stop()

    def _take_turn(self) -> None:
        if not self.per_second:
            return
        with self._lock:
            now = time.monotonic()
            turn = max(self._next, now)
            self._next = turn + 1 / self.per_second
        self._wait(turn - now)

    def _wait(self, seconds: float) -> None:
        if self._stopped.wait(max(seconds, 0.0)):
            raise canceled()


def followed(transport: Transport, address: str, headers: Mapping[str, str] | None = None, sink: Sink | None = None) -> Answer:
    """Ask, and go where the server sends; from another host on without credentials.

    Raises:
        UnreachableError: There is no answer, or no end of redirects.
    """
    origin, trusted = _host(address), True
    for _ in range(MOST_REDIRECTS):
        answer = transport.get(address, headers or {}, trusted, sink)
        if answer.status not in REDIRECTS or "location" not in answer.headers:
            return answer
        target = urljoin(address, answer.headers["location"])
        lowers = address.startswith("https:") and not target.startswith("https:")
        if urlsplit(target).scheme not in ("http", "https") or lowers:
            raise UnreachableError(tr("it sends to {address}, which is not followed", address=without_credentials(target)))
        trusted = trusted and _host(target) == origin
        address = target
    raise UnreachableError(tr("it sends from one address to the next"))


def _host(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc.rpartition("@")[2].lower()


def _asked_pause(answer: Answer | None) -> float:
    """Seconds that a server asks to wait; 0 where it says nothing, or a date."""
    asked = "" if answer is None else answer.headers.get("retry-after", "")
    return min(float(asked), LONGEST_WAIT) if asked.isascii() and asked.isdecimal() else 0.0
