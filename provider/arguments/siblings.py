"""Finds the other parameters of a dialog, and what they hold: in the toolbox, the batch table and the modeler."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from qgis.core import Qgis, QgsProcessingParameterDefinition, QgsProject
from qgis.gui import QgsProcessingParameterWidgetContext
from qgis.PyQt.QtWidgets import QWidget

from ...algorithms import settings
from ...algorithms.model_input import local_path
from ...algorithms.rasters.from_value import raster_choice
from ...algorithms.settings import PROCESSORS
from ...inference.arcgis_trained import WAYS
from .reading import RasterChoice


class Siblings:
    """The wrappers beside one of ours.

    Attributes:
        facade: Our own wrapper as QGIS holds it; None until it is known.
    """

    def __init__(self, parameter: QgsProcessingParameterDefinition) -> None:
        """Remember which parameters are looked at: those that the parameter's metadata name."""
        self._name = parameter.name()
        self._names: dict[str, str] = dict(parameter.metadata().get("widget_wrapper", {}))
        self._found: dict[str, Any] = {}
        self.facade: Any = None

    def join(self, wrappers: Iterable[Any]) -> None:
        """Take over the wrappers of the dialog."""
        self._found = {wrapper.parameterDefinition().name(): wrapper for wrapper in wrappers}
        self.facade = self._found.get(self._name)

    def release(self) -> None:
        """Let go of the wrappers: they would otherwise live as long as their own signals, which is for ever."""
        self._found.clear()
        self.facade = None

    def watch(self, role: str, changed: Callable[[], None]) -> None:
        """Have a function called when the parameter of this role changes."""
        wrapper = self._wrapper(role)
        if wrapper is not None:
            wrapper.widgetValueHasChanged.connect(lambda _: changed())

    def model(self) -> str:
        """The path of the package; empty when none is chosen."""
        wrapper = self._wrapper("model")
        value = wrapper.parameterValue() if wrapper is not None else ""
        return local_path(value) if isinstance(value, str) else ""

    def raster(self) -> RasterChoice | None:
        """The raster that is chosen, at the cell size that is chosen; None when there is none that GDAL may open."""
        wrapper = self._wrapper("raster")
        found = raster_choice(wrapper.parameterValue(), QgsProject.instance()) if wrapper is not None else None
        if found is None:
            return None
        wrapper = self._wrapper("cell_size")
        size = wrapper.parameterValue() if wrapper is not None else None
        return RasterChoice(*found, float(size) if isinstance(size, (int, float)) and size > 0 else None)

    def processor(self) -> str:
        """AUTO, CPU or GPU."""
        wrapper = self._wrapper("processor")
        value = wrapper.parameterValue() if wrapper is not None else None
        return value if value in PROCESSORS else "AUTO"

    def arcgis_trained(self) -> str:
        """What runs packages that ArcGIS trained; as in the options where there is no such parameter."""
        wrapper = self._wrapper("arcgis_trained")
        value = wrapper.parameterValue() if wrapper is not None else None
        return value if value in WAYS else settings.load().arcgis_trained

    def tell(self) -> None:
        """Our value has changed."""
        if self.facade is not None:
            self.facade.widgetValueHasChanged.emit(self.facade)

    def _wrapper(self, role: str) -> Any:  # noqa: ANN401 - a wrapper of QGIS
        return self._found.get(self._names.get(role, ""))


class ModelerSiblings:
    """The same in the modeler, which tells a wrapper only the model and the child, and keeps no list."""

    def __init__(self, parameter: QgsProcessingParameterDefinition, container: QWidget) -> None:
        self._model_name = str(parameter.metadata().get("widget_wrapper", {}).get("model", ""))
        self._container = container
        self._saved: str | None = ""

    def set_context(self, context: QgsProcessingParameterWidgetContext) -> None:
        """Look up what the model holds for the child that is edited; the model may be gone later."""
        if context.model() is not None and context.modelChildAlgorithmId():
            child = context.model().childAlgorithm(context.modelChildAlgorithmId())
            self._saved = _static(child.parameterSources().get(self._model_name, ""))

    def model(self) -> str | None:
        """The path of the package; None where it is decided when the model runs."""
        widget = self._widget()
        return self._saved if widget is None else _static(widget.value())

    def _widget(self) -> Any:  # noqa: ANN401 - a widget of QGIS
        """The modeler's own widget of the package: the dialog around us keeps all of them by name."""
        parent = self._container.parentWidget()
        while parent is not None:
            wrappers = getattr(parent, "wrappers", None)
            if isinstance(wrappers, dict) and self._model_name in wrappers:
                return wrappers[self._model_name]
            parent = parent.parentWidget()
        return None


def _static(source: object) -> str | None:
    sources = source if isinstance(source, list) else [source]
    if len(sources) != 1:
        return None
    if not hasattr(sources[0], "source"):
        return str(sources[0] or "")
    is_static = sources[0].source() == Qgis.ProcessingModelChildParameterSource.StaticValue
    return str(sources[0].staticValue() or "") if is_static else None
