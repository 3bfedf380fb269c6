"""MODEL by its address: downloaded once, resumed, checked; and no token for a stranger, a log, a history or an output."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from deep_learning_packages.inference.cache import cache_folder
from packages import ORACLE, make_package, zip_package
from qgis.core import QgsProcessingException, QgsProcessingFeedback, QgsVectorLayer
from rasters import draw, write_raster
from secrets_store import authentication  # noqa: F401 - a fixture
from servers.arcgis_portal import Item, Portal
from servers.faults import Faults, FaultyProxy
from servers.files import FileServer

ITEM = "0123abcd" * 4
TOKEN = "t0p-s3cr3t-token"  # pragma: allowlist secret
pytestmark = [pytest.mark.usefixtures("provider", "cache")]


@pytest.fixture
def archive(tmp_path) -> Path:
    """A package with two megabytes that cannot be made smaller."""
    folder = make_package(tmp_path / "package", ORACLE)
    (folder / "weights.pth").write_bytes(np.random.default_rng(1).bytes(2_000_000))
    (tmp_path / "served").mkdir()
    return zip_package(folder, tmp_path / "served" / "boxes.dlpk")


@pytest.fixture
def raster(tmp_path) -> Path:
    pixels = np.zeros((1, 60, 80), np.uint16)
    draw(pixels[0], (20, 30, 30, 36), 1)
    return write_raster(tmp_path / "raster.tif", pixels)


def search(raster, model, **parameters):
    from qgis import processing

    feedback = QgsProcessingFeedback(False)
    values = {
        "INPUT": str(raster),
        "MODEL": str(model),
        "ARGUMENTS": "tile 50;padding 12",
        "NMS": True,
        "OUTPUT": "memory:",
        **parameters,
    }
    try:
        found = processing.run("dlpk:detectobjects", values, feedback=feedback)["OUTPUT"]
    except QgsProcessingException as error:
        return str(error), feedback.textLog()
    layer = QgsVectorLayer(found) if isinstance(found, str) else found
    return layer, feedback.textLog()


def test_portal_item_is_downloaded_once(archive, raster):
    with Portal({ITEM: Item(archive, "Boxes")}) as portal:
        for address in (portal.item_url(ITEM), f"{portal.url}/portal/home/item.html?id={ITEM}"):
            portal.forget()
            portal.storage.forget()
            layer, log = search(raster, address)
            assert layer.featureCount() == 1
            assert len(portal.storage.requests) == 1
            assert f"Downloading {address}" in log
            portal.storage.forget()
            layer, log = search(raster, address)
            assert layer.featureCount() == 1
            assert portal.storage.requests == []  # the item has not changed
            assert "Downloading" not in log
        assert portal.errors == []


def test_token_is_for_the_portal_alone(archive, raster, tmp_path, authentication):  # noqa: F811
    """The bytes lie on another host, to which the portal sends: it gets no token, and no text has it."""
    with Portal({ITEM: Item(archive, "Boxes")}, token=TOKEN) as portal:
        text, _ = search(raster, portal.item_url(ITEM))
        assert "Token Required (code 499)" in text
        assert "AUTHCFG" in text
        authcfg = authentication("EsriToken", token=TOKEN)
        output = tmp_path / "found.gpkg"
        layer, log = search(
            raster, portal.item_url(ITEM), AUTHCFG=authcfg, OUTPUT=str(output), REPORT=str(tmp_path / "report.html")
        )
        assert layer.featureCount() == 1
        assert any(TOKEN in str(request.headers) for request in portal.requests)
        assert portal.storage.requests
        assert not any(TOKEN in str(request) for request in portal.storage.requests)
        texts = [log, layer.metadata().abstract(), "".join(layer.metadata().history()), (tmp_path / "report.html").read_text()]
        assert all(TOKEN not in text for text in texts)
        assert portal.item_url(ITEM) in texts[1]
        layer = None
        for path in [output, *(path for path in cache_folder().rglob("*") if path.is_file())]:
            assert TOKEN.encode() not in path.read_bytes(), path


def test_address_with_a_token_is_refused(archive, raster):
    with Portal({ITEM: Item(archive, "Boxes")}, token=TOKEN) as portal:
        text, _ = search(raster, f"{portal.item_url(ITEM)}?token={TOKEN}")
        assert "holds a password or token, which would be kept in the history" in text
        assert TOKEN not in text
        assert portal.requests == []


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (Item(Path(__file__), "Not a package"), "is no deep learning package: it holds"),
        (Item(Path(__file__), "A map", type="Web Map"), "The item A map is of type Web Map, not a Deep Learning Package"),
        (None, r"Item does not exist or is inaccessible. (code 400)"),
    ],
)
def test_what_is_no_package(raster, item, message):
    with Portal({} if item is None else {ITEM: item}) as portal:
        text, _ = search(raster, portal.item_url(ITEM))
        assert message in text
        assert not [path for path in (cache_folder() / "downloads").iterdir() if path.suffix != ".json"]


def test_plain_address_is_asked_whether_it_changed(archive, raster, tmp_path):
    with FileServer(archive.parent) as server:
        address = f"{server.url}/boxes.dlpk"
        for expected in (200, 304):
            layer, log = search(raster, address)
            assert layer.featureCount() == 1
            if expected == 304:
                assert server.requests[-1].headers.get("if-none-match") or server.requests[-1].headers.get("if-modified-since")
        zip_package(make_package(tmp_path / "other", ORACLE.replace("0.9", "0.7")), archive)
        layer, _ = search(raster, address)
        assert next(layer.getFeatures())["Confidence"] == 0.7
    layer, log = search(raster, address)  # the server is gone
    assert layer.featureCount() == 1
    assert "so the copy of an earlier download is used" in log


def test_download_goes_on_where_it_broke_off(archive, raster, cache):
    with FileServer(archive.parent) as server, FaultyProxy(server.url) as proxy:
        original, answers = proxy.respond, []

        def cut(request):  # the first three answers
            answers.append(request)
            proxy.faults = Faults(truncated=1.0 if len(answers) <= 3 else 0.0)
            return original(request)

        proxy.respond = cut
        layer, log = search(raster, f"{proxy.url}/boxes.dlpk")
        assert layer.featureCount() == 1, log
        starts = [request.headers.get("range", "bytes=0-") for request in server.requests]
        assert len(set(starts)) == 4, starts


def test_broken_download_is_kept_for_the_next_run(archive, raster, cache):
    with FileServer(archive.parent) as server, FaultyProxy(server.url, Faults(truncated=1.0)) as proxy:
        proxy.faults = Faults(truncated=1.0)
        first = []
        original = proxy.respond

        def once(request):  # the first answer is cut, then nobody answers
            if first:
                proxy.faults = Faults(dropped=1.0)
            first.append(request)
            return original(request)

        proxy.respond = once
        text, _ = search(raster, f"{proxy.url}/boxes.dlpk")
        assert "cannot be downloaded" in text
        parts = list((cache / "downloads").glob("*.part"))
        assert len(parts) == 1
        have = parts[0].stat().st_size
        assert have > 100_000
        server.forget()
        proxy.respond = original
        proxy.faults = Faults()
        layer, _ = search(raster, f"{proxy.url}/boxes.dlpk")
        assert layer.featureCount() == 1
        assert server.requests[0].headers["range"] == f"bytes={have}-"
        assert not list((cache / "downloads").glob("*.part"))


def test_cancelling_a_download(archive, raster, cache):
    from qgis import processing

    class Impatient(QgsProcessingFeedback):
        def pushInfo(self, text):
            if text.startswith("Downloading"):
                self.cancel()

    with FileServer(archive.parent) as server, FaultyProxy(server.url, Faults(stalled=1.0, stall_seconds=15.0)) as proxy:
        values = {"INPUT": str(raster), "MODEL": f"{proxy.url}/boxes.dlpk", "OUTPUT": "memory:"}
        with pytest.raises(QgsProcessingException, match="cancelled"):
            processing.run("dlpk:detectobjects", values, feedback=Impatient())


def test_names_of_strangers_lead_nowhere(archive, raster, cache):
    archive = archive.rename(archive.with_name("x.dlpk"))
    portal = Portal({ITEM: Item(archive, "Boxes")})
    original = portal.respond

    def named(request):
        response = original(request)
        if request.value("f") == "json" and isinstance(response.body, bytes):
            facts = json.loads(response.body)
            facts["name"] = "../../../../evil/.. .dlpk"
            from servers.messages import json_response

            return json_response(facts)
        return response

    portal.respond = named
    with portal:
        layer, _ = search(raster, portal.item_url(ITEM))
        assert layer.featureCount() == 1
    files = list((cache / "downloads").rglob("*.dlpk"))
    assert len(files) == 1
    assert files[0].parent.parent == cache / "downloads"


def test_inspection_of_an_address(archive):
    from qgis import processing

    with FileServer(archive.parent) as server:
        found = processing.run("dlpk:inspectpackage", {"MODEL": f"{server.url}/boxes.dlpk", "RUN_CODE": False})
    assert found["MODEL_TYPE"] == "ObjectDetection"


def test_requests_after_the_end_do_not_wait():
    """A request that comes while the thread ends would otherwise be answered by nobody."""
    from deep_learning_packages.algorithms.network import Network
    from deep_learning_packages.inference.errors import Cancelled

    for _ in range(20):
        network = Network()
        caller = network._thread.caller
        network.stop()
        network._thread.caller = caller  # as a thread sees it that asks at that very moment
        with pytest.raises(Cancelled):
            network.get("http://127.0.0.1:9/", {}, with_credentials=False)
