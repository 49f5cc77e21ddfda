"""Drafts of the grid: numbers never repeat, the partition stays exact, nobody else sees them, no edit is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from shapely import LineString, box
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from gis.crs import reproject
from gis.db import Access, translated
from gis.errors import Conflict, Invalid, NotFound, WanmiError
from grids.city import City
from grids.edit import (
    check_draft,
    drop_draft,
    list_drafts,
    merge,
    move_border,
    open_draft,
    put_cells,
    read_draft,
    recode,
    set_area_class,
    show_draft,
    split,
)
from grids.editions import UnsoundGrid, cell_history, publish, read_cells
from grids.redraw import divide, keep_codes, next_codes, unite
from tests.conftest import copied
from tests.hamlet import SRID, at, square

WEST = "610999001001"
NORTH = "610999001002"
EAST = "610999002001"
A, B, C, D = (f"{WEST}00{n}" for n in (1, 2, 3, 4))  # north-west, north-east, south-west, south-east


def line(*points: tuple[float, float]) -> LineString:
    """A line through places given in metres from the hamlet's corner."""
    return LineString([at(*point) for point in points])


@pytest.fixture
def draft(conn: Connection) -> int:
    """A draft of the south-western community."""
    return open_draft(conn, [WEST], actor="test")


def errors(findings: Any) -> list[str]:
    return [finding.rule for finding in findings if finding.severity == "error"]


# ── laws of the pure functions ────────────────────────────────────────

places = st.floats(-20, 120, allow_nan=False)


@hypothesis_settings(max_examples=150)
@given(a=st.tuples(places, places), b=st.tuples(places, places), c=st.tuples(places, places))
def test_a_divided_cell_is_the_sum_of_its_pieces_and_united_again_it_is_the_cell(
    a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]
) -> None:
    cell = square(0, 0, 100)
    try:
        pieces = divide(cell, line(a, b, c))
    except Invalid:
        return
    assert len(pieces) >= 2
    assert sum(piece.area for piece in pieces) == pytest.approx(cell.area, abs=0.2)
    for n, piece in enumerate(pieces):
        assert piece.is_valid
        assert (shapely.get_coordinates(piece) * 1024 % 1 == 0).all()
        assert all(piece.intersection(other).area < 0.05 for other in pieces[:n])
    assert shapely.symmetric_difference(unite(pieces), cell).area < 0.2


@hypothesis_settings(max_examples=60)
@given(
    corners=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=12, unique=True),
    used=st.integers(0, 300),
)
def test_new_numbers_follow_the_highest_ever_used_in_reading_order(corners: list[tuple[int, int]], used: int) -> None:
    cells = [box(10 * x, 10 * y, 10 * x + 10, 10 * y + 10) for x, y in corners]
    codes = next_codes(WEST, cells, [f"{WEST}{n:03}" for n in range(1, used + 1)])
    assert sorted(int(code[12:]) for code in codes) == list(range(used + 1, used + 1 + len(cells)))
    order = sorted(range(len(cells)), key=lambda n: codes[n])
    assert order == sorted(range(len(cells)), key=lambda n: (-corners[n][1], corners[n][0]))


def test_numbers_that_run_out_are_an_error() -> None:
    with pytest.raises(Invalid, match="no serial 1000"):
        next_codes(WEST, [square(0, 0, 10)] * 2, [f"{WEST}998"])
    assert next_codes(WEST, [square(0, 0, 10)], [f"{WEST}03"], digits=14) == [f"{WEST}04"]


def test_codes_are_kept_where_a_cell_goes_on() -> None:
    before = gpd.GeoDataFrame({"code": [A, B]}, geometry=[square(0, 0, 100), square(100, 0, 100)], crs=SRID)
    shapes = [square(0, 0, 90, 100), square(90, 0, 20, 100), square(110, 0, 90, 100)]
    for given_codes, kept in [
        ([None, "", None], [A, None, B]),
        ([A, None, None], [A, None, B]),
        ([B, None, None], [B, None, None]),
        ([A, A, B], [None, None, B]),
        ([A, f"{WEST}050", B], [A, f"{WEST}050", B]),
    ]:
        cells = gpd.GeoDataFrame({"code": given_codes}, geometry=shapes, crs=SRID)
        assert keep_codes(cells, before) == kept


