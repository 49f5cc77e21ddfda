"""``wanmi what-if``: what a draft of the grid, of areas or of rules would change; all of it is taken back."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import folium
import geopandas as gpd
from sqlalchemy import Connection

from api.maps import OfflineMap
from api.publishing import Published, publish_grid
from api.rules import fault_lines
from cases.rule_check import errors_of
from cases.rules import RuleReport, import_rules
from cases.what_if import Compared, by_units, compare_after, stage_before
from gis.crs import GEODETIC
from gis.db import query
from gis.errors import Invalid
from gis.formats import open_vector
from gis.history import record_change
from gis.layer import read_geoframe
from gis.written import write_layers
from grids.areas import AREAS, CELLS, load_cells, read_communities
from grids.city import City
from grids.redraw import under_areas
from layers.follow import MovedComponent, replace_cells
from layers.sheet_file import TABLES

Line = tuple[str, str]
SHOWN = 15
MOST_DRAWN = 5_000
WORDS = {
    "unit": ("another unit", "责任单位变化"),
    "area": ("another community", "所属社区变化"),
    "cell": ("another cell", "网格变化"),
    "outside": ("no cell any more", "不再属于任何网格"),
}


@dataclass(frozen=True, kw_only=True)
class Redrawn:
    """What other communities would make of the grid."""

    communities: dict[str, int]  #: new, changed, gone
    cells: gpd.GeoDataFrame  #: of grids.redraw.under_areas
    moved: list[MovedComponent]


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """What a draft would change."""

    draft: str
    grid: Published | None  #: of a draft of the grid
    areas: Redrawn | None  #: of a file of communities
    rules: RuleReport | None  #: of a table of rules
    compared: Compared
    components: gpd.GeoDataFrame  #: code, from_cell, to_cell and the place of components that would change cell


def what_if(
    conn: Connection, city: City, draft: str, *, days: int, complete: bool, progress: Callable[[str, float], None]
) -> WhatIf:
    """Apply a draft, assign the cases of the last ``days`` before and after, compare, take everything back.

    draft : number of a draft of the grid, a file of rules, or one of communities (polygons without roles). Raises
    NotFound, Conflict, UnfitFile, Invalid.
    """
    total = stage_before(conn, days=days, progress=lambda part: progress("as it is | 现状", part))
    savepoint = conn.begin_nested()
    try:
        grid = areas = rules = None
        components = gpd.GeoDataFrame({"code": [], "from_cell": [], "to_cell": []}, geometry=[], crs=city.srid)
        if draft.isascii() and draft.isdigit():
            grid = publish_grid(conn, int(draft), actor="what-if", commit=True)
            components = _components(conn, grid.components, city)
        elif is_of_areas(Path(draft)):
            areas = _redraw(conn, city, Path(draft), complete)
            components = _components(conn, areas.moved, city)
        else:
            rules = import_rules(
                conn, city, Path(draft), complete=complete, commit=True, actor="what-if", reason="what if"
            )
            _refuse_faults(rules)
        compared = compare_after(
            conn, city.srid, total, progress=lambda part: progress("under the draft | 按草案", part)
        )
    finally:
        savepoint.rollback()
    return WhatIf(draft=draft, grid=grid, areas=areas, rules=rules, compared=compared, components=components)


def is_of_areas(path: Path) -> bool:
    """Whether a file is one of communities: polygons, and not those of rules. Raises UnfitFile."""
    if path.suffix.lower() in TABLES:
        return False
    with open_vector(path) as file:
        return not {"roles", "责任主体"} & {name.lower() for name, _ in file.fields}


def _redraw(conn: Connection, city: City, path: Path, complete: bool) -> Redrawn:
    """Let the communities of a file hold in this transaction: cells are cut along them, components follow."""
    conn.execute(query("layers", "hold_grid_alone"))
    held, cells = AREAS.read(conn, city.srid), CELLS.read(conn, city.srid)
    wanted = read_communities(path, held, complete=complete)
    before = held[held["code"].str.len() == 12].set_index("code").geometry
    after = wanted.set_index("code").geometry
    both = after.index.intersection(before.index)
    counts = {
        "new": len(after.index.difference(before.index)),
        "changed": int((after[both].symmetric_difference(before[both], align=False).area > 1.0).sum()),
        "gone": len(before.index.difference(after.index)),
    }
    used = conn.execute(query("grids", "codes_ever_used"), {"communities": list(after.index)})
    drawn = under_areas(cells, wanted, {*cells["code"], *(row.code for row in used)})
    at = conn.execute(query("grids", "cells_instant")).scalar_one()
    ended = conn.scalars(query("grids", "end_cells"), {"codes": sorted(set(drawn["from_code"])), "at": at}).all()
    change = record_change(conn, since=at, actor="what-if", reason=f"communities of {path.name}")
    load_cells(conn, drawn[drawn["code"].notna()].reset_index(drop=True), change)
    begun = conn.scalars(query("grids", "cells_of_change"), {"change_id": change.change_id}).all()
    return Redrawn(communities=counts, cells=drawn, moved=replace_cells(conn, ended, begun))


def _components(conn: Connection, followed: list[MovedComponent], city: City) -> gpd.GeoDataFrame:
    moved = {one.code: one for one in followed if one.from_code != one.to_code}
    frame = read_geoframe(conn, query("layers", "places_of_components"), city.srid, codes=list(moved))
    frame["from_cell"] = [moved[code].from_code for code in frame["code"]]
    frame["to_cell"] = [moved[code].to_code for code in frame["code"]]
    return frame


def _refuse_faults(rules: RuleReport) -> None:
    faults = errors_of(rules.faults)
    if faults:
        lines = list(fault_lines(faults))
        raise Invalid(
            "the rules have errors: " + "; ".join(en.strip() for en, _ in lines[:6]),
            "规则有错误：" + "；".join(zh.strip() for _, zh in lines[:6]),
            mend="wanmi rules import lists them all",
            mend_zh="wanmi rules import 会列出全部错误",
        )


# ── what is told ────────────────────────────────────────


def lines_of(found: WhatIf) -> Iterator[Line]:
    """The comparison in lines of English and Chinese."""
    compared = found.compared
    if found.grid is not None:
        counts = ", ".join(f"{many} {what}" for what, many in found.grid.counts.items())
        words = {"new": "新增", "changed": "变更", "noded": "仅加节点", "retired": "停用"}
        counts_zh = "，".join(f"{words[what]} {many}" for what, many in found.grid.counts.items())
        yield f"draft {found.draft}: cells {counts}", f"草案 {found.draft}：网格 {counts_zh}"
        moved, lost = len(found.components), len(found.grid.components_lost)
        yield f"components: {moved:,} change cell, {lost} have none", f"部件：{moved:,} 个换网格，{lost} 个无网格"
    if found.areas is not None:
        fates, cells = found.areas.communities, found.areas.cells
        there = cells["code"].notna()
        lost, renamed = int((~there).sum()), int((there & (cells["code"] != cells["from_code"])).sum())
        yield (
            f"communities of {found.draft}: " + ", ".join(f"{number} {fate}" for fate, number in fates.items()),
            f"社区 {found.draft}：新增 {fates['new']}，变更 {fates['changed']}，撤销 {fates['gone']}",
        )
        yield (
            f"cells cut: {cells['from_code'].nunique():,}; parts with a new number {renamed:,}, without one {lost:,}",
            f"被切割或调整的网格 {cells['from_code'].nunique():,} 个；新编号 {renamed:,} 块，无所属社区 {lost:,} 块",
        )
        yield f"components: {len(found.components):,} change cell", f"部件：{len(found.components):,} 个换网格"
    if found.rules is not None:
        counts = ", ".join(f"{found.rules.total(fate)} {fate}" for fate in ("new", "changed", "ended"))
        new, changed, ended = (found.rules.total(fate) for fate in ("new", "changed", "ended"))
        counts_zh = f"新增 {new}，变更 {changed}，停用 {ended}"
        yield f"rules of {found.draft}: {counts}", f"规则 {found.draft}：{counts_zh}"
    yield (
        f"cases of the last year and open ones: {compared.cases:,}, of these {compared.open:,} open",
        f"近一年及在办案件：{compared.cases:,} 件，其中在办 {compared.open:,} 件",
    )
    differing = compared.differing
    for what, (en, zh) in WORDS.items():
        rows = differing[differing["what"] == what]
        opened = int(rows["open"].sum())
        yield f"  {en}: {len(rows):,} ({opened:,} open)", f"  {zh}：{len(rows):,} 件（在办 {opened:,} 件）"
    if compared.decided:
        yield (
            f"  {compared.decided:,} keep the unit that a dispatcher chose",
            f"  {compared.decided:,} 件已由派遣员改派，责任单位不变",
        )
    table = by_units(differing)
    for row in table.head(SHOWN).to_dict("records"):
        text = f"  {row['from_unit'] or '-'!s} → {row['to_unit'] or '-'!s}"
        many, opened = int(row["cases"]), int(row["open"])
        yield f"{text}: {many:,} cases ({opened:,} open)", f"{text}：{many:,} 件（在办 {opened:,} 件）"
    if len(table) > SHOWN:
        yield f"  … and {len(table) - SHOWN} more pairs", f"  …… 另有 {len(table) - SHOWN} 对"
    yield "nothing was changed", "未作任何更改"


def write_layer_file(found: WhatIf, path: Path, *, overwrite: bool) -> None:
    """The cases, components and (of other communities) cells that would change, as layers of a GeoPackage."""
    layers = {"cases": found.compared.differing, "components": found.components}
    if found.areas is not None:
        layers["cells"] = found.areas.cells
    filled = {name: frame for name, frame in layers.items() if len(frame)}
    write_layers(filled or {"cases": found.compared.differing}, path, overwrite=overwrite)


def write_map(found: WhatIf, city: City, areas: gpd.GeoDataFrame, path: Path) -> None:
    """A page with a map of what would change; it needs no network."""
    page = OfflineMap(tiles=None, control_scale=True, prefer_canvas=True)
    ground = areas.to_crs(GEODETIC)
    west, south, east, north = ground.total_bounds
    folium.GeoJson(
        ground[["name_zh", "geometry"]].to_json(),
        style_function=lambda _: {"color": "#888", "weight": 1, "fillOpacity": 0.03},
    ).add_to(page)
    colours = {"unit": "#c0392b", "area": "#d68910", "cell": "#2471a3", "outside": "#000"}
    drawn = found.compared.differing.to_crs(GEODETIC)
    for row in drawn.head(MOST_DRAWN).to_dict("records"):
        point, what = row["geometry"], str(row["what"])
        words = f"{row['no']} {row['class_code']}<br>{row['from_unit']} → {row['to_unit']}"
        words += f"<br>{row['from_cell']} → {row['to_cell']}"
        folium.CircleMarker(
            [point.y, point.x], radius=4, color=colours[what], weight=1, fill=True, tooltip=words
        ).add_to(page)
    page.fit_bounds([[south, west], [north, east]])
    root: Any = page.get_root()
    root.title = f"what if {html.escape(Path(found.draft).name)} · 推演"
    counts = Counter(drawn["what"])
    legend = "".join(
        f"<div><span style='color:{colours[what]}'>●</span> {zh} {en}: {counts[what]:,}</div>"
        for what, (en, zh) in WORDS.items()
    )
    more = f"<div>only {MOST_DRAWN:,} are drawn · 仅绘制 {MOST_DRAWN:,} 件</div>" if len(drawn) > MOST_DRAWN else ""
    alarm = "<b>模拟数据 simulated data</b>" if city.simulated else ""
    box = "position:fixed;z-index:999;left:60px;top:10px;background:#fffd;padding:8px 12px;font:13px sans-serif"
    root.html.add_child(
        folium.Element(
            f"<div style='{box}'><h3>推演 What if {html.escape(Path(found.draft).name)}</h3>{alarm}{legend}{more}</div>"
        )
    )
    page.save(str(path))
