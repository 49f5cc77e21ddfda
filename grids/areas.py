"""Areas, cells and responsibility grids: writing them as versions that hold from an instant on."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.geometry import Polygon, box
from sqlalchemy import Connection

from gis.crs import snap
from gis.db import copy_frame, query
from gis.errors import Invalid, unfit
from gis.formats import read_vector
from gis.history import Version
from gis.layer import Layer
from grids.codes import AreaCode
from grids.coverage import STEP_M

FIT_M = 0.002  #: communities whose borders are nearer than this to each other fit
FIT_M2 = 0.01
SLIVER_M = 10.0  #: ground between communities that is wider than this is outside of the city

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
    columns=("code", "community_code", "area_m2", "perimeter_m", "compactness", "area_class", "simulated"),
    title_zh="单元网格",
    title_en="Unit grid cells",
    min_zoom=13,
    tile_columns=("code", "community_code", "area_m2", "perimeter_m", "compactness", "area_class"),
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
    """Write responsibility grids (one row per cell: code, name_zh, name_en, cell_code, collector_code); returns the
    grids. A collector's code is None where nobody walks."""
    if grids.empty:
        return 0
    heads = grids.drop_duplicates("code")[["code", "name_zh", "name_en", "collector_code"]]
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


def refuse_untiled(communities: gpd.GeoDataFrame) -> None:
    """Raise Invalid, with the place, for communities (code, geometry in metres) that overlap or leave a sliver between
    them: a cell belongs to exactly one. Ground between them that is wide is no sliver (a lake, another city's ground).
    """
    shapes = np.asarray(communities.geometry.array, dtype=object)
    codes = communities["code"].to_numpy()
    if not shapely.is_valid(shapes).all():
        return  # refused one by one, with the reason
    i, j = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    i, j = i[i < j], j[i < j]
    common = shapely.intersection(shapes[i], shapes[j])
    width_m = 2 * shapely.area(common) / np.maximum(shapely.length(common), STEP_M)
    bad = np.flatnonzero((shapely.area(common) > FIT_M2) & (width_m > FIT_M))
    if len(bad):
        worst = bad[np.argmax(shapely.area(common[bad]))]
        place = shapely.point_on_surface(common[worst])
        raise Invalid(
            f"{len(bad)} pair(s) of communities overlap: {codes[i[worst]]} and {codes[j[worst]]} by "
            f"{shapely.area(common[worst]):.2f} m2 at {place.x:.2f} {place.y:.2f}.",
            f"{len(bad)} 对社区边界重叠；{codes[i[worst]]} 与 {codes[j[worst]]} 重叠 "
            f"{shapely.area(common[worst]):.2f} 平方米，位于 {place.x:.2f} {place.y:.2f}。",
            mend="give the ground to one of them (QGIS: Check geometries, or Fix geometries and Snap), then cut again",
            mend_zh="请将重叠部分划归其中一个社区（QGIS：检查几何、吸附），再重新划分",
            community=codes[i[worst]],
            other=codes[j[worst]],
            overlap_m2=round(float(shapely.area(common[worst])), 3),
            x=round(place.x, 3),
            y=round(place.y, 3),
        )
    whole = shapely.get_parts(shapely.union_all(shapes))
    gaps = np.array([Polygon(ring) for part in whole for ring in part.interiors], dtype=object)
    width_m = 2 * shapely.area(gaps) / np.maximum(shapely.length(gaps), STEP_M)
    bad = np.flatnonzero((shapely.area(gaps) > FIT_M2) & (width_m > FIT_M) & (width_m < SLIVER_M))
    if len(bad):
        worst = bad[np.argmax(shapely.area(gaps[bad]))]
        place = shapely.point_on_surface(gaps[worst])
        beside = ", ".join(codes[shapely.dwithin(shapes, gaps[worst], STEP_M)])
        raise Invalid(
            f"{len(bad)} sliver(s) lie between communities: the largest, {shapely.area(gaps[worst]):.2f} m2 at "
            f"{place.x:.2f} {place.y:.2f}, between {beside}.",
            f"社区之间有 {len(bad)} 处缝隙；最大者 {shapely.area(gaps[worst]):.2f} 平方米，"
            f"位于 {place.x:.2f} {place.y:.2f}，相邻社区 {beside}。",
            mend="snap their borders to each other (QGIS: Snap geometries to layer), then cut again",
            mend_zh="请将相邻社区边界互相吸附（QGIS：吸附几何到图层），再重新划分",
            gap_m2=round(float(shapely.area(gaps[worst])), 3),
            communities=beside,
            x=round(place.x, 3),
            y=round(place.y, 3),
        )


def read_communities(path: Path, held: gpd.GeoDataFrame, *, complete: bool = False) -> gpd.GeoDataFrame:
    """The communities of a city as a file would have them: code, geometry, in the system of ``held``.

    path     : polygons with the column code (编码), 12 digits; several of one code are one community
    held     : the areas of today (code, geometry); communities that the file does not name stay, unless ``complete``
    Raises UnfitFile that names the row, Invalid where communities overlap or leave a sliver between them.
    """
    frame = read_vector(path)
    column = next(
        (name for name in frame.columns if name.lower() in ("code", "编码", "社区编码", "community_code")), None
    )
    if column is None:
        raise unfit(
            path,
            "has no column code",
            "没有 code（社区编码）列",
            mend="polygons of communities with their 12-digit code",
            mend_zh="请提供含 12 位社区编码的社区面",
        )
    frame = frame.to_crs(held.crs)
    streets = {code for code in held["code"] if len(code) == 9}
    codes = []
    for row, (said, shape) in enumerate(zip(frame[column], frame.geometry, strict=True), start=1):
        where = {"row": row, "field": column}
        code = AreaCode(said)
        if code.level != "community" or code.parent not in streets:
            raise unfit(
                path,
                f"row {row}: {code} is no community of a street of this city",
                f"第 {row} 行：{code} 不是本市街道下的社区编码",
                mend="12 digits, the first nine those of a street",
                mend_zh="应为 12 位编码，前 9 位为现有街道编码",
                **where,
            )
        if shape is None or shape.is_empty or shapely.get_dimensions(shape) != 2 or not shape.is_valid:
            raise unfit(
                path,
                f"row {row}: {code} has no valid polygon",
                f"第 {row} 行：{code} 没有有效的面",
                mend="QGIS: Fix geometries",
                mend_zh="QGIS：修正几何图形",
                row=row,
                field="geometry",
            )
        if not shape.intersects(box(*held.total_bounds)):
            raise unfit(
                path,
                f"row {row}: {code} lies outside of the city",
                f"第 {row} 行：{code} 不在本市范围内",
                mend="look at the file's coordinate system",
                mend_zh="请检查文件的坐标系",
                row=row,
                field="geometry",
            )
        codes.append(str(code))
    drawn = gpd.GeoDataFrame({"code": codes}, geometry=list(snap(frame.geometry)), crs=held.crs)
    drawn = drawn.dissolve("code").reset_index() if len(set(codes)) < len(codes) else drawn
    stay = held[(held["code"].str.len() == 12) & ~held["code"].isin(codes)][["code", "geometry"]]
    both = drawn if complete else pd.concat([stay, drawn], ignore_index=True)
    refuse_untiled(both)
    return gpd.GeoDataFrame(both, crs=held.crs)
