"""Laws of working time, and the days that a city's calendar turns on."""

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.worktime import BASES, WorkCalendar
from gis.errors import Invalid, UnfitFile

ZONE = ZoneInfo("Asia/Shanghai")
HOURS = [("08:00", "12:00"), ("14:00", "18:00")]
ANKANG = Path(__file__).parent.parent / "data" / "ankang" / "calendar.csv"
EPOCH = datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC"))


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


def microseconds(instant: pd.Timestamp) -> int:
    return int(pd.DatetimeIndex([instant]).as_unit("us").asi8[0])


@pytest.fixture(scope="module")
def calendar() -> WorkCalendar:
    return WorkCalendar.read(ANKANG, hours=HOURS, timezone="Asia/Shanghai")


@st.composite
def calendars(draw: st.DrawFn) -> WorkCalendar:
    """Up to 12 periods with gaps, in whole seconds; neighbours may touch."""
    lengths = draw(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 5000)), min_size=1, max_size=12))
    periods, at = [], EPOCH
    for gap, work in lengths:
        opening = at + timedelta(seconds=gap)
        at = opening + timedelta(seconds=work)
        periods.append((opening, at))
    return WorkCalendar.of(periods)


@st.composite
def calendar_and_start(draw: st.DrawFn) -> tuple[WorkCalendar, pd.Timestamp]:
    made = draw(calendars())
    offset = draw(st.integers(0, made.known_to - made.known_from))
    return made, pd.Timestamp(made.known_from + offset, unit="us", tz="UTC")


@given(calendar_and_start(), st.data())
def test_due_is_the_earliest_instant_with_that_much_work(made, data):
    work, start = made
    left = work.elapsed(start, pd.Timestamp(work.known_to, unit="us", tz="UTC"))
    allowance = data.draw(st.integers(0, int(left * 1_000_000))) / 1_000_000
    due = work.due(start, allowance)
    assert work.elapsed(start, due) == allowance
    if allowance:
        assert work.elapsed(start, due - pd.Timedelta(1, unit="us")) < allowance


@given(calendar_and_start(), st.data())
def test_due_of_elapsed_never_passes_the_end(made, data):
    work, start = made
    begin = microseconds(start)
    end = pd.Timestamp(begin + data.draw(st.integers(0, work.known_to - begin)), unit="us", tz="UTC")
    back = work.due(start, work.elapsed(start, end))
    assert back <= end
    instant = microseconds(end)
    if ((work.opens < instant) & (instant <= work.closes)).any() and end > start:
        assert back == end


@given(calendar_and_start(), st.data())
def test_elapsed_adds_up(made, data):
    work, start = made
    instants = st.integers(work.known_from, work.known_to)
    middle, end = (pd.Timestamp(data.draw(instants), unit="us", tz="UTC") for _ in range(2))
    whole = work.elapsed(start, middle) + work.elapsed(middle, end)
    assert whole == pytest.approx(work.elapsed(start, end), abs=1e-6)


def test_a_deadline_on_closing_time_is_closing_time(calendar):
    assert calendar.due(local("2026-03-02T08:00"), 4 * 3600) == local("2026-03-02T12:00")
    assert calendar.due_for(local("2026-03-02T08:00"), 1, "work_day") == local("2026-03-02T18:00")


def test_a_start_outside_office_time_moves_to_the_next_opening(calendar):
    assert calendar.due_for(local("2026-03-06T19:30"), 1, "work_hour") == local("2026-03-09T09:00")
    assert calendar.due_for(local("2026-03-02T12:30"), 1, "work_hour") == local("2026-03-02T15:00")


def test_urgent_limits_run_round_the_clock(calendar):
    assert calendar.due_for(local("2026-03-06T19:30"), 2, "urgent_hour") == local("2026-03-06T21:30")
    assert calendar.due_for(local("2026-03-06T19:30"), 2, "urgent_day") == local("2026-03-08T19:30")


def test_holidays_and_made_up_days_of_the_real_calendar(calendar):
    # the Friday before Spring Festival 2026 is followed by a made-up Saturday, then nine free days
    assert calendar.due_for(local("2026-02-13T14:00"), 2, "work_day") == local("2026-02-24T12:00")
    assert calendar.due_for(local("2025-09-30T18:00"), 8, "work_hour") == local("2025-10-09T18:00")
    assert calendar.elapsed(local("2025-10-11T00:00"), local("2025-10-12T00:00")) == 8 * 3600


