"""Laws of the workflow: the table and the database say the same, and no sequence of acts breaks what they promise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from cases import acts, case, clocks
from cases.acts import Case, Given, Person, UnitThere, allowed, consequences, hindrance, may
from cases.case import CLOCKS, ENDS, MOVES, OPEN, STAGES, SYSTEM, TABLE, moves_from
from cases.clocks import YELLOW, Clock, Limit
from cases.desk import act_by_clockwork
from gis.errors import WanmiError
from layers.accounts import ROLES
from tests.hands import CLOCKWORK, do, person, reported, stage_of
from tests.workflow_page import PAGE, filled

CALENDAR = CLOCKWORK.calendar
START = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)  # Monday, 09:00 in the city
#: Offices, festivals and made-up days of 2026.
MOMENTS = st.datetimes(datetime(2026, 1, 2), datetime(2026, 12, 1)).map(lambda at: at.replace(tzinfo=UTC))
UNITS = [UnitThere(1, "WEST"), UnitThere(2, "WATER"), UnitThere(3, "EAST")]


# ── the table ────────────────────────────────────────


def test_the_table_and_the_database_say_the_same(conn: Connection) -> None:
    rows = conn.execute(text("select from_stage, act, to_stage, role from cases.transition_role"))
    kept = {tuple(row) for row in rows}
    assert kept == {(m.from_stage, m.act, m.to_stage, role) for m in TABLE for role in m.roles}
    bare = conn.execute(text("select from_stage, act, to_stage from cases.transition"))
    assert {tuple(row) for row in bare} == {(m.from_stage, m.act, m.to_stage) for m in TABLE}
    stages = conn.execute(text("select code, name_en, name_zh, is_end from cases.stage"))
    assert {tuple(row) for row in stages} == {(code, *names, code in ENDS) for code, names in STAGES.items()}


def test_every_row_names_roles_acts_and_clocks_that_there_are() -> None:
    assert len({(m.from_stage, m.act, m.to_stage) for m in TABLE}) == len(TABLE)
    for move in TABLE:
        assert {move.from_stage, move.to_stage} <= set(STAGES)
        assert set(move.roles) <= {*ROLES, SYSTEM}
        assert move.act in case.ACTS
        assert {kind for _, kind in move.clocks} <= set(CLOCKS)
        assert move.from_stage not in ENDS or move.from_stage == move.to_stage


def test_a_backward_move_needs_its_reason() -> None:
    order = list(STAGES)
    for move in TABLE:
        back = order.index(move.to_stage) < order.index(move.from_stage)
        if back and move.act not in ("verify", "import") and move.to_stage not in ENDS:
            assert "reason" in move.needs, move


def test_from_every_open_stage_people_can_reach_an_end() -> None:
    for stage in OPEN:
        reached, queue = {stage}, [stage]
        while queue:
            following = {m.to_stage for m in moves_from(queue.pop())} - reached
            reached |= following
            queue += following
        assert reached & set(ENDS), stage


def test_the_diagram_has_every_move_between_stages() -> None:
    drawn = case.diagram()
    for (start, name), move in MOVES.items():
        if start != move.to_stage:
            assert f"--> {move.to_stage}: {name}" in drawn


# ── sequences of acts ────────────────────────────────────────


def fresh(at: datetime = START) -> Case:
    """A case that was just reported."""
    clock = Clock("running", 900.0, False, since=at)
    facts: dict[str, Any] = dict.fromkeys(Case.__dataclass_fields__)
    facts |= dict.fromkeys(("turn_backs", "reworks", "extensions", "suspensions"), 0)
    facts |= dict.fromkeys(("forced", "stood_in", "escalated"), False)
    return Case(
        **{
            **facts,
            "no": 20260302000001,
            "stage": "reported",
            "last_seq": 1,
            "acted_at": at,
            "reported_at": at,
            "edition": "hamlet",
            "class_code": "E0102",
            "condition_no": 1,
            "x": 0.0,
            "y": 0.0,
            "srid": 4545,
            "cell_code": "610999001001001",
            "area_class": "A",
            "unit_id": 1,
            "unit_code": "WEST",
            "assisting_ids": (),
            "basis": "territory",
            "clocks": {"acceptance": clock},
            "limit": Limit(4, "work_hour"),
        }
    )


def given_for(move: case.Move, data: st.DataObject, at: datetime) -> Given:
    """Something fit for an act."""
    unit = data.draw(st.sampled_from(UNITS)) if "unit" in move.brings else None
    return Given(
        reason="because",
        unit=unit,
        collector="K1",
        result="done",
        verdict=(case.VERDICTS.get(move.act) or (None,))[0],
        until=at + timedelta(days=data.draw(st.integers(1, 40))),
        link_to=20260302000002,
        limit=Limit(4, "work_hour"),
        corrected={} if move.act == "correct" else None,
    )


@settings(max_examples=150, derandomize=True)
@given(data=st.data())
def test_whatever_happens_one_clock_runs_at_most_and_the_centres_cost_a_unit_nothing(data: st.DataObject) -> None:
    now = START
    standing = fresh()
    steps = 0.0
    for _ in range(data.draw(st.integers(1, 30))):
        later = now + timedelta(seconds=data.draw(st.integers(0, 200_000)))
        possible = [
            m
            for (start, _), m in MOVES.items()
            if start == standing.stage and hindrance(m, standing, later, CALENDAR) is None
        ]
        if not possible:
            break
        move = data.draw(st.sampled_from(possible))
        after = consequences(move, standing, given_for(move, data, later), later, CALENDAR, clocks.SMALL_S)
        running = [kind for kind, clock in after.case.clocks.items() if clock.since is not None]
        assert len(running) <= 1
        assert after.case.stage == move.to_stage
        if standing.stage != "dispatched":
            for kind, clock in standing.clocks.items():
                if kind.startswith("disposal"):
                    twin = next((c for c in after.case.clocks.values() if c.unit == clock.unit), None)
                    assert twin is None or twin.used_s <= clock.used_s, "time in the centres counts against nobody"
        if after.case.stage in ENDS:
            assert not running
        if running == ["disposal"]:
            assert after.case.stage == "dispatched"
        if move.act == "resume":
            assert after.case.clocks["disposal"].since == standing.suspended_until
        steps += CALENDAR.elapsed(now, later)
        standing, now = after.case, later
    assert steps == pytest.approx(CALENDAR.elapsed(START, now)), "worked time of the steps adds up"


def test_the_same_unit_gets_what_was_left_and_another_one_the_whole_limit() -> None:
    limit, other = clocks.disposal_clock("A", Limit(8, "work_hour"), CALENDAR), Limit(1, "urgent_hour")
    first = clocks.wind({}, MOVES["filed", "dispatch"], START, CALENDAR, clocks.SMALL_S, limit)
    back = clocks.wind(
        first, MOVES["dispatched", "turn_back"], START + timedelta(hours=2), CALENDAR, clocks.SMALL_S, None
    )
    assert back["disposal"].used_s == 2 * 3600
    later = START + timedelta(days=1)
    again = clocks.wind(back, MOVES["filed", "dispatch"], later, CALENDAR, clocks.SMALL_S, limit)
    assert again["disposal"].reaches(1.0, CALENDAR) == CALENDAR.due(later, 6 * 3600).to_pydatetime()
    new = clocks.disposal_clock("B", other, CALENDAR)
    over = clocks.wind(back, MOVES["filed", "dispatch"], later, CALENDAR, clocks.SMALL_S, new)
    assert over["disposal"].reaches(1.0, CALENDAR) == later + timedelta(hours=1)
    assert over["disposal:A"].used_s == 2 * 3600


# ── lights ────────────────────────────────────────


@given(
    at=MOMENTS,
    hours=st.floats(0.1, 80),
    used=st.floats(0, 1),
    works=st.booleans(),
)
def test_a_light_changes_at_80_and_beyond_100_per_cent_of_the_limit(
    at: datetime, hours: float, used: float, works: bool
) -> None:
    allowed_s = round(hours * 3600)
    clock = Clock("running", allowed_s, works, used_s=round(used * allowed_s * 0.7), since=at)
    yellow, due = clock.reaches(YELLOW, CALENDAR), clock.reaches(1.0, CALENDAR)
    assert yellow is not None
    assert due is not None
    assert at <= yellow <= due
    tick = timedelta(milliseconds=2)
    assert clock.light(yellow + tick, CALENDAR) in ("yellow", "red")
    assert clock.light(due, CALENDAR) == "yellow"
    assert clock.light(yellow - tick, CALENDAR) == "green"
    # beyond: as soon as it counts again (a deadline at closing time is passed when the office opens)
    assert clock.light(CALENDAR.due(due, 1).to_pydatetime() if works else due + tick, CALENDAR) == "red"
    stood = clock.stands(due, CALENDAR, "paused")
    assert stood.used_s == pytest.approx(allowed_s)
    assert clocks.read_clocks({"x": clock.as_json()})["x"] == clock
    assert clocks.read_clocks({"x": stood.as_json()})["x"] == stood


# ── who ────────────────────────────────────────


@given(
    stage=st.sampled_from([s for s in STAGES if s != "none"]),
    roles=st.sets(st.sampled_from([*ROLES, SYSTEM]), max_size=4),
    leads=st.booleans(),
    own=st.booleans(),
)
def test_nobody_is_allowed_what_the_table_does_not_give_a_role_of_theirs(
    stage: str, roles: set[str], leads: bool, own: bool
) -> None:
    standing = replace(fresh(), stage=stage, collector_code="K1")
    who = Person(name="x", roles=frozenset(roles), leads=leads, assists=False, collector_code="K1" if own else "K2")
    for move in allowed(standing, who, START, CALENDAR):
        role = may(move, standing, who)
        assert role in roles & set(move.roles)
        assert role != "unit" or leads
        assert role != "collector" or own


# ── in the database ────────────────────────────────────────

PHOTO = "cd" * 32
PEOPLE = [
    *(person(role) for role in ("acceptor", "duty_chief", "dispatcher", "leader", "planner")),
    person("collector", collector="K1"),
    person("collector", collector="K2"),
    person("unit", unit="WEST"),
    person("unit", unit="WATER"),
    person("district_dispatcher", unit="DISTRICT"),
]


@contextmanager
def walk(conn: Connection) -> Iterator[None]:
    """What happens inside is taken back."""
    inside = conn.begin_nested()
    try:
        conn.execute(
            text(
                "insert into cases.photo (sha256, media_type, width, height, bytes, uploaded_by) "
                "values (:sha, 'image/jpeg', 4, 3, 9, 'x') on conflict do nothing"
            ),
            {"sha": PHOTO},
        )
        yield
    finally:
        inside.rollback()


def brought_for(name: str, data: st.DataObject) -> dict[str, Any]:
    """What an act needs, now and then with something missing or too much."""
    unit = data.draw(st.sampled_from(["WEST", "WATER", "EAST", "NOBODY"]))
    all_of = {
        "reason": "because",
        "unit": unit,
        "verdict": (case.VERDICTS.get(name) or ("same",))[0],
        "result": "done",
        "until": datetime.now(UTC) + timedelta(days=3),
        "case": 20260302000001,
        "photos": (("after", PHOTO), ("check", PHOTO)),
        "condition_no": data.draw(st.sampled_from([1, 2])),
    }
    needs = {"condition_no" if n == "condition" else n for n in (*case.NEEDS.get(name, ()),)}
    needs |= {"accept": {"condition_no"}, "correct": {"condition_no"}, "report_check": {"photos"}}.get(name, set())
    kept = {key: value for key, value in all_of.items() if key in needs}
    if kept and data.draw(st.integers(0, 9)) == 0:
        kept.pop(next(iter(kept)))
    return kept


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_any_sequence_of_acts_by_anybody_keeps_the_case_as_its_events_tell(
    conn: Connection, data: st.DataObject
) -> None:
    names = sorted({name for _, name in MOVES if name not in ("report", "self_dispose", "link", "unlink")})
    with walk(conn):
        no = reported(conn, "walk")
        for _ in range(data.draw(st.integers(3, 25))):
            stage = stage_of(conn, no)
            before = row_of(conn, no)
            people = [p for p in PEOPLE if data.draw(st.integers(0, 4)) == 0] or PEOPLE
            fit = [(m, p) for m in moves_from(stage) for p in people if p.roles & set(m.roles) and m.act in names]
            if fit and data.draw(st.integers(0, 3)):
                move, who = data.draw(st.sampled_from(fit))
                name = move.act
            else:
                name, who = data.draw(st.sampled_from(names)), data.draw(st.sampled_from(PEOPLE))
            try:
                with conn.begin_nested():
                    done = do(conn, no, name, who, **brought_for(name, data))
            except WanmiError:
                assert row_of(conn, no) == before, "what is refused writes nothing"
            else:
                row = conn.execute(
                    text("select actor, role, act, from_stage from cases.event where case_no = :no order by seq desc"),
                    {"no": no},
                ).first()
                assert row is not None
                if not done.again:
                    assert (row.act, row.from_stage) == (name, stage)
                    assert row.role in who.roles
                    assert row.role in MOVES[stage, name].roles
            act_by_clockwork(conn, no, "escalate", clockwork=CLOCKWORK, actor="wanmi upkeep", reason="it ran out")
            act_by_clockwork(conn, no, "resume", clockwork=CLOCKWORK, actor="wanmi upkeep", reason="its end has come")
            conn.execute(text("set constraints all immediate"))
            conn.execute(text("set constraints all deferred"))
            assert told_anew(conn, no)


def row_of(conn: Connection, no: int) -> Any:
    return conn.scalar(text("select to_jsonb(c) from cases.case c where no = :no"), {"no": no})


def told_anew(conn: Connection, no: int) -> bool:
    """Whether the events give the row of the case exactly."""
    asked = "select to_jsonb(c) = to_jsonb(cases.replay(c.no)) from cases.case c where no = :no"
    return bool(conn.scalar(text(asked), {"no": no}))


def test_every_case_of_the_hamlet_is_told_anew_also_the_imported_ones(conn: Connection) -> None:
    for no in conn.scalars(text("select no from cases.case")).all():
        assert told_anew(conn, no)
    conn.execute(text("update cases.case set reworks = 7 where no = (select min(no) from cases.case)"))
    assert not told_anew(conn, conn.scalar(text("select min(no) from cases.case")))


def test_a_role_that_may_not_cannot_be_written_past_the_table_by_hand(conn: Connection) -> None:
    no = reported(conn, "by hand")
    statement = text(
        "insert into cases.event (case_no, seq, actor, role, from_stage, act, to_stage) "
        "values (:no, 2, 'x', :role, 'reported', 'accept', 'accepted')"
    )
    for role in ("dispatcher", "unit", None):
        with pytest.raises(Exception, match="event"), conn.begin_nested():
            conn.execute(statement, {"no": no, "role": role})
    with conn.begin_nested() as inside:
        conn.execute(statement, {"no": no, "role": "acceptor"})
        inside.rollback()


def test_the_rules_of_acts_are_for_acts_that_there_are() -> None:
    assert set(acts._MORE) | set(acts._ASKED) | set(acts._SIMPLE) <= set(case.ACTS)
    assert set(case.NEEDS) | set(case.MAY_BRING) <= {name for _, name in MOVES}


def test_the_page_about_the_workflow_has_the_tables_as_they_are() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page) == page, "python -m tests.workflow_page writes them"
