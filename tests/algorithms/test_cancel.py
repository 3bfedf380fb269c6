"""Cancelling takes less than a second at any moment, keeps what was found, and says how to go on."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from deep_learning_packages.inference.journals import kept_journals
from leftovers import Leftovers
from osgeo import ogr
from packages import make_package
from qgis import processing
from qgis.core import QgsProcessingException, QgsProcessingFeedback
from rasters import write_raster

pytestmark = pytest.mark.usefixtures("provider")
BOXES_A_BLOCK = 2500
BLOCKS = 64
MANY = f"""
def vectorize(self, **blocks):
    import random, time
    rng = random.Random(int(blocks["raster_pixels"].sum()))
    time.sleep(0.01)
    features = []
    for number in range({BOXES_A_BLOCK}):
        x, y = rng.random() * 31, rng.random() * 31
        ring = [[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]]
        features.append({{"attributes": {{"Class": "Box", "Confidence": rng.random()}}, "geometry": {{"rings": [ring]}}}})
    return {{"output_vectors": json.dumps({{"features": features}})}}
"""


class CancelAt(QgsProcessingFeedback):
    """Cancels itself a while after a text was told, or after a progress was reached."""

    def __init__(self, text: str = "", percent: float = 200.0, delay: float = 0.0) -> None:
        super().__init__(False)
        self._text, self._percent, self._delay = text, percent, delay
        self.told: list[str] = []
        self.moment = 0.0

    def pushInfo(self, text):
        self.told.append(text)
        if self._text and self._text in text:
            self._start()

    def pushWarning(self, text):
        self.told.append(text)

    def setProgress(self, percent):
        if percent >= self._percent:
            self._start()

    def _start(self) -> None:
        self._text, self._percent = "", 200.0
        threading.Timer(self._delay, self._cancel).start()

    def _cancel(self) -> None:
        self.moment = time.monotonic()
        self.cancel()


@pytest.fixture
def inputs(tmp_path, cache) -> dict[str, object]:
    raster = write_raster(tmp_path / "raster.tif", np.random.default_rng(1).integers(1, 99, (1, 256, 256), np.uint8))
    return {"INPUT": str(raster), "MODEL": str(make_package(tmp_path / "package", MANY)), "NMS": True, "MAX_OVERLAP": 0.8}


def features(path: Path) -> int:
    source = ogr.Open(str(path))
    return source.GetLayer(0).GetFeatureCount()


@pytest.mark.parametrize("suffix", ["gpkg", "fgb"])
def test_cancelled_at_every_stage(inputs, tmp_path, suffix):
    """Loading, blocks, suppression, writing: each time back within a second, and the next run goes on; at last it completes."""
    output = tmp_path / f"output.{suffix}"
    moments = [
        ("loading", CancelAt(text="Package:")),
        ("blocks", CancelAt(percent=20)),
        ("blocks", CancelAt(percent=60)),
        ("suppression", CancelAt(percent=100, delay=0.2)),
        ("suppression", CancelAt(text="Going on with an earlier run: 64", delay=1.0)),
        ("writing", CancelAt(text="Speed:", delay=0.1)),
        ("writing", CancelAt(text="Speed:", delay=0.8)),
    ]
    for stage, feedback in moments:
        with pytest.raises(QgsProcessingException) as caught:
            processing.run("dlpk:detectobjects", {**inputs, "OUTPUT": str(output)}, feedback=feedback)
        back = time.monotonic() - feedback.moment
        assert back < 1.0, f"{stage}: {back:.2f} s, {caught.value}"
        message = str(caught.value)
        assert "cancelled" in message, stage
        if stage != "loading":
            assert "run it again with the same inputs" in message, stage
            (kept,) = kept_journals()
            assert kept.done > 0
        assert not output.exists()
        assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name] == []
    assert Leftovers.now().beyond(Leftovers(frozenset())) == []
    last = CancelAt()
    processing.run("dlpk:detectobjects", {**inputs, "OUTPUT": str(output)}, feedback=last)
    assert any("Going on with an earlier run: 64 of 64 blocks" in text for text in last.told)
    assert 1000 < features(output) < BOXES_A_BLOCK * BLOCKS
    assert kept_journals() == []
