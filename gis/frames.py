"""Rows with geometry from a named query as a GeoDataFrame."""

from __future__ import annotations

import geopandas as gpd
import shapely
from sqlalchemy import Connection, TextClause

from gis.db import read_frame


def read_geoframe(conn: Connection, statement: TextClause, srid: int, **parameters: object) -> gpd.GeoDataFrame:
    """The rows of a query that has a column ``geom``, as a GeoDataFrame in EPSG:``srid``."""
    frame = read_frame(conn, statement, **parameters)
    geometry = shapely.from_wkb(frame.pop("geom").to_numpy(dtype=object))
    return gpd.GeoDataFrame(frame, geometry=geometry, crs=srid)
