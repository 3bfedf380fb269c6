"""What a destination of Processing names: a file, a layer of a file, a table on a server, or something temporary."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from qgis.core import QgsDataSourceUri, QgsProcessingOutputLayerDefinition

TEMPORARY = ("", "temporary_output", "memory:")
_OGR = "ogr:"


@dataclass(frozen=True)
class Destination:
    """A destination, taken apart.

    Attributes:
        text: As Processing has it.
        file: The file; None for temporary layers and databases on servers.
        table: The layer of that file; empty for the whole file.
        appends: Whether it adds to a layer that exists.
    """

    text: str
    file: Path | None
    table: str
    appends: bool

    @classmethod
    def of(cls, value: object) -> Destination:
        """Take apart the value of a sink's parameter."""
        appends = isinstance(value, QgsProcessingOutputLayerDefinition) and value.useRemapping()
        if isinstance(value, QgsProcessingOutputLayerDefinition):
            value = value.sink.staticValue()
        text = value if isinstance(value, str) else ""
        if text.lower() in TEMPORARY or text.lower().startswith("memory:"):
            return cls(text, None, "", appends)
        if text.startswith(_OGR):
            uri = QgsDataSourceUri(text[len(_OGR) :])
            return cls(text, Path(uri.database()) if uri.database() else None, uri.table(), appends)
        is_provider = re.match(r"[a-z]{3,}:", text)
        return cls(text, None if is_provider else Path(text), "", appends)

    @property
    def layer(self) -> str:
        """The layer of the file: its own name where it has several, else the file's."""
        return self.table or ("" if self.file is None else self.file.stem)

    def moved(self, file: Path) -> str:
        """The same in another file, for Processing."""
        if not self.table:
            return str(file)
        uri = QgsDataSourceUri(self.text[len(_OGR) :])
        uri.setDatabase(str(file))
        return _OGR + uri.uri(False)
