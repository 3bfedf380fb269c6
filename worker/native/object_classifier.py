"""The raster function of the feature classifier, with the rules of Esri's object classifier (CONTRACT 3.6, 4.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..contract import CLASSIFIED, ContractError, Parameter, blacken, feature_set, input_parameters, parameter
from .augmentation import View
from .feature_classifier import FeatureClassifier
from .function import NativeFunction, augmentation_parameter, own_parameters

SEPARATOR = ";"
"""Between the labels of one object, and their confidences."""


class ObjectClassifier(NativeFunction[FeatureClassifier]):
    """Labels chips."""

    threshold = 0.5
    looks: tuple[View, ...] = (View(),)

    def getParameterInfo(self) -> list[Parameter]:
        """As the stock wrapper declares them, then what is our own."""
        declared = [*input_parameters("rasters")]
        if self.model.batch_size is None:
            declared.append(parameter("batch_size", "GPLong", self.network.BATCH, "Batch size", "Chips that run at once."))
        declared.append(augmentation_parameter(self.model))
        if self.network.is_multi_label:
            text = "Least confidence of each label, 0 to 1."
            declared.append(parameter("threshold", "GPDouble", 0.5, "Threshold", text, (0.0, 1.0)))
        return [*declared, *own_parameters()]

    def getConfiguration(self, **scalars: str) -> dict[str, Any]:
        """Take the values over; chips are cut as the definition says."""
        self.threshold = float(scalars.get("threshold", 0.5))
        self.looks = self._views(scalars)
        values, side = self.model.values, self.model.tile
        width = values.get("ImageWidth") or side
        rules = {key: values[key] for key in ("CropSizeFixed", "BlackenAroundFeature") if key in values}
        batch = self.model.batch_size or int(scalars["batch_size"])
        return self._configured(scalars, tx=width, ty=side, padding=0, fixedTileSize=1, batch_size=batch, **rules)

    def getFields(self) -> str:
        """Confidence and Label."""
        return CLASSIFIED

    def vectorize(self, **blocks: tuple[NDArray[Any], ...]) -> dict[str, str]:
        """All chips at once; what the masks exclude is 0."""
        pixels = [blacken(chip, mask) for chip, mask in zip(blocks["rasters_pixels"], blocks["rasters_mask"])]
        with self._computing():
            chips = self._chips(np.stack(pixels))
            if min(chips.shape[-2:]) < self.network.least_side:
                raise ContractError(  # costs these chips their labels, and no others
                    f"a chip of {chips.shape[-1]} × {chips.shape[-2]} pixels is too small for this network, which takes "
                    f"{self.network.least_side} or more; a smaller cell size makes it larger"
                )
            scores = torch.stack([self.network.scores(view.of(chips).clone()) for view in self.looks]).mean(0)
        height, width = pixels[0].shape[1] - 1, pixels[0].shape[2] - 1
        outline = [[0, 0], [width, 0], [width, height], [0, height]]
        return feature_set(([outline], self._attributes(row)) for row in scores.cpu().numpy().astype(np.float64))

    def _attributes(self, scores: NDArray[np.float64]) -> dict[str, str]:
        names = self.model.class_names
        if self.network.is_multi_label:
            chosen = [number for number, score in enumerate(scores) if score >= self.threshold]
            return {
                "Confidence": SEPARATOR.join(str(scores[number]) for number in chosen),
                "Label": SEPARATOR.join(names[number] for number in chosen),
            }
        best = int(scores.argmax())
        return {"Confidence": str(scores[best]), "Label": names[best]}
