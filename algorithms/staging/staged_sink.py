"""The sink of an output that appears whole or not at all."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from qgis.core import (
    Qgis,
    QgsCoordinateReferenceSystem,
    QgsFeatureRequest,
    QgsFeatureSink,
    QgsFields,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingOutputLayerDefinition,
    QgsProperty,
    QgsProviderConnectionException,
    QgsRemappingProxyFeatureSink,
    QgsRemappingSinkDefinition,
    QgsVectorLayer,
)

from ...inference import cache
from ...inference.translation import tr
from . import files, geopackage
from .appending import append
from .destination import Destination
from .postgres import PostgresTable


@dataclass(frozen=True)
class Layout:
    """What a sink is made with: fields, geometry type, CRS."""

    fields: QgsFields
    wkb_type: Qgis.WkbType
    crs: QgsCoordinateReferenceSystem


class StagedSink:
    """A sink straight into its destination: for temporary layers, and where nothing better is known.

    Attributes:
        sink: Takes features until `publish`; nobody else may keep it, as that would keep it open.
    """

    def __init__(
        self, algorithm: QgsProcessingAlgorithm, parameters: dict[str, object], name: str, context: QgsProcessingContext,
        layout: Layout,
    ) -> None:  # fmt: skip
        self._algorithm, self._parameters, self._name = algorithm, parameters, name
        self._context, self._layout = context, layout
        self._staged, self._keys = "", set[str]()
        self.sink: QgsFeatureSink | None = None

    def open(self) -> None:
        """Make the sink.

        Raises:
            QgsProcessingException: It cannot be made.
        """
        self.sink = self._made(self._parameters[self._name], self._layout)

    def publish(self, count: int) -> str:  # noqa: ARG002 - what is written directly is not looked at again
        """Close the sink and put the output in its place; gives the layer as Processing names it.

        Args:
            count: How many features were written.

        Raises:
            QgsProcessingException: It could not be done; what was in that place is as it was.
        """
        self._close()
        return self._load_instead(self._staged)

    def discard(self) -> None:
        """Remove whatever was not published."""
        self.sink = None
        layers = self._context.layersToLoadOnCompletion()
        self._context.setLayersToLoadOnCompletion({key: layers[key] for key in layers if key not in self._keys})

    def _elsewhere(self, destination: str) -> object:
        """The parameter's value with another destination."""
        value = self._parameters[self._name]
        if not isinstance(value, QgsProcessingOutputLayerDefinition):
            return destination
        moved = QgsProcessingOutputLayerDefinition(value)
        moved.sink = QgsProperty.fromValue(destination)
        return moved

    def _made(self, value: object, layout: Layout) -> QgsFeatureSink:
        """Make a sink as a value of the parameter says."""
        before = set(self._context.layersToLoadOnCompletion())
        sink, self._staged = self._algorithm.parameterAsSink(
            {**self._parameters, self._name: value}, self._name, self._context, layout.fields, layout.wkb_type, layout.crs
        )
        if sink is None:
            raise QgsProcessingException(self._algorithm.invalidSinkError(self._parameters, self._name))
        self._keys = set(self._context.layersToLoadOnCompletion()) - before
        return sink

    def _close(self) -> None:
        """Closing writes what is left; QGIS tells nothing of errors there (see `_check`)."""
        if self.sink is not None and not self.sink.flushBuffer():
            raise _unwritten(self.sink.lastError())
        self.sink = None

    def _check(self, count: int) -> None:
        """Look whether the closed output holds what was written: on a full disk it may not, though nobody complained."""
        layer = QgsVectorLayer(self._staged, "staged", "ogr")
        found = sum(1 for _ in layer.getFeatures(QgsFeatureRequest().setNoAttributes())) if layer.isValid() else 0
        if not layer.isValid() or found < count:  # an appended feature may become several
            raise _unwritten(tr("{found} of {count} features are in the file. Is the disk full?", found=found, count=count))

    def _load_instead(self, destination: str) -> str:
        """Have Processing load the published layer, not the staged one."""
        layers = self._context.layersToLoadOnCompletion()
        for key in self._keys & set(layers):
            layers[destination] = layers.pop(key)
        self._context.setLayersToLoadOnCompletion(layers)
        self._keys.clear()
        return destination

    def _kept(self, layer: QgsVectorLayer) -> str:
        """The name by which Processing finds a layer that is no file."""
        self._context.temporaryLayerStore().addMapLayer(layer)
        return layer.id()


