"""Puts a layer of one GeoPackage into another one, in one transaction of SQLite: as it was or as it shall be, never between.

The file keeps its other layers, and programs that have it open keep a whole view of it. Copying tables with their spatial
index takes a few per cent of the time that writing them took. GDAL cannot do it: its layers and their index are committed
one after the other (tried with GDAL 3.6).
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

REFERENCES = (
    "gpkg_extensions", "gpkg_metadata_reference", "gpkg_geometry_columns", "gpkg_data_columns", "gpkg_ogr_contents",
    "gpkg_contents",
)  # fmt: skip
"""Tables of a GeoPackage that describe its layers by their names; the last one is what the others refer to."""
INDEX_PARTS = ("_node", "_parent", "_rowid")
"""Where SQLite keeps an R-tree."""
LOCK_SECONDS = 30
MAGIC = b"SQLite format 3\0"


def is_geopackage(path: Path) -> bool:
    """Whether there is a GeoPackage that layers can be put into.

    Raises:
        sqlite3.Error: It is a database that cannot be read.
    """
    if not path.is_file() or _start(path) != MAGIC:
        return False
    # For writing: where the power went while somebody wrote, SQLite first has to take that back.
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=LOCK_SECONDS)) as database:
        return bool(database.execute("SELECT 1 FROM sqlite_master WHERE name = 'gpkg_contents'").fetchone())


def only_layer(path: Path) -> str:
    """Name of the layer of a GeoPackage that has one."""
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        return str(database.execute("SELECT table_name FROM gpkg_contents").fetchone()[0])


def publish(target: Path, staged: Path, table: str) -> None:
    """Replace a layer of a GeoPackage, or add it.

    Args:
        target: The GeoPackage.
        staged: Another one that holds the layer, closed.
        table: Name of the layer in both.

    Raises:
        sqlite3.Error: It could not be done; the target is as it was.
    """
    with contextlib.closing(sqlite3.connect(target, timeout=LOCK_SECONDS, isolation_level=None, uri=True)) as database:
        # Read-only: else SQLite would commit to both files, and leave a third one behind when the power goes.
        database.execute("ATTACH ? AS staged", (f"{staged.absolute().as_uri()}?mode=ro",))
        database.execute("PRAGMA main.foreign_keys = OFF")
        database.execute("BEGIN IMMEDIATE")
        try:
            transfer = _Transfer(database, table)
            transfer.drop()
            transfer.copy()
            database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            raise


class _Transfer:
    """One layer on its way; names of SQLite do not depend on case."""

    def __init__(self, database: sqlite3.Connection, table: str) -> None:
        self._database, self._table = database, table
        self._have, self._new = self._tables("main"), self._tables("staged")

    def drop(self) -> None:
        """Remove the layer that the target has."""
        for column in self._geometry_columns("main"):
            self._run("DROP TABLE IF EXISTS main.{}", f"rtree_{self._table}_{column}")
        self._run("DROP TABLE IF EXISTS main.{}", self._table)
        for name in REFERENCES:
            if name in self._have:
                self._run("DELETE FROM main.{} WHERE lower(table_name) = lower(?)", name, values=(self._table,))

    def copy(self) -> None:
        """Bring over the staged one: table, spatial index, triggers, and what describes it."""
        self._run(
            "INSERT OR IGNORE INTO main.gpkg_spatial_ref_sys SELECT * FROM staged.gpkg_spatial_ref_sys WHERE srs_id IN "
            "(SELECT srs_id FROM staged.gpkg_contents WHERE lower(table_name) = lower(?))",
            values=(self._table,),
        )
        for name in REFERENCES:
            if name in self._new and name not in self._have:
                self._define(name)
        self._define(self._table)
        self._insert(self._table)
        for column in self._geometry_columns("staged"):
            index = f"rtree_{self._table}_{column}"
            if self._define(index):
                for part in INDEX_PARTS:
                    self._run("DELETE FROM main.{}", index + part)
                    self._insert(index + part)
        query = (
            "SELECT sql FROM staged.sqlite_master WHERE type IN ('index', 'trigger') AND lower(tbl_name) = lower(?) "
            "AND sql IS NOT NULL ORDER BY type"
        )
        for (definition,) in self._run(query, values=(self._table,)):
            self._database.execute(str(definition))
        for name in reversed(REFERENCES):
            if name in self._new:
                self._describe(name)

    def _describe(self, name: str) -> None:
        columns = [str(row[1]) for row in self._run("PRAGMA staged.table_info({})", name)]
        places = ", ".join("{}" for _ in columns)
        # Bandit: what is put together here is braces and commas; names come in quoted.
        statement = "INSERT INTO main.{} (" + places + ") SELECT " + places + " FROM staged.{} WHERE lower(table_name) = lower(?)"  # nosec B608
        self._run(statement, name, *columns, *columns, name, values=(self._table,))

    def _insert(self, table: str) -> None:
        self._run("INSERT INTO main.{} SELECT * FROM staged.{}", table, table)

    def _define(self, name: str) -> bool:
        """Make a table as the staged file has it; whether it has it."""
        query = "SELECT sql FROM staged.sqlite_master WHERE type = 'table' AND lower(name) = lower(?)"
        found = self._run(query, values=(name,))
        for (definition,) in found:
            self._database.execute(str(definition))
        return bool(found)

    def _geometry_columns(self, schema: str) -> list[str]:
        if "gpkg_geometry_columns" not in self._tables(schema):
            return []
        query = "SELECT column_name FROM {}.gpkg_geometry_columns WHERE lower(table_name) = lower(?)"
        return [str(row[0]) for row in self._run(query, schema, values=(self._table,))]

    def _tables(self, schema: str) -> set[str]:
        return {str(row[0]) for row in self._run("SELECT name FROM {}.sqlite_master WHERE type = 'table'", schema)}

    def _run(self, statement: str, *names: str, values: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        """Run a statement; names, which SQLite cannot bind, are quoted into its braces."""
        return self._database.execute(statement.format(*map(_quoted, names)), values).fetchall()


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(MAGIC))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
