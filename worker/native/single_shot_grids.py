"""How the grids of a single shot detector come out of the features before them (ARCGIS_LEARN 4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .errors import NativeError
from .model import Model


@dataclass(frozen=True)
class Step:
    """How one grid is made of the features before it: resized first if `resize` is not 0, then a convolution."""

    kernel: int
    stride: int
    padding: int
    resize: int = 0


def grids_of(model: Model) -> list[int]:
    """Cells along a side of each grid."""
    grids = [int(each) for each in model.numbers("Grids", model.values.get("Grids"))]
    if not all(0 < each <= model.side for each in grids):
        raise model.error("Grids", "numbers of cells along a side")
    return grids


def version_of(model: Model) -> int:
    """1 or 2; older packages tell none and are of the first."""
    version = model.values.get("SSDVersion", 1)
    if version not in (1, 2):
        raise model.error("SSDVersion", "1 or 2")
    return int(version)


def steps_of(grids: list[int], side: int, version: int) -> list[Step]:
    """How each grid comes out of the features before it; the file tells kernels only, so it is derived (ARCGIS_LEARN 4).

    Args:
        grids: Cells along a side.
        side: Of the trunk's features.
        version: SSDVersion.

    Raises:
        NativeError: No convolution of the first version gives a grid.
    """
    steps, before = [], side
    for place, grid in enumerate(grids):
        if grid == 1:
            steps.append(Step(before, 1, 0))
        elif version == 1:
            steps.append(_exact(before, grid))
        else:
            grows = grid > before or (grid == before and place > 0)
            steps.append(Step(3, 1, 1, grid) if grows else _floored(before, grid))
        before = grid
    return steps


def _exact(before: int, grid: int) -> Step:
    fits = (
        Step(kernel, stride, padding)
        for kernel in (3, 2, 5, 4) for padding in range(4) for stride in (1, 2, 3)
        if (grid - 1) * stride == before - kernel + 2 * padding
    )  # fmt: skip
    found = next(fits, None)
    if found is None:
        raise NativeError(
            f"Grids of the model definition ask for {grid} cells out of {before}, which no convolution of SSD version 1 gives. "
            "Ask who made the package whether ImageHeight and Grids are right."
        )
    return found


def _floored(before: int, grid: int) -> Step:
    fits: Iterator[Step] = (
        Step(3, stride, padding) for padding in (0, 1) for stride in (1, 2) if (before - 3 + 2 * padding) // stride + 1 == grid
    )
    return next(fits, Step(3, 1, 1, grid))
