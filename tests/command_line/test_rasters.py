"""INPUT and MODEL on the command line: several rasters, folders, addresses; a model by its address; nobody at a screen."""

from __future__ import annotations

import numpy as np
from osgeo import gdal
from qgis_process_runs import layers
from rasters import draw, write_raster
from servers.arcgis import ArcGisServer
from servers.arcgis_image import ImageService
from servers.arcgis_portal import Item, Portal
from servers.files import FileServer
from servers.serving import Server


def test_input_twice_and_a_folder(detect, raster, package, tmp_path):
    pixels = np.zeros((1, 50, 60), np.uint16)
    draw(pixels[0], (20, 20, 30, 28), 7)
    (tmp_path / "both").mkdir()
    second = write_raster(tmp_path / "both" / "second.tif", pixels, (500080.0, 0.5, 0, 4000000.0, 0, -0.5))
    output = tmp_path / "output.gpkg"
    ended = detect(INPUT=[raster, second], MODEL=package, ARGUMENTS="padding 16", NMS="true")
    assert ended.status == 0, ended.text
    assert layers(output) == {"output": 3}
    assert "Rasters: 2, searched as one mosaic" in ended.text
    gdal.Translate(str(tmp_path / "both" / "first.tif"), str(raster)).FlushCache()
    ended = detect(
        INPUT=tmp_path / "both", MODEL=package, ARGUMENTS="padding 16", PROCESSING_MODE="PROCESS_ITEMS_SEPARATELY", NMS="true"
    )
    assert ended.status == 0, ended.text
    dataset = gdal.OpenEx(str(output))
    names = [feature.GetField("Image") for feature in dataset.GetLayer(0)]
    assert sorted(names) == ["first.tif", "first.tif", "second.tif"]


def test_addresses(detect, raster, package, tmp_path):
    number = "89abcdef" * 4
    with (
        FileServer(tmp_path) as files,
        ArcGisServer({"image": ImageService(raster)}) as arcgis,
        Portal({number: Item(package, "Boxes")}) as portal,
    ):
        for address in (f"{files.url}/raster.tif", arcgis.service_url("image")):
            ended = detect(INPUT=address, MODEL=portal.item_url(number), ARGUMENTS="padding 16", NMS="true", RESTART="true")
            assert ended.status == 0, ended.text
            assert layers(tmp_path / "output.gpkg") == {"output": 2}
            assert f"Package: Package ({portal.item_url(number)})" in ended.text


def test_server_that_wants_a_password_is_an_error_not_a_question(detect, package):
    """Nobody could answer; QGIS's own manager would wait for ever."""
    from servers.messages import Response

    class Guarded(Server):
        def respond(self, request):
            return Response(401, b"", headers={"WWW-Authenticate": 'Basic realm="private"'})

    with Guarded() as server:
        ended = detect(INPUT=f"{server.url}/rest/services/x/ImageServer", MODEL=package)
        assert ended.status != 0
        assert "status 401" in ended.text
        ended = detect(INPUT=f"{server.url}/image.tif", MODEL=package)
        assert ended.status != 0
        assert "cannot be opened" in ended.text
