"""Taking over a city's existing grid from a file, comparing it with ours, and giving ours out. Pure: no database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from gis.crs import BD09, GCJ02, GEODETIC, Extent, city_crs, diagnose, reproject, snap
from gis.errors import Invalid, UnfitCoordinates
from gis.formats import code_text, read_vector, unfit
from grids.findings import Finding
from grids.measures import measures
from grids.topology import polygonal

#: what we call it → usual names of the field, lower case. BGCode, BGID … are those of shared practice around
#: CJ/T 213 and GB/T 30428.1, the pinyin initials those of survey offices.
FIELDS: Mapping[str, tuple[str, ...]] = {
    "code": (
        *("code", "cell_code", "bgcode", "bgid", "gridcode", "grid_code", "gridid", "grid_id"),
        *("单元网格标", "单元网格编", "单元网格代"),  # as a shapefile in GBK cuts them: ten bytes
        *("单元网格标识码", "单元网格编码", "单元网格代码", "网格编码", "网格代码", "标识码", "编码"),
        *("dywgbsm", "dywgbm", "dywgdm", "wgbsm", "wgbm", "wgdm", "bsm"),
    ),
    "area_class": ("area_class", "areaclass", "class", "管理等级", "区域类别", "区域类型", "gldj", "qylb", "grade"),
    "name": ("name", "bgname", "名称", "网格名称", "单元网格名称", "wgmc", "mc"),
    "note": ("note", "备注", "bz", "remark", "memo"),
}
CLASSES: Mapping[str, str] = {
    **{"A": "A", "B": "B", "C": "C", "1": "A", "2": "B", "3": "C"},
    **{"一级": "A", "二级": "B", "三级": "C", "一类": "A", "二类": "B", "三类": "C", "甲": "A", "乙": "B", "丙": "C"},
}
MET = 0.5  #: of the cells must lie within the city's box, else the file is read in a wrong way
AGREE = 0.9  #: of the codes name the community they lie in when the reading is right


def read_grid(
    path: Path,
    *,
    srid_city: int,
    mapping: Mapping[str, str],
    layer: str | None = None,
    srid: int | None = None,
    areas: gpd.GeoDataFrame | None = None,
) -> tuple[gpd.GeoDataFrame, list[Finding]]:
    """A city's grid from a file: code, area_class, name, note, attrs (the other fields, a dict), geometry.

    mapping : our name (code, area_class, name, note) → field of the file; what it leaves out is guessed by FIELDS
    layer, srid : see gis.formats.read_vector
    areas   : the city's areas; with them a file read in a wrong system is refused, and the right one proposed
    The geometry is in the city's system and on the lattice of 2⁻¹⁰ m, two-dimensional; closed lines (DXF) become
    polygons, multi-parts of one part single. Rows keep the file's order. A class that a row
    lacks is A; without a field of classes all are None (see with_classes). The findings are
    what reading itself has seen; faults of the grid are found by grids.check.
    Raises UnfitFile (file, row, field), UnfitCoordinates (with the reading that would fit).
    """
    frame = read_vector(path, layer=layer, srid=srid)
    fields = _fields(path, frame, mapping)
    source = frame.crs.to_epsg()
    given = shapely.force_2d(np.asarray(frame.geometry.array, dtype=object))
    numbers, of = shapely.get_coordinates(given, return_index=True)
    odd = np.unique(of[~np.isfinite(numbers).all(axis=1)])
    if len(odd):
        raise unfit(
            path,
            f"has coordinates that are no numbers in {len(odd)} rows, the first is row {odd[0] + 1}",
            f"有 {len(odd)} 行坐标不是有效数值，首行为第 {odd[0] + 1} 行",
            mend="draw that shape anew, or delete it, and save the file again",
            mend_zh="请重绘或删除该图形后重新保存",
            row=int(odd[0]) + 1,
            field="geometry",
        )
    if source == srid_city:
        moved = given
    elif source is not None:
        moved = reproject(given, source, srid_city)
    else:
        moved = np.asarray(gpd.GeoSeries(given, crs=frame.crs).to_crs(city_crs(srid_city)).array, dtype=object)
    if areas is not None:
        _meets(path, moved, given, source, srid_city, areas)
    shapes = np.array([_cell(shape) for shape in snap(moved)], dtype=object)
    code = code_text(path, frame[fields["code"]])
    cells = {
        "code": code,
        "area_class": classes_of(path, frame, fields.get("area_class")),
        "name": _texts(frame, fields.get("name")),
        "note": _texts(frame, fields.get("note")),
        "attrs": _attrs(frame, set(fields.values())),
    }
    grid = gpd.GeoDataFrame(cells, geometry=gpd.GeoSeries(shapes, index=frame.index, crs=city_crs(srid_city)))
    if areas is not None and source == GEODETIC and srid is None:
        _scrambled(path, grid, given, srid_city, areas)
    return grid, _snapping(grid, moved) if source == srid_city else []


def _fields(path: Path, frame: gpd.GeoDataFrame, mapping: Mapping[str, str]) -> dict[str, str]:
    """Our name → field of the file."""
    have = [str(name) for name in frame.columns if name != frame.geometry.name]
    shown = ", ".join(have)
    unknown = [name for name in mapping if name not in FIELDS]
    if unknown:
        raise Invalid(
            f"{unknown[0]!r} is no field of a cell: {', '.join(FIELDS)}",
            f"{unknown[0]!r} 不是网格字段，可用：{'、'.join(FIELDS)}",
            mend="write --map code=FIELD, with a field of the file",
            mend_zh="请写作 --map code=字段名",
        )
    for field in mapping.values():
        if field not in have:
            raise unfit(
                path,
                f"has no field {field}",
                f"没有字段 {field}",
                mend=f"choose one of: {shown}",
                mend_zh=f"可选字段：{shown}",
                field=field,
            )
    plain = {name.lower(): name for name in reversed(have)}
    found = dict(mapping)
    for ours, usual in FIELDS.items():
        free = (plain[name] for name in usual if name in plain and plain[name] not in found.values())
        guess = next(free, None)
        if ours not in found and guess is not None:
            found[ours] = guess
    if "code" not in found:
        raise unfit(
            path,
            "has no field that is known to hold the codes of cells",
            "中没有可识别的单元网格编码字段",
            mend=f"name it: --map code=FIELD, one of: {shown}",
            mend_zh=f"请用 --map code=字段名 指明，可选：{shown}",
            fields=shown,
        )
    return found


def classes_of(path: Path, frame: gpd.GeoDataFrame, field: str | None) -> pd.Series:
    """The area classes of a field as A, B, C (None without a field). UnfitFile, with the row, for an unknown one."""
    if field is None:
        return pd.Series(None, index=frame.index, dtype=object)
    made = []
    for row, value in enumerate(frame[field].tolist(), start=1):
        text = "A" if value is None or value != value or not str(value).strip() else str(value).strip().upper()
        text = text.removesuffix(".0").removesuffix("类" if text[0] in "ABC" else "\0")
        if text not in CLASSES:
            raise unfit(
                path,
                f"has an unknown area class {value!r} in row {row}, field {field}",
                f"第 {row} 行字段 {field} 的管理等级 {value!r} 无法识别",
                mend="use A, B or C; or name another field with --map area_class=FIELD",
                mend_zh="请使用 A、B、C；或用 --map area_class=字段名 指定其他字段",
                row=row,
                field=field,
            )
        made.append(CLASSES[text])
    return pd.Series(made, index=frame.index, dtype=object)


def _texts(frame: gpd.GeoDataFrame, field: str | None) -> pd.Series:
    if field is None:
        return pd.Series(None, index=frame.index, dtype=object)
    texts = [None if value is None or value != value else str(value) for value in frame[field].tolist()]
    return pd.Series(texts, index=frame.index, dtype=object)


def _attrs(frame: gpd.GeoDataFrame, used: set[str]) -> list[dict[str, Any]]:
    """The other fields of each row, as JSON can hold them."""
    rest = frame.drop(columns=[*used, frame.geometry.name])
    rows = rest.astype(object).where(rest.notna(), None).to_dict("records")
    return [json.loads(json.dumps(row, ensure_ascii=False, default=str)) for row in rows]


def _cell(shape: Any) -> Any:
    """A closed line as its polygon, a multi-part of one part as that part, without repeated points."""
    if shape is None or shape.is_empty:
        return shape
    if shape.geom_type == "MultiLineString":
        shape = shapely.line_merge(shape)
    if shape.geom_type in ("LineString", "LinearRing") and shape.is_closed and len(shape.coords) > 3:
        shape = shapely.Polygon(shape.coords)
    if shape.geom_type == "GeometryCollection" and not polygonal(shape).is_empty:
        shape = polygonal(shape)
    if shape.geom_type == "MultiPolygon" and len(shape.geoms) == 1:
        shape = shape.geoms[0]
    return shapely.remove_repeated_points(shape)


def _snapping(grid: gpd.GeoDataFrame, before: Any) -> list[Finding]:
    """One note when coordinates were moved onto the lattice."""
    points = shapely.get_coordinates(before)
    moved_m = np.hypot(*(snap(points) - points).T)
    if not len(moved_m) or not moved_m.max() > 0:
        return []
    worst, most = points[moved_m.argmax()], float(moved_m.max())
    number = f"{int((moved_m > 0).sum()):,}"
    return [
        Finding(
            rule="off_lattice",
            severity="note",
            code=None,
            other=None,
            size=most,
            unit="m",
            en=f"{number} vertices were moved onto multiples of 2⁻¹⁰ m, by {most * 1000:.2f} mm at most",
            zh=f"{number} 个顶点被取整到 2⁻¹⁰ 米的整数倍，最多移动 {most * 1000:.2f} 毫米",
            place=shapely.Point(worst),
        )
    ]


def _middles(shapes: Any) -> Any:
    """The middle (x, y) of each geometry that has one; infinite where PROJ had no answer."""
    bounds = shapely.bounds(np.asarray(shapes, dtype=object))
    bounds = bounds[~np.isnan(bounds).any(axis=1)]
    with np.errstate(invalid="ignore"):
        return (bounds[:, :2] + bounds[:, 2:]) / 2


def _meets(path: Path, moved: Any, given: Any, source: int | None, srid_city: int, areas: gpd.GeoDataFrame) -> None:
    """Refuse a grid that does not lie in the city's box, with the reading that would bring it there."""
    spots = _middles(moved)
    west, south, east, north = areas.total_bounds
    with np.errstate(invalid="ignore"):
        inside = (spots[:, 0] >= west) & (spots[:, 0] <= east) & (spots[:, 1] >= south) & (spots[:, 1] <= north)
    if not len(spots) or inside.mean() >= MET:
        return
    x, y = np.median(_middles(given), axis=0)
    extent = Extent.of(areas, srid_city)
    readings = diagnose(float(x), float(y), source, extent) if source is not None else []
    en = f"lies around ({x:.10g}, {y:.10g}), outside the city"
    zh = f"位于（{x:.10g}，{y:.10g}）附近，不在本市范围内"
    fit, fit_zh = (
        (f"; it would fit as: {readings[0].en}", f"；若按“{readings[0].zh}”读取则相符") if readings else ("", "")
    )
    raise UnfitCoordinates(
        f"{path.name} {en}{fit}",
        f"{path.name} {zh}{fit_zh}",
        mend="say the right system with --crs, or correct it in the file",
        mend_zh="请用 --crs 指明正确的坐标系，或更正文件",
        file=path,
        crs=source,
    )


