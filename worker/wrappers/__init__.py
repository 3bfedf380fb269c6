"""Raster functions for packages that bring only a child: `InferenceFunction` absent, or a `[Functions]…` token.

A child is the class that the model definition names by `Framework` and `ModelConfiguration` (CONTRACT 2, 5.2).
"""

from __future__ import annotations

from typing import Any

from .object_classifier import ObjectClassifier
from .object_detector import ObjectDetector

BUILT_IN: dict[str, Any] = {"ObjectDetector": ObjectDetector, "ObjectClassifier": ObjectClassifier}