# ── acts ────────────────────────────────────────


def test_a_draft_starts_with_todays_cells_and_nobody_sees_what_is_done_in_it(conn: Connection, draft: int) -> None:
    before = read_cells(conn)
    assert list(read_draft(conn, draft)["code"]) == [A, B, C, D]
    split(conn, draft, A, line((0, 150), (100, 150)), actor="test")
    served = conn.scalars(text("select code from served.cell order by code")).all()
    assert served == list(before["code"])
    shown = conn.scalar(
        text(
            "select cell_code from cases.assign(array[(select st_pointonsurface(geom) from grids.cell "
            "where code = :code)], array['E0102'], array[null::int], array[null])"
        ),
        {"code": A},
    )
    assert shown == A


def test_the_pieces_of_a_split_get_new_numbers_and_the_neighbours_their_vertices(conn: Connection, draft: int) -> None:
    findings = split(conn, draft, A, line((-1, 150), (99, 150.5)), actor="test")
    assert errors(findings) == []
    cells = read_draft(conn, draft).set_index("code")
    assert list(cells.index) == [B, C, D, f"{WEST}005", f"{WEST}006"]
    assert cells.geometry[f"{WEST}005"].centroid.y > cells.geometry[f"{WEST}006"].centroid.y, "north before south"
    assert shapely.get_num_coordinates(cells.geometry[B]) == 6, "the corner of the two new cells"
    assert shapely.coverage_is_valid(np.asarray(cells.geometry))


@pytest.mark.parametrize("srid", [4326, 4490, 3857])
def test_a_line_may_be_given_in_any_system(conn: Connection, draft: int, srid: int) -> None:
    split(conn, draft, D, reproject(line((150, 0), (150, 100)), SRID, srid), srid=srid, actor="test")
    cells = read_draft(conn, draft).set_index("code")
    assert cells.geometry[f"{WEST}005"].area == pytest.approx(5000, abs=1)


@pytest.mark.parametrize(
    "bad", [line((20, 120), (80, 120)), line((500, 0), (600, 0)), LineString([at(0, 0), at(0, 0)])]
)
def test_a_line_that_does_not_divide_is_refused_with_its_place(conn: Connection, draft: int, bad: LineString) -> None:
    with pytest.raises(Invalid) as caught:
        split(conn, draft, A, bad, actor="test")
    assert caught.value.where["code"] == A
    assert caught.value.mend
    assert len(read_draft(conn, draft)) == 4


def test_what_was_merged_is_one_cell_with_a_new_number(conn: Connection, draft: int) -> None:
    set_area_class(conn, draft, A, "C", actor="test")
    merge(conn, draft, [A, B], actor="test")
    cells = read_draft(conn, draft).set_index("code")
    assert list(cells.index) == [C, D, f"{WEST}005"]
    assert cells.geometry[f"{WEST}005"].equals(square(0, 100, 200, 100))
    for codes in ([C], [C, C], [f"{WEST}005", "610999002001001"]):
        with pytest.raises((Invalid, NotFound)):
            merge(conn, draft, codes, actor="test")


def test_cells_that_touch_in_a_point_or_not_at_all_are_not_merged(conn: Connection, draft: int) -> None:
    with pytest.raises(Invalid) as caught:
        merge(conn, draft, [A, D], actor="test")
    assert "pieces" in caught.value.where


def test_a_moved_border_keeps_both_codes(conn: Connection, draft: int) -> None:
    findings = move_border(conn, draft, A, B, line((80, 100), (80, 150), (90, 200)), actor="test")
    assert errors(findings) == []
    cells = read_draft(conn, draft).set_index("code")
    assert list(cells.index) == [A, B, C, D]
    assert cells.geometry[A].area == pytest.approx(8250, abs=1)
    assert cells.geometry[A].area + cells.geometry[B].area == pytest.approx(20_000, abs=0.1)
    with pytest.raises(Invalid):
        move_border(conn, draft, A, D, line((80, 0), (80, 200)), actor="test")
    with pytest.raises(Invalid):
        move_border(conn, draft, A, A, line((80, 0), (80, 200)), actor="test")


