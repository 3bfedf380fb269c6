"""A double of ArcGIS Enterprise's REST services.

No server of ArcGIS Enterprise can be had for tests: it is licensed software. This double is written from the public
documentation of the REST API (image service, export image, map service, export map, map tile); what it shares with real
services is their requests and answers, not their code. Its errors come with status 200 and an "error" in JSON, as real ones.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Protocol

from servers.messages import Request, Response, json_response
from servers.serving import Server

SERVICES = "/arcgis/rest/services/"
OUTPUT = "/arcgis/rest/directories/arcgisoutput/"
VERSION = 11.3


class RestError(Exception):
    """An error that the caller is told of the way the REST API does."""

    def __init__(self, code: int, message: str, details: list[str] | None = None, word: str | None = None) -> None:
        super().__init__(message)
        self.content = {"code": code, **({"messageCode": word} if word else {}), "message": message, "details": details or []}

    @property
    def response(self) -> Response:
        """Status 200: clients that look at the status alone take it for a success."""
        return json_response({"error": self.content})


@dataclass(frozen=True)
class Image:
    """What an export yields, and what is told about it where the caller wants JSON."""

    content: bytes
    kind: str
    suffix: str
    facts: dict[str, Any]


class Service(Protocol):
    """A service that can be published."""

    type: str

    def description(self, name: str) -> dict[str, Any]:
        """The resource itself, in JSON."""

    def operation(self, rest: list[str], request: Request) -> Image | Response:
        """What lies below the resource."""


def check_token(request: Request, token: str | None) -> None:
    """Let the request pass if it bears the token in one of the ways the REST API knows."""
    if token is None:
        return
    given = request.value("token")
    for header in ("x-esri-authorization", "authorization"):
        scheme, _, credential = request.headers.get(header, "").partition(" ")
        if not given and scheme.lower() == "bearer":
            given = credential.strip()
    if not given:
        raise RestError(499, "Token Required")
    if given != token:
        raise RestError(498, "Invalid Token")


class RestServer(Server):
    """Answers in the way of the REST API, errors included."""

    def respond(self, request: Request) -> Response:
        """Any answer; errors of the caller's are told in JSON."""
        try:
            return self.rest(request)
        except RestError as error:
            return error.response

    def rest(self, request: Request) -> Response:
        """The answer where nothing is wrong."""
        raise NotImplementedError


class ArcGisServer(RestServer):
    """Publishes services by name, all behind one token if there is one. Services may be added while it runs."""

    def __init__(self, services: dict[str, Service], token: str | None = None) -> None:
        super().__init__()
        self.services = services
        self.token = token
        self._output: dict[str, Image] = {}

    def service_url(self, name: str) -> str:
        """Where a service is."""
        return f"{self.url}{SERVICES}{name}/{self.services[name].type}"

    def rest(self, request: Request) -> Response:
        """Server information, catalogue, services and their output files."""
        if request.path.startswith(OUTPUT):
            return self._file(request.path[len(OUTPUT) :])
        if request.path.rstrip("/") == "/arcgis/rest/info":
            return json_response({"currentVersion": VERSION, "authInfo": {"isTokenBasedSecurity": self.token is not None}})
        check_token(request, self.token)
        if request.path.rstrip("/") == SERVICES.rstrip("/"):
            found = [{"name": name, "type": service.type} for name, service in self.services.items()]
            return json_response({"currentVersion": VERSION, "folders": [], "services": found})
        return self._service(request)

    def _service(self, request: Request) -> Response:
        for name, service in self.services.items():
            base = f"{SERVICES}{name}/{service.type}"
            if request.path.rstrip("/") == base:
                return _resource(request, service.description(name))
            if request.path.startswith(f"{base}/"):
                return self._sent(service.operation(request.path[len(base) + 1 :].strip("/").split("/"), request), request)
        raise RestError(404, "Service not found", [f"Service {request.path[len(SERVICES) :]} not found"])

    def _sent(self, result: Image | Response, request: Request) -> Response:
        if isinstance(result, Response):
            return result
        if request.value("f", "html") == "image":
            return Response(200, result.content, result.kind)
        name = f"_ags_{uuid.uuid4().hex}{result.suffix}"
        self._output[name] = result
        host = request.headers.get("host", self.url.removeprefix("http://"))
        return json_response({"href": f"http://{host}{OUTPUT}{name}", **result.facts})

    def _file(self, name: str) -> Response:
        image = self._output.get(name)
        return Response(200, image.content, image.kind) if image else Response(404, b"not found", "text/plain")


def _resource(request: Request, content: dict[str, Any]) -> Response:
    """A resource: JSON for programs, a page for people, which is what comes without f=json."""
    if request.value("f", "html") in ("json", "pjson"):
        return json_response(content)
    return Response(200, b"<html><head><title>ArcGIS REST Services Directory</title></head></html>", "text/html;charset=utf-8")
