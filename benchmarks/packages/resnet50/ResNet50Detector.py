"""A detector of the size of ResNet-50 with random weights: real work for a GPU, without anything to download."""

import json
import math

import torch
from torch import nn
from torch.nn import functional

MOST = 100  # boxes of a mini-tile


class Bottleneck(nn.Module):
    """Three convolutions beside a shortcut (He et al. 2015)."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.shortcut = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        """Add both ways."""
        return functional.relu(self.body(x) + self.shortcut(x))


def network():
    """ResNet-50's trunk and a head of a heat map with four distances at 1/32 of the size."""
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for stage, (width, count) in enumerate(zip((64, 128, 256, 512), (3, 4, 6, 3))):
        for number in range(count):
            layers.append(Bottleneck(inputs, width, 2 if stage and not number else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.Conv2d(inputs, 5, 1))


class ResNet50Detector:
    """Boxes of no meaning, at the price of a real detector."""

    def __init__(self):
        self.name, self.description = "ResNet-50 detector", "Random weights, for measuring"

    def initialize(self, **scalars):
        """Build the network on the device."""
        torch.manual_seed(0)
        device = scalars.get("device", -1)
        self.device = torch.device("cuda", device) if device >= 0 else torch.device("cpu")
        self.network = network().eval().to(self.device, memory_format=torch.channels_last)
        if device >= 0:
            self.network = self.network.half()
        self.dtype = next(self.network.parameters()).dtype

    def getParameterInfo(self):
        """Tile, padding and batch size."""
        values = {"tile": 512, "padding": 64, "batch_size": 16}
        arguments = [{"name": name, "dataType": "numeric", "value": value} for name, value in values.items()]
        return [{"name": "raster", "dataType": "raster"}, {"name": "model", "dataType": "string"}, *arguments]

    def getConfiguration(self, **scalars):
        """A square of mini-tiles."""
        self.tile, self.padding = int(scalars["tile"]), int(scalars["padding"])
        self.side = math.isqrt(int(scalars["batch_size"]))
        self.inner = self.tile - 2 * self.padding
        return {"tx": self.inner * self.side, "ty": self.inner * self.side, "padding": self.padding, "inputMask": True}

    def getFields(self):
        """Class and confidence."""
        return '{"fields": [{"name": "Class", "type": "esriFieldTypeString"}, {"name": "Confidence", "type": "esriFieldTypeDouble"}]}'

    def getGeometryType(self):
        """Polygons."""
        return 4

    @torch.inference_mode()
    def vectorize(self, **blocks):
        """Cut the block into mini-tiles on the device, run them, keep the best boxes; tells the GPU's own time."""
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2)) if self.device.type == "cuda" else (None, None)
        if start:
            start.record()
        block = torch.from_numpy(blocks["raster_pixels"]).to(self.device, non_blocking=True)
        tiles = block.unfold(1, self.tile, self.inner).unfold(2, self.tile, self.inner)
        tiles = tiles.permute(1, 2, 0, 3, 4).reshape(-1, block.shape[0], self.tile, self.tile)
        batch = (tiles.to(self.dtype) / 255 - 0.45).contiguous(memory_format=torch.channels_last)
        answer = self.network(batch).float()
        scores, places = answer[:, 0].flatten(1).sigmoid().topk(MOST)
        if start:
            end.record()
        scores, places = scores.cpu().tolist(), places.cpu().tolist()
        if start:
            print(f"gpu_seconds {start.elapsed_time(end) / 1000:.6f}")
        columns = answer.shape[3]
        features = []
        for number, (tile_scores, tile_places) in enumerate(zip(scores, places)):
            top, left = (index * self.inner - self.padding for index in divmod(number, self.side))
            for score, place in zip(tile_scores, tile_places):
                x, y = left + place % columns * 32, top + place // columns * 32
                ring = [[x, y], [x + 24, y], [x + 24, y + 24], [x, y + 24], [x, y]]
                features.append({"attributes": {"Class": "Thing", "Confidence": score}, "geometry": {"rings": [ring]}})
        return {"output_vectors": json.dumps({"features": features})}
