"""Which network a model definition of ArcGIS names, and whether it was rebuilt here; nothing is loaded for that.

The engine asks this, too, so it knows neither torch nor anything else of the worker (CONTRACT 2, ARCGIS_LEARN 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PREFIX = "native:"
"""Before the family's name, where the host asks for a function."""
FORMAT = 1
"""Raised when networks come to answer otherwise, or to take other arguments: what was noted before counts no longer."""
FRAMEWORK = "arcgis.learn"
WRAPPERS = frozenset(["arcgisobjectdetector", "arcgisinstancedetector", "arcgisobjectclassifier"])
"""Stems of the raster functions that arcgis.learn writes into packages, in lower case."""
TOKEN = "[functions]"  # nosec B105 - no password: how definitions name a function that comes with ArcGIS
CONFIGURATIONS = {
    "_maskrcnn_inferencing": "MaskRCNN",
    "_retinanet_inference": "RetinaNet",
    "_dynamicssd": "SingleShotDetector",
    "_yolov3_inference": "YOLOv3",
    "_featureclassifier": "FeatureClassifier",
}
"""Families by ModelConfiguration, in lower case."""
EXTENSION = "_model_extension_inferencing"
"""ModelConfiguration of many families; ModelName tells them apart."""
EXTENSIONS = {"fasterrcnn": "FasterRCNN"}
"""Families by ModelName, in lower case."""
COLOURS = 3
LONGEST_NAME = 200
NEEDS_TORCHVISION = frozenset(["MaskRCNN", "FasterRCNN"])


@dataclass(frozen=True)
class Trained:
    """What ArcGIS trained.

    Attributes:
        family: Its name, as ArcGIS calls it.
        obstacle: Why it cannot run natively; empty where it can.
    """

    family: str
    obstacle: str = ""


def trained(definition: Mapping[str, Any], brings_child: bool) -> Trained | None:
    """What a definition names, or None where ArcGIS did not train it, or a program of the package's own does more with it.

    Args:
        definition: The .emd.
        brings_child: Whether the package holds the module that its ModelConfiguration names.
    """
    framework, child = _text(definition, "Framework").lower(), _configuration(definition)
    is_framework = framework == FRAMEWORK or framework.startswith(f"{FRAMEWORK}.")
    function = _text(definition, "InferenceFunction").replace("\\", "/").lower()
    stem = function.rsplit("/", 1)[-1].removesuffix(".py")
    is_stock = stem in WRAPPERS or function.startswith(TOKEN) or (not function and is_framework)
    family = _family(definition, child)
    if family and is_stock and (is_framework or not brings_child):
        return Trained(family, _obstacle(definition, family))
    if is_framework and is_stock:
        name = _shown(_text(definition, "ModelName") or child or "?")
        if name in known():
            name = _shown(f"{name} ({child or '?'})")
        return Trained(name, f"{name} is not among the networks that the plugin has rebuilt ({', '.join(sorted(known()))})")
    return None


def network_of(function: str) -> str:
    """The family that a host asks for by a function's name; empty where it asks for a package's own."""
    return function[len(PREFIX) :] if function.startswith(PREFIX) else ""


def known() -> set[str]:
    """The families that were rebuilt."""
    return {*CONFIGURATIONS.values(), *EXTENSIONS.values()}


def _family(definition: Mapping[str, Any], child: str) -> str:
    if child.lower() == EXTENSION:
        return EXTENSIONS.get(_text(definition, "ModelName").lower(), "")
    return CONFIGURATIONS.get(child.lower(), "")


def _obstacle(definition: Mapping[str, Any], family: str) -> str:
    parameters = definition.get("ModelParameters")
    points = parameters.get("pointrend") if isinstance(parameters, Mapping) else None
    if family == "MaskRCNN" and str(points).lower() in ("true", "1"):
        return "it has the mask head PointRend, which the plugin has not rebuilt"
    if kind := _shown(definition.get("Preprocessing") or ""):
        return f"it wants pixels as {kind} prepares them, which the plugin does not know"
    bands = definition.get("ExtractBands")
    is_other = isinstance(bands, list) and len(bands) != COLOURS
    if is_other and family != "YOLOv3" and not definition.get("NormalizationStats"):
        return f"it takes {len(bands or ())} band(s) but has no NormalizationStats; without these, only colours are known"
    return ""


def _configuration(definition: Mapping[str, Any]) -> str:
    value = definition.get("ModelConfiguration")
    return str(value.get("Name") or "") if isinstance(value, Mapping) else str(value or "")


def _shown(value: object) -> str:
    """A value for messages: on one line, and not endless."""
    return " ".join(str(value).split())[:LONGEST_NAME]


def _text(definition: Mapping[str, Any], key: str) -> str:
    value = definition.get(key)
    return value.strip() if isinstance(value, str) else ""
