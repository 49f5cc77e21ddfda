"""The demo's two answers: what is in the city and where its cases are, in words and as a heat map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from rich.console import Console
from sqlalchemy import Connection, Row, TextClause

from api.maps import Notice, heat_html, heat_png
from gis.db import query, read_frame
from gis.errors import WanmiError
from gis.layer import read_geoframe
from gis.packages import unpack
from gis.raster import RasterGrid, kernel_density
from grids.areas import AREAS
from grids.city import City
from grids.ground import GROUND

BANDWIDTH_M = 150.0  #: about the walk along one cell: hot corners stay apart, single cases melt into streets
PIXEL_M = 10.0
HOTTEST = 5
FONT_PACKAGE = "fonts-wqy-microhei"
HOTTEST_ON_PAGE = 50
LEVELS = {
    "district": ("district", "districts", "区"),
    "street": ("street", "streets", "街道"),
    "community": ("community", "communities", "社区"),
}
REFUSALS = {
    "outside": ("lie outside the grid", "不在网格范围内"),
    "no_place": ("have no usable coordinates", "没有可用坐标"),
    "no_time": ("have no time of report", "缺少上报时间"),
    "unknown_class": ("are of a class that the catalogue does not have", "类别不在目录中"),
    "unknown_condition": ("name a filing condition that the class does not have", "立案条件不存在"),
}
BASES = {
    ("component", "maintainer"): ("maintainer of the component", "部件养护单位"),
    ("component", "owner"): ("owner of the component", "部件权属单位"),
    ("rule", "unit"): ("rule: a fixed unit", "规则:指定单位"),
    ("rule", "owner"): ("rule: owner of the component", "规则:部件权属单位"),
    ("rule", "maintainer"): ("rule: maintainer of the component", "规则:部件养护单位"),
    ("rule", "cell"): ("rule: body of the cell", "规则:网格责任单位"),
    ("rule", "community"): ("rule: body of the community", "规则:社区"),
    ("rule", "street"): ("rule: street office of the place", "规则:属地街道"),
    ("rule", "district"): ("rule: district of the place", "规则:属地区级部门"),
    ("zone", "unit"): ("zone: a fixed unit", "责任区:指定单位"),
    ("territory", "street"): ("territory: street office", "属地:街道办事处"),
    ("territory", "district"): ("territory: district", "属地:区级部门"),
    ("nobody", None): ("nobody found: the dispatcher decides", "无责任主体:派遣员判定"),
}


@dataclass(frozen=True)
class Numbers:
    """What the summary says, read in one go."""

    areas: list[Row[Any]]
    cells: Row[Any]
    catalogue: Row[Any]
    units: Row[Any]
    rules: Row[Any]
    responsibility: int
    components: list[Row[Any]]
    cases: Row[Any]
    bases: list[Row[Any]]
    refused: list[Row[Any]]
    hottest: list[Row[Any]]
    area_labels: Row[Any]
    unit_labels: Row[Any]
    findings: list[dict[str, Any]]


def read_numbers(conn: Connection) -> Numbers:
    """The numbers of a loaded city."""

    def rows(statement: TextClause, **parameters: object) -> list[Row[Any]]:
        return list(conn.execute(statement, parameters))

    return Numbers(
        areas=rows(query("grids", "counts_of_areas")),
        cells=rows(query("grids", "counts_of_cells"))[0],
        catalogue=rows(query("layers", "counts_of_catalogue"))[0],
        units=rows(query("layers", "counts_of_units"))[0],
        rules=rows(query("cases", "counts_of_rules"))[0],
        responsibility=rows(query("grids", "responsibility_grids"))[0][0],
        components=rows(query("layers", "counts_of_components")),
        cases=rows(query("cases", "counts_of_cases"))[0],
        bases=rows(query("cases", "counts_by_basis")),
        refused=rows(query("cases", "refused_reports")),
        hottest=rows(query("cases", "hottest_cells"), most=HOTTEST),
        area_labels=rows(query("cases", "agreement_of_areas"))[0],
        unit_labels=rows(query("cases", "agreement_of_units"))[0],
        findings=rows(query("grids", "read_city_row"))[0].findings,
    )


def print_summary(out: Console, city: City, numbers: Numbers, seconds: dict[str, float], language: str) -> None:
    """Print what is in the city and what became of its cases, in the language asked for."""
    chinese = language == "zh"

    def line(en: str, zh: str) -> None:
        out.print(zh if chinese else en, markup=False)

    def name(row: Row[Any], prefix: str = "name") -> str:
        return str(getattr(row, f"{prefix}_zh" if chinese else f"{prefix}_en") or "")

    n = numbers
    line(f"\n{city.name_en} ({city.name_zh})", f"\n{city.name_zh}({city.name_en})")
    if city.simulated:
        line(
            "  SIMULATED (模拟): geometry, components and cases are generated; names, codes and catalogue are real.",
            "  模拟数据 (simulated):几何、部件与案件均为生成;名称、编码与目录为真实资料。",
        )
    area_km2 = max(row.area_km2 for row in n.areas)
    counted = {row.level: row.areas for row in n.areas if row.level != "city"}
    line(
        "  areas       "
        + ", ".join(f"{count} {LEVELS[level][count != 1]}" for level, count in counted.items())
        + f"; {area_km2:.1f} km²",
        "  区域        "
        + "、".join(f"{count} 个{LEVELS[level][2]}" for level, count in counted.items())
        + f";共 {area_km2:.1f} 平方公里",
    )
    spread = [round(value) for value in n.cells.spread_m2]
    line(
        f"  cells       {n.cells.cells:,} of {n.cells.mean_m2:,.0f} m² on average (90 % between {spread[0]:,} and "
        f"{spread[2]:,}); {n.responsibility:,} responsibility grids",
        f"  单元网格    {n.cells.cells:,} 个,平均 {n.cells.mean_m2:,.0f} 平方米(九成在 {spread[0]:,}–{spread[2]:,})"
        f";责任网格 {n.responsibility:,} 个",
    )
    components = sum(row.components for row in n.components)
    line(
        f"  catalogue   {n.catalogue.component_classes} component and {n.catalogue.event_classes} event classes, "
        f"{n.catalogue.conditions} filing conditions; {n.units.units} units, {n.units.collectors} collectors, "
        f"{n.rules.rules} rules ({n.rules.zones} with a zone)",
        f"  目录        部件 {n.catalogue.component_classes} 小类,事件 {n.catalogue.event_classes} 小类,"
        f"立案条件 {n.catalogue.conditions} 条;单位 {n.units.units} 个,监督员 {n.units.collectors} 名,"
        f"规则 {n.rules.rules} 条(其中责任区 {n.rules.zones} 条)",
    )
    line(
        f"  components  {components:,}",
        f"  部件        {components:,} 个",
    )
    for row in n.components:
        out.print(f"              {row.components:>8,}  {row.code} {name(row)}", markup=False)
    cases = n.cases
    period = ""
    if cases.cases:
        zone = ZoneInfo(city.timezone)
        period = f"{cases.first_at.astimezone(zone):%Y-%m-%d} … {cases.last_at.astimezone(zone):%Y-%m-%d}"
    line(f"  cases       {cases.cases:,}, {period}", f"  案件        {cases.cases:,} 件,{period}")
    line(
        f"              {cases.with_unit:>8,}  assigned to a unit",
        f"              {cases.with_unit:>8,}  已确定责任单位",
    )
    for row in n.bases:
        en, zh = BASES.get((row.basis, row.resolved_by), (f"{row.basis}: {row.resolved_by}",) * 2)
        out.print(f"              {row.cases:>8,}    {zh if chinese else en}", markup=False)
    line(
        f"              {cases.near_border:>8,}  within {city.border_tolerance_m:g} m of another community; "
        f"{cases.nearest:,} in no cell, given to the nearest within {city.tolerance_m:g} m",
        f"              {cases.near_border:>8,}  距其他社区 {city.border_tolerance_m:g} 米以内;"
        f"{cases.nearest:,} 件不在网格内,归入 {city.tolerance_m:g} 米内最近网格",
    )
    if cases.with_due:
        line(
            f"              {cases.late:>8,}  overdue of {cases.with_due:,} with a limit",
            f"              {cases.late:>8,}  超时(有时限的共 {cases.with_due:,} 件)",
        )
    refused = sum(row.reports for row in n.refused)
    line(
        f"              {refused:>8,}  reports refused" + (" ('wanmi unassigned' lists them):" if refused else ""),
        f"              {refused:>8,}  未能立案" + ("(wanmi unassigned 可列出):" if refused else ""),
    )
    for row in n.refused:
        out.print(f"              {row.reports:>8,}    {REFUSALS[row.refusal][chinese]}", markup=False)
    for labels, en, zh in (
        (n.area_labels, "lie in the area that the source names", "与来源标注的区域一致"),
        (n.unit_labels, "go to the unit that handled them", "与来源标注的责任单位一致"),
    ):
        if labels.labelled:
            share = labels.agreeing / labels.labelled
            line(
                f"  agreement   {labels.agreeing:,} of {labels.labelled:,} labelled cases ({share:.2%}) {en}",
                f"  一致率      有标注的 {labels.labelled:,} 件中 {labels.agreeing:,} 件({share:.2%}){zh}",
            )
    if n.findings:
        line("  defects of the source, and what was done:", "  来源数据缺陷及处理:")
        for finding in n.findings:
            what, done = (
                (finding["what_zh"], finding["done_zh"]) if chinese else (finding["what_en"], finding["done_en"])
            )
            out.print(f"              {finding['rows']:>8,}  {what}: {done}", markup=False)
    line("  hottest cells", "  案件最多的单元网格")
    for row in n.hottest:
        out.print(f"              {row.cases:>8,}  {row.code}  {name(row, 'street')} {name(row)}", markup=False)
    spent = ", ".join(f"{key} {value:.1f} s" for key, value in seconds.items())
    if spent:
        line(f"  times       {spent}", f"  用时        {spent}")
    if seconds.get("assign"):
        rate = (cases.cases + refused) / seconds["assign"]
        line(
            f"              {rate:,.0f} cases assigned and opened per second",
            f"              每秒确定归属并立案 {rate:,.0f} 件",
        )


def chinese_font(cache: Path) -> Path | None:
    """A font with Chinese characters unpacked from the distribution's packages, or None where that cannot be."""
    try:
        tree = unpack(FONT_PACKAGE, cache / "font", lambda en, zh: None)
    except (WanmiError, OSError):
        return None
    return next(iter(sorted(tree.rglob("*.ttc"))), None)


