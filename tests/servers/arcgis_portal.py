"""A double of a portal's item pages, and of the storage with signed addresses that large files are sent from.

Written from the public documentation of the sharing API; see arcgis.py for why it is a double.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers.arcgis import RestError, RestServer, check_token
from servers.files import file_response
from servers.messages import Request, Response, json_response
from servers.serving import Server

ITEMS = "/portal/sharing/rest/content/items/"
SIGNATURE = "X-Amz-Signature"


@dataclass(frozen=True)
class Item:
    """A file in the portal."""

    file: Path
    title: str
    type: str = "Deep Learning Package"

    def described(self, identifier: str) -> dict[str, Any]:
        """The item's page, in JSON."""
        return {
            "id": identifier,
            "owner": "tester",
            "name": self.file.name,
            "title": self.title,
            "type": self.type,
            "typeKeywords": ["Deep Learning", "Raster"],
            "access": "public",
            "size": self.file.stat().st_size,
        }


class Storage(Server):
    """A second host that gives files to whoever has their signed address, and to nobody else."""

    def __init__(self) -> None:
        super().__init__()
        self.signed: dict[str, Path] = {}  # by signature; a test may empty it to let addresses expire

    def sign(self, file: Path) -> str:
        """An address for a file."""
        signature = uuid.uuid4().hex
        self.signed[signature] = file
        return f"{self.url}/bucket/{file.name}?X-Amz-Expires=3600&{SIGNATURE}={signature}"

    def respond(self, request: Request) -> Response:
        """The file, or a refusal in the words of such stores."""
        file = self.signed.get(request.value(SIGNATURE))
        if "authorization" in request.headers:  # as real stores do: two ways to show who one is are an error
            return Response(400, b"<Error><Code>InvalidArgument</Code></Error>", "application/xml")
        if file is None:
            return Response(403, b"<Error><Code>AccessDenied</Code></Error>", "application/xml")
        return file_response(file, request)


class Portal(RestServer):
    """Items by their 32 hexadecimal digits; their data comes from `storage`, or from here where `redirects` is false."""

    def __init__(self, items: dict[str, Item], token: str | None = None, redirects: bool = True) -> None:
        super().__init__()
        self.items = items
        self.token = token
        self.redirects = redirects
        self.storage = Storage()

    def start(self) -> None:
        """Start the storage too."""
        self.storage.start()
        super().start()

    def stop(self) -> None:
        """Stop both."""
        super().stop()
        self.storage.stop()

    def item_url(self, identifier: str) -> str:
        """Where an item is for programs."""
        return f"{self.url}{ITEMS}{identifier}"

    def rest(self, request: Request) -> Response:
        """Pages and data of items."""
        check_token(request, self.token)
        if request.path.rstrip("/") == "/portal/sharing/rest":
            return json_response({"currentVersion": "2024.1"})
        if not request.path.startswith(ITEMS):
            raise RestError(400, "Invalid URL")
        identifier, _, rest = request.path[len(ITEMS) :].strip("/").partition("/")
        item = self.items.get(identifier)
        if item is None:
            raise RestError(400, "Item does not exist or is inaccessible.", word="CONT_0001")
        if rest == "data":
            return self._data(item, request)
        if rest:
            raise RestError(400, "Invalid URL")
        return json_response(item.described(identifier))

    def _data(self, item: Item, request: Request) -> Response:
        if self.redirects:
            return Response(302, b"", "text/plain", {"Location": self.storage.sign(item.file)})
        response = file_response(item.file, request)
        response.headers["Content-Disposition"] = f'attachment; filename="{item.file.name}"'
        return response
