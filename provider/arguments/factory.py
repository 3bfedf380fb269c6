"""Gives Processing our widget for parameters that ask for it by their metadata."""

from __future__ import annotations

from qgis.core import QgsProcessingParameterDefinition
from qgis.gui import (
    QgsAbstractProcessingParameterWidgetWrapper,
    QgsProcessingGui,
    QgsProcessingParameterWidgetFactoryInterface,
)

from .wrapper import BatchWrapper, DialogWrapper, ModelerWrapper

Wrapper = type[QgsAbstractProcessingParameterWidgetWrapper]


class WidgetFactory(QgsProcessingParameterWidgetFactoryInterface):
    """One widget type with its wrappers for the dialog, the batch table and the modeler."""

    def __init__(self, widget_type: str, dialog: Wrapper, batch: Wrapper, modeler: Wrapper) -> None:
        super().__init__()
        self._widget_type = widget_type
        kinds = QgsProcessingGui.WidgetType
        self._wrappers = {kinds.Standard: dialog, kinds.Batch: batch, kinds.Modeler: modeler}

    def parameterType(self) -> str:
        """The widget type that parameters name in their metadata."""
        return self._widget_type

    def createWidgetWrapper(
        self, parameter: QgsProcessingParameterDefinition, kind: QgsProcessingGui.WidgetType
    ) -> QgsAbstractProcessingParameterWidgetWrapper:
        """A wrapper for one place."""
        return self._wrappers[kind](parameter, kind)


def arguments_factory(widget_type: str) -> WidgetFactory:
    """The factory of the arguments widget."""
    return WidgetFactory(widget_type, DialogWrapper, BatchWrapper, ModelerWrapper)
