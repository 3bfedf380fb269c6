"""What a report tells of the detections: counts, confidence, the surest and the least sure."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from .classes import class_field
from .detections import Detections
from .fields import IMAGE

EXAMPLES = 6
"""Detections that are shown at each end, and of each class."""
CLASSES = 100
"""Classes of which examples are kept."""
BINS = 20


@dataclass(frozen=True)
class Example:
    """One detection: confidence, class, geometry in map coordinates, and the raster that it lies on."""

    confidence: float
    label: str
    geometry: Any
    item: int = 0


@dataclass
class Findings:
    """A summary of all detections.

    Attributes:
        counts: Detections of each class.
        class_field: The field that tells the class; empty where none does.
        images: Detections of each raster, where several were searched one by one.
        confidence: Of all that have one.
        best: The surest ones, the surest first.
        worst: The least sure ones, the least sure first.
        doubtful: Alike of each class, for no more than CLASSES of them.
        points: A point of each detection (n, 2), in map coordinates.
        outlines: Geometries with their classes, as long as there are no more than `limit`.
        limit: For `outlines`.
    """

    counts: Counter[str] = field(default_factory=Counter)
    class_field: str = ""
    images: Counter[str] = field(default_factory=Counter)
    confidence: NDArray[Any] = field(default_factory=lambda: np.empty(0))
    best: list[Example] = field(default_factory=list)
    worst: list[Example] = field(default_factory=list)
    doubtful: dict[str, list[Example]] = field(default_factory=dict)
    points: NDArray[Any] = field(default_factory=lambda: np.empty((0, 2)))
    outlines: list[Example] = field(default_factory=list)
    limit: int = 3000

    @classmethod
    def of(cls, batches: Iterable[tuple[int, Detections]], confidence_field: str) -> Findings:
        """Summarise what a run has found on each item; memory grows only by the points and numbers."""
        findings = cls()
        numbers: list[NDArray[Any]] = []
        points: list[NDArray[Any]] = []
        order = itertools.count()  # so that equal confidences never compare geometries
        best: list[tuple[float, int, Example]] = []
        worst: list[tuple[float, int, Example]] = []
        doubtful: dict[str, list[tuple[float, int, Example]]] = {}
        for item, batch in batches:
            confidence = _numbers(batch, confidence_field)
            findings.class_field = findings.class_field or class_field(batch.attributes) or ""
            labels = _labels(batch)
            findings.counts.update(labels)
            findings.images.update(batch.attributes.get(IMAGE.name, ()))
            numbers.append(confidence[np.isfinite(confidence)])
            points.append(shapely.get_coordinates(shapely.centroid(batch.geometries)))
            for value, label, geometry in zip(confidence, labels, batch.geometries):
                example = Example(float(value), label, geometry, item)
                if len(findings.outlines) <= findings.limit:
                    findings.outlines.append(example)
                if np.isfinite(value):
                    number = next(order)
                    _keep(best, (float(value), -number, example))
                    _keep(worst, (-float(value), -number, example))
                    if label in doubtful or len(doubtful) < CLASSES:
                        _keep(doubtful.setdefault(label, []), (-float(value), -number, example))
        findings.confidence = np.concatenate(numbers) if numbers else np.empty(0)
        findings.points = np.concatenate(points) if points else np.empty((0, 2))
        if len(findings.outlines) > findings.limit:
            findings.outlines.clear()
        findings.best, findings.worst = _sorted(best), _sorted(worst)
        findings.doubtful = {label: _sorted(heap) for label, heap in doubtful.items()}
        return findings

    def histogram(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """How many detections lie in each range of confidence, and the edges of the ranges."""
        return np.histogram(self.confidence, BINS)


def _sorted(heap: list[tuple[float, int, Example]]) -> list[Example]:
    return [entry[2] for entry in sorted(heap, key=lambda entry: entry[:2], reverse=True)]


def _keep(heap: list[tuple[float, int, Example]], entry: tuple[float, int, Example]) -> None:
    if len(heap) < EXAMPLES:
        heapq.heappush(heap, entry)
    elif entry[:2] > heap[0][:2]:
        heapq.heapreplace(heap, entry)


def _numbers(batch: Detections, name: str) -> NDArray[Any]:
    """Confidence by the field that was asked for; the decoder's own where suppression had it read."""
    column = next((values for key, values in batch.attributes.items() if key.casefold() == name.casefold()), None)
    if column is None:
        return np.asarray(batch.confidence, float)
    return np.array([_number(value) for value in column], float)


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def _labels(batch: Detections) -> list[str]:
    field_name = class_field(batch.attributes)
    return (
        [""] * len(batch)
        if field_name is None
        else ["" if value is None else str(value) for value in batch.attributes[field_name]]
    )
