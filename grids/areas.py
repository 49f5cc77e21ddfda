"""Areas, cells and responsibility grids: writing them as versions that hold from an instant on."""

from __future__ import annotations

import geopandas as gpd
import pandas as pd
import shapely
from sqlalchemy import Connection

from gis.crs import snap
from gis.db import copy_frame, query
from gis.errors import Invalid
from gis.history import Version
from gis.layer import Layer

AREAS = Layer(
    name="areas",
    relation="area",
    key="code",
    geometry=("MultiPolygon",),
    columns=("code", "level", "parent_code", "name_zh", "name_en", "data_source", "simulated"),
    title_zh="行政区域",
    title_en="Administrative areas",
    tile_columns=("code", "level", "name_zh", "name_en"),
)
AREA_NAMES = Layer(
    name="area_names",
    relation="area_name",
    key="code",
    geometry=("Point",),
    columns=("code", "level", "name_zh", "name_en", "simulated"),
    title_zh="行政区域名称",
    title_en="Names of areas",
    tile_columns=("code", "level", "name_zh", "name_en"),
    version="areas",
)
CELLS = Layer(
    name="cells",
    relation="cell",
    key="code",
    geometry=("Polygon",),
    columns=("code", "community_code", "area_m2", "area_class", "simulated"),
    title_zh="单元网格",
    title_en="Unit grid cells",
    min_zoom=13,
    tile_columns=("code", "community_code", "area_m2", "area_class"),
)


def load_areas(conn: Connection, areas: gpd.GeoDataFrame, version: Version) -> int:
    """Write areas (columns code, name_zh, name_en, data_source, geometry in the city's CRS); returns the rows.

    Borders are snapped to 2⁻¹⁰ m. Raises Invalid that names an area whose border crosses itself.
    """
    geometry = snap(areas.geometry)
    _refuse_invalid(areas["code"], geometry)
    geometry = geometry.map(lambda area: shapely.MultiPolygon([area]) if isinstance(area, shapely.Polygon) else area)
    frame = areas[["code", "name_zh", "name_en", "data_source"]].assign(geom=geometry)
    return copy_frame(conn, version.stamp(frame), "grids.area")


def load_cells(conn: Connection, cells: gpd.GeoDataFrame, version: Version) -> int:
    """Write cells (columns code, area_class, geometry: one Polygon each); returns the rows."""
    geometry = snap(cells.geometry)
    _refuse_invalid(cells["code"], geometry)
    frame = cells[["code", "area_class"]].assign(geom=geometry)
    return copy_frame(conn, version.stamp(frame), "grids.cell")


def load_responsibility(conn: Connection, grids: pd.DataFrame, version: Version) -> int:
    """Write responsibility grids (one row per cell: code, name_zh, name_en, cell_code); returns the grids."""
    if grids.empty:
        return 0
    heads = grids.drop_duplicates("code")[["code", "name_zh", "name_en"]]
    copy_frame(conn, version.stamp(heads), "grids.responsibility")
    ids = {row.code: row.id for row in conn.execute(query("grids", "responsibility_ids"))}
    members = pd.DataFrame({"responsibility_id": grids["code"].map(ids), "cell_code": grids["cell_code"]})
    copy_frame(conn, members, "grids.responsibility_cell")
    return len(heads)


def _refuse_invalid(codes: pd.Series, geometry: gpd.GeoSeries) -> None:
    broken = ~geometry.is_valid | geometry.is_empty
    if broken.any():
        code = codes[broken].iloc[0]
        reason = shapely.is_valid_reason(geometry[broken].iloc[0])
        raise Invalid(
            f"{int(broken.sum())} polygons are invalid, the first is {code}: {reason}",
            f"{int(broken.sum())} 个面无效,首个为 {code}:{reason}",
            mend="repair it (QGIS: Fix geometries) and load again",
            code=code,
        )
