"""Synthetic classifiers: an oracle that knows what it sees, and whatever a test replaces in it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from .packages import make_package

ORACLE = '''
import json

import numpy as np


class Function:
    """Labels a chip by the mean of its valid pixels in the first band."""

    def initialize(self, **scalars):
        with open(scalars["model"]) as file:
            self.definition = json.load(file)

    def getParameterInfo(self):
        return [
            {"name": "rasters", "dataType": "rasters", "required": True},
            {"name": "model", "dataType": "string", "required": True},
            {"name": "device", "dataType": "numeric", "required": False},
            {"name": "batch_size", "dataType": "numeric", "value": 4},
            {"name": "tx", "dataType": "numeric", "value": 16},
            {"name": "ty", "dataType": "numeric", "value": 12},
            {"name": "fixed", "dataType": "numeric", "value": 1},
            {"name": "blacken", "dataType": "numeric", "value": 0},
            {"name": "padding", "dataType": "numeric", "value": 0},
        ]

    def getConfiguration(self, **scalars):
        self.scalars = scalars
        self.batch = int(scalars["batch_size"])
        return {
            "tx": int(scalars["tx"]), "ty": int(scalars["ty"]), "batch_size": self.batch, "padding": int(scalars["padding"]),
            "CropSizeFixed": int(scalars["fixed"]), "BlackenAroundFeature": int(scalars["blacken"]), "inputMask": True,
        }

    def getFields(self):
        fields = (("OID", "OID"), ("Confidence", "String"), ("Label", "String"), ("Size", "Integer"), ("Shape", "Geometry"))
        return json.dumps({"fields": [{"name": n, "type": "esriFieldType" + t, "alias": n} for n, t in fields]})

    def getGeometryType(self):
        return 4

    def vectorize(self, **blocks):
        chips, masks = blocks["rasters_pixels"], blocks["rasters_mask"]
        assert 0 < len(chips) <= self.batch, len(chips)
        np.asarray(chips)  # as real functions do; chips of different shapes would fail
        features = [self.feature(number, chip, mask) for number, (chip, mask) in enumerate(zip(chips, masks), 1)]
        return {"output_vectors": json.dumps({"features": features})}

    def feature(self, number, chip, mask):
        assert chip.shape == mask.shape and chip.flags.writeable and mask.any()
        chip[mask == 0] = 0
        mean = float(chip[0].sum() / mask[0].sum())
        bands, height, width = chip.shape
        attributes = {"OID": number, "Label": f"{mean:.3f}", "Confidence": "0.75", "Size": height * width}
        return {"attributes": attributes, "geometry": {"rings": [[[0, 0], [1, 0], [1, 1]]]}}

'''


def make_classifier(folder: Path, methods: str = "", definition: dict[str, Any] | None = None) -> Path:
    """Write a classifier as a folder.

    Args:
        folder: Where; created.
        methods: Methods that replace those of the oracle.
        definition: Keys of its model definition beside those that it needs.
    """
    code = ORACLE + textwrap.indent(textwrap.dedent(methods), "    ")
    known = {"ModelType": "ObjectClassification", "ImageHeight": 12, "ImageWidth": 16, **(definition or {})}
    return make_package(folder, definition=known, code=code)
