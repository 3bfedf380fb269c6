"""The network of the sample: a heat map of trees at half the resolution, and the places of its peaks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 2
MULTIPLE = 16
"""Sides of the input, and steps from one input to the next, are multiples of this many pixels: the coarsest grid inside."""
GREY = 0.45
"""About the mean brightness of aerial images, of 0 to 1."""


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class PointNetwork(nn.Module):
    """Bands as float32 of 0 to 1 (n, bands, h, w), sides multiples of 16, to the logits of a heat map (n, 1, h/2, w/2).

    The names of its parts are those of the trained weights.
    """

    def __init__(self, bands: int = 4, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.PixelUnshuffle(STRIDE), block(STRIDE**2 * bands, width), block(width, width))
        self.d4 = nn.Sequential(block(width, 2 * width, 2), block(2 * width, 2 * width))
        self.d8 = nn.Sequential(block(2 * width, 3 * width, 2), block(3 * width, 3 * width))
        self.d16 = nn.Sequential(block(3 * width, 3 * width, 2), block(3 * width, 3 * width))
        last = width + width // 2
        self.u8 = block(6 * width, 2 * width)
        self.u4 = block(4 * width, last)
        self.u2 = block(width + last, width)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Down to 1/16 of the size, and up again to 1/2."""
        half = self.stem(x - GREY)
        quarter = self.d4(half)
        eighth = self.d8(quarter)
        up = self.u8(_join(eighth, self.d16(eighth)))
        up = self.u4(_join(quarter, up))
        return self.head(self.u2(_join(half, up)))


def _join(fine: Tensor, coarse: Tensor) -> Tensor:
    return torch.cat([fine, functional.interpolate(coarse, size=fine.shape[-2:], mode="nearest")], 1)


def peaks(heat: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
    """The cells of heat maps (n, 1, h/2, w/2) that no neighbour exceeds.

    Logits are compared, as the probabilities of two certain neighbours round to the same 1.

    Returns:
        For each of k trees the number of its image (k,), its column and row in pixels, the middle of its cell (k, 2),
        both int64, and its probability (k,), float32.
    """
    probability = heat.float().sigmoid()
    highest = functional.max_pool2d(heat, 3, 1, 1) == heat
    images, _, rows, columns = places = (highest & (probability >= threshold)).nonzero(as_tuple=True)
    return images, torch.stack([columns, rows], 1) * STRIDE + STRIDE // 2, probability[places]
