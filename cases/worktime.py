"""Working time: when a limit runs out, and how much working time lies between two instants.

A calendar is a sorted list of half-open working periods ``[open, close)``. Holidays, made-up working days and
office hours are data (``calendar.csv``); nothing here knows a weekday or a festival by itself. Instants are
aware; inside they are whole microseconds UTC, so that the laws below hold exactly:

* ``elapsed(s, due(s, a)) == a``, and one microsecond earlier it is less (``a > 0``);
* ``due(s, elapsed(s, e)) <= e``, equal when ``e`` is inside a working period or its closing instant.

A deadline that falls on closing time *is* closing time, not the next opening.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gis.errors import Invalid, UnfitFile

MICROSECONDS = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BASES = ("urgent_hour", "urgent_day", "work_hour", "work_day")  #: what a limit is counted in
KINDS = ("office", "holiday", "working_day")  #: what a line of calendar.csv says

Ints = NDArray[np.int64]


class WorkCalendar:
    """Working periods of a city, and the span of time over which they are known."""

    def __init__(self, opens: Ints, closes: Ints, *, known_from: int, known_to: int, day_hours: float = 8.0) -> None:
        """``opens``/``closes``: microseconds since 1970 UTC, sorted, not overlapping; see :meth:`of` for instants.

        ``known_from``/``known_to``: the calendar says nothing outside of this. ``day_hours``: one working day of
        a limit in working hours, also when the seasons shift the office periods.
        """
        if len(opens) != len(closes) or not len(opens):
            raise Invalid("A calendar needs at least one working period.", "工作日历至少要有一个工作时段。")
        if (opens >= closes).any() or (closes[:-1] > opens[1:]).any():
            raise Invalid("Working periods overlap or end before they begin.", "工作时段相互重叠或起止颠倒。")
        if not day_hours > 0:
            raise Invalid("A working day must have a positive number of hours.", "每个工作日的小时数必须为正数。")
        self.opens, self.closes = opens, closes
        self.known_from, self.known_to, self.day_hours = known_from, known_to, day_hours
        self._until = np.cumsum(closes - opens)  #: work up to each closing
        self._before = self._until - (closes - opens)  #: work up to each opening

    @classmethod
    def of(cls, periods: list[tuple[datetime, datetime]], *, day_hours: float = 8.0) -> WorkCalendar:
        """The calendar of aware ``(open, close)`` pairs; known from the first opening to the last closing."""
        pairs = sorted(periods)
        opens, closes = _instants([a for a, _ in pairs]), _instants([b for _, b in pairs])
        if not len(opens):
            raise Invalid("A calendar needs at least one working period.", "工作日历至少要有一个工作时段。")
        return cls(opens, closes, known_from=int(opens[0]), known_to=int(closes[-1]), day_hours=day_hours)

    @classmethod
    def from_lines(
        cls, lines: pd.DataFrame, *, hours: list[tuple[str, str]], timezone: str, day_hours: float = 8.0
    ) -> WorkCalendar:
        """The calendar that the lines of ``calendar.csv`` describe.

        lines    : first_on, last_on (both inclusive, ISO days), kind, hours ("08:00-12:00 14:00-18:00" or empty)
        hours    : office periods where a line gives none, local time
        ``office`` lines make Monday to Friday of their span working days; ``holiday`` lines take days away,
        ``working_day`` lines give them back (made-up days, 调休). The calendar is known over all office lines,
        from local midnight to local midnight. Raises UnfitFile for a line that cannot be read.
        """
        zone = ZoneInfo(timezone)
        plan, first, last = day_plan(lines, hours)
        pairs = sorted(
            (datetime.combine(day, a, zone), datetime.combine(day, b, zone))
            for day, periods in plan.items()
            for a, b in periods
        )
        edges = [datetime.combine(first, time(), zone), datetime.combine(last + timedelta(days=1), time(), zone)]
        known_from, known_to = (int(value) for value in _instants(edges))
        opens, closes = _instants([a for a, _ in pairs]), _instants([b for _, b in pairs])
        return cls(opens, closes, known_from=known_from, known_to=known_to, day_hours=day_hours)

    @classmethod
    def read(cls, path: Path, *, hours: list[tuple[str, str]], timezone: str, day_hours: float = 8.0) -> WorkCalendar:
        """The calendar in a file ``calendar.csv``; see :meth:`from_lines`. Raises UnfitFile without the file."""
        if not path.is_file():
            raise UnfitFile(f"There is no calendar at {path}.", f"找不到工作日历文件：{path}。", file=path)
        lines = pd.read_csv(path, dtype=str, keep_default_na=False)
        return cls.from_lines(lines, hours=hours, timezone=timezone, day_hours=day_hours)

    def knows(self, at: datetime) -> bool:
        """Whether an aware instant lies in the span the calendar is known for."""
        return self.known_from <= _instant(at) <= self.known_to

    def periods(self) -> pd.DataFrame:
        """The working periods as aware UTC columns ``open_at`` and ``close_at``."""
        return pd.DataFrame({"open_at": _as_index(self.opens), "close_at": _as_index(self.closes)})

    def elapsed(self, start: Any, end: Any) -> Any:
        """Working seconds between two instants (negative if ``end`` lies before ``start``).

        Aware instants, alone or as array, index or series of equal length. Raises Invalid for a naive instant and
        for one outside the span the calendar is known for.
        """
        if isinstance(start, datetime) and isinstance(end, datetime) and not pd.isna(start) and not pd.isna(end):
            return (self._work_until_one(_instant(end)) - self._work_until_one(_instant(start))) / MICROSECONDS
        a, b = np.broadcast_arrays(_instants(start), _instants(end))
        seconds = (self._work_until(b) - self._work_until(a)) / MICROSECONDS
        return float(seconds[0]) if _is_one(start) and _is_one(end) else seconds

    def due(self, start: Any, allowance_s: ArrayLike) -> Any:
        """The earliest instant, UTC, at which ``allowance_s`` working seconds have passed since ``start``.

        One Timestamp for one start and one allowance, else a DatetimeIndex. Raises Invalid for a naive or unknown
        start, a negative allowance, and past the end of the calendar.
        """
        begin, allowance = np.broadcast_arrays(_instants(start), _microseconds(allowance_s))
        target = self._work_until(begin) + allowance
        if (target > self._until[-1]).any():
            self._beyond()
        at = np.searchsorted(self._until, target, side="left")
        found = self.opens[at] + (target - self._before[at])
        return _answer(np.where(allowance == 0, begin, found), _is_one(start) and np.ndim(allowance_s) == 0)

    def due_for(self, start: Any, value: ArrayLike, basis: Any) -> Any:
        """The deadline of a limit: ``value`` in units of ``basis``, counted from ``start``.

        Urgent hours and urgent days (24 h) run round the clock; working hours and working days (``day_hours``
        each) only in working periods. ``basis`` may be one word or one per start. Raises Invalid for an unknown
        basis and as :meth:`due` does; round-the-clock limits need no calendar.
        """
        kinds, words = pd.factorize(np.atleast_1d(np.asarray(basis, dtype=object)), use_na_sentinel=False)
        unknown = sorted({str(word) for word in words} - set(BASES))
        if unknown:
            raise Invalid(
                f"Unknown basis of a limit: {', '.join(unknown)}.",
                f"未知的时限计算方式：{'、'.join(unknown)}。",
                mend=f"Use one of {', '.join(BASES)}.",
                mend_zh=f"请使用：{'、'.join(BASES)}。",
            )
        begin, amount, kinds = np.broadcast_arrays(
            _instants(start), np.atleast_1d(np.asarray(value, dtype=np.float64)), kinds
        )
        hours = {"urgent_hour": 1.0, "urgent_day": 24.0, "work_hour": 1.0, "work_day": self.day_hours}
        seconds = amount * np.array([hours[str(word)] for word in words], dtype=np.float64)[kinds] * 3600
        found = begin + _microseconds(seconds)
        works = np.isin(words.astype(str), ("work_hour", "work_day"))[kinds]
        if works.any():
            found[works] = _instants(self.due(_as_index(begin[works]), seconds[works]))
        return _answer(found, _is_one(start) and np.ndim(value) == 0 and np.ndim(basis) == 0)

    def due_one(self, start: datetime, allowance_s: float) -> datetime:
        """:meth:`due` of one start and one allowance, as a datetime: for clocks, without an array about them."""
        begin, allowance = _instant(start), round(allowance_s * MICROSECONDS)
        target = self._work_until_one(begin) + allowance
        if target > self._until[-1]:
            self._beyond()
        if allowance == 0:
            return start.astimezone(UTC)
        at = int(np.searchsorted(self._until, target, side="left"))
        return EPOCH + timedelta(microseconds=int(self.opens[at]) + target - int(self._before[at]))

    def _work_until_one(self, at: int) -> int:
        if not self.known_from <= at <= self.known_to:
            self._beyond()
        period = int(np.searchsorted(self.opens, at, side="right")) - 1
        if period < 0:
            return 0
        return int(self._before[period]) + min(at, int(self.closes[period])) - int(self.opens[period])

    def _work_until(self, at: Ints) -> Ints:
        if len(at) and (at.min() < self.known_from or at.max() > self.known_to):
            self._beyond()
        period = np.searchsorted(self.opens, at, side="right") - 1
        inside = np.minimum(at, self.closes[period]) - self.opens[period]
        return np.asarray(np.where(period < 0, 0, self._before[period] + inside), dtype=np.int64)

    def _beyond(self) -> None:
        first, last = _as_index(np.array([self.known_from, self.known_to]))
        raise Invalid(
            f"The work calendar is known only from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC.",
            f"工作日历仅覆盖 {first:%Y-%m-%d %H:%M} 至 {last:%Y-%m-%d %H:%M}（UTC）。",
            mend="Add the missing year: wanmi calendar export FILE, then wanmi calendar import FILE --commit.",
            mend_zh="请补充缺少的年份：wanmi calendar export 文件，补充后 wanmi calendar import 文件 --commit。",
        )


def day_plan(
    lines: pd.DataFrame, hours: list[tuple[str, str]]
) -> tuple[dict[date, list[tuple[time, time]]], date, date]:
    """What each working day's office periods are, local time, and the first and last day of the calendar.

    Lines and hours as :meth:`WorkCalendar.from_lines` takes them; a day that is missing is free. Raises UnfitFile.
    """
    plan: dict[date, list[tuple[time, time]]] = {}
    known: list[date] = []
    spans = [(row, *_span(row)) for row in lines.to_dict("records")]
    for kind in KINDS:
        for row, first, last in spans:
            if row["kind"] not in KINDS:
                raise UnfitFile(
                    f"A line of the calendar is of the unknown kind {row['kind']!r}.",
                    f"工作日历中有未知的类型：{row['kind']!r}。",
                    mend=f"Use one of {', '.join(KINDS)}.",
                    mend_zh=f"请使用：{'、'.join(KINDS)}。",
                )
            if row["kind"] != kind:
                continue
            own = str(row.get("hours") or "").strip()
            periods = _hours(own) if own and own != "nan" else [(_clock(a), _clock(b)) for a, b in hours]
            days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
            if kind == "office":
                known += [first, last]
                plan.update({day: periods for day in days if day.weekday() < 5})
            elif kind == "holiday":
                for day in days:
                    plan.pop(day, None)
            else:
                plan.update({day: periods for day in days})
    if not known:
        raise UnfitFile("The calendar has no line of kind office.", "工作日历中没有 office 类型的行。")
    return plan, min(known), max(known)


def _is_one(value: Any) -> bool:
    return isinstance(value, datetime | np.datetime64)


def _instant(at: datetime) -> int:
    """An aware instant as microseconds since 1970 UTC; Invalid for a naive one."""
    if at.tzinfo is None:
        return int(_instants(at)[0])  # which says what is wrong
    passed = at - EPOCH
    return (passed.days * 86_400 + passed.seconds) * MICROSECONDS + passed.microseconds


def _instants(value: Any) -> Ints:
    """Aware instants as microseconds since 1970 UTC; Invalid for naive or missing ones."""
    try:
        index = pd.DatetimeIndex([value] if _is_one(value) else value)
    except (TypeError, ValueError) as fault:
        raise Invalid(f"Not instants: {fault}.", f"不是有效的时刻：{fault}。") from fault
    if index.tz is None and len(index):
        raise Invalid(
            "An instant without a time zone cannot be placed in the calendar.",
            "缺少时区的时刻无法对应到工作日历。",
            mend="Give the instant with its offset, such as 2026-03-02T08:00:00+08:00.",
            mend_zh="请给出带时区偏移的时刻，例如 2026-03-02T08:00:00+08:00。",
        )
    if index.hasnans:
        raise Invalid("An instant is missing.", "缺少时刻。")
    return np.asarray(index.as_unit("us").asi8)


def _microseconds(seconds: ArrayLike) -> Ints:
    amount = np.atleast_1d(np.asarray(seconds, dtype=np.float64))
    if not (amount >= 0).all():
        raise Invalid("A limit must not be negative or missing.", "时限不能为负数或缺失。")
    return np.round(amount * MICROSECONDS).astype(np.int64)


def _as_index(microseconds: Ints) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(microseconds.astype("datetime64[us]"), tz="UTC")


def _answer(microseconds: Ints, one: bool) -> Any:
    index = _as_index(microseconds)
    return index[0] if one else index


def _clock(text: str) -> time:
    try:
        return time.fromisoformat(text.strip())
    except ValueError as fault:
        raise UnfitFile(f"Not a time of day: {text!r}.", f"不是有效的时间：{text!r}。") from fault


def _hours(text: str) -> list[tuple[time, time]]:
    periods = []
    for part in text.split():
        opening, _, closing = part.partition("-")
        periods.append((_clock(opening), _clock(closing)))
    return periods


def _span(row: dict[Any, Any]) -> tuple[date, date]:
    try:
        first, last = date.fromisoformat(str(row["first_on"])), date.fromisoformat(str(row["last_on"]))
    except (KeyError, ValueError) as fault:
        raise UnfitFile(
            f"A line of the calendar has no readable day: {row}.", f"工作日历中有无法识别的日期：{row}。"
        ) from fault
    if last < first:
        raise UnfitFile(f"A line of the calendar ends before it begins: {row}.", f"工作日历中有起止颠倒的行：{row}。")
    return first, last