def _scrambled(path: Path, grid: gpd.GeoDataFrame, given: Any, srid_city: int, areas: gpd.GeoDataFrame) -> None:
    """Refuse degrees whose cells lie in the communities of their codes only when read as GCJ-02 or BD-09."""
    communities = areas[areas["code"].str.len() == 12]
    tree, codes = shapely.STRtree(np.asarray(communities.geometry.array, dtype=object)), communities["code"].to_numpy()
    there = ~shapely.is_missing(given) & ~shapely.is_empty(given)
    wanted = grid["code"].fillna("").str[:12].to_numpy(dtype=str)[there]
    degrees = shapely.centroid(given[there])

    def agreeing(srid: int) -> float:
        spot, home = tree.query(reproject(degrees, srid, srid_city), predicate="within")
        return float((codes[home] == wanted[spot]).sum()) / max(len(wanted), 1)

    plain = agreeing(GEODETIC)
    if plain >= AGREE:
        return
    for srid, name in ((GCJ02, "GCJ-02"), (BD09, "BD-09")):
        if agreeing(srid) >= max(AGREE, plain + 0.1):
            raise UnfitCoordinates(
                f"{path.name} says degrees, but only {plain:.0%} of its cells lie in the community of their code; "
                f"read as {name} nearly all do",
                f"{path.name} 为经纬度，但仅 {plain:.0%} 的网格位于其编码所属社区；按 {name} 读取则基本相符",
                mend=f"--crs {srid}",
                file=path,
            )


