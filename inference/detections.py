"""Detections as a struct of arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from .grid import Window


class Transformation(Protocol):
    """Turns coordinates (n, 2) into others."""

    def apply(self, points: NDArray[Any]) -> NDArray[Any]:
        """The coordinates in the other system."""


@dataclass(frozen=True)
class Detections:
    """What was found, one entry an object in every array.

    Attributes:
        geometries: shapely geometries; in pixels of the block when decoded, in map units when georeferenced.
        confidence: float64; NaN where there is none.
        classes: Text of the class value; all empty when there is no class field.
        attributes: One list a column, by name.
    """

    geometries: NDArray[Any]
    confidence: NDArray[Any]
    classes: NDArray[Any]
    attributes: dict[str, list[Any]]

    def __len__(self) -> int:
        return len(self.geometries)

    def kept(self, keep: NDArray[Any]) -> Detections:
        """The entries where `keep` (bool) is true."""
        if keep.all():
            return self
        places = np.flatnonzero(keep)
        columns = {name: [column[place] for place in places] for name, column in self.attributes.items()}
        return Detections(self.geometries[keep], self.confidence[keep], self.classes[keep], columns)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The attributes of each entry by name."""
        names = list(self.attributes)
        if not names:
            return iter({} for _ in range(len(self)))
        return (dict(zip(names, values)) for values in zip(*self.attributes.values()))


def in_grid(detections: Detections, core: Window) -> Detections:
    """Move detections of a block into pixels of the grid: the block's x = y = 0 is its core's first pixel."""
    shift = np.array([core.column, core.row], float)
    return replace(detections, geometries=shapely.transform(detections.geometries, lambda xy: xy + shift))


def inside(detections: Detections, left: float, low: float, right: float, high: float) -> NDArray[Any]:
    """Which detections have their inner point in a rectangle (in their own coordinates); those count whole."""
    bounds = shapely.bounds(detections.geometries)
    within = (bounds[:, 0] >= left) & (bounds[:, 1] >= low) & (bounds[:, 2] <= right) & (bounds[:, 3] <= high)
    crossing = np.flatnonzero(~within)
    if len(crossing):
        points = shapely.get_coordinates(shapely.point_on_surface(detections.geometries[crossing]))
        x, y = points[:, 0], points[:, 1]
        within[crossing] = (x >= left) & (x < right) & (y >= low) & (y < high)
    return np.asarray(within)


def within(detections: Detections, mask: Any) -> NDArray[Any]:  # noqa: ANN401 - shapely has no type stubs
    """Which detections have their inner point in a geometry; those count whole."""
    points = shapely.get_coordinates(shapely.point_on_surface(detections.geometries))
    return np.asarray(shapely.contains_xy(mask, points[:, 0], points[:, 1]))


def georeferenced(detections: Detections, transformation: Transformation) -> Detections:
    """Turn pixels of the grid into map coordinates by the full affine, or map coordinates into those of another CRS."""
    return replace(detections, geometries=shapely.transform(detections.geometries, transformation.apply))
