"""The calendar in the database: taken over whole or not at all, every planted fault told, nothing changed twice."""

from __future__ import annotations

import csv
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from openpyxl import Workbook
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from api.cli import app
from cases.calendar import (
    Calendar,
    CalendarChange,
    calendar_mark,
    calendar_of,
    changed_days,
    held_calendar,
    import_calendar,
    read_calendar_file,
    write_calendar_file,
)
from cases.calendar_check import FAULTS, Line, check_calendar, errors_of, tidy_hours
from gis.db import Access, database_name
from gis.errors import Conflict, Invalid, UnfitFile
from grids.city import City
from tests.conftest import copied, copy_database
from tests.doorstep import Door
from tests.test_cli import PROFILE

ANKANG = Path(__file__).resolve().parents[1] / "data" / "ankang" / "calendar.csv"
NAMED = {"name_zh": "节", "name_en": "feast", "source": "notice 1"}


def line(first_on: str, last_on: str = "", kind: str = "holiday", **more: Any) -> Line:
    return Line.of({"first_on": first_on, "last_on": last_on, "kind": kind, **NAMED, **more})


OFFICE = line("2026-01-01", "2026-12-31", "office")
WHOLE = line("2015-01-01", "2028-12-31", "office")  #: reaches as far as the calendar that the hamlet has


def take(conn: Connection, city: City, lines: list[Line], **more: Any) -> CalendarChange:
    return import_calendar(conn, city, lines, actor="tester", reason="a test", **more)


def rows_kept(conn: Connection) -> tuple[int, int]:
    return tuple(
        conn.execute(text("select (select count(*) from cases.calendar), (select count(*) from gis.change)")).one()
    )  # type: ignore[return-value]


# ── taking over ────────────────────────────────────────


def test_a_city_begins_with_the_calendar_of_its_folder(conn: Connection, template: City) -> None:
    lines, _ = read_calendar_file(ANKANG)
    held = held_calendar(conn)
    assert held == calendar_of(template, lines)
    assert (held.first_on, held.last_on, held.published_to) == (
        date(2015, 1, 1),
        date(2028, 12, 31),
        date(2026, 12, 31),
    )
    assert held_calendar(conn).work is held_calendar(conn).work  # read once a process


