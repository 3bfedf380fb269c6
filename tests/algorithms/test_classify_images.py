"""Classify objects inside QGIS: each raster by itself, and images that are objects themselves."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import shapely
from classify_runs import (
    PACKED,
    PLACES,
    UTM,
    classify,
    described,
    label_at,
    layer_of,
    on_the_map,
    opened,
    point,
    run,
)
from osgeo import gdal
from qgis.core import (
    Qgis,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsField,
    QgsGeometry,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProject,
    QgsVectorLayer,
)
from rasters import NORTH_UP, write_raster

pytestmark = pytest.mark.usefixtures("provider")


def test_each_raster_by_itself(tmp_path, oracle):
    """Pieces of a VRT: a row for each on which a feature lies, named by it; one without a raster stays."""
    rng = np.random.default_rng(2)
    images = [rng.integers(8, 120, (1, 40, 40)).astype(np.uint8) for _ in range(2)]
    paths = [
        str(write_raster(tmp_path / f"{name}.tif", image, (500000 + x * 0.5, 0.5, 0, 4000000, 0, -0.5)))
        for name, image, x in zip("ab", images, (0, 20))
    ]
    gdal.BuildVRT(str(tmp_path / "both.vrt"), paths).FlushCache()
    fields = [QgsField("fid", PACKED.Int), QgsField("Image", PACKED.QString)]
    shapes = [point(30.2, 20.3), point(5.1, 5.2), point(90, 90), point(55.2, 8.1)]
    layer = layer_of(shapes, "Point", fields=fields, rows=[[number, "mine"] for number in (7, 8, 9, 10)])
    wanted = [(7, "a.tif"), (7, "b.tif"), (8, "a.tif"), (9, None), (10, "b.tif")]
    for output in ("memory:", tmp_path / "o.gpkg"):
        found = classify(tmp_path / "both.vrt", oracle, layer, PROCESSING_MODE="PROCESS_ITEMS_SEPARATELY", OUTPUT=output)
        features = list(found.getFeatures())
        ids = "fid" if output == "memory:" else "fid_1"
        assert [(feature[ids], feature["Image_1"] or None, feature["Image"]) for feature in features] == [
            (*each, "mine") for each in wanted
        ]
        assert [feature["ClassLabel"] or None for feature in features] == [
            label_at(images[0], 30.2, 20.3), label_at(images[1], 10.2, 20.3), label_at(images[0], 5.1, 5.2), None, label_at(images[1], 35.2, 8.1),
        ]  # fmt: skip
    mosaic = classify(tmp_path / "both.vrt", oracle, layer)
    assert mosaic.featureCount() == 4
    assert "Image_1" not in mosaic.fields().names()


def test_rasters_in_different_systems(tmp_path, oracle, pixels):
    """Each finds the features in its own."""
    plane = write_raster(tmp_path / "plane.tif", pixels)
    degrees = write_raster(tmp_path / "degrees.tif", pixels[:, ::-1].copy(), (14.9999, 1e-5, 0, 36.1449, 0, -1e-5), 4326)
    transform = QgsCoordinateTransform(
        QgsCoordinateReferenceSystem(UTM), QgsCoordinateReferenceSystem("EPSG:4326"), QgsCoordinateTransformContext()
    )
    place = point(40.3, 30.4)
    x, y = transform.transform(place.x, place.y)
    found = classify([str(plane), str(degrees)], oracle, layer_of([place]), PROCESSING_MODE="PROCESS_ITEMS_SEPARATELY")
    assert {feature["Image"]: feature["ClassLabel"] for feature in found.getFeatures()} == {
        "plane.tif": label_at(pixels, 40.3, 30.4),
        "degrees.tif": label_at(pixels[:, ::-1], (x - 14.9999) / 1e-5, (36.1449 - y) / 1e-5),
    }


def test_images_with_a_place_become_their_outlines(raster, tmp_path, images, oracle, pixels):
    turned = write_raster(tmp_path / "turned.tif", pixels, (500300.0, 0.3, 0.4, 4000000.0, 0.4, -0.3))
    values = [str(raster), str(turned), str(tmp_path / "images" / "east.tif")]
    found = classify(values, oracle, arguments="tx 80;ty 60")
    assert (found.wkbType(), found.crs().authid()) == (Qgis.WkbType.Polygon, UTM)
    assert found.fields().names() == ["ImageId", "Image", "ClassLabel", "Confidence", "Size"]
    mean = float(f"{pixels.astype(float).mean():.3f}")
    assert described(found) == {"raster.tif": mean, "turned.tif": mean, "east.tif": 50.0}
    outlines = [shapely.from_wkb(bytes(feature.geometry().asWkb())) for feature in found.getFeatures()]
    corners = shapely.box(0, 0, 80, 60)
    for outline, transform in zip(outlines, (NORTH_UP, (500300.0, 0.3, 0.4, 4000000.0, 0.4, -0.3))):
        assert outline.symmetric_difference(on_the_map(corners, transform)).area < 1e-6


def test_images_in_different_systems_and_without_any(tmp_path, images, oracle):
    """All in the system of the first that has one; who has none has no geometry."""
    feedback = QgsProcessingFeedback(False)
    found = classify(tmp_path / "images", oracle, feedback=feedback, OUTPUT=tmp_path / "o.gpkg")
    assert described(found) == images
    assert (found.wkbType(), found.crs().authid()) == (Qgis.WkbType.Polygon, UTM)
    # QGIS writes an empty geometry into files where there is none.
    placed = {feature["Image"]: feature for feature in found.getFeatures() if not feature.geometry().isEmpty()}
    assert set(placed) == {"east.tif", "north.tif"}
    north = QgsGeometry(placed["north.tif"].geometry())
    north.transform(
        QgsCoordinateTransform(found.crs(), QgsCoordinateReferenceSystem("EPSG:4326"), QgsCoordinateTransformContext())
    )
    assert shapely.from_wkt(north.asWkt()).symmetric_difference(shapely.box(15, 36.2 - 24e-5, 15 + 32e-5, 36.2)).area < 1e-12
    assert "2 images have no georeference" in feedback.textLog()


@pytest.mark.parametrize("output", ["o.shp", "o.fgb"])
def test_table_for_a_format_of_geometries_alone(tmp_path, images, oracle, output):
    """It is refused before the package runs."""
    with pytest.raises(
        QgsProcessingException, match=f"a table without geometry, which {output} cannot be. Choose another format"
    ):
        run(INPUT=str(tmp_path / "images" / "plain.tif"), MODEL=oracle, OUTPUT=tmp_path / output)


def test_part_of_a_file_does_not_replace_it(raster, oracle, tmp_path):
    """What is not selected would be lost."""
    path = tmp_path / "o.gpkg"
    classify(raster, oracle, layer_of([point(*place) for place in PLACES]), OUTPUT=path)
    layer = QgsVectorLayer(f"{path}|layername=o", "o", "ogr")
    QgsProject.instance().addMapLayer(layer)
    layer.selectByExpression('"number" = 1')
    some = QgsProcessingFeatureSourceDefinition(layer.id(), selectedFeaturesOnly=True)
    with pytest.raises(QgsProcessingException, match="OUTPUT is the layer that FEATURES comes from"):
        classify(raster, oracle, some, OUTPUT=path)
    assert opened(path).featureCount() == len(PLACES)
    QgsProject.instance().removeMapLayer(layer.id())


@pytest.mark.parametrize("output", ["memory:", "o.gpkg", "o.csv", "o.xlsx"])
def test_images_without_a_place_become_a_table(tmp_path, images, oracle, output):
    values = [str(tmp_path / "images" / name) for name in ("plain.tif", "photo.png")]
    made = run(INPUT=values, MODEL=oracle, OUTPUT=output if output == "memory:" else tmp_path / output)["OUTPUT"]
    found = made if output == "memory:" else opened(made)
    assert not found.isSpatial()
    assert described(found) == {"plain.tif": 70.0, "photo.png": 80.0}


def test_zip_of_images(tmp_path, images, oracle):
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in sorted((tmp_path / "images").iterdir()):
            zipped.write(path, path.name)
    assert sorted(described(classify(archive, oracle)).values()) == sorted(images.values())


def test_mosaic_is_one_image_or_several(tmp_path, oracle):
    paths = [
        str(
            write_raster(
                tmp_path / f"{name}.tif", np.full((1, 40, 40), value, np.uint8), (500000 + x * 0.5, 0.5, 0, 4000000, 0, -0.5)
            )
        )
        for name, value, x in (("a", 40, 0), ("b", 80, 40))
    ]
    gdal.BuildVRT(str(tmp_path / "both.vrt"), paths).FlushCache()
    assert described(classify(tmp_path / "both.vrt", oracle)) == {"both.vrt": 60.0}
    separate = classify(tmp_path / "both.vrt", oracle, PROCESSING_MODE="PROCESS_ITEMS_SEPARATELY")
    assert described(separate) == {"a.tif": 40.0, "b.tif": 80.0}
    assert separate.fields().names() == ["ImageId", "Image", "ClassLabel", "Confidence", "Size"]


def test_part_of_an_image(tmp_path, raster, oracle, pixels):
    """EXTENT: what is looked at, and whose outline comes out; an image beyond it is left out."""
    left, bottom, right, top = on_the_map(shapely.box(10, 20, 30, 40)).bounds
    beyond = write_raster(tmp_path / "beyond.tif", pixels, (600000.0, 0.5, 0, 4000000.0, 0, -0.5))
    found = classify([str(raster), str(beyond)], oracle, arguments="tx 20;ty 20", EXTENT=f"{left},{right},{bottom},{top} [{UTM}]")
    assert described(found) == {"raster.tif": float(f"{pixels[0, 20:40, 10:30].astype(float).mean():.3f}")}
    (feature,) = found.getFeatures()
    assert feature.geometry().boundingBox().toString(3) == f"{left:.3f},{bottom:.3f} : {right:.3f},{top:.3f}"


def test_label_field_that_the_images_rows_have(tmp_path, raster, oracle):
    found = classify(raster, oracle, CLASS_LABEL_FIELD="Image", OUTPUT=tmp_path / "o.gpkg")
    (feature,) = found.getFeatures()
    assert feature["Image"] == "raster.tif"
    assert float(feature["Image_1"]) > 0
