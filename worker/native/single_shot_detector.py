"""The single shot detector with several heads of the fast.ai course "Cutting Edge Deep Learning" (Apache-2.0).

Facts: ARCGIS_LEARN 4; the paper is Liu et al. 2015, "SSD: Single Shot MultiBox Detector".
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional

from .model import Model
from .network import Candidates, Detector, Found, widened
from .normalization import normalization
from .resnets import RESNETS
from .single_shot_grids import Step, grids_of, steps_of, version_of
from .trunks import trunk
from .weights import State, load, shape_of

CHANNELS = 256
BEST = 50
"""Candidates of a class in a chip that suppression looks at."""
LAST_STAGE = 7
"""Place of a ResNet's last stage, which a trunk of version 2 may lack."""


class SingleShotDetector(Detector):
    """Class scores and boxes for the anchors of several grids."""

    SIDE_STEP = 0

    def __init__(self, model: Model, state: State) -> None:
        super().__init__(model)
        self._grids, self._shapes = grids_of(model), _shapes_of(model)
        for name, values in zip(("_anchors", "_cells"), self.anchors()):
            self.register_buffer(name, values, persistent=False)
        self.normalization = normalization(model)
        below, side = _trunk_of(model, state)
        steps = steps_of(self._grids, side, version_of(model))
        _check(steps, model, state)
        channels = shape_of(state, "1.sconvs.0.conv.weight", 4, model.weights)[1]
        head = nn.Module()
        head.sconvs = nn.ModuleList([_Block(channels, Step(3, 1, 1)), *(_Block(CHANNELS, step) for step in steps)])
        head.oconvs = nn.ModuleList(_Outputs(len(model.class_names) + 1, len(self._shapes)) for _ in self._grids)
        self.network = nn.Sequential(below, head)

    @classmethod
    def of(cls, model: Model, state: State) -> SingleShotDetector:
        """Build the network that the weights are of, and load them."""
        detector = cls(model, state)
        load(detector.network, state, model.weights)
        return detector

    def forward(self, chips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised chips to class logits (n, anchors, classes + 1) and offsets (n, anchors, 4); grid, row, column, anchor."""
        below, head = self.network
        features = head.sconvs[0](functional.relu(below(chips)))
        answers = []
        for block, outputs in zip(head.sconvs[1:], head.oconvs):
            features = block(features)
            answers.append(outputs(features))
        return torch.cat([logits for logits, _ in answers], 1), torch.cat([offsets for _, offsets in answers], 1)

    def detect(self, chips: torch.Tensor, threshold: float, max_overlap: float) -> list[Found]:
        """Suppression class by class among the best."""
        logits, offsets = self(self.normalization(chips))
        boxes = self._decoded(widened(offsets)) * chips.shape[-1]
        scores = widened(logits).sigmoid()[..., 1:].transpose(1, 2)  # chip, class, anchor; 0 is the background
        classes = torch.arange(scores.shape[1], device=scores.device)[:, None]
        candidates = Candidates.of(boxes, scores, scores > threshold, BEST, classes)
        kept = candidates.suppressed(lambda ratios: ratios > max_overlap)
        return candidates.found(kept & (candidates.boxes[..., 2] > 0))

    def anchors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(anchors, 4) of y, x of the middle, height and width, and the cell's side (anchors, 1); 1 is the chip's side."""
        parts, cells = [], []
        for grid in self._grids:
            middle = (torch.arange(grid) + 0.5) / grid
            middles = torch.stack(torch.meshgrid(middle, middle, indexing="ij"), -1)
            shape = (grid, grid, len(self._shapes), 2)
            sizes = torch.tensor(self._shapes) / grid
            parts.append(torch.cat([middles[:, :, None].expand(shape), sizes.expand(shape)], -1).reshape(-1, 4))
            cells.append(torch.full((len(parts[-1]), 1), 1 / grid))
        return torch.cat(parts), torch.cat(cells)

    def _decoded(self, offsets: torch.Tensor) -> torch.Tensor:
        moved = offsets.tanh() / 2
        middles = self._anchors[:, :2] + moved[..., :2] * self._cells
        halves = self._anchors[:, 2:] * (1 + moved[..., 2:]) / 2
        return torch.cat([middles - halves, middles + halves], -1)


class _Block(nn.Module):
    """Perhaps a change of size; convolution, ReLU, norm."""

    def __init__(self, channels: int, step: Step) -> None:
        super().__init__()
        self._resize = step.resize
        self.conv, self.bn = nn.Conv2d(channels, CHANNELS, step.kernel, step.stride, step.padding), nn.BatchNorm2d(CHANNELS)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The features of the next grid."""
        if self._resize:
            features = functional.interpolate(features, size=(self._resize, self._resize), mode="nearest")
        return self.bn(functional.relu(self.conv(features)))


class _Outputs(nn.Module):
    """Class logits and offsets of one grid."""

    def __init__(self, classes: int, anchors: int) -> None:
        super().__init__()
        self.oconv1, self.oconv2 = nn.Conv2d(CHANNELS, classes * anchors, 3, 1, 1), nn.Conv2d(CHANNELS, 4 * anchors, 3, 1, 1)
        self._classes = classes

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, anchors, classes) and (n, anchors, 4): row, column, anchor."""
        count = features.shape[0]
        logits, offsets = (answer.permute(0, 2, 3, 1) for answer in (self.oconv1(features), self.oconv2(features)))
        return logits.reshape(count, -1, self._classes), offsets.reshape(count, -1, 4)


def _shapes_of(model: Model) -> list[tuple[float, float]]:
    """Heights and widths of anchors in cells: zoom outer, ratio inner."""
    zooms, ratios = model.numbers("Zooms", model.values.get("Zooms")), model.values.get("Ratios")
    if not isinstance(ratios, list) or not ratios:
        raise model.error("Ratios", "a list of pairs")
    pairs = [model.numbers("Ratios", each, 2) for each in ratios]
    return [(zoom * height, zoom * width) for zoom in zooms for height, width in pairs]


def _check(steps: list[Step], model: Model, state: State) -> None:
    """Refuse grids that do not fit the weights, before anything is built of their size."""
    for number, step in enumerate(steps, 1):
        name = f"1.sconvs.{number}.conv.weight"
        kernel = shape_of(state, name, 4, model.weights)[-1] if name in state else step.kernel
        if kernel != step.kernel:
            raise model.error("Grids", f"such that grid {number} takes a convolution of {kernel} cells, as its weights do")


def _trunk_of(model: Model, state: State) -> tuple[nn.Sequential, int]:
    """The trunk without the stages that the weights have not, and the side of its features."""
    below = trunk(model.backbone, len(model.bands))
    if model.backbone in RESNETS and not any(name.startswith(f"0.{LAST_STAGE}.") for name in state):
        below = below[:LAST_STAGE]
    with torch.no_grad():
        features = copy.deepcopy(below).eval().to("meta")(torch.zeros(1, len(model.bands), model.side, model.side, device="meta"))
    return below, int(features.shape[-1])
