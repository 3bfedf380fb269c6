"""QGIS without its windows, with our provider: what the accuracy checks run algorithms with."""

from __future__ import annotations

import sys
from typing import Any

import common  # noqa: F401 - makes the plugin importable


class Toolbox:
    """The Processing toolbox, from its creation to `close`."""

    def __init__(self) -> None:
        from deep_learning_packages.provider.provider import DeepLearningPackagesProvider
        from qgis.core import QgsApplication

        self._application = QgsApplication([], False)
        self._application.initQgis()
        sys.path.append(f"{QgsApplication.pkgDataPath()}/python/plugins")
        from processing.core.Processing import Processing
        from qgis import processing

        Processing.initialize()
        self._provider = DeepLearningPackagesProvider()
        QgsApplication.processingRegistry().addProvider(self._provider)
        self._processing = processing

    def run(self, name: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401 - QGIS has no type stubs
        """Run an algorithm; its output layer."""
        return self._processing.run(f"dlpk:{name}", {"OUTPUT": "memory:", **parameters})["OUTPUT"]

    def close(self) -> None:
        """End QGIS."""
        self._application.exitQgis()