def with_classes(theirs: gpd.GeoDataFrame, ours: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """A grid read without area classes with those of ours: of the same cell, else of most of the community, else A."""
    known = ours.drop_duplicates("code").set_index("code")["area_class"]
    usual = ours.groupby(ours["code"].str[:12])["area_class"].agg(lambda of: of.mode().iloc[0])
    own = theirs["area_class"]
    found = own.fillna(theirs["code"].map(known)).fillna(theirs["code"].str[:12].map(usual)).fillna("A")
    return theirs.assign(area_class=found.astype(object))


# ── comparing ────────────────────────────────────────


def compare(ours: gpd.GeoDataFrame, theirs: gpd.GeoDataFrame) -> pd.DataFrame:
    """What taking ``theirs`` for ``ours`` would change: a row for each community that theirs names.

    Both: code, area_class, geometry in one system. Columns community, new, changed, same, gone: numbers of cells.
    A cell is the same when it has the same class and covers the same ground, with whatever nodes on its border.
    """
    theirs = theirs[theirs["code"].notna()].drop_duplicates("code")
    communities = theirs["code"].str[:12].unique()
    ours = ours[ours["code"].str[:12].isin(communities)]
    both = ours.merge(theirs, on="code", how="outer", suffixes=("", "_new"), indicator="fate")
    old, new = (both[name].to_numpy(dtype=object) for name in ("geometry", "geometry_new"))
    equal = shapely.equals_identical(old, new)
    unsure = np.flatnonzero(~equal & shapely.is_valid(old) & shapely.is_valid(new))
    equal[unsure] = shapely.equals(old[unsure], new[unsure])
    equal &= (both["area_class"] == both["area_class_new"]).to_numpy()
    fate = both["fate"].astype(str).map({"left_only": "gone", "right_only": "new", "both": "changed"})
    both["fate"] = np.where(equal, "same", fate)
    table = pd.crosstab(both["code"].str[:12].rename("community"), both["fate"])
    columns = ["new", "changed", "same", "gone"]
    return table.reindex(columns=columns, fill_value=0).rename_axis(columns=None).reset_index()


# ── giving out ────────────────────────────────────────


def standard_fields(cells: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """The cells with the attribute table of the standard: BGCode, BGName, Area, ORDate, CHDate, DEDate, Note.

    cells: code, geometry; if there: name, note, first_since, since, until (instants; days in the frame's zone).
    Area in m², to a hundredth. CHDate is empty where the cell is still as it was first drawn, DEDate while it holds.
    Sources: CJ/T 213, GB/T 30428.1 as practised (docs of the project, unit grid, attribute table).
    """
    first = _days(cells, "first_since")
    since = _days(cells, "since")
    table = {
        "BGCode": cells["code"],
        "BGName": cells.get("name"),
        "Area": measures(cells)["area_m2"].round(2),
        "ORDate": first,
        "CHDate": since.where(since != first, None),
        "DEDate": _days(cells, "until"),
        "Note": cells.get("note"),
    }
    return gpd.GeoDataFrame(table, index=cells.index, geometry=cells.geometry)


def our_fields(cells: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """The cells with all we know: code, community, area class, area, perimeter, compactness, days, geometry."""
    of = measures(cells)
    table = {
        "code": cells["code"],
        "community_code": cells["code"].str[:12],
        "area_class": cells["area_class"],
        **{name: of[name] for name in of.columns},
        "first_on": _days(cells, "first_since"),
        "since_on": _days(cells, "since"),
        "until_on": _days(cells, "until"),
    }
    return gpd.GeoDataFrame(table, index=cells.index, geometry=cells.geometry)


def _days(cells: gpd.GeoDataFrame, name: str) -> pd.Series:
    if name not in cells:
        return pd.Series(None, index=cells.index, dtype=object)
    return pd.Series([None if pd.isna(at) else at.date() for at in cells[name]], index=cells.index, dtype=object)
