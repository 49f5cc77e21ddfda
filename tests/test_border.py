"""On a border: every candidate with its distance and its share; as of a past instant; what is no place."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest
import shapely
from sqlalchemy import Connection, text

from api.jurisdiction import Asked, jurisdiction
from cases.duty import load_rules
from gis.crs import GCJ02, GEODETIC, transform
from gis.errors import Invalid, NotFound
from gis.history import record_change
from grids.city import City
from tests.doorstep import Door
from tests.hamlet import COMMUNITIES, SRID, at, square

STREETS = {"610999001": "WEST", "610999002": "EAST"}


def ask(conn: Connection, city: City, east_m: float, north_m: float, **more: Any) -> dict[str, Any]:
    x, y = at(east_m, north_m)
    return jurisdiction(conn, city, Asked(**{"x": x, "y": y, "srid": SRID, "class_code": "E0101"} | more))


def zone_rule(conn: Connection, code: str, unit: str, zone: Any, *, class_prefix: str = "E0101") -> None:
    row = {"code": code, "class_prefix": class_prefix, "condition_no": None, "area_prefix": "", "roles": f"unit:{unit}"}
    frame = pd.DataFrame([{**row, "zone": zone, "source_document": "made up", "source_on": None}])
    version = record_change(conn, since=datetime(2026, 1, 1, tzinfo=UTC), actor="a", reason="b")
    load_rules(conn, frame.astype({"condition_no": "Int64"}), SRID, version)


def grounds(conn: Connection) -> dict[tuple[str | None, str | None], Any]:
    """By community and unit the ground where it leads for E0101, put together without the database's assignment."""
    zone = shapely.from_wkb(
        conn.execute(text("select st_asbinary(zone) from cases.rule where code = 'Z1'")).scalar_one()
    )
    found: dict[tuple[str | None, str | None], Any] = {}
    for code, (east, north) in COMMUNITIES.items():
        ground = square(east, north, 200)
        for key, part in ((STREETS[code[:9]], ground - zone), ("STATION", ground & zone)):
            if not part.is_empty:
                found[code, key] = part
    found[None, None] = square(-2000, -2000, 4400) - square(0, 0, 400)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_shares_and_distances_agree_with_polygons_drawn_by_another_engine(
    conn: Connection, template: City, seed: int
) -> None:
    chance = random.Random(seed)
    ground = grounds(conn)
    flagged = 0
    for _ in range(60):
        east, north = (round(chance.uniform(0, 400) * 1024) / 1024 for _ in range(2))
        accuracy = chance.choice([None, 0.0, 3.0, 25.0, 80.0, 300.0])
        found = ask(conn, template, east, north, accuracy_m=accuracy)
        reach = max(accuracy or 0.0, 10.0)
        here = shapely.Point(*at(east, north))
        circle = here.buffer(reach, quad_segs=512)
        expected = {key: part for key, part in ground.items() if part.distance(here) <= reach}
        assert found["reach_m"] == reach
        assert found["on_border"] == (len(expected) > 1), (east, north, accuracy)
        if not found["on_border"]:
            assert found["candidates"] == []
            continue
        flagged += 1
        assert sum(one["share"] for one in found["candidates"]) == pytest.approx(1, abs=0.001)
        told = {
            (one["cell"] and one["cell"][:12], one["unit"] and one["unit"]["code"]): one for one in found["candidates"]
        }
        assert told.keys() == expected.keys(), (east, north, accuracy)
        for key, part in expected.items():
            assert told[key]["share"] == pytest.approx((part & circle).area / circle.area, abs=0.01), key
            assert told[key]["distance_m"] == pytest.approx(part.distance(here), abs=0.01), key
        assert [one["here"] for one in found["candidates"]] == [True] + [False] * (len(told) - 1)
        assert found["one_unit"] == (len({unit for _, unit in told}) == 1)
    assert flagged > 20


