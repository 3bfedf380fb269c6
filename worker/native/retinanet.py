"""RetinaNet, as the fast.ai course "Deep Learning for Coders" builds it (Apache-2.0; not torchvision's).

Facts: ARCGIS_LEARN 4; the paper is Lin et al. 2017, "Focal Loss for Dense Object Detection".
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from .errors import NativeError
from .model import Model
from .network import Candidates, Detector, Found, widened
from .normalization import normalization
from .resnets import RESNETS, resnet, stages_of
from .weights import State, load, shape_of

CHANNELS = 256
SCALES, RATIOS = (1.0, 2 ** (-1 / 3), 2 ** (-2 / 3)), (0.5, 1.0, 2.0)
BASE = 4.0
"""An anchor of ratio and scale 1 is so many cells wide."""
SPREAD = 0.1
"""Offsets are trained in tenths of an anchor."""


class RetinaNet(Detector):
    """Class scores and boxes for nine anchors a cell on five levels."""

    BY_CLASS = False

    def __init__(self, model: Model, classes: int, anchors_per_cell: int) -> None:
        super().__init__(model)
        self.normalization = normalization(model)
        self.encoder = resnet(model.backbone, len(model.bands))
        widest = 512 if model.backbone in ("resnet18", "resnet34") else 2048
        self.c5top5 = nn.Conv2d(widest, CHANNELS, 1)
        self.c5top6 = nn.Conv2d(widest, CHANNELS, 3, 2, 1)
        self.p6top7 = nn.Sequential(nn.ReLU(), nn.Conv2d(CHANNELS, CHANNELS, 3, 2, 1))
        self.merges = nn.ModuleList(_Lateral(widest // parts) for parts in (2, 4))
        self.smoothers = nn.ModuleList(nn.Conv2d(CHANNELS, CHANNELS, 3, 1, 1) for _ in range(3))
        self.classifier, self.box_regressor = _head(classes * anchors_per_cell), _head(4 * anchors_per_cell)
        self._classes, self._anchors = classes, dict[int, torch.Tensor]()
        self._scales = model.numbers("scales", model.parameter("scales") or SCALES)
        self._ratios = model.numbers("ratios", model.parameter("ratios") or RATIOS)
        if min(*self._scales, *self._ratios) <= 0:
            raise model.error("scales" if min(self._scales) <= 0 else "ratios", "a list of positive numbers")
        if len(self._scales) * len(self._ratios) != anchors_per_cell:
            raise model.error("scales", f"scales that with the {len(self._ratios)} ratios make {anchors_per_cell} anchors a cell")

    @classmethod
    def of(cls, model: Model, state: State) -> RetinaNet:
        """Build the network that the weights are of, and load them."""
        if model.backbone not in RESNETS:
            raise NativeError(
                f"The trunk {model.backbone} of this RetinaNet is not known here; {', '.join(RESNETS)} are. Where the inference "
                "Python has Esri's library arcgis, ARCGIS_TRAINED=PACKAGE runs it by that."
            )
        classes = len(model.class_names)
        boxes = shape_of(state, "box_regressor.4.weight", 4, model.weights)[0]
        network = cls(model, classes, boxes // 4)
        load(network, state, model.weights)
        return network

    def forward(self, chips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised chips to class logits (n, anchors, classes) and offsets (n, anchors, 4); level, row, column, anchor."""
        levels = self._levels(chips)
        logits = torch.cat([_flat(self.classifier(level), self._classes) for level in levels], 1)
        return logits, torch.cat([_flat(self.box_regressor(level), 4) for level in levels], 1)

    def detect(self, chips: torch.Tensor, threshold: float, max_overlap: float) -> list[Found]:
        """The best class of each anchor, then one suppression for all classes together."""
        logits, offsets = self(self.normalization(chips))
        scores, classes = widened(logits).sigmoid().max(2)
        side = chips.shape[-1]
        if side not in self._anchors:
            self._anchors[side] = self.anchors(side).to(offsets.device)
        boxes = _decoded(widened(offsets), self._anchors[side]).clamp_(0, side)
        passes = (scores > threshold) & ((boxes[..., 2:] - boxes[..., :2]).prod(-1) > 0)
        candidates = Candidates.of(boxes, scores[:, None], passes[:, None], passes.shape[1], classes[:, None])
        return candidates.found(candidates.suppressed(lambda ratios: ratios > max_overlap))

    def anchors(self, tile: int) -> torch.Tensor:
        """(anchors, 4) of y, x of the middle, height and width in pixels, for chips of such a side."""
        parts = []
        for cells in level_sides(tile):
            middle = (torch.arange(cells) + 0.5) * (tile / cells)
            middles = torch.stack(torch.meshgrid(middle, middle, indexing="ij"), -1)
            shapes = [
                (math.sqrt(ratio) * scale, math.sqrt(1 / ratio) * scale) for ratio in self._ratios for scale in self._scales
            ]
            sizes = torch.tensor(shapes) * (BASE * tile / cells)
            shape = (cells, cells, len(sizes), 2)
            parts.append(torch.cat([middles[:, :, None].expand(shape), sizes.expand(shape)], -1).reshape(-1, 4))
        return torch.cat(parts)

    def _levels(self, chips: torch.Tensor) -> list[torch.Tensor]:
        c3, c4, c5 = stages_of(self.encoder, chips)[1:]
        p6 = self.c5top6(c5)
        levels = [self.c5top5(c5)]
        for merge, lateral in zip(self.merges, (c4, c3)):
            levels.append(merge(levels[-1], lateral))
        smooth = [smoother(level) for smoother, level in zip(self.smoothers, reversed(levels))]
        return [*smooth, p6, self.p6top7(p6)]


def level_sides(tile: int) -> list[int]:
    """Cells along a side of P3 to P7: P4 and P3 are twice the level above, and each other one half of it, rounded up."""
    lowest = math.ceil(tile / 32)
    return [4 * lowest, 2 * lowest, lowest, math.ceil(lowest / 2), math.ceil(math.ceil(lowest / 2) / 2)]


class _Lateral(nn.Module):
    """A level: the one above, doubled, and the trunk's stage beside it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_lat = nn.Conv2d(channels, CHANNELS, 1)

    def forward(self, above: torch.Tensor, stage: torch.Tensor) -> torch.Tensor:
        """The sum, of exactly twice the size of the level above."""
        doubled = functional.interpolate(above, scale_factor=2, mode="nearest")
        lateral = self.conv_lat(stage)
        if lateral.shape[-2:] != doubled.shape[-2:]:
            lateral = functional.interpolate(lateral, size=doubled.shape[-2:], mode="nearest")
        return doubled + lateral


def _head(out: int) -> nn.Sequential:
    layers = [nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, 1, 1), nn.ReLU(), nn.BatchNorm2d(CHANNELS)) for _ in range(4)]
    return nn.Sequential(*layers, nn.Conv2d(CHANNELS, out, 3, 1, 1))


def _flat(level: torch.Tensor, values: int) -> torch.Tensor:
    return level.permute(0, 2, 3, 1).reshape(level.shape[0], -1, values)


def _decoded(offsets: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Boxes from offsets; as in the original, the first two offsets also scale height and width, and the others do nothing."""
    moved = offsets[..., :2] * SPREAD
    middles = anchors[:, :2] + anchors[:, 2:] * moved
    halves = anchors[:, 2:] * moved.exp() / 2
    return torch.cat([middles - halves, middles + halves], -1)
