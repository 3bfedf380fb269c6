"""Tables of a real PostGIS: replaced in one transaction, added to in one transaction, and nothing left of runs that died."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from deep_learning_packages.algorithms.staging.postgres import PostgresTable
from outputs import BOXES, FAILING, added, make_inputs, run
from packages import make_package
from qgis.core import QgsProcessingException, QgsProviderRegistry
from servers.postgres_server import missing, postgres_server

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.usefixtures("provider"),
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
]


@pytest.fixture
def inputs(tmp_path, cache) -> dict[str, str]:
    return make_inputs(tmp_path)


@pytest.fixture(scope="module")
def server():
    with postgres_server() as folder:
        yield folder


class Database:
    def __init__(self, folder: Path) -> None:
        self.address = f"dbname='postgres' host={folder} user='tester'"
        metadata = QgsProviderRegistry.instance().providerMetadata("postgres")
        self.connection = metadata.createConnection(self.address, {})

    def sql(self, text: str) -> list[list[object]]:
        return self.connection.executeSql(text)

    def destination(self, table: str) -> str:
        return f'postgres://{self.address} table="public"."{table}" (geom)'

    def tables(self) -> list[str]:
        return [
            str(row[0])
            for row in self.sql(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'spatial_ref_sys' ORDER BY 1"
            )
        ]

    def old(self, table: str) -> None:
        self.sql(f'CREATE TABLE "{table}" (id serial PRIMARY KEY, old integer, geom geometry(Polygon, 32633))')
        self.sql(
            f"INSERT INTO \"{table}\" (old, geom) SELECT 1, ST_GeomFromText('POLYGON((0 0,0 1,1 1,0 0))', 32633) FROM generate_series(1, 5)"
        )

    def count(self, table: str) -> int:
        return self.sql(f'SELECT count(*) FROM "{table}"')[0][0]


@pytest.fixture
def database(server) -> Database:
    database = Database(server)
    for table in database.tables():
        database.sql(f'DROP TABLE "{table}" CASCADE')
    return database


def test_new_table_and_again(inputs, database):
    for _ in range(2):
        run(inputs, database.destination("Found it"))
        assert database.tables() == ["Found it"]
        assert database.count("Found it") == BOXES
        keys = database.sql("SELECT conname FROM pg_constraint WHERE contype = 'p' AND conrelid = '\"Found it\"'::regclass")
        assert keys == [["Found it_pkey"]]


def test_failing_run_leaves_the_table(inputs, tmp_path, database):
    database.old("t")
    with pytest.raises(QgsProcessingException, match="ValueError: no"):
        run({**inputs, "MODEL": str(make_package(tmp_path / "failing", FAILING))}, database.destination("t"))
    assert (database.tables(), database.count("t")) == (["t"], 5)


def test_old_table_is_replaced(inputs, database):
    database.old("t")
    result = run(inputs, database.destination("t"))
    assert (database.tables(), database.count("t")) == (["t"], BOXES)
    assert result["OUTPUT"]
    database.sql("INSERT INTO t (geom) VALUES (NULL)")  # its sequence has come along


def test_table_that_a_view_needs_stays(inputs, database):
    database.old("t")
    database.sql("CREATE VIEW v AS SELECT * FROM t")
    with pytest.raises(QgsProcessingException, match="cannot be written: .*What was there before is as it was"):
        run(inputs, database.destination("t"))
    assert (database.tables(), database.count("t")) == (["t"], 5)


def test_appending(inputs, database):
    database.old("t")
    assert added(inputs, database.destination("t")) == 5 + BOXES
    assert database.tables() == ["t"]


WRITER = """
import sys; sys.path[:0] = [sys.argv[1]]
from qgis.core import *
application = QgsApplication([], False); application.initQgis()
from deep_learning_packages.algorithms.staging.postgres import PostgresTable
table = PostgresTable.of(sys.argv[2]).staged()
layer = QgsVectorLayer("Polygon?crs=EPSG:32633&field=a:integer", "x", "memory")
feature = QgsFeature(layer.fields()); feature.setGeometry(QgsGeometry.fromWkt("POLYGON((0 0,0 1,1 1,0 0))"))
exporter = QgsVectorLayerExporter(table.address, "postgres", layer.fields(), QgsWkbTypes.Polygon, layer.crs(), True)
print("begun", flush=True)
import time
end = time.monotonic() + 60  # whatever becomes of the test
while time.monotonic() < end:
    exporter.addFeature(QgsFeature(feature), QgsFeatureSink.FastInsert)
"""


def test_power_cut_while_it_is_written(inputs, database):
    """The old table is as it was; the next run drops what the dead one has left, and not what a live one works on."""
    database.old("t")
    destination = database.destination("t")
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(ROOT / "build/plugins"), destination], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    for writer in writers:
        assert writer.stdout.readline() == b"begun\n"
    time.sleep(0.3)
    writers[0].kill()
    writers[0].wait()
    time.sleep(0.3)
    assert (len(database.tables()), database.count("t")) == (3, 5)
    run(inputs, destination)
    assert (len(database.tables()), database.count("t")) == (2, BOXES)
    writers[1].kill()
    for writer in writers:
        writer.wait()
        writer.stdout.close()
    time.sleep(0.3)
    PostgresTable.of(destination).remove_abandoned()
    assert database.tables() == ["t"]


def test_address_without_a_table_is_no_table():
    assert PostgresTable.of("postgres://dbname='x'") is None
    assert PostgresTable.of("/tmp/x.gpkg") is None
