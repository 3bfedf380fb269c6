"""The packages that the user trusts, by their hashes: a package that changes is another one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date

from qgis.core import QgsSettings

from .settings import GROUP

SETTING = f"{GROUP}/trusted_packages"


@dataclass(frozen=True)
class TrustedPackage:
    """One of them: its hash, its name when it was trusted, and the day (ISO 8601)."""

    sha256: str
    name: str
    since: str


def packages() -> list[TrustedPackage]:
    """All, the latest last; what cannot be read is not trusted."""
    try:
        entries = json.loads(str(QgsSettings().value(SETTING, "[]")))
        return [TrustedPackage(str(entry["sha256"]), str(entry["name"]), str(entry["since"])) for entry in entries]
    except (ValueError, TypeError, KeyError):
        return []


def contains(sha256: str) -> bool:
    """Whether a package is among them."""
    return any(package.sha256 == sha256 for package in packages())


def add(sha256: str, name: str) -> None:
    """Trust a package from now on."""
    others = [package for package in packages() if package.sha256 != sha256]
    _save([*others, TrustedPackage(sha256, name, date.today().isoformat())])


def revoke(hashes: set[str]) -> None:
    """Trust these no longer."""
    _save([package for package in packages() if package.sha256 not in hashes])


def _save(trusted: list[TrustedPackage]) -> None:
    settings = QgsSettings()
    settings.setValue(SETTING, json.dumps([asdict(package) for package in trusted]))
    settings.sync()
