"""Publishing a grid: the cells change, components and open cases follow, in one transaction; what moved is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection

from cases.follow import MovedCase, NamingRule, open_cases, reassign, rules_naming
from grids.editions import ChangedCell, Edition, publish
from layers.follow import MovedComponent, NamingUnit, components_in_cells, replace_cells, units_naming

Line = tuple[str, str]
SHOWN = 20  #: rows of each kind in a report on the screen


@dataclass(frozen=True, kw_only=True)
class Published:
    """What publishing a draft did, or would do."""

    edition: Edition
    committed: bool  #: False: a dry run, all of it was taken back
    components: list[MovedComponent]
    cases: list[MovedCase]
    rules: list[NamingRule] = field(default_factory=list)  #: they name a cell that is no more
    units: list[NamingUnit] = field(default_factory=list)
    components_before: int = 0  #: with a cell
    components_after: int = 0
    open_cases_before: int = 0
    open_cases_after: int = 0

    @property
    def cells(self) -> list[ChangedCell]:
        """The cells that changed."""
        return self.edition.cells

    @property
    def counts(self) -> dict[str, int]:
        """How many cells are new, changed, noded, retired."""
        found = Counter(cell.what for cell in self.cells)
        return {what: found.get(what, 0) for what in ("new", "changed", "noded", "retired")}

    @property
    def components_lost(self) -> list[MovedComponent]:
        """Components that no cell covers any more."""
        return [moved for moved in self.components if moved.to_code is None]

    @property
    def cases_lost(self) -> list[MovedCase]:
        """Open cases that no cell is near any more; they keep the cell they had."""
        return [moved for moved in self.cases if moved.lost]


def publish_grid(
    conn: Connection, edition_id: int, *, actor: str, commit: bool = True, revision: int | None = None
) -> Published:
    """Publish a draft with all that follows from it. With ``commit`` False everything is taken back afterwards.

    With ``revision`` it is refused when somebody has saved the draft since.

    The transaction is the caller's: with ``commit`` it must still be committed. Raises NotFound, Conflict,
    grids.editions.UnsoundGrid; then nothing has changed.
    """
    with conn.begin_nested() as savepoint:
        before = components_in_cells(conn)[0], open_cases(conn)
        edition = publish(conn, edition_id, actor=actor, revision=revision)
        ended, begun = edition.ended_ids, edition.begun_ids
        components = replace_cells(conn, ended, begun) if edition.cells else []
        moved = reassign(conn, ended, begun, actor=actor, edition=edition_id) if edition.cells else []
        report = Published(
            edition=edition,
            committed=commit,
            components=components,
            cases=moved,
            rules=rules_naming(conn, edition.retired),
            units=units_naming(conn, edition.retired),
            components_before=before[0],
            components_after=components_in_cells(conn)[0],
            open_cases_before=before[1],
            open_cases_after=open_cases(conn),
        )
        if not commit:
            savepoint.rollback()
    return report


def report_lines(report: Published) -> Iterator[Line]:
    """The report in words, English and Chinese."""
    number = report.edition.id
    if report.committed:
        yield f"draft {number} is published", f"草稿 {number} 已发布"
    else:
        yield (
            f"draft {number}: a dry run, nothing was changed; --commit publishes it",
            f"草稿 {number}:试运行,未作任何更改;加 --commit 正式发布",
        )
    if not report.cells:
        yield "  no cell changes", "  网格无变化"
    counts = report.counts
    yield (
        f"  cells       {counts['new']} new, {counts['changed']} changed, {counts['retired']} retired, "
        f"{counts['noded']} with a neighbour's vertices",
        f"  网格        新增 {counts['new']},变更 {counts['changed']},停用 {counts['retired']},"
        f"仅增加公共节点 {counts['noded']}",
    )
    told = [cell for cell in report.cells if cell.what in ("retired", "changed")]
    for cell in told[:SHOWN]:
        if cell.what == "retired":
            became = ", ".join(f"{son.code} ({son.share_of_old:.0%})" for son in cell.successors)
            yield f"    {cell.code} → {became}", f"    {cell.code} → {became}"
        elif cell.what == "changed":
            yield f"    {cell.code} changed", f"    {cell.code} 变更"
    yield from _more(len(told))
    yield (
        f"  components  {len(report.components)} have another cell; "
        f"{report.components_before:,} were in a cell, {report.components_after:,} are",
        f"  部件        {len(report.components)} 个更换网格;有网格的部件由 {report.components_before:,} "
        f"变为 {report.components_after:,}",
    )
    for component in report.components[:SHOWN]:
        text = f"    {component.code}  {component.from_code} → {component.to_code or '?'}"
        yield text, text
    yield from _more(len(report.components))
    noted = [case for case in report.cases if case.noted]
    yield (
        f"  open cases  {len(report.cases)} follow, {len(noted)} with another cell, unit or reason; "
        f"{report.open_cases_before:,} were open, {report.open_cases_after:,} are",
        f"  未结案件    {len(report.cases)} 件随之更新,其中 {len(noted)} 件网格、单位或依据改变;"
        f"未结案件由 {report.open_cases_before:,} 变为 {report.open_cases_after:,}",
    )
    for case in noted[:SHOWN]:
        unit = "" if case.from_unit == case.to_unit else f"  {case.from_unit or '?'} → {case.to_unit or '?'}"
        text = f"    {case.no}  {case.from_code} → {case.to_code or '?'}{unit}"
        yield text, text
    yield from _more(len(noted))
    yield from _warnings(report)


def _more(many: int) -> Iterator[Line]:
    """That a list is longer than what is shown."""
    if many > SHOWN:
        yield f"    … and {many - SHOWN} more (--out writes all)", f"    … 另有 {many - SHOWN} 项(用 --out 写出全部)"


def report_rows(report: Published) -> list[dict[str, object]]:
    """The whole report as rows: what, code, from, to, unit from, unit to."""
    rows: list[dict[str, object]] = []
    for cell in report.cells:
        became = " ".join(son.code for son in cell.successors)
        rows.append({"what": f"cell {cell.what}", "code": cell.code, "to": became})
    for one in report.components:
        rows.append({"what": "component", "code": one.code, "from": one.from_code, "to": one.to_code})
    for case in report.cases:
        units = {"unit_from": case.from_unit, "unit_to": case.to_unit}
        rows.append({"what": "case", "code": case.no, "from": case.from_code, "to": case.to_code, **units})
    return rows


def _warnings(report: Published) -> Iterator[Line]:
    for component in report.components_lost:
        yield (
            f"  WARNING component {component.code} is in no cell any more",
            f"  警告:部件 {component.code} 不再位于任何网格内",
        )
    for case in report.cases_lost:
        yield (
            f"  WARNING case {case.no} is in no cell any more; it keeps {case.from_code}",
            f"  警告:案件 {case.no} 不再位于任何网格内,保留 {case.from_code}",
        )
    for rule in report.rules:
        yield (
            f"  WARNING rule {rule.code} is for cell {rule.cell_code}, which is no more",
            f"  警告:规则 {rule.code} 指向已停用的网格 {rule.cell_code}",
        )
    for unit in report.units:
        yield (
            f"  WARNING unit {unit.code} ({unit.name_en}) is the body of cell {unit.cell_code}, which is no more",
            f"  警告:单位 {unit.code}({unit.name_zh})为已停用网格 {unit.cell_code} 的责任主体",
        )
