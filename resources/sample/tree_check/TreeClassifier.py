"""A Python raster function that tells whether there is a tree at a place, with torch alone.

It shows the contract of object classifiers: a tuple of chips in, cut by the host around the features, and one
answer for each out, in the same order.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import torch
from chip_network import ChipNetwork


class TreeClassifier:
    """Tree or no tree, for points in aerial images of 0.6 m with red, green, blue and near infrared."""

    def __init__(self) -> None:
        self.name = "Tree classifier"
        self.description = "Tells whether there is a tree at a point, in aerial images with four bands and a cell size of 0.6 m."

    def initialize(self, **scalars: Any) -> None:
        """Load the network onto the device."""
        if "model" not in scalars:
            return
        with open(scalars["model"], encoding="utf-8") as file:
            self.definition = json.load(file)
        device = scalars.get("device", -1)
        self.device = torch.device("cuda", device) if device >= 0 else torch.device("cpu")
        weights = os.path.join(os.path.dirname(scalars["model"]), self.definition["ModelFile"])
        self.network = ChipNetwork(len(self.definition["ExtractBands"]), len(self.definition["Classes"]))
        self.network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self.network.eval().to(self.device)

    def getParameterInfo(self) -> list[dict[str, Any]]:
        """Declare what users may set."""
        return [
            {"name": "rasters", "dataType": "rasters", "required": True, "displayName": "Rasters",
             "description": "Aerial images, red, green, blue and near infrared, 8 bit, 0.6 m"},
            {"name": "model", "dataType": "string", "required": True, "displayName": "Model definition",
             "description": "Path of the .emd"},
            {"name": "device", "dataType": "numeric", "required": False, "displayName": "Device",
             "description": "Number of the GPU, -1 for the CPU"},
            {"name": "batch_size", "dataType": "GPLong", "value": 64, "required": False, "displayName": "Batch size",
             "description": "Features that are looked at at once."},
        ]  # fmt: skip

    def getConfiguration(self, **scalars: Any) -> dict[str, Any]:
        """Answer how chips are cut: of one size, around the middle of each feature, with all that is around it."""
        return {
            "extractBands": tuple(self.definition["ExtractBands"]),
            "padding": 0,
            "tx": int(self.definition["ImageWidth"]),
            "ty": int(self.definition["ImageHeight"]),
            "batch_size": int(scalars["batch_size"]),
            "CropSizeFixed": int(self.definition["CropSizeFixed"]),
            "BlackenAroundFeature": int(self.definition["BlackenAroundFeature"]),
            "fixedTileSize": 1,
            "inputMask": True,
        }

    def getFields(self) -> str:
        """Declare the attributes of an answer."""
        kinds = {"OID": "OID", "Label": "String", "Confidence": "Double", "Shape": "Geometry"}
        fields = [{"name": name, "type": "esriFieldType" + kind, "alias": name} for name, kind in kinds.items()]
        return json.dumps({"fields": fields})

    def getGeometryType(self) -> int:
        """Polygons: the outlines of the chips."""
        return 4

    def vectorize(self, **blocks: Any) -> dict[str, str]:
        """Classify chips.

        Args:
            blocks: `rasters_pixels`, a tuple with an array for each feature, uint8 (4, 32, 32), and `rasters_mask`,
                uint8 alike, 0 where there is no data.

        Returns:
            A feature set with one polygon for each chip, in their order; its coordinates are pixels of the chip, y down.
        """
        chips, mask = np.stack(blocks["rasters_pixels"]), np.stack(blocks["rasters_mask"]).min(axis=1) > 0
        height, width = chips.shape[-2:]
        outline = [[0, 0], [width, 0], [width, height], [0, height], [0, 0]]
        features = [
            {"attributes": {"Label": label, "Confidence": confidence}, "geometry": {"rings": [outline]}}
            for label, confidence in self._classify(chips, mask)
        ]
        return {"output_vectors": json.dumps({"geometryType": "esriGeometryPolygon", "features": features})}

    @torch.inference_mode()
    def _classify(self, chips: np.ndarray, valid: np.ndarray) -> list[tuple[str, float]]:
        """The likeliest class of each chip and its probability. Pixels without data are black."""
        batch, known = torch.from_numpy(chips).to(self.device), torch.from_numpy(valid).to(self.device)
        batch = batch.float() / 255 * known[:, None]
        confidences, classes = self.network(batch).softmax(1).max(1)
        names = [entry["Name"] for entry in self.definition["Classes"]]
        return [(names[index], confidence) for index, confidence in zip(classes.tolist(), confidences.tolist())]
