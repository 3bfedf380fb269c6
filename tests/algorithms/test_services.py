"""The same image through every way a raster can come: real servers on loopback, and a double of ArcGIS's (see servers.arcgis)."""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import shapely
from osgeo import gdal
from packages import ORACLE, make_package
from qgis.core import QgsProcessingException, QgsProcessingFeedback, QgsProviderRegistry, QgsRasterLayer
from secrets_store import authentication  # noqa: F401 - a fixture
from servers import postgres_server as postgres
from servers import qgis_server as qgis
from servers.arcgis import ArcGisServer
from servers.arcgis_image import ImageService
from servers.arcgis_map import MapService
from servers.files import FileServer
from servers.tile_server import install, tile_server, tiles

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "resources" / "sample"
ZOOM = 20
CELL = 2 * 20037508.342789244 / (256 << ZOOM)
pytestmark = [pytest.mark.usefixtures("provider")]


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    """The sample image in web mercator, on the very pixels of a zoom level; then tiles show them unchanged."""
    folder = tmp_path_factory.mktemp("image")
    options = {"dstSRS": "EPSG:3857", "xRes": CELL, "yRes": CELL, "targetAlignedPixels": True, "resampleAlg": "bilinear"}
    gdal.Warp(str(folder / "warped.tif"), str(SAMPLE / "tree_crowns.tif"), **options).FlushCache()
    command = ["gdal_translate", "-q", "-of", "COG", "-co", "COMPRESS=DEFLATE", "-co", "BLOCKSIZE=128", "-co", "OVERVIEWS=NONE"]
    # Two columns and rows less: inside there is nothing that warping has left empty.
    subprocess.run([*command, "-srcwin", "40", "40", "760", "640", folder / "warped.tif", folder / "image.tif"], check=True)
    return folder / "image.tif"


@pytest.fixture(scope="module")
def extent(image) -> str:
    """A part of the image with trees, in its CRS, as Processing takes it; blocks with their padding lie inside the image."""
    left, size, _, top, _, _ = gdal.Open(str(image)).GetGeoTransform()
    box = left + 100 * size, left + 650 * size, top - 560 * size, top - 80 * size
    return ",".join(f"{value:.9f}" for value in box) + " [EPSG:3857]"


def search(raster: object, extent: str, **parameters: object) -> list[str]:
    from qgis import processing

    values = {
        "INPUT": raster, "MODEL": str(SAMPLE / "tree_crowns.dlpk"), "EXTENT": extent, "CELL_SIZE": CELL, "NMS": True,
        "MAX_OVERLAP": 0.3, "ARGUMENTS": "tile_size 224;padding 32;batch_size 1", "OUTPUT": "memory:", **parameters,
    }  # fmt: skip
    values = {name: value for name, value in values.items() if value is not None}
    layer = processing.run("dlpk:detectobjects", values, feedback=QgsProcessingFeedback(False))["OUTPUT"]
    return sorted(feature.geometry().asWkt(9 if "4326" in layer.crs().authid() else 3) for feature in layer.getFeatures())


@pytest.fixture(scope="module")
def reference(image, extent, provider) -> list[str]:
    found = search(str(image), extent, CELL_SIZE=None)
    assert len(found) > 8
    return found


def agreement(found: list[str], reference: list[str]) -> float:
    """F1 of two sets of boxes, where those match that share more than half of their union."""
    ours, theirs = ([shapely.from_wkt(text) for text in texts] for texts in (found, reference))
    matched = sum(any(a.intersection(b).area / a.union(b).area > 0.5 for b in theirs) for a in ours)
    return 2 * matched / (len(ours) + len(theirs))


def test_cloud_optimized_geotiff_by_its_address(image, extent, reference):
    with FileServer(image.parent) as server:
        assert search(f"{server.url}/image.tif", extent) == reference
        assert all(request.headers.get("range") for request in server.requests if request.method == "GET")
        assert {request.path for request in server.requests} == {"/image.tif"}


@pytest.fixture(scope="module")
def template(image):
    try:
        install()
    except RuntimeError as error:
        pytest.skip(f"TiTiler cannot be installed: {error}")
    with tile_server() as url:
        yield tiles(url, image)


def test_tiles_by_their_address(template, extent, reference):
    assert search(template, extent) == reference


def test_tiles_of_a_layer(template, extent, reference, qgis_new_project):
    layer = QgsRasterLayer(f"type=xyz&url={quote(template, safe='')}&zmax=22&zmin=0", "tiles", "wms")
    assert layer.isValid()
    assert search(layer, extent) == reference


