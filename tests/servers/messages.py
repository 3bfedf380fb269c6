"""Requests and answers of the servers in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """What a caller asked for. Parameters of a form that was posted are in `query` too; header names are lower case."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    target: str = ""

    def value(self, name: str, default: str = "") -> str:
        """The first value of a parameter, whose name may be written in capitals or not."""
        for key, values in self.query.items():
            if key.lower() == name.lower():
                return values[0]
        return default


@dataclass(frozen=True)
class Response:
    """An answer. `length` is what is announced, so a body may be shorter than it says; None as status hangs up."""

    status: int | None = 200
    body: bytes | Iterator[bytes] = b""
    kind: str = "application/octet-stream"
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None

    @property
    def announced(self) -> int:
        """The value of Content-Length."""
        if self.length is not None:
            return self.length
        assert isinstance(self.body, bytes), "an answer in pieces must say how long it is"
        return len(self.body)


def json_response(content: Any, status: int = 200) -> Response:
    """An answer in JSON."""
    return Response(status, json.dumps(content).encode(), "application/json;charset=UTF-8")
