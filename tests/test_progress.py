"""Progress of a census and differences between instants: counts that add up, and agree with a second engine."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapely import LineString, Point
from sqlalchemy import Connection, text

from api.censusprogress import communities, percent, progress_lines, tone_of
from api.differing import difference_file, difference_lines
from api.progresspage import write_map, write_table
from gis.errors import Invalid, NotFound, UnfitFile
from gis.formats import read_vector
from grids.areas import AREAS
from grids.city import City
from layers import edits
from layers.difference import differences
from layers.edits import changed_fields, version_at, versions
from layers.progress import COUNTS, Progress, census_progress
from tests.doorstep import Door
from tests.hamlet import SRID, at
from tests.test_components_http import added, point, send
from tests.test_http_errors import refused

LAMP = "6109990137000001"
NOW = datetime(2026, 11, 20, 4, tzinfo=UTC)


def clock(conn: Connection) -> datetime:
    """The database's clock."""
    now: datetime = conn.execute(text("select clock_timestamp()")).scalar_one()
    return now


def add(conn: Connection, east_m: float, north_m: float = 5, **fields: Any) -> str:
    whole = {"geometry": Point(at(east_m, north_m)), **fields}
    return edits.add(conn, "C0137", whole, srid=SRID, actor="me", reason="a test")[0].code


def change(conn: Connection, code: str, **fields: Any) -> None:
    base = version_at(conn, code)
    edits.change(conn, code, fields, base_id=base.id, srid=SRID, actor="me", reason="a test")


def retire(conn: Connection, code: str) -> None:
    edits.retire(conn, code, base_id=version_at(conn, code).id, actor="me", reason="a test")


def revive(conn: Connection, code: str) -> None:
    edits.revive(conn, code, base_id=versions(conn, code)[-1].id, srid=SRID, actor="me", reason="a mistake")


# ── progress ────────────────────────────────────────


def counted(conn: Connection, city: City, **how: Any) -> dict[str, int]:
    found = census_progress(conn, city, **{"since_on": date(2026, 3, 1), "now": NOW, **how})
    return {name: int(many) for name, many in found.by().iloc[0].items()}


def test_each_component_is_surveyed_to_confirm_or_stale(conn: Connection, template: City) -> None:
    before = counted(conn, template)
    add(conn, 5, surveyed_on=date(2026, 3, 1))  # the first day counts
    add(conn, 6, surveyed_on=date(2026, 2, 28))
    add(conn, 7, surveyed_on=date(2024, 11, 20))  # the last day within 24 months
    add(conn, 8, surveyed_on=date(2024, 11, 19))
    add(conn, 9)  # never
    after = counted(conn, template)
    assert {name: after[name] - before[name] for name in COUNTS} == {
        **{"components": 5, "surveyed": 1, "new": 1, "changed": 0, "to_confirm": 2, "stale": 2, "gone": 0}
    }


