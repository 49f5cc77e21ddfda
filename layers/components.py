"""Components (部件): manholes, lamps, bins, trees … and the cell each stands in."""

from __future__ import annotations

from collections.abc import Callable

import geopandas as gpd
import pandas as pd
from sqlalchemy import Connection

from gis.crs import snap
from gis.db import copy_frame, query
from gis.history import Version
from gis.layer import Layer
from layers.units import refuse_unknown, unit_ids

COMPONENTS = Layer(
    name="components",
    relation="component",
    key="code",
    geometry=("Point", "LineString", "Polygon"),
    columns=(
        *("code", "class_code", "class_zh", "class_en", "cell_code", "state", "supervising_zh", "owner_zh"),
        *("maintainer_zh", "surveyed_on", "changed_on", "data_source", "attrs", "simulated"),
    ),
    title_zh="部件",
    title_en="Components",
    min_zoom=16,
    gathered=True,
    tile_columns=("code", "class_code", "state"),
    filters={"class": ("prefix", "class_code"), "area": ("prefix", "cell_code")},
)
ROLES = {
    "supervising_unit": "supervising_unit_id",
    "owner_unit": "owner_unit_id",
    "maintainer_unit": "maintainer_unit_id",
}
COLUMNS = ["code", "class_code", "name_zh", "state", "surveyed_on", "data_source", "attrs"]


def load_components(
    conn: Connection,
    components: gpd.GeoDataFrame,
    edition: str,
    version: Version,
    *,
    progress: Callable[[float], None] | None = None,
) -> int:
    """Write components (columns of COLUMNS, source_key if it has one, unit codes, geometry in the city's CRS).

    The cell is found by spatial join in PostGIS: of a point itself, of lines and polygons a point on them; on a
    shared border the lowest code. Returns the rows. Raises Invalid that names an unknown unit.
    """
    ids = unit_ids(conn)
    keyed = ["source_key"] if "source_key" in components else []
    frame = components[[*COLUMNS, *keyed]].assign(geom=snap(components.geometry), edition=edition)
    for role, column in ROLES.items():
        refuse_unknown(components[role], ids, "components", role)
        frame[column] = pd.array([ids.get(code) for code in components[role]], dtype="Int64")
    conn.execute(query("layers", "stage_components"))
    rows = copy_frame(conn, version.stamp(frame), "staged_component", progress=progress)
    conn.execute(query("layers", "hold_grid"))  # not while a grid is being published: its cells are just ending
    conn.execute(query("layers", "place_components"))
    return rows