def test_tiles_of_512_pixels(template, extent, reference):
    """Such a server has the same pixels one level earlier."""
    assert search(template.replace("tilesize=256", "tilesize=512"), extent) == reference


def test_tiles_between_levels_are_resampled(template, image, extent):
    coarse = CELL * 1.3
    assert (
        agreement(search(template, extent, CELL_SIZE=coarse), search(str(image), extent, CELL_SIZE=coarse)) >= 0.9
    )  # other pixels


def test_tiles_need_extent_and_cell_size(template, extent):
    with pytest.raises(QgsProcessingException, match=r"set EXTENT and CELL_SIZE\. .* 0\.1492910709 \(level 20\)"):
        search(template, extent, EXTENT=None, CELL_SIZE=None)
    with pytest.raises(QgsProcessingException, match="set CELL_SIZE"):
        search(template, extent, CELL_SIZE=None)


@pytest.fixture(scope="module")
def published(image, tmp_path_factory):
    if reason := qgis.missing():
        pytest.skip(reason)
    with qgis.qgis_server(image, tmp_path_factory.mktemp("qgis_server")) as server:
        yield server


def test_web_map_service(published, extent, reference, qgis_new_project):
    layer = QgsRasterLayer(f"crs=EPSG:3857&format=image/png&layers=raster&styles=&url={published.url}/", "map", "wms")
    assert layer.isValid()
    assert agreement(search(layer, extent), reference) >= 0.95
    assert agreement(search(f"{published.url}/?SERVICE=WMS&LAYERS=raster", extent), reference) >= 0.95


def test_web_map_service_in_degrees_with_turned_axes(published, image, extent):
    """EPSG:4326 in WMS 1.3.0 names latitude first."""
    degrees = 1.1e-6
    found = search(f"{published.url}/?SERVICE=WMS&LAYERS=raster&CRS=EPSG:4326", extent, CELL_SIZE=degrees)
    gdal.Warp(str(image.with_name("degrees.tif")), str(image), dstSRS="EPSG:4326", xRes=degrees, yRes=degrees).FlushCache()
    assert agreement(found, search(str(image.with_name("degrees.tif")), extent, CELL_SIZE=None)) >= 0.9


def test_web_map_tile_service(published, extent, reference, qgis_new_project):
    url = quote(f"{published.url}/?SERVICE=WMTS&REQUEST=GetCapabilities", safe="")
    uri = f"crs=EPSG:3857&format=image/png&layers=raster&styles=default&tileMatrixSet=EPSG:3857&url={url}"
    layer = QgsRasterLayer(uri, "tiles", "wms")
    assert layer.isValid()
    assert agreement(search(layer, extent), reference) >= 0.95
    address = f"{published.url}/?SERVICE=WMTS&LAYER=raster&TILEMATRIXSET=EPSG:3857"
    assert agreement(search(address, extent), reference) >= 0.95
    with pytest.raises(QgsProcessingException, match="has no nothing; it has: raster"):
        search(address.replace("raster", "nothing"), extent)


def test_web_coverage_service(published, extent, reference, qgis_new_project):
    uri = f"cache=AlwaysNetwork&crs=EPSG:3857&format=GTiff&identifier=raster&url={published.url}/&version=1.0.0"
    layer = QgsRasterLayer(uri, "coverage", "wcs")
    assert layer.isValid()
    assert agreement(search(layer, extent), reference) >= 0.95


@pytest.fixture(scope="module")
def arcgis(image):
    services = {
        "image": ImageService(image, largest=(300, 200)), "drawn": MapService(image, cached=False, largest=(256, 512)),
        "cached": MapService(image, cached=True),
    }  # fmt: skip
    with ArcGisServer(services) as server:
        yield server
        assert server.errors == []


def test_image_service(arcgis, extent, reference):
    """No larger picture is asked for than the service gives, and no size or extent is needed."""
    arcgis.forget()
    assert search(arcgis.service_url("image"), extent, CELL_SIZE=None) == reference
    sizes = [request.value("size") for request in arcgis.requests if "exportImage" in request.path]
    assert set(sizes) == {"300,200"}
    everything = search(arcgis.service_url("image"), extent, CELL_SIZE=None, EXTENT=None)
    assert len(everything) > len(reference)


