"""Decodes the feature sets that vectorize answers, whatever their author made of the format (CONTRACT 3.5)."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from ..worker.protocol import ProtocolError, parse
from .detections import Detections
from .errors import FeatureSetError
from .fields import Field, find_name, is_own, widened
from .machine import free_memory
from .translation import tr

CLASS_FALLBACKS = ("Classvalue", "Value")
LEAST_RING = 3
LARGE = 16 << 20
BYTES_PER_OBJECT = 90
SHARE_OF_MEMORY = 2
"""An answer of at least LARGE bytes may take this fraction of the free memory, at so many bytes for each of its objects."""
Coordinates = list[list[float]]


@dataclass
class FeatureSetDecoder:
    """Turns answers into Detections, learning the fields that the function did not declare.

    Attributes:
        geometry_type: What getGeometryType answered: 1 point, 2 multipoint, 3 polyline, 4 polygon.
        fields: Declared fields, by casefolded name.
        learned: Fields that only occurred, by casefolded name; their kind is the widest of their values.
        confidence_field, class_field: Names of the fields that suppression reads; empty for their defaults.
        problems: How many features were dropped or repaired, by reason.
    """

    geometry_type: int
    fields: dict[str, Field]
    confidence_field: str = "Confidence"
    class_field: str = ""
    problems: Counter[str] = field(default_factory=Counter)
    learned: dict[str, Field] = field(default_factory=dict)

    @property
    def all_fields(self) -> tuple[Field, ...]:
        """Declared fields, then those that only occurred, by name: the order must not depend on the blocks'."""
        return (*self.fields.values(), *(self.learned[key] for key in sorted(self.learned)))

    def decode(self, payload: bytes) -> Detections:
        """Decode one answer; coordinates stay in pixels of the block.

        Raises:
            FeatureSetError: It is not JSON or has no list of features.
        """
        parsed: list[tuple[Any, dict[str, Any]]] = []
        for feature in features_of(payload):
            geometry = feature.get("geometry") if isinstance(feature, dict) else None
            if not isinstance(geometry, dict):
                self.problems[tr("without geometry")] += 1
                continue
            attributes = feature.get("attributes")
            parsed.append((geometry, attributes if isinstance(attributes, dict) else {}))
        geometries = self._geometries([geometry for geometry, _ in parsed])
        keep = ~shapely.is_missing(geometries)
        rows = [attributes for (_, attributes), kept in zip(parsed, keep) if kept]
        return self._detections(geometries[keep], rows)

    def _geometries(self, raw: list[dict[str, Any]]) -> NDArray[Any]:
        """Geometries, None where one cannot be used."""
        if self.geometry_type == 4:  # noqa: PLR2004 - polygons, the contract's number
            return self._polygons(raw)
        geometries = np.empty(len(raw), object)
        for place, geometry in enumerate(raw):
            geometries[place] = self._point_or_line(geometry)
        self.problems[tr("with unusable coordinates")] += int(shapely.is_missing(geometries).sum())
        return geometries

    def _point_or_line(self, geometry: dict[str, Any]) -> shapely.Geometry | None:
        if self.geometry_type == 1:
            point = _pairs([[geometry.get("x"), geometry.get("y")]])
            return shapely.Point(point[0]) if point else None
        if self.geometry_type == 2:  # noqa: PLR2004 - multipoints
            points = _pairs(geometry.get("points"))
            return shapely.MultiPoint(points) if points else None
        paths = geometry.get("paths")
        lines = [line for line in map(_pairs, paths if isinstance(paths, list) else []) if line is not None and len(line) > 1]
        return shapely.LineString(max(lines, key=len)) if lines else None

    def _polygons(self, raw: list[dict[str, Any]]) -> NDArray[Any]:
        """Polygons from rings, the first of which is the outer one; built in one call for all features."""
        coordinates: Coordinates = []
        ring_of: list[int] = []
        polygon_of: list[int] = []
        for place, geometry in enumerate(raw):
            rings = geometry.get("rings")
            for number, ring in enumerate(rings if isinstance(rings, list) else []):
                points = _ring(ring)
                if points is None:
                    if number == 0:
                        break  # holes of nothing
                    continue
                ring_of += [len(polygon_of)] * len(points)
                coordinates += points
                polygon_of.append(place)
        polygons = np.full(len(raw), None, object)
        if polygon_of:
            rings = shapely.linearrings(np.array(coordinates, float), indices=np.array(ring_of))
            shapely.polygons(rings, indices=np.array(polygon_of), out=polygons)
        return self._repaired(polygons)

    def _repaired(self, polygons: NDArray[Any]) -> NDArray[Any]:
        """Mend self-crossing outlines (the largest part stays) and drop what has no area."""
        present = ~shapely.is_missing(polygons)
        broken = np.flatnonzero(present & ~shapely.is_valid(polygons))
        for place in broken:
            polygons[place] = _largest_polygon(shapely.make_valid(polygons[place]))
        with np.errstate(over="ignore", invalid="ignore"):
            area = shapely.area(polygons)
        polygons[present & ~((area > 0) & np.isfinite(area))] = None
        gone = int(shapely.is_missing(polygons).sum())
        self.problems[tr("empty or with unusable coordinates")] += gone
        self.problems[tr("repaired, as their outline crossed itself")] += int((~shapely.is_missing(polygons[broken])).sum())
        return polygons

    def _detections(self, geometries: NDArray[Any], rows: list[dict[str, Any]]) -> Detections:
        columns: dict[str, list[Any]] = {declared.name: [None] * len(rows) for declared in self.fields.values()}
        for place, attributes in enumerate(rows):
            for name, value in attributes.items():
                if not is_own(name):
                    named = self.fields.get(name.casefold()) or self._learned(name, value)
                    columns.setdefault(named.name, [None] * len(rows))[place] = scalar(value)
        confidence = np.array([confidence_of(value) for value in self._column(columns, self.confidence_field, len(rows))], float)
        return Detections(geometries, confidence, self._classes(columns, len(rows)), columns)

    def _learned(self, name: str, value: object) -> Field:
        known = self.learned.get(name.casefold())
        self.learned[name.casefold()] = learned = widened(known or Field(name, "long", name), value)
        return learned

    def _column(self, columns: dict[str, list[Any]], name: str, count: int) -> list[Any]:
        found = find_name(columns, name)
        return [None] * count if found is None else columns[found]

    def _classes(self, columns: dict[str, list[Any]], count: int) -> NDArray[Any]:
        """Text of the class of each; all empty where no field tells it."""
        found = class_name(columns, self.class_field)
        if found is None:
            return np.full(count, "", object)
        return np.array(["" if value is None else str(value) for value in columns[found]], object)


