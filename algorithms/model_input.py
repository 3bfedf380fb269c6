"""MODEL: a package by its path, or by its address; what has an address is downloaded once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qgis.core import QgsProcessingException

from ..inference.feedback import Feedback, stop_if_canceled
from ..inference.package import Package, open_package
from ..inference.secrets import without_credentials
from ..inference.services import downloads
from ..inference.translation import tr
from .network import Network


def check(model: str) -> None:
    """Refuse a package that is not there, without asking any server.

    Raises:
        QgsProcessingException: There is no such file.
        PackageError: The address holds a secret.
    """
    if model and downloads.is_address(model):
        downloads.check_address(model)
    elif not model or not Path(model).expanduser().exists():
        raise QgsProcessingException(
            tr("The deep learning package {path} does not exist. Choose a .dlpk file, an .emd file, a folder, or the address of "
               "a package or of a portal's item.", path=model or tr("(none)"))
        )  # fmt: skip


def opened(model: str, authcfg: str, feedback: Feedback) -> Package:
    """The package; downloaded first where it has an address. What runs it is still to be chosen (see arcgis_trained).

    Raises:
        InferenceError: It cannot be downloaded, or is no package.
    """
    if not downloads.is_address(model):
        return open_package(model, lambda: stop_if_canceled(feedback))
    network = Network(authcfg, is_canceled=feedback.is_canceled)
    try:
        path = downloads.downloaded(model, network, feedback)
    finally:
        network.stop()
    feedback.progress(0.0)
    return replace(open_package(path, lambda: stop_if_canceled(feedback)), origin=without_credentials(model))


def local_path(model: str) -> str:
    """Where the package lies on this machine, at once; an address that was never downloaded stays one."""
    if not downloads.is_address(model):
        return model
    path = downloads.known(model)
    return model if path is None else str(path)
