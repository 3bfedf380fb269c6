"""Packages that ArcGIS trained, through real qgis_process: the golden features, and a file that would run code."""

from __future__ import annotations

import json
import pickle
import subprocess

import numpy as np
import pytest
import trained
from deep_learning_packages.inference.sandbox import find_sandbox
from osgeo import ogr
from qgis_process_runs import Ended, trust
from rasters import write_raster
from trained import THRESHOLDS, golden, golden_json

torch = pytest.importorskip("torch")


@trained.needs_goldens
@pytest.mark.parametrize("name", [golden(name) for name in THRESHOLDS if name != "yolov3_darknet"])
def test_golden_features(detect, tmp_path, name):
    """Class, confidence and outline of each feature whose middle lies on the raster."""
    raster = write_raster(tmp_path / "r.tif", trained.golden_image())
    ended = detect(INPUT=raster, MODEL=trained.golden_package(name), ARGUMENTS=f"threshold {THRESHOLDS[name]};batch_size 4")
    assert ended.status == 0, ended.text
    assert f"run natively by {trained.FAMILIES[name]}" in ended.text
    found = []
    source = ogr.Open(str(tmp_path / "output.gpkg"))
    for feature in source.GetLayer(0):
        west, east, south, north = feature.GetGeometryRef().GetEnvelope()
        box = [(west - 500000) / 0.5, (4000000 - north) / 0.5, (east - 500000) / 0.5, (4000000 - south) / 0.5]
        found.append((np.array(box), feature["Class"], feature["Confidence"]))
    trained.assert_goldens(found, name)


@trained.needs_goldens
def test_golden_labels(environment, tmp_path):
    """The two chips of the golden classifier beside each other, as points in the middle of them."""
    image = trained.numbers("fc_resnet34")["image_u8"]
    raster = write_raster(tmp_path / "r.tif", np.concatenate([image, image[:, ::-1]], 2))
    places = [[500000 + x / 2, 4000000 - y / 2] for x, y in ((64, 64), (192, 64))]
    features = [{"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": place}} for place in places]
    reference = {"type": "name", "properties": {"name": "EPSG:32633"}}
    (tmp_path / "p.geojson").write_text(json.dumps({"type": "FeatureCollection", "crs": reference, "features": features}))
    options = [
        f"--INPUT={raster}",
        f"--FEATURES={tmp_path / 'p.geojson'}",
        f"--MODEL={trained.golden_package('fc_resnet34')}",
    ]
    if find_sandbox().program is None:
        trust(environment, trained.golden_package("fc_resnet34"))
    command = ["qgis_process", "run", "dlpk:classifyobjects", *options, f"--OUTPUT={tmp_path / 'o.gpkg'}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert "run natively by FeatureClassifier" in done.stdout, done.stdout + done.stderr
    source = ogr.Open(str(tmp_path / "o.gpkg"))
    rows = [(feature["ClassLabel"], float(feature["Confidence"])) for feature in source.GetLayer(0)]
    wanted = [each["attributes"] for each in golden_json("e2e", "fc_resnet34")]
    assert [label for label, _ in rows] == [each["Label"] for each in wanted]
    assert [score for _, score in rows] == pytest.approx([float(each["Confidence"]) for each in wanted], abs=1e-6)


class Executes:
    def __reduce__(self):
        return exec, ("raise SystemExit('it ran')",)


def test_weights_that_would_run_code(detect, tmp_path):
    """One clear message, nothing runs, nothing is written."""
    raster = write_raster(tmp_path / "r.tif", np.zeros((3, 64, 64), np.uint8))
    package = trained.package(tmp_path / "p", trained.definition("SingleShotDetector"), {})
    (package / "m.pth").write_bytes(pickle.dumps({"a": Executes()}))
    ended: Ended = detect(INPUT=raster, MODEL=package)
    assert ended.status != 0
    assert len(ended.errors) == 1
    assert "cannot be read as plain tensors" in ended.errors[0]
    assert "could run code, so it is not opened" in ended.errors[0]
    assert "it ran" not in ended.text
    assert not (tmp_path / "output.gpkg").exists()
