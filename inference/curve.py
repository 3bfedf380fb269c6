"""Morton's space-filling curve, on which neighbours in the plane are mostly neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def along_curve(points: NDArray[Any], low: NDArray[Any], span: NDArray[Any]) -> NDArray[Any]:
    """Places of points along the curve.

    Args:
        points: (n, 2) coordinates.
        low: (2,) where the square that the curve fills begins.
        span: (2,) how far it reaches.

    Returns:
        (n,) uint64, below 2 ** 32; points beyond the square count as on its edge.
    """
    share = np.clip((points - low) / np.maximum(span, 1e-300), 0, 1)
    cells = (share * 0xFFFF).astype(np.uint64)
    for shift, pattern in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        cells = (cells | (cells << np.uint64(shift))) & np.uint64(pattern)
    return np.asarray(cells[:, 0] | (cells[:, 1] << np.uint64(1)))