def test_map_service(arcgis, extent, reference, qgis_new_project):
    assert search(arcgis.service_url("drawn"), extent) == reference
    assert search(f"{arcgis.service_url('drawn')}/0", extent) == reference
    layer = QgsRasterLayer(
        f"crs='EPSG:3857' format='PNG32' layer='0' url='{arcgis.service_url('drawn')}'", "map", "arcgismapserver"
    )
    assert layer.isValid()
    assert search(layer, extent) == reference


def test_cached_map_service(arcgis, extent, reference):
    assert search(arcgis.service_url("cached"), extent) == reference
    assert any("/tile/" in request.path for request in arcgis.requests)


def test_postgis_raster(image, extent, reference, qgis_new_project):
    if reason := postgres.missing():
        pytest.skip(reason)
    with postgres.postgres_server() as folder:
        postgres.execute(folder, "CREATE EXTENSION postgis_raster")
        load(image, folder)
        address = f"dbname='postgres' host={folder} user='{postgres.USER}' table=\"public\".\"image\" (rast)"
        layer = QgsRasterLayer(address, "raster", "postgresraster")
        assert layer.isValid(), layer.error().summary()
        assert search(layer, extent, CELL_SIZE=None) == reference
        layer = None
    assert "postgresraster" in QgsProviderRegistry.instance().providerList()


def load(image: Path, folder: Path) -> None:
    """Fill a table as raster2pgsql does: tiles of 128 pixels, with constraints."""
    with FileServer(image.parent):
        tools = subprocess.run(["which", "raster2pgsql"], check=False, capture_output=True, text=True).stdout.strip()
    if not tools:
        pytest.skip("raster2pgsql is not installed")
    made = subprocess.run(
        [tools, "-s", "3857", "-t", "128x128", "-C", "-I", str(image), "public.image"], check=False, capture_output=True
    )
    command = ["psql", "-q", "-h", str(folder), "-U", postgres.USER, "postgres", "-v", "ON_ERROR_STOP=1"]
    subprocess.run(command, input=made.stdout, check=True, capture_output=True)


def test_service_with_a_token(image, extent, reference, authentication):  # noqa: F811
    """Refused without; with a configuration it is asked for; and no message tells the token."""
    with ArcGisServer({"image": ImageService(image)}, token="s3cr3t-token") as server:  # pragma: allowlist secret
        with pytest.raises(QgsProcessingException, match=r"Token Required \(code 499\).*AUTHCFG"):
            search(server.service_url("image"), extent)
        authcfg = authentication("EsriToken", token="s3cr3t-token")  # pragma: allowlist secret
        assert search(server.service_url("image"), extent, AUTHCFG=authcfg) == reference
        assert not any("s3cr3t-token" in request.target for request in server.requests)


def test_object_stores(image, extent, reference):
    """s3://, gs:// and az:// as GDAL asks for them, from a server that stands for the store."""
    (image.parent / "account" / "bucket").mkdir(parents=True, exist_ok=True)
    (image.parent / "bucket").mkdir(exist_ok=True)
    for folder in ("account/bucket", "bucket"):
        (image.parent / folder / "image.tif").write_bytes(image.read_bytes())
    with FileServer(image.parent) as server:
        account = f"DefaultEndpointsProtocol=http;AccountName=account;AccountKey=YQ==;BlobEndpoint={server.url}/account"  # pragma: allowlist secret
        options = {
            "AWS_S3_ENDPOINT": server.url.partition("//")[2], "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE",
            "AWS_NO_SIGN_REQUEST": "YES", "CPL_GS_ENDPOINT": f"{server.url}/", "GS_NO_SIGN_REQUEST": "YES",
            "AZURE_STORAGE_CONNECTION_STRING": account,
        }  # fmt: skip
        for name, value in options.items():
            gdal.SetConfigOption(name, value)
        try:
            for scheme in ("s3", "gs", "az"):
                assert search(f"{scheme}://bucket/image.tif", extent, CELL_SIZE=None) == reference, scheme
        finally:
            for name in options:
                gdal.SetConfigOption(name, None)


