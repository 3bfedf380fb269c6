"""Faster R-CNN (Ren et al. 2015), as torchvision builds it (BSD-3-Clause). Facts: ARCGIS_LEARN 4."""

from __future__ import annotations

from .rcnn import RegionDetector


class FasterRCNN(RegionDetector):
    """Boxes; suppression is class by class."""

    ARCHITECTURE, KEYWORDS = "FasterRCNN", "Kwargs"

    def _prepare(self, threshold: float, max_overlap: float) -> None:
        self.network.roi_heads.score_thresh, self.network.roi_heads.nms_thresh = threshold, max_overlap
