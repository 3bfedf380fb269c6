"""Servers that fail now and then: the result is that of servers that do not, or the run stops and says where and why."""

from __future__ import annotations

import time

import numpy as np
import pytest
from packages import ORACLE, make_package
from qgis.core import QgsProcessingException, QgsProcessingFeedback
from rasters import draw, write_raster
from servers.arcgis import ArcGisServer
from servers.arcgis_image import ImageService
from servers.arcgis_map import MapService
from servers.faults import Faults, FaultyProxy
from servers.files import FileServer

pytestmark = [pytest.mark.usefixtures("provider")]
CELL = 2 * 20037508.342789244 / (256 << 18)
SIDE = 1100
OFTEN = {
    "busy": Faults(unavailable=0.3),
    "hanging up": Faults(dropped=0.05, unavailable=0.05),
    "cut short": Faults(truncated=0.2),
    "error pages": Faults(html=0.2),
    "too many requests": Faults(too_many=0.2),
    "stalling": Faults(stalled=0.08, stall_seconds=10.0),
    "all at once": Faults(unavailable=0.1, dropped=0.03, truncated=0.05, html=0.05, too_many=0.05),
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """An image in web mercator on the pixels of level 18, with boxes; and a package that finds them."""
    folder = tmp_path_factory.mktemp("scene")
    rng = np.random.default_rng(8)
    pixels = np.zeros((3, SIDE, SIDE), np.uint8)
    pixels[1] = rng.integers(0, 255, (SIDE, SIDE))  # so that the file is large
    for number, (column, row) in enumerate((column, row) for column in range(14) for row in range(14)):
        left, top = (30 + 75 * place + rng.integers(0, 55) for place in (column, row))
        draw(pixels[0], (left, top, left + 9, top + 7), number + 1)
    left, top = -20037508.342789244 + 256 * 1000 * CELL, 20037508.342789244 - 256 * 900 * CELL
    write_raster(folder / "scene.tif", pixels, (left, CELL, 0, top, 0, -CELL), 3857, tile=128)
    return folder / "scene.tif", make_package(folder / "package", ORACLE)


def search(raster, package, **parameters):
    from qgis import processing

    feedback = QgsProcessingFeedback(False)
    values = {
        "INPUT": str(raster), "MODEL": str(package), "ARGUMENTS": "tile 300;padding 20", "NMS": True, "OUTPUT": "memory:",
        "CELL_SIZE": CELL, "RESTART": True, **parameters,
    }  # fmt: skip
    layer = processing.run("dlpk:detectobjects", values, feedback=feedback)["OUTPUT"]
    return sorted(feature.geometry().asWkt(3) for feature in layer.getFeatures()), feedback.textLog()


@pytest.fixture(scope="module")
def reference(scene, provider):
    found, _ = search(*scene)
    assert len(found) > 150
    return found


@pytest.fixture(scope="module")
def extent(scene):
    left, top = -20037508.342789244 + 256 * 1000 * CELL, 20037508.342789244 - 256 * 900 * CELL
    return f"{left:.9f},{left + SIDE * CELL:.9f},{top - SIDE * CELL:.9f},{top:.9f} [EPSG:3857]"


@pytest.fixture(scope="module")
def arcgis(scene):
    services = {"image": ImageService(scene[0], largest=(256, 256)), "cached": MapService(scene[0], cached=True)}
    with ArcGisServer(services) as server:
        yield server


@pytest.mark.parametrize("faults", OFTEN.values(), ids=OFTEN.keys())
@pytest.mark.parametrize("kind", ["file", "image service", "tiles"])
def test_result_is_that_of_a_sound_server(scene, arcgis, extent, reference, kind, faults):
    with FileServer(scene[0].parent) as files, FaultyProxy(files.url if kind == "file" else arcgis.url) as proxy:
        base = f"{proxy.url}/arcgis/rest/services"
        address = {
            "file": f"{proxy.url}/scene.tif", "image service": f"{base}/image/ImageServer",
            "tiles": f"{base}/cached/MapServer/tile/{{z}}/{{y}}/{{x}}",
        }[kind]  # fmt: skip
        proxy.faults = faults
        found, _ = search(address, scene[1], EXTENT=extent)
        assert found == reference
        assert sum(proxy.injected.values()) > 0


def test_missing_tiles_stop_the_run_and_are_named(scene, arcgis, extent):
    with FaultyProxy(arcgis.url, Faults(missing=lambda target: target.endswith("/902/1002"))) as proxy:
        address = f"{proxy.url}/arcgis/rest/services/cached/MapServer/tile/{{z}}/{{y}}/{{x}}"
        with pytest.raises(
            QgsProcessingException, match=r"% of the pixels could not be had, in 1 block\(s\), at .*status 404.*MAX_MISSING"
        ):
            search(address, scene[1], EXTENT=extent)


def test_missing_tiles_within_bounds_are_told(scene, arcgis, extent, reference):
    """A tile is 5.4 % of the image; objects in it are not found, all others are."""
    with FaultyProxy(arcgis.url, Faults(missing=lambda target: target.endswith("/902/1002"))) as proxy:
        address = f"{proxy.url}/arcgis/rest/services/cached/MapServer/tile/{{z}}/{{y}}/{{x}}"
        with pytest.raises(QgsProcessingException, match=r"now 5 %"):
            search(address, scene[1], EXTENT=extent, MAX_MISSING=5)
        found, log = search(address, scene[1], EXTENT=extent, MAX_MISSING=6)
        assert "5.42 % of the pixels could not be had" in log
        assert 0.8 * len(reference) < len(found) < len(reference)
        assert set(found) - set(reference) == set() or len(set(found) - set(reference)) < 5  # objects cut by the hole


def test_server_that_is_gone(scene, arcgis, extent, monkeypatch):
    """It ends, and says so, after some patience."""
    from deep_learning_packages.inference.services import fetching

    monkeypatch.setattr(fetching, "FIRST_WAIT", 0.01)
    proxy = FaultyProxy(arcgis.url)
    with proxy:
        address = f"{proxy.url}/arcgis/rest/services/image/ImageServer"
    with pytest.raises(QgsProcessingException, match=r"The service .* cannot be used: .*Connection refused"):
        search(address, scene[1], EXTENT=extent)
    with pytest.raises(QgsProcessingException, match=r"gives no answer that can be used: Connection refused"):
        search(f"{proxy.url}/{{z}}/{{x}}/{{y}}.png", scene[1], EXTENT=extent)


def test_cancelling_while_a_server_stalls(scene, arcgis, extent):
    from qgis import processing

    feedback = QgsProcessingFeedback(False)
    with FaultyProxy(arcgis.url, Faults(stalled=1.0, stall_seconds=20.0, only="exportImage")) as proxy:
        values = {
            "INPUT": f"{proxy.url}/arcgis/rest/services/image/ImageServer", "MODEL": str(scene[1]), "EXTENT": extent,
            "OUTPUT": "memory:",
        }  # fmt: skip
        began = []

        def look(text: str) -> None:
            if "Blocks:" in text and not began:
                import threading

                threading.Timer(1.0, lambda: (began.append(time.monotonic()), feedback.cancel())).start()

        feedback.pushInfo = look
        with pytest.raises(QgsProcessingException, match="cancelled"):
            processing.run("dlpk:detectobjects", values, feedback=feedback)
        assert time.monotonic() - began[0] < 3


def test_requests_a_second_are_limited(scene, arcgis, extent, reference, monkeypatch):
    from deep_learning_packages.algorithms import settings

    options = settings.load()
    monkeypatch.setattr(settings, "load", lambda: type(options)(**{**options.__dict__, "requests": 10}))
    arcgis.forget()
    began = time.monotonic()
    found, _ = search(arcgis.service_url("image"), scene[1], EXTENT=extent)
    count = sum("exportImage" in request.path for request in arcgis.requests)
    assert found == reference
    assert count == 25
    assert time.monotonic() - began > (count - 1) / 10
