"""The provider in Processing's registry, for attacks that go all the way to an output."""

from __future__ import annotations

import pytest
from deep_learning_packages.provider.provider import DeepLearningPackagesProvider
from qgis.core import QgsApplication


@pytest.fixture(scope="module")
def provider(qgis_processing):
    provider = DeepLearningPackagesProvider()
    QgsApplication.processingRegistry().addProvider(provider)
    yield provider
    QgsApplication.processingRegistry().removeProvider(provider)
