"""The schema guards itself: what must not be cannot be written, not even by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg.errors as pg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

NO = 20260302900001
APPEND = text(
    "insert into cases.event (case_no, seq, actor, from_stage, act, to_stage, role) "
    "values (:no, :seq, 'test', :from_stage, :act, :to_stage, coalesce((select min(role) from cases.transition_role "
    "where (from_stage, act, to_stage) = (:from_stage, :act, :to_stage)), 'nobody'))"
)


@contextmanager
def refused(conn: Connection, *kinds: type[Exception]) -> Iterator[None]:
    """What happens inside is refused by PostgreSQL with one of these errors; the transaction goes on."""
    with pytest.raises(DBAPIError) as caught, conn.begin_nested():  # noqa: PT012
        yield
        conn.execute(text("set constraints all immediate"))
    assert isinstance(caught.value.orig, kinds), caught.value.orig


def put_case(conn: Connection, *, no: int = NO, stage: str = "reported", last_seq: int = 1, **changes: Any) -> None:
    """Write a case by hand, like one of the hamlet's but for what is given."""
    columns = "channel, edition, class_code, geom, reported_at, cell_id, placed, placed_m, unit_id, basis, resolved_by"
    given = {"no": no, "stage": stage, "last_seq": last_seq, **changes}
    kept = [name for name in f"{columns}, data_source".split(", ") if name not in given]
    conn.execute(
        text(
            f"insert into cases.case ({', '.join([*given, *kept])}) "
            f"select {', '.join([*(f':{name}' for name in given), *kept])} from cases.case order by no limit 1"
        ),
        given,
    )


def append(conn: Connection, seq: int, from_stage: str, act: str, to_stage: str, no: int = NO) -> None:
    conn.execute(APPEND, {"no": no, "seq": seq, "from_stage": from_stage, "act": act, "to_stage": to_stage})


def move(conn: Connection, seq: int, from_stage: str, act: str, to_stage: str) -> None:
    """Take a step as a desk would: the event, and the case's stage after it."""
    append(conn, seq, from_stage, act, to_stage)
    conn.execute(
        text("update cases.case set stage = :stage, last_seq = :seq where no = :no"),
        {"stage": to_stage, "seq": seq, "no": NO},
    )
    conn.execute(text("set constraints all immediate"))
    conn.execute(text("set constraints all deferred"))


@pytest.fixture
def reported(conn: Connection) -> Connection:
    """A connection with the case NO, which has been reported."""
    put_case(conn)
    append(conn, 1, "none", "report", "reported")
    conn.execute(text("set constraints all immediate"))
    conn.execute(text("set constraints all deferred"))
    return conn


# ── the three keys of the workflow ────────────────────────────────────────


def test_the_straight_way_through_the_seven_stages_is_open(reported: Connection) -> None:
    way = "reported accept accepted file filed dispatch dispatched dispose disposed feed_back awaiting_check ask_check "
    words = (way + "checking report_check checked close closed").split()
    for seq, place in enumerate(range(0, len(words) - 2, 2), start=2):
        move(reported, seq, *words[place : place + 3])
    assert reported.scalar(text("select stage from cases.case where no = :no"), {"no": NO}) == "closed"


def test_a_step_that_the_table_does_not_have_is_refused(reported: Connection) -> None:
    for step in [("reported", "close", "closed"), ("reported", "accept", "filed"), ("reported", "sing", "reported")]:
        with refused(reported, pg.ForeignKeyViolation):
            append(reported, 2, *step)


def test_an_accepted_case_cannot_be_closed_though_both_steps_are_in_the_table(reported: Connection) -> None:
    move(reported, 2, "reported", "accept", "accepted")
    with refused(reported, pg.ForeignKeyViolation):
        append(reported, 3, "checked", "close", "closed")


def test_a_gap_in_the_numbers_is_refused(reported: Connection) -> None:
    with refused(reported, pg.ForeignKeyViolation):
        append(reported, 3, "reported", "accept", "accepted")


def test_two_events_cannot_have_one_number_and_no_case_begins_twice(reported: Connection) -> None:
    with refused(reported, pg.UniqueViolation):
        append(reported, 1, "none", "self_dispose", "self_disposed")
    with refused(reported, pg.CheckViolation):
        append(reported, 2, "none", "report", "reported")


