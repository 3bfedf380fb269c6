"""The feature classifier: a trunk below the head of fastai's `cnn_learner` (Apache-2.0).

Facts: ARCGIS_LEARN 4.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .model import Model
from .network import widened
from .normalization import normalization
from .resnets import RESNETS
from .trunks import trunk
from .weights import State, load, shape_of

STRIDE = 32
"""Of trunks in the end; those that pool between their stages leave nothing of what is smaller."""


class FeatureClassifier(nn.Module):
    """One logit a class for each chip.

    Attributes:
        BATCH: Default of the argument batch_size (CONTRACT 4.1).
        is_multi_label: Whether a chip may have several labels.
        least_side: Pixels that a chip must have at least.
    """

    BATCH = 4

    def __init__(self, model: Model, state: State) -> None:
        super().__init__()
        self.is_multi_label = str(model.values.get("MetaDataMode", "")).lower() == "multilabeled_tiles"
        self.least_side = 1 if model.backbone in (*RESNETS, "mobilenet_v2") else STRIDE
        self.normalization = normalization(model)
        pooled = shape_of(state, "1.2.weight", 1, model.weights)[0]
        hidden = shape_of(state, "1.4.weight", 2, model.weights)[0]
        head = nn.Sequential(
            _Pooling(), nn.Flatten(), nn.BatchNorm1d(pooled), nn.Identity(), nn.Linear(pooled, hidden), nn.ReLU(inplace=True),
            nn.BatchNorm1d(hidden), nn.Identity(), nn.Linear(hidden, len(model.class_names)),
        )  # fmt: skip
        self.network = nn.Sequential(trunk(model.backbone, len(model.bands)), head)

    @classmethod
    def of(cls, model: Model, state: State) -> FeatureClassifier:
        """Build the network that the weights are of, and load them."""
        classifier = cls(model, state)
        load(classifier.network, state, model.weights)
        return classifier

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        """Normalised chips (n, bands, height, width) to logits (n, classes)."""
        logits: torch.Tensor = self.network(chips)
        return logits

    def scores(self, chips: torch.Tensor) -> torch.Tensor:
        """Chips of raw values to (n, classes), 0 to 1; their sum is 1 unless a chip may have several labels."""
        logits = widened(self(self.normalization(chips)))
        return logits.sigmoid() if self.is_multi_label else logits.softmax(1)


class _Pooling(nn.Module):
    """The greatest value of each channel, then the mean."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.cat([functional.adaptive_max_pool2d(features, 1), functional.adaptive_avg_pool2d(features, 1)], 1)
