"""Puts a table of PostgreSQL in the place of another one, in one transaction."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from qgis.core import (
    QgsAbstractDatabaseProviderConnection,
    QgsDataSourceUri,
    QgsProviderConnectionException,
    QgsProviderRegistry,
    QgsVectorLayer,
)

from ...inference.cache import is_abandoned, unfinished_name

PREFIX = re.compile(r"^postgres(?:ql)?:(?://)?", re.IGNORECASE)
LOCK_SECONDS = 30


@dataclass(frozen=True)
class PostgresTable:
    """A table on a server, by the address that Processing uses.

    Attributes:
        address: Without its prefix; credentials stay in QGIS's authentication database where they are there.
        schema, name: Of the table.
    """

    address: str
    schema: str
    name: str

    @classmethod
    def of(cls, destination: str) -> PostgresTable | None:
        """The table that a destination names; None for another kind of destination."""
        prefix = PREFIX.match(destination)
        if prefix is None:
            return None
        uri = QgsDataSourceUri(destination[prefix.end() :])
        return cls(destination[prefix.end() :], uri.schema() or "public", uri.table()) if uri.table() else None

    @property
    def destination(self) -> str:
        """For Processing."""
        return f"postgres://{self.address}"

    def layer(self) -> QgsVectorLayer:
        """The table as a layer."""
        return QgsVectorLayer(self.address, self.name, "postgres")

    def without_geometry(self) -> PostgresTable:
        """The same without a column for geometries, which QGIS's dialog names in any case."""
        return self._renamed(self.name, "")

    def staged(self, has_geometry: bool = True) -> PostgresTable:
        """Another table beside it, with a name of this process."""
        column = QgsDataSourceUri(self.address).geometryColumn() or "geom"
        return self._renamed(unfinished_name(), column if has_geometry else "")

    def _renamed(self, name: str, geometry: str) -> PostgresTable:
        uri = QgsDataSourceUri(self.address)
        uri.setDataSource(self.schema, name, geometry, uri.sql(), uri.keyColumn())
        return PostgresTable(uri.uri(False), self.schema, name)

    def remove_abandoned(self) -> None:
        """Drop what processes that no longer run have left beside it."""
        query = "SELECT tablename FROM pg_tables WHERE schemaname = {}"
        for (name,) in self._run(query, _literal(self.schema)):
            if is_abandoned(str(name)):
                self._run("DROP TABLE IF EXISTS {}", _quoted(self.schema, str(name)))

    def count(self) -> int:
        """How many rows it has."""
        return int(self._run("SELECT count(*) FROM {}", _quoted(self.schema, self.name))[0][0])

    def drop(self) -> None:
        """Remove the table, if it is there."""
        self._run("DROP TABLE IF EXISTS {}", _quoted(self.schema, self.name))

    def replace_by(self, staged: PostgresTable) -> None:
        """Give another table the name of this one, which goes.

        Raises:
            QgsProviderConnectionException: It could not be done, as when a view needs the table; all is as it was.
        """
        connection = self._connection()
        constraint, sequence = self._belongings(staged)
        table = _quoted(self.schema, self.name)
        statements = [
            "BEGIN",
            f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'",
            f"DROP TABLE IF EXISTS {table}",
            f"ALTER TABLE {_quoted(staged.schema, staged.name)} RENAME TO {_quoted(self.name)}",
        ]
        if constraint:
            statements.append(f"ALTER TABLE {table} RENAME CONSTRAINT {_quoted(constraint)} TO {_quoted(f'{self.name}_pkey')}")
        if sequence:
            new = _quoted(f"{self.name}_{sequence[1]}_seq")
            statements.append(f"ALTER SEQUENCE {_quoted(self.schema, sequence[0])} RENAME TO {new}")
        try:
            connection.executeSql("; ".join([*statements, "COMMIT"]))
        except QgsProviderConnectionException:
            connection.executeSql("ROLLBACK")
            raise

    def _belongings(self, staged: PostgresTable) -> tuple[str, tuple[str, str] | None]:
        """Names of the primary key, and of the sequence that fills a column of it, with the column."""
        place = _literal(_quoted(staged.schema, staged.name))
        keys = self._run("SELECT conname FROM pg_constraint WHERE conrelid = {}::regclass AND contype = 'p'", place)
        sequences = self._run(
            "SELECT s.relname, a.attname FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' "
            "JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid WHERE d.refobjid = {}::regclass",
            place,
        )
        return str(keys[0][0]) if keys else "", (str(sequences[0][0]), str(sequences[0][1])) if sequences else None

    def _run(self, statement: str, *parts: str) -> list[list[Any]]:
        """Run a statement with quoted names and literals in its braces: QGIS's connections bind no values."""
        found: list[list[Any]] = self._connection().executeSql(statement.format(*parts))
        return found

    def _connection(self) -> QgsAbstractDatabaseProviderConnection:
        address = QgsDataSourceUri(self.address).connectionInfo(False)
        return QgsProviderRegistry.instance().providerMetadata("postgres").createConnection(address, {})


def _quoted(*names: str) -> str:
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
