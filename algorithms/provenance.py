"""Where a layer of detections comes from: written into the layer's metadata."""

from __future__ import annotations

import configparser
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from qgis.core import QgsLayerMetadata, QgsUnitTypes, QgsVectorLayer

from ..inference.arcgis_trained import native_network
from ..inference.plan import InferencePlan
from ..inference.secrets import Secrets, without_credentials
from ..inference.translation import tr
from .rasters.raster_input import crs_of

if TYPE_CHECKING:
    from ..inference.run import Result


@dataclass(frozen=True)
class Provenance:
    """What made a layer.

    Attributes:
        package: Name of the model.
        source: The package's file or folder.
        sha256: The package's hash.
        arguments: Values of all arguments, as text.
        raster: Where the pixels came from.
        cell_size: Side of the pixels that the model saw, with its unit.
        native: The network of the plugin that ran it; empty where the package's own function did.
        device: Where the network ran.
        moment: When, in UTC.
    """

    package: str
    source: str
    sha256: str
    arguments: dict[str, str]
    raster: str
    cell_size: str
    native: str
    device: str
    moment: datetime

    def sentences(self) -> list[str]:
        """The facts, one a line."""
        written = "; ".join(f"{name} {value}" for name, value in self.arguments.items())
        return [
            tr("Model: {name} ({source}), sha256 {hash}", name=self.package, source=self.source, hash=self.sha256),
            tr("Arguments: {values}", values=written or tr("none")),
            tr("Raster: {raster}, cell size {size}", raster=without_credentials(self.raster), size=self.cell_size),
            *([tr("Trained in ArcGIS, run natively by {network}", network=self.native)] if self.native else []),
            tr("Device: {device}", device=self.device),
            tr("Made on {date} by Deep Learning Packages {version}", date=self.moment.strftime("%Y-%m-%d %H:%M UTC"),
               version=plugin_version()),
        ]  # fmt: skip


def provenance_of(plan: InferencePlan, result: Result, raster: str) -> Provenance:
    """Where the result of a run comes from."""
    sides = [f"{side:.6g}" for side in plan.items[0].source.grid.affine.cell_size]
    crs = crs_of(plan.crs)
    unit = QgsUnitTypes.toAbbreviatedString(crs.mapUnits()) if crs.isValid() else tr("pixels")
    return Provenance(
        package=plan.package.definition.name,
        source=plan.package.shown,
        sha256=plan.package.sha256,
        arguments=Secrets(result.values, plan.secrets).shown(result.values),
        raster=raster,
        cell_size=" × ".join(dict.fromkeys(sides)) + f" {unit}",
        native=native_network(plan.package),
        device=result.device.name,
        moment=datetime.now(timezone.utc),
    )


@lru_cache(maxsize=1)
def plugin_version() -> str:
    """Of metadata.txt."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(Path(__file__).parent.parent / "metadata.txt", encoding="utf-8")
    return parser.get("general", "version")


def apply_metadata(layer: QgsVectorLayer, provenance: Provenance) -> None:
    """Write down in the layer's metadata what made it."""
    metadata = QgsLayerMetadata(layer.metadata())
    sentences = [_without_tags(sentence) for sentence in provenance.sentences()]
    metadata.setType("dataset")
    metadata.setTitle(_without_tags(provenance.package))
    summary = tr("Made by the deep learning model {name}.", name=metadata.title())
    metadata.setAbstract("\n".join([summary, *sentences]))
    metadata.setHistory([*metadata.history(), *sentences])
    metadata.setCrs(layer.crs())
    layer.setMetadata(metadata)


def _without_tags(text: str) -> str:
    """A text of a package that QGIS may show as HTML, which it shall not be."""
    return text.replace("<", "‹").replace(">", "›")
