"""Turns what a raster function answers into values that JSON can carry."""

from __future__ import annotations

import numpy as np


def plain(value: object, depth: int = 32) -> object:  # noqa: PLR0911 - one return a kind
    """Replace tuples, numpy scalars and arrays, and keys that are no strings; anything unknown becomes its text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if depth == 0:
        return str(value)
    if isinstance(value, dict):
        return {str(key): plain(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, range)):
        return [plain(inner, depth - 1) for inner in value]
    if isinstance(value, np.generic):
        return plain(value.item(), depth - 1)
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), depth - 1)
    return str(value)
