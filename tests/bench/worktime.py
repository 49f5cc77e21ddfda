"""Due dates and worked time per second by the demo city's calendar, and how that grows, beside NumPy and pandas.

    ./wanmi python tests/bench/worktime.py [--most 1000000] [--slow 10000]

NumPy's busday functions count whole days, pandas' CustomBusinessHour one instant at a time; both get the same holidays
and, as far as they can say them, the same hours. Where they can be compared the answers are: NumPy on working days,
pandas on hours in years without made-up weekend days (it has no way to say those), from --slow starts.
No database is needed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cases.calendar import Calendar, read_calendar_file
from cases.worktime import BASES, WorkCalendar

ANKANG = Path(__file__).resolve().parents[2] / "data" / "ankang" / "calendar.csv"
ZONE = "Asia/Shanghai"
HOURS = "08:00-12:00 14:00-18:00"


def seconds(work: Callable[[], Any], times: int = 3) -> tuple[float, Any]:
    """The shortest of some runs, and what came out."""
    best, found = np.inf, None
    for _ in range(times):
        began = time.perf_counter()
        found = work()
        best = min(best, time.perf_counter() - began)
    return best, found


def starts(first: str, last: str, many: int, rng: np.random.Generator) -> pd.DatetimeIndex:
    """Instants at any hour between two days, whole seconds."""
    span = int((pd.Timestamp(last) - pd.Timestamp(first)).total_seconds())
    return pd.DatetimeIndex(pd.Timestamp(first, tz=ZONE) + pd.to_timedelta(rng.integers(0, span, many), unit="s"))


def free_and_made_up(calendar: Calendar) -> tuple[list[date], list[date]]:
    """Weekdays that are free, and weekend days that are worked, as the peers want them."""
    days = [calendar.first_on + timedelta(days=n) for n in range((calendar.last_on - calendar.first_on).days + 1)]
    free = [day for day in days if day.weekday() < 5 and day not in calendar.days]
    return free, [day for day in days if day.weekday() >= 5 and day in calendar.days]


def ours(work: WorkCalendar, most: int, rng: np.random.Generator) -> None:
    """Due dates of all four bases, and the time worked up to them, for 10⁴ … ``most`` starts."""
    for many in [10**n for n in range(4, 9) if 10**n <= most]:
        begin = starts("2015-01-05", "2028-06-01", many, rng)
        basis = rng.choice(BASES, many)
        due_s, due = seconds(partial(work.due_for, begin, rng.integers(1, 31, many), basis))
        worked_s, worked = seconds(partial(work.elapsed, begin, due))
        again = work.due(begin, worked)
        held = bool((again <= due).all() and (work.elapsed(begin, again) == worked).all())
        print(
            f"{many:>10,} starts: due {due_s:7.3f} s = {many / due_s:>12,.0f}/s;  elapsed {worked_s:7.3f} s = "
            f"{many / worked_s:>12,.0f}/s;  laws {'hold' if held else 'BROKEN'}"
        )


def beside_numpy(calendar: Calendar, many: int, rng: np.random.Generator) -> None:
    """Working days between two days, and the day so many working days later: NumPy counts days, ours instants.

    NumPy cannot say a made-up weekend day: it gets a week of seven working days and all free days as holidays.
    """
    free, made_up = free_and_made_up(calendar)
    every = [calendar.first_on + timedelta(days=n) for n in range((calendar.last_on - calendar.first_on).days + 1)]
    off = [day for day in every if day not in calendar.days]
    week = np.busdaycalendar(weekmask="1111111", holidays=np.array(off, dtype="datetime64[D]"))
    zero = np.datetime64("2015-01-05") + rng.integers(0, 4500, many)
    far = zero + rng.integers(0, 300, many)
    numpy_s, counted = seconds(lambda: np.busday_count(zero, far, busdaycal=week))
    begin, end = (pd.DatetimeIndex(days).tz_localize(ZONE) for days in (zero, far))
    ours_s, worked = seconds(lambda: calendar.work.elapsed(begin, end))
    same = int((worked / 3600 / 8 == counted).sum())
    print(f"{many:,} spans in working days: numpy.busday_count {numpy_s:.3f} s, ours {ours_s:.3f} s; {same:,} alike")
    wanted = rng.integers(1, 31, many)
    numpy_s, later = seconds(lambda: np.busday_offset(zero, wanted - 1, roll="forward", busdaycal=week))
    ours_s, due = seconds(lambda: calendar.work.due_for(begin, wanted, "work_day"))
    closing = pd.DatetimeIndex(later).tz_localize(ZONE) + pd.Timedelta(hours=18)
    same = int((due == closing).sum())
    print(
        f"{many:,} due days: numpy.busday_offset {numpy_s:.3f} s (a day), ours {ours_s:.3f} s (an instant); "
        f"{same:,} alike; {len(free)} free weekdays, {len(made_up)} made-up weekend days"
    )


def beside_pandas(calendar: Calendar, many: int, rng: np.random.Generator) -> None:
    """Hours from an instant on: pandas one start at a time, from where no made-up day lies ahead."""
    free, made_up = free_and_made_up(calendar)
    begin = starts("2015-01-05", "2028-06-01", many, rng)
    wanted = rng.integers(1, 41, many)
    hours = {"start": ["08:00", "14:00"], "end": ["12:00", "18:00"], "holidays": free}
    offsets = {n: pd.offsets.CustomBusinessHour(n, **hours) for n in range(1, 41)}
    naive = begin.tz_localize(None)
    pandas_s, found = seconds(
        lambda: [start + offsets[int(n)] for start, n in zip(naive, wanted, strict=True)], times=1
    )
    ours_s, due = seconds(lambda: calendar.work.due_for(begin, wanted, "work_hour"))
    answer = pd.DatetimeIndex(found).tz_localize(ZONE)
    worked = pd.DatetimeIndex(made_up)
    last = np.maximum(answer.tz_localize(None).to_numpy(), due.tz_convert(ZONE).tz_localize(None).to_numpy())
    ahead = worked.searchsorted(last, side="right") > worked.searchsorted(naive.normalize(), side="left")
    equal = (answer == due)[~ahead]
    between = calendar.work.elapsed(due, answer)[~ahead]  # pandas moves what ends at closing time to the next opening
    print(
        f"{many:,} due instants: pandas CustomBusinessHour {pandas_s:.2f} s = {many / pandas_s:,.0f}/s, "
        f"ours {ours_s:.4f} s = {many / ours_s:,.0f}/s; of {len(equal):,} with no made-up day ahead "
        f"{int(equal.sum()):,} are the same instant, {int((between == 0).sum()):,} have no work between them"
    )


def main() -> None:
    """Print the figures."""
    words = argparse.ArgumentParser()
    words.add_argument("--most", type=int, default=1_000_000)
    words.add_argument("--slow", type=int, default=10_000)
    asked = words.parse_args()
    rng = np.random.default_rng(8)
    calendar = Calendar(tuple(read_calendar_file(ANKANG)[0]), HOURS, 8.0, ZONE)
    made_s, work = seconds(lambda: Calendar(calendar.lines, HOURS, 8.0, ZONE).work)
    print(f"{len(calendar.lines)} lines make {len(work.opens):,} periods in {1e3 * made_s:.0f} ms")
    ours(work, asked.most, rng)
    beside_numpy(calendar, asked.most, rng)
    beside_pandas(calendar, asked.slow, rng)


if __name__ == "__main__":
    main()
