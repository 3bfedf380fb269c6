"""Reads what suppression looks at of a layer: geometry, confidence and class of each feature."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from qgis.core import QgsFeature, QgsProcessingException, QgsProcessingFeatureSource, QgsVariantUtils

from ..inference.fields import find_name
from ..inference.translation import tr
from .features import plain_wkb, portions
from .task import TaskFeedback


@dataclass(frozen=True)
class DetectedLayer:
    """Struct of arrays, one entry a feature that has a geometry which can be read.

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

    @cached_property
    def places(self) -> dict[int, int]:
        """The entry of each feature by its id."""
        return {int(number): place for place, number in enumerate(self.ids)}


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

    from ..inference.featureset import confidence_of

    names = source.fields().names()
    score = names.index(_existing(names, confidence, "CONFIDENCE_FIELD"))
    kind = _class_index(names, class_field)
    ids, scores = array("q"), array("d")
    classes: list[str] = []
    shapes = [np.empty(0, object)]
    for portion in portions(source):
        check()
        read = [(feature, wkb) for feature in portion if (wkb := plain_wkb(feature.geometry())) is not None]
        ids.extend(feature.id() for feature, _ in read)
        scores.extend(confidence_of(_value(feature, score)) for feature, _ in read)
        classes += ["" if kind is None else _text(_value(feature, kind)) for feature, _ in read]
        shapes.append(shapely.from_wkb(np.array([wkb for _, wkb in read], object), on_invalid="ignore"))
    geometries = np.concatenate(shapes)
    known = ~shapely.is_missing(geometries)
    unreadable = int((~known).sum())
    if unreadable:
        told.warning(
            tr("{count} features have a geometry that cannot be read, such as a ring that is not closed; they stay.",
               count=unreadable)
        )  # fmt: skip
    numbers = np.array(scores, float)[known]
    without = int(np.isnan(numbers).sum())
    if without:
        told.warning(
            tr("{count} features have no number in {name}, so they lose against all others.", count=without, name=names[score])
        )
    return DetectedLayer(np.array(ids, np.int64)[known], geometries[known], numbers, np.array(classes, object)[known])


def _existing(names: list[str], wanted: str, parameter: str) -> str:
    found = find_name(names, wanted)
    if found is None:
        raise QgsProcessingException(
            tr("{parameter} is {wanted}, but the layer has only these fields: {names}. Choose one of them.", parameter=parameter,
               wanted=wanted or tr("(none)"), names=", ".join(names) or tr("none"))
        )  # fmt: skip
    return found


def _class_index(names: list[str], wanted: str) -> int | None:
    from ..inference.featureset import class_name

    if wanted:
        _existing(names, wanted, "CLASS_FIELD")
    found = class_name(names, wanted)
    return None if found is None else names.index(found)


def _value(feature: QgsFeature, index: int) -> object:
    value = feature.attribute(index)
    return None if QgsVariantUtils.isNull(value) else value


def _text(value: object) -> str:
    return "" if value is None else str(value)
