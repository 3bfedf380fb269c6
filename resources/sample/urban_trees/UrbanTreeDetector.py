"""A Python raster function that finds the trees of towns as points, with torch alone.

A block holds a square of mini-tiles; each is as large as the network's input and shares `padding` pixels with its
neighbours. A tree belongs to the mini-tile whose unpadded part holds it, so that none is found twice.
"""

from __future__ import annotations

import json
import math
import os
from typing import Any

import numpy as np
import torch
from point_network import MULTIPLE, PointNetwork, peaks

Corner = tuple[int, int]
"""Row and column of the first pixel of a mini-tile in its block."""


class UrbanTreeDetector:
    """Points on trees in aerial images of 0.6 m with red, green, blue and near infrared."""

    def __init__(self) -> None:
        self.name = "Urban tree detector"
        self.description = "Finds trees as points in aerial images with four bands and a cell size of 0.6 m."

    def initialize(self, **scalars: Any) -> None:
        """Load the network onto the device."""
        if "model" not in scalars:
            return
        with open(scalars["model"], encoding="utf-8") as file:
            self.definition = json.load(file)
        device = scalars.get("device", -1)
        self.device = torch.device("cuda", device) if device >= 0 else torch.device("cpu")
        weights = os.path.join(os.path.dirname(scalars["model"]), self.definition["ModelFile"])
        self.network = PointNetwork(bands=len(self.definition["ExtractBands"]))
        self.network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self.network.eval().to(self.device, memory_format=torch.channels_last)

    def getParameterInfo(self) -> list[dict[str, Any]]:
        """Declare what users may set."""
        return [
            {"name": "raster", "dataType": "raster", "required": True, "displayName": "Raster",
             "description": "Aerial image, red, green, blue and near infrared, 8 bit, 0.6 m"},
            {"name": "model", "dataType": "string", "required": True, "displayName": "Model definition",
             "description": "Path of the .emd"},
            {"name": "device", "dataType": "numeric", "required": False, "displayName": "Device",
             "description": "Number of the GPU, -1 for the CPU"},
            {"name": "padding", "dataType": "GPLong", "value": 64, "required": False, "displayName": "Padding",
             "description": "Pixels at the border of each mini-tile that its neighbours see too, rounded down to a "
             "multiple of 16. Trees are reported by the mini-tile that holds them."},
            {"name": "threshold", "dataType": "GPDouble", "value": 0.3, "required": False,
             "displayName": "Confidence threshold", "domain": [0.0, 1.0],
             "description": "Less certain trees are left out."},
            {"name": "batch_size", "dataType": "GPLong", "value": 4, "required": False, "displayName": "Batch size",
             "description": "Mini-tiles that run at once: 1, 4, 9, 16, … Other numbers are rounded down. A GPU likes 16."},
        ]  # fmt: skip

    def getConfiguration(self, **scalars: Any) -> dict[str, Any]:
        """Answer the shape of a block; every mini-tile begins on the network's coarsest grid, so that all see alike."""
        self.padding = int(scalars["padding"]) // MULTIPLE * MULTIPLE
        self.threshold = float(scalars["threshold"])
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

    def getFields(self) -> str:
        """Declare the attributes of a tree."""
        kinds = {"OID": "OID", "Class": "String", "Confidence": "Double", "Shape": "Geometry"}
        fields = [{"name": name, "type": "esriFieldType" + kind, "alias": name} for name, kind in kinds.items()]
        return json.dumps({"fields": fields})

    def getGeometryType(self) -> int:
        """Points."""
        return 1

    def vectorize(self, **blocks: Any) -> dict[str, str]:
        """Find the trees of a block.

        Args:
            blocks: `raster_pixels`, uint8 (4, height, width), and `raster_mask`, uint8 alike, 0 where there is no data.

        Returns:
            A feature set of points; x and y are pixels from the top left of the unpadded block, y down.
        """
        pixels, mask = blocks["raster_pixels"], blocks["raster_mask"].min(axis=0) > 0
        steps = range(0, self.inner * self.side, self.inner)
        corners = [(row, column) for row in steps for column in steps if self._core(mask, (row, column)).any()]
        features = self._features(pixels, mask, corners) if corners else []
        return {"output_vectors": json.dumps({"geometryType": "esriGeometryPoint", "features": features})}

    def _core(self, mask: np.ndarray, corner: Corner) -> np.ndarray:
        row, column = corner[0] + self.padding, corner[1] + self.padding
        return mask[row : row + self.inner, column : column + self.inner]

    def _features(self, pixels: np.ndarray, mask: np.ndarray, corners: list[Corner]) -> list[dict[str, Any]]:
        """Trees on data in the unpadded part of their mini-tile, which has its left and upper edge and not the others."""
        images, places, scores = self._detect(*(self._tiles(array, corners) for array in (pixels, mask)))
        own = ((places >= self.padding) & (places < self.padding + self.inner)).all(axis=1)
        places = places + np.array(corners)[images, ::-1]
        own &= mask[places[:, 1], places[:, 0]]
        name = self.definition["Classes"][0]["Name"]
        return [
            {"attributes": {"Class": name, "Confidence": score}, "geometry": {"x": x, "y": y}}
            for (x, y), score in zip((places[own] - self.padding).tolist(), scores[own].tolist())
        ]

    def _tiles(self, array: np.ndarray, corners: list[Corner]) -> torch.Tensor:
        cuts = [array[..., row : row + self.tile, column : column + self.tile] for row, column in corners]
        return torch.from_numpy(np.stack(cuts)).to(self.device)

    @torch.inference_mode()
    def _detect(self, tiles: torch.Tensor, valid: torch.Tensor) -> list[np.ndarray]:
        """See `peaks`. Pixels without data are black: beside black the network finds the fewest trees that are none."""
        batch = tiles.float() / 255 * valid[:, None]
        heat = self.network(batch.contiguous(memory_format=torch.channels_last))
        return [found.cpu().numpy() for found in peaks(heat, self.threshold)]
