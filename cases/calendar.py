"""The work calendar that a city keeps in its database: read it, take over another one, say which days change.

A row of ``cases.calendar`` is a whole calendar and is never changed; the newest one holds, for all years that it
covers. Between acts that set deadlines and a change of the calendar stands a lock: see :func:`calendar_mark`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Connection

from cases.calendar_check import FAULTS, CalendarFault, Line, check_calendar, errors_of, fault_of_hours, tidy_hours
from cases.worktime import WorkCalendar, day_plan
from gis.db import query
from gis.errors import Conflict, Invalid, UnfitFile, unfit
from gis.history import Version, record_change
from grids.city import City
from layers.sheet_file import TABLES, WRITTEN, read_file, write_file

#: The columns of a table and how else people call them; the first is what is written.
COLUMNS = {
    "first_on": ("first_on", "from", "开始日期", "起始日期", "日期"),
    "last_on": ("last_on", "to", "结束日期", "截止日期"),
    "kind": ("kind", "类型", "种类"),
    "hours": ("hours", "工作时段", "上班时间", "时段"),
    "name_zh": ("name_zh", "name", "名称", "节日"),
    "name_en": ("name_en", "英文名称"),
    "source": ("source", "依据", "依据文件", "来源"),
    "provisional": ("provisional", "暂定", "是否暂定"),
}
NEEDED = ("first_on", "kind")
OFFICE_HOURS = [["08:00", "12:00"], ["14:00", "18:00"]]  #: where a city's profile says none
DAY_HOURS = 8.0
MOST_KEPT = 4  #: calendars in memory: one of a city, some of before a change

_read: dict[str, Calendar] = {}  #: by mark; a row is never changed, so nothing in here grows old


@dataclass(frozen=True)
class Calendar:
    """A city's whole calendar: its lines, and what counts where they say nothing."""

    lines: tuple[Line, ...]
    hours: str  #: "08:00-12:00 14:00-18:00", local time
    day_hours: float  #: of one working day of a limit
    timezone: str

    @cached_property
    def work(self) -> WorkCalendar:
        """Its working periods."""
        return WorkCalendar.from_lines(
            self._frame, hours=self._periods, timezone=self.timezone, day_hours=self.day_hours
        )

    @cached_property
    def days(self) -> dict[date, str]:
        """The office periods of each working day, "08:00-12:00 14:00-18:00"; a day that is missing is free."""
        plan, _, _ = day_plan(self._frame, self._periods)
        return {day: " ".join(f"{a:%H:%M}-{b:%H:%M}" for a, b in periods) for day, periods in plan.items()}

    @property
    def first_on(self) -> date:
        """The first day that it knows."""
        return min(date.fromisoformat(line.first_on) for line in self.lines if line.kind == "office")

    @property
    def last_on(self) -> date:
        """The last day that it knows."""
        return max(date.fromisoformat(line.last_on) for line in self.lines if line.kind == "office")

    @property
    def published_to(self) -> date | None:
        """The last day before the first line that is provisional; None where all is provisional."""
        waiting = [date.fromisoformat(line.first_on) for line in self.lines if line.provisional]
        last = min([self.last_on, *(day - timedelta(days=1) for day in waiting)])
        return last if last >= self.first_on else None

    @property
    def _frame(self) -> pd.DataFrame:
        return pd.DataFrame([asdict(line) for line in self.lines])

    @property
    def _periods(self) -> list[tuple[str, str]]:
        return [(part[:5], part[6:]) for part in self.hours.split()]


@dataclass(frozen=True)
class ChangedDay:
    """A day that both calendars know and on which work is not the same."""

    day: date
    before: str  #: office periods, "08:00-12:00 14:00-18:00"; empty: free
    after: str


@dataclass(frozen=True, kw_only=True)
class CalendarChange:
    """What taking over a calendar did; rolled back, what it would do."""

    before: Calendar | None  #: None: the city had none
    after: Calendar | None  #: None: it has errors, nothing was written
    faults: list[CalendarFault]
    days: list[ChangedDay]
    written: bool  #: a new row holds; False where nothing differs, or for errors


# ── files ────────────────────────────────────────


