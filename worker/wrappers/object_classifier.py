"""The built-in classifier: drives a child that answers a label and a score for each chip."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ..contract import CLASSIFIED, Parameter, blacken, feature_set, input_parameters
from .child import ChildWrapper, ring


class ObjectClassifier(ChildWrapper):
    """Classifies objects with the model of the package."""

    def getParameterInfo(self) -> list[Parameter]:
        """batch_size 4, then the child's own (CONTRACT 4.1)."""
        required = [*input_parameters("rasters"), *self.batch_size_parameter(4)]
        return self.with_child(required)

    def getFields(self) -> str:
        """Confidence and Label."""
        return CLASSIFIED

    def vectorize(self, **blocks: tuple[NDArray[Any], ...]) -> dict[str, str]:
        """Zero what the masks exclude and run the child; surplus answers are dropped (CONTRACT 3.6)."""
        pixels = blocks["rasters_pixels"]
        for chip, mask in zip(pixels, blocks["rasters_mask"]):
            blacken(chip, mask)
        outlines, scores, labels = self.child.vectorize(**blocks)
        answers = list(zip(outlines, scores, labels))[: len(pixels)]
        return feature_set(([ring(outline)], {"Confidence": str(score), "Label": label}) for outline, score, label in answers)
