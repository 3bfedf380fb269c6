"""Models of the graphical modeler that come with the plugin, as algorithms of the toolbox."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsProcessingModelAlgorithm
from qgis.PyQt.QtGui import QIcon

from ..inference.translation import tr

MODELS = Path(__file__).parent.parent / "resources" / "models"
ICONS = Path(__file__).parent.parent / "resources" / "icons"


class DetectAndClassify(QgsProcessingModelAlgorithm):
    """dlpk:detectandclassify: what one package detects is classified by another one; also an example for own models."""

    def __init__(self) -> None:
        super().__init__()
        self.fromFile(str(MODELS / "detect_and_classify.model3"))

    def createInstance(self) -> DetectAndClassify:
        return DetectAndClassify()

    def displayName(self) -> str:
        return tr("Detect and classify objects")

    def shortHelpString(self) -> str:
        return tr(
            "Detects objects in a raster with one deep learning package, and classifies each of them with another one. The "
            "output has the features of the first, with the label and confidence of the second."
        )

    def icon(self) -> QIcon:
        return QIcon(str(ICONS / "classify_objects.svg"))
