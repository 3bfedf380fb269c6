"""Turns what a function answered about a block into detections that count, and keeps count of all others."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import astuple, dataclass, field
from typing import Any

from numpy.typing import NDArray

from .blocks import Block
from .classes import ClassFilter
from .detections import Detections, georeferenced, in_grid, inside, within
from .featureset import FeatureSetDecoder
from .fields import Field
from .gaps import Gaps
from .grid import Window
from .lanes import BlockTask
from .plan import InferencePlan
from .reprojection import Reprojection
from .translation import tr
from .worker import Reply

OUTSIDE, OTHER_CLASSES = "outside", "other classes"
"""Among the counts of a tally, beside the problems of its decoder."""


@dataclass
class Tally:
    """The counts of all blocks so far; a journal keeps them, so that a resumed run counts on.

    Attributes:
        plan: The run.
        decoder: Reads the answers; it counts what is wrong with them, and learns fields.
        classes: The classes that are wanted; None for all.
        outside: Detections that lie outside the extent.
        other_classes: Detections of other classes.
        gaps: What could not be read.
    """

    plan: InferencePlan
    decoder: FeatureSetDecoder
    classes: ClassFilter | None = None
    outside: int = field(default=0, init=False)
    other_classes: int = field(default=0, init=False)

    _again: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        self.gaps = Gaps([item.extent for item in self.plan.items], self._place, self.plan.max_missing)
        grids = [item.source.grid for item in self.plan.items]
        known = {crs: Reprojection.between(crs, self.plan.crs) for crs in {grid.crs for grid in grids}}
        self._reprojections = [known[grid.crs] for grid in grids]

    def _place(self, item: int, window: Window) -> NDArray[Any]:
        return self.plan.items[item].source.grid.affine.middle_of(window)

    def where(self, block: Block) -> str:
        """Where a block lies, for users."""
        return tr("At the block at column {column}, row {row}", column=block.core.column, row=block.core.row)

    def take(self, reply: Reply, task: BlockTask) -> Detections:
        """Those that count, of the wanted classes and inside the extent, in map coordinates.

        Raises:
            FeatureSetError: The answer is no feature set.
        """
        before = self._counts()
        detections = self._counting(self.decoder.decode(reply.payload), task.block)
        if task.gap is not None:
            self._again.update(self._counts() - before)
        return detections

    def _counts(self) -> Counter[str]:
        return Counter({OUTSIDE: self.outside, OTHER_CLASSES: self.other_classes}) + self.decoder.problems

    def _counting(self, detections: Detections, block: Block) -> Detections:
        detections = in_grid(detections, block.core)
        if self.classes is not None:
            wanted = detections.kept(self.classes.keep(detections.attributes, len(detections)))
            self.other_classes += len(detections) - len(wanted)
            detections = wanted
        found, item = len(detections), self.plan.items[block.item]
        left, top = item.extent.column, item.extent.row
        detections = detections.kept(inside(detections, left, top, left + item.extent.width, top + item.extent.height))
        detections = georeferenced(detections, item.source.grid.affine)
        if item.region is not None:
            detections = detections.kept(inside(detections, *item.region))
        if item.mask is not None:
            detections = detections.kept(within(detections, item.mask))
        self.outside += found - len(detections)
        reprojection = self._reprojections[block.item]
        return detections if reprojection is None else georeferenced(detections, reprojection)

    def to_text(self) -> str:
        """All counts, and the fields that were learned, as JSON; without the blocks with gaps, which count anew."""
        learned = {key: astuple(value) for key, value in self.decoder.learned.items()}
        kept = self._counts() - self._again
        counts = [kept.pop(OUTSIDE, 0), kept.pop(OTHER_CLASSES, 0), dict(kept)]
        return json.dumps({"counts": counts, "learned": learned, "gaps": self.gaps.to_json()})

    def restore(self, text: str) -> None:
        """Count on from what `to_text` gave."""
        kept = json.loads(text)
        self.outside, self.other_classes, problems = kept["counts"]
        self.decoder.problems = Counter(problems)
        self.decoder.learned = {key: Field(*value) for key, value in kept["learned"].items()}
