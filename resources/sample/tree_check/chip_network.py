"""The network of the sample: one answer for each chip, from its four quarters and its middle."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

GREY = 0.45
"""About the mean brightness of aerial images, of 0 to 1."""
QUARTERS = 2
MIDDLE = slice(3, 5)
"""The middle of the 8 rows or columns of features, a quarter of the chip's side."""


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class ChipNetwork(nn.Module):
    """Chips as float32 of 0 to 1 (n, bands, 32, 32) to logits (n, classes).

    The names of its parts, `f` for features and `h` for head, are those of the trained weights.
    """

    def __init__(self, bands: int = 4, classes: int = 2, width: int = 32) -> None:
        super().__init__()
        self.f = nn.Sequential(
            block(bands, width),
            block(width, width),
            block(width, 2 * width, 2),
            block(2 * width, 2 * width),
            block(2 * width, 3 * width, 2),
            block(3 * width, 3 * width),
        )
        self.h = nn.Linear(3 * width * (QUARTERS**2 + 1), classes)

    def forward(self, x: Tensor) -> Tensor:
        """Average the features by quarters, which tell where something is, and over the middle, where the tree should be."""
        features = self.f(x - GREY)
        quarters = functional.adaptive_avg_pool2d(features, QUARTERS).flatten(1)
        middle = features[:, :, MIDDLE, MIDDLE].mean((2, 3))
        return self.h(torch.cat([quarters, middle], 1))
