"""What is in a city and what became of its cases, in lines of English and Chinese."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, TextClause

from gis.db import query
from grids.city import City

Line = tuple[str, str]  #: the same in English and in Chinese

HOTTEST = 5
FAR_M = 50.0  #: a report that names a component this far away names the wrong one, or lies in the wrong place
LEVELS = {
    "district": ("district", "districts", "区"),
    "street": ("street", "streets", "街道"),
    "community": ("community", "communities", "社区"),
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
REFUSALS = {
    "outside": ("lie outside the grid", "不在网格范围内"),
    "no_place": ("have no usable coordinates", "没有可用坐标"),
    "no_time": ("have no time of report", "缺少上报时间"),
    "unknown_class": ("are of a class that the catalogue does not have", "类别不在目录中"),
    "unknown_condition": ("name a filing condition that the class does not have", "立案条件不存在"),
}
STAGES = {
    "generate": ("generate", "生成"),
    "read": ("read", "读取"),
    "cut": ("cut", "划分网格"),
    "load": ("load", "载入"),
    "assign": ("assign", "确定归属"),
    "map": ("map", "绘图"),
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
    stages: list[Row[Any]]
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
        cases=rows(query("cases", "counts_of_cases"), far_m=FAR_M)[0],
        stages=rows(query("cases", "counts_by_stage")),
        bases=rows(query("cases", "counts_by_basis")),
        refused=rows(query("cases", "refused_reports")),
        hottest=rows(query("cases", "hottest_cells"), most=HOTTEST),
        area_labels=rows(query("cases", "agreement_of_areas"))[0],
        unit_labels=rows(query("cases", "agreement_of_units"))[0],
        findings=rows(query("grids", "read_city_row"))[0].findings,
    )


def summary(city: City, numbers: Numbers, seconds: dict[str, float]) -> Iterator[Line]:
    """The lines of the summary; ``seconds`` is how long each stage of this run took."""
    yield f"\n{city.name_en} ({city.name_zh})", f"\n{city.name_zh}({city.name_en})"
    if city.simulated:
        yield (
            "  SIMULATED (模拟): streets, borders, components, organisations and cases are generated; the codes and",
            "  模拟数据 (simulated):道路、边界、部件、机构与案件均为生成;行政区划的编码与名称为真实资料,",
        )
        yield (
            "  names of areas are real, and the catalogue follows the national editions.",
            "  部件与事件目录依据国家标准各版本。",
        )
    yield from _inventory(numbers)
    yield from _cases(city, numbers)
    yield from _quality(city, numbers)
    yield "  hottest cells", "  案件最多的单元网格"
    for row in numbers.hottest:
        count = _count(row.cases)
        yield (
            f"{count}{row.code}  {row.street_en} {row.name_en}",
            f"{count}{row.code}  {row.street_zh} {row.name_zh}",
        )
    if seconds:
        spent = [(*STAGES[key], value) for key, value in seconds.items()]
        yield (
            "  times       " + ", ".join(f"{en} {value:.1f} s" for en, _, value in spent),
            "  用时        " + "、".join(f"{zh} {value:.1f} 秒" for _, zh, value in spent),
        )


def _count(number: int) -> str:
    return f"              {number:>8,}  "


def _inventory(n: Numbers) -> Iterator[Line]:
    area_km2 = max(row.area_km2 for row in n.areas)
    counted = [(row.areas, *LEVELS[row.level]) for row in n.areas if row.level in LEVELS]
    yield (
        "  areas       "
        + ", ".join(f"{k} {one if k == 1 else more}" for k, one, more, _ in counted)
        + f"; {area_km2:.1f} km²",
        "  区域        " + "、".join(f"{k} 个{zh}" for k, _, _, zh in counted) + f";共 {area_km2:.1f} 平方公里",
    )
    low, _, high = (f"{value:,.0f}" for value in n.cells.spread_m2)
    yield (
        f"  cells       {n.cells.cells:,} of {n.cells.mean_m2:,.0f} m² on average (90 % between {low} and {high}); "
        f"{n.responsibility:,} responsibility grids",
        f"  单元网格    {n.cells.cells:,} 个,平均 {n.cells.mean_m2:,.0f} 平方米(九成在 {low}–{high});"
        f"责任网格 {n.responsibility:,} 个",
    )
    c, u, r = n.catalogue, n.units, n.rules
    yield (
        f"  catalogue   {c.component_classes} component and {c.event_classes} event classes, {c.conditions} filing "
        f"conditions; {u.units} units, {u.collectors} collectors, {r.rules} rules ({r.zones} with a zone)",
        f"  目录        部件 {c.component_classes} 小类,事件 {c.event_classes} 小类,立案条件 {c.conditions} 条;"
        f"单位 {u.units} 个,监督员 {u.collectors} 名,规则 {r.rules} 条(其中责任区 {r.zones} 条)",
    )
    total = sum(row.components for row in n.components)
    yield f"  components  {total:,}", f"  部件        {total:,} 个"
    for row in n.components:
        count = _count(row.components)
        yield f"{count}{row.code} {row.name_en}", f"{count}{row.code} {row.name_zh}"


def _cases(city: City, n: Numbers) -> Iterator[Line]:
    cases, period = n.cases, ""
    if cases.cases:
        zone = ZoneInfo(city.timezone)
        period = f"{cases.first_at.astimezone(zone):%Y-%m-%d} … {cases.last_at.astimezone(zone):%Y-%m-%d}"
    yield f"  cases       {cases.cases:,}, {period}", f"  案件        {cases.cases:,} 件,{period}"
    open_cases = sum(row.cases for row in n.stages if not row.is_end)
    ends = [row for row in n.stages if row.is_end]
    yield (
        f"{_count(open_cases)}open; " + ", ".join(f"{row.cases:,} {row.name_en}" for row in ends),
        f"{_count(open_cases)}在办;" + "、".join(f"{row.name_zh} {row.cases:,}" for row in ends),
    )
    yield f"{_count(cases.with_unit)}assigned to a unit", f"{_count(cases.with_unit)}已确定责任单位"
    for row in n.bases:
        en, zh = BASES.get((row.basis, row.resolved_by), (f"{row.basis}: {row.resolved_by}",) * 2)
        yield f"{_count(row.cases)}  {en}", f"{_count(row.cases)}  {zh}"
    yield (
        f"{_count(cases.near_border)}within {city.border_tolerance_m:g} m of another community",
        f"{_count(cases.near_border)}距其他社区 {city.border_tolerance_m:g} 米以内",
    )
    yield (
        f"{_count(cases.nearest)}in no cell, given to the nearest within {city.tolerance_m:g} m",
        f"{_count(cases.nearest)}不在网格内,归入 {city.tolerance_m:g} 米内最近网格",
    )
    if cases.far_from_component:
        yield (
            f"{_count(cases.far_from_component)}over {FAR_M:g} m from the component they name",
            f"{_count(cases.far_from_component)}与所报部件相距 {FAR_M:g} 米以上",
        )
    if cases.with_due:
        yield (
            f"{_count(cases.late)}finished late, {cases.open_late:,} open and late at the end of the data, of "
            f"{cases.with_due:,} with a limit",
            f"{_count(cases.late)}超时办结,{cases.open_late:,} 件至数据末超时未结(有时限的共 {cases.with_due:,} 件)",
        )
    refused = sum(row.reports for row in n.refused)
    yield (
        f"{_count(refused)}reports became no case" + (" ('wanmi unassigned' lists them)" if refused else ""),
        f"{_count(refused)}未能立案的上报" + ("(wanmi unassigned 可列出)" if refused else ""),
    )
    for row in n.refused:
        en, zh = REFUSALS[row.refusal]
        yield f"{_count(row.reports)}  {en}", f"{_count(row.reports)}  {zh}"


def _quality(city: City, n: Numbers) -> Iterator[Line]:
    for labels, en, zh in (
        (n.area_labels, "lie in the area that the source names", "与来源标注的区域一致"),
        (n.unit_labels, "go to the unit that handled them", "与来源标注的责任单位一致"),
    ):
        if labels.labelled:
            share = labels.agreeing / labels.labelled
            yield (
                f"  agreement   {labels.agreeing:,} of {labels.labelled:,} labelled cases ({share:.2%}) {en}",
                f"  一致率      有标注的 {labels.labelled:,} 件中 {labels.agreeing:,} 件({share:.2%}){zh}",
            )
    if n.findings and city.simulated:
        yield "  planted on purpose", "  模拟时有意设置"
    elif n.findings:
        yield "  defects of the source, and what was done", "  来源数据缺陷及处理"
    for finding in n.findings:
        count = _count(finding["rows"])
        yield (
            f"{count}{finding['what_en']}: {finding['done_en']}",
            f"{count}{finding['what_zh']}:{finding['done_zh']}",
        )
