"""Rules of responsibility as a table: round trip, faults, from an instant on; decisions of people against them."""

from __future__ import annotations

import csv
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
from shapely import LineString, MultiPolygon, Polygon
from sqlalchemy import Connection, text

from cases.duty import load_rules
from cases.rule_check import FAULTS, Duty, check_rules, errors_of
from cases.rules import RuleReport, import_rules, review, rules_at, write_rules_file
from gis.errors import Conflict, Invalid, NotFound, UnfitFile
from gis.history import record_change
from grids.city import City
from tests.doorstep import Door
from tests.hamlet import SRID, at, square
from tests.hands import choose_unit, reported

HEAD = ["code", "class_prefix", "condition_no", "area_prefix", "roles", "zone", "source_document", "source_on"]
CLASSES = {"C0101": (None, 1), "C0137": (None,), "E0101": (None,), "E0102": (None, 1, 2)}


def table(path: Path, *rows: tuple[str, ...]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEAD, *rows])
    return path


def take(conn: Connection, city: City, path: Path, **more: object) -> RuleReport:
    return import_rules(conn, city, path, actor="tester", reason="a test", **more)  # type: ignore[arg-type]


def names(report: RuleReport) -> set[str]:
    return {fault.rule for fault in report.faults}


@pytest.mark.parametrize("name", ["rules.csv", "rules.xlsx"])
def test_what_was_written_changes_nothing_when_it_is_read_again(
    conn: Connection, template: City, tmp_path: Path, name: str
) -> None:
    assert write_rules_file(conn, template, tmp_path / name, overwrite=False) == 5
    report = take(conn, template, tmp_path / name, complete=True, commit=True)
    assert (report.rows, report.same, report.differences, report.committed) == (5, 5, [], False)
    with pytest.raises(Invalid, match="is there already"):
        write_rules_file(conn, template, tmp_path / name, overwrite=False)


def test_red_lines_go_out_as_polygons_and_come_back_with_their_document(
    conn: Connection, template: City, tmp_path: Path
) -> None:
    path = tmp_path / "zones.gpkg"
    assert write_rules_file(conn, template, path, overwrite=False) == 1
    zones = gpd.read_file(path)
    assert list(zones["source_document"]) == ["made up"]
    assert take(conn, template, path).same == 1
    moved = zones.set_geometry([square(250, 300, 100)], crs=SRID)
    moved.to_crs(4326).to_file(tmp_path / "moved.geojson")
    report = take(conn, template, tmp_path / "moved.geojson", commit=True)
    assert [(one.fate, one.code, one.fields) for one in report.differences] == [("changed", "Z1", ("zone",))]
    held = {rule.code: rule for rule in rules_at(conn)}
    assert held["Z1"].zone.symmetric_difference(square(250, 300, 100)).area < 1


def test_rules_hold_from_their_instant_on_and_never_backwards(conn: Connection, template: City, tmp_path: Path) -> None:
    path = table(tmp_path / "r.csv", ("G1", "E01", "", "", "unit:WATER", "", "second document", "2026-05-01"))
    assign = text(
        "select u.code from cases.assign(array[st_setsrid(st_makepoint(:x, :y), 4545)], array['E0101'], "
        "array[null::int], array[null::text], at => :at) a join layers.unit u on u.id = a.unit_id"
    )
    x, y = at(50, 50)
    before = conn.execute(text("select clock_timestamp()")).scalar_one()
    with pytest.raises(Invalid, match="backwards"):
        take(conn, template, path, since=before - timedelta(days=1), commit=True)
    later = before + timedelta(days=30)
    report = take(conn, template, path, since=later, commit=True)
    assert report.committed
    when = {"before": before, "day": later - timedelta(seconds=1), "from": later, "after": later + timedelta(days=1)}
    said = {name: conn.execute(assign, {"x": x, "y": y, "at": one}).scalar_one() for name, one in when.items()}
    assert said == {"before": "WEST", "day": "WEST", "from": "WATER", "after": "WATER"}
    with pytest.raises(Conflict, match="is to be another"):
        take(conn, template, table(tmp_path / "s.csv", ("G1", "E01", "", "", "street", "", "third", "")), commit=True)
    kinds = conn.execute(text("select count(*), count(ended_change_id) from cases.rule where code = 'G1'")).one()
    assert tuple(kinds) == (2, 1), "the old version stays, and names who ended it"


def test_a_complete_table_ends_what_it_does_not_name(conn: Connection, template: City, tmp_path: Path) -> None:
    path = table(tmp_path / "r.csv", ("G1", "E01", "", "", "street|district", "", "made up", ""))
    assert take(conn, template, path).total("ended") == 0
    report = take(conn, template, path, complete=True, commit=True)
    assert (report.same, report.total("ended")) == (1, 4)
    assert [rule.code for rule in rules_at(conn)] == ["G1"]