def test_changed_is_what_differs_from_the_day_on_which_it_began(conn: Connection, template: City) -> None:
    conn.execute(text("update layers.component set valid = '[2026-01-01,)', surveyed_on = '2026-01-02'"))
    codes = conn.execute(text("select code from layers.component where class_code = 'C0137' order by code")).scalars()
    code = next(iter(codes))
    assert counted(conn, template)["surveyed"] == 0
    change(conn, code, surveyed_on=date(2026, 4, 1))
    assert counted(conn, template)["surveyed"] == 1
    assert counted(conn, template)["changed"] == 0  # confirmed: only the day of the visit differs
    change(conn, code, state="damaged")
    assert counted(conn, template)["changed"] == 1
    change(conn, code, state="intact")
    assert counted(conn, template)["changed"] == 0  # there and back
    change(conn, code, geometry=Point(at(11, 11)))
    assert counted(conn, template)["changed"] == 1
    assert counted(conn, template)["new"] == 0
    total = counted(conn, template)
    retire(conn, code)
    gone = counted(conn, template)
    assert (gone["components"], gone["gone"], gone["surveyed"]) == (total["components"] - 1, 1, 0)
    revive(conn, code)
    assert counted(conn, template) == total


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(days=st.lists(st.none() | st.dates(date(2022, 1, 1), date(2026, 11, 20)), max_size=8), months=st.integers(1, 60))
def test_the_counts_add_up_and_agree_with_pandas(
    conn: Connection, template: City, days: list[date | None], months: int
) -> None:
    with conn.begin_nested() as part:
        for n, day in enumerate(days):
            add(conn, 3 + 90 * (n % 2) + n, surveyed_on=day)
        found = census_progress(conn, template, since_on=date(2026, 1, 1), stale_months=months, now=NOW)
        raw = pd.DataFrame(
            conn.execute(text("select surveyed_on, cell_code from layers.component where upper_inf(valid)"))
        )
        part.rollback()
    seen = pd.to_datetime(raw["surveyed_on"])
    fresh = pd.Timestamp("2026-11-20") - pd.DateOffset(months=months)
    rows = found.rows
    assert (rows["components"] == rows["surveyed"] + rows["to_confirm"] + rows["stale"]).all()
    total = found.by().iloc[0]
    assert total["surveyed"] == (seen >= "2026-01-01").sum()
    assert total["stale"] == (~(seen >= min(fresh, pd.Timestamp("2026-01-01")))).sum()
    by_hand = raw["cell_code"].fillna("").str[:12].value_counts().to_dict()
    assert dict(zip(found.by("community")["community"], found.by("community")["components"], strict=True)) == by_hand


def test_classes_and_areas_narrow_and_the_parts_are_the_whole(conn: Connection, template: City) -> None:
    whole = counted(conn, template)
    classes = census_progress(conn, template, since_on=date(2026, 3, 1), now=NOW).rows["class_code"].unique()
    parts = [counted(conn, template, classes=[name]) for name in classes]
    assert {name: sum(part[name] for part in parts) for name in COUNTS} == whole
    assert counted(conn, template, areas=["610999001"])["components"] <= whole["components"]
    assert counted(conn, template, areas=["999"])["components"] == 0


def test_days_and_months_that_cannot_be_are_refused(conn: Connection, template: City) -> None:
    for how in ({"since_on": date(2026, 11, 21)}, {"since_on": date(1899, 12, 31)}, {"stale_months": 0}):
        with pytest.raises(Invalid):
            counted(conn, template, **how)


def test_a_share_is_100_percent_only_if_it_is_all() -> None:
    assert [percent(share) for share in (0.0, 0.001, 0.5, 0.9999, 1.0)] == ["0 %", "1 %", "50 %", "99 %", "100 %"]
    assert len({tone_of(share) for share in (0.0, 0.1, 0.3, 0.6, 0.9, 0.9999, 1.0, np.nan)}) == 7


def found_progress(conn: Connection, city: City) -> tuple[Progress, Any]:
    add(conn, 5, surveyed_on=date(2026, 3, 1))
    conn.execute(text("update layers.component set cell_code = null where code = :code"), {"code": LAMP})
    return census_progress(conn, city, since_on=date(2026, 3, 1), now=NOW), AREAS.read(conn, city.srid)


def test_the_progress_is_written_as_table_sheet_page_and_layer(
    conn: Connection, template: City, tmp_path: Path
) -> None:
    found, areas = found_progress(conn, template)
    lines = [en for en, _ in progress_lines(found, areas)]
    assert any("in no cell" in line for line in lines)
    write_table(tmp_path / "t.csv", found, areas)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text("utf-8-sig"))))
    assert sum(int(row["components"]) for row in rows) == found.by().iloc[0]["components"]
    for name in ("m.html", "m.pdf", "m.png", "m.gpkg"):
        write_map(tmp_path / name, found, areas, template)
        assert (tmp_path / name).stat().st_size > 10_000
    page = (tmp_path / "m.html").read_text("utf-8")
    assert (
        "http"
        not in page.replace("http://www.w3.org", "")[:0] + page.split("<body")[0].replace("http://www.w3.org", "")[:0]
    )
    assert "in no cell" in page
    layer = read_vector(tmp_path / "m.gpkg")
    places = communities(found, areas)
    assert sorted(layer["components"]) == sorted(places["components"])
    with pytest.raises(UnfitFile):
        write_map(tmp_path / "m.doc", found, areas, template)


