"""The network of the sample: a small detector without anchors, after CenterNet and TTFNet, and its decoding.

A heat map says where the middle of a crown is, and four distances at that place say where its sides are.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

STRIDE = 4
MOST = 600  # crowns of one mini-tile


def block(inputs, outputs, kernel=3, stride=1):
    """Convolution, batch normalisation, ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels):
        super().__init__()
        self.a = block(channels, channels)
        self.b = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x):
        """Keep the shape."""
        return functional.relu(x + self.b(self.a(x)))


class CrownNetwork(nn.Module):
    """Normalised RGB (n, 3, h, w), sides multiples of 32, to heat (n, classes, h/4, w/4) and l, t, r, b (n, 4, h/4, w/4).

    The names of its parts are those of the trained weights.
    """

    def __init__(self, classes=1, width=40):
        super().__init__()
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), block(12, width), block(width, width, 3, 2))
        self.s4 = Residual(width)
        self.d8 = nn.Sequential(block(width, 2 * width, 3, 2), Residual(2 * width))
        self.d16 = nn.Sequential(block(2 * width, 3 * width, 3, 2), Residual(3 * width))
        self.d32 = nn.Sequential(block(3 * width, 3 * width, 3, 2), Residual(3 * width))
        self.u16 = block(6 * width, 2 * width)
        self.u8 = block(4 * width, 2 * width)
        last = width + width // 2
        self.u4 = block(3 * width, last)
        self.hm = nn.Sequential(block(last, width), nn.Conv2d(width, classes, 1))
        self.wh = nn.Sequential(block(last, width), nn.Conv2d(width, 4, 1))

    def forward(self, x):
        """Down to 1/32 of the size, and up again to 1/4."""
        fine = self.s4(self.stem(x))
        medium = self.d8(fine)
        coarse = self.d16(medium)
        up = self.u16(_join(coarse, self.d32(coarse)))
        up = self.u8(_join(medium, up))
        up = self.u4(_join(fine, up))
        return self.hm(up), 16.0 * functional.softplus(self.wh(up))


def _join(fine, coarse):
    return torch.cat([fine, functional.interpolate(coarse, size=fine.shape[-2:], mode="nearest")], 1)


def crowns(heat, distances, threshold, overlap):
    """Boxes (k, 4) as left, top, right, bottom in pixels, scores (k,) and classes (k,) of each image of a batch."""
    probability = heat.float().sigmoid()
    peaks = probability * (functional.max_pool2d(probability, 3, 1, 1) == probability)
    count, classes, height, width = peaks.shape
    scores, places = peaks.flatten(1).topk(min(MOST, classes * height * width))
    cells = places % (height * width)
    x, y = (cells % width) * STRIDE + STRIDE / 2, (cells // width) * STRIDE + STRIDE / 2
    sides = distances.float().flatten(2).gather(2, cells[:, None].expand(-1, 4, -1))
    boxes = torch.stack([x - sides[:, 0], y - sides[:, 1], x + sides[:, 2], y + sides[:, 3]], -1)
    found = zip(boxes.cpu().numpy(), scores.cpu().numpy(), (places // (height * width)).cpu().numpy())
    return [_best(*image, threshold, overlap) for image in found]


def _best(boxes, scores, classes, threshold, overlap):
    """Drop what is below the threshold, and what overlaps a better box too much; boxes come best first."""
    certain = scores >= threshold
    boxes, scores, classes = boxes[certain], scores[certain], classes[certain]
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(-1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    clashes = common > overlap * (area[:, None] + area[None] - common + 1e-6)
    keep = np.ones(len(boxes), bool)
    for place in range(len(boxes)):
        if keep[place]:
            keep[place + 1 :] &= ~clashes[place, place + 1 :]
    return boxes[keep], scores[keep], classes[keep]