@pytest.mark.parametrize("ending", ["csv", "xlsx"])
def test_what_was_written_changes_nothing_when_it_is_read_again(
    conn: Connection, template: City, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"calendar.{ending}"
    assert write_calendar_file(conn, path, overwrite=False) == len(held_calendar(conn).lines)
    with pytest.raises(Invalid, match="is there already"):
        write_calendar_file(conn, path, overwrite=False)
    before, mark = rows_kept(conn), calendar_mark(conn)
    lines, rows = read_calendar_file(path)
    change = take(conn, template, lines, rows=rows)
    assert (change.written, change.faults, change.days) == (False, [], [])
    assert not take(conn, template, lines[::-1]).written  # the order of lines says nothing
    assert (rows_kept(conn), calendar_mark(conn)) == (before, mark)


FREE_DAYS = st.sets(st.integers(0, 364), min_size=1, max_size=40)


@given(first=FREE_DAYS, second=FREE_DAYS)
@hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_taking_over_says_exactly_the_days_that_change_and_once(
    conn: Connection, template: City, first: set[int], second: set[int]
) -> None:
    def calendar(days: set[int]) -> list[Line]:
        return [WHOLE, *(line((date(2026, 1, 1) + timedelta(days=n)).isoformat()) for n in sorted(days))]

    take(conn, template, calendar(first))
    kept = rows_kept(conn)
    change = take(conn, template, calendar(second))
    expected = {date(2026, 1, 1) + timedelta(days=n) for n in first ^ second}
    assert {one.day for one in change.days} == {day for day in expected if day.weekday() < 5}
    assert all(bool(one.before) != bool(one.after) for one in change.days)
    assert change.written == (first != second)
    assert rows_kept(conn) == (tuple(n + 1 for n in kept) if change.written else kept)
    assert held_calendar(conn) == change.after
    assert not take(conn, template, calendar(second)).written
    back = take(conn, template, calendar(first))
    assert [(one.day, one.after, one.before) for one in back.days] == [(o.day, o.before, o.after) for o in change.days]


def test_rolled_back_it_is_as_if_nothing_had_been(conn: Connection, template: City) -> None:
    held, mark, kept = held_calendar(conn), calendar_mark(conn), rows_kept(conn)
    tried = conn.begin_nested()
    change = take(conn, template, [WHOLE])
    assert change.written
    assert held_calendar(conn).lines == (WHOLE,)
    tried.rollback()
    assert (held_calendar(conn), calendar_mark(conn), rows_kept(conn)) == (held, mark, kept)


def test_the_hours_of_the_profile_come_with_the_lines(conn: Connection, template: City) -> None:
    lines = list(held_calendar(conn).lines)
    earlier = replace(template, profile={**template.profile, "office_hours": [["8:30", "12:00"], ["13:00", "17:30"]]})
    change = take(conn, earlier, lines)
    assert change.written
    assert {(one.before, one.after) for one in change.days} == {("08:00-12:00 14:00-18:00", "08:30-12:00 13:00-17:30")}
    for wrong in ([["8:30"]], [["12:00", "8:00"]], [], "8-12", [["09:00", "24:00"]]):
        with pytest.raises(UnfitFile, match="office_hours"):
            take(conn, replace(template, profile={"office_hours": wrong}), lines)


def test_a_season_is_a_span_of_office_days_with_its_own_hours(conn: Connection, template: City) -> None:
    seasons = [
        line("2015-01-01", "2026-04-30", "office"),
        line("2026-05-01", "2026-09-30", "office", hours="8:00～12:00，15:00至18:30"),
        line("2026-10-01", "2028-12-31", "office"),
    ]
    change = take(conn, template, seasons)
    assert change.faults == []
    assert held_calendar(conn).days[date(2026, 7, 1)] == "08:00-12:00 15:00-18:30"
    assert held_calendar(conn).days[date(2026, 10, 1)] == "08:00-12:00 14:00-18:00"


def test_a_calendar_with_errors_writes_nothing(conn: Connection, template: City) -> None:
    before = rows_kept(conn)
    change = take(conn, template, [WHOLE, line("2026-02-30")], rows=[2, 7])
    assert [(fault.rule, fault.row, fault.field, fault.value) for fault in change.faults] == [
        ("day", 7, "first_on", "2026-02-30"),
        ("day", 7, "last_on", "2026-02-30"),
    ]
    assert (change.after, change.written) == (None, False)
    assert rows_kept(conn) == before


def test_a_part_of_a_calendar_is_not_taken_for_the_whole(conn: Connection, template: City) -> None:
    mark = calendar_mark(conn)
    change = take(conn, template, [line("2027-01-01", "2028-12-31", "office")])
    assert [fault.rule for fault in change.faults] == ["begins_later"]
    assert (change.written, calendar_mark(conn)) == (False, mark)
    change = take(conn, template, [line("2014-01-01", "2027-12-31", "office")])
    assert [(fault.rule, fault.value) for fault in change.faults] == [("ends_earlier", "2027-12-31 < 2028-12-31")]
    assert change.written


def test_rows_are_never_rewritten(conn: Connection) -> None:
    for statement in ("update cases.calendar set day_hours = 7", "delete from cases.calendar"):
        with pytest.raises(DBAPIError, match="append-only"), conn.begin_nested():
            conn.execute(text(statement))


def test_a_city_without_a_calendar_is_told_what_to_do(conn: Connection, template: City) -> None:
    conn.execute(text("truncate cases.calendar"))
    assert calendar_mark(conn) is None
    with pytest.raises(Conflict, match="no work calendar") as caught:
        held_calendar(conn)
    assert "wanmi calendar import" in str(caught.value.mend)
    change = take(conn, template, [WHOLE])
    assert (change.before, change.written, change.days) == (None, True, [])


def test_a_change_waits_for_whoever_holds_the_calendar(server: Access, template: City, worker_id: str) -> None:
    engine = copied(server, template, f"calendar_{worker_id}")
    done = threading.Event()

    def change() -> None:
        with engine.begin() as conn:
            take(conn, template, [WHOLE])
        done.set()

    with engine.connect() as one, engine.connect() as other:
        for holder in (one, other):  # they do not wait for each other
            held_calendar(holder, hold=True)
        mark = calendar_mark(one)
        thread = threading.Thread(target=change)
        thread.start()
        assert not done.wait(0.5)
        assert calendar_mark(one) == mark
        one.commit()
        assert not done.wait(0.2)
        other.commit()
        thread.join(20)
        assert done.is_set()
        held_calendar(one, hold=True)
        assert calendar_mark(one) != mark
    engine.dispose()


# ── faults ────────────────────────────────────────

#: name of the fault → the lines that have it (rows count from 1), and the rows and fields that it is told with
PLANTED: dict[str, tuple[list[Line], list[tuple[int | None, int | None, str | None]]]] = {
    "no_office": ([line("2026-01-01")], [(None, None, "kind")]),
    "no_work": ([line("2026-01-03", "2026-01-04", "office")], [(None, None, "kind")]),
    "many": ([OFFICE] * 5_001, [(None, None, None)]),
    "day": (
        [OFFICE, line("yesterday"), line("2026-13-01", "1830-01-01")],
        [(2, None, "first_on"), (2, None, "last_on"), (3, None, "first_on"), (3, None, "last_on")],
    ),
    "reversed": ([OFFICE, line("2026-02-03", "2026-02-01")], [(2, None, "last_on")]),
    "long": ([OFFICE, line("2026-01-01", "2027-01-02")], [(2, None, "last_on")]),
    "kind": ([OFFICE, line("2026-01-01", kind="feast")], [(2, None, "kind")]),
    "hours": (
        [replace(OFFICE, hours="8am-noon"), line("2026-02-01", kind="working_day", hours="25:00-26:00")],
        [(1, None, "hours"), (2, None, "hours")],
    ),
    "hours_midnight": ([line("2026-01-01", "2026-12-31", "office", hours="16:00-24:00")], [(1, None, "hours")]),
    "hours_order": ([line("2026-01-01", "2026-12-31", "office", hours="22:00-06:00")], [(1, None, "hours")]),
    "hours_overlap": (
        [line("2026-01-01", "2026-12-31", "office", hours="08:00-12:00 11:59-18:00")],
        [(1, None, "hours")],
    ),
    "provisional": ([OFFICE, line("2026-01-01", provisional="perhaps")], [(2, None, "provisional")]),
    "text": (
        [OFFICE, line("2026-01-01", name_zh="a\0b"), line("2026-01-02", source="x" * 501)],
        [(2, None, "name_zh"), (3, None, "source")],
    ),
    "office_overlap": ([OFFICE, line("2026-12-31", "2027-12-31", "office", hours="09:00-17:00")], [(2, 1, "first_on")]),
    "office_gap": (
        [line("2026-10-02", "2026-12-31", "office"), line("2026-01-01", "2026-09-30", "office")],
        [(1, 2, "first_on")],
    ),
    "outside": (
        [OFFICE, line("2027-01-01"), line("2027-01-03", kind="working_day")],
        [(2, None, "first_on"), (3, None, "first_on")],
    ),
    "holiday_and_working": (
        [OFFICE, line("2026-02-03", kind="working_day"), line("2026-02-01", "2026-02-05")],
        [(2, 3, "first_on")],
    ),
    "hours_contradict": (
        [OFFICE, line("2026-02-01", kind="working_day"), line("2026-02-01", kind="working_day", hours="09:00-10:00")],
        [(3, 2, "first_on")],
    ),
    "partly_outside": ([OFFICE, line("2026-12-31", "2027-01-02")], [(2, None, "first_on")]),
    "already_working": ([OFFICE, line("2026-02-03", kind="working_day")], [(2, None, "first_on")]),
    "twice": ([OFFICE, line("2026-02-01"), line("2026-01-31", "2026-02-02")], [(3, 2, "first_on")]),
    "hours_unused": ([OFFICE, line("2026-02-01", hours="08:00-12:00")], [(2, None, "hours")]),
    "name_missing": ([OFFICE, line("2026-02-01", name_en="")], [(2, None, "name_en")]),
    "source_missing": ([OFFICE, line("2026-02-01", source="")], [(2, None, "source")]),
}


def test_every_kind_of_fault_is_planted() -> None:
    assert set(PLANTED) | {"begins_later", "ends_earlier"} == set(FAULTS)
    assert check_calendar([OFFICE, line("2026-02-03", kind="working_day", hours="09:00-10:00")]) == []


@pytest.mark.parametrize("rule", list(PLANTED))
def test_a_planted_fault_is_told_with_row_and_field_and_no_other(rule: str) -> None:
    lines, where = PLANTED[rule]
    faults = check_calendar(lines)
    assert [(fault.row, fault.other, fault.field) for fault in faults] == where
    assert {fault.rule for fault in faults} == {rule}


@st.composite
def calendars(draw: st.DrawFn) -> list[Line]:
    """A year cut into seasons, with days off and working days in it; some of them contradict each other."""
    edges = sorted({0, 365, *draw(st.sets(st.integers(1, 364), max_size=3))})
    hours = st.sampled_from(["", "09:00-12:00", "00:00-23:59"])
    day = [(date(2026, 1, 1) + timedelta(days=n)).isoformat() for n in range(365)]
    lines = [line(day[a], day[b - 1], "office", hours=draw(hours)) for a, b in pairwise(edges)]
    for kind in ("holiday", "working_day"):
        for first in draw(st.lists(st.integers(0, 355), max_size=4)):
            own = draw(hours) if kind == "working_day" else ""
            lines.append(line(day[first], day[first + draw(st.integers(0, 3))], kind, hours=own))
    return list(draw(st.permutations(lines)))


@given(calendars())
def test_lines_without_errors_make_a_calendar_whatever_their_order(lines: list[Line]) -> None:
    errors = {fault.rule for fault in errors_of(check_calendar(lines))}
    assert errors <= {"holiday_and_working", "hours_contradict", "no_work"}
    assume(not errors)
    made = Calendar(tuple(lines), "08:00-12:00 14:00-18:00", 8.0, "Asia/Shanghai")
    assert made.work.known_to > made.work.known_from
    assert all(made.first_on <= day <= made.last_on for day in made.days)
    turned = Calendar(tuple(lines[::-1]), made.hours, 8.0, made.timezone)
    assert list(changed_days(made, turned)) == []


@given(
    st.lists(
        st.tuples(st.text(max_size=12), st.text(max_size=12), st.text(max_size=8), st.text(max_size=20)), max_size=4
    )
)
def test_whatever_is_written_in_a_table_is_told_never_raised(rows: list[tuple[str, ...]]) -> None:
    lines = [Line.of(dict(zip(("first_on", "last_on", "kind", "hours"), row, strict=True))) for row in rows]
    assert errors_of(check_calendar(lines))


@pytest.mark.parametrize("path", sorted(ANKANG.parents[1].glob("*/calendar.csv")), ids=lambda path: path.parent.name)
def test_the_calendars_that_are_shipped_have_no_fault(path: Path) -> None:
    assert check_calendar(*read_calendar_file(path)) == []


# ── tables ────────────────────────────────────────


def test_a_workbook_with_chinese_words_and_excel_days_is_understood(tmp_path: Path) -> None:
    book = Workbook()
    sheet = book.active
    for row in [
        ["名称", "开始日期", "结束日期", "类型", "工作时段", "依据", "暂定"],
        ["冬季作息", date(2026, 1, 1), date(2026, 4, 30), "作息时间", "8:00—12:00、14:00—18:00", "市政府通知", None],
        ["夏季作息", "2026年5月1日", "2026/12/31", "上班时段", "08：00-12：00 15：00-18：30", "市政府通知", "否"],
        [None, None, None, None, None, None, None],
        ["元旦", 20260101, None, "放假", None, "暂定：法定节日", None],
        ["元旦调休", "2026.1.4", None, "调休上班", None, "国办通知", "否"],
    ]:
        sheet.append(row)
    book.save(tmp_path / "作息.xlsx")
    lines, rows = read_calendar_file(tmp_path / "作息.xlsx")
    assert rows == [2, 3, 5, 6]
    assert [(one.first_on, one.last_on, one.kind, one.hours, one.provisional) for one in lines] == [
        ("2026-01-01", "2026-04-30", "office", "08:00-12:00 14:00-18:00", False),
        ("2026-05-01", "2026-12-31", "office", "08:00-12:00 15:00-18:30", False),
        ("2026-01-01", "2026-01-01", "holiday", "", True),
        ("2026-01-04", "2026-01-04", "working_day", "", False),
    ]
    assert errors_of(check_calendar(lines, rows)) == []


def test_a_file_of_before_the_column_provisional_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.csv"
    path.write_text("first_on,last_on,kind,source\n2026-01-01,2026-01-01,holiday,provisional: a guess\n", "utf-8")
    assert [one.provisional for one in read_calendar_file(path)[0]] == [True]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "first_on,last_on\n2026-01-01,2026-01-01\n", "has no column kind"),
        ("a.csv", "first_on,kind\n,\n", "holds no lines"),
        ("a.csv", "", "is empty"),
        ("a.csv", "\n\n", "has no column|holds no lines"),
        ("a.xlsx", "no workbook", "is no Excel workbook"),
        ("a.gpkg", "x", "is no table"),
    ],
)
def test_a_file_that_is_no_calendar_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UnfitFile, match=message):
        read_calendar_file(tmp_path / name)
    with pytest.raises(UnfitFile, match="there is no file"):
        read_calendar_file(tmp_path / "missing.csv")


