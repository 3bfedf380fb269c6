"""What a model is for: each kind has its own algorithm."""

from __future__ import annotations

from .definition import ModelDefinition
from .errors import PackageError
from .feedback import Feedback
from .translation import tr

DETECTORS = frozenset(["objectdetection", "objectiondetection", "instancedetection", "panopticsegmenter", "objecttracking"])
CLASSIFIERS = frozenset(["objectclassification", "objectclassifier", "imagecaptioner"])
"""Values of ModelType in lower case, as they are written in reality (CONTRACT 2)."""


def check_purpose(definition: ModelDefinition, classifies: bool, feedback: Feedback) -> None:
    """Refuse a model that the other algorithm is for; of any other kind, the function itself shows whether it works.

    Args:
        definition: Of the package.
        classifies: Whether features are to be classified, and not objects detected.
        feedback: Told of a kind that is none of both.

    Raises:
        PackageError: It is for the other one.
    """
    kind = definition.model_type.lower()
    if kind in (DETECTORS if classifies else CLASSIFIERS):
        other = "dlpk:detectobjects" if classifies else "dlpk:classifyobjects"
        does = tr("detects objects in a raster") if classifies else tr("classifies objects that are there already")
        raise PackageError(
            tr("The model {name} ({kind}) {does}. Run it with {other} instead.", name=definition.name,
               kind=definition.model_type, does=does, other=other)
        )  # fmt: skip
    if kind and kind not in (CLASSIFIERS if classifies else DETECTORS):
        feedback.warning(
            tr("The model is of the type {kind}, which is not known to work here. If it fails, this is the reason.",
               kind=definition.model_type)
        )  # fmt: skip
