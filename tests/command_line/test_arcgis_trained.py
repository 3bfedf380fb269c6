"""Packages that ArcGIS trained, through real qgis_process: the golden features, and a file that would run code."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import trained
from osgeo import ogr
from qgis_process_runs import Ended
from rasters import write_raster
from trained import THRESHOLDS, golden, golden_json

torch = pytest.importorskip("torch")


@trained.needs_goldens
@pytest.mark.parametrize("name", [golden("ssd_resnet34_v1"), golden("maskrcnn_resnet50")])
def test_golden_features(detect, tmp_path, name):
    """Class, confidence and outline of each feature whose middle lies on the raster."""
    raster = write_raster(tmp_path / "r.tif", trained.golden_image())
    ended = detect(
        INPUT=raster, MODEL=trained.golden_package(tmp_path / "p", name), ARGUMENTS=f"threshold {THRESHOLDS[name]};batch_size 4"
    )
    assert ended.status == 0, ended.text
    assert f"run natively by {trained.FAMILIES[name]}" in ended.text
    found = []
    source = ogr.Open(str(tmp_path / "output.gpkg"))
    for feature in source.GetLayer(0):
        ring = (
            np.array(feature.GetGeometryRef().GetGeometryRef(0).GetPoints())[:-1, :2]
            if feature.GetGeometryRef().GetGeometryName() == "POLYGON"
            else None
        )
        if ring is not None:
            pixels = np.stack([(ring[:, 0] - 500000) / 0.5, (4000000 - ring[:, 1]) / 0.5], 1)
            found.append((feature["Class"], feature["Confidence"], *pixels.min(0), *pixels.max(0)))
    wanted = [
        (each["attributes"]["Class"], each["attributes"]["Confidence"], *ring.min(0), *ring.max(0))
        for each in golden_json("e2e", name)
        for ring in [np.asarray(each["geometry"]["rings"][0], float)]
        if 0 <= (ring.min(0) + ring.max(0))[0] / 2 < 260 and 0 <= (ring.min(0) + ring.max(0))[1] / 2 < 200
    ]
    assert len(wanted) > 100
    assert len(found) > 0.97 * len(wanted)
    numbers = np.array([row[1:] for row in wanted])
    for label, *row in found:
        nearest = int(np.abs(numbers - row).max(1).argmin())
        if label != wanted[nearest][0] or np.abs(numbers[nearest] - row).max() > 2e-3:
            assert name.startswith("maskrcnn"), row  # parts of outlines that cross themselves


class Executes:
    def __reduce__(self):
        return exec, ("raise SystemExit('it ran')",)


def test_weights_that_would_run_code(detect, raster, tmp_path):
    """One clear message, nothing runs, nothing is written."""
    package = trained.package(tmp_path / "p", trained.definition("SingleShotDetector", ExtractBands=[0]), {})
    (package / "m.pth").write_bytes(pickle.dumps({"a": Executes()}))
    ended: Ended = detect(INPUT=raster, MODEL=package)
    assert ended.status != 0
    assert len(ended.errors) == 1
    assert "cannot be read as plain tensors" in ended.errors[0]
    assert "could run code, so it is not opened" in ended.errors[0]
    assert "it ran" not in ended.text
    assert not (tmp_path / "output.gpkg").exists()
