"""What becomes due by itself: done once, also when it was missed, also by two at once; deadlines that move."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Connection, Engine, text

from api.deps import House
from api.rounds import do_upkeep, unexplained
from cases.clocks import Clockwork
from cases.deadlines import move_deadlines
from cases.history import wind_imported
from cases.photo import PhotoStore
from cases.upkeep import keep_up
from cases.worktime import WorkCalendar
from gis.db import Access
from grids.city import City
from tests.conftest import copied
from tests.doorstep import Door, report
from tests.hands import CLOCKWORK, back, do, person, reported
from tests.test_case_laws import PHOTO, told_anew


def clockwork(conn: Connection) -> Clockwork:
    return CLOCKWORK


UNIT = person("unit", unit="WEST")


@pytest.fixture
def engine(server: Access, template: City, worker_id: str) -> Iterator[Engine]:
    made = copied(server, template, f"upkeep_{worker_id}")
    with made.begin() as conn:
        conn.execute(text("select cases.ensure_partition(extract(year from now())::int)"))
        conn.execute(
            text(
                "insert into cases.photo (sha256, media_type, width, height, bytes, uploaded_by) "
                "values (:sha, 'image/jpeg', 4, 3, 9, 'x')"
            ),
            {"sha": PHOTO},
        )
    yield made
    made.dispose()


def dispatched(conn: Connection, key: str) -> int:
    no = reported(conn, key)
    do(conn, no, "accept", person("acceptor"), condition_no=1)
    do(conn, no, "file", person("duty_chief"))
    do(conn, no, "dispatch", person("dispatcher"))
    return no


def events(engine: Engine, no: int) -> list[str]:
    with engine.connect() as conn:
        return list(conn.scalars(text("select act from cases.event where case_no = :no order by seq"), {"no": no}))


def suspended(engine: Engine, key: str) -> int:
    with engine.begin() as conn:
        no = dispatched(conn, key)
        until = datetime.now(UTC) + timedelta(days=2)
        do(conn, no, "ask_suspension", UNIT, reason="frost", until=until)
        do(conn, no, "grant_suspension", person("dispatcher"))
    return no


def test_a_suspension_ends_at_its_end_however_late_that_is_noticed(engine: Engine) -> None:
    no = suspended(engine, "a")
    assert list(keep_up(engine, clockwork)) == []
    with engine.begin() as conn:
        back(conn, no, 9)
        until = conn.scalar(text("select suspended_until from cases.case where no = :no"), {"no": no})
    done = [name for name, _ in keep_up(engine, clockwork)]
    assert done[0] == "resume"
    with engine.connect() as conn:
        row = conn.execute(text("select clocks, suspended_until from cases.case where no = :no"), {"no": no}).one()
    assert row.suspended_until is None
    assert datetime.fromisoformat(row.clocks["disposal"]["since"]) == until
    assert events(engine, no).count("resume") == 1


def test_what_ran_out_is_told_once_also_by_two_at_once(engine: Engine) -> None:
    numbers = []
    with engine.begin() as conn:
        for n in range(12):
            no = reported(conn, f"r{n}")
            back(conn, no, 1)
            numbers.append(no)
        fresh = reported(conn, "fresh")
    done: list[Any] = []
    threads = [threading.Thread(target=lambda: done.extend(keep_up(engine, clockwork))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(acted.case.no for _, acted in done) == numbers
    assert all(events(engine, no) == ["report", "escalate"] for no in numbers)
    assert events(engine, fresh) == ["report"]
    assert list(keep_up(engine, clockwork)) == []
    with engine.begin() as conn:  # the next clock is another one
        do(conn, numbers[0], "accept", person("acceptor"), condition_no=1)
        assert not conn.scalar(text("select escalated from cases.case where no = :no"), {"no": numbers[0]})


def test_a_round_says_what_it_did_and_each_case_is_what_its_events_tell(
    engine: Engine, template: City, tmp_path: Any
) -> None:
    from dataclasses import replace

    from tests.hamlet import HOME

    with engine.begin() as conn:
        reported(conn, "x")
        dispatched(conn, "y")
    city = replace(template, folder=HOME / "data" / "ankang")
    house = House(city=city, engine=engine, reading="open", photos=PhotoStore(tmp_path))
    (line,) = do_upkeep(house)[:1]
    assert "resumed 0, escalated 0" in line[0]
    (whole,) = unexplained(house)
    assert "0 are not" in whole[0]
    with engine.begin() as conn:
        conn.execute(text("update cases.case set reworks = 3 where no = (select max(no) from cases.case)"))
    told = list(unexplained(house))
    assert len(told) == 2
    assert "not what its events tell" in told[0][0]


def calendar(holidays: str = "") -> WorkCalendar:
    lines = [{"first_on": "2025-01-01", "last_on": "2027-12-31", "kind": "office", "hours": ""}]
    if holidays:
        first, _, last = holidays.partition("/")
        lines.append({"first_on": first, "last_on": last, "kind": "holiday", "hours": ""})
    hours = [("08:00", "12:00"), ("14:00", "18:00")]
    return WorkCalendar.from_lines(pd.DataFrame(lines), hours=hours, timezone="Asia/Shanghai")


def test_when_the_calendar_changes_running_deadlines_move_and_say_so(conn: Connection) -> None:
    conn.execute(text("select cases.ensure_partition(extract(year from now())::int)"))
    working, urgent = dispatched(conn, "w"), reported(conn, "u")
    assert move_deadlines(conn, CLOCKWORK.calendar, actor="t") == []
    before = conn.scalar(text("select clock_due_at from cases.case where no = :no"), {"no": working})
    today = datetime.now(UTC).date()
    holidays = f"{today - timedelta(days=1)}/{today + timedelta(days=30)}"
    (moved,) = move_deadlines(conn, calendar(holidays), actor="t")
    assert (moved.no, moved.from_at) == (working, before)
    assert moved.to_at > before + timedelta(days=20)
    row = conn.execute(text("select due_at, clock_due_at from cases.case where no = :no"), {"no": working}).one()
    assert row.due_at == row.clock_due_at == moved.to_at
    assert told_anew(conn, working)
    assert told_anew(conn, urgent)
    assert move_deadlines(conn, calendar(holidays), actor="t") == []


def test_imported_cases_get_the_clock_that_their_times_allow_and_no_other(conn: Connection) -> None:
    def imported(key: str, stage: str, **times: Any) -> int:
        columns = {"due_at": None, "dispatched_at": None, "disposed_at": None, **times}
        conn.execute(
            text(
                "insert into cases.report (channel, key, class_code, condition_no, x, y, srid, geom, reported_at, "
                "stage, due_at, dispatched_at, disposed_at, data_source) "
                "select channel, :key, 'E0102', 1, x, y, srid, geom, "
                "'2026-03-02 01:00+00', :stage, :due_at, :dispatched_at, :disposed_at, 'made up' "
                "from cases.report where key = 'good-1'"
            ),
            {"key": key, "stage": stage, **columns},
        )
        conn.execute(text("select cases.open_reports(10, 'test', 'hamlet')"))
        return int(conn.scalar(text("select case_no from cases.report where key = :key"), {"key": key}))

    at = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)
    known = imported("known", "dispatched", dispatched_at=at)
    due = imported("due", "dispatched", due_at=at + timedelta(days=2))
    waits = imported("waits", "reported")
    nothing = imported("nothing", "filed")
    done = imported("done", "closed", dispatched_at=at, disposed_at=at + timedelta(days=9))
    assert wind_imported(conn, CLOCKWORK, actor="test") == 4
    assert wind_imported(conn, CLOCKWORK, actor="test") == 0
    rows = {row.no: row for row in conn.execute(text("select * from served.case")).all()}
    clocks = dict(conn.execute(text("select no, clock from cases.case")).all())
    assert [clocks[no] for no in (known, due, waits, nothing, done)] == [
        "disposal",
        "disposal",
        "acceptance",
        None,
        None,
    ]
    assert rows[known].due_at == CLOCKWORK.calendar.due(at, 4 * 3600)
    assert rows[due].due_at == at + timedelta(days=2)
    assert rows[done].due_at == CLOCKWORK.calendar.due(at, 4 * 3600)
    assert rows[done].disposed_at > rows[done].due_at, "its real lateness"
    acts = text("select act, data from cases.event where case_no = :no order by seq")
    told = conn.execute(acts, {"no": known}).all()
    assert [row.act for row in told] == ["import", "import"]
    assert set(told[0].data["steps"]) == {"reported_at", "dispatched_at"}
    assert all(told_anew(conn, no) for no in (known, due, waits, nothing, done))


# ── the bell ────────────────────────────────────────


def test_desks_hear_that_a_case_changed(door: Door) -> None:
    heard: list[str] = []
    ready = threading.Event()

    def listen() -> None:
        with door.client("acceptor") as client, client.stream("GET", "/events") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            for line in stream.iter_lines():
                heard.append(line)
                if line == "event: again":
                    ready.set()
                if line.startswith("data: {") and "no" in line:
                    return

    thread = threading.Thread(target=listen)
    thread.start()
    assert ready.wait(20)
    no = door.post("/cases", report(), "channel-web").json()["no"]
    thread.join(20)
    assert not thread.is_alive()
    assert json.loads(heard[-1].removeprefix("data: ")) == {"no": no, "stage": "reported", "seq": 1}
