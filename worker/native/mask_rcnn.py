"""Mask R-CNN (He et al. 2017), as torchvision builds it (BSD-3-Clause). Facts: ARCGIS_LEARN 4."""

from __future__ import annotations

from .rcnn import RegionDetector


class MaskRCNN(RegionDetector):
    """Boxes with masks; there is no argument nms_overlap, so suppression stays as the definition says."""

    ARCHITECTURE, KEYWORDS = "MaskRCNN", "MaskRCNNkwargs"
    THRESHOLD, BATCH = 0.9, 4
    finds_masks = True
    """Whether masks are wanted; boxes alone take less time and memory."""

    def _prepare(self, threshold: float, max_overlap: float) -> None:  # noqa: ARG002
        self.network.roi_heads.score_thresh = threshold
        self.network.roi_heads.has_mask = lambda: self.finds_masks