@given(st.text(max_size=40))
def test_tidying_hours_twice_is_tidying_them_once(text: str) -> None:
    assert tidy_hours(tidy_hours(text)) == tidy_hours(text)


# ── doors ────────────────────────────────────────


def test_health_tells_how_far_the_calendar_reaches_and_is_published(door: Door) -> None:
    found = door.get("/health").json()["calendar"]
    assert found["status"] == "ok"
    assert found["known_to"] == "2029-01-01T00:00:00+08:00"
    assert found["published_to"] == "2026-12-31"


@pytest.fixture
def run(server: Access, template: City, worker_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command on a fresh copy of the hamlet."""
    name = f"calendar_cli_{worker_id}"
    copy_database(server, database_name(template.id), database_name(name))
    folder = tmp_path / "data" / name
    folder.mkdir(parents=True)
    (folder / "city.toml").write_text(PROFILE, encoding="utf-8")
    for setting in [setting for setting in os.environ if setting.startswith(("WANMI_", "LC_", "LANG"))]:
        monkeypatch.delenv(setting)
    monkeypatch.setenv("WANMI_HOME", str(tmp_path))
    monkeypatch.setenv("WANMI_CITY", name)
    monkeypatch.setenv("WANMI_DATABASE_URL", server.url("postgres"))
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], prog_name="wanmi")


def test_from_the_table_to_the_database_and_back(run: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "calendar.csv"
    assert "lines" in run("calendar", "export", path).stdout
    assert "nothing changes" in run("calendar", "import", path, "--commit").stdout
    rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    rows += [["2026-12-24", "", "holiday", "", "地方假日", "local day", "city", ""]]
    rows += [["2026-12-26", "", "working_day", "09:00-12:00", "补班", "made up", "city", ""]]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    dry = run("calendar", "import", path)
    assert dry.exit_code == 0, dry.output
    assert "1 days become free\n  2026-12-24  08:00-12:00 14:00-18:00 → -\n" in dry.stdout
    assert "1 days become working days\n  2026-12-26  - → 09:00-12:00\n" in dry.stdout
    assert "nothing was written; --commit takes it over" in dry.stdout
    assert "local day" not in run("calendar", "show", "--from", "2026-12-20").stdout
    assert "it holds from now on" in run("calendar", "import", path, "--commit", "--actor", "lin").stdout
    shown = run("calendar", "show", "--from", "2026-12-21", "--to", "2026-12-27").stdout
    assert "2026-12-24               holiday  local day" in shown
    assert "2026-12-21 to 2026-12-27: 5 working days, 35.0 hours" in shown
    assert "published to 2026-12-31" in shown
    assert "覆盖 2015-01-01 至 2028-12-31,已公布至 2026-12-31" in run("--language", "zh", "calendar", "show").stdout
    assert "nothing changes" in run("calendar", "import", path).stdout


def test_faults_are_listed_and_written_and_end_with_one(run: Callable[..., Any], tmp_path: Path) -> None:
    path, out = tmp_path / "bad.csv", tmp_path / "faults.csv"
    path.write_text("first_on,last_on,kind,hours\n2026-01-01,2026-12-31,office,9-5\n2026-05-01,,feast,\n", "utf-8")
    for command in ("check", "import"):
        done = run("calendar", command, path, "--out", out)
        assert done.exit_code == 1
        assert "error: hours that cannot be read (1)\n  row 2: hours '9-5'" in done.stdout
        assert "error: an unknown kind of line (1)\n  row 3: kind 'feast'" in done.stdout
        found = list(csv.DictReader(out.read_text(encoding="utf-8-sig").splitlines()))
        assert {(row["fault"], row["row"]) for row in found if row["severity"] == "error"} == {
            ("hours", "2"),
            ("kind", "3"),
        }
    assert "错误:未知的类型(1)" in run("--language", "zh", "calendar", "check", path).stdout
    done = run("calendar", "show", "--from", "soon")
    assert (done.exit_code, "'soon' is no day" in done.stderr) == (1, True)


def test_a_database_of_before_calendars_gets_that_of_the_folder(
    run: Callable[..., Any], server: Access, worker_id: str, tmp_path: Path
) -> None:
    name = f"calendar_cli_{worker_id}"
    engine = server.engine(database_name(name))
    with engine.begin() as conn:
        conn.execute(text("truncate cases.calendar"))
        changes = conn.scalar(text("select count(*) from gis.change"))
    path = tmp_path / "data" / name / "calendar.csv"
    for broken in (None, "first_on,kind\n2026-01-01,feast\n"):
        if broken is not None:
            path.write_text(broken, encoding="utf-8")
        done = run("calendar", "show")
        assert done.exit_code == 1
        assert "the city has no work calendar" in done.stderr
        with engine.begin() as conn:
            assert conn.scalar(text("select count(*) from gis.change")) == changes
    path.write_bytes(ANKANG.read_bytes())
    for _ in range(2):
        assert "known from 2015-01-01 to 2028-12-31" in run("calendar", "show").stdout
        with engine.begin() as conn:
            assert conn.scalar(text("select count(*) from gis.change")) == changes + 1
    engine.dispose()
