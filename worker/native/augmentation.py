"""Test-time augmentation: the network looks at turned and mirrored chips too, and what it says is merged.

A wrapper of ArcGIS looks at eight views of images from above, and at two of images that have an upper end (CONTRACT 2,
ImageSpaceUsed). How Esri merges boxes is not known; here the better one of two that overlap counts, as in one view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from .boxes import overlap, suppressed
from .network import Found

SAME_OBJECT = 0.5
"""Boxes of two views that overlap by more are the same object's."""
SIDE_STEP = 32
"""Scaled chips have sides that are multiples of it, as networks halve them five times."""
POLICIES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": lambda values: values.mean(0),
    "max": lambda values: values.amax(0),
    "min": lambda values: values.amin(0),
}
"""What becomes of the confidences of an object's views."""


@dataclass(frozen=True)
class View:
    """A chip mirrored (left for right) or not, then turned by so many right angles."""

    turns: int = 0
    is_mirrored: bool = False

    def of(self, chips: torch.Tensor) -> torch.Tensor:
        """Chips or masks (…, height, width) as the network sees them."""
        return torch.rot90(chips.flip(-1) if self.is_mirrored else chips, self.turns, (-2, -1))

    def undone(self, found: Found, side: int) -> Found:
        """What was found, in pixels of the chip itself."""
        boxes = found.boxes
        for _ in range(self.turns):
            y1, x1, y2, x2 = boxes.unbind(-1)
            boxes = torch.stack([x1, side - y2, x2, side - y1], -1)
        if self.is_mirrored:
            y1, x1, y2, x2 = boxes.unbind(-1)
            boxes = torch.stack([y1, side - x2, y2, side - x1], -1)
        masks = found.masks
        if masks is not None:
            masks = torch.rot90(masks, -self.turns, (-2, -1))
            masks = masks.flip(-1) if self.is_mirrored else masks
        return replace(found, boxes=boxes, masks=masks)


def views(is_map_space: bool) -> list[View]:
    """All eight, or as it is and mirrored where images have an upper end."""
    if not is_map_space:
        return [View(), View(is_mirrored=True)]
    return [View(turns, mirrored) for mirrored in (False, True) for turns in range(4)]


def looked_at(
    detect: Callable[[torch.Tensor], list[Found]], chips: torch.Tensor, angles: Sequence[View], scales: Sequence[float]
) -> list[list[Found]]:
    """What was found in each chip, view by view, in pixels of the chip."""
    side = chips.shape[-1]
    seen: list[list[Found]] = [[] for _ in range(len(chips))]
    for scale in scales:
        scaled_side = side if scale == 1 else max(round(side * scale / SIDE_STEP), 1) * SIDE_STEP
        size = (scaled_side, scaled_side)
        scaled = chips if scaled_side == side else functional.interpolate(chips, size=size, mode="bilinear", antialias=True)
        for view in angles:
            for place, found in enumerate(detect(view.of(scaled).clone())):
                seen[place].append(rescaled(view.undone(found, scaled_side), scaled_side, side))
    return seen


def merged_boxes(seen: Sequence[Found], max_overlap: float, by_class: bool) -> Found:
    """Of boxes that overlap by more than `max_overlap`, the most certain one."""
    boxes, scores, classes = (torch.cat([getattr(found, name) for found in seen]) for name in ("boxes", "scores", "classes"))
    order = scores.sort(descending=True, stable=True).indices
    kept = torch.zeros_like(scores, dtype=torch.bool)
    for number in classes.unique().tolist() if by_class else [None]:
        own = order if number is None else order[classes[order] == number]
        alone = torch.ones((1, len(own)), dtype=torch.bool, device=boxes.device)
        kept[own] = suppressed(boxes[own][None], alone, lambda ratios: ratios > max_overlap)[0]
    left = order[kept[order]]
    return Found(boxes[left], scores[left], classes[left])


def merged_masks(seen: Sequence[Found], policy: str) -> Found:
    """Objects of all views: those of one class whose boxes overlap by more than half are one, merged by the policy.

    Views that do not see an object play no part in it. Where no masks are wanted, there are none.
    """
    boxes, scores, classes = (torch.cat([getattr(found, name) for found in seen]) for name in ("boxes", "scores", "classes"))
    looked = [found.masks for found in seen if found.masks is not None]
    masks = torch.cat(looked) if looked else None
    left = scores.sort(descending=True, stable=True).indices
    merge, parts = POLICIES[policy], []
    while len(left):
        same = (overlap(boxes[left[:1]], boxes[left])[0] > SAME_OBJECT) & (classes[left] == classes[left[0]])
        same[0] = True
        own = left[same]
        merged = () if masks is None else (merge(masks[own]),)
        parts.append((boxes[own].mean(0), merge(scores[own]), classes[own[0]], *merged))
        left = left[~same]
    if not parts:
        return Found(boxes, scores, classes, masks)
    return Found(*(torch.stack(values) for values in zip(*parts)))


def rescaled(found: Found, scaled: int, side: int) -> Found:
    """What was found in a chip of the side `scaled`, in pixels of one of the side `side`."""
    if scaled == side:
        return found
    masks = found.masks
    if masks is not None and len(masks):
        masks = functional.interpolate(masks[:, None], size=(side, side), mode="bilinear")[:, 0]
    elif masks is not None:
        masks = masks.new_zeros((0, side, side))
    return replace(found, boxes=found.boxes * (side / scaled), masks=masks)
