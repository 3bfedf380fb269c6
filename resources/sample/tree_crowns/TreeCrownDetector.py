"""A Python raster function that finds tree crowns in aerial images, with torch alone.

It shows the whole contract on one page: arguments, configuration, fields, and blocks in, boxes out. A block holds
a square of mini-tiles; each is as large as the network's input and shares `padding` pixels with its neighbours.
"""

import json
import math
import os

import numpy as np
import torch
from crown_network import CrownNetwork, crowns

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


class TreeCrownDetector:
    """Boxes around tree crowns in RGB images of 0.1 m."""

    def __init__(self):
        self.name = "Tree crown detector"
        self.description = "Finds tree crowns in RGB aerial images with a cell size of 0.1 m."

    def initialize(self, **scalars):
        """Load the network onto the device."""
        if "model" not in scalars:
            return
        with open(scalars["model"], encoding="utf-8") as file:
            self.definition = json.load(file)
        device = scalars.get("device", -1)
        self.device = torch.device("cuda", device) if device >= 0 else torch.device("cpu")
        weights = os.path.join(os.path.dirname(scalars["model"]), self.definition["ModelFile"])
        self.network = CrownNetwork(classes=len(self.definition["Classes"]))
        self.network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self.network.eval().to(self.device, memory_format=torch.channels_last)
        self.mean, self.deviation = MEAN.to(self.device), DEVIATION.to(self.device)

    def getParameterInfo(self):
        """Declare what users may set."""
        return [
            {"name": "raster", "dataType": "raster", "required": True, "displayName": "Raster",
             "description": "Aerial image, red, green and blue, 8 bit, 0.1 m"},
            {"name": "model", "dataType": "string", "required": True, "displayName": "Model definition",
             "description": "Path of the .emd"},
            {"name": "device", "dataType": "numeric", "required": False, "displayName": "Device",
             "description": "Number of the GPU, -1 for the CPU"},
            {"name": "padding", "dataType": "GPLong", "value": 64, "required": False, "displayName": "Padding",
             "description": "Pixels at the border of each mini-tile that its neighbours see too. Crowns are reported "
             "by the mini-tile that holds their centre."},
            {"name": "threshold", "dataType": "GPDouble", "value": 0.35, "required": False,
             "displayName": "Confidence threshold", "domain": [0.0, 1.0],
             "description": "Less certain crowns are left out. 0.30 finds more of them, 0.35 finds fewer false ones."},
            {"name": "nms_overlap", "dataType": "GPDouble", "value": 0.3, "required": False,
             "displayName": "Overlap within a mini-tile", "domain": [0.0, 1.0],
             "description": "Of two crowns of a mini-tile whose overlap is larger, the less certain one is left out."},
            {"name": "batch_size", "dataType": "GPLong", "value": 4, "required": False, "displayName": "Batch size",
             "description": "Mini-tiles that run at once: 1, 4, 9, 16, … Other numbers are rounded down. A GPU likes 16."},
        ]  # fmt: skip

    def getConfiguration(self, **scalars):
        """Answer the shape of a block."""
        self.padding = int(scalars["padding"])
        self.threshold = float(scalars["threshold"])
        self.nms_overlap = float(scalars["nms_overlap"])
        self.side = max(math.isqrt(int(scalars["batch_size"])), 1)
        self.tile = int(self.definition["ImageHeight"])
        self.inner = self.tile - 2 * self.padding
        return {
            "extractBands": tuple(self.definition["ExtractBands"]),
            "padding": self.padding,
            "tx": self.inner * self.side,
            "ty": self.inner * self.side,
            "fixedTileSize": 1,
            "inputMask": True,
        }

    def getFields(self):
        """Declare the attributes of a crown."""
        kinds = {"OID": "OID", "Class": "String", "Confidence": "Double", "Shape": "Geometry"}
        fields = [{"name": name, "type": "esriFieldType" + kind, "alias": name} for name, kind in kinds.items()]
        return json.dumps({"fields": fields})

    def getGeometryType(self):
        """Polygons."""
        return 4

    def vectorize(self, **blocks):
        """Find the crowns of a block; coordinates are pixels from the top left of the unpadded block."""
        pixels, mask = blocks["raster_pixels"], blocks["raster_mask"].min(axis=0)
        corners = [(row * self.inner, column * self.inner) for row in range(self.side) for column in range(self.side)]
        corners = [corner for corner in corners if self._cut(mask, corner).any()]
        features = []
        if corners:
            valid = [self._cut(mask, corner) for corner in corners]
            boxes = self._detect(np.stack([self._cut(pixels, corner) for corner in corners]), np.stack(valid))
            for corner, tile_mask, (tile_boxes, scores, classes) in zip(corners, valid, boxes):
                features += self._features(corner, tile_mask, tile_boxes, scores, classes)
        return {"output_vectors": json.dumps({"geometryType": "esriGeometryPolygon", "features": features})}

    def _cut(self, array, corner):
        row, column = corner
        return array[..., row : row + self.tile, column : column + self.tile]

    @torch.inference_mode()
    def _detect(self, tiles, valid):
        """Boxes, scores and classes of each mini-tile. Pixels without data look like the mean colour."""
        batch = torch.from_numpy(tiles).to(self.device).float()
        batch = (batch / 255 - self.mean) / self.deviation * torch.from_numpy(valid).to(self.device)[:, None]
        heat, distances = self.network(batch.contiguous(memory_format=torch.channels_last))
        return crowns(heat, distances, self.threshold, self.nms_overlap)

    def _features(self, corner, valid, boxes, scores, classes):
        """Crowns whose centre is in the unpadded part of their mini-tile, cut at the edge of the data."""
        low, high = self.padding, self.padding + self.inner
        rows, columns = np.flatnonzero(valid.any(axis=1)), np.flatnonzero(valid.any(axis=0))
        limits = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        own = ((centres >= low) & (centres < high) & (centres >= limits[:2]) & (centres < limits[2:])).all(axis=1)
        boxes = np.clip(boxes, limits[:2] * 2, limits[2:] * 2)
        shift = np.array([corner[1], corner[0]] * 2) - self.padding
        return [
            self._feature(box, score, index)
            for box, score, index in zip((boxes[own] + shift).tolist(), scores[own].tolist(), classes[own])
        ]

    def _feature(self, box, score, index):
        left, top, right, bottom = box
        return {
            "attributes": {"Class": self.definition["Classes"][index]["Name"], "Confidence": score},
            "geometry": {"rings": [[[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]]},
        }
