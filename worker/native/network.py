"""What every detector has: it takes chips of raw pixel values and finds boxes in them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from .boxes import suppressed

Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Found:
    """What was found in one chip.

    Attributes:
        boxes: (n, 4): y1, x1, y2, x2 in pixels of the chip.
        scores: (n,), 0 to 1.
        classes: (n,), positions in the definition's Classes, from 0.
        masks: (n, height, width), 0 to 1; None for a network that finds boxes only.
    """

    boxes: torch.Tensor
    scores: torch.Tensor
    classes: torch.Tensor
    masks: torch.Tensor | None = None


class Detector(nn.Module):
    """A network that detects objects.

    Attributes:
        THRESHOLD, BATCH: Defaults of the arguments threshold and batch_size (CONTRACT 4.1).
        BY_CLASS: Whether its suppression looks at each class alone.
        has_any_side: Whether it takes chips of another side than the definition's (a multiple of 32).
    """

    THRESHOLD = 0.5
    BATCH = 64
    BY_CLASS = True
    has_any_side = True

    def set_side(self, side: int) -> None:
        """Expect chips of another side than the definition's; most networks do not care."""

    def detect(self, chips: torch.Tensor, threshold: float, max_overlap: float) -> list[Found]:
        """Look for objects.

        Args:
            chips: (n, bands, side, side), float32, values as in the raster.
            threshold: Least confidence, 0 to 1.
            max_overlap: Greatest intersection over union of two boxes that are kept, where the family has such an argument.
        """
        raise NotImplementedError


def grouped(boxes: torch.Tensor, scores: torch.Tensor, passes: torch.Tensor, most: int) -> tuple[Tensors, torch.Tensor]:
    """The best boxes of each group, best first.

    Args:
        boxes: (groups, n, 4) or, shared by all groups of a chip, anything that expands to it.
        scores: (groups, n).
        passes: (groups, n), which count.
        most: How many a group at most.

    Returns:
        Boxes (groups, k, 4), scores (groups, k), places among the n (groups, k); and which of them are there.
    """
    k = min(most, int(passes.sum(1).max())) if passes.numel() else 0
    ranked = torch.where(passes, scores, torch.full_like(scores, -1.0))
    order = ranked.sort(dim=1, descending=True, stable=True).indices[:, :k]
    chosen = boxes.gather(1, order[..., None].expand(*order.shape, 4))
    return (chosen, scores.gather(1, order), order), passes.gather(1, order)


def kept_by_overlap(boxes: torch.Tensor, is_there: torch.Tensor, max_overlap: float) -> torch.Tensor:
    """Greedy suppression that keeps what overlaps by `max_overlap` or less."""
    return suppressed(boxes, is_there, lambda ratios: ratios > max_overlap)


def by_chip(boxes: torch.Tensor, scores: torch.Tensor, kept: torch.Tensor, chips: int) -> list[Found]:
    """Take groups (chip by chip, class by class) apart."""
    classes = boxes.shape[0] // chips
    found = []
    for chip in range(chips):
        own = slice(chip * classes, (chip + 1) * classes)
        numbers = torch.arange(classes, device=boxes.device)[:, None].expand_as(kept[own])
        found.append(Found(boxes[own][kept[own]], scores[own][kept[own]], numbers[kept[own]]))
    return found