def read_calendar_file(path: Path) -> tuple[list[Line], list[int]]:
    """The lines of a table (.csv, .xlsx) in their normal form, and the number of each in the file, from 1.

    Raises UnfitFile for a file that is none of these, has no lines, or lacks a column.
    """
    if path.is_file() and path.suffix.lower() not in TABLES:
        raise _unfit(path, "is no table", "不是表格文件")
    sheets = [sheet for sheet in read_file(path) if not sheet.hidden and sheet.rows]
    if not sheets:
        raise _unfit(path, "holds no lines", "没有任何记录")
    head, *rest = sheets[0].rows.items()
    plain = {cell.text.strip().lower(): n for n, cell in reversed(list(enumerate(head[1])))}
    found = {ours: next((plain[name] for name in called if name in plain), None) for ours, called in COLUMNS.items()}
    lacking = [name for name in NEEDED if found[name] is None]
    if lacking:
        have = ", ".join(cell.text for cell in head[1]) or "none"
        raise _unfit(path, f"has no column {lacking[0]}; it has {have}"[:300], f"没有 {lacking[0]} 列")
    lines, rows = [], []
    for row, cells in rest:
        texts = [cell.text for cell in cells]
        if any(text.strip() for text in texts):
            said = {ours: texts[n] for ours, n in found.items() if n is not None and n < len(texts)}
            lines.append(Line.of(said))
            rows.append(row)
    if not lines:
        raise _unfit(path, "holds no lines", "没有任何记录")
    return lines, rows


def write_calendar_file(conn: Connection, path: Path, *, overwrite: bool) -> int:
    """Write the calendar that holds to a table (.csv, .xlsx); read again it changes nothing. Returns the lines.

    Invalid where the file is there and ``overwrite`` is not said, or its ending is none of these.
    """
    if path.suffix.lower() not in WRITTEN:
        raise Invalid(
            f"{path.name} is no table", f"{path.name} 不是表格文件", mend="write a table: .csv or .xlsx", field="file"
        )
    if path.exists() and not overwrite:
        raise Invalid(f"{path} is there already", f"{path} 已存在", mend="give --overwrite", field="file")
    rows = [[*COLUMNS]]
    for line in held_calendar(conn).lines:
        said = asdict(line) | {"provisional": "true" if line.provisional else "false"}
        rows.append([said[name] for name in COLUMNS])
    write_file(path, [("calendar", rows)])
    return len(rows) - 1


def _unfit(path: Path, en: str, zh: str) -> UnfitFile:
    return unfit(
        path,
        en,
        zh,
        mend=f"the columns of a calendar are {', '.join(COLUMNS)}; wanmi calendar export writes one as .csv or .xlsx",
        mend_zh=f"工作日历的列为 {'、'.join(COLUMNS)}；wanmi calendar export 可输出 .csv 或 .xlsx 样表",
    )


# ── what holds ────────────────────────────────────────


def calendar_mark(conn: Connection, *, hold: bool = False) -> str | None:
    """What tells the calendar that holds from every other, also of other databases; None where there is none.

    hold : keep it until the transaction ends. Others may hold it too, a change waits for all of them. An act that sets
           a deadline says so *before it locks a case*: the change takes its lock first and the cases after it, so the
           two never wait for each other.
    """
    row = conn.execute(query("cases", "hold_calendar") if hold else query("cases", "calendar_mark")).first()
    return None if row is None else f"{row.id}@{row.since.astimezone(UTC).isoformat()}"


def held_calendar(conn: Connection, *, hold: bool = False) -> Calendar:
    """The calendar that holds, with its lines. One short query where this process has read it before.

    hold : see :func:`calendar_mark`
    Raises Conflict that says what to do where the city has none.
    """
    mark = calendar_mark(conn, hold=hold)
    if mark is None:
        raise Conflict(
            "the city has no work calendar",
            "该城市没有工作日历",
            mend="wanmi calendar import data/CITY/calendar.csv --commit",
            mend_zh="wanmi calendar import data/城市/calendar.csv --commit",
        )
    known = _read.get(mark)
    if known is None:
        row = conn.execute(query("cases", "read_calendar"), {"id": int(mark.partition("@")[0])}).one()
        known = Calendar(tuple(Line(**line) for line in row.lines), row.hours, row.day_hours, row.timezone)
        for old in list(_read)[: max(0, len(_read) - MOST_KEPT + 1)]:
            _read.pop(old, None)
        _read[mark] = known
    return known


# ── taking over ────────────────────────────────────────