# ── differences ────────────────────────────────────────


def found(conn: Connection, first: datetime, last: datetime, **how: Any) -> dict[str, str]:
    frame = differences(conn, first, last, srid=SRID, **how)
    assert (frame["matched"] == len(frame)).all()
    return dict(zip(frame["code"], frame["fate"], strict=True))


def test_each_fate_is_told_with_its_fields(conn: Connection) -> None:
    stays, moves, goes = (add(conn, east) for east in (20, 30, 40))
    line = edits.add(conn, "C0137", {"geometry": Point(at(50, 50))}, srid=SRID, actor="me", reason="a test")[0].code
    first = clock(conn)
    change(conn, LAMP, state="damaged", attrs={"lamps": 2})
    change(conn, moves, geometry=Point(at(33, 9)), name_zh="灯")
    retire(conn, goes)
    came = add(conn, 60)
    passing = add(conn, 70)
    retire(conn, passing)
    change(conn, line, state="lost")
    change(conn, line, state="intact")  # there and back
    last = clock(conn)
    change(conn, stays, state="lost")  # after it
    assert found(conn, first, last) == {LAMP: "changed", moves: "moved", goes: "retired", came: "new"}
    rows = differences(conn, first, last, srid=SRID).set_index("code")
    assert rows.loc[LAMP, "fields"] == {"state": ["intact", "damaged"], "attrs.lamps": [None, 2]}
    assert rows.loc[moves, "fields"] == {"name_zh": [None, "灯"]}
    assert rows.loc[moves, "moved_m"] == pytest.approx(5, abs=0.01)
    assert set(rows["actor"]) == {"me"}
    assert found(conn, first, last, classes=["C01"]) == found(conn, first, last)
    assert found(conn, first, last, classes=["C02"]) == {}
    assert found(conn, first, last, areas=["999"]) == {}
    x, y = at(60, 5)
    assert found(conn, first, last, bbox=(x - 1, y - 1, x + 1, y + 1)) == {came: "new"}
    x, y = at(30, 5)  # where it stood before
    assert found(conn, first, last, bbox=(x - 1, y - 1, x + 1, y + 1)) == {moves: "moved"}


moves_made = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["state", "place", "attrs", "retire", "revive", "mark"])), max_size=14
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(moves=moves_made)
def test_a_difference_is_what_two_readings_of_the_past_differ_in(
    conn: Connection, moves: list[tuple[int, str]]
) -> None:
    with conn.begin_nested() as part:
        codes = [add(conn, 10 + n) for n in range(4)]
        marks = [clock(conn)]
        for n, (which, what) in enumerate(moves):
            code = codes[which]
            stands = versions(conn, code)[-1].until is None
            if what == "mark":
                marks.append(clock(conn))
            elif what == "revive":
                revive(conn, code)
            elif stands and what == "retire":
                retire(conn, code)
            elif stands:
                fields: dict[str, Any] = {"state": {"state": ["intact", "lost"][n % 2]}}.get(what, {})
                fields = fields or (
                    {"attrs": {"n": n % 3}} if what == "attrs" else {"geometry": Point(at(20 + n % 3, 8))}
                )
                change(conn, code, **fields)
        marks.append(clock(conn))
        for first, last in pairwise(marks):
            told = differences(conn, first, last, srid=SRID).set_index("code")
            for code in codes:
                old, new = (_held(conn, code, instant) for instant in (first, last))
                if old is None or new is None:
                    fate = None if old is new else "new" if old is None else "retired"
                    assert (told.loc[code, "fate"] if code in told.index else None) == fate
                    continue
                fields = {name: list(pair) for name, pair in changed_fields(old, new).items()}
                moved = fields.pop("geometry", None) is not None
                assert (code in told.index) == bool(fields or moved)
                if code in told.index:
                    assert (told.loc[code, "fate"] == "moved") == moved
                    assert told.loc[code, "fields"] == fields
        part.rollback()


