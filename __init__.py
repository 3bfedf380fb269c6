"""Deep Learning Packages: runs ArcGIS deep learning packages (.dlpk) in QGIS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .provider.plugin import DeepLearningPackagesPlugin


def classFactory(_iface: Any) -> DeepLearningPackagesPlugin:  # noqa: ANN401 - QGIS's name and object
    """Create the plugin; QGIS calls this."""
    from .provider.plugin import DeepLearningPackagesPlugin

    return DeepLearningPackagesPlugin()
