"""The plugin: puts the provider into Processing, and the desktop's questions where there is a desktop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qgis.core import QgsApplication, QgsSettings
from qgis.PyQt.QtCore import QCoreApplication, QLocale, QTranslator

from ..algorithms import settings
from ..inference.cache import set_default
from ..inference.translation import CONTEXT, set_translator
from .provider import DeepLearningPackagesProvider

if TYPE_CHECKING:
    from .desktop import Desktop

TRANSLATIONS = Path(__file__).parent.parent / "i18n"


class DeepLearningPackagesPlugin:
    """Created by classFactory; QGIS calls initGui in the desktop and initProcessing alone in qgis_process."""

    def __init__(self) -> None:
        self._provider: DeepLearningPackagesProvider | None = None
        self._desktop: Desktop | None = None
        self._translator = QTranslator()
        self._install_translator()
        set_default(settings.load().cache)

    def initProcessing(self) -> None:
        """Register the provider."""
        self._provider = DeepLearningPackagesProvider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self) -> None:
        """Register the provider and what only the desktop has."""
        self.initProcessing()
        from .desktop import Desktop

        self._desktop = Desktop()

    def unload(self) -> None:
        """Take everything back."""
        if self._desktop is not None:
            self._desktop.close()
            self._desktop = None
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)
            self._provider = None
        QCoreApplication.removeTranslator(self._translator)

    def _install_translator(self) -> None:
        locale = QgsSettings().value("locale/userLocale", QLocale().name()) or ""
        if self._translator.load(str(TRANSLATIONS / f"deep_learning_packages_{locale[:2]}.qm")):
            QCoreApplication.installTranslator(self._translator)
        set_translator(lambda text: QCoreApplication.translate(CONTEXT, text))