def test_a_number_is_never_used_again(conn: Connection, draft: int) -> None:
    recode(conn, draft, A, actor="test")
    with pytest.raises(Invalid, match="leave numbers out"):  # 999 taken by a slip would lock the community for good
        recode(conn, draft, B, f"{WEST}999", actor="test")
    recode(conn, draft, B, f"{WEST}006", actor="test")
    assert list(read_draft(conn, draft)["code"]) == [C, D, f"{WEST}005", f"{WEST}006"]
    for used in (A, C, f"{WEST}005"):
        with pytest.raises(Conflict):
            recode(conn, draft, D, used, actor="test")
    for unfit in (f"{NORTH}050", f"{WEST}50", "12"):
        with pytest.raises(Invalid):
            recode(conn, draft, D, unfit, actor="test")


def test_two_open_drafts_never_hold_one_community(conn: Connection, draft: int) -> None:
    with pytest.raises(Conflict) as caught, conn.begin_nested():
        open_draft(conn, [NORTH, WEST], actor="other")
    assert caught.value.where["draft"] == draft
    drop_draft(conn, draft, actor="test")
    second = open_draft(conn, [NORTH, WEST], actor="other")
    assert [row.id for row in list_drafts(conn)] == [second]
    assert show_draft(conn, draft).state == "dropped"
    with pytest.raises(Conflict):
        split(conn, draft, A, line((0, 150), (100, 150)), actor="test")


@pytest.mark.parametrize("codes", [["610999001009"], ["610999"], [], ["x"]])
def test_a_draft_of_what_is_no_community_is_refused(conn: Connection, codes: list[str]) -> None:
    with pytest.raises((NotFound, Invalid)), conn.begin_nested():
        open_draft(conn, codes, actor="test")
    with pytest.raises(NotFound):
        read_draft(conn, 987654)


def test_an_act_on_an_older_revision_is_refused(conn: Connection, draft: int) -> None:
    seen = show_draft(conn, draft).revision
    split(conn, draft, A, line((0, 150), (100, 150)), actor="one", revision=seen)
    with pytest.raises(Conflict):
        put_cells(conn, draft, read_draft(conn, draft), actor="two", revision=seen)
    assert show_draft(conn, draft).saved_by == "one"


# ── a draft goes out and comes back ────────────────────────────────────────


def test_what_comes_back_as_it_went_out_changes_nothing(conn: Connection, draft: int) -> None:
    cells = read_draft(conn, draft)
    assert errors(put_cells(conn, draft, cells.to_crs(4326), actor="test")) == []
    again = read_draft(conn, draft)
    assert [a.equals_exact(b, 0) for a, b in zip(cells.geometry, again.geometry, strict=True)] == [True] * 4


def test_cells_without_code_keep_the_one_of_their_ground_or_get_the_next(conn: Connection, draft: int) -> None:
    shapes = [square(0, 100, 90, 100), square(90, 100, 110, 100), square(0, 0, 50, 100), square(50, 0, 150, 100)]
    findings = put_cells(conn, draft, gpd.GeoDataFrame({"code": [""] * 4}, geometry=shapes, crs=SRID), actor="test")
    assert errors(findings) == []
    cells = read_draft(conn, draft).set_index("code")
    assert list(cells.index) == [A, B, D, f"{WEST}005"]
    assert cells.geometry[D].equals(square(50, 0, 150, 100))


def test_errors_are_found_at_every_save(conn: Connection, draft: int) -> None:
    cells = read_draft(conn, draft)
    found = errors(put_cells(conn, draft, cells.iloc[1:], actor="test"))
    assert "gap" in found
    moved = cells.set_geometry(
        cells.geometry.map(lambda shape: shapely.transform(shape, lambda xy: xy + np.array([10, 0])))
    )
    assert {"overlap", "gap", "astride"} & set(errors(put_cells(conn, draft, moved, actor="test")))
    assert errors(check_draft(conn, draft))


