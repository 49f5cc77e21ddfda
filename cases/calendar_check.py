"""The lines of a work calendar as a table says them, and all that can be wrong with them, by row and field."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases.rule_check import FaultKind
from cases.worktime import KINDS

YEARS = (1970, 2099)
MOST_LINES = 5_000  #: a hundred years have fewer
MOST_LETTERS = 500
LONGEST_DAYS = 366  #: of a holiday
TEXTS = ("name_zh", "name_en", "source")
_FIRST, _DAYS = date(YEARS[0], 1, 1), (date(YEARS[1], 12, 31) - date(YEARS[0], 1, 1)).days + 1
#: how else people write a kind
KIND_WORDS = {
    "office": ("office", "上班时段", "工作时段", "办公时间", "作息", "作息时间"),
    "holiday": ("holiday", "放假", "节假日", "法定节假日", "休息", "休"),
    "working_day": ("working_day", "working day", "调休上班", "调休", "补班", "上班", "班"),
}
_KIND = {word: kind for kind, words in KIND_WORDS.items() for word in words}
_YES = dict.fromkeys(("true", "yes", "1", "是", "暂定"), True) | dict.fromkeys(("false", "no", "0", "否"), False)
_DAY = re.compile(r"(\d{4})(?:[-/.年](\d{1,2})[-/.月](\d{1,2})日?|(\d{2})(\d{2}))(?:[ T]00:00(?::00)?)?")
_PERIOD = re.compile(r"(\d{1,2}):(\d{2})(?::00)?-(\d{1,2}):(\d{2})(?::00)?")


@dataclass(frozen=True, order=True, kw_only=True)
class Line:
    """A line of a calendar in its normal form; what could not be read stands in it as it was written."""

    first_on: str  #: ISO day
    last_on: str  #: ISO day, inclusive
    kind: str  #: office, holiday, working_day
    hours: str = ""  #: "08:00-12:00 14:00-18:00"; empty: the city's
    name_zh: str = ""
    name_en: str = ""
    source: str = ""
    provisional: bool | str = False  #: not published yet; a text: neither true nor false

    @classmethod
    def of(cls, said: Mapping[str, str]) -> Line:
        """The line that the texts of a row mean. ``last_on`` left empty is ``first_on``; a line whose source begins
        with "provisional" (暂定) is provisional where the row does not say.
        """
        text = {name: said.get(name, "").strip() for name in ("first_on", "last_on", "kind", "hours", *TEXTS)}
        word = said.get("provisional", "").strip()
        guessed = text["source"].lower().startswith(("provisional", "暂定"))
        return cls(
            first_on=_iso(text["first_on"]),
            last_on=_iso(text["last_on"] or text["first_on"]),
            kind=_KIND.get(text["kind"].lower(), text["kind"]),
            hours=tidy_hours(text["hours"]),
            **{name: text[name] for name in TEXTS},
            provisional=_YES.get(word.lower(), word) if word else guessed,
        )

    @property
    def days(self) -> tuple[date, date] | None:
        """First and last day; None where they cannot be read or are out of range."""
        days = [_day(self.first_on), _day(self.last_on)]
        return None if days[0] is None or days[1] is None else (days[0], days[1])


@dataclass(frozen=True, kw_only=True)
class CalendarFault:
    """One fault of a line, or of two lines together."""

    rule: str  #: name of the kind, see FAULTS
    row: int | None = None  #: number of the line, from 1
    other: int | None = None  #: number of the other line
    field: str | None = None
    value: str | None = None


def _read_kinds() -> dict[str, FaultKind]:
    with Path(__file__).with_name("calendar_faults.csv").open(encoding="utf-8", newline="") as table:
        return {row.pop("rule"): FaultKind(**row) for row in csv.DictReader(table)}  # type: ignore[arg-type]


FAULTS: Mapping[str, FaultKind] = _read_kinds()


def errors_of(faults: Iterable[CalendarFault]) -> list[CalendarFault]:
    """Those that forbid taking the calendar over."""
    return [fault for fault in faults if FAULTS[fault.rule].severity == "error"]


def check_calendar(lines: Sequence[Line], rows: Sequence[int] | None = None) -> list[CalendarFault]:
    """All faults of a calendar's lines, in the order of the lines.

    ``rows`` : number of each line in its file; None: 1, 2, 3 …
    Each fault has the row and the field; what lines do to each other is told once every line can be read by itself.
    """
    numbers = list(rows) if rows is not None else list(range(1, len(lines) + 1))
    if len(lines) > MOST_LINES:
        return [CalendarFault(rule="many", value=str(len(lines)))]
    faults = [fault for n, line in zip(numbers, lines, strict=True) for fault in _of_line(n, line)]
    if not any(line.kind == "office" for line in lines):
        faults.append(CalendarFault(rule="no_office", field="kind"))
    if not errors_of(faults):
        faults += _together(numbers, lines)
    return sorted(faults, key=lambda fault: fault.row or 0)


def _of_line(row: int, line: Line) -> Iterator[CalendarFault]:
    for name in ("first_on", "last_on"):
        if _day(getattr(line, name)) is None:
            yield CalendarFault(rule="day", row=row, field=name, value=getattr(line, name))
    if line.days is not None:
        first, last = line.days
        if last < first:
            yield CalendarFault(rule="reversed", row=row, field="last_on", value=line.last_on)
        elif line.kind != "office" and (last - first).days >= LONGEST_DAYS:
            yield CalendarFault(rule="long", row=row, field="last_on", value=line.last_on)
    if line.kind not in KINDS:
        yield CalendarFault(rule="kind", row=row, field="kind", value=line.kind)
    wrong = fault_of_hours(line.hours)
    if wrong is not None:
        yield CalendarFault(rule=wrong, row=row, field="hours", value=line.hours)
    elif line.hours and line.kind == "holiday":
        yield CalendarFault(rule="hours_unused", row=row, field="hours", value=line.hours)
    if isinstance(line.provisional, str):
        yield CalendarFault(rule="provisional", row=row, field="provisional", value=line.provisional)
    for name in TEXTS:
        text = getattr(line, name)
        if len(text) > MOST_LETTERS or any(letter < " " or "\ud800" <= letter <= "\udfff" for letter in text):
            yield CalendarFault(rule="text", row=row, field=name, value=text)
    if not line.name_zh or not line.name_en:
        yield CalendarFault(rule="name_missing", row=row, field="name_en" if line.name_zh else "name_zh")
    if not line.source:
        yield CalendarFault(rule="source_missing", row=row, field="source")


def _together(numbers: Sequence[int], lines: Sequence[Line]) -> Iterator[CalendarFault]:
    """What lines do to each other. Each day of the calendar remembers the place of the line that took it."""
    taken = {kind: np.full(_DAYS, -1, dtype=np.int32) for kind in KINDS}
    spans = [_slice(line) for line in lines]

    def fault(rule: str, at: int, other: int | None = None, field: str = "first_on") -> CalendarFault:
        said = getattr(lines[at], field)
        return CalendarFault(
            rule=rule, row=numbers[at], other=None if other is None else numbers[other], field=field, value=said
        )

    for at, (line, span) in enumerate(zip(lines, spans, strict=True)):
        before = _first_of(taken[line.kind][span])
        if before is not None:
            differ = line.kind == "working_day" and lines[before].hours != line.hours
            rule = "office_overlap" if line.kind == "office" else "hours_contradict" if differ else "twice"
            yield fault(rule, at, before)
        taken[line.kind][span] = at
    weekday = (np.arange(_DAYS) + _FIRST.weekday()) % 7 < 5
    works = (taken["office"] >= 0) & weekday & (taken["holiday"] < 0) | (taken["working_day"] >= 0)
    if not works.any():
        yield CalendarFault(rule="no_work", field="kind")
    office = sorted((at for at, line in enumerate(lines) if line.kind == "office"), key=lambda at: lines[at].first_on)
    for one, other in pairwise(office):
        if spans[other].start > spans[one].stop:
            yield fault("office_gap", other, one)
    for at, (line, span) in enumerate(zip(lines, spans, strict=True)):
        beyond = taken["office"][span] < 0
        if line.kind == "holiday" and beyond.any():
            yield fault("outside" if beyond.all() else "partly_outside", at)
        if line.kind == "working_day":
            if beyond.any():
                yield fault("outside", at)
            holiday = _first_of(taken["holiday"][span])
            if holiday is not None:
                yield fault("holiday_and_working", at, holiday)
            elif not line.hours and all(day.weekday() < 5 for day in _each(line)):
                yield fault("already_working", at)


def _first_of(places: NDArray[np.int32]) -> int | None:
    there = places[places >= 0]
    return int(there[0]) if len(there) else None


def _slice(line: Line) -> slice:
    first, last = line.days or (_FIRST, _FIRST)
    return slice((first - _FIRST).days, (last - _FIRST).days + 1)


def _each(line: Line) -> Iterator[date]:
    first, last = line.days or (_FIRST, _FIRST)
    return (first + timedelta(days=n) for n in range((last - first).days + 1))


# ── texts ────────────────────────────────────────


def fault_of_hours(text: str) -> str | None:
    """The name of what is wrong with office periods; None for nothing, also when there are none."""
    periods = [_PERIOD.fullmatch(part) for part in text.split()]
    ends: list[tuple[int, int]] = []
    for period in periods:
        if period is None:
            return "hours"
        hour, minute, last_hour, last_minute = (int(part) for part in period.groups())
        if (last_hour, last_minute) == (24, 0):
            return "hours_midnight"
        if max(hour, last_hour) > 23 or max(minute, last_minute) > 59:
            return "hours"
        ends.append((60 * hour + minute, 60 * last_hour + last_minute))
    if any(last <= first for first, last in ends):
        return "hours_order"
    return "hours_overlap" if any(later[0] < one[1] for one, later in pairwise(sorted(ends))) else None


def tidy_hours(text: str) -> str:
    """Office periods in their normal form, "08:00-12:00 14:00-18:00" by time; unreadable ones as they are."""
    plain = text.replace("：", ":")
    plain = re.sub(r"\s*[-–—－~～至到]\s*", "-", plain)
    parts = re.split(r"[\s,，;；、/]+", plain.strip())
    periods = [_PERIOD.fullmatch(part) for part in parts]
    if not text.strip() or any(period is None for period in periods):
        return text.strip()
    said: list[Any] = [period.groups() for period in periods if period is not None]
    return " ".join(sorted(f"{int(a):02}:{b}-{int(c):02}:{d}" for a, b, c, d in said))


def _iso(text: str) -> str:
    found = _DAY.fullmatch(text)
    if found is None:
        return text
    year, month, day, month_too, day_too = found.groups()
    return f"{year}-{int(month or month_too):02}-{int(day or day_too):02}"


def _day(text: str) -> date | None:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if YEARS[0] <= day.year <= YEARS[1] else None
