"""YOLOv3 on Darknet-53 (Redmon and Farhadi 2018, "YOLOv3: An Incremental Improvement"; Darknet is in the public domain).

The order of modules is that of DeNA's PyTorch_YOLOv3, which ArcGIS's weights follow. Facts: ARCGIS_LEARN 4.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional

from .model import Model
from .network import Candidates, Detector, Found, widened
from .normalization import normalization
from .weights import State, load

STRIDE = 32
SLOPE = 0.1
"""Of the leaky ReLU."""
LEVELS = ((32, (6, 7, 8)), (16, (3, 4, 5)), (8, (0, 1, 2)))
"""Stride of a head, and its anchors."""
MOST = 200
"""Boxes of a class in a chip."""


class YOLOv3(Detector):
    """Three heads, each with three anchors a cell."""

    THRESHOLD, BATCH = 0.1, 4
    SIDE_STEP = STRIDE

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        classes = len(model.class_names)
        pairs = model.parameter("anchors")
        listed = pairs if isinstance(pairs, list) and len(pairs) == 3 * len(LEVELS) else None
        if listed is None:
            raise model.error("anchors", "nine pairs of width and height in pixels")
        self.register_buffer("_anchors", torch.tensor([model.numbers("anchors", pair, 2) for pair in listed]), persistent=False)
        self.normalization = normalization(model, with_imagenet=False)
        self.network = nn.Module()
        self.network.module_list = nn.ModuleList(_modules(len(model.bands), 3 * (classes + 5)))

    @classmethod
    def of(cls, model: Model, state: State) -> YOLOv3:
        """Build the network that the weights are of, and load them."""
        detector = cls(model)
        load(detector.network, state, model.weights)
        return detector

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        """Normalised chips to (n, boxes, 5 + classes): x, y, width, height in pixels, objectness, classes."""
        sixth = self._run(chips, 0, 6)
        eighth = self._run(sixth, 7, 8)
        coarse = self._run(eighth, 9, 12)
        middle = self._run(torch.cat([self._run(coarse, 15, 16), eighth], 1), 17, 20)
        fine = self._run(torch.cat([self._run(middle, 23, 24), sixth], 1), 25, 27)
        heads = self._run(coarse, 13, 14), self._run(middle, 21, 22), self._run(fine, 28, 28)
        return torch.cat([self._decoded(head, *level) for head, level in zip(heads, LEVELS)], 1)

    def detect(self, chips: torch.Tensor, threshold: float, max_overlap: float) -> list[Found]:
        """Suppression class by class; a box may be of several classes."""
        tile = chips.shape[-1]
        answers = self(self.normalization(chips)).float()
        middles, halves = answers[..., [1, 0]], answers[..., [3, 2]] / 2
        boxes = torch.cat([middles - halves, middles + halves], -1)
        scores = (answers[..., 4:5] * answers[..., 5:]).transpose(1, 2)
        classes = torch.arange(scores.shape[1], device=scores.device)[:, None]
        candidates = Candidates.of(boxes, scores, scores >= threshold, scores.shape[2], classes)
        kept = candidates.suppressed(lambda ratios: ratios >= max_overlap)
        kept &= kept.cumsum(1) <= MOST
        clipped = (candidates.boxes / (tile - 1)).clamp_(0, 1) * tile  # the original divides by the last index, not by the size
        kept &= (clipped[..., 2:] - clipped[..., :2]).prod(-1) > 0
        return replace(candidates, boxes=clipped).found(kept)

    def _run(self, chips: torch.Tensor, first: int, last: int) -> torch.Tensor:
        for module in self.network.module_list[first : last + 1]:
            chips = module(chips)
        return chips

    def _decoded(self, answer: torch.Tensor, stride: int, anchors: tuple[int, ...]) -> torch.Tensor:
        count, _, rows, columns = answer.shape
        values = widened(answer).view(count, len(anchors), -1, rows, columns).permute(0, 1, 3, 4, 2)
        y, x = (torch.arange(each, device=answer.device) for each in (rows, columns))
        cells = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
        sizes = self._anchors[list(anchors)][:, None, None]
        places = (values[..., :2].sigmoid() + cells) * stride
        result = torch.cat([places, values[..., 2:4].exp() * sizes, values[..., 4:].sigmoid()], -1)
        return result.reshape(count, -1, values.shape[-1])


class _Convolution(nn.Module):
    """Convolution, norm, leaky ReLU."""

    def __init__(self, channels: int, out: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, size, stride, (size - 1) // 2, bias=False)
        self.batch_norm = nn.BatchNorm2d(out)

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        return functional.leaky_relu(self.batch_norm(self.conv(chips)), SLOPE)


class _Pairs(nn.Module):
    """Convolutions of 1 x 1 and 3 x 3, so many times, each beside a shortcut or not."""

    def __init__(self, channels: int, count: int, has_shortcut: bool = True) -> None:
        super().__init__()
        self._has_shortcut = has_shortcut
        pairs = [nn.ModuleList([_Convolution(channels, channels // 2, 1), _Convolution(channels // 2, channels, 3)])
                 for _ in range(count)]  # fmt: skip
        self.module_list = nn.ModuleList(pairs)

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        for narrow, wide in self.module_list:
            result = wide(narrow(chips))
            chips = chips + result if self._has_shortcut else result
        return chips


class _Head(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 1)

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        return self.conv(chips)


def _modules(bands: int, out: int) -> list[nn.Module]:
    """All in order, with Darknet-53's numbers: the trunk, then the three heads."""
    trunk: list[nn.Module] = [_Convolution(bands, 32, 3)]
    for channels, count in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        trunk += [_Convolution(channels // 2, channels, 3, 2), _Pairs(channels, count)]
    return [
        *trunk,
        _Pairs(1024, 2, has_shortcut=False), _Convolution(1024, 512, 1), _Convolution(512, 1024, 3), _Head(1024, out),
        _Convolution(512, 256, 1), nn.Upsample(scale_factor=2, mode="nearest"), _Convolution(768, 256, 1),
        _Convolution(256, 512, 3), _Pairs(512, 1, has_shortcut=False), _Convolution(512, 256, 1), _Convolution(256, 512, 3),
        _Head(512, out),
        _Convolution(256, 128, 1), nn.Upsample(scale_factor=2, mode="nearest"), _Convolution(384, 128, 1),
        _Convolution(128, 256, 3), _Pairs(256, 2, has_shortcut=False), _Head(256, out),
    ]  # fmt: skip