@pytest.mark.parametrize(
    "shape",
    [
        shapely.MultiPolygon([square(0, 0, 10), square(50, 50, 10)]),
        shapely.Polygon([at(0, 0), at(100, 100), at(100, 0), at(0, 100)]),
        shapely.Point(at(0, 0)),
        shapely.Polygon(),
        None,
        square(5000, 5000, 100),
    ],
)
def test_a_shape_that_no_cell_can_have_is_refused_with_its_place(conn: Connection, draft: int, shape: Any) -> None:
    cells = gpd.GeoDataFrame({"code": [None, None]}, geometry=[square(0, 0, 200), shape], crs=SRID)
    with pytest.raises(WanmiError) as caught:
        put_cells(conn, draft, cells, actor="test")
    assert caught.value.where["place"]
    assert len(read_draft(conn, draft)) == 4


# ── any sequence of acts ────────────────────────────────────────


@hypothesis_settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_any_sequence_of_acts_keeps_the_partition_and_no_number_comes_twice(
    conn: Connection, data: st.DataObject
) -> None:
    walk = conn.begin_nested()
    try:
        draft = open_draft(conn, [WEST, NORTH], actor="law")
        ever = set(read_draft(conn, draft)["code"])
        gone: set[str] = set()
        for _ in range(data.draw(st.integers(1, 6))):
            cells = read_draft(conn, draft)
            codes = list(cells["code"])
            here = set(codes)
            act = data.draw(st.sampled_from(["split", "merge", "move", "recode", "class"]))
            code = data.draw(st.sampled_from(codes))
            cell = cells.geometry[codes.index(code)]
            beside = [
                c
                for c, shape in zip(codes, cells.geometry, strict=True)
                if c != code and c[:12] == code[:12] and shape.intersection(cell).length > 1
            ]
            turn = data.draw(st.floats(0, np.pi))
            middle, reach = np.array(cell.centroid.coords[0]), 300 * np.array([np.cos(turn), np.sin(turn)])
            through = LineString([middle - reach, middle + reach])
            try:
                if act == "split":
                    split(conn, draft, code, through, actor="law")
                elif act == "merge" and beside:
                    merge(conn, draft, [code, data.draw(st.sampled_from(beside))], actor="law")
                elif act == "move" and beside:
                    move_border(conn, draft, code, data.draw(st.sampled_from(beside)), through, actor="law")
                elif act == "recode":
                    recode(conn, draft, code, actor="law")
                else:
                    set_area_class(conn, draft, code, "B", actor="law")
            except Invalid:
                assert set(read_draft(conn, draft)["code"]) == here
            after = read_draft(conn, draft)
            now = set(after["code"])
            gone |= here - now
            assert not now & gone, "a number that was given up does not come back"
            assert not (now - here) & ever
            ever |= now
            assert after.geometry.area.sum() == pytest.approx(80_000, abs=0.5)
            shapes = np.asarray(after.geometry)
            assert shapely.coverage_is_valid(shapes)
            assert all(shape.is_valid and shape.geom_type == "Polygon" for shape in shapes)
        if not errors(check_draft(conn, draft)):
            edition = publish(conn, draft, actor="law")
            today = read_cells(conn)
            assert shapely.coverage_is_valid(np.asarray(today.geometry))
            assert today.geometry.area.sum() == pytest.approx(160_000, abs=0.5)
            assert set(today["code"]) >= now
            assert not set(edition.retired) & set(today["code"])
    finally:
        walk.rollback()


# ── published ────────────────────────────────────────


def test_publishing_an_unchanged_draft_changes_nothing(conn: Connection, draft: int) -> None:
    state = text("select id, valid, change_id from grids.cell order by id")
    before, changes = conn.execute(state).all(), conn.scalar(text("select count(*) from gis.change"))
    assert publish(conn, draft, actor="test").cells == []
    assert conn.execute(state).all() == before
    assert conn.scalar(text("select count(*) from gis.change")) == changes
    assert show_draft(conn, draft).state == "published"