def test_proxy_of_qgis(provider):
    """Requests go through the proxy that QGIS's options name."""
    from deep_learning_packages.algorithms.network import Network
    from qgis.core import QgsNetworkAccessManager, QgsSettings
    from servers.messages import Response
    from servers.serving import Server

    class Proxy(Server):
        def respond(self, request):
            return Response(200, b"through the proxy")

    settings = QgsSettings()
    with Proxy() as proxy:
        values = {
            "proxyEnabled": True,
            "proxyType": "HttpProxy",
            "proxyHost": "127.0.0.1",
            "proxyPort": proxy.url.rpartition(":")[2],
        }
        for name, value in values.items():
            settings.setValue(f"proxy/{name}", value)
        network = None
        try:
            QgsNetworkAccessManager.instance().setupDefaultProxyAndCache()
            network = Network()
            assert network.get("http://example.invalid/tile", {}, with_credentials=True).body == b"through the proxy"
        finally:
            if network is not None:
                network.stop()
            for name in values:
                settings.remove(f"proxy/{name}")
            QgsNetworkAccessManager.instance().setupDefaultProxyAndCache()


def test_file_on_a_server_with_a_password(image, extent, reference, authentication, qgis_new_project):  # noqa: F811
    """With AUTHCFG, and as a layer with a configuration of its own; other ways than Authorization are refused."""
    from servers.messages import Response

    class Guarded(FileServer):
        def respond(self, request):
            is_known = request.headers.get("authorization", "").startswith("Basic ")
            return super().respond(request) if is_known else Response(401, b"", headers={"WWW-Authenticate": 'Basic realm="x"'})

    authcfg = authentication("Basic", username="me", password="pw")  # pragma: allowlist secret
    with Guarded(image.parent) as server:
        address = f"{server.url}/image.tif"
        with pytest.raises(QgsProcessingException, match="cannot be opened"):
            search(address, extent)
        assert search(address, extent, AUTHCFG=authcfg) == reference
        layer = QgsRasterLayer(f"/vsicurl/{address} authcfg='{authcfg}'", "image", "gdal")
        assert search(layer, extent) == reference
        del layer  # a layer with a configuration crashes QGIS when it outlives it, as in the error's traceback
        with pytest.raises(QgsProcessingException, match="sends no Authorization"):
            search(address, extent, AUTHCFG=authentication("EsriToken", token="abcdefgh"))  # pragma: allowlist secret


def test_password_is_for_one_server(image, extent, authentication):  # noqa: F811
    """Files of two servers: nothing is asked of either, so that nobody learns what is meant for the other."""
    authcfg = authentication("Basic", username="me", password="pw")  # pragma: allowlist secret
    with FileServer(image.parent) as one, FileServer(image.parent) as other:
        addresses = [f"{server.url}/image.tif" for server in (one, other)]
        for mode in ("PROCESS_AS_MOSAICKED_IMAGE", "PROCESS_ITEMS_SEPARATELY"):
            with pytest.raises(QgsProcessingException, match="files on several servers"):
                search(addresses, extent, AUTHCFG=authcfg, PROCESSING_MODE=mode)
        assert one.requests == other.requests == []
        (image.parent / "both.vrt").unlink(missing_ok=True)
        gdal.BuildVRT(str(image.parent / "both.vrt"), [f"/vsicurl/{address}" for address in addresses]).FlushCache()
        one.forget()
        other.forget()
        with pytest.raises(QgsProcessingException, match="files on several servers"):
            search(f"{one.url}/both.vrt", extent, AUTHCFG=authcfg)
        assert not any("authorization" in request.headers for request in other.requests)


def test_sixteen_bits_through_an_image_service(tmp_path):
    """Pixels arrive as they are, with NoData: an oracle that reads their values finds its objects."""
    from rasters import draw, write_raster

    pixels = np.zeros((2, 300, 400), np.uint16)
    for number in range(1, 30):
        draw(pixels[1], (13 * number, 9 * number, 13 * number + 8, 9 * number + 7), 1000 + number)
    pixels[:, :, :6] = 65535
    raster = write_raster(tmp_path / "deep.tif", pixels, nodata=65535, band_names=("Red", "NIR"))
    package = make_package(tmp_path / "package", ORACLE.replace('[int(scalars["band"])]', '["NearInfrared"]'))
    with ArcGisServer({"deep": ImageService(raster, largest=(128, 128), band_names=["Red", "NIR"])}) as server:
        more = {"MODEL": str(package), "ARGUMENTS": "tile 90;padding 20", "CELL_SIZE": None, "EXTENT": None, "MAX_OVERLAP": 0.0}
        found = search(server.service_url("deep"), "", **more)
        assert found == search(str(raster), "", **more)
        assert len(found) == 29
        assert {request.value("bandIds") for request in server.requests if "exportImage" in request.path} == {"1"}
        assert server.errors == []