def test_a_first_event_begins_at_none(conn: Connection) -> None:
    put_case(conn, stage="accepted")
    with refused(conn, pg.CheckViolation):
        append(conn, 1, "reported", "accept", "accepted")


@pytest.mark.parametrize("numbers", [(0, None), (-1, None)])
def test_numbers_of_events_begin_at_one(conn: Connection, numbers: tuple[int, None]) -> None:
    put_case(conn)
    with refused(conn, pg.CheckViolation):
        append(conn, numbers[0], "none", "report", "reported")


@pytest.mark.parametrize("change", ["stage = 'accepted'", "last_seq = 2", "stage = 'closed', last_seq = 7"])
def test_a_case_that_disagrees_with_its_last_event_is_refused_at_commit(reported: Connection, change: str) -> None:
    with refused(reported, pg.ForeignKeyViolation):
        reported.execute(text(f"update cases.case set {change} where no = :no"), {"no": NO})


def test_a_case_without_an_event_and_an_event_without_a_case_are_refused_at_commit(conn: Connection) -> None:
    with refused(conn, pg.ForeignKeyViolation):
        put_case(conn)
    with refused(conn, pg.ForeignKeyViolation):
        append(conn, 1, "none", "report", "reported")


def test_commit_itself_refuses_a_case_ahead_of_its_events(hamlet_engine: Any) -> None:
    with pytest.raises(DBAPIError) as caught, hamlet_engine.begin() as conn:
        put_case(conn)
    assert isinstance(caught.value.orig, pg.ForeignKeyViolation)


@pytest.mark.parametrize(
    "statement",
    [
        "update cases.event set note = 'better' where case_no = :no",
        "delete from cases.event where case_no = :no",
        "update cases.event_2026 set note = 'better' where case_no = :no",
        "delete from cases.event_2026 where case_no = :no",
    ],
)
def test_events_are_never_changed_or_taken_away(reported: Connection, statement: str) -> None:
    with pytest.raises(DBAPIError) as caught, reported.begin_nested():
        reported.execute(text(statement), {"no": NO})
    assert getattr(caught.value.orig, "sqlstate", None) == "WM409"
    assert "append-only | 事件只能追加" in str(caught.value.orig)


def transitions(conn: Connection) -> dict[str, list[tuple[str, str, str]]]:
    rows = conn.execute(text("select from_stage, act, to_stage from cases.transition order by 1, 2, 3"))
    found: dict[str, list[tuple[str, str, str]]] = {}
    for row in rows:
        found.setdefault(row.from_stage, []).append(tuple(row))
    return found


@hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_any_walk_of_allowed_steps_is_accepted_and_every_other_step_is_refused(
    conn: Connection, data: st.DataObject
) -> None:
    allowed = transitions(conn)
    steps = [step for several in allowed.values() for step in several]
    stages = sorted({step[2] for step in steps})
    acts = sorted({step[1] for step in steps})
    anything = st.tuples(st.sampled_from(stages), st.sampled_from(acts), st.sampled_from(stages)) | st.sampled_from(
        steps
    )
    walk = conn.begin_nested()
    try:
        first = data.draw(st.sampled_from(allowed["none"]))
        put_case(conn, stage=first[2])
        append(conn, 1, *first)
        stage = first[2]
        for seq in range(2, 2 + data.draw(st.integers(0, 12))):
            strange = data.draw(anything)
            if strange not in allowed[stage]:
                with refused(conn, pg.ForeignKeyViolation, pg.CheckViolation):
                    append(conn, seq, *strange)
            step = data.draw(st.sampled_from(allowed[stage]))
            move(conn, seq, *step)
            stage = step[2]
    finally:
        walk.rollback()


def test_from_every_stage_an_end_can_be_reached_and_from_an_end_no_other_stage(conn: Connection) -> None:
    allowed = transitions(conn)
    ends = set(conn.scalars(text("select code from cases.stage where is_end")))
    stages = set(conn.scalars(text("select code from cases.stage")))
    assert ends == {"closed", "refused", "void"}
    for stage in stages:
        reached, queue = {stage}, [stage]
        while queue:
            following = {to for _, _, to in allowed.get(queue.pop(), [])} - reached
            reached |= following
            queue += following
        assert reached == {stage} if stage in ends else reached & ends
        assert stage == "none" or "none" not in reached