@pytest.mark.parametrize("reach_m", [10.0, 37.5, 250.0])
def test_a_border_counts_up_to_the_reach_and_not_a_millimetre_beyond(
    conn: Connection, template: City, reach_m: float
) -> None:
    step = 1 / 1024
    for away_m, flagged in ((reach_m - step, True), (reach_m, True), (reach_m + step, False)):
        # two communities are left of the hamlet, a hundred times as large: one border that is straight and long
        conn.execute(
            text(
                "update grids.cell set valid = case when community_code in ('610999001001', '610999002001') then valid "
                "else tstzrange(lower(valid), now()) end, geom = st_setsrid(st_translate(st_scale(st_translate(geom, "
                "-500200, -3600100), 100, 100), 500200, 3600100), 4545)"
            )
        )
        found = ask(conn, template, 200 - away_m, 100, accuracy_m=reach_m)
        others = [one for one in found["candidates"] if one["areas"] and one["areas"][0]["code"] == "610999002001"]
        assert bool(others) == flagged, away_m
        conn.rollback()


def test_the_answer_of_the_past_is_that_of_its_rules_units_and_cells(conn: Connection, template: City) -> None:
    then = conn.execute(text("select clock_timestamp()")).scalar_one()
    before = ask(conn, template, 50, 50)
    later = conn.execute(text("select clock_timestamp()")).scalar_one()
    change = record_change(conn, since=later, actor="a", reason="b").change_id
    conn.execute(
        text("update cases.rule set valid = tstzrange(lower(valid), :at), ended_change_id = :c"),
        {"at": later, "c": change},
    )
    conn.execute(text("update layers.unit set dissolved_at = :at where code = 'WEST'"), {"at": later})
    conn.execute(
        text(
            "insert into layers.unit (code, name_zh, name_en, kind, area_code, founded_at) "
            "values ('NEW', '新', 'New', 'street_office', '610999001', :at)"
        ),
        {"at": later},
    )
    now = ask(conn, template, 50, 50)
    assert (before["unit"]["code"], now["unit"]["code"]) == ("WEST", "NEW")
    past = ask(conn, template, 50, 50, at=then)
    assert past == {**before, "at": past["at"]}
    conn.execute(text("update grids.cell set valid = tstzrange(lower(valid), :at)"), {"at": later})
    assert ask(conn, template, 50, 50, at=then) == past, "cells that have ended still answer for their time"


def test_before_the_first_cell_it_says_from_when_there_is_a_grid(conn: Connection, template: City) -> None:
    with pytest.raises(Invalid, match="no grid at") as caught:
        ask(conn, template, 50, 50, at=datetime(2001, 1, 1, tzinfo=UTC))
    assert "2026-01-01T00:00:00+08:00" in str(caught.value.mend)


def test_two_polygons_that_claim_a_place_are_both_told(conn: Connection, template: City) -> None:
    zone_rule(conn, "A1", "WATER", square(0, 0, 60))
    zone_rule(conn, "A2", "LAMPS", square(40, 0, 60))
    both = ask(conn, template, 50, 30)
    assert both["on_border"]
    assert not both["one_unit"]
    assert (both["unit"]["code"], both["reason"]["rule"]) == ("WATER", "A1"), "of equals the lowest code leads"
    assert [(claim["rule"], claim["unit"]["code"]) for claim in both["claims"]] == [("A1", "WATER"), ("A2", "LAMPS")]
    alone = ask(conn, template, 20, 30)
    assert (alone["on_border"], alone["claims"]) == (False, [])
    cover = {"class_code": "C0101", "component_code": "6109990101000001"}
    zone_rule(conn, "A3", "LAMPS", square(40, 0, 60), class_prefix="C01")
    zone_rule(conn, "A4", "STATION", square(40, 0, 60), class_prefix="C01")
    assert ask(conn, template, 50, 30, **cover)["claims"] == [], "a fixed unit comes before all zones"


