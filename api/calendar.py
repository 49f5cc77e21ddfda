"""``wanmi calendar …``: the city's working time as a table; what another table would change, deadlines among it."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from api.door import ActorOption, CityOption, opened, show, user_name
from cases.calendar import Calendar, CalendarChange, ChangedDay
from cases.calendar_check import FAULTS, CalendarFault, Line, errors_of
from cases.deadlines import Moved, move_deadlines
from gis.errors import Invalid
from gis.settings import Settings

calendar = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
MOST = 12  #: faults of a kind, changed days and moved deadlines that are listed
Words = tuple[str, str]
KINDS_ZH = {"office": "上班时段", "holiday": "放假", "working_day": "调休上班"}
FileArgument = Annotated[Path, typer.Argument(help="A table (.csv, .xlsx).")]
OutOption = Annotated[Path | None, typer.Option(help="CSV file of all that was found.")]


@calendar.callback()
def frame() -> None:
    """Work calendar (工作日历): office periods, seasons, holidays, made-up working days.

    工作日历:上班时段、作息季节、节假日、调休上班。

    Example: wanmi calendar show
    """


@calendar.command("check")
def check(context: typer.Context, file: FileArgument, out: OutOption = None) -> None:
    """Check a table of a calendar: days, hours, gaps, contradictions; no database is needed.

    检查工作日历表:日期、时段、空档、矛盾;不需要数据库。有错误时退出码为 1。

    Example: wanmi calendar check data/ankang/calendar.csv
    """
    from cases.calendar import read_calendar_file
    from cases.calendar_check import check_calendar

    lines, rows = read_calendar_file(file)
    faults = check_calendar(lines, rows)
    show([(f"{len(lines):,} lines", f"{len(lines):,} 行"), *fault_lines(faults)], context.obj)
    if out is not None:
        write_faults(faults, out)
    if errors_of(faults):
        raise typer.Exit(1)


@calendar.command("import")
def import_table(
    context: typer.Context,
    file: FileArgument,
    commit: Annotated[
        bool, typer.Option("--commit", help="Make it hold; otherwise only say what it would do.")
    ] = False,
    note: Annotated[str | None, typer.Option(help="Why, for the history.")] = None,
    out: OutOption = None,
    actor: ActorOption = None,
    city: CityOption = None,
) -> None:
    """Take over a whole calendar: which days become free or working, which open deadlines move.

    接收工作日历:说明哪些日期改为放假或上班、哪些未结案件的时限随之移动;加 --commit 则即时生效。有错误时退出码为 1。

    Example: wanmi calendar import calendar.xlsx --note "notice for 2027" --commit
    """
    from cases.calendar import import_calendar, read_calendar_file

    settings: Settings = context.obj
    lines, rows = read_calendar_file(file)
    who, why = actor or user_name(), note or f"calendar {file.name}"
    with opened(context, city, loaded=True) as (engine, profile, _, _), engine.connect() as conn:
        change = import_calendar(conn, profile, lines, rows=rows, actor=who, reason=why, source=file.name)
        moved = moved_deadlines(conn, change, who)
        if commit:
            conn.commit()
        else:
            conn.rollback()  # it was all done, and is undone: so the dry run says what would happen
    show(list(report_lines(change, moved, committed=commit)), settings)
    if out is not None:
        write_faults(change.faults, out)
    if errors_of(change.faults):
        raise typer.Exit(1)


@calendar.command("export")
def export_table(
    context: typer.Context,
    file: FileArgument,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
    city: CityOption = None,
) -> None:
    """Write the calendar that holds to a table; read again it changes nothing.

    将现行工作日历输出为表格。

    Example: wanmi calendar export calendar.xlsx
    """
    from cases.calendar import write_calendar_file

    with opened(context, city, loaded=True) as (engine, _, _, _), engine.connect() as conn:
        many = write_calendar_file(conn, file, overwrite=overwrite)
    show([(f"{file}: {many:,} lines", f"{file}:{many:,} 行")], context.obj)


@calendar.command("show")
def show_days(
    context: typer.Context,
    since: Annotated[str | None, typer.Option("--from", help="First day; none: 1 January of this year.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last day; none: 31 December of that year.")] = None,
    city: CityOption = None,
) -> None:
    """Show the calendar that holds: how far it reaches, its lines between two days, working days and hours.

    查看现行工作日历:覆盖范围、两日之间的各行、工作日数与工时。

    Example: wanmi calendar show --from 2027-01-01 --to 2027-12-31
    """
    from cases.calendar import held_calendar

    first = _day(since, "from") if since else date(date.today().year, 1, 1)
    last = _day(until, "to") if until else date(first.year, 12, 31)
    if last < first:
        raise Invalid(f"{first} is after {last}", f"{first} 晚于 {last}", mend="exchange the days", field="from")
    with opened(context, city, loaded=True) as (engine, _, _, _), engine.connect() as conn:
        held = held_calendar(conn)
    show(list(held_lines(held, first, last)), context.obj)


def moved_deadlines(conn: Connection, change: CalendarChange, actor: str) -> list[Moved] | None:
    """Move the open deadlines to the new calendar; None where nothing was written."""
    if not change.written or change.before is None or change.after is None:
        return None
    return move_deadlines(conn, change.after.work, actor=actor)


def _day(text: str, field: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"{text!r} is no day",
            f"{text!r} 不是有效的日期",
            mend="write it as 2027-01-01",
            mend_zh="请写作 2027-01-01",
            field=field,
        ) from None


# ── in words ────────────────────────────────────────


def report_lines(change: CalendarChange, moved: Sequence[Moved] | None, *, committed: bool) -> Iterable[Words]:
    """What taking over a calendar did, or would do."""
    if change.after is not None:
        yield from reach_lines(change.after)
    yield from day_lines(change.days)
    if moved is not None:
        yield f"{len(moved):,} open deadlines move", f"{len(moved):,} 个未结时限移动"
        for one in moved[:MOST]:
            text = f"  {one.no}  {one.from_at:%Y-%m-%d %H:%M} → {one.to_at:%Y-%m-%d %H:%M} UTC"
            yield text, text
        if len(moved) > MOST:
            yield f"  … and {len(moved) - MOST:,} more", f"  …… 另有 {len(moved) - MOST:,} 个"
    yield from fault_lines(change.faults)
    if errors_of(change.faults):
        yield "nothing was taken over: mend the errors", "未接收:请先更正错误"
    elif not change.written:
        yield "it is the calendar that holds: nothing changes", "与现行工作日历相同,无变化"
    elif committed:
        yield "it holds from now on", "即时生效"
    else:
        yield "nothing was written; --commit takes it over", "未写入;加 --commit 接收"


def reach_lines(held: Calendar) -> Iterable[Words]:
    """How far a calendar reaches, and what counts where its lines say nothing."""
    published, published_zh = "nothing of it is published", "均为暂定"
    if held.published_to is not None:
        published, published_zh = f"published to {held.published_to}", f"已公布至 {held.published_to}"
    yield (
        f"known from {held.first_on} to {held.last_on}, {published}; {held.hours} {held.timezone}, "
        f"a working day of a limit counts {held.day_hours:g} hours",
        f"覆盖 {held.first_on} 至 {held.last_on},{published_zh};{held.hours} {held.timezone},"
        f"时限中一个工作日计 {held.day_hours:g} 小时",
    )


def day_lines(days: Sequence[ChangedDay]) -> Iterable[Words]:
    """The days on which work is not what it was, a few of each kind."""
    kinds = {
        "become free": ("改为放假", [one for one in days if not one.after]),
        "become working days": ("改为上班", [one for one in days if not one.before]),
        "get other hours": ("时段变更", [one for one in days if one.before and one.after]),
    }
    for words, (words_zh, some) in kinds.items():
        if some:
            yield f"{len(some):,} days {words}", f"{len(some):,} 天{words_zh}"
        for one in some[:MOST]:
            text = f"  {one.day}  {one.before or '-'} → {one.after or '-'}"
            yield text, text
        if len(some) > MOST:
            yield f"  … and {len(some) - MOST:,} more", f"  …… 另有 {len(some) - MOST:,} 天"


def held_lines(held: Calendar, first: date, last: date) -> Iterable[Words]:
    """A calendar between two days: its lines by day, and the sum of its work."""
    yield from reach_lines(held)
    for line in sorted(held.lines, key=lambda line: (line.kind != "office", line)):
        if line.first_on <= last.isoformat() and first.isoformat() <= line.last_on:
            yield _line(line, "en"), _line(line, "zh")
    days, hours = 0, 0.0
    for n in range((last - first).days + 1):
        periods = held.days.get(first + timedelta(days=n), "").split()
        days += bool(periods)
        hours += sum(_hours(part) for part in periods)
    yield (
        f"{first} to {last}: {days:,} working days, {hours:,.1f} hours",
        f"{first} 至 {last}:{days:,} 个工作日,{hours:,.1f} 小时",
    )


def _line(line: Line, language: str) -> str:
    span = line.first_on if line.first_on == line.last_on else f"{line.first_on} … {line.last_on}"
    kind, name, sign = line.kind, line.name_en, " (provisional)"
    if language == "zh":
        kind, name, sign = KINDS_ZH[line.kind], line.name_zh, "(暂定)"
    words = [f"{span:<23}", kind, line.hours, f"{name}{sign if line.provisional else ''}"]
    return "  " + "  ".join(word for word in words if word)


def _hours(period: str) -> float:
    """Hours of "08:00-12:00"."""
    hour, minute, last_hour, last_minute = (int(part) for part in period.replace("-", ":").split(":"))
    return last_hour - hour + (last_minute - minute) / 60


def fault_lines(faults: Sequence[CalendarFault]) -> Iterable[Words]:
    """The faults by kind, errors first as they are listed, a few rows of each."""
    many = Counter(fault.rule for fault in faults)
    for name, kind in FAULTS.items():
        if not many[name]:
            continue
        severity = {"error": "错误", "warning": "警告"}[kind.severity]
        yield f"{kind.severity}: {kind.en} ({many[name]})", f"{severity}:{kind.zh}({many[name]})"
        for fault in [fault for fault in faults if fault.rule == name and fault.value is not None][:MOST]:
            row, row_zh = (f"row {fault.row}: ", f"第 {fault.row} 行:") if fault.row else ("", "")
            other, other_zh = (f" (row {fault.other})", f"(第 {fault.other} 行)") if fault.other else ("", "")
            said = f"{fault.field} {(fault.value or '')[:80]!r}"
            yield f"  {row}{said}{other}", f"  {row_zh}{said}{other_zh}"
        yield f"  → {kind.mend}", f"  → {kind.mend_zh}"


def write_faults(faults: Sequence[CalendarFault], path: Path) -> None:
    """All faults as CSV."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file)
        table.writerow(["severity", "fault", "row", "other", "field", "value", "en", "zh", "mend", "mend_zh"])
        for fault in faults:
            kind = FAULTS[fault.rule]
            where = [fault.row, fault.other, fault.field, fault.value]
            table.writerow([kind.severity, fault.rule, *where, kind.en, kind.zh, kind.mend, kind.mend_zh])
