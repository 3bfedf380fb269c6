"""Reads what suppression looks at of a layer: geometry, confidence and class of each feature."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qgis.core import QgsFeature, QgsProcessingException, QgsProcessingFeatureSource, QgsVariantUtils

from ..inference.fields import find_name
from ..inference.translation import tr
from .features import features_in, plain_wkb
from .task import TaskFeedback

PORTION = 1000


@dataclass(frozen=True)
class DetectedLayer:
    """Struct of arrays, one entry a feature that has a geometry.

    Attributes:
        ids: (n,) int64, of the features.
        geometries: (n,) shapely geometries in the layer's CRS.
        confidence: (n,) float; NaN where there is none.
        classes: (n,) text; all empty where no field tells the class.
    """

    ids: Any
    geometries: Any
    confidence: Any
    classes: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "_places", {int(number): place for place, number in enumerate(self.ids)})

    def place_of(self, number: int) -> int | None:
        """The entry of the feature with an id; None for one without geometry."""
        places: dict[int, int] = self._places  # type: ignore[attr-defined]
        return places.get(number)


def read_detections(
    source: QgsProcessingFeatureSource, confidence: str, class_field: str, told: TaskFeedback, check: Callable[[], None]
) -> DetectedLayer:
    """Read a layer.

    Args:
        source: The layer.
        confidence: Name of the field with the confidence; numbers, also as text.
        class_field: Alike of the class; empty for Classvalue or Value, where there is one (CONTRACT 6).
        told: Told of features without confidence.
        check: Called now and then; raises when the user stopped the run.

    Raises:
        QgsProcessingException: A field is not there.
    """
    import numpy as np
    import shapely

    from ..inference.featureset import CLASS_FALLBACKS, confidence_of

    names = source.fields().names()
    score = names.index(_existing(names, confidence, "CONFIDENCE_FIELD"))
    kind = _class_index(names, class_field, CLASS_FALLBACKS)
    ids, scores = array("q"), array("d")
    classes: list[str] = []
    shapes: list[Any] = []
    written: list[bytes] = []
    for feature in features_in(source):
        wkb = plain_wkb(feature.geometry())
        if wkb is None:
            continue
        if not len(ids) % PORTION:
            check()
        ids.append(feature.id())
        written.append(wkb)
        scores.append(confidence_of(_value(feature, score)))
        classes.append("" if kind is None else _text(_value(feature, kind)))
        if len(written) == PORTION:
            shapes.append(shapely.from_wkb(written, on_invalid="ignore"))
            written = []
    shapes.append(shapely.from_wkb(np.array(written, object), on_invalid="ignore"))
    numbers, geometries = np.array(scores, float), np.concatenate(shapes)
    unreadable = int(shapely.is_missing(geometries).sum())
    if unreadable:
        told.warning(
            tr("{count} features have a geometry that cannot be read, such as a ring that is not closed; they stay.",
               count=unreadable)
        )  # fmt: skip
    without = int(np.isnan(numbers).sum())
    if without:
        told.warning(
            tr("{count} features have no number in {name}, so they lose against all others.", count=without, name=names[score])
        )
    return DetectedLayer(np.array(ids, np.int64), geometries, numbers, np.array(classes, object))


def _existing(names: list[str], wanted: str, parameter: str) -> str:
    found = find_name(names, wanted)
    if found is None:
        raise QgsProcessingException(
            tr("{parameter} is {wanted}, but the layer has only these fields: {names}. Choose one of them.", parameter=parameter,
               wanted=wanted or tr("(none)"), names=", ".join(names) or tr("none"))
        )  # fmt: skip
    return found


def _class_index(names: list[str], wanted: str, fallbacks: tuple[str, ...]) -> int | None:
    if wanted:
        return names.index(_existing(names, wanted, "CLASS_FIELD"))
    found = next((name for name in (find_name(names, each) for each in fallbacks) if name is not None), None)
    return None if found is None else names.index(found)


def _value(feature: QgsFeature, index: int) -> object:
    value = feature.attribute(index)
    return None if QgsVariantUtils.isNull(value) else value


def _text(value: object) -> str:
    return "" if value is None else str(value)