def test_a_rule_that_is_withdrawn_before_it_began_is_kept_as_such(
    conn: Connection, template: City, tmp_path: Path
) -> None:
    later = datetime.now(UTC) + timedelta(days=3)
    row = ("N1", "E0101", "", "610999001", "district|unit:WATER", "", "first", "")
    take(conn, template, table(tmp_path / "r.csv", row), since=later, commit=True)
    take(conn, template, table(tmp_path / "s.csv", (*row[:6], "second", "")), since=later, commit=True)
    kept = conn.execute(
        text("select code, since, facts, change_id < withdrawn_change_id from cases.rule_withdrawn")
    ).one()
    assert (kept[0], kept[1], kept[3]) == ("N1", later, True)
    assert kept[2]["source_document"] == "first"
    assert [role["resolved_by"] for role in kept[2]["roles"]] == ["district", "unit"]
    assert {rule.source_document for rule in rules_at(conn, later) if rule.code == "N1"} == {"second"}


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (("", "E01", "", "", "street", "", "d", ""), "code_missing"),
        (("N1", "E01", "", "", "street", "", "", ""), "document_missing"),
        (("N1", "E01", "", "", "street", "", "d", "yesterday"), "day"),
        (("N1", "E77", "", "", "street", "", "d", ""), "class_unknown"),
        (("N1", "E0102", "9", "", "street", "", "d", ""), "condition_unknown"),
        (("N1", "E0102", "one", "", "street", "", "d", ""), "condition_unknown"),
        (("N1", "E01", "", "610999009", "street", "", "d", ""), "area_unknown"),
        (("N1", "E01", "", "", "mayor", "", "d", ""), "role_unknown"),
        (("N1", "E01", "", "", "rule:G1", "", "d", ""), "role_unknown"),
        (("N1", "E01", "", "", "", "", "d", ""), "role_unknown"),
        (("N1", "E01", "", "", "street|street", "", "d", ""), "role_repeated"),
        (("N1", "E01", "", "", "unit:NOBODY", "", "d", ""), "unit_unknown"),
        (("N1", "E01", "", "", "unit:GONE", "", "d", ""), "unit_dissolved"),
        (("N1", "E01", "", "", "street", "polygon", "d", ""), "zone_missing"),
        (("N1", "E01", "", "", "district", "", "d", ""), "contradiction"),
    ],
)
def test_a_fault_is_told_by_its_row_and_nothing_is_written(
    conn: Connection, template: City, tmp_path: Path, row: tuple[str, ...], fault: str
) -> None:
    conn.execute(
        text(
            "insert into layers.unit (code, name_zh, name_en, kind, dissolved_at) "
            "values ('GONE', '撤', 'Gone', 'owner', now() - interval '1 day')"
        )
    )
    good = ("N0", "E0101", "", "610999001", "district", "", "d", "")
    report = take(conn, template, table(tmp_path / "r.csv", good, row), commit=True)
    assert fault in names(report)
    assert any(one.row == 3 for one in errors_of(report.faults))
    assert not report.committed
    assert len(rules_at(conn)) == 5


def test_a_code_said_twice_and_a_polygon_elsewhere_or_crossed_are_refused(
    conn: Connection, template: City, tmp_path: Path
) -> None:
    row = ("N1", "E0101", "", "610999001", "district", "", "d", "")
    assert "code_repeated" in names(take(conn, template, table(tmp_path / "r.csv", row, row), commit=True))
    facts = {"code": "N2", "roles": "district", "source_document": "d", "class_prefix": "E"}
    crossed = Polygon([at(0, 0), at(10, 10), at(10, 0), at(0, 10)])
    for shape in (square(90_000, 0, 10), LineString([at(0, 0), at(10, 10)]), crossed):
        path = tmp_path / "z.gpkg"
        path.unlink(missing_ok=True)
        gpd.GeoDataFrame([facts], geometry=[shape], crs=SRID).to_file(path)
        report = take(conn, template, path, commit=True)
        assert "zone_unfit" in names(report), shape
        assert not report.committed


@pytest.mark.parametrize("content", ["", "code,roles\nA,street\n", "\x00\x01", "a\n1\n"])
def test_a_file_that_is_no_table_of_rules_is_refused(
    conn: Connection, template: City, tmp_path: Path, content: str
) -> None:
    (tmp_path / "r.csv").write_text(content, encoding="utf-8")
    with pytest.raises(UnfitFile):
        take(conn, template, tmp_path / "r.csv", commit=True)


# ── what rules do to each other ────────────────────────────────────────


