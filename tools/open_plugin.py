"""Run by QGIS at its start (`qgis --code`): switches the plugin on in the profile that was opened."""

from qgis.core import QgsSettings
from qgis.utils import loadPlugin, startPlugin, updateAvailablePlugins

NAME = "deep_learning_packages"

updateAvailablePlugins()
if loadPlugin(NAME) and startPlugin(NAME):
    QgsSettings().setValue(f"PythonPlugins/{NAME}", True)
