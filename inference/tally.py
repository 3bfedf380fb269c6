"""Turns what a function answered about a block into detections that count, and keeps count of all others."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import astuple, dataclass, field

from .blocks import Block
from .classes import ClassFilter
from .detections import Detections, georeferenced, in_grid, inside
from .featureset import FeatureSetDecoder
from .fields import Field
from .plan import InferencePlan


@dataclass
class Tally:
    """The counts of all blocks so far; a journal keeps them, so that a resumed run counts on.

    Attributes:
        plan: The run.
        decoder: Reads the answers; it counts what is wrong with them, and learns fields.
        classes: The classes that are wanted; None for all.
        outside: Detections that lie outside the extent.
        other_classes: Detections of other classes.
    """

    plan: InferencePlan
    decoder: FeatureSetDecoder
    classes: ClassFilter | None = None
    outside: int = field(default=0, init=False)
    other_classes: int = field(default=0, init=False)

    def take(self, payload: bytes, block: Block) -> Detections:
        """Those that count, of the wanted classes and inside the extent, in map coordinates.

        Raises:
            FeatureSetError: The answer is no feature set.
        """
        detections = in_grid(self.decoder.decode(payload), block.core)
        if self.classes is not None:
            wanted = detections.kept(self.classes.keep(detections.attributes, len(detections)))
            self.other_classes += len(detections) - len(wanted)
            detections = wanted
        found, extent = len(detections), self.plan.extent
        left, top = extent.column, extent.row
        detections = detections.kept(inside(detections, left, top, left + extent.width, top + extent.height))
        detections = georeferenced(detections, self.plan.source.grid.affine)
        if self.plan.region is not None:
            detections = detections.kept(inside(detections, *self.plan.region))
        self.outside += found - len(detections)
        return detections

    def to_text(self) -> str:
        """All counts, and the fields that were learned, as JSON."""
        learned = {key: astuple(value) for key, value in self.decoder.learned.items()}
        return json.dumps([self.outside, self.other_classes, dict(self.decoder.problems), learned])

    def restore(self, text: str) -> None:
        """Count on from what `to_text` gave."""
        self.outside, self.other_classes, problems, learned = json.loads(text)
        self.decoder.problems = Counter(problems)
        self.decoder.learned = {key: Field(*value) for key, value in learned.items()}