class StagedFile(StagedSink):
    """A file, or a layer of a GeoPackage: written into a folder beside it."""

    def __init__(self, destination: Destination, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._destination = destination
        self._target = Path(destination.file or "").absolute()
        self._folder = cache.unfinished_path(self._target.parent)

    def open(self) -> None:
        """See StagedSink."""
        self._folder.mkdir()
        if self._destination.table and self._target.is_file() and not geopackage.is_geopackage(self._target):
            for path in (self._target, *files.beside(self._target)):  # its other layers stay
                shutil.copy2(path, self._folder / path.name)
        self.sink = self._made(self._elsewhere(self._destination.moved(self._folder / self._target.name)), self._layout)

    def publish(self, count: int) -> str:
        """See StagedSink."""
        self._close()
        self._check(count)
        try:
            return self._load_instead(self._put())
        except (OSError, sqlite3.Error) as error:
            raise _unwritten(error) from error

    def _put(self) -> str:
        staged = self._folder / self._target.name
        if geopackage.is_geopackage(staged):
            table = self._destination.table or geopackage.only_layer(staged)
            if geopackage.is_geopackage(self._target):
                geopackage.publish(self._target, staged, table)
                return f"{self._target}|layername={table}"
        files.replace(self._target, self._folder)
        return f"{self._target}|layername={self._destination.table}" if self._destination.table else str(self._target)

    def discard(self) -> None:
        """See StagedSink."""
        super().discard()
        cache.remove(self._folder)


class StagedTable(StagedSink):
    """A table of PostgreSQL: written into another one beside it."""

    def __init__(self, table: PostgresTable, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        has_geometry = self._layout.wkb_type != Qgis.WkbType.NoGeometry
        self._table = table if has_geometry else table.without_geometry()
        self._beside = table.staged(has_geometry)

    def open(self) -> None:
        """See StagedSink."""
        self._table.remove_abandoned()
        self.sink = self._made(self._elsewhere(self._beside.destination), self._layout)

    def publish(self, count: int) -> str:
        """See StagedSink."""
        self._close()
        found = self._beside.count()
        if found != count:
            raise _unwritten(tr("{found} of {count} features have arrived.", found=found, count=count))
        try:
            self._table.replace_by(self._beside)
        except QgsProviderConnectionException as error:
            raise _unwritten(error) from error
        return self._load_instead(self._kept(self._table.layer()))

    def discard(self) -> None:
        """See StagedSink."""
        super().discard()
        self._beside.drop()


class StagedAddition(StagedSink):
    """Features for a layer that exists: written into a file with the fields of that layer."""

    def __init__(self, destination: Destination, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._destination, self._table = destination, PostgresTable.of(destination.text)
        parent = cache.cache_folder() / "outputs" if destination.file is None else destination.file.absolute().parent
        self._folder = cache.unfinished_path(parent)
        self._made_sink: QgsFeatureSink | None = None

    def open(self) -> None:
        """See StagedSink."""
        self._folder.mkdir()
        mapping = QgsRemappingSinkDefinition(self._parameters[self._name].remappingDefinition())
        mapping.setSourceCrs(self._layout.crs)
        layout = Layout(mapping.destinationFields(), mapping.destinationWkbType(), mapping.destinationCrs())
        self._made_sink = self._made(str(self._folder / "staged.gpkg"), layout)
        self.sink = QgsRemappingProxyFeatureSink(mapping, self._made_sink)
        expressions = self._context.expressionContext()
        expressions.setFields(self._layout.fields)
        self.sink.setExpressionContext(expressions)
        self.sink.setTransformContext(self._context.transformContext())

    def publish(self, count: int) -> str:
        """See StagedSink."""
        self._close()
        self._made_sink = None
        self._check(count)
        target = self._target()
        folder = self._folder / "copy"
        folder.mkdir()
        append(QgsVectorLayer(self._staged, "staged", "ogr"), target, self._destination.file, folder)
        destination, value = self._kept(target), self._parameters[self._name]
        if value.destinationProject is not None:
            name = value.destinationName or target.name()
            details = QgsProcessingContext.LayerDetails(name, value.destinationProject, self._name)
            self._context.addLayerToLoadOnCompletion(destination, details)
        return destination

    def discard(self) -> None:
        """See StagedSink."""
        super().discard()
        self._made_sink = None
        cache.remove(self._folder)

    def _target(self) -> QgsVectorLayer:
        if self._table is not None:
            return self._table.layer()
        table = f"|layername={self._destination.table}" if self._destination.table else ""
        return QgsVectorLayer(f"{self._destination.file}{table}", self._destination.table, "ogr")


@contextmanager
def staged_sink(
    algorithm: QgsProcessingAlgorithm, parameters: dict[str, object], name: str, context: QgsProcessingContext, layout: Layout
) -> Iterator[StagedSink]:
    """Make the sink of an algorithm; what is not published when the context ends leaves no trace.

    Args:
        algorithm: Its parameters tell where the output goes.
        parameters: Their values.
        name: Of the sink's parameter.
        context: Loads layers on completion.
        layout: Of the layer.

    Raises:
        QgsProcessingException: The sink cannot be made.
    """
    destination = Destination.of(parameters.get(name))
    table = PostgresTable.of(destination.text)
    arguments = (algorithm, parameters, name, context, layout)
    staged = StagedSink(*arguments)
    if destination.appends and (destination.file is not None or table is not None):
        staged = StagedAddition(destination, *arguments)
    elif destination.file is not None:
        staged = StagedFile(destination, *arguments)
    elif table is not None:
        staged = StagedTable(table, *arguments)
    try:
        staged.open()
        yield staged
    finally:
        staged.discard()


def _unwritten(problem: object) -> QgsProcessingException:
    return QgsProcessingException(
        tr("The detections cannot be written: {error} What was there before is as it was; run again to write them, without "
           "searching again.", error=" ".join(f"{problem}".split()).rstrip(".") + ".")
    )  # fmt: skip
