"""What was found by trying to break jurisdiction: each once, so that it stays mended."""

from __future__ import annotations

import csv
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from cases.rules import RuleReport, import_rules, review, rules_at
from gis.errors import Conflict, UnfitFile
from grids.city import City
from layers.place_import import derive_again, import_places
from layers.places import find_places
from layers.responsibility import import_table
from tests.hamlet import SRID, square
from tests.hands import choose_unit, reported
from tests.test_border import ask, zone_rule
from tests.test_rules import HEAD, table

CRS = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::4545"}}


def features(path: Path, *rows: tuple[dict[str, Any], Any]) -> Path:
    """A GeoJSON file; a geometry is a shapely shape, or None."""
    found = [
        {"type": "Feature", "properties": facts, "geometry": None if shape is None else shape.__geo_interface__}
        for facts, shape in rows
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": CRS, "features": found}), encoding="utf-8")
    return path


def take(conn: Connection, city: City, path: Path, **more: Any) -> RuleReport:
    return import_rules(conn, city, path, **{"actor": "tester", "reason": "a test", "commit": True} | more)


def red_line(code: str = "N1", **more: Any) -> dict[str, Any]:
    return {"code": code, "class_prefix": "E0101", "roles": "unit:WATER", "source_document": "d"} | more


def test_a_red_line_without_its_polygon_is_no_rule_for_everywhere(
    conn: Connection, template: City, tmp_path: Path
) -> None:
    path = features(tmp_path / "z.geojson", (red_line("N0"), square(0, 0, 50)), (red_line(), None))
    report = take(conn, template, path)
    assert [(fault.rule, fault.row) for fault in report.faults] == [("zone_missing", 2)]
    assert not report.committed


@pytest.mark.parametrize("side_m", [0.0001, 0.001, 0.5])
def test_a_red_line_around_nothing_is_refused(conn: Connection, template: City, tmp_path: Path, side_m: float) -> None:
    report = take(conn, template, features(tmp_path / "z.geojson", (red_line(), square(10, 10, side_m))))
    assert [fault.rule for fault in report.faults] == ["zone_unfit"]


def test_values_that_are_lists_are_read_as_texts(conn: Connection, template: City, tmp_path: Path) -> None:
    path = features(tmp_path / "z.geojson", (red_line(source_document=["a", "b"]), square(10, 10, 50)))
    assert take(conn, template, path).committed
    assert next(rule for rule in rules_at(conn) if rule.code == "N1").source_document == "a;b"


def test_a_table_without_the_column_of_polygons_leaves_them(conn: Connection, template: City, tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        head = [name for name in HEAD if name != "zone"]
        csv.writer(file).writerows([head, ["Z1", "E", "", "", "unit:STATION", "made up", ""]])
    assert take(conn, template, path).same == 1
    emptied = take(conn, template, table(tmp_path / "s.csv", ("Z1", "E", "", "", "unit:STATION", "", "made up", "")))
    assert [one.fields for one in emptied.differences] == [("zone",)]
    assert emptied.differences[0].after["zone"] == ""


def test_what_was_decided_for_later_stands_until_that_instant_is_named(
    conn: Connection, template: City, tmp_path: Path
) -> None:
    now = conn.execute(text("select clock_timestamp()")).scalar_one()
    later = now + timedelta(days=30)
    first = table(tmp_path / "a.csv", ("X1", "E0101", "", "610999001", "unit:WATER", "", "d", ""))
    other = table(tmp_path / "b.csv", ("X1", "E0101", "", "610999001", "unit:LAMPS", "", "d", ""))
    assert take(conn, template, first, since=later).committed
    with pytest.raises(Conflict):
        take(conn, template, other)
    assert take(conn, template, other, since=later).committed
    assert next(rule for rule in rules_at(conn, later) if rule.code == "X1").roles == "unit:LAMPS"
    rest = tmp_path / "c.csv"
    rows = [
        (
            r.code,
            r.class_prefix,
            r.condition_no or "",
            r.area_prefix,
            r.roles,
            "polygon" if r.zone else "",
            "made up",
            "",
        )
        for r in rules_at(conn)
        if r.code != "G3"
    ]
    ended = take(conn, template, table(rest, *rows), complete=True, since=later + timedelta(days=1))
    assert ended.committed
    with pytest.raises(Conflict, match="or to end"):
        take(conn, template, table(tmp_path / "d.csv", ("G3", "E0102", "", "610999001002", "street", "", "d", "")))


def test_a_contradiction_that_is_to_come_is_found_today(conn: Connection, template: City, tmp_path: Path) -> None:
    later = conn.execute(text("select clock_timestamp()")).scalar_one() + timedelta(days=30)
    assert take(
        conn,
        template,
        table(tmp_path / "a.csv", ("S1", "E0101", "", "610999001", "unit:WATER", "", "d", "")),
        since=later,
    ).committed
    report = take(
        conn, template, table(tmp_path / "b.csv", ("S2", "E0101", "", "610999001", "unit:LAMPS", "", "d", ""))
    )
    assert "contradiction" in {fault.rule for fault in report.faults}
    assert not report.committed


@pytest.mark.parametrize("content", [",".join(HEAD) + "\n", ",".join(HEAD) + "\n,,,,,,,\n"])
def test_a_table_of_nothing_ends_nothing(conn: Connection, template: City, tmp_path: Path, content: str) -> None:
    path = tmp_path / "r.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UnfitFile, match="no rules"):
        take(conn, template, path, complete=True)
    beats = tmp_path / "b.csv"
    beats.write_text("code,cell_code\n", encoding="utf-8")
    with pytest.raises(UnfitFile, match="no grids"):
        import_table(conn, SRID, beats, commit=True, actor="a", reason="b")


# ── decisions ────────────────────────────────────────


def opened(conn: Connection, key: str, component: str | None = None) -> int:
    code = "C0137" if component else "E0101"
    return reported(conn, key, class_code=code, east_m=150, north_m=50, component_code=component)


def test_a_decision_counts_once_a_case_as_it_was_left(conn: Connection) -> None:
    no = opened(conn, "k1")
    for unit in ("WATER", "LAMPS"):
        choose_unit(conn, no, unit, f"to {unit}")
    (one,) = review(conn)
    assert (one.rule, one.overruled, one.to_unit, list(one.reasons)) == ("G1", 1, "LAMPS", ["to LAMPS"])
    choose_unit(conn, no, "WEST", "it was right")
    assert review(conn) == [], "in the end it is as it was proposed"
    lamp = opened(conn, "k2", "6109990137000001")
    choose_unit(conn, lamp, "WATER", "r")
    (other,) = review(conn)
    assert (other.rule, other.overruled) == (None, 1)
    assert other.proposed >= 1


# ── zones of equal right ────────────────────────────────────────


def test_of_two_claims_the_one_whose_unit_is_no_more_claims_nothing(conn: Connection, template: City) -> None:
    zone_rule(conn, "A1", "WATER", square(0, 0, 60))
    zone_rule(conn, "A2", "LAMPS", square(40, 0, 60))
    conn.execute(text("update layers.unit set dissolved_at = now() - interval '1 s' where code = 'WATER'"))
    found = ask(conn, template, 52, 30)
    assert (found["unit"]["code"], found["reason"]["rule"]) == ("LAMPS", "A2")
    assert (found["claims"], found["on_border"]) == ([], False), "one claim is no contest"
    edge = ask(conn, template, 62, 30)
    assert (edge["claims"], edge["on_border"]) == ([], False), "nor is the red line of a unit that is no more a border"


def test_ground_near_by_that_two_zones_claim_is_told(conn: Connection, template: City) -> None:
    zone_rule(conn, "A1", "WATER", square(0, 0, 60))
    zone_rule(conn, "A2", "LAMPS", square(40, 0, 20))
    near = ask(conn, template, 25, 30, accuracy_m=30)
    assert not near["one_unit"]
    assert {claim["rule"] for claim in near["claims"]} == {"A1", "A2"}
    assert "A2" in near["dispute"]["en"]
    assert "same unit" not in near["dispute"]["en"]
    for one in near["candidates"]:
        codes = [area["code"] for area in one["areas"]]
        assert len(codes) == len(set(codes))


def test_a_component_that_was_retired_answers_for_its_time(conn: Connection, template: City) -> None:
    lamp = {"class_code": "C0137", "component_code": "6109990137000001"}
    then = conn.execute(text("select clock_timestamp()")).scalar_one()
    conn.execute(
        text(
            "update layers.component set valid = tstzrange(lower(valid), clock_timestamp()), "
            "ended_change_id = change_id where code = '6109990137000001'"
        )
    )
    assert ask(conn, template, 150, 50, at=then, **lamp)["unit"]["code"] == "LAMPS"


# ── places ────────────────────────────────────────


def test_what_was_imported_is_not_derived_away_and_other_names_are_former_names(
    conn: Connection, template: City, tmp_path: Path
) -> None:
    green = {"name": "园", "kind": "green", "other_names": ["老园子", "后花园"]}
    path = features(tmp_path / "p.geojson", (green, square(10, 10, 20)))
    more = {"commit": True, "actor": "a", "reason": "b"}
    assert import_places(conn, template, path, **more).committed
    assert derive_again(conn, template, actor="a").counts["moved"] == 0
    assert find_places(conn, "后花园")[1][0].name_zh == "园"
    green["other_names"] = []
    assert import_places(conn, template, features(path, (green, square(10, 10, 20))), **more).committed
    former = find_places(conn, "老园子")[1][0]
    assert (former.name_zh, former.former) == ("园", "老园子")


def test_a_door_has_one_code_and_a_name_an_end(conn: Connection, template: City, tmp_path: Path) -> None:
    door = {"name": "柳巷9号", "kind": "door"}
    more = {"commit": True, "actor": "a", "reason": "b"}
    import_places(conn, template, features(tmp_path / "p.geojson", (door, square(50, 50, 2))), **more)
    assert find_places(conn, "柳巷9号")[1][0].code == "door:柳巷#9"
    finer = find_places(conn, "柳巷9号之1")[1][0]
    assert (finer.code, finer.sure < 1) == ("door:柳巷#9", True)
    assert find_places(conn, "柳巷9号3楼")[1][0].code == "door:柳巷#9"
    long = features(
        tmp_path / "q.geojson", ({"name": "".join(map(chr, range(0x4E00, 0x4E00 + 5000)))}, square(9, 9, 2))
    )
    report = import_places(conn, template, long, **more)
    assert [name for _, name, *_ in report.faults] == ["name"]


def test_a_row_said_twice_in_a_table_of_beats_is_told(conn: Connection, tmp_path: Path) -> None:
    path = tmp_path / "b.csv"
    path.write_text("code,cell_code\nA,610999001001001\nA,610999001001001\n", encoding="utf-8")
    report = import_table(conn, SRID, path, commit=True, actor="a", reason="b")
    assert "cell_twice" in {fault.rule for fault in report.faults}
    assert not report.committed
