"""What the exports of image services and map services have in common: the rectangle, its size, its limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from osgeo import gdal, osr

from servers.arcgis import RestError
from servers.cutting import Box, described, moved, open_raster, reference
from servers.messages import Request

INCHES = 39.37  # per metre
METRES_PER_DEGREE = 111319.49079327358
TOLERANCE = 1e-6  # aspect ratios that differ by less are the same


@dataclass(frozen=True)
class Source:
    """What a service tells of the raster behind it."""

    path: Path
    box: Box
    pixel: tuple[float, float]
    size: tuple[int, int]
    bands: int
    kind: int
    hole: float | None
    limits: list[tuple[float, float]]
    system: osr.SpatialReference

    @classmethod
    def of(cls, path: Path) -> Source:
        """Read it from the file."""
        dataset = open_raster(path)
        left, width, _, top, _, height = dataset.GetGeoTransform()
        bands = [dataset.GetRasterBand(number) for number in range(1, dataset.RasterCount + 1)]
        system = osr.SpatialReference(dataset.GetProjection())
        system.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
        columns, rows = dataset.RasterXSize, dataset.RasterYSize
        return cls(
            path,
            (left, top + height * rows, left + width * columns, top),
            (width, -height),
            (columns, rows),
            len(bands),
            bands[0].DataType,
            bands[0].GetNoDataValue(),
            [_limits(band) for band in bands],
            system,
        )

    def extent(self) -> dict[str, object]:
        """The whole raster."""
        return extent(self.box, self.system)


def _limits(band: gdal.Band) -> tuple[float, float]:
    low, high = band.ComputeRasterMinMax(False) or (0.0, 0.0)  # a band may have no valid pixel
    return float(low), float(high)


def extent(box: Box, system: osr.SpatialReference) -> dict[str, object]:
    """A rectangle as ArcGIS writes it."""
    return {**dict(zip(("xmin", "ymin", "xmax", "ymax"), box)), "spatialReference": described(system)}


@dataclass(frozen=True)
class View:
    """The rectangle that an export shows, in the system of the picture."""

    box: Box
    size: tuple[int, int]
    system: osr.SpatialReference

    @classmethod
    def asked(cls, request: Request, source: Source, largest: tuple[int, int], adjusted: bool) -> View:
        """From the parameters bbox, bboxSR, imageSR and size; `largest` is columns × rows."""
        try:
            numbers = [float(number) for number in request.value("bbox").split(",")]
            columns, rows = (int(number) for number in request.value("size", "400,400").split(","))
            box: Box = (numbers[0], numbers[1], numbers[2], numbers[3])
            given = reference(request.value("bboxSR")) if request.value("bboxSR") else source.system
            system = reference(request.value("imageSR")) if request.value("imageSR") else source.system
        except (ValueError, IndexError, KeyError) as error:
            raise RestError(400, "Invalid or missing input parameters.", [str(error)]) from error
        if box[0] >= box[2] or box[1] >= box[3] or columns < 1 or rows < 1:
            raise RestError(400, "Invalid or missing input parameters.", ["'bbox' or 'size' is empty."])
        if columns > largest[0] or rows > largest[1]:
            raise RestError(400, "The requested image exceeds the size limit.")
        box = moved(box, given, system)
        return cls(_fitted(box, columns / rows) if adjusted else box, (columns, rows), system)

    @property
    def facts(self) -> dict[str, object]:
        """What is told of the picture in JSON."""
        unit = METRES_PER_DEGREE if self.system.IsGeographic() else self.system.GetLinearUnits()
        scale = (self.box[2] - self.box[0]) / self.size[0] * unit * 96 * INCHES
        columns, rows = self.size
        return {"width": columns, "height": rows, "extent": extent(self.box, self.system), "scale": scale}


def _fitted(box: Box, aspect: float) -> Box:
    """The rectangle, made larger about its centre until its pixels are squares, as ArcGIS does unless told not to."""
    width, height = box[2] - box[0], box[3] - box[1]
    if abs(width / height / aspect - 1) < TOLERANCE:
        return box
    more_width, more_height = max(0.0, height * aspect - width) / 2, max(0.0, width / aspect - height) / 2
    return box[0] - more_width, box[1] - more_height, box[2] + more_width, box[3] + more_height