def write_maps(conn: Connection, city: City, folder: Path, font: Path | None) -> tuple[list[Path], Notice | None]:
    """Write the heat map of all cases as PNG and HTML into ``folder``; returns their paths, and a notice or None.

    Kernel density (Gaussian, BANDWIDTH_M) in cases per km² over the period of the data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    points = read_frame(conn, query("cases", "points_of_cases"))
    areas = AREAS.read(conn, city.srid)
    barriers = GROUND.read(conn, city.srid)
    top = read_geoframe(conn, query("cases", "hottest_cells"), city.srid, most=HOTTEST_ON_PAGE)
    low_x, low_y, high_x, high_y = areas.total_bounds
    pixel_m = max(PIXEL_M, (high_x - low_x) / 2000)
    grid = RasterGrid.over((low_x, low_y, high_x, high_y), pixel_m, city.srid)
    x, y = points["x"].to_numpy(np.float64), points["y"].to_numpy(np.float64)
    surface = kernel_density(x, y, grid, BANDWIDTH_M)
    said: dict[str, Any] = {
        "title_zh": f"{city.name_zh}案件密度",
        "title_en": f"{city.name_en}: density of cases",
        "note_zh": "模拟数据" if city.simulated else None,
        "note_en": "simulated" if city.simulated else None,
    }
    shown: dict[str, Any] = {"areas": areas, "barriers": barriers, "surface": surface, "grid": grid, "top_cells": top}
    paths = [folder / f"{city.id}-heat.png", folder / f"{city.id}-heat.html"]
    notice = heat_png(paths[0], **said, **shown, font=font)
    heat_html(paths[1], **said, **shown)
    return paths, notice