def _held(conn: Connection, code: str, instant: datetime) -> Any:
    try:
        return version_at(conn, code, instant)
    except NotFound:
        return None


def test_pages_are_the_whole(conn: Connection) -> None:
    first = clock(conn)
    codes = [add(conn, 10 + n) for n in range(7)]
    last = clock(conn)
    seen: list[str] = []
    while True:
        page = differences(conn, first, last, srid=SRID, after=seen[-1] if seen else "", most=3)
        if page.empty:
            break
        assert (page["matched"] == 7).all()
        seen += list(page["code"])
    assert seen == sorted(codes)


def test_of_lines_it_is_told_how_far_they_moved(conn: Connection) -> None:
    drawn = "update layers.component set geom = st_setsrid(st_geomfromtext(:line), :srid) where code = :code"
    (x, y), facts = at(10, 10), {"srid": SRID, "code": LAMP}
    conn.execute(text(drawn), {"line": LineString([(x, y), (x + 5, y)]).wkt, **facts})
    first = clock(conn)
    conn.execute(text("""
        with ended as (
          update layers.component set valid = tstzrange(lower(valid), clock_timestamp()), ended_change_id = change_id
          where code = :code and upper_inf(valid) returning *)
        insert into layers.component (code, edition, class_code, state, data_source, geom, valid, change_id)
        select code, edition, class_code, state, data_source, st_setsrid(st_geomfromtext(:line), :srid),
          tstzrange(upper(valid), null), change_id from ended"""),
        {"line": LineString([(x, y), (x + 8, y)]).wkt, **facts},
    )  # fmt: skip
    rows = differences(conn, first, clock(conn), srid=SRID)
    assert rows["fate"].tolist() == ["moved"]
    assert rows["moved_m"].tolist() == [pytest.approx(3, abs=0.01)]


def test_the_difference_is_a_layer(conn: Connection, template: City, tmp_path: Path) -> None:
    first = clock(conn)
    assert [en for en, _ in difference_lines(differences(conn, first, clock(conn), srid=SRID))] == ["no difference"]
    change(conn, LAMP, state="damaged", attrs={"材质": "钢"})
    code = add(conn, 90)
    rows = differences(conn, first, clock(conn), srid=SRID)
    difference_file(rows, tmp_path / "d.gpkg", template)
    read = read_vector(tmp_path / "d.gpkg").set_index("code")
    assert (read.loc[LAMP, "before"], read.loc[LAMP, "after"]) == (
        "state: intact; attrs.材质: —",
        "state: damaged; attrs.材质: 钢",
    )
    assert read.loc[code, "fate"] == "new"
    assert read["simulated"].tolist() == [template.simulated] * 2
    with pytest.raises(Invalid):
        differences(conn, first, first - timedelta(seconds=1), srid=SRID)


# ── over HTTP ────────────────────────────────────────


