"""Adds features to a layer that exists: all of them or none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from qgis.core import (
    QgsFeature,
    QgsFeatureSink,
    QgsProcessingException,
    QgsTransaction,
    QgsVectorLayer,
    QgsVectorLayerUtils,
)

from ...inference.translation import tr
from . import files

AT_ONCE = 10_000
"""Features that are handed over together."""


def append(source: QgsVectorLayer, target: QgsVectorLayer, file: Path | None, folder: Path) -> None:
    """Add all features of a layer to another one.

    Args:
        source: Its fields are those of the target.
        target: In a database, in one transaction; else a file.
        file: The target's file, if it is one.
        folder: For a copy of the file; on the same disk.

    Raises:
        QgsProcessingException: It could not be done; the target is as it was.
    """
    transaction = QgsTransaction.create({target})
    if transaction is not None:
        _in_transaction(source, target, transaction)
    elif file is not None:
        _to_copy(source, file, folder)
    else:  # one call is one transaction, where a provider knows them
        _add(target, list(_features(source, target)))


def _in_transaction(source: QgsVectorLayer, target: QgsVectorLayer, transaction: QgsTransaction) -> None:
    begun, problem = transaction.begin()
    if not begun:
        raise _failure(problem)
    try:
        features = _features(source, target)
        while batch := list(islice(features, AT_ONCE)):
            _add(target, batch)
    except BaseException:
        transaction.rollback()
        raise
    done, problem = transaction.commit()
    if not done:
        raise _failure(problem)


def _to_copy(source: QgsVectorLayer, file: Path, folder: Path) -> None:
    for path in (file, *files.beside(file)):
        shutil.copy2(path, folder / path.name)
    copy = QgsVectorLayer(str(folder / file.name), file.stem, "ogr")
    _add(copy, list(_features(source, copy)))
    del copy  # closes it
    files.replace(file, folder)


def _features(source: QgsVectorLayer, target: QgsVectorLayer) -> Iterator[QgsFeature]:
    for feature in source.getFeatures():
        for made in QgsVectorLayerUtils.makeFeatureCompatible(feature, target):
            for key in target.primaryKeyAttributes():
                made.setAttribute(key, None)  # the target counts on
            yield made


def _add(layer: QgsVectorLayer, features: list[QgsFeature]) -> None:
    done, _ = layer.dataProvider().addFeatures(features, QgsFeatureSink.Flag.FastInsert)
    if not done:
        raise _failure("; ".join(layer.dataProvider().errors()) or layer.dataProvider().lastError())


def _failure(problem: str) -> QgsProcessingException:
    return QgsProcessingException(
        tr("The detections cannot be added to the layer, which is as it was: {error}", error=problem or tr("no reason is given"))
    )
