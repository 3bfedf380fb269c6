"""Boxes as tensors (…, 4) of y1, x1, y2, x2: how much they overlap, and which of those that overlap are kept."""

from __future__ import annotations

from collections.abc import Callable

import torch

STEP = 512
"""Boxes that are compared with each other at once: memory grows with its square."""


def overlap(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Intersection over union of all pairs: (…, n, 4) and (…, m, 4) give (…, n, m); 0 where both have no area."""
    low = torch.maximum(first[..., :, None, :2], second[..., None, :, :2])
    high = torch.minimum(first[..., :, None, 2:], second[..., None, :, 2:])
    common = (high - low).clamp_(min=0).prod(-1)
    areas = [(each[..., 2:] - each[..., :2]).prod(-1) for each in (first, second)]
    union = areas[0][..., :, None] + areas[1][..., None, :] - common
    return torch.where(union > 0, common / union, torch.zeros_like(union))


def suppressed(boxes: torch.Tensor, is_there: torch.Tensor, is_duplicate: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Which boxes remain when those that overlap a better one are left out, for many groups at once.

    The greedy rule has one fixed point: a box is kept when no kept better one makes it a duplicate. It is
    found for STEP boxes at a time, in a few rounds over whole matrices, instead of box by box.

    Args:
        boxes: (groups, n, 4), the best ones of each group first.
        is_there: (groups, n), False for what only fills a row.
        is_duplicate: Tells from overlaps which are too large.

    Returns:
        (groups, n), True for those that remain.
    """
    kept = is_there.clone()
    for start in range(0, boxes.shape[1], STEP):
        end = min(start + STEP, boxes.shape[1])
        own = boxes[:, start:end]
        for before in range(0, start, STEP):
            better = boxes[:, before : before + STEP]
            covers = is_duplicate(overlap(better, own)) & kept[:, before : before + STEP, None]
            kept[:, start:end] &= ~covers.any(1)
        candidates = kept[:, start:end].clone()
        covers = is_duplicate(overlap(own, own)).triu(1)
        while True:
            left = candidates & ~(covers & kept[:, start:end, None]).any(1)
            if torch.equal(left, kept[:, start:end]):
                break
            kept[:, start:end] = left
    return kept