def test_a_unit_that_was_dissolved_is_passed_over(conn: Connection, template: City) -> None:
    lamp = {"class_code": "C0137", "component_code": "6109990137000001"}
    assert ask(conn, template, 150, 50, **lamp)["unit"]["code"] == "LAMPS"
    conn.execute(text("update layers.unit set dissolved_at = now() where code in ('LAMPS', 'WATER')"))
    assert ask(conn, template, 150, 50, **lamp)["unit"]["code"] != "LAMPS"
    cover = ask(conn, template, 50, 50, class_code="C0101", condition_no=1)
    assert cover["unit"]["code"] == "WEST", "the rule names a body that is no more: the territory is left"


def test_ground_without_a_cell_is_told_and_a_city_without_cells_says_so(conn: Connection, template: City) -> None:
    beside = ask(conn, template, 50, -5)
    assert beside["on_border"]
    assert beside["cell"]["placed"] == "nearest"
    assert [(one["cell"], one["here"]) for one in beside["candidates"]] == [(None, True), ("610999001001003", False)]
    assert beside["unit"]["code"] == "WEST", "within the city's tolerance the nearest cell answers, and says so"
    conn.execute(text("truncate grids.cell cascade"))
    with pytest.raises(NotFound, match="no grid yet"):
        ask(conn, template, 50, 50)


def test_numbers_of_another_system_are_noticed_by_the_component_that_is_named(conn: Connection, template: City) -> None:
    x, y = at(150, 50)
    lon, lat = (float(axis) for axis in transform(x, y, SRID, GCJ02))
    conn.execute(
        text("update grids.cell set geom = st_buffer(geom, 1500, 'join=mitre') where code like '610999001001003'")
    )
    lamp = {"class_code": "C0137", "component_code": "6109990137000001"}
    found = jurisdiction(conn, template, Asked(x=lon, y=lat, srid=GEODETIC, **lamp))
    assert found["component"]["distance_m"] > 300
    assert "GCJ-02" in found["component"]["reading"]["en"]
    right = jurisdiction(conn, template, Asked(x=lon, y=lat, srid=GCJ02, **lamp))
    assert right["component"]["reading"] is None


@pytest.mark.parametrize("accuracy", ["5000", "-1", "NaN", "inf", "1000.1"])
def test_an_accuracy_that_says_no_place_is_refused(door: Door, accuracy: str) -> None:
    x, y = at(50, 50)
    answer = door.get("/locate", lon=x, lat=y, crs=SRID, accuracy=accuracy)
    assert answer.status_code == 422
    assert answer.json()["where"]["field"] == "accuracy"


def test_a_report_with_a_wide_error_becomes_a_case_and_shows_who_else_could_be_meant(door: Door) -> None:
    x, y = at(150, 50)
    report = {"class": "E0101", "lon": x, "lat": y, "crs": SRID, "accuracy_m": 5000, "description": "somewhere"}
    case = door.post("/cases", report, "collector").json()
    assert case["dispute"]["on_border"]
    assert case["dispute"]["reach_m"] == 1000
    assert {one["unit"] and one["unit"]["code"] for one in case["dispute"]["candidates"]} == {
        "WEST",
        "EAST",
        "STATION",
        None,
    }


def test_who_walks_here_and_which_open_cases_may_be_the_same(door: Door) -> None:
    x, y = at(250, 150)
    asked = {"lon": x, "lat": y, "crs": SRID, "class": "E0101"}
    before = door.get("/locate", **asked).json()
    assert before["collector"] is None, "the cell is in no responsibility grid"
    assert before["open_cases"] == []
    no = door.post("/cases", {**asked, "lon": x + 30.0}, "collector").json()["no"]
    far = door.post("/cases", {**asked, "lon": x + 60.0}, "collector").json()["no"]
    other = door.post("/cases", {**asked, "class": "E0102"}, "collector").json()["no"]
    near = door.get("/locate", **asked).json()["open_cases"]
    assert [(one["no"], one["distance_m"]) for one in near] == [(no, 30.0)]
    assert far != other
    x, y = at(50, 150)
    walked = door.get("/locate", lon=x, lat=y, crs=SRID).json()["collector"]
    assert (walked["grid"]["code"], walked["collector"]["code"]) == ("R1", "K1")