def test_the_old_grid_stays_readable_to_the_bit_and_lineage_adds_up(conn: Connection, draft: int) -> None:
    before = read_cells(conn)
    instant = conn.scalar(text("select clock_timestamp()"))
    split(conn, draft, A, line((0, 150), (100, 150)), actor="test")
    merge(conn, draft, [C, D], actor="test")
    edition = publish(conn, draft, actor="editor")
    was = read_cells(conn, instant)
    assert was.drop(columns="geometry").equals(before.drop(columns="geometry"))
    assert shapely.to_wkb(np.asarray(was.geometry)).tolist() == shapely.to_wkb(np.asarray(before.geometry)).tolist()
    assert list(read_cells(conn, communities=[WEST])["code"]) == [B, f"{WEST}005", f"{WEST}006", f"{WEST}007"]
    what = {cell.code: cell.what for cell in edition.cells}
    assert what == {
        A: "retired", C: "retired", D: "retired", B: "noded",
        f"{WEST}005": "new", f"{WEST}006": "new", f"{WEST}007": "new",
    }  # fmt: skip
    assert {kin.code: round(kin.share_of_new, 3) for kin in edition.predecessors(f"{WEST}007")} == {C: 0.5, D: 0.5}
    versions, descent = cell_history(conn, A)
    assert [version.until is None for version in versions] == [False]
    assert sum(row.share_of_old for row in descent) == pytest.approx(1, abs=1e-4)
    assert {row.at for row in descent} == {versions[0].until}
    assert cell_history(conn, f"{WEST}005")[0][0].actor == "editor"
    with pytest.raises(NotFound):
        cell_history(conn, f"{WEST}099")


def test_all_that_a_change_ends_and_begins_does_so_at_one_instant(conn: Connection, draft: int) -> None:
    split(conn, draft, A, line((0, 150), (100, 150)), actor="test")
    publish(conn, draft, actor="test")
    instants = conn.scalars(text(
        "select lower(valid) from grids.cell where change_id = (select max(id) from gis.change) union "
        "select upper(valid) from grids.cell where not upper_inf(valid)")).all()  # fmt: skip
    assert len(instants) == 1
    second = open_draft(conn, [WEST], actor="test")
    split(conn, second, B, line((100, 150), (200, 150)), actor="test")
    publish(conn, second, actor="test")  # in the same transaction: later all the same
    assert conn.scalar(text("select count(distinct lower(valid)) from grids.cell")) == 3


def test_a_neighbour_outside_gets_the_vertex_and_its_own_draft_goes_on(conn: Connection, draft: int) -> None:
    beside = open_draft(conn, [EAST], actor="other")
    split(conn, draft, D, line((100, 50), (200, 50)), actor="test")
    edition = publish(conn, draft, actor="test")
    noded = [cell.code for cell in edition.cells if cell.what == "noded"]
    assert noded == [C, f"{EAST}003"]
    assert shapely.coverage_is_valid(np.asarray(read_cells(conn).geometry))
    split(conn, beside, f"{EAST}001", line((200, 150), (300, 150)), actor="other")
    publish(conn, beside, actor="other")
    today = read_cells(conn)
    assert shapely.coverage_is_valid(np.asarray(today.geometry))
    assert shapely.get_num_coordinates(today.set_index("code").geometry[f"{EAST}003"]) == 6


def test_a_draft_with_errors_or_on_an_older_grid_is_not_published(conn: Connection, draft: int) -> None:
    saved = conn.begin_nested()
    put_cells(conn, draft, read_draft(conn, draft).iloc[1:], actor="test")
    with pytest.raises(UnsoundGrid) as caught:
        publish(conn, draft, actor="test")
    assert caught.value.findings
    assert caught.value.where["rule"] == "gap"
    saved.rollback()
    conn.execute(text("update grids.cell set valid = tstzrange(lower(valid), now()) where code = :code"), {"code": A})
    conn.execute(
        text(
            "insert into grids.cell (code, geom, valid, change_id) select code, geom, tstzrange(now(), null), "
            "change_id from grids.cell where code = :code"
        ),
        {"code": A},
    )
    with pytest.raises(DBAPIError) as newer, conn.begin_nested():
        publish(conn, draft, actor="test")
    known = translated(newer.value)
    assert isinstance(known, Conflict)
    assert A in known.en


