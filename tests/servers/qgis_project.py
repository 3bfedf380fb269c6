"""Writes a QGIS project that publishes a raster: python qgis_project.py RASTER PROJECT LAYER

It is run as a program of its own, because QGIS can be started but once in a process.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsContrastEnhancement,
    QgsMultiBandColorRenderer,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsSingleBandGrayRenderer,
    QgsUnitTypes,
)

WEB_MERCATOR = "EPSG:3857"
TILE = 256
STANDARD_PIXEL = 0.00028  # metres; OGC's scales are meant for a screen of such pixels


def publish(raster: Path, project_file: Path, name: str) -> None:
    """Write the project; the layer is drawn with its bytes as they are."""
    layer = QgsRasterLayer(str(raster), name)
    if not layer.isValid():
        raise SystemExit(f"QGIS cannot open {raster}")
    _draw_plainly(layer)
    layer.serverProperties().setShortName(name)
    project = QgsProject.instance()
    project.setCrs(layer.crs())
    project.addMapLayer(layer)
    identifier, grids = layer.id(), _grids(layer)
    entries = {
        ("WMSServiceCapabilities", "/"): True,
        ("WMSServiceTitle", "/"): "Test",
        ("WMSCrsList", "/"): sorted({layer.crs().authid(), WEB_MERCATOR, "EPSG:4326"}),
        ("WMSExtent", "/"): _corners(layer.extent()),
        ("WMSImageQuality", "/"): 90,
        ("WCSLayers", "/"): [identifier],
        ("WCSUrl", "/"): "",
        ("WMTSLayers", "Project"): False,
        ("WMTSLayers", "Layer"): [identifier],
        ("WMTSPngLayers", "Layer"): [identifier],
        ("WMTSJpegLayers", "Layer"): [identifier],
        ("WMTSGrids", "CRS"): list(grids),
        ("WMTSGrids", "Config"): list(grids.values()),
    }
    for (scope, key), value in entries.items():
        project.writeEntry(scope, key, value)
    if not project.write(str(project_file)):
        raise SystemExit(project.error())


def _draw_plainly(layer: QgsRasterLayer) -> None:
    """No stretching and no smoothing, so that what is served can be compared with the raster pixel by pixel."""
    provider = layer.dataProvider()
    plain = QgsContrastEnhancement.ContrastEnhancementAlgorithm.NoEnhancement
    if layer.bandCount() >= 3:
        layer.setRenderer(QgsMultiBandColorRenderer(provider, 1, 2, 3))
    else:
        layer.setRenderer(QgsSingleBandGrayRenderer(provider, 1))
    layer.setContrastEnhancement(plain)
    layer.resampleFilter().setZoomedInResampler(None)
    layer.resampleFilter().setZoomedOutResampler(None)


def _corners(box: QgsRectangle) -> list[str]:
    return [repr(number) for number in (box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum())]


def _grids(layer: QgsRasterLayer) -> dict[str, str]:
    """Tile matrix sets as QGIS Server notes them: "system,top,left,scale of the coarsest level,finest level".

    The raster's own system has one that begins at the raster's corner and ends with its pixels; that of web mercator
    is fixed, whatever is written here.
    """
    extent, pixel = layer.extent(), layer.rasterUnitsPerPixelX()
    levels = math.ceil(math.log2(max(layer.width(), layer.height(), TILE) / TILE))
    metres = QgsUnitTypes.fromUnitToUnitFactor(layer.crs().mapUnits(), QgsUnitTypes.DistanceMeters)
    coarsest = pixel * 2**levels * metres / STANDARD_PIXEL
    own = f"{layer.crs().authid()},{extent.yMaximum()!r},{extent.xMinimum()!r},{coarsest!r},{levels}"
    return {layer.crs().authid(): own, WEB_MERCATOR: f"{WEB_MERCATOR},20037508.342789248,-20037508.342789248,559082264.0,22"}


if __name__ == "__main__":
    application = QgsApplication([], False)
    application.initQgis()
    publish(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
    application.exitQgis()