def test_every_stage_can_be_reached_by_people_not_only_by_import(conn: Connection) -> None:
    rows = transitions(conn)
    reached, queue = {"none"}, ["none"]
    while queue:
        following = {to for _, act, to in rows.get(queue.pop(), []) if act != "import"} - reached
        reached |= following
        queue += following
    assert reached == set(conn.scalars(text("select code from cases.stage")))


# ── versions ────────────────────────────────────────

VERSIONED = {
    "grids.area": "code = '610999'",
    "grids.cell": "code = '610999001001001'",
    "grids.responsibility": "code = 'R1'",
    "layers.component": "code = '6109990101000001'",
    "cases.rule": "code = 'W1'",
}


def written(conn: Connection, table: str, valid: str) -> None:
    """Write a version of a row that is there, holding in ``valid``."""
    columns = conn.scalars(
        text(
            "select attname from pg_attribute where attrelid = cast(:table as regclass) and attnum > 0 "
            "and not attisdropped and attgenerated = '' and attidentity = '' "
            "and attname not in ('valid', 'ended_change_id')"
        ),
        {"table": table},
    ).all()
    names = ", ".join(columns)
    ended = ("", "")
    if table == "layers.component":
        ended = ", ended_change_id", ", case when not upper_inf(cast(:valid as tstzrange)) then change_id end"
    conn.execute(
        text(
            f"insert into {table} ({names}, valid{ended[0]}) select {names}, cast(:valid as tstzrange){ended[1]} "
            f"from {table} where {VERSIONED[table]} limit 1"
        ),
        {"valid": valid},
    )


@pytest.mark.parametrize("table", list(VERSIONED))
def test_two_versions_of_one_code_never_hold_at_once(conn: Connection, table: str) -> None:
    for valid in ("[2026-06-01,)", "(,)", "[2025-01-01, 2026-02-01)"):
        with refused(conn, pg.ExclusionViolation):
            written(conn, table, valid)
    written(conn, table, "[2025-01-01, 2025-06-01)")
    written(conn, table, "[2025-06-01, 2025-12-31)")  # half-open: one begins where the other ends
    with refused(conn, pg.ExclusionViolation):
        written(conn, table, "[2025-05-31, 2025-06-02)")


@pytest.mark.parametrize("table", [*VERSIONED, "grids.barrier"])
def test_a_version_that_never_held_is_refused(conn: Connection, table: str) -> None:
    with refused(conn, pg.CheckViolation):
        conn.execute(text(f"update {table} set valid = 'empty'"))
    with refused(conn, pg.CheckViolation):
        conn.execute(text(f"update {table} set valid = '[2026-06-01, 2026-06-01)'"))


# ── shapes, codes, values ────────────────────────────────────────

CELL = (
    "insert into grids.cell (code, geom, valid, change_id) "
    "select '610999001001099', {shape}, '(,)', min(id) from gis.change"
)
SQUARE = "((0 0, 1 0, 1 1, 0 1, 0 0))"


@pytest.mark.parametrize(
    "shape",
    [
        f"st_geomfromtext('MULTIPOLYGON({SQUARE})', 4545)",
        f"st_geomfromtext('POLYGON{SQUARE}', 4549)",
        "st_geomfromtext('POINT(0 0)', 4545)",
        "null",
    ],
)
def test_a_cell_is_one_polygon_in_the_citys_system(conn: Connection, shape: str) -> None:
    with refused(conn, pg.InvalidParameterValue, pg.NotNullViolation):
        conn.execute(text(CELL.format(shape=shape)))
    conn.execute(text(CELL.format(shape=f"st_geomfromtext('POLYGON{SQUARE}', 4545)")))


