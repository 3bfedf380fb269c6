"""QGIS's authentication database, with configurations of a test's own."""

from __future__ import annotations

import pytest


@pytest.fixture
def authentication():
    """Makes authentication configurations in a database of this test's own."""
    from qgis.core import QgsApplication, QgsAuthMethodConfig

    manager = QgsApplication.authManager()
    if not manager.masterPasswordIsSet():
        assert manager.setMasterPassword("of the test", True)
    made = []

    def make(method: str, **values: str) -> str:
        configuration = QgsAuthMethodConfig(method)
        configuration.setName("test")
        for name, value in values.items():
            configuration.setConfig(name, value)
        done, configuration = manager.storeAuthenticationConfig(configuration)
        assert done
        made.append(configuration.id())
        return configuration.id()

    yield make
    for identifier in made:
        manager.removeAuthenticationConfig(identifier)
