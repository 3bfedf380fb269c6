"""The built-in detector: drives a child that answers boxes, scores and classes for a block."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ..contract import DETECTED, Parameter, blacken, feature_set, input_parameters, parameter
from .child import ChildWrapper, ring


class ObjectDetector(ChildWrapper):
    """Detects objects with the model of the package."""

    def getParameterInfo(self) -> list[Parameter]:
        """Padding 0, score_threshold 0.6 and batch_size 1, then the child's own (CONTRACT 4.1)."""
        required = [
            *input_parameters("raster"),
            parameter("padding", "numeric", 0, "Padding", "Pixels at the border that blocks share."),
            parameter("score_threshold", "numeric", 0.6, "Score threshold", "Least confidence kept, 0 to 1."),
            *self.batch_size_parameter(1),
        ]
        return self.with_child(required)

    def getFields(self) -> str:
        """Class (text) and Confidence."""
        return DETECTED

    def vectorize(self, **blocks: NDArray[Any]) -> dict[str, str]:
        """Zero what the mask excludes, run the child, name the classes by their place in Classes (from 1)."""
        blacken(blocks["raster_pixels"], blocks["raster_mask"])
        outlines, scores, classes = self.child.vectorize(**blocks)
        return feature_set(
            ([ring(outline)], {"Class": self._class_name(int(index)), "Confidence": float(score)})
            for outline, score, index in zip(outlines, scores, classes)
        )

    def _class_name(self, index: int) -> str:
        listed: list[dict[str, Any]] = self.definition.get("Classes", [])
        if 1 <= index <= len(listed):
            return str(listed[index - 1].get("Name", listed[index - 1].get("ClassName", index)))
        return str(index)