@pytest.mark.parametrize("seed", range(6))
def test_a_rule_is_unreachable_where_the_database_never_chooses_it(conn: Connection, template: City, seed: int) -> None:
    chance = random.Random(seed)
    duties = []
    for n in range(24):
        prefix = chance.choice(["", "E", "E01", "E0101", "E0102", "C", "C01", "C0101", "C0137"])
        numbers = [None, *{one for code, many in CLASSES.items() if code.startswith(prefix) for one in many if one}]
        area = chance.choice(["", "6109", "610999001", "610999002001", "610999002001002", "610999001002003"])
        duties.append(
            Duty(
                code=f"X{n:02}",
                class_prefix=prefix,
                condition_no=chance.choice(numbers),
                area_prefix=area,
                roles="unit:WATER",
                zone=None,
                source_document="d",
                source_on=None,
            )
        )
    conn.execute(text("truncate cases.rule, cases.rule_role, cases.report, cases.event, cases.case cascade"))
    frame = pd.DataFrame([vars(duty) for duty in duties]).astype({"condition_no": "Int64"})
    load_rules(conn, frame, SRID, record_change(conn, since=datetime(2026, 1, 1, tzinfo=UTC), actor="a", reason="b"))
    chosen = set(
        conn.scalars(
            text(
                "select r.code from (select array_agg(st_pointonsurface(c.geom)) as p, array_agg(q.code) as k, "
                "array_agg(q.no) as n from grids.cell c cross join unnest(cast(:k as text[]), cast(:n as int[])) "
                "as q (code, no)) g cross join lateral cases.assign(g.p, g.k, g.n, array[]::text[]) a "
                "join cases.rule r on r.id = a.rule_id"
            ),
            {
                "k": [code for code, many in CLASSES.items() for _ in many],
                "n": [n for many in CLASSES.values() for n in many],
            },
        )
    )
    told = {fault.code for fault in check_rules(conn, duties) if fault.rule == "unreachable"}
    assert told == {duty.code for duty in duties} - chosen
    assert 0 < len(told) < len(duties)


@pytest.mark.parametrize("seed", range(6))
def test_a_red_line_never_leads_where_the_database_never_chooses_it(
    conn: Connection, template: City, seed: int
) -> None:
    chance = random.Random(seed)
    blank = Duty(
        code="",
        class_prefix="",
        condition_no=None,
        area_prefix="",
        roles="",
        zone=None,
        source_document="d",
        source_on=None,
    )
    duties = []
    for n in range(10):
        prefix = chance.choice(["", "E", "E0101", "C", "C0101"])
        area = chance.choice(["", "610999001", "610999002001"])
        roles = chance.choice(["unit:WATER", "maintainer|unit:WATER", "maintainer|street", "street|unit:WATER"])
        duties.append(replace(blank, code=f"X{n:02}", class_prefix=prefix, area_prefix=area, roles=roles))
    grounds = [square(0, 0, 200), square(200, 0, 200), square(0, 200, 200), square(200, 200, 200)]
    for n, code in enumerate(("E0101", "E0102", "C0101", "C0137", "E0101", "C0101")):
        zone = MultiPolygon([chance.choice(grounds)])
        duties.append(replace(blank, code=f"Z{n}", class_prefix=code, roles="unit:LAMPS", zone=zone))
    conn.execute(text("truncate cases.rule, cases.rule_role, cases.report, cases.event, cases.case cascade"))
    frame = pd.DataFrame([vars(duty) for duty in duties]).astype({"condition_no": "Int64"})
    load_rules(conn, frame, SRID, record_change(conn, since=datetime(2026, 1, 1, tzinfo=UTC), actor="a", reason="b"))
    chosen = {
        code
        for found in conn.scalars(
            text(
                "select array_agg(r.code) from (select array_agg(st_pointonsurface(c.geom)) as p, "
                "array_agg(k.code) as k "
                "from grids.cell c cross join unnest(cast(:k as text[])) as k (code)) g "
                "cross join lateral cases.assign(g.p, g.k, array[]::int[], array[]::text[]) a "
                "join cases.rule r on a.basis = 'zone' and r.id = any (a.zone_rule_ids)"
            ),
            {"k": list(CLASSES)},
        )
        for code in found or ()
    }
    told = {fault.code for fault in check_rules(conn, duties) if fault.rule == "zone_never_leads"}
    assert told == {duty.code for duty in duties if duty.zone is not None} - chosen


