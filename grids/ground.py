"""The ground: streets, rail, water, walls, buildings and green, on which cutting, checks and maps stand."""

from __future__ import annotations

import geopandas as gpd
from sqlalchemy import Connection

from gis.crs import snap
from gis.db import copy_frame
from gis.history import Version
from gis.layer import Layer

GROUND = Layer(
    name="ground",
    relation="ground",
    key="id",
    geometry=("LineString", "MultiLineString", "Polygon", "MultiPolygon"),
    columns=("id", "kind", "grade", "name_zh", "name_en", "width_m", "data_source", "simulated"),
    title_zh="地物",
    title_en="The ground: streets, rail, water, walls, buildings, green",
    tile_columns=("id", "kind", "grade", "name_zh", "name_en", "width_m"),
    later=((12, "grade", ("street",)), (14, "grade", ("lane",)), (14, "kind", ("building", "wall"))),
)

COLUMNS = ["kind", "grade", "name_zh", "name_en", "width_m", "data_source"]


def load_ground(conn: Connection, ground: gpd.GeoDataFrame, version: Version) -> int:
    """Write the ground (columns kind, grade, names, width_m, data_source, geometry); returns the rows."""
    frame = version.stamp(ground[COLUMNS].assign(geom=snap(ground.geometry)))
    return copy_frame(conn, frame, "grids.barrier")
