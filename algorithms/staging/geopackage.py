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
WITH_CRS = ("gpkg_geometry_columns", "gpkg_contents")
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
        database.create_function("with_srs_id", 2, _with_srs_id, deterministic=True)
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
        own, number = self._copy_crs()
        for name in REFERENCES:
            if name in self._new and name not in self._have:
                self._define(name)
        self._define(self._table)
        self._insert(self._table)
        for column in self._geometry_columns("staged"):
            self._renumber(column, own, number)
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
                self._describe(name, number)

    def _renumber(self, column: str, own: object, number: object) -> None:
        """Have the geometries name the CRS as the target does."""
        if own != number:
            statement = "UPDATE main.{} SET {} = with_srs_id({}, ?)"
            self._run(statement, self._table, column, column, values=(number,))

    def _copy_crs(self) -> tuple[object, object]:
        """Have the target know the layer's CRS; the number that the staged file gives it, and the one that the target does.

        Both number their own CRSs from the same number on.
        """
        query = (
            "SELECT srs_name, srs_id, organization, organization_coordsys_id, definition, description "
            "FROM {}.gpkg_spatial_ref_sys WHERE srs_id = ?"
        )
        own = self._run("SELECT srs_id FROM staged.gpkg_contents WHERE lower(table_name) = lower(?)", values=(self._table,))[0][0]
        (wanted,) = self._run(query, "staged", values=(own,))
        known = self._run(query, "main", values=(own,))
        if known == [wanted]:
            return own, own
        same = "SELECT srs_id FROM main.gpkg_spatial_ref_sys WHERE definition = ? AND lower(organization) = lower(?)"
        if found := self._run(same, values=(wanted[4], wanted[2])):
            return own, found[0][0]
        number = own if not known else self._run("SELECT max(max(srs_id), 100000) + 1 FROM main.gpkg_spatial_ref_sys")[0][0]
        statement = (  # by name: some files have more columns
            "INSERT INTO main.gpkg_spatial_ref_sys "
            "(srs_name, srs_id, organization, organization_coordsys_id, definition, description) VALUES (?, ?, ?, ?, ?, ?)"
        )
        self._run(statement, values=(wanted[0], number, *wanted[2:]))
        return own, number

    def _describe(self, name: str, number: object) -> None:
        columns = [str(row[1]) for row in self._run("PRAGMA staged.table_info({})", name)]
        places = ", ".join("{}" for _ in columns)
        # Bandit: what is put together here is braces and commas; names come in quoted.
        statement = "INSERT INTO main.{} (" + places + ") SELECT " + places + " FROM staged.{} WHERE lower(table_name) = lower(?)"  # nosec B608
        self._run(statement, name, *columns, *columns, name, values=(self._table,))
        if name in WITH_CRS:
            self._run("UPDATE main.{} SET srs_id = ? WHERE lower(table_name) = lower(?)", name, values=(number, self._table))

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


def _with_srs_id(geometry: bytes | None, number: int) -> bytes | None:
    """A geometry with another CRS: bytes 4 to 7 of its header, in the order that bit 0 of byte 3 tells (GeoPackage 2.1.3)."""
    if geometry is None:
        return None
    return geometry[:4] + number.to_bytes(4, "little" if geometry[3] & 1 else "big", signed=True) + geometry[8:]


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(MAGIC))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
