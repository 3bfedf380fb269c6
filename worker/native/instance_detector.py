"""The raster function of networks that find masks, with the rules of Esri's instance detector (CONTRACT 3.5, 4.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..contract import Parameter, parameter
from .augmentation import POLICIES, merged_masks
from .contours import outlines
from .function import FALSE, TRUE, augmentation_parameter
from .network import Found
from .object_detector import ObjectDetector, gathered, ring

LEAST_CERTAIN = 0.5
"""A pixel whose mask says so much, or more, is the object's."""


class InstanceDetector(ObjectDetector):
    """Finds outlines."""

    returns_boxes = False
    policy = "mean"

    def _parameters(self) -> list[Parameter]:
        boxes = "Give the box of each object instead of its outline."
        merging = "How the confidences of an object's views are merged with test-time augmentation."
        return [
            self._padding(),
            self._batch_size(),
            self._threshold(),
            parameter("return_bboxes", "string", FALSE, "Return boxes", boxes, (TRUE, FALSE)),
            augmentation_parameter(self.model),
            parameter("merge_policy", "string", "mean", "Merge policy", merging, tuple(POLICIES)),
            self._size_parameter(),
        ]

    def getConfiguration(self, **scalars: str) -> dict[str, Any]:
        """Take the values over."""
        self.returns_boxes, self.policy = scalars["return_bboxes"] == TRUE, scalars["merge_policy"]
        self.network.finds_masks = not self.returns_boxes
        return super().getConfiguration(**scalars)

    def _augmented(self, chips: torch.Tensor) -> list[Found]:
        """Chip by chip: the masks of all views of all of them would not fit into memory."""
        return [merged for chip in chips.split(1) for merged in super(InstanceDetector, self)._augmented(chip)]

    def _merged(self, seen: list[Found]) -> Found:
        return merged_masks(seen, self.policy)

    def _features(self, answers: list[Found]) -> list[tuple[list[Any], dict[str, Any]]]:
        """Outlines, or boxes, whose middle is the mini-tile's own, in pixels of the block without its padding."""
        tiles = self.settings.tiles
        boxes, scores, classes, numbers = gathered(answers)
        origins, found = tiles.origins(numbers), []
        masks = None if self.returns_boxes else _masks(answers)
        for place, (origin, box, score, number) in enumerate(zip(origins, boxes, scores * 100, classes)):
            shapes: list[list[Any]] = [[ring(*box.tolist())]] if masks is None else outlines(masks[place])
            for rings in shapes:
                points = [np.asarray(each) for each in rings]
                if tiles.is_inside(points[0].mean(0)[None, ::-1])[0]:
                    placed = [(each + origin[::-1]).tolist() for each in points]
                    found.append(self._feature(placed, float(score), int(number)))
        return found


def _masks(answers: list[Found]) -> NDArray[np.bool_]:
    """Of all objects, off the device in one go."""
    certain = torch.cat([found.masks >= LEAST_CERTAIN for found in answers if found.masks is not None])
    array: NDArray[np.bool_] = certain.cpu().numpy()
    return array
