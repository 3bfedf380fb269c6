"""The raster function of networks that find boxes, with the rules of Esri's object detector (CONTRACT 3.5, 4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..contract import DETECTED, Parameter, blacken, feature_set, input_parameters, parameter
from .augmentation import View, looked_at, merged_boxes, rescaled
from .errors import NativeError
from .function import FALSE, TRUE, NativeFunction, augmentation_parameter, own_parameters
from .mini_tiles import MiniTiles
from .model import LARGEST_TILE
from .network import Detector, Found

LEAST_SCALE, GREATEST_SCALE = 0.25, 4.0
DEMOTED = 0.01
"""What a confidence of the padding still counts, above the threshold."""


@dataclass(frozen=True)
class Settings:
    """The values of a run.

    Attributes:
        tiles: How blocks are cut.
        threshold, max_overlap: As the arguments threshold and nms_overlap.
        excludes: Whether boxes are left out that a mini-tile's edge cuts.
        views, scales: How the network looks at each mini-tile.
    """

    tiles: MiniTiles
    threshold: float
    max_overlap: float
    excludes: bool
    views: tuple[View, ...]
    scales: tuple[float, ...]


class ObjectDetector(NativeFunction[Detector]):
    """Finds boxes."""

    settings: Settings

    def getParameterInfo(self) -> list[Parameter]:
        """As the stock wrapper declares them, then what is our own."""
        return [*input_parameters("raster"), *self._parameters(), *own_parameters()]

    def _padding(self) -> Parameter:
        text = "Pixels at the border of each mini-tile that it shares with others."
        return parameter("padding", "GPLong", self.model.tile // 4, "Padding", text)

    def _threshold(self) -> Parameter:
        return parameter("threshold", "GPDouble", self.network.THRESHOLD, "Threshold", "Least confidence, 0 to 1.", (0.0, 1.0))

    def _batch_size(self) -> Parameter:
        text = "Mini-tiles that run at once; rounded down to a square."
        return parameter("batch_size", "GPLong", self.network.BATCH, "Batch size", text)

    def _parameters(self) -> list[Parameter]:
        overlap = "Boxes of a mini-tile that overlap a better one by more are left out."
        cut = "Leave out boxes that end at the edge of a mini-tile, as the next one sees them whole."
        scales = "Sizes at which each mini-tile is looked at with test-time augmentation, such as 0.75,1,1.5."
        return [
            self._padding(),
            self._threshold(),
            parameter("nms_overlap", "GPDouble", 0.1, "NMS overlap", overlap, (0.0, 1.0)),
            self._batch_size(),
            parameter("exclude_pad_detections", "string", TRUE, "Exclude cut detections", cut, (TRUE, FALSE)),
            augmentation_parameter(self.model),
            parameter("tta_scales", "string", self._own_scales(), "Scales", scales),
            *([self._size_parameter()] if self.network.SIDE_STEP and self.model.values.get("SupportsVariableTileSize") else []),
        ]

    def _own_scales(self) -> str:
        """Those of the definition; 1 for networks that have one size."""
        scales = self.model.values.get("tta_scales", "1") if self.network.SIDE_STEP else "1"
        return ",".join(map(str, scales)) if isinstance(scales, list) else str(scales)

    def _size_parameter(self) -> Parameter:
        return parameter("tile_size", "GPLong", self.model.tile, "Tile size", "Side of a mini-tile in pixels.")

    def getConfiguration(self, **scalars: str) -> dict[str, Any]:
        """Take the values over; blocks are squares of mini-tiles."""
        side, batch = int(scalars.get("tile_size", self.model.tile)), int(scalars["batch_size"])
        self._check(side, batch)
        tiles = MiniTiles.of(side, int(scalars["padding"]), batch)
        looks = self._views(scalars)
        self.settings = Settings(
            tiles,
            float(scalars["threshold"]),
            float(scalars.get("nms_overlap", 1.0)),
            scalars.get("exclude_pad_detections") == TRUE,
            looks,
            self._scales(scalars.get("tta_scales", "1")) if len(looks) > 1 else (1.0,),
        )
        return self._configured(scalars, tx=tiles.core, ty=tiles.core, padding=tiles.padding, fixedTileSize=1)

    def getFields(self) -> str:
        """Class (text) and Confidence, 0 to 100."""
        return DETECTED

    def vectorize(self, **blocks: NDArray[Any]) -> dict[str, str]:
        """All mini-tiles of a block at once; what the mask excludes is 0."""
        pixels = blacken(blocks["raster_pixels"], blocks["raster_mask"])
        with self._computing():
            return feature_set(self._features(self._detected(self._chips(self.settings.tiles.cut(pixels)))))

    def _detected(self, chips: torch.Tensor) -> list[Found]:
        """What is in each mini-tile, by all its views."""
        side = self.settings.tiles.side
        is_plain = self.settings.views == (View(),) and self.settings.scales == (1.0,)
        found = self._look(chips) if is_plain else self._augmented(chips)
        return [rescaled(each, chips.shape[-1], side) for each in found]

    def _augmented(self, chips: torch.Tensor) -> list[Found]:
        seen = looked_at(self._look, chips, self.settings.views, self.settings.scales)
        return [self._merged(each) for each in seen]

    def _look(self, chips: torch.Tensor) -> list[Found]:
        return self.network.detect(chips, self.settings.threshold, self.settings.max_overlap)

    def _merged(self, seen: list[Found]) -> Found:
        return merged_boxes(seen, self.settings.max_overlap, self.network.BY_CLASS)

    def _features(self, answers: list[Found]) -> list[tuple[list[Any], dict[str, Any]]]:
        """Boxes as features, in pixels of the block without its padding."""
        tiles, settings = self.settings.tiles, self.settings
        boxes, scores, classes, numbers = gathered(answers)
        confidences = scores * 100
        outside = tiles.is_outside(boxes)
        confidences[outside] = settings.threshold * 100 + DEMOTED * confidences[outside]
        if settings.excludes:
            whole = ~tiles.is_cut(boxes)
            boxes, confidences, classes, numbers = boxes[whole], confidences[whole], classes[whole], numbers[whole]
        placed = boxes + np.tile(tiles.origins(numbers), 2)
        return [self._feature([ring(*box)], *rest) for box, *rest in zip(placed.tolist(), confidences.tolist(), classes.tolist())]

    def _feature(self, rings: list[Any], confidence: float, number: int) -> tuple[list[Any], dict[str, Any]]:
        return rings, {"Class": self.model.class_names[number], "Confidence": confidence}

    def _check(self, side: int, batch: int) -> None:
        step = self.network.SIDE_STEP
        if not 0 < side <= LARGEST_TILE or (step and self.model.resized is None and side % step):
            multiple = f", a multiple of {step}" if step > 1 else ""
            raise NativeError(f"tile_size is {side}, but it must be a number of pixels from 1 to {LARGEST_TILE}{multiple}.")
        if batch < 1:
            raise NativeError(f"batch_size is {batch}, but it must be 1 or more.")

    def _scales(self, text: str) -> tuple[float, ...]:
        try:
            scales = tuple(float(part) for part in text.replace(";", ",").split(","))
        except ValueError:
            scales = (0.0,)
        if not all(LEAST_SCALE <= scale <= GREATEST_SCALE for scale in scales):
            raise NativeError(
                f"tta_scales must be numbers from {LEAST_SCALE} to {GREATEST_SCALE} with commas, but it is '{text}'."
            )
        if scales != (1.0,) and not self.network.SIDE_STEP:
            raise NativeError(f"tta_scales is {text}, but {self.name} has one size only. Leave it at 1.")
        return scales


def ring(y1: float, x1: float, y2: float, x2: float) -> list[list[float]]:
    """A box as (x, y) pairs, in the order of Esri's wrapper."""
    return [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]


def gathered(
    answers: list[Found],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Boxes, scores, classes and numbers of the mini-tiles of all answers, off the device in one go."""
    counts = [len(found.scores) for found in answers]
    joined = torch.cat([torch.cat([found.boxes, found.scores[:, None], found.classes[:, None]], 1) for found in answers])
    table = joined.cpu().numpy().astype(np.float64)
    return table[:, :4], table[:, 4], table[:, 5].astype(np.int64), np.repeat(np.arange(len(answers)), counts)
