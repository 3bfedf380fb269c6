"""What every detector has: it takes chips of raw pixel values and finds boxes in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from .boxes import suppressed
from .errors import NativeError
from .model import Model


def widened(values: torch.Tensor) -> torch.Tensor:
    """What a network answers, as float32 whatever it computed in: boxes need more digits than half precision has.

    Raises:
        NativeError: float16 could not hold the numbers.
    """
    if values.dtype == torch.float16 and not bool(values.isfinite().all()):
        raise NativeError("precision is float16, which cannot hold this network's numbers. Choose float32 or bfloat16.")
    return values.float()


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
    """A network that detects objects in squares.

    Attributes:
        THRESHOLD, BATCH: Defaults of the arguments threshold and batch_size (CONTRACT 4.1).
        BY_CLASS: Whether its suppression looks at each class alone.
        SIDE_STEP: Chips may have any side that is a multiple of it; 0 where it must be the definition's.
    """

    THRESHOLD = 0.5
    BATCH = 64
    BY_CLASS = True
    SIDE_STEP = 1

    def __init__(self, model: Model) -> None:
        super().__init__()
        if self.SIDE_STEP and model.side % self.SIDE_STEP:
            raise model.error("resize_to" if model.resized else "ImageHeight", f"a multiple of {self.SIDE_STEP} here")

    def detect(self, chips: torch.Tensor, threshold: float, max_overlap: float) -> list[Found]:
        """Look for objects.

        Args:
            chips: (n, bands, side, side), float32, values as in the raster.
            threshold: Least confidence, 0 to 1.
            max_overlap: Greatest intersection over union of two boxes that are kept, where the family has such an argument.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Candidates:
    """Boxes that pass the threshold, in groups that are suppressed apart: the classes of each chip, or the chip itself.

    Attributes:
        boxes: (groups, k, 4), the best ones of each group first.
        scores: (groups, k).
        classes: (groups, k).
        is_there: (groups, k), False for what only fills a row.
        chips: How many; groups lie chip by chip.
    """

    boxes: torch.Tensor
    scores: torch.Tensor
    classes: torch.Tensor
    is_there: torch.Tensor
    chips: int

    @classmethod
    def of(cls, boxes: torch.Tensor, scores: torch.Tensor, passes: torch.Tensor, most: int, classes: torch.Tensor) -> Candidates:
        """The best ones of each group.

        Args:
            boxes: (chips, n, 4).
            scores: (chips, groups, n).
            passes: (chips, groups, n), which count.
            most: How many a group at most.
            classes: Anything that expands to (chips, groups, n).
        """
        k = min(most, int(passes.sum(2).max())) if passes.numel() else 0
        ranked = torch.where(passes, scores, torch.full_like(scores, -1.0))
        order = ranked.sort(dim=2, descending=True, stable=True).indices[..., :k]
        chips, groups, places = scores.shape
        shared = boxes[:, None].expand(chips, groups, places, 4)
        chosen = shared.gather(2, order[..., None].expand(*order.shape, 4))
        numbers = classes.expand_as(scores).gather(2, order)
        ranked, is_there = scores.gather(2, order), passes.gather(2, order)
        return cls(chosen.flatten(0, 1), ranked.flatten(0, 1), numbers.flatten(0, 1), is_there.flatten(0, 1), chips)

    def suppressed(self, is_duplicate: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """Which remain (groups, k) when duplicates of better ones are left out."""
        return suppressed(self.boxes, self.is_there, is_duplicate)

    def found(self, kept: torch.Tensor) -> list[Found]:
        """Those that are kept (groups, k), chip by chip."""
        groups, places = kept.nonzero(as_tuple=True)
        chip = groups // max(kept.shape[0] // self.chips, 1)
        counts = torch.bincount(chip, minlength=self.chips).tolist()
        parts = [each[groups, places].split(counts) for each in (self.boxes, self.scores, self.classes)]
        return [Found(*each) for each in zip(*parts)]