def test_the_list_pages_narrows_and_knows_the_past(door: Door) -> None:
    codes = [added(door, 130 + n)["code"] for n in range(3)]
    whole = door.get("/components", limit=1000).json()
    assert whole["matched"] == len(whole["features"])
    seen: list[str] = []
    after = ""
    while after is not None:
        page = door.get("/components", limit=2, after=after).json()
        assert page["matched"] == whole["matched"]
        seen += [one["properties"]["code"] for one in page["features"]]
        after = page["next"]
    assert seen == [one["properties"]["code"] for one in whole["features"]]
    gone = send(door, "POST", f"/components/{codes[1]}/retire", {"base": _version(door, codes[1]), "reason": "x"})
    assert gone.status_code == 200
    assert door.get("/components", limit=1000).json()["matched"] == whole["matched"] - 1
    here = point(131, 20)["coordinates"]
    bbox = f"{here[0] - 1e-6},{here[1] - 1e-6},{here[0] + 1e-6},{here[1] + 1e-6}"
    assert door.get("/components", bbox=bbox).json()["matched"] == 0
    back = send(door, "POST", f"/components/{codes[1]}/revive", {"base": _last(door, codes[1]), "reason": "a mistake"})
    assert back.status_code == 200, back.text
    found = door.get("/components", bbox=bbox).json()["features"]
    assert [one["properties"]["code"] for one in found] == [codes[1]]
    assert door.get("/components", **{"class": "C01"}, limit=1).json()["matched"] == whole["matched"]
    assert door.get("/components", at="2019-01-01").json()["matched"] == 0
    assert door.get("/components", bbox="-180,-85,180,85").json()["matched"] == whole["matched"]


def _version(door: Door, code: str) -> int:
    number: int = door.get(f"/components/{code}").json()["version"]
    return number


def _last(door: Door, code: str) -> int:
    number: int = door.get(f"/components/{code}/versions").json()["versions"][-1]["version"]
    return number


def test_changes_over_http_tell_before_and_after(door: Door) -> None:
    made = added(door, 170)
    start = door.get(f"/components/{made['code']}/versions").json()["versions"][0]["since"]
    edit = {"base": made["version"], "state": "damaged", "reason": "seen"}
    send(door, "PATCH", f"/components/{made['code']}", edit)
    later = (datetime.fromisoformat(start) + timedelta(hours=1)).isoformat()
    told = door.get("/components/changes", **{"from": "2020-01-01", "to": later}).json()
    mine = [one for one in told["features"] if one["properties"]["code"] == made["code"]]
    assert [one["properties"]["fate"] for one in mine] == ["new"]
    assert told["matched"] >= len(told["features"])
    refused(door.get("/components/changes", **{"from": later, "to": "2020-01-01"}), 422, "Invalid")


BAD = {
    "year": ("/components", {"at": "0001-01-01T00:00:00+14:00"}),
    "years": ("/components/changes", {"from": "9999-12-31T23:59:59-14:00"}),
    "no instant": ("/components/changes", {"from": "yesterday"}),
    "no from": ("/components/changes", {}),
    "box": ("/components", {"bbox": "1,2,3"}),
    "far": ("/components", {"bbox": "-60,-30,-59,-29"}),
    "class": ("/components", {"class": "X01"}),
    "area": ("/components", {"area": "61;--"}),
    "limit": ("/components", {"limit": "1001"}),
    "after": ("/components", {"after": "abc"}),
    "since": ("/census/progress", {"since": "2999-01-01"}),
    "months": ("/census/progress", {"stale_months": "0"}),
    "by": ("/census/progress", {"by": "street"}),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_asked_is_refused(door: Door, name: str) -> None:
    path, how = BAD[name]
    refused(door.get(path, **how), 422, "Invalid")


def test_progress_over_http_is_a_table_and_a_layer(door: Door) -> None:
    added(door, 150, surveyed_on="2026-03-05")
    table = door.get("/census/progress", since="2026-03-01").json()
    assert table["total"]["components"] == sum(row["components"] for row in table["rows"])
    assert table["total"]["surveyed"] >= 1
    for by in ("class", "both"):
        other = door.get("/census/progress", since="2026-03-01", by=by).json()
        assert other["total"] == table["total"]
        assert sum(row["stale"] for row in other["rows"]) == table["total"]["stale"]
    layer = door.get("/census/progress", since="2026-03-01", format="geojson")
    assert layer.headers["Content-Type"] == "application/geo+json"
    places = layer.json()["features"]
    assert sum(one["properties"]["components"] for one in places) == table["total"]["components"]