def class_name(names: Iterable[str], wanted: str) -> str | None:
    """The field with the class for suppression (CONTRACT 6): the wanted one, else Classvalue, else Value, else none."""
    known = list(names)
    choices = (wanted,) if wanted else CLASS_FALLBACKS
    return next((name for name in (find_name(known, choice) for choice in choices) if name is not None), None)


def features_of(payload: bytes) -> list[Any]:
    """The features of a feature set, whatever they are.

    Raises:
        FeatureSetError: It is not JSON, has no list of features, or is too large for the memory.
    """
    _refuse_too_much(payload)
    try:
        answer = parse(payload)
    except ProtocolError as error:
        raise FeatureSetError(
            tr("vectorize() must answer a feature set as JSON text, but answered: {error}.", error=error)
        ) from error
    if b"\\ud" in payload.lower():
        answer = _without_halves(answer)
    features = answer.get("features") if isinstance(answer, dict) else None
    if not isinstance(features, list):
        found = sorted(answer) if isinstance(answer, dict) else type(answer).__name__
        raise FeatureSetError(
            tr("vectorize() must answer a feature set with a list 'features', but answered {found}.", found=found)
        )
    return features


def _without_halves(answer: object) -> Any:  # noqa: ANN401 - any value of JSON
    """The same with question marks for halves of characters, which no layer can hold."""
    try:
        return json.loads(json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace"))
    except (RecursionError, ValueError) as error:
        raise FeatureSetError(tr("vectorize() answered JSON that cannot be read: {error}.", error=error)) from error


def scalar(value: object) -> object:
    """A value that a table can hold; lists and objects become their JSON."""
    if not isinstance(value, (list, dict)):
        return value
    try:
        return json.dumps(value)
    except RecursionError:
        return None


def _refuse_too_much(payload: bytes) -> None:
    """JSON takes far more memory once it is parsed; a large answer is looked at before."""
    if len(payload) < LARGE:
        return
    objects = sum(payload.count(mark) for mark in (b"[", b"{", b","))
    if len(payload) + BYTES_PER_OBJECT * objects > free_memory() // SHARE_OF_MEMORY:
        raise FeatureSetError(
            tr("vectorize() answered {size} MiB for one block, which would take more memory than is free. Choose a smaller "
               "batch_size.", size=len(payload) >> 20)
        )  # fmt: skip


def _pairs(value: object) -> Coordinates | None:
    """A list of finite x, y pairs; None when one of them is not."""
    if not isinstance(value, list):
        return None
    try:
        points = [[float(point[0]), float(point[1])] for point in value]
    except (TypeError, ValueError, IndexError, KeyError, OverflowError):
        return None
    return points if all(math.isfinite(x) and math.isfinite(y) for x, y in points) else None


def _ring(value: object) -> Coordinates | None:
    """A closed ring of at least three distinct points."""
    points = _pairs(value)
    if points is None or len({tuple(point) for point in points}) < LEAST_RING:
        return None
    if points[0] != points[-1]:
        points.append(points[0])
    return points


def _largest_polygon(geometry: shapely.Geometry) -> shapely.Polygon | None:
    parts = shapely.get_parts(shapely.get_parts(geometry))  # a collection may hold multipolygons
    polygons = [part for part in parts if part.geom_type == "Polygon"]
    return max(polygons, key=lambda polygon: polygon.area, default=None)


def confidence_of(value: object) -> float:
    """A number, also as text, also the greatest of several joined by semicolons; NaN when there is none."""
    try:
        if isinstance(value, str):
            return max(float(part) for part in value.replace(",", ".").split(";") if part.strip())
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan
