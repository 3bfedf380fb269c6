"""Accuracy of the two packages for trees of towns, over 133 test images with annotated trees.

The images go through dlpk:detectobjects one by one, and the trees and random places beside them through
dlpk:classifyobjects; and both through the networks alone. A tree is found when a point lies within 10 pixels of it,
surest points first, one point a tree.
"""

from __future__ import annotations

import csv
import sys
import zipfile
from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from common import SAMPLE, write_results
from osgeo import gdal, ogr, osr
from toolbox import Toolbox

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "urban_trees"
NEAR, THRESHOLD, REFERENCE = 10.0, 0.30, 0.707
CHIP = 32
LEAST_APART = 10.0
"""Pixels (6 m) between a random place and every annotated tree."""
Found = dict[str, tuple[np.ndarray, np.ndarray]]
"""Points (n, 2) in pixels and their confidence, by image."""


def annotated() -> dict[str, np.ndarray]:
    """The trees of each image (n, 2), in pixels."""
    trees = {}
    for path in sorted((DATA / "test").glob("*.tif")):
        with (DATA / "test_csv" / f"{path.stem}.csv").open() as file:
            rows = [(float(row["x"]), float(row["y"])) for row in csv.DictReader(file)]
        trees[path.stem] = np.array(rows).reshape(-1, 2)
    return trees


def hits(points: np.ndarray, scores: np.ndarray, truth: np.ndarray) -> int:
    """How many points find a tree of their own, surest first."""
    free = np.ones(len(truth), bool)
    for point in points[np.argsort(-scores, kind="stable")]:
        distance = np.where(free, np.hypot(*(truth - point).T), np.inf) if len(truth) else np.array([np.inf])
        if distance.min() <= NEAR:
            free[distance.argmin()] = False
    return int((~free).sum())


def score(name: str, found: Found, truth: dict[str, np.ndarray]) -> float:
    """Print a line of figures; F1."""
    nothing = np.empty((0, 2)), np.empty(0)
    true = sum(hits(*found.get(image, nothing), trees) for image, trees in truth.items())
    said, all_trees = sum(len(points) for points, _ in found.values()), sum(map(len, truth.values()))
    f1 = 2 * true / (said + all_trees)
    print(f"{name:<20}{true:>6}{said:>6}{all_trees:>6}{true / said:>8.3f}{true / all_trees:>8.3f}{f1:>8.3f}", flush=True)
    return f1


def detected(toolbox: Toolbox) -> Found:
    """The points of dlpk:detectobjects, with each image searched by itself."""
    parameters = {"INPUT": str(DATA / "test"), "MODEL": str(SAMPLE / "urban_trees.dlpk"), "ARGUMENTS": f"threshold {THRESHOLD}",
                  "PROCESSING_MODE": "PROCESS_ITEMS_SEPARATELY"}  # fmt: skip
    layer = toolbox.run("detectobjects", parameters)
    points: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for feature in layer.getFeatures():
        point = feature.geometry().asPoint()
        points[Path(feature["Image"]).stem].append((point.x(), point.y(), feature["Confidence"]))
    return {image: in_pixels(image, np.array(rows), layer.crs().toWkt()) for image, rows in points.items()}


def in_pixels(image: str, rows: np.ndarray, crs: str) -> tuple[np.ndarray, np.ndarray]:
    """Points of a layer in pixels of an image, and their confidence."""
    dataset = gdal.Open(str(DATA / "test" / f"{image}.tif"))
    mapped = np.array(transformation(crs, dataset.GetProjection()).TransformPoints(rows[:, :2].tolist()))[:, :2]
    left, cell, _, top, _, _ = dataset.GetGeoTransform()
    return np.stack([mapped[:, 0] - left, top - mapped[:, 1]], axis=1) / cell, rows[:, 2]


def transformation(source: str, target: str) -> Any:  # noqa: ANN401 - GDAL has no type stubs
    """From one CRS to another, x before y."""
    references = [osr.SpatialReference(wkt) for wkt in (source, target)]
    for reference in references:
        reference.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return osr.CoordinateTransformation(*references)


class NetworksAlone:
    """Both networks of the samples, over whole images and over chips."""

    def __init__(self, folder: Path) -> None:
        import torch

        for name in ("urban_trees", "tree_check"):
            with zipfile.ZipFile(SAMPLE / f"{name}.dlpk") as package:
                package.extractall(folder / name)
            sys.path.insert(0, str(folder / name))
        from chip_network import ChipNetwork
        from point_network import PointNetwork, peaks

        self.torch, self.peaks = torch, peaks
        self.points, self.chips = PointNetwork(), ChipNetwork()
        for network, name in ((self.points, "urban_trees"), (self.chips, "tree_check")):
            network.load_state_dict(torch.load(folder / name / f"{name}.pt", weights_only=True))
            network.eval()

    def detect(self, image: str) -> tuple[np.ndarray, np.ndarray]:
        """Points in pixels and confidence."""
        pixels = gdal.Open(str(DATA / "test" / f"{image}.tif")).ReadAsArray()
        with self.torch.inference_mode():
            _, places, scores = self.peaks(self.points(self.torch.from_numpy(pixels)[None].float() / 255), THRESHOLD)
        return places.numpy().astype(float), scores.numpy()

    def classify(self, image: str, places: np.ndarray) -> np.ndarray:
        """The probability of a tree at each place (n, 2)."""
        pixels = gdal.Open(str(DATA / "test" / f"{image}.tif")).ReadAsArray()
        corners = (places - CHIP // 2).astype(int)
        chips = np.stack([pixels[:, y : y + CHIP, x : x + CHIP] for x, y in corners])
        with self.torch.inference_mode():
            return np.asarray(self.chips(self.torch.from_numpy(chips).float() / 255).softmax(1)[:, 1].numpy())


def places_of(trees: dict[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Places (n, 2) whose chips lie inside the image, and whether a tree is there; as many without as with one."""
    draw, half = np.random.default_rng(0), CHIP // 2
    chosen = {}
    for image, points in trees.items():
        inner = points[((points >= half) & (points < 256 - half)).all(axis=1)].astype(int)
        free = draw.integers(half, 256 - half, (40 * max(len(inner), 4), 2))
        apart = np.array([len(points) == 0 or np.hypot(*(points - place).T).min() >= LEAST_APART for place in free])
        free = free[apart][: max(len(inner), 4)]
        chosen[image] = np.concatenate([inner, free]), np.repeat([True, False], [len(inner), len(free)])
    return chosen


def classified(toolbox: Toolbox, places: dict[str, tuple[np.ndarray, np.ndarray]], folder: Path) -> dict[str, np.ndarray]:
    """What dlpk:classifyobjects says at each place: the probability of a tree."""
    path = folder / "places.gpkg"
    write_places(path, places)
    parameters = {"INPUT": str(DATA / "test"), "FEATURES": str(path), "MODEL": str(SAMPLE / "tree_check.dlpk"),
                  "PROCESSING_MODE": "PROCESS_ITEMS_SEPARATELY"}  # fmt: skip
    said = {image: np.full(len(points), np.nan) for image, (points, _) in places.items()}
    for feature in toolbox.run("classifyobjects", parameters).getFeatures():
        if Path(feature["Image"]).stem == feature["image_name"]:  # some places are on images of several years
            sure = feature["Confidence"]
            said[feature["image_name"]][feature["place"]] = sure if feature["ClassLabel"] == "Tree" else 1 - sure
    return said


def write_places(path: Path, places: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """All places as points of one layer in degrees."""
    degrees = osr.SpatialReference()
    degrees.ImportFromEPSG(4326)
    dataset = ogr.GetDriverByName("GPKG").CreateDataSource(str(path))
    layer = dataset.CreateLayer("places", degrees, ogr.wkbPoint)
    layer.CreateField(ogr.FieldDefn("image_name", ogr.OFTString))
    layer.CreateField(ogr.FieldDefn("place", ogr.OFTInteger))
    layer.StartTransaction()
    for image, (points, _) in places.items():
        raster = gdal.Open(str(DATA / "test" / f"{image}.tif"))
        left, cell, _, top, _, _ = raster.GetGeoTransform()
        mapped = np.stack([left + points[:, 0] * cell, top - points[:, 1] * cell], axis=1)
        there = transformation(raster.GetProjection(), degrees.ExportToWkt()).TransformPoints(mapped.tolist())
        for number, (x, y, _) in enumerate(there):
            feature = ogr.Feature(layer.GetLayerDefn())
            feature["image_name"], feature["place"] = image, number
            feature.SetGeometry(ogr.CreateGeometryFromWkt(f"POINT ({x!r} {y!r})"))
            layer.CreateFeature(feature)
    layer.CommitTransaction()


def confusion(places: dict[str, tuple[np.ndarray, np.ndarray]], said: dict[str, np.ndarray]) -> Counter[str]:
    """Places by what is there and what was said."""
    counts: Counter[str] = Counter()
    for image, (_, truth) in places.items():
        for is_tree, probability in zip(truth, said[image]):
            counts[f"{'Tree' if is_tree else 'NoTree'} called {'Tree' if probability > 0.5 else 'NoTree'}"] += 1
    return counts


def main() -> None:
    """Score both packages through the algorithms and alone."""
    if not DATA.exists():
        raise SystemExit(f"The images of trees are not at {DATA}. docs/sample-model.md tells where they come from.")
    gdal.UseExceptions()
    trees, results = annotated(), {}
    with TemporaryDirectory(prefix="dlpk-accuracy-") as folder:
        toolbox, alone = Toolbox(), NetworksAlone(Path(folder))
        print(f"{len(trees)} images, threshold {THRESHOLD}, {NEAR:g} pixels")
        print(f"{'':<20} found  said  true  precis.  recall      F1")
        results["network alone"] = score("network alone", {image: alone.detect(image) for image in trees}, trees)
        results["algorithm"] = score("algorithm", detected(toolbox), trees)
        places = places_of(trees)
        direct = {image: alone.classify(image, points) for image, (points, _) in places.items()}
        said = classified(toolbox, places, Path(folder))
        difference = max(float(np.abs(direct[image] - said[image]).max()) for image in places)
        counts = {"network alone": confusion(places, direct), "algorithm": confusion(places, said)}
        for name, each in counts.items():
            print(f"{name:<20}" + ", ".join(f"{key}: {count}" for key, count in sorted(each.items())))
        print(f"Largest difference of a probability: {difference:.2g}")
        results |= {"classifier": dict(counts["algorithm"]), "difference": difference}
        write_results("accuracy_trees", results)
        toolbox.close()
    if abs(results["algorithm"] - REFERENCE) > 0.01 or counts["network alone"] != counts["algorithm"]:
        raise SystemExit("The algorithms do not give what the networks alone give.")


if __name__ == "__main__":
    main()
