"""``wanmi rules …``: the rules of responsibility as a table; what they leave open; which of them people overrule."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from api.door import ActorOption, CityOption, opened, show, user_name
from cases.rule_check import FAULTS, Fault, errors_of
from cases.rules import Difference, Overruled, RuleReport
from gis.settings import Settings

rules = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
MOST = 12  #: faults of a kind, and differences, that are listed; --out has all
Line = tuple[str, str]
OutOption = Annotated[Path | None, typer.Option(help="CSV file of all that was found.")]


@rules.callback()
def frame() -> None:
    """Rules of responsibility (属地管理): check, import, export, what people overrule.

    责任规则:检查、接收、输出、改派统计。

    Example: wanmi rules check
    """


@rules.command("check")
def check(context: typer.Context, out: OutOption = None, city: CityOption = None) -> None:
    """Check the rules of today: contradictions, rules never used, places without a unit, units without people.

    检查现行责任规则:矛盾、永不采用、无责任单位、单位无账号等。有错误时退出码为 1。

    Example: wanmi rules check --out faults.csv
    """
    from cases.rule_check import check_rules
    from cases.rules import rules_at

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, _, _, _), engine.connect() as conn:
        held = rules_at(conn)
        faults = check_rules(conn, held)
    show([(f"{len(held):,} rules", f"{len(held):,} 条规则"), *fault_lines(faults)], settings)
    if out is not None:
        write_faults(faults, out)
    if errors_of(faults):
        raise typer.Exit(1)


@rules.command("import")
def import_table(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A table (.csv, .xlsx), or polygons (.gpkg, .shp, .geojson …).")],
    commit: Annotated[
        bool, typer.Option("--commit", help="Make it hold; otherwise only say what it would do.")
    ] = False,
    since: Annotated[str | None, typer.Option("--from", help="ISO instant from which it holds; none: now.")] = None,
    complete: Annotated[bool, typer.Option("--complete", help="Rules that the file does not name end.")] = False,
    note: Annotated[str | None, typer.Option(help="Why, for the history.")] = None,
    out: OutOption = None,
    actor: ActorOption = None,
    city: CityOption = None,
) -> None:
    """Take over rules from a table, or with their red lines from a GIS file; they hold from an instant on.

    接收责任规则表或责任区图层:检查、比对;加 --commit 则自指定时间起生效,不追溯。有错误时退出码为 1。

    Example: wanmi rules import rules.xlsx --from 2027-01-01T00:00 --commit
    """
    from api.gridfiles import instant
    from cases.rules import import_rules

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.begin() as conn:
        report = import_rules(
            conn,
            profile,
            file,
            since=instant(since, profile) if since else None,
            complete=complete,
            commit=commit,
            actor=actor or user_name(),
            reason=note or f"rules {file.name}",
        )
    show(list(report_lines(report, ZoneInfo(profile.timezone))), settings)
    if out is not None:
        write_faults(report.faults, out)
    if errors_of(report.faults):
        raise typer.Exit(1)


@rules.command("export")
def export_table(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A table (.csv, .xlsx), or the polygons (.gpkg, .shp, .geojson …).")],
    at: Annotated[str | None, typer.Option(help="ISO instant: the rules as they were then.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
    city: CityOption = None,
) -> None:
    """Write the rules to a table, or those with a red line to a GIS file; read again they change nothing.

    将责任规则输出为表格,或将责任区输出为图层。

    Example: wanmi rules export rules.xlsx
    """
    from api.gridfiles import instant
    from cases.rules import write_rules_file

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.connect() as conn:
        many = write_rules_file(conn, profile, file, at=instant(at, profile) if at else None, overwrite=overwrite)
    show([(f"{file}: {many:,} rules", f"{file}:{many:,} 条规则")], settings)


@rules.command("review")
def review_rules(
    context: typer.Context,
    since: Annotated[str | None, typer.Option("--from", help="Only decisions from this ISO day or instant on.")] = None,
    least: Annotated[int, typer.Option(help="Only rules that were overruled so often.", min=1)] = 1,
    out: OutOption = None,
    city: CityOption = None,
) -> None:
    """List the rules that dispatchers keep overruling, with the cases and a proposal.

    列出被派遣员反复改派的规则、相关案件与修改建议。

    Example: wanmi rules review --from 2026-01-01 --least 3
    """
    from api.gridfiles import instant
    from cases.rules import review

    settings: Settings = context.obj
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.connect() as conn:
        found = review(conn, since=instant(since, profile) if since else None, least=least)
    lines = [line for one in found for line in overruled_lines(one)]
    show(lines or [("no rule was overruled", "没有被改派的规则")], settings)
    if out is not None:
        with out.open("w", encoding="utf-8-sig", newline="") as file:
            table = csv.writer(file)
            table.writerow(["rule", "document", "proposed", "overruled", "to_unit", "area", "cases", "reasons"])
            for one in found:
                cases = " ".join(map(str, one.cases))
                row = [one.rule, one.document, one.proposed, one.overruled, one.to_unit, one.area, cases]
                table.writerow([*row, " | ".join(one.reasons)])


# ── in words ────────────────────────────────────────


def report_lines(report: RuleReport, zone: ZoneInfo) -> Iterable[Line]:
    """What taking over a file of rules did, or would do."""
    counts = {fate: report.total(fate) for fate in ("new", "changed", "ended")}
    yield (
        f"{report.rows:,} rules: {counts['new']} new, {counts['changed']} changed, {report.same} the same, "
        f"{counts['ended']} ended",
        f"{report.rows:,} 条规则:新增 {counts['new']},变更 {counts['changed']},相同 {report.same},"
        f"停用 {counts['ended']}",
    )
    for one in report.differences[:MOST]:
        yield _difference(one)
    more = len(report.differences) - MOST
    if more > 0:
        yield f"  … and {more} more", f"  …… 另有 {more} 条"
    yield from fault_lines(report.faults)
    if report.committed and report.since is not None:
        when = report.since.astimezone(zone).isoformat(timespec="seconds")
        yield f"they hold from {when}", f"自 {when} 起生效"
    elif errors_of(report.faults):
        yield "nothing was taken over: mend the errors", "未接收:请先更正错误"
    elif report.differences:
        yield "nothing was written; --commit takes them over", "未写入;加 --commit 接收"


def _difference(one: Difference) -> Line:
    if one.fate != "changed":
        said = one.before or one.after
        text = f"  {one.fate:<8} {one.code}  {said['class_prefix'] or '*'}  {said['roles']}"
        return text, text
    parts = [
        f"zone: {_polygon(one)}"
        if name == "zone"
        else f"{name}: {_short(one.before[name])} → {_short(one.after[name])}"
        for name in one.fields
    ]
    text = f"  {one.fate:<8} {one.code}  " + "; ".join(parts)
    return text, text


def _polygon(one: Difference) -> str:
    if not one.after["zone"]:
        return "the polygon is taken away"
    return "another polygon" if one.before["zone"] else "a polygon"


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


def fault_lines(faults: list[Fault]) -> Iterable[Line]:
    """The faults, errors first, a few of each kind."""
    many = Counter(fault.rule for fault in faults)
    for name, kind in FAULTS.items():
        if not many[name]:
            continue
        severity = {"error": "错误", "warning": "警告"}[kind.severity]
        yield f"{kind.severity}: {kind.en} ({many[name]})", f"{severity}:{kind.zh}({many[name]})"
        for fault in [fault for fault in faults if fault.rule == name][:MOST]:
            words = [fault.code, fault.other, fault.value]
            said = ", ".join(word for word in words if word)
            row, row_zh = (f" row {fault.row}", f" 第 {fault.row} 行") if fault.row else ("", "")
            count, count_zh = ("", "")
            if fault.count is not None:
                unit, unit_zh = (
                    ("m²", "平方米") if name == "zones_overlap" else ("communities or cells", "个社区或网格")
                )
                count, count_zh = f" ({fault.count} {unit})", f"({fault.count} {unit_zh})"
            yield f"  {said}{row}{count}", f"  {said}{row_zh}{count_zh}"
        yield f"  → {kind.mend}", f"  → {kind.mend_zh}"


def write_faults(faults: list[Fault], path: Path) -> None:
    """All faults as CSV."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file)
        columns = [
            "severity",
            "fault",
            "code",
            "other",
            "row",
            "field",
            "value",
            "count",
            "en",
            "zh",
            "mend",
            "mend_zh",
        ]
        table.writerow(columns)
        for fault in faults:
            kind = FAULTS[fault.rule]
            where = [fault.code, fault.other, fault.row, fault.field, fault.value, fault.count]
            table.writerow([kind.severity, fault.rule, *where, kind.en, kind.zh, kind.mend, kind.mend_zh])


def overruled_lines(one: Overruled) -> Iterable[Line]:
    """A rule that people decide against: how often, for whom, where, why; what to make of it."""
    name, name_zh = (f"rule {one.rule}", f"规则 {one.rule}") if one.rule else ("no rule", "无规则")
    yield (
        f"{name}: overruled in {one.overruled} of {one.proposed} cases ({one.document or '-'})",
        f"{name_zh}:{one.proposed} 件中有 {one.overruled} 件被改派({one.document or '-'})",
    )
    shown = ", ".join(map(str, one.cases[:5]))
    yield f"  cases {shown}: {'; '.join(one.reasons[:3])}", f"  案件 {shown}:{';'.join(one.reasons[:3])}"
    where, where_zh = (f"in {one.area}", f"在 {one.area} 内") if one.area else ("everywhere", "全市")
    yield (
        f"  proposal: {where} let unit:{one.to_unit} lead ({one.to_unit_many} of {one.overruled} chose it)",
        f"  建议:{where_zh}改由 unit:{one.to_unit} 牵头({one.overruled} 件中 {one.to_unit_many} 件选择该单位)",
    )
