"""The demo city's calendar says of every published day what the package chinesecalendar says of it."""

from __future__ import annotations

import csv
from datetime import date, timedelta
from pathlib import Path

import pytest
from chinese_calendar import is_workday
from chinese_calendar.constants import holidays

from cases.calendar import Calendar, read_calendar_file
from cases.calendar_check import check_calendar
from tests.china_days import lines

ANKANG = Path(__file__).resolve().parents[1] / "data" / "ankang" / "calendar.csv"


@pytest.fixture(scope="module")
def calendar() -> Calendar:
    said, _ = read_calendar_file(ANKANG)
    return Calendar(tuple(said), "08:00-12:00 14:00-18:00", 8.0, "Asia/Shanghai")


def test_every_published_day_is_what_the_package_says(calendar: Calendar) -> None:
    published = calendar.published_to
    assert published is not None
    assert (calendar.first_on, published) == (date(2015, 1, 1), date(2026, 12, 31))
    fresh = "\n".join(",".join(row) for row in lines(published.year + 1, max(holidays).year))
    assert published.year >= max(holidays).year, (
        f"the package knows more; put in place of what is provisional:\n{fresh}"
    )
    days = [calendar.first_on + timedelta(days=n) for n in range((published - calendar.first_on).days + 1)]
    wrong = [day for day in days if is_workday(day) != (day in calendar.days)]
    assert len(days) == 4383
    assert wrong == []


def test_the_years_before_2025_are_the_lines_that_the_package_makes() -> None:
    rows = list(csv.reader(ANKANG.read_text(encoding="utf-8").splitlines()))
    kept = [row for row in rows[1:] if row[2] != "office" and row[1] < "2025"]
    made = lines(2015, 2024)
    cut = [row[:6] for row in kept]  # not the source: it names the version that made the line
    assert cut == [row[:6] for row in made]


def test_beyond_only_statutory_days_are_free_and_marked_provisional(calendar: Calendar) -> None:
    later = [line for line in calendar.lines if line.kind != "office" and line.first_on > "2026-12-31"]
    assert all(line.provisional and line.kind == "holiday" for line in later)
    assert not any(line.provisional for line in calendar.lines if line not in later)
    free = {year: 0 for year in (2027, 2028)}
    for line in later:
        first, last = line.days or (date.max, date.max)
        free[first.year] += (last - first).days + 1
    assert free == {2027: 13, 2028: 12}  # 13 by the decree of 2024; in 2028 Mid-Autumn falls on the third of October


def test_the_file_has_no_fault() -> None:
    assert check_calendar(*read_calendar_file(ANKANG)) == []
