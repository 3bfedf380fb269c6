"""Time and memory of suppressing many boxes: scattered, and crowded around objects. One case a process.

python benchmarks/suppression.py COUNT PER_OBJECT    prints seconds, peak MiB and how many boxes stay
"""

from __future__ import annotations

import sys
import time

import numpy as np
import shapely
from common import median, peak_mebibytes
from deep_learning_packages.inference.suppression import KEPT, suppress

SIDE = 20.0
SPACE = 60.0  # side of the square that an object has on average
MAX_OVERLAP = 0.3


def boxes(count: int, per_object: int) -> np.ndarray:
    """Boxes of SIDE: scattered (per_object 0), or so many around each object, some units off."""
    rng = np.random.default_rng(0)
    objects = count // max(per_object, 1)
    places = rng.uniform(0, np.sqrt(objects) * SPACE, (objects, 2))
    if per_object:
        places = np.repeat(places, per_object, axis=0) + rng.normal(0, SIDE / 10, (count, 2))
    return shapely.box(places[:, 0], places[:, 1], places[:, 0] + SIDE, places[:, 1] + SIDE)


def main(count: int, per_object: int) -> None:
    """Measure one case."""
    geometries = boxes(count, per_object)
    confidence, classes = np.random.default_rng(1).uniform(size=count), np.full(count, "Tree", object)
    stays = []

    def measure() -> float:
        began = time.perf_counter()
        stays.append(int((suppress(geometries, confidence, classes, MAX_OVERLAP) == KEPT).sum()))
        return time.perf_counter() - began

    seconds = median(measure)
    print(f"{seconds:.3f} {peak_mebibytes()} {stays[0]}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
