"""What a function answers about chips: one feature for each, in their order, which is the only link (CONTRACT 3.6)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..classes import VALUE_FIELDS, ClassLookup, ModelClass
from ..errors import FeatureSetError
from ..featureset import features_of, scalar
from ..fields import Field, find_name, is_own, widened
from ..translation import tr

LABEL_FIELDS = ("label", "classname", "class", "caption", *VALUE_FIELDS)
"""Attributes that hold the label, best first, in lower case."""
CONFIDENCE = "confidence"
MOST_FIELDS, LONGEST_NAME, LONGEST_LABEL = 200, 100, 10_000
"""Further attributes of a function, characters of their names, and of a label; what is beyond is left out."""


class Answer(NamedTuple):
    """What a function says of a feature; `extras` are its further attributes, by the lower case of their names."""

    label: str | None
    confidence: str | float | None
    extras: dict[str, Any]


@dataclass(frozen=True)
class Labels:
    """Answers about some features, as the journal keeps them: number of the feature, item, and the answer as JSON."""

    rows: list[tuple[int, int, str]]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass
class LabelDecoder:
    """Turns answers into labels, learning the fields that the function did not declare.

    Attributes:
        fields: Declared fields, by casefolded name.
        classes: Of the model definition, for functions that answer numbers.
        learned: Fields that only occurred, alike.
        used: Which fields were taken for the label.
        has_text: Whether a confidence is several numbers, as where a chip has several labels.
        left_out: Whether there were too many attributes, or some with too long names.
    """

    fields: Mapping[str, Field]
    classes: Sequence[ModelClass]
    learned: dict[str, Field] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    has_text: bool = False
    left_out: bool = False

    def __post_init__(self) -> None:
        declared = next((name for name in LABEL_FIELDS if name in self.fields), None)
        self.used |= {declared} if declared else set()

    @property
    def extra_fields(self) -> dict[str, Field]:
        """What the function gives beside label and confidence, by casefolded name: declared ones first."""
        known = {**self.fields, **{name: self.learned[name] for name in sorted(self.learned)}}
        return {name: each for name, each in known.items() if name not in self.used and name != CONFIDENCE}

    def decode(self, payload: bytes, count: int, batch: int) -> list[Answer]:
        """The answers about a batch.

        Args:
            payload: Feature set as JSON text.
            count: Chips that were sent.
            batch: Chips that a full batch has: some functions answer as many however few were sent.

        Raises:
            FeatureSetError: It is no feature set, or tells of another number of features.
        """
        features = features_of(payload)
        if not count <= len(features) <= max(count, batch):
            raise FeatureSetError(
                tr("the function answered {found} features for {count} chips, so nobody can tell which is which",
                   found=len(features), count=count)
            )  # fmt: skip
        return [self._answer(feature) for feature in features[:count]]

    def _answer(self, feature: object) -> Answer:
        raw = feature.get("attributes") if isinstance(feature, dict) else None
        attributes = {name: scalar(value) for name, value in (raw if isinstance(raw, dict) else {}).items()}
        label_name = self._label_name(attributes)
        confidence_name = find_name(attributes, CONFIDENCE)
        extras = {}
        for name, value in attributes.items():
            if name not in (label_name, confidence_name) and not is_own(name) and self._learns(name, value):
                extras[name.casefold()] = value
        confidence = None if confidence_name is None else self._confidence(attributes[confidence_name])
        return Answer(self._label(label_name, attributes), confidence, extras)

    def _label_name(self, attributes: Mapping[str, Any]) -> str | None:
        by_folded = {name.casefold(): name for name in attributes}
        found = next((name for name in LABEL_FIELDS if name in by_folded), None)
        if found is None:
            return None
        self.used.add(found)
        return by_folded[found]

    def _label(self, name: str | None, attributes: Mapping[str, Any]) -> str | None:
        value = None if name is None else attributes[name]
        if name is None or value is None:
            return None
        known = ClassLookup(self.classes, name).find(value) if name.casefold() in VALUE_FIELDS else None
        return (str(value) if known is None else known.name)[:LONGEST_LABEL]

    def _confidence(self, value: object) -> str | float | None:
        if value is None or isinstance(value, bool):
            return None
        try:
            number = float(str(value).replace(",", "."))
        except (ValueError, OverflowError):
            if ";" not in str(value):
                return None
            self.has_text = True
            return str(value)[:LONGEST_LABEL]
        return number if math.isfinite(number) else None

    def _learns(self, name: str, value: object) -> bool:
        """Whether an attribute has a field, which it gets unless there are too many."""
        key = name.casefold()
        if key in self.fields:
            return True
        if key not in self.learned and (len(self.learned) >= MOST_FIELDS or len(name) > LONGEST_NAME):
            self.left_out = True
            return False
        self.learned[key] = widened(self.learned.get(key, Field(name, "long", name)), value)
        return True


def to_text(answer: Answer) -> str:
    """An answer as JSON."""
    return json.dumps(answer, default=str)


def from_text(text: str) -> Answer:
    """What `to_text` gave."""
    return Answer(*json.loads(text))
