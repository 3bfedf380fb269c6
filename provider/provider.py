"""The Processing provider `dlpk`."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from ..algorithms.classify_objects import ClassifyObjects
from ..algorithms.detect_objects import DetectObjects
from ..algorithms.inspect_package import InspectPackage
from ..algorithms.non_maximum_suppression import NonMaximumSuppression
from ..algorithms.packaged_model import DetectAndClassify
from ..inference.translation import tr

ICON = Path(__file__).parent.parent / "resources" / "icons" / "provider.svg"


class DeepLearningPackagesProvider(QgsProcessingProvider):
    """Lists the algorithms."""

    def id(self) -> str:
        """Id in `dlpk:detectobjects`; never changes."""
        return "dlpk"

    def name(self) -> str:
        """Name in the toolbox."""
        return tr("Deep Learning Packages")

    def longName(self) -> str:
        """Name where there is room."""
        return tr("Deep Learning Packages (ArcGIS .dlpk)")

    def icon(self) -> QIcon:
        """Icon in the toolbox."""
        return QIcon(str(ICON))

    def loadAlgorithms(self) -> None:
        """Add every algorithm."""
        for algorithm in (DetectObjects(), ClassifyObjects(), NonMaximumSuppression(), InspectPackage(), DetectAndClassify()):
            self.addAlgorithm(algorithm)
