"""Passwords, keys and tokens: handed to the package, and shown nowhere."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from deep_learning_packages.algorithms.secret_values import resolved
from deep_learning_packages.inference.errors import ArgumentValueError
from deep_learning_packages.inference.journals import kept_journals
from deep_learning_packages.inference.secrets import Secrets, without_credentials
from packages import make_package
from qgis import processing
from qgis.core import QgsApplication, QgsAuthMethodConfig, QgsProcessingException, QgsProcessingFeedback
from rasters import write_raster

pytestmark = pytest.mark.usefixtures("provider")
SECRET = "sk-0123456789-of-the-test"  # pragma: allowlist secret
# It prints what it got, and fails with it when told so.
TALKATIVE = """
def getParameterInfo(self):
    return [{"name": "raster", "dataType": "raster"}, {"name": "api_key", "dataType": "string"}, {"name": "fail", "dataType": "string", "value": "no"}]

def getConfiguration(self, **scalars):
    self.fail = scalars["fail"] == "yes"
    self.key = scalars["api_key"]
    assert len(self.key) == 25
    print("the key is", self.key)
    return {"tx": 16, "ty": 16, "padding": 0}

def vectorize(self, **blocks):
    self.count = getattr(self, "count", 0) + 1
    if self.fail and self.count == 3:
        raise ValueError("cannot log in with " + self.key)
    return {"output_vectors": '{"features": []}'}
"""


class Collecting(QgsProcessingFeedback):
    def __init__(self) -> None:
        super().__init__(False)
        self.told: list[str] = []
        self.pushInfo = self.pushWarning = self.pushDebugInfo = self.told.append


@pytest.fixture
def kept_safe(qgis_app):
    """The secret in QGIS's authentication database; where it is."""
    manager = QgsApplication.authManager()
    if not manager.masterPasswordIsSet():
        assert manager.setMasterPassword("of the test", True)
    configuration = QgsAuthMethodConfig("Basic")
    configuration.setName("a key")
    configuration.setConfigMap({"username": "somebody", "password": SECRET})
    assert manager.storeAuthenticationConfig(configuration)[0]
    yield f"authcfg:{configuration.id()}"
    manager.removeAuthenticationConfig(configuration.id())


def everything_kept(folder: Path, cache: Path) -> bytes:
    """The content of all files that a run has written."""
    return b"".join(
        path.read_bytes() for top in (folder, cache) for path in top.rglob("*") if path.is_file() and "package" not in path.parts
    )


@pytest.mark.parametrize("way", ["written", "reference"])
def test_secret_argument_is_shown_nowhere(tmp_path, cache, kept_safe, way):
    raster = write_raster(tmp_path / "raster.tif", np.ones((1, 64, 64), np.uint8))
    package = make_package(tmp_path / "package", TALKATIVE)
    value, feedback = SECRET if way == "written" else kept_safe, Collecting()
    inputs = {
        "INPUT": str(raster),
        "MODEL": str(package),
        "OUTPUT": str(tmp_path / "out.gpkg"),
        "REPORT": str(tmp_path / "report.html"),
    }
    with pytest.raises(QgsProcessingException, match="cannot log in with …") as caught:
        processing.run("dlpk:detectobjects", {**inputs, "ARGUMENTS": {"api_key": value, "fail": "yes"}}, feedback=feedback)
    assert SECRET not in str(caught.value)
    assert len(kept_journals()) == 1
    processing.run("dlpk:detectobjects", {**inputs, "ARGUMENTS": {"api_key": value}}, feedback=feedback)
    told = "\n".join(feedback.told)
    assert "the key is …" in told
    assert "api_key …" in told
    assert SECRET not in told
    assert SECRET.encode() not in everything_kept(tmp_path, cache)
    database = sqlite3.connect(tmp_path / "out.gpkg")
    metadata = database.execute("SELECT metadata FROM gpkg_metadata").fetchall()
    database.close()
    assert "api_key …" in str(metadata)


def test_reference_to_nothing_is_an_error(qgis_app):
    with pytest.raises(ArgumentValueError, match="refers to the authentication configuration zzzzzzz, which cannot be opened"):
        resolved({"api_key": "authcfg:zzzzzzz"})  # pragma: allowlist secret
    assert resolved({"threshold": "0.5"}) == ({"threshold": "0.5"}, frozenset())


def test_names_of_secrets():
    values = dict.fromkeys(
        ("api_key", "apikey", "HF_TOKEN", "password", "client_secret", "access_key"), "0123456789"
    )  # pragma: allowlist secret
    assert set(Secrets(values).shown(values).values()) == {"…"}
    open_values = {"max_tokens": "512", "keypoints": "17", "author": "x", "threshold": "0.5", "tokenizer": "bert"}
    assert Secrets(open_values).shown(open_values) == open_values


def test_process_arguments_hold_no_values(tmp_path, cache):
    """What everybody on the machine can read of a process."""
    raster = write_raster(tmp_path / "raster.tif", np.ones((1, 64, 64), np.uint8))
    seen = []

    class Looking(Collecting):
        def setProgress(self, percent):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.append(path.read_bytes())
                except OSError:
                    continue

    package = make_package(tmp_path / "package", TALKATIVE)
    processing.run(
        "dlpk:detectobjects",
        {"INPUT": str(raster), "MODEL": str(package), "OUTPUT": "memory:", "ARGUMENTS": {"api_key": SECRET}},
        feedback=Looking(),
    )
    assert any(b"bwrap" in line or b"worker" in line for line in seen)
    assert not any(SECRET.encode() in line for line in seen)


ADDRESSES = [
    "/vsicurl/http://user:hidden-word@127.0.0.1:9/x.tif",  # pragma: allowlist secret
    "PG:host=nowhere.invalid user=me password=hidden-word dbname=x",  # pragma: allowlist secret
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_address_of_a_raster_in_errors(tmp_path, address):
    package = make_package(tmp_path / "package")
    with pytest.raises(QgsProcessingException) as caught:
        processing.run("dlpk:detectobjects", {"INPUT": address, "MODEL": str(package), "OUTPUT": "memory:"})
    assert "hidden-word" not in str(caught.value)
    assert "hidden-word" not in without_credentials(address)
