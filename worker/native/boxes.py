"""Boxes as tensors (…, 4) of y1, x1, y2, x2: how much they overlap, and which of those that overlap are kept."""

from __future__ import annotations

from collections.abc import Callable

import torch

STEP = 128
"""Boxes that are compared with each other at once: time and memory grow with it where few are kept."""
SMALLEST = torch.finfo(torch.float32).tiny
"""An area that changes no ratio, and that can be divided by."""


def overlap(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Intersection over union of all pairs: (…, n, 4) and (…, m, 4) give (…, n, m); 0 where both have no area."""
    areas = [(each[..., 2:] - each[..., :2]).prod(-1) for each in (first, second)]
    one, two = first[..., :, None, :].unbind(-1), second[..., None, :, :].unbind(-1)
    height = torch.minimum(one[2], two[2]).sub_(torch.maximum(one[0], two[0])).clamp_(min=0)
    width = torch.minimum(one[3], two[3]).sub_(torch.maximum(one[1], two[1])).clamp_(min=0)
    common = height.mul_(width)
    union = (areas[0][..., :, None] + areas[1][..., None, :]).sub_(common).clamp_(min=SMALLEST)
    return common.div_(union)


def suppressed(boxes: torch.Tensor, is_there: torch.Tensor, is_duplicate: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Which boxes remain when those that overlap a better one are left out, for many groups at once.

    STEP boxes at a time: what better ones cover that were kept before is left out; among the rest, the greedy rule has
    one fixed point - a box is kept when no kept better one makes it a duplicate - which is found in a few rounds over
    a whole matrix, instead of box by box.

    Args:
        boxes: (groups, n, 4), the best ones of each group first.
        is_there: (groups, n), False for what only fills a row.
        is_duplicate: Tells from overlaps which are too large.

    Returns:
        (groups, n), True for those that remain.
    """
    kept = is_there.clone()
    better, is_better = boxes[:, :0], kept[:, :0]
    for start in range(0, boxes.shape[1], STEP):
        own, alive = boxes[:, start : start + STEP], kept[:, start : start + STEP]
        if better.shape[1]:
            alive &= ~(is_duplicate(overlap(better, own)) & is_better[..., None]).any(1)
        alive.copy_(_fixed_point(is_duplicate(overlap(own, own)).triu_(1), alive))
        found, is_found = _compact(own, alive)
        better, is_better = torch.cat([better, found], 1), torch.cat([is_better, is_found], 1)
    return kept


def _fixed_point(covers: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
    """Of candidates (groups, n), those that no kept one covers (groups, n, n; only later ones)."""
    kept = candidates
    while True:
        left = candidates & ~(covers & kept[..., None]).any(1)
        if torch.equal(left, kept):
            return left
        kept = left


def _compact(boxes: torch.Tensor, kept: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The kept boxes of each group side by side, in their order, and which of them are there."""
    most = int(kept.sum(1).max()) if kept.numel() else 0
    order = (~kept).to(torch.uint8).sort(dim=1, stable=True).indices[:, :most]
    return boxes.gather(1, order[..., None].expand(*order.shape, 4)), kept.gather(1, order)
