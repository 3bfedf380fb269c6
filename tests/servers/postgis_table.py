"""A table of features in the server of servers.postgres_server, and the ways to name it."""

from __future__ import annotations

from pathlib import Path

from osgeo import gdal

from servers.postgres_server import USER

TABLE = "features"
GEOMETRY = "geom"
KEY = "fid"


def load(features: Path, folder: Path) -> None:
    """Copy a file of features into the table; the key counts from 1."""
    options = gdal.VectorTranslateOptions(
        format="PostgreSQL",
        layerName=TABLE,
        geometryType=["PROMOTE_TO_MULTI"],
        layerCreationOptions=[f"GEOMETRY_NAME={GEOMETRY}", f"FID={KEY}", "LAUNDER=NO"],
    )
    if gdal.VectorTranslate(f"PG:host={folder} dbname=postgres user={USER}", str(features), options=options) is None:
        raise RuntimeError(gdal.GetLastErrorMsg())


def source(folder: Path) -> str:
    """The table as QGIS's provider postgres names it."""
    return f"dbname='postgres' host={folder} user='{USER}' key='{KEY}' table=\"public\".\"{TABLE}\" ({GEOMETRY})"


def source_text(folder: Path) -> str:
    """The table as parameters of algorithms and qgis_process name it."""
    return f"postgres://{source(folder)}"