def calendar_of(city: City, lines: Sequence[Line]) -> Calendar:
    """These lines with the office hours, the working day and the time zone of the city's profile. UnfitFile for a
    profile whose office hours are none.
    """
    said = city.profile.get("office_hours", OFFICE_HOURS)
    try:
        hours = tidy_hours(" ".join(f"{first}-{last}" for first, last in said))
        day_hours = float(city.profile.get("working_day_hours", DAY_HOURS))
    except (TypeError, ValueError):
        hours, day_hours = "", 0.0
    if not hours or fault_of_hours(hours) or not 0 < day_hours <= 24:
        raise UnfitFile(
            f"office_hours or working_day_hours of the city's profile cannot be used: {said}",
            f"城市配置中的 office_hours 或 working_day_hours 不可用：{said}",
            mend='office_hours = [["08:00", "12:00"], ["14:00", "18:00"]], working_day_hours = 8',
            file=city.folder / "city.toml",
        )
    return Calendar(tuple(lines), hours, day_hours, city.timezone)


def first_calendar(conn: Connection, city: City, version: Version, lines: Sequence[Line] | None = None) -> None:
    """Store the calendar that a city begins with: ``lines``, or those of its ``calendar.csv``.

    Raises UnfitFile that names row and field of the first error.
    """
    path = city.folder / "calendar.csv"
    said, rows = read_calendar_file(path) if lines is None else (list(lines), None)
    errors = errors_of(check_calendar(said, rows))
    if errors:
        kind = FAULTS[errors[0].rule]
        raise UnfitFile(
            f"the calendar has errors: {kind.en}",
            f"工作日历有误：{kind.zh}",
            mend=f"{kind.mend}; wanmi calendar check lists all errors",
            mend_zh=f"{kind.mend_zh}；wanmi calendar check 可列出全部错误",
            file=path,
            row=errors[0].row,
            field=errors[0].field,
        )
    _keep(conn, calendar_of(city, said), version)


def import_calendar(
    conn: Connection,
    city: City,
    lines: Sequence[Line],
    *,
    rows: Sequence[int] | None = None,
    actor: str,
    reason: str,
    source: str | None = None,
) -> CalendarChange:
    """Make these lines, with the office hours of the city's profile, the calendar that holds from now on.

    rows : number of each line in its file, for the faults
    Writes nothing but a new row (and its change); where the content is what holds already, in whatever order, or a
    fault is an error, nothing at all. Acts that set deadlines wait until the transaction ends. To learn what it would
    do, roll it back. Deadlines are moved by who calls it, from ``before.work`` to ``after.work``.
    """
    conn.execute(query("cases", "change_calendar"))
    before = held_calendar(conn) if calendar_mark(conn) is not None else None
    faults = check_calendar(lines, rows)
    if before is not None and not errors_of(faults):
        faults += _reaches_less(before, calendar_of(city, lines))
    if errors_of(faults):
        return CalendarChange(before=before, after=None, faults=faults, days=[], written=False)
    after = calendar_of(city, lines)
    if before is not None and _content(before) == _content(after):
        return CalendarChange(before=before, after=before, faults=faults, days=[], written=False)
    _keep(conn, after, record_change(conn, since=datetime.now(UTC), actor=actor, reason=reason, source=source))
    days = [] if before is None else list(changed_days(before, after))
    return CalendarChange(before=before, after=after, faults=faults, days=days, written=True)


def changed_days(before: Calendar, after: Calendar) -> Iterable[ChangedDay]:
    """The days that both know and on which work differs, in their order."""
    first, last = max(before.first_on, after.first_on), min(before.last_on, after.last_on)
    for day in sorted(before.days.keys() | after.days.keys()):
        old, new = before.days.get(day, ""), after.days.get(day, "")
        if first <= day <= last and old != new:
            yield ChangedDay(day, old, new)


def _reaches_less(before: Calendar, after: Calendar) -> Iterable[CalendarFault]:
    """Working time that is known today and would not be any longer."""
    if after.first_on > before.first_on:
        yield CalendarFault(rule="begins_later", field="first_on", value=f"{after.first_on} > {before.first_on}")
    if after.last_on < before.last_on:
        yield CalendarFault(rule="ends_earlier", field="last_on", value=f"{after.last_on} < {before.last_on}")


def _content(calendar: Calendar) -> tuple[Any, ...]:
    return calendar.hours, calendar.day_hours, calendar.timezone, sorted(calendar.lines)


def _keep(conn: Connection, calendar: Calendar, version: Version) -> None:
    _ = calendar.work  # Invalid before anything is written, should a change of the clocks turn a period around
    lines = json.dumps([asdict(line) for line in calendar.lines], ensure_ascii=False)
    held = {"hours": calendar.hours, "day_hours": calendar.day_hours, "timezone": calendar.timezone, "lines": lines}
    conn.execute(query("cases", "keep_calendar"), {"change_id": version.change_id, **held})