def test_new_codes_join_the_responsibility_grid_of_most_of_their_ground(conn: Connection, draft: int) -> None:
    split(conn, draft, A, line((0, 150), (100, 150)), actor="test")
    merge(conn, draft, [B, D], actor="test")
    publish(conn, draft, actor="test")
    members = text(
        "select m.cell_code from grids.responsibility r join grids.responsibility_cell m on m.responsibility_id = r.id "
        "where r.code = 'R1' and {} order by 1"
    ).text
    assert conn.scalars(text(members.format("upper_inf(r.valid)"))).all() == [f"{WEST}00{n}" for n in (5, 6, 7)]
    assert conn.scalars(text(members.format("not upper_inf(r.valid)"))).all() == [A, B]


def test_fourteen_digits_where_the_city_has_the_oldest_edition(conn: Connection) -> None:
    conn.execute(text("""update grids.city set profile = profile || '{"cell_digits": 14}'"""))
    conn.execute(text("update grids.cell set code = left(code, 12) || right(code, 2)"))
    draft = open_draft(conn, [WEST], actor="test")
    assert errors(split(conn, draft, f"{WEST}01", line((0, 150), (100, 150)), actor="test")) == []
    assert list(read_draft(conn, draft)["code"])[-2:] == [f"{WEST}05", f"{WEST}06"]


# ── two at once ────────────────────────────────────────


@pytest.fixture
def engine(server: Access, template: City, worker_id: str) -> Iterator[Engine]:
    """A copy of the hamlet to which two may write at once."""
    made = copied(server, template, f"editions_{worker_id}")
    yield made
    made.dispose()


def together(*acts: Any) -> list[Any]:
    """Run acts at once; what each returned or raised."""
    results: list[Any] = [None] * len(acts)
    barrier = threading.Barrier(len(acts))

    def run(number: int) -> None:
        barrier.wait(10)
        try:
            results[number] = acts[number]()
        except WanmiError as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_two_editors_at_once_lose_no_edit(engine: Engine) -> None:
    with engine.begin() as conn:
        draft = open_draft(conn, [WEST], actor="test")

    def splitting(code: str, height_m: float) -> Any:
        def act() -> Any:
            with engine.begin() as conn:
                return split(conn, draft, code, line((-1, height_m), (201, height_m)), actor="test")

        return act

    results = together(splitting(A, 150), splitting(D, 50))
    assert [errors(found) for found in results] == [[], []]
    with engine.connect() as conn:
        assert list(read_draft(conn, draft)["code"]) == [B, C, *(f"{WEST}00{n}" for n in (5, 6, 7, 8))]
    results = together(splitting(B, 150), splitting(B, 130))
    assert sum(isinstance(found, NotFound) for found in results) == 1, "the second finds it split"


def test_two_drafts_at_once_of_one_community_are_one(engine: Engine) -> None:
    def opening() -> int:
        with engine.begin() as conn:
            return open_draft(conn, [WEST, NORTH], actor="test")

    results = together(opening, opening)
    assert sum(isinstance(found, Conflict) for found in results) == 1


def test_a_draft_is_published_once(engine: Engine) -> None:
    with engine.begin() as conn:
        draft = open_draft(conn, [WEST], actor="test")
        split(conn, draft, A, line((0, 150), (100, 150)), actor="test")

    def publishing() -> Any:
        with engine.begin() as conn:
            return publish(conn, draft, actor="test")

    results = together(publishing, publishing)
    assert sum(isinstance(found, Conflict) for found in results) == 1
    with engine.connect() as conn:
        assert len(read_cells(conn, communities=[WEST])) == 5
