"""Publishing a grid with all that follows: no component and no open case is lost; the past stays as it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from shapely import LineString
from sqlalchemy import Connection, Engine, text

import api.publishing
from api.publishing import Published, publish_grid, report_lines
from cases.reports import Report, open_case
from gis.db import Access
from gis.errors import Conflict, Invalid, NotFound
from gis.place import Place
from grids.city import City
from grids.edit import merge, move_border, open_draft, put_cells, read_draft, recode, show_draft, split
from grids.editions import UnsoundGrid
from tests.conftest import copied
from tests.hamlet import COMMUNITIES, SRID, at

WEST = "610999001001"
A, B, C, D = (f"{WEST}00{n}" for n in (1, 2, 3, 4))


def line(*points: tuple[float, float]) -> LineString:
    return LineString([at(*point) for point in points])


def reported(conn: Connection, east_m: float, north_m: float, class_code: str = "E0102") -> int:
    """An open case at a place."""
    x, y = at(east_m, north_m)
    report = Report(
        channel="web",
        key=f"{east_m} {north_m} {class_code} {conn.scalar(text('select nextval(:s)'), {'s': 'cases.serial'})}",
        class_code=class_code,
        condition_no=None,
        component_code=None,
        x=x,
        y=y,
        srid=SRID,
        here=Place(x, y, SRID),
        accuracy_m=None,
        address=None,
        description=None,
        data_source="made up",
    )
    opened = open_case(conn, report, actor="test", role="collector", acceptance_s=900)
    assert opened.no is not None
    return opened.no


def case(conn: Connection, no: int) -> Any:
    return conn.execute(
        text(
            "select c.*, k.code as cell_code, upper_inf(k.valid) as is_now from cases.case c "
            "join grids.cell k on k.id = c.cell_id where c.no = :no"
        ),
        {"no": no},
    ).one()


def everything(conn: Connection) -> list[Any]:
    """All rows that publishing may touch."""
    tables = ["gis.change", "grids.cell", "grids.edition", "grids.draft_cell", "grids.draft_community", "grids.lineage"]
    tables += ["grids.responsibility", "grids.responsibility_cell", "layers.component", "cases.case", "cases.event"]
    return [conn.execute(text(f"select t::text from {table} t order by 1")).all() for table in tables]


@pytest.fixture
def draft(conn: Connection) -> int:
    """A draft of the south-western community in which A is split in a north and a south half."""
    number = open_draft(conn, [WEST], actor="test", note="north and south")
    split(conn, number, A, line((-1, 150), (101, 150)), actor="test")
    return number


# ── laws ────────────────────────────────────────


@hypothesis_settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_after_publishing_every_component_and_open_case_lies_in_its_cell(conn: Connection, data: st.DataObject) -> None:
    walk = conn.begin_nested()
    try:
        spots = data.draw(st.lists(st.tuples(st.integers(-10, 410), st.integers(-10, 410)), min_size=5, max_size=25))
        numbers = [reported(conn, *spot) for spot in spots]
        conn.execute(
            text(
                "insert into layers.component (code, edition, class_code, cell_code, state, data_source, geom, valid, "
                "change_id) select '6109990101' || lpad((:n)::text, 6, '0'), edition, class_code, (select a.cell_code "
                "from cases.assign(array[st_setsrid(st_makepoint(:x, :y), 4545)], array['E0102'], array[null::int], "
                "array[null]) a where a.placed = 'inside'), state, data_source, "
                "st_setsrid(st_makepoint(:x, :y), 4545), "
                "valid, change_id from layers.component where code = '6109990101000001'"
            ),
            [{"n": n, "x": at(*spot)[0], "y": at(*spot)[1]} for n, spot in enumerate(spots, start=100)],
        )
        closed = conn.execute(text("select no, cell_id from cases.case where stage = 'closed' order by no")).all()
        number = open_draft(conn, list(COMMUNITIES), actor="law")
        for _ in range(data.draw(st.integers(1, 4))):
            cells = read_draft(conn, number)
            row = data.draw(st.integers(0, len(cells) - 1))
            middle = np.array(cells.geometry[row].centroid.coords[0])
            turn = data.draw(st.floats(0, np.pi))
            reach = 300 * np.array([np.cos(turn), np.sin(turn)])
            beside = [
                code
                for code, shape in zip(cells["code"], cells.geometry, strict=True)
                if code[:12] == cells["code"][row][:12] and shape.intersection(cells.geometry[row]).length > 1
            ]
            try:
                if data.draw(st.booleans()):
                    split(conn, number, cells["code"][row], LineString([middle - reach, middle + reach]), actor="law")
                else:
                    merge(conn, number, [cells["code"][row], data.draw(st.sampled_from(beside))], actor="law")
            except (Invalid, NotFound):
                continue
        try:
            report = publish_grid(conn, number, actor="law")
        except UnsoundGrid:
            return
        assert report.components_after == report.components_before
        assert report.open_cases_after == report.open_cases_before
        assert not report.components_lost
        assert not report.cases_lost
        astray = text(
            "select count(*) from layers.component k left join grids.cell c on c.code = k.cell_code and "
            "upper_inf(c.valid) where upper_inf(k.valid) and (k.cell_code is null and exists (select from grids.cell o "
            "where upper_inf(o.valid) and st_covers(o.geom, k.geom)) or k.cell_code is not null and (c.code is null or "
            "not st_dwithin(c.geom, k.geom, 0.01)))"
        )
        assert conn.scalar(astray) == 0
        for no in numbers:
            found = case(conn, no)
            assert found.is_now
            again = conn.execute(
                text(
                    "select a.* from cases.case c, cases.assign(array[c.geom], array[c.class_code], "
                    "array[c.condition_no], array[c.component_code]) a where c.no = :no"
                ),
                {"no": no},
            ).one()
            for name in ("cell_id", "placed", "border_code", "unit_id", "basis", "rule_id"):
                assert getattr(found, name) == getattr(again, name), name
            assert found.border_m == pytest.approx(again.border_m)
        assert (
            conn.execute(text("select no, cell_id from cases.case where stage = 'closed' order by no")).all() == closed
        )
        conn.execute(text("set constraints all immediate"))
    finally:
        walk.rollback()


def test_a_dry_run_reports_what_would_be_and_leaves_everything_as_it_was(conn: Connection, draft: int) -> None:
    reported(conn, 50, 180)
    before = everything(conn)
    dry = publish_grid(conn, draft, actor="test", commit=False)
    assert everything(conn) == before
    real = publish_grid(conn, draft, actor="test")
    assert (dry.committed, real.committed) == (False, True)
    for name in ("components", "cases", "counts", "open_cases_after", "components_after"):
        assert getattr(dry, name) == getattr(real, name), name
    assert [cell.code for cell in dry.cells] == [cell.code for cell in real.cells]


@pytest.mark.parametrize("broken", ["replace_cells", "reassign", "rules_naming"])
def test_a_failure_in_the_middle_leaves_nothing(
    conn: Connection, draft: int, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    reported(conn, 50, 180)
    before = everything(conn)

    def fail(*arguments: object, **named: object) -> None:
        raise Conflict("stopped", "中断")

    monkeypatch.setattr(api.publishing, broken, fail)
    with pytest.raises(Conflict):
        publish_grid(conn, draft, actor="test")
    assert everything(conn) == before


# ── what follows ────────────────────────────────────────


def test_open_cases_follow_with_an_event_and_closed_ones_stay(conn: Connection, draft: int) -> None:
    north, south, far = reported(conn, 50, 180), reported(conn, 50, 120), reported(conn, 350, 50)
    old = conn.execute(
        text("select c.no, c.cell_id, c.last_seq from cases.case c where stage = 'closed' order by no")
    ).all()
    report = publish_grid(conn, draft, actor="editor")
    assert case(conn, north).cell_code == f"{WEST}005"
    assert case(conn, south).cell_code == f"{WEST}006"
    assert case(conn, far).last_seq == 1
    assert {(moved.no, moved.from_code, moved.to_code) for moved in report.cases if moved.noted} == {
        (north, A, f"{WEST}005"),
        (south, A, f"{WEST}006"),
    }
    event = conn.execute(text("select * from cases.event where case_no = :no and seq = 2"), {"no": north}).one()
    assert (event.act, event.from_stage, event.to_stage, event.actor) == ("assign", "reported", "reported", "editor")
    assert event.data == {"edition": draft, "from_cell": A, "to_cell": f"{WEST}005"}
    assert event.unit_id == case(conn, north).unit_id
    now = conn.execute(text("select c.no, c.cell_id, c.last_seq from cases.case c where stage = 'closed' order by no"))
    assert now.all() == old
    assert any(row.cell_id == report.cells[0].old_id for row in old), "one of them lies in the cell that was split"
    conn.execute(text("set constraints all immediate"))


def test_components_follow_without_history(conn: Connection) -> None:
    draft = open_draft(conn, [WEST], actor="test")
    move_border(conn, draft, C, D, line((40, -1), (40, 101)), actor="test")
    report = publish_grid(conn, draft, actor="test")
    assert [(moved.code, moved.from_code, moved.to_code) for moved in report.components] == [("6109990101000001", C, D)]
    versions = conn.scalar(text("select count(*) from layers.component where code = '6109990101000001'"))
    assert versions == 1


def test_a_case_whose_unit_hangs_on_the_cell_gets_the_unit_of_the_new_one(conn: Connection, draft: int) -> None:
    conn.execute(
        text(
            "insert into layers.unit (code, name_zh, name_en, kind, area_code) "
            "values ('BODY', '某单位', 'Body', 'owner', :cell)"
        ),
        {"cell": A},
    )
    conn.execute(text("update cases.rule set area_prefix = :cell where code = 'G3' and upper_inf(valid)"), {"cell": A})
    conn.execute(text("update cases.rule_role r set resolved_by = 'cell' from cases.rule u "
                      "where u.id = r.rule_id and u.code = 'G3' and r.rank = 1"))  # fmt: skip
    no = reported(conn, 50, 180)
    units = "select code from layers.unit where id = :id"
    assert conn.scalar(text(units), {"id": case(conn, no).unit_id}) == "BODY"
    report = publish_grid(conn, draft, actor="test")
    assert conn.scalar(text(units), {"id": case(conn, no).unit_id}) == "WEST"
    assert [(moved.from_unit, moved.to_unit) for moved in report.cases if moved.no == no] == [("BODY", "WEST")]
    assert [(rule.code, rule.cell_code) for rule in report.rules] == [("G3", A)]
    assert [(unit.code, unit.cell_code) for unit in report.units] == [("BODY", A)]
    words = "\n".join(en for en, _ in report_lines(report))
    assert "WARNING rule G3" in words
    assert "WARNING unit BODY" in words
    assert f"{no}  {A} → {WEST}005  BODY → WEST" in words


def test_a_border_to_a_renumbered_cell_is_told_by_its_new_code(conn: Connection) -> None:
    no = reported(conn, 50, 205)  # in the community to the north, near cell A
    assert case(conn, no).border_code == A
    draft = open_draft(conn, [WEST], actor="test")
    recode(conn, draft, A, actor="test")
    publish_grid(conn, draft, actor="test")
    found = case(conn, no)
    assert (found.border_code, found.last_seq, found.is_now) == (f"{WEST}005", 2, True)


def test_a_grid_with_errors_is_refused_and_says_which(conn: Connection, draft: int) -> None:
    put_cells(conn, draft, read_draft(conn, draft).iloc[1:], actor="test")
    before = everything(conn)
    with pytest.raises(UnsoundGrid) as caught:
        publish_grid(conn, draft, actor="test")
    assert everything(conn) == before
    assert {finding.rule for finding in caught.value.findings if finding.severity == "error"} == {"gap"}


def test_the_report_says_both_languages(conn: Connection, draft: int) -> None:
    report = publish_grid(conn, draft, actor="test", commit=False)
    lines = list(report_lines(report))
    assert all(en and zh for en, zh in lines)
    assert "dry run" in lines[0][0]
    assert "试运行" in lines[0][1]


# ── at once ────────────────────────────────────────


@pytest.fixture
def engine(server: Access, template: City, worker_id: str) -> Iterator[Engine]:
    made = copied(server, template, f"publish_{worker_id}")
    with made.begin() as conn:
        conn.execute(text("select cases.ensure_partition(extract(year from now())::int)"))
    yield made
    made.dispose()


def test_a_case_that_opens_while_a_grid_is_published_gets_a_cell_of_today(engine: Engine) -> None:
    with engine.begin() as conn:
        draft = open_draft(conn, [WEST], actor="test")
        split(conn, draft, A, line((-1, 150), (101, 150)), actor="test")
    stop = threading.Event()
    numbers: list[int] = []

    def report() -> None:
        while not stop.is_set():
            with engine.begin() as conn:
                numbers.append(reported(conn, 50, 180))

    threads = [threading.Thread(target=report) for _ in range(3)]
    for thread in threads:
        thread.start()
    published: Published
    try:
        while len(numbers) < 10:
            stop.wait(0.02)
        with engine.begin() as conn:
            published = publish_grid(conn, draft, actor="test")
        so_far = len(numbers)
        while len(numbers) < so_far + 10:
            stop.wait(0.02)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    with engine.connect() as conn:
        found = [case(conn, no) for no in numbers]
    assert {row.cell_code for row in found} == {f"{WEST}005"}
    assert all(row.is_now for row in found)
    moved = {case.no for case in published.cases if case.noted}
    assert moved
    assert all((row.last_seq == 2) == (row.no in moved) for row in found)


def test_two_publish_neighbouring_drafts_at_once_and_both_are_the_grid(engine: Engine) -> None:
    drafts = []
    with engine.begin() as conn:
        for community, code, at_m in [(WEST, D, 50), ("610999002001", "610999002001003", 40)]:
            number = open_draft(conn, [community], actor="test")
            east = 0 if community == WEST else 200
            split(conn, number, code, line((east - 1, at_m), (east + 201, at_m)), actor="test")
            drafts.append(number)
    failures: list[BaseException] = []

    def publishing(number: int) -> None:
        try:
            with engine.begin() as conn:
                publish_grid(conn, number, actor="test")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=publishing, args=(number,)) for number in drafts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    with engine.connect() as conn:
        assert [show_draft(conn, number).state for number in drafts] == ["published"] * 2
        area = conn.scalar(text("select sum(area_m2) from grids.cell where upper_inf(valid)"))
        union = conn.scalar(text("select st_area(st_union(geom)) from grids.cell where upper_inf(valid)"))
    assert area == pytest.approx(160_000, abs=0.5)
    assert union == pytest.approx(area, abs=0.5)
