"""Responsibility grids (责任网格): sets of cells given to one collector (信息监督员). Table, check, taking over.

A table has one row a cell: grid, name, cell, collector. A city keeps it in Excel, or draws polygons in QGIS: each cell
goes to the polygon that holds most of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sqlalchemy import Connection

from gis.db import query
from gis.errors import UnfitFile
from gis.formats import read_vector
from gis.history import record_change
from gis.layer import read_geoframe
from grids.areas import CELLS, load_responsibility
from grids.coverage import shared_sides
from layers.sheet_file import TABLES, read_file, write_file

COLUMNS = {
    "code": ("code", "grid", "责任网格", "责任网格编码", "责任网格编号"),
    "name_zh": ("name_zh", "责任网格名称", "名称"),
    "name_en": ("name_en", "英文名", "英文名称"),
    "cell_code": ("cell_code", "cell", "单元网格", "单元网格编码", "单元网格编号"),
    "collector": ("collector", "监督员", "监督员编码", "监督员编号"),
}
NEEDED = ("code", "cell_code")
MOST = 0.5  #: a cell belongs to the polygon that holds more than this share of it
WHOLE = 0.9  #: a polygon that holds less of its cell cuts it
UNEVEN = 2.5  #: a grid with more than this times the mean of cells, or less than its inverse, is uneven

#: What a check finds: severity, English, Chinese, what would mend it in both.
FAULTS = {
    "cell_unknown": (
        "error",
        "no cell of today has this code",
        "现行网格中没有该编码",
        "correct the code",
        "请更正编码",
    ),
    "cell_twice": (
        *("error", "a cell in two responsibility grids", "一个单元网格属于两个责任网格"),
        *("leave it in one", "请只保留一处"),
    ),
    "names_differ": ("error", "one grid with two names", "同一责任网格名称不一致", "write one name", "请统一名称"),
    "collector_unknown": (
        *("error", "no collector has this code", "没有该编码的监督员"),
        *("correct the code or add the collector", "请更正编码或先登记监督员"),
    ),
    "collector_twice": (
        *("error", "a collector with two grids", "一名监督员对应两个责任网格"),
        *("give each collector one grid", "每名监督员只对应一个责任网格"),
    ),
    "collectors_differ": (
        "error",
        "one grid with two collectors",
        "同一责任网格有两名监督员",
        "name one",
        "请只写一名",
    ),
    "cell_cut": (
        "warning",
        "a polygon's line cuts a cell: it goes to the larger part",
        "面边界切割单元网格，归入较大部分",
        "draw along the cells (QGIS: snapping)",
        "请沿单元网格边界绘制（QGIS 捕捉）",
    ),
    "cell_left_out": (
        "warning",
        "a cell in no grid",
        "单元网格未划入责任网格",
        "give it to a neighbour",
        "请划入相邻责任网格",
    ),
    "nobody_walks": ("warning", "a grid without a collector", "责任网格没有监督员", "name one", "请指定监督员"),
    "in_pieces": (
        "warning",
        "a grid in several pieces",
        "责任网格不连续",
        "exchange cells with neighbours",
        "请与相邻网格调整",
    ),
    "uneven": (
        "warning",
        "a grid much larger or smaller than the others",
        "责任网格大小悬殊",
        "even them out",
        "请均衡划分",
    ),
}


@dataclass(frozen=True)
class Fault:
    """One fault of the responsibility grids."""

    rule: str  #: of FAULTS
    code: str  #: the grid, or the cell where no grid is concerned
    detail: str = ""
    row: int | None = None  #: in the file, from 1


@dataclass(kw_only=True)
class Beats:
    """What taking over a table of responsibility grids would do, or did."""

    grids: int
    cells: int
    changed: int = 0  #: grids that are new, have other cells, another name or another collector
    ended: int = 0
    faults: list[Fault] = field(default_factory=list)
    committed: bool = False


def responsibility_table(conn: Connection) -> pd.DataFrame:
    """The grids of today, a row a cell: code, name_zh, name_en, cell_code, collector."""
    rows = [dict(row) for row in conn.execute(query("layers", "responsibility_table")).mappings()]
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)


def responsibility_polygons(conn: Connection, srid: int) -> gpd.GeoDataFrame:
    """The grids of today as polygons: code, names, collector with names, cells, area_m2."""
    return read_geoframe(conn, query("layers", "responsibility_polygons"), srid)


def write_table(conn: Connection, path: Path) -> int:
    """Write the table (.csv, .xlsx); read again it changes nothing. Returns the rows."""
    frame = responsibility_table(conn)
    rows = [list(COLUMNS), *([str(value or "") for value in line] for line in frame.itertuples(index=False))]
    write_file(path, [("responsibility", rows)])
    return len(frame)


def read_polygons(path: Path, cells: gpd.GeoDataFrame) -> tuple[pd.DataFrame, list[Fault]]:
    """A table of responsibility grids from polygons with their code (and names, collector), and the cells that are cut.

    UnfitFile for a file without polygons or codes.
    """
    frame = read_vector(path)
    where = {
        ours: next((name for name in frame.columns if name.lower() in names), None) for ours, names in COLUMNS.items()
    }
    shapes = np.asarray(frame.geometry.to_crs(cells.crs).array, dtype=object)
    flat = np.flatnonzero((shapely.get_dimensions(shapes) != 2) | ~shapely.is_valid(shapes))
    what, what_zh, row = None, None, None
    if where["code"] is None:
        what, what_zh = "has no column code", "没有 code 列"
    elif frame.empty:
        what, what_zh = "holds no polygons", "没有面"
    elif len(flat):
        row = int(flat[0]) + 1
        what, what_zh = f"row {row} is no valid polygon", f"第 {row} 行不是有效的面"
    if what is not None:
        raise UnfitFile(
            f"{path.name}: {what}",
            f"{path.name}：{what_zh}",
            mend="polygons with code, names, collector; wanmi collectors export beats.gpkg writes such a file",
            mend_zh="面图层须含 code、name_zh、name_en、collector；wanmi collectors export beats.gpkg 可输出样例",
            file=path,
            **({} if row is None else {"row": row}),
        )
    grounds = np.asarray(cells.geometry.array, dtype=object)
    cell, polygon = shapely.STRtree(shapes).query(grounds, predicate="intersects")
    share = shapely.area(shapely.intersection(grounds[cell], shapes[polygon])) / shapely.area(grounds[cell])
    held = np.flatnonzero(share > MOST)
    said = {
        ours: frame[name].astype(object).where(frame[name].notna(), "").astype(str).str.strip().to_numpy(dtype=object)
        if (name := where[ours]) is not None
        else np.full(len(frame), "", dtype=object)
        for ours in ("code", "name_zh", "name_en", "collector")
    }
    table = pd.DataFrame({ours: values[polygon[held]] for ours, values in said.items()}, dtype=object)
    table["cell_code"] = cells["code"].to_numpy(dtype=object)[cell[held]]
    table["row"] = polygon[held] + 1
    cut = held[share[held] < WHOLE]
    faults = [
        Fault("cell_cut", str(said["code"][polygon[at]]), f"{cells['code'].iloc[cell[at]]} {100 * share[at]:.0f} %")
        for at in cut.tolist()
    ]
    return table.sort_values(["code", "cell_code"], ignore_index=True), faults


def read_table(path: Path) -> pd.DataFrame:
    """A table of responsibility grids, texts, and ``row``. UnfitFile for one without the columns."""
    sheets = [sheet for sheet in read_file(path) if not sheet.hidden and sheet.rows]
    lines = list(sheets[0].rows.items()) if sheets else []
    head = [cell.text.strip().lower() for cell in lines[0][1]] if lines else []
    where = {ours: next((head.index(name) for name in names if name in head), None) for ours, names in COLUMNS.items()}
    lacking = [name for name in NEEDED if where[name] is None]
    if lacking:
        raise UnfitFile(
            f"{path.name} has no column {lacking[0]}",
            f"{path.name} 没有 {lacking[0]} 列",
            mend=f"the columns are {', '.join(COLUMNS)}; wanmi collectors export writes such a table",
            mend_zh=f"各列为 {', '.join(COLUMNS)}；wanmi collectors export 可输出样表",
            file=path,
        )
    rows = []
    for n, cells in lines[1:]:
        texts = [cell.text.strip() for cell in cells]
        if any(texts):
            said = {ours: texts[at] if at is not None and at < len(texts) else "" for ours, at in where.items()}
            rows.append({**said, "row": n})
    if not rows:
        raise UnfitFile(
            f"{path.name} holds no grids",
            f"{path.name} 没有任何责任网格",
            mend="wanmi collectors export writes a table to begin with",
            mend_zh="可先用 wanmi collectors export 输出现有表格",
            file=path,
        )
    return pd.DataFrame(rows, columns=[*COLUMNS, "row"], dtype=object)


def check(conn: Connection, srid: int, table: pd.DataFrame) -> list[Fault]:
    """All faults of a table (COLUMNS, maybe ``row``) against the cells and collectors of today."""
    cells = CELLS.read(conn, srid)
    known = set(cells["code"])
    collectors = set(conn.scalars(query("layers", "collector_codes")))
    faults: list[Fault] = []
    rows = table.to_dict("records")
    seen: dict[str, str] = {}
    for row in rows:
        number = row.get("row")
        if row["cell_code"] not in known:
            faults.append(Fault("cell_unknown", row["code"], row["cell_code"], number))
        elif row["cell_code"] in seen:
            faults.append(Fault("cell_twice", row["code"], f"{row['cell_code']}, {seen[row['cell_code']]}", number))
        else:
            seen[row["cell_code"]] = row["code"]
    walked: dict[str, str] = {}
    for code, group in table.groupby("code", sort=True):
        names = {name for name in group["name_zh"] if name}
        if len(names) > 1:
            faults.append(Fault("names_differ", str(code), ", ".join(sorted(names))))
        people = sorted({one for one in group["collector"] if one})
        if len(people) > 1:
            faults.append(Fault("collectors_differ", str(code), ", ".join(people)))
        if not people:
            faults.append(Fault("nobody_walks", str(code)))
        for one in people:
            if one not in collectors:
                faults.append(Fault("collector_unknown", str(code), one))
            elif walked.setdefault(one, str(code)) != code:
                faults.append(Fault("collector_twice", str(code), f"{one}, {walked[one]}"))
    faults += [Fault("cell_left_out", code) for code in sorted(known - set(seen))]
    faults += _shapes(cells, seen)
    return sorted(faults, key=_rank)


def _rank(fault: Fault) -> tuple[int, str, str]:
    return list(FAULTS).index(fault.rule), fault.code, fault.detail


def _shapes(cells: gpd.GeoDataFrame, grid_of: dict[str, str]) -> list[Fault]:
    """Grids that do not hang together, and those of odd size."""
    inside = cells[cells["code"].isin(list(grid_of))].reset_index(drop=True)
    if inside.empty:
        return []
    grid = inside["code"].map(grid_of).to_numpy()
    one, other, _ = shared_sides(np.asarray(inside.geometry.array, dtype=object))
    same = grid[one] == grid[other]
    ones = np.ones(int(same.sum()))
    links = coo_array((ones, (one[same], other[same])), shape=(len(inside), len(inside)))
    _, piece = connected_components(links, directed=False)
    pieces = pd.DataFrame({"grid": grid, "piece": piece}).groupby("grid")["piece"].nunique()
    counts = pd.Series(grid).value_counts()
    mean = counts.mean()
    faults = [Fault("in_pieces", str(code), f"{many}") for code, many in pieces.items() if many > 1]
    return faults + [
        Fault("uneven", str(code), f"{many} / {mean:.0f}")
        for code, many in counts.items()
        if many > UNEVEN * mean or many < mean / UNEVEN
    ]


def errors_of(faults: Sequence[Fault]) -> list[Fault]:
    """Those that forbid taking a table over."""
    return [fault for fault in faults if FAULTS[fault.rule][0] == "error"]


def import_table(conn: Connection, srid: int, path: Path, *, commit: bool, actor: str, reason: str) -> Beats:
    """Compare a table, or polygons, with the grids of today, check it; with ``commit`` it holds from now on, whole.

    Grids that it does not name end. Nothing is written where a fault is an error.
    """
    conn.execute(query("layers", "hold_grid_alone"))
    cut: list[Fault] = []
    if path.suffix.lower() in TABLES:
        table = read_table(path)
    else:
        table, cut = read_polygons(path, CELLS.read(conn, srid))
    before, after = _grids(responsibility_table(conn)), _grids(table)
    changed = [code for code, said in after.items() if before.get(code) != said]
    gone = [code for code in before if code not in after]
    report = Beats(grids=len(after), cells=len(table), changed=len(changed), ended=len(gone))
    report.faults = sorted([*cut, *check(conn, srid, table)], key=_rank)
    if commit and not errors_of(report.faults) and (changed or gone):
        at = conn.execute(query("layers", "responsibility_instant")).scalar_one()
        version = record_change(conn, since=at, actor=actor, reason=reason, source=path.name)
        conn.execute(query("layers", "end_responsibility"), {"codes": [*changed, *gone], "at": at})
        fresh = table[table["code"].isin(changed)].copy()
        for name, instead in (("name_zh", "code"), ("name_en", "code")):
            fresh[name] = fresh[name].where(fresh[name] != "", fresh[instead])
        fresh["collector_code"] = fresh["code"].map({code: said[3] or None for code, said in after.items()})
        load_responsibility(conn, fresh, version)
        report.committed = True
    return report


def _grids(table: pd.DataFrame) -> dict[str, tuple[Any, ...]]:
    """By grid: its cells, names and collector, as they are compared."""
    found = {}
    for code, group in table.groupby("code", sort=True):
        first = group.iloc[0]
        people = next((one for one in group["collector"] if one), "")
        found[str(code)] = (
            tuple(sorted(group["cell_code"])),
            first["name_zh"] or code,
            first["name_en"] or code,
            people,
        )
    return found
