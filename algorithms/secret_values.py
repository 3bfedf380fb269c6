"""Values of model arguments that lie in QGIS's authentication database: users write where they are, not what they are."""

from __future__ import annotations

import re
from collections.abc import Mapping

from qgis.core import QgsApplication, QgsAuthMethodConfig

from ..inference.errors import ArgumentValueError
from ..inference.translation import tr

REFERENCE = re.compile(r"authcfg:(\w+)", re.IGNORECASE)
KEYS = ("password", "token", "apikey")  # pragma: allowlist secret
"""What a configuration calls its secret; one of headers has any names, and its first value counts."""


def resolved(values: Mapping[str, str]) -> tuple[dict[str, str], frozenset[str]]:
    """Put secrets in the place of references such as authcfg:abc1234.

    Returns:
        The values, and which of them are secrets.

    Raises:
        ArgumentValueError: There is no such configuration, or it cannot be opened.
    """
    found = {name: REFERENCE.fullmatch(value.strip()) for name, value in values.items()}
    secrets = {name: _secret(name, match.group(1)) for name, match in found.items() if match is not None}
    return {**values, **secrets}, frozenset(secrets.values())


def _secret(name: str, identifier: str) -> str:
    configuration = QgsAuthMethodConfig()
    done = QgsApplication.authManager().loadAuthenticationConfig(identifier, configuration, True)
    loaded = done[0] if isinstance(done, tuple) else done
    kept = configuration.configMap()
    value = next((kept[key] for key in (*KEYS, *kept) if kept.get(key)), "") if loaded else ""
    if not value:
        raise ArgumentValueError(
            tr("The argument {name} refers to the authentication configuration {identifier}, which cannot be opened. Look for "
               "it in QGIS's options (Authentication).", name=name, identifier=identifier)
        )  # fmt: skip
    return str(value)