@pytest.mark.parametrize(
    "statement",
    [
        "insert into layers.class (edition, code, name_zh, name_en) values ('hamlet', '0101', 'x', 'x')",
        "insert into layers.class (edition, code, name_zh, name_en) values ('hamlet', 'X0101', 'x', 'x')",
        "insert into layers.class (edition, code, name_zh, name_en) values ('hamlet', 'E01', 'x', 'x')",
        "insert into layers.class (edition, code, name_zh, name_en) values ('hamlet', 'C0102', 'x', 'x')",
        "insert into layers.class (edition, code, name_zh, name_en, geometry_type) "
        "values ('hamlet', 'E0103', 'x', 'x', 'Point')",
        "insert into layers.class (edition, code, name_zh, name_en) values ('hamlet', 'E0903', 'x', 'x')",
        "insert into layers.major values ('hamlet', '01', 'x', 'x')",
        "update layers.component set class_code = 'E0102'",
        "update layers.component set code = '61099901010000'",
        "update layers.component set state = 'fine'",
        "update layers.condition set no = 0",
        "update layers.time_limit set basis = 'fortnight'",
        "update layers.time_limit set value = 0",
        "update layers.unit set area_code = '610999' where code in ('WEST', 'EAST')",
        "update grids.cell set code = '6109990010010AB'",
        "update grids.area set code = '61099'",
        "update grids.barrier set width_m = 0",
        "update grids.city set tolerance_m = -1",
        "insert into grids.city select 'other', true, name_zh, name_en, timezone, simulated, attribution, tolerance_m, "
        "border_tolerance_m, profile, findings, loaded_at from grids.city",
        "update cases.rule set class_prefix = '01'",
        "update cases.rule set class_prefix = 'C010'",
        "update cases.rule set area_prefix = 'here'",
        "update cases.rule_role set unit_id = null where resolved_by = 'unit'",
        "update cases.rule_role set resolved_by = 'mayor'",
        "update cases.case set no = 20260302",
        "update cases.case set channel = 'gossip'",
        "update cases.case set placed = 'somewhere'",
        "update cases.case set unit_id = null",
        "update cases.case set border_m = 3, border_code = null",
        "update cases.case set condition_no = 99",
        "update cases.report set refusal = 'outside' where case_no is not null",
    ],
)
def test_a_value_that_cannot_be_is_refused(conn: Connection, statement: str) -> None:
    with refused(conn, pg.IntegrityError):
        conn.execute(text(statement))


def test_a_code_carries_its_kind_its_major_class_and_its_areas(conn: Connection) -> None:
    classes = conn.execute(
        text("select code, kind, major_code from layers.class where edition = 'hamlet' order by code")
    ).all()
    assert [tuple(row) for row in classes][1:3] == [("C0137", "component", "C01"), ("E0101", "event", "E01")]
    areas = conn.execute(text("select code, level, parent_code from grids.area order by code")).all()
    assert [tuple(row) for row in areas][:4] == [
        ("6109", "city", None),
        ("610999", "district", "6109"),
        ("610999001", "street", "610999"),
        ("610999001001", "community", "610999001"),
    ]
    cell = conn.execute(text("select community_code, area_m2 from grids.cell where code = '610999001001001'")).one()
    assert tuple(cell) == ("610999001001", 10_000.0)


def test_a_report_is_received_once_a_channel(conn: Connection) -> None:
    columns = "key, stage, data_source"
    with refused(conn, pg.UniqueViolation):
        conn.execute(text(f"insert into cases.report (channel, {columns}) select channel, {columns} from cases.report"))
    conn.execute(text(f"insert into cases.report (channel, {columns}) select 'web', {columns} from cases.report"))


# ── partitions ────────────────────────────────────────


@pytest.mark.parametrize(
    ("condition", "partition"),
    [
        ("no = 20260302000001", "case_2026"),
        ("no between 20270101000000 and 20271231999999", "case_2027"),
        ("no >= 20251224000000 and no < 20260000000000", "case_2025"),
    ],
)
def test_a_number_and_a_span_of_dates_are_looked_for_in_their_year_only(
    conn: Connection, condition: str, partition: str
) -> None:
    for year in (2025, 2026, 2027, 2027):
        conn.execute(text("select cases.ensure_partition(:year)"), {"year": year})
    plan = "\n".join(conn.scalars(text(f"explain select * from cases.case where {condition}")))
    assert {name for name in ("case_2025", "case_2026", "case_2027") if name in plan} == {partition}


def test_a_case_of_a_year_without_a_partition_is_refused_until_it_is_made(conn: Connection) -> None:
    changes = {"no": 20310101000001, "stage": "reported", "reported_at": "2031-01-01T00:00:00Z"}
    with refused(conn, pg.CheckViolation):
        put_case(conn, **changes)
    conn.execute(text("select cases.ensure_partition(2031)"))
    put_case(conn, **changes)
    append(conn, 1, "none", "report", "reported", no=changes["no"])
    conn.execute(text("set constraints all immediate"))
    assert conn.scalar(text("select count(*) from cases.case_2031")) == 1
    assert conn.scalar(text("select count(*) from cases.event_2031")) == 1
