"""Networks of packages that were trained in ArcGIS, rebuilt from public originals: no code of the package runs."""

from __future__ import annotations

from typing import Any


def create(family: str, is_contained: bool = True) -> Any:  # noqa: ANN401 - one of several classes
    """The raster function of a family (see `families`); what it needs is imported now.

    Args:
        family: As in `families`.
        is_contained: Whether a sandbox is around this process, or the user trusts the package.
    """
    from .object_classifier import ObjectClassifier
    from .object_detector import ObjectDetector

    if family == "FeatureClassifier":
        from .feature_classifier import FeatureClassifier

        return ObjectClassifier(FeatureClassifier, is_contained)
    if family == "MaskRCNN":
        from .instance_detector import InstanceDetector
        from .mask_rcnn import MaskRCNN

        return InstanceDetector(MaskRCNN, is_contained)
    from .faster_rcnn import FasterRCNN
    from .retinanet import RetinaNet
    from .single_shot_detector import SingleShotDetector
    from .yolov3 import YOLOv3

    detectors = {each.__name__: each for each in (FasterRCNN, RetinaNet, SingleShotDetector, YOLOv3)}
    return ObjectDetector(detectors[family], is_contained)