def test_overlapping_zones_and_classes_without_anybody_are_told(conn: Connection, template: City) -> None:
    held = rules_at(conn)
    zone = next(rule for rule in held if rule.zone is not None)
    other = replace(zone, code="Z2", zone=square(350, 300, 100), roles="unit:LAMPS")
    same = replace(zone, code="Z3", zone=square(350, 300, 100))
    overlaps = [one for one in check_rules(conn, [*held, other, same]) if one.rule == "zones_overlap"]
    assert {(one.code, one.other) for one in overlaps} == {("Z2", "Z1"), ("Z3", "Z2")}
    assert {one.count for one in overlaps} == {5000, 10000}
    assert "without_unit" not in {one.rule for one in check_rules(conn, held)}
    conn.execute(text("update layers.unit set area_code = null"))
    lonely = {one.other: one.count for one in check_rules(conn, held) if one.rule == "without_unit"}
    assert lonely == {"E0101": 4, "E0102": 4}, "a rule that means the place's body means nobody now"
    people = {one.other for one in check_rules(conn, held) if one.rule == "without_people"}
    conn.execute(
        text(
            "insert into layers.account (name, display_zh, display_en, roles, unit_code) "
            "values ('water.one', '水', 'w', '{unit}', 'WATER')"
        )
    )
    assert people - {one.other for one in check_rules(conn, held) if one.rule == "without_people"} == {"WATER"}
    assert {one.rule for one in check_rules(conn, held)} <= FAULTS.keys()


# ── people decide otherwise ────────────────────────────────────────


def case_of(conn: Connection, key: str) -> int:
    return int(conn.execute(text("select case_no from cases.report where key = :k"), {"k": key}).scalar_one())


def opened(door: Door, east_m: float, north_m: float, class_code: str = "E0101") -> dict:
    x, y = at(east_m, north_m)
    return door.post("/cases", {"class": class_code, "lon": x, "lat": y, "crs": SRID}, "collector").json()


def test_a_dispatcher_chooses_another_unit_and_the_rule_is_counted(door: Door) -> None:
    cases = [opened(door, 50, 50) for _ in range(3)]
    assert {case["reason"]["rule"] for case in cases} == {"G1"}
    for case in cases[:2]:
        chosen = {"from": "reported", "unit": "WATER", "reason": "the pipe bridge is theirs"}
        answer = door.post(f"/cases/{case['no']}/choose_unit", chosen, "dispatcher")
        assert answer.status_code == 200, answer.text
        found = door.get(f"/cases/{case['no']}").json()
        assert (found["unit"]["code"], found["reason"]["basis"]) == ("WATER", "decision")
        assert "against rule G1" in found["reason"]["en"]
        assert found["events"][-1]["act"] == "choose_unit"
        assert door.post(f"/cases/{case['no']}/choose_unit", chosen, "dispatcher").json()["again"]
        again = door.get(f"/cases/{case['no']}").json()
        assert len(again["events"]) == len(found["events"]), "the same decision again is none"
    with door.engine.connect() as conn:
        (one,) = review(conn)
        assert (one.rule, one.overruled, one.to_unit, one.to_unit_many) == ("G1", 2, "WATER", 2)
        assert list(one.cases) == sorted(case["no"] for case in cases[:2])
        assert one.area == "610999001001"
        assert review(conn, least=3) == []
        assert review(conn, since=datetime(2100, 1, 1, tzinfo=UTC)) == []
    asked = f"/cases/{cases[2]['no']}/choose_unit"
    assert door.post(asked, {"from": "reported", "unit": "WATER", "reason": "x"}, "acceptor").status_code == 403
    assert door.post(asked, {"from": "reported", "unit": "WATER", "reason": "  "}, "dispatcher").status_code == 422
    assert door.post(asked, {"from": "reported", "unit": "NOBODY", "reason": "x"}, "dispatcher").status_code == 404
    assert (
        door.post(
            "/cases/20260101999999/choose_unit", {"from": "reported", "unit": "WATER", "reason": "x"}, "dispatcher"
        ).status_code
        == 404
    )


def test_a_closed_case_gets_no_other_unit_and_a_decision_outlives_a_redrawn_grid(conn: Connection) -> None:
    no = case_of(conn, "good-1")
    with pytest.raises(Conflict, match="closed"):
        choose_unit(conn, no, "WATER", "r")
    made = reported(conn, "k1", class_code="E0101", north_m=50)
    with pytest.raises(NotFound):
        choose_unit(conn, made, "NOBODY", "r")
    choose_unit(conn, made, "WATER", "r")
    old, new = conn.execute(
        text(
            "with gone as (update grids.cell set valid = tstzrange(lower(valid), now()) "
            "where code = '610999001001003' returning *), "
            "come as (insert into grids.cell (code, geom, valid, change_id) "
            "select '610999001001009', geom, tstzrange(now(), null), change_id from gone returning id) "
            "select gone.id, come.id from gone, come"
        )
    ).one()
    moved = conn.execute(
        text("select * from cases.reassign(array[:old], array[:new], 'a', 1)"), {"old": old, "new": new}
    ).all()
    (followed,) = [row for row in moved if row.no == made]
    assert (followed.to_code, followed.from_unit, followed.to_unit) == ("610999001001009", "WATER", "WATER")
    row = conn.execute(text("select basis, resolved_by from cases.case where no = :no"), {"no": made}).one()
    assert tuple(row) == ("decision", None)