def test_working_days_of_the_published_years(calendar):
    opening = calendar.periods()["open_at"].dt.tz_convert(ZONE).dt.normalize().drop_duplicates()
    assert opening.dt.year.value_counts()[[2025, 2026]].to_dict() == {2025: 248, 2026: 248}


def test_many_at_once_agree_with_one_at_a_time(calendar):
    random = np.random.default_rng(5)
    start = pd.DatetimeIndex(
        pd.Timestamp("2026-01-02", tz="UTC") + pd.to_timedelta(random.integers(0, 300 * 86400, 200), unit="s")
    )
    value = random.integers(1, 15, 200)
    basis = random.choice(BASES, 200)
    together = calendar.due_for(start, value, basis)
    apart = [calendar.due_for(s, int(v), str(b)) for s, v, b in zip(start, value, basis, strict=True)]
    assert list(together) == apart
    assert (calendar.elapsed(start, together) >= 0).all()


def test_past_the_end_of_the_calendar_it_raises(calendar):
    with pytest.raises(Invalid, match="known only from"):
        calendar.due_for(local("2028-12-29T17:00"), 3, "work_day")
    with pytest.raises(Invalid, match="known only from"):
        calendar.elapsed(local("2014-12-31T17:00"), local("2015-01-05T17:00"))
    assert calendar.due_for(local("2028-12-31T17:00"), 3, "urgent_day") == local("2029-01-03T17:00")


@pytest.mark.parametrize(
    ("start", "value", "basis"),
    [
        (datetime(2026, 3, 2, 8), 1, "work_day"),
        (local("2026-03-02T08:00"), -1, "work_day"),
        (local("2026-03-02T08:00"), float("nan"), "work_day"),
        (local("2026-03-02T08:00"), 1, "fortnight"),
        (pd.NaT, 1, "work_day"),
    ],
)
def test_what_cannot_be_counted_is_refused(calendar, start, value, basis):
    with pytest.raises(Invalid):
        calendar.due_for(start, value, basis)


@pytest.mark.parametrize(
    "line",
    [
        {"first_on": "2026-01-01", "last_on": "2026-01-31", "kind": "feast", "hours": ""},
        {"first_on": "2026-01-31", "last_on": "2026-01-01", "kind": "office", "hours": ""},
        {"first_on": "January", "last_on": "2026-01-31", "kind": "office", "hours": ""},
        {"first_on": "2026-01-01", "last_on": "2026-01-31", "kind": "office", "hours": "8am-noon"},
        {"first_on": "2026-01-01", "last_on": "2026-01-31", "kind": "holiday", "hours": ""},
    ],
)
def test_a_calendar_that_cannot_be_read_says_so(line):
    with pytest.raises(UnfitFile):
        WorkCalendar.from_lines(pd.DataFrame([line]), hours=HOURS, timezone="Asia/Shanghai")


def test_a_missing_calendar_says_so(tmp_path):
    with pytest.raises(UnfitFile):
        WorkCalendar.read(tmp_path / "calendar.csv", hours=HOURS, timezone="Asia/Shanghai")


def test_overlapping_periods_are_refused():
    with pytest.raises(Invalid):
        WorkCalendar.of([(EPOCH, EPOCH + timedelta(hours=2)), (EPOCH + timedelta(hours=1), EPOCH + timedelta(hours=3))])


@given(calendar_and_start(), st.integers(0, 5_000))
def test_one_clock_counts_as_an_array_of_them(made, allowance):
    calendar, start = made
    end = start + timedelta(seconds=allowance / 2)
    try:
        expected = calendar.due([start], allowance)[0]
    except Invalid:
        with pytest.raises(Invalid):
            calendar.due_one(start, allowance)
    else:
        found = calendar.due_one(start, allowance)
        assert found == expected
    try:
        many = calendar.elapsed([start], [end])[0]
    except Invalid:
        with pytest.raises(Invalid):
            calendar.elapsed(start, end)
    else:
        assert calendar.elapsed(start, end) == many
