"""Writes a QGIS project that publishes features: python qgis_vector_project.py FILE PROJECT LAYER

It is run as a program of its own, because QGIS can be started but once in a process.
"""

from __future__ import annotations

import sys
from pathlib import Path

from qgis.core import QgsApplication, QgsProject, QgsVectorLayer

DECIMALS = 15  # of coordinates in the answers, so that they are the file's


def publish(source: Path, project_file: Path, name: str) -> None:
    """Write the project; the layer is published under its name in its own system and in degrees."""
    layer = QgsVectorLayer(str(source), name, "ogr")
    if not layer.isValid():
        raise SystemExit(f"QGIS cannot open {source}")
    layer.serverProperties().setShortName(name)
    project = QgsProject.instance()
    project.setCrs(layer.crs())
    project.addMapLayer(layer)
    project.writeEntry("WMSServiceCapabilities", "/", True)
    project.writeEntry("WMSCrsList", "/", sorted({layer.crs().authid(), "EPSG:4326"}))
    project.writeEntry("WFSLayers", "/", [layer.id()])
    project.writeEntry("WFSLayersPrecision", layer.id(), DECIMALS)
    if not project.write(str(project_file)):
        raise SystemExit(project.error())


if __name__ == "__main__":
    application = QgsApplication([], False)
    application.initQgis()
    publish(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
    application.exitQgis()
