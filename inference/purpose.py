"""What a model is for: each kind has its own algorithm."""

from __future__ import annotations

from .definition import ModelDefinition
from .errors import PackageError
from .feedback import Feedback
from .translation import tr

DETECTORS = frozenset(["objectdetection", "objectiondetection", "instancedetection", "panopticsegmenter"])
CLASSIFIERS = frozenset(["objectclassification", "imagecaptioner"])
"""Values of ModelType in lower case, as they are written in reality (CONTRACT 2)."""
DETECT, CLASSIFY = "dlpk:detectobjects", "dlpk:classifyobjects"


def algorithm_for(model_type: str) -> str:
    """The algorithm for models of a type; empty where it is not known."""
    kind = model_type.lower()
    return DETECT if kind in DETECTORS else CLASSIFY if kind in CLASSIFIERS else ""


def check_purpose(definition: ModelDefinition, classifies: bool, feedback: Feedback) -> None:
    """Refuse a model that the other algorithm is for; of any other kind, the function itself shows whether it works.

    Args:
        definition: Of the package.
        classifies: Whether features are to be classified, and not objects detected.
        feedback: Told of a kind that is none of both.

    Raises:
        PackageError: It is for the other one.
    """
    found = algorithm_for(definition.model_type)
    if found and found != (CLASSIFY if classifies else DETECT):
        does = tr("detects objects in a raster") if classifies else tr("classifies objects that are there already")
        raise PackageError(
            tr("The model {name} ({kind}) {does}. Run it with {other} instead.", name=definition.name,
               kind=definition.model_type, does=does, other=found)
        )  # fmt: skip
    if definition.model_type and not found:
        feedback.warning(
            tr("The model is of the type {kind}, which is not known to work here. If it fails, this is the reason.",
               kind=definition.model_type)
        )  # fmt: skip
