"""Draw a layer over its raster with QGIS, as it is styled: render_demo.py RASTER LAYER PICTURE. Prints its features' number."""

from __future__ import annotations

import sys

from qgis.core import (
    QgsApplication,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize

WIDTH = 900


def main(raster_path: str, detections_path: str, picture: str) -> None:
    """Render and save."""
    raster = QgsRasterLayer(raster_path)
    detections = QgsVectorLayer(detections_path)
    settings = QgsMapSettings()
    settings.setLayers([detections, raster])
    settings.setDestinationCrs(raster.crs())
    settings.setExtent(raster.extent())
    settings.setOutputSize(QSize(WIDTH, WIDTH * raster.height() // raster.width()))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    if not job.renderedImage().save(picture):
        raise SystemExit(f"{picture} cannot be written")
    print(detections.featureCount())


if __name__ == "__main__":
    application = QgsApplication([], False)
    application.initQgis()
    main(*sys.argv[1:])
    application.exitQgis()
