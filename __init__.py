"""Deep Learning Packages: runs ArcGIS deep learning packages (.dlpk) in QGIS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .provider.plugin import DeepLearningPackagesPlugin


def classFactory(iface: Any) -> DeepLearningPackagesPlugin:  # noqa: ANN401, N802 - QGIS's name and object
    """Create the plugin; QGIS calls this. `iface` is None in qgis_process."""
    from .provider.plugin import DeepLearningPackagesPlugin

    return DeepLearningPackagesPlugin(iface)
