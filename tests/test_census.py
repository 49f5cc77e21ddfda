"""A census file against the hamlet's inventory: what differs is exactly what differs, and nothing is half done."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
from shapely import LineString, Point, Polygon
from sqlalchemy import Connection, text

from gis.errors import Conflict, Invalid, NotFound, UnfitCoordinates, UnfitFile
from grids.city import City
from layers import edits
from layers.census import import_census
from layers.census_log import list_censuses, undo_census
from layers.census_mapping import parse_mapping
from layers.census_report import CensusReport
from tests.hamlet import SRID, at

MAPPING: dict[str, Any] = {
    "source": "survey 2026",
    "class_field": "class",
    "code": "code",
    "key": "key",
    "name_zh": "name",
    "state": "state",
    "surveyed_field": "day",
    "owner_unit": "owner",
    "attributes": {"material": "material", "lamps": "lamps"},
    "match_m": 2.0,
}
EVERYTHING = text(
    "select code, edition, class_code, name_zh, cell_code, supervising_unit_id, owner_unit_id, maintainer_unit_id, "
    "state, surveyed_on, changed_on, data_source, attrs, source_key, st_asewkb(geom) as geom "
    "from layers.component where upper_inf(valid) order by code"
)


def row(east_m: float, north_m: float, class_code: str = "C0137", **more: Any) -> dict[str, Any]:
    """A row of a survey, so many metres from the hamlet's corner."""
    blank = {"code": None, "key": None, "name": "路灯", "state": "完好", "day": "2026-05-01", "owner": "POWER"}
    known = {"material": "铸铁", "lamps": 2, "geometry": Point(at(east_m, north_m))}
    return {"class": class_code, **blank, **known, **more}


def survey(path: Path, rows: list[dict[str, Any]], srid: int | None = SRID) -> Path:
    """A GeoPackage with the rows."""
    texts = ("class", "code", "key", "name", "state", "day", "owner", "material")
    frame = gpd.GeoDataFrame(rows, geometry="geometry", crs=srid)
    frame = frame.astype({name: "object" for name in texts}).astype({"lamps": "Int64"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a file without a system has none
        pyogrio.write_dataframe(frame, path, layer="survey", geometry_type="Unknown")
    return path


@pytest.fixture
def run(conn: Connection, template: City, tmp_path: Path) -> Callable[..., CensusReport]:
    """Import rows into the hamlet; ``mapping`` replaces keys of MAPPING (None takes one out)."""
    number = iter(range(1000))

    def importing(rows: list[dict[str, Any]] | Path, *, commit: bool = True, **options: Any) -> CensusReport:
        table = {**MAPPING, **options.pop("mapping", {})}
        table = {key: value for key, value in table.items() if value is not None}
        mapping = parse_mapping(table, tmp_path / "mapping.toml")
        path = rows if isinstance(rows, Path) else survey(tmp_path / f"survey{next(number)}.gpkg", rows)
        return import_census(conn, template, path, mapping, actor="tester", commit=commit, **options)

    return importing


def inventory(conn: Connection) -> list[tuple[Any, ...]]:
    """Everything that an export shows of the components of today."""
    return [tuple(map(str, one)) for one in conn.execute(EVERYTHING)]


def versions(conn: Connection) -> int:
    return int(conn.execute(text("select count(*) from layers.component")).scalar_one())


def fates(report: CensusReport) -> dict[str, int]:
    found = {fate: report.total(fate) for fate in ("new", "same", "confirmed", "changed", "moved", "gone")}
    found |= {fate: report.total(fate) for fate in ("ambiguous", "refused")}
    return {fate: many for fate, many in found.items() if many}


BASE = [row(20 * n + 5, 30, key=f"K{n}") for n in range(1, 10)]


# ── nothing is half done ────────────────────────────────────────


def test_a_dry_run_says_what_would_be_and_changes_nothing(conn: Connection, run: Any) -> None:
    before, count = inventory(conn), versions(conn)
    assert fates(run(BASE, commit=False)) == {"new": 9}
    assert (inventory(conn), versions(conn)) == (before, count)
    assert list_censuses(conn) == []


def test_the_same_file_twice_changes_nothing(conn: Connection, run: Any) -> None:
    assert fates(run(BASE)) == {"new": 9}
    before, count = inventory(conn), versions(conn)
    again = run(BASE)
    assert fates(again) == {"same": 9}
    assert again.census_id is None
    assert (inventory(conn), versions(conn), len(list_censuses(conn))) == (before, count, 1)


def test_an_undone_import_leaves_the_inventory_as_it_was(conn: Connection, run: Any) -> None:
    run(BASE)
    before = inventory(conn)
    changed = [row(25, 31, key="K1"), row(45, 30, key="K2", state="破损"), row(300, 300, key="K77"), *BASE[2:8]]
    report = run(changed, mapping={"extent": "areas"})
    assert fates(report) == {"new": 1, "same": 6, "changed": 1, "moved": 1, "gone": 3}  # K9, and the hamlet's two lamps
    assert inventory(conn) != before
    undo_census(conn, report.census_id or 0, actor="tester")
    assert inventory(conn) == before
    with pytest.raises(Conflict):
        undo_census(conn, report.census_id or 0, actor="tester")
    with pytest.raises(NotFound):
        undo_census(conn, 99, actor="tester")


def test_an_import_whose_components_were_edited_since_is_not_undone_unawares(conn: Connection, run: Any) -> None:
    before = inventory(conn)
    first = run(BASE)
    run([row(25, 30, key="K1", state="丢失")])
    with pytest.raises(Conflict, match="edited since"):
        undo_census(conn, first.census_id or 0, actor="tester")
    undo_census(conn, first.census_id or 0, actor="tester", keep_edited=True)
    left = set(inventory(conn)) - set(before)
    assert len(left) == 1


def test_versions_never_overlap_and_point_to_their_changes(conn: Connection, run: Any) -> None:
    for state in ("完好", "破损", "完好"):
        run([{**one, "state": state} for one in BASE])
    rows = conn.execute(
        text(
            "select code, lower(valid) as low, upper(valid) as high, change_id, ended_change_id, "
            "lead(lower(valid)) over (partition by code order by lower(valid)) as next, "
            "lead(change_id) over (partition by code order by lower(valid)) as next_id from layers.component"
        )
    ).all()
    assert len(rows) == 3 + 27
    assert all(one.high == one.next and one.ended_change_id == one.next_id for one in rows)


def test_errors_refuse_all_or_are_left_out_on_demand(conn: Connection, run: Any) -> None:
    before = inventory(conn)
    rows = [*BASE, row(5, 5, key="bad", state="fine?")]
    with pytest.raises(Invalid, match="no state"):
        run(rows)
    assert inventory(conn) == before
    assert fates(run(rows, skip_errors=True)) == {"new": 9, "refused": 1}


# ── matching ────────────────────────────────────────


def test_what_is_gone_is_so_only_inside_the_surveyed_extent(run: Any) -> None:
    assert fates(run(BASE, commit=False)) == {"new": 9}
    assert fates(run(BASE, commit=False, mapping={"extent": "areas"})) == {"new": 9, "gone": 2}
    west = {"extent": ["610999001"]}
    assert fates(run(BASE, commit=False, mapping=west)) == {"new": 9, "gone": 1}


def test_rows_are_matched_by_code_then_key_then_place(conn: Connection, run: Any) -> None:
    lamp = "6109990137000001"
    by_code = run([row(150, 51, code=lamp, key="A")], commit=True)
    assert fates(by_code) == {"moved": 1}
    by_key = run([row(150, 60, key="A")], commit=False)
    assert fates(by_key) == {"moved": 1}
    by_place = run([row(250.5, 50)], commit=False)
    assert fates(by_place) == {"moved": 1}
    assert by_place.differences["moved_m"].tolist() == [0.5]
    assert fates(run([row(253, 50)], commit=False)) == {"new": 1}


def test_pairs_that_are_not_clear_are_shown_and_not_decided(conn: Connection, run: Any) -> None:
    run([row(20, 20), row(21, 20)], mapping={"key": None})
    unclear = run([row(20.5, 20)], commit=False, mapping={"extent": "areas", "key": None})
    assert fates(unclear) == {"ambiguous": 1, "gone": 2}  # the hamlet's two lamps; what may be meant is not gone
    assert unclear.tally["ambiguous"] == 1
    clear = run([row(20.1, 20), row(21.2, 20)], commit=False, mapping={"key": None})
    assert fates(clear) == {"moved": 2}


def test_components_at_one_place_are_paired_in_their_order(conn: Connection, run: Any) -> None:
    twins = [row(20, 20, material="甲"), row(20, 20, material="乙")]
    run(twins, mapping={"key": None})
    assert fates(run(twins, mapping={"key": None})) == {"same": 2}


def test_new_components_get_the_next_serial_and_codes_never_come_back(conn: Connection, run: Any) -> None:
    report = run([row(5, 5, key="n1"), row(305, 5, key="n2"), row(5, 5, "C0101", key="n3")])
    codes = conn.execute(
        text("select code, cell_code from layers.component where source_key in ('n1', 'n2', 'n3') order by source_key")
    ).all()
    assert [tuple(one) for one in codes] == [
        ("6109990137000003", "610999001001003"),
        ("6109990137000004", "610999002001004"),
        ("6109990101000002", "610999001001003"),
    ]
    undo_census(conn, report.census_id or 0, actor="tester")
    run([row(5, 5, key="n1")])
    assert conn.execute(text("select max(code) from layers.component")).scalar_one() == "6109990137000005"
    back = run([row(5, 5, code="6109990137000004")], commit=False)  # only the undo took it away
    assert back.tally == {"near_in_inventory": 1}
    now = edits.version_at(conn, "6109990137000005")
    edits.retire(conn, now.code, base_id=now.id, actor="tester", reason="removed")
    assert run([row(5, 5, code=now.code)], commit=False).tally == {"code_retired": 1}


def test_a_code_of_the_file_keeps_its_serial_from_others(conn: Connection, run: Any) -> None:
    run([row(5, 5, code="6109990137000009"), row(50, 5, key="n")])
    assert set(conn.execute(text("select code from layers.component where class_code = 'C0137'")).scalars()) == {
        *("6109990137000001", "6109990137000002", "6109990137000009", "6109990137000010")
    }


def test_somebody_who_edits_while_a_file_is_compared_is_not_overwritten(
    server: Any, template: City, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from layers import census
    from tests.conftest import copied

    engine = copied(server, template, "census_race")
    path = survey(tmp_path / "survey.gpkg", [row(150, 52, code="6109990137000001", key="A")])
    real = census._report

    def editing(*given: Any) -> CensusReport:
        with engine.begin() as other:
            other.execute(
                text(
                    "update layers.component set valid = tstzrange(lower(valid), clock_timestamp()), "
                    "ended_change_id = 1 where code = '6109990137000001'"
                )
            )
        return real(*given)

    monkeypatch.setattr(census, "_report", editing)
    mapping = parse_mapping(MAPPING, tmp_path / "mapping.toml")
    with pytest.raises(Conflict, match="edited by others"), engine.begin() as conn:
        import_census(conn, template, path, mapping, actor="tester", commit=True)
    engine.dispose()


# ── what a file does not say stays ────────────────────────────────────────


def test_fields_that_the_mapping_does_not_name_are_kept(conn: Connection, run: Any) -> None:
    names = ("name_zh", "state", "surveyed_field", "owner_unit", "attributes", "key")
    only_code = run([row(50, 50, "C0101", code="6109990101000001", state="破损")], mapping=dict.fromkeys(names))
    assert fates(only_code) == {"same": 1}
    one = run(
        [row(50, 50, "C0101", code="6109990101000001", state="破损")], mapping=dict.fromkeys(("name_zh", "owner_unit"))
    )
    assert one.differences["fields"].tolist() == ["state, surveyed_on, attrs"]
    kept = conn.execute(
        text("select attrs, name_zh from layers.component where code = '6109990101000001' and upper_inf(valid)")
    ).one()
    assert kept.attrs == {"材质": "铸铁", "material": "铸铁", "lamps": 2}


def test_a_new_day_of_survey_alone_confirms(run: Any) -> None:
    run(BASE)
    assert fates(run([{**one, "day": "2026-06-01"} for one in BASE])) == {"confirmed": 9}
    assert fates(run([{**one, "day": None} for one in BASE])) == {"same": 9}


# ── faults ────────────────────────────────────────

GOOD = "6109990137000007"
FAULTS: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "null": ("no_geometry", {"geometry": None}, "geometry"),
    "line": ("geometry_type", {"geometry": LineString([at(0, 0), at(5, 5)])}, "geometry"),
    "outside": ("outside", {"geometry": Point(at(-50, 50))}, "geometry"),
    "short": ("code_form", {"code": "61099901370001"}, "code"),
    "zeros": ("code_form", {"code": "6109990137000000"}, "code"),
    "rounded": ("code_lost", {"code": "6.10999E+15"}, "code"),
    "class": ("code_class", {"code": "6109990101000007"}, "code"),
    "district": ("code_district", {"code": "6108880137000007"}, "code"),
    "no class": ("class_unknown", {"class": "C0199"}, "class"),
    "event": ("class_unknown", {"class": "E0102"}, "class"),
    "unit": ("unit_unknown", {"owner": "NOBODY"}, "owner"),
    "state": ("state_unknown", {"state": "漂亮"}, "state"),
    "day": ("day", {"day": "2026-02-30"}, "day"),
    "future": ("day_odd", {"day": "2226-02-03"}, "day"),
    "old": ("day_odd", {"day": "18260203"}, "day"),
    "no key": ("key_missing", {"key": None}, "key"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_told_at_its_row_and_field(run: Any, name: str) -> None:
    rule, fault, field = FAULTS[name]
    report = run([*BASE, row(5, 5, **{"key": "odd", **fault}), row(350, 350, key="last")], commit=False)
    assert report.tally == {rule: 1}
    found = report.findings.iloc[0]
    assert (found["rule"], found["row"], found["field"]) == (rule, 10, field)
    assert report.rules[rule].mend
    assert report.rules[rule].mend_zh


def test_all_faults_together_are_each_found_once(run: Any) -> None:
    bad = [row(20 * n + 5, 150, **{"key": f"f{n}", **fault}) for n, (_, fault, _) in enumerate(FAULTS.values())]
    report = run([*BASE, *bad], commit=False)
    wanted = pd.Series([rule for rule, _, _ in FAULTS.values()]).value_counts().to_dict()
    assert report.tally == wanted


def test_codes_and_keys_that_come_twice_are_told_at_both_rows(run: Any) -> None:
    twice = [row(5, 5, code=GOOD, key="a"), row(50, 5, code=GOOD, key="b"), row(95, 5, key="c"), row(140, 5, key="c")]
    report = run(twice, commit=False)
    assert report.tally == {"code_duplicate": 2, "key_duplicate": 2}
    assert report.findings["row"].tolist() == [1, 2, 3, 4]


def test_what_stands_within_its_accuracy_of_another_is_told(run: Any) -> None:
    near = [row(5, 5, key="a"), row(5.3, 5, key="b"), row(5, 5, "C0101", key="c"), row(150.4, 50.0, key="d")]
    report = run(near, commit=False, mapping={"match_m": None})
    assert report.tally == {"near_in_file": 1, "near_in_inventory": 1}
    assert report.findings["detail_en"].tolist() == ["0.30 m from row 1", "0.40 m from 6109990137000001"]


def test_a_refused_row_keeps_its_class_from_counting_as_gone(run: Any) -> None:
    report = run([*BASE, row(5, 5, key="x", state="?")], commit=False, mapping={"extent": "areas"})
    assert fates(report) == {"new": 9, "refused": 1}
    assert report.tally == {"state_unknown": 1, "gone_unknown": 1}


def test_rows_that_are_all_moved_alike_tell_of_a_wrong_system(run: Any) -> None:
    rows = [row(5 + 7 * n, 30, key=f"K{n}") for n in range(40)]
    run(rows)
    moved = [{**one, "geometry": Point(one["geometry"].x + 0.9, one["geometry"].y)} for one in rows]
    report = run(moved, commit=False)
    assert "shifted" in report.tally
    assert "+0.90 m east" in report.findings.query("rule == 'shifted'")["detail_en"].iloc[0]
    rng = random.Random(1)
    scattered = [{**one, "geometry": Point(one["geometry"].x + rng.uniform(-1, 1), one["geometry"].y)} for one in rows]
    assert "shifted" not in run(scattered, commit=False).tally


def test_a_file_that_lies_elsewhere_is_refused_with_the_reading_that_fits(run: Any, tmp_path: Path) -> None:
    swapped = [{**one, "geometry": Point(one["geometry"].y, one["geometry"].x)} for one in BASE]
    with pytest.raises(UnfitCoordinates, match="northing"):
        run(survey(tmp_path / "swapped.gpkg", swapped))
    assert fates(
        run(survey(tmp_path / "again.gpkg", swapped), mapping={"crs": {"crs": SRID, "northing_first": True}})
    ) == {"new": 9}


def test_a_file_without_a_system_asks_for_one(run: Any, tmp_path: Path) -> None:
    path = survey(tmp_path / "none.gpkg", BASE, srid=None)
    with pytest.raises(UnfitFile, match="coordinate system"):
        run(path)
    assert fates(run(path, mapping={"crs": SRID})) == {"new": 9}


def test_a_field_that_is_not_there_is_named(run: Any) -> None:
    with pytest.raises(UnfitFile, match="no field NOPE"):
        run(BASE, mapping={"owner_unit": "NOPE"})


# ── law: a second file shows exactly its differences ────────────────────────────────────────


@pytest.mark.parametrize("seed", range(4))
def test_a_changed_file_shows_exactly_what_was_changed(conn: Connection, run: Any, seed: int) -> None:
    rng = random.Random(seed)
    spots = [(3 + 4 * (n % 90), 60 + 6 * (n // 90)) for n in range(400)]
    rng.shuffle(spots)
    rows = [row(*spots[n], key=f"K{n}", material=rng.choice("甲乙丙"), lamps=n % 5) for n in range(300)]
    run(rows)
    before = inventory(conn)
    wanted = {"new": 0, "same": 0, "changed": 0, "moved": 0, "gone": 2}
    second = []
    for one in rows:
        act = rng.choice(["same"] * 6 + ["changed", "moved", "gone"])
        wanted[act] += 1
        if act == "changed":
            field, value = rng.choice(
                [("state", "丢失"), ("material", "丁"), ("owner", None), ("name", "灯"), ("lamps", 9)]
            )
            one = {**one, field: value}
        if act == "moved":
            one = {**one, "geometry": Point(one["geometry"].x + rng.uniform(0.01, 1), one["geometry"].y)}
        second += [] if act == "gone" else [one]
    fresh = [row(*spots[n], key=f"K{n}") for n in range(300, 300 + rng.randint(1, 50))]
    wanted["new"] = len(fresh)
    second += fresh
    rng.shuffle(second)
    report = run(second, mapping={"extent": "areas"})
    assert fates(report) == {fate: many for fate, many in wanted.items() if many}
    counted = report.differences["fate"].value_counts().to_dict()
    assert counted == {fate: many for fate, many in wanted.items() if many and fate != "same"}
    assert np.isfinite(report.differences.query("fate == 'moved'")["moved_m"].astype(float)).all()
    undo_census(conn, report.census_id or 0, actor="tester")
    assert inventory(conn) == before


# ── rules that rest on the city ────────────────────────────────────────


def set_class(conn: Connection, class_code: str, **columns: Any) -> None:
    for name, value in columns.items():
        statement = f"update layers.class set {name} = :value where code = :code and edition = 'hamlet'"
        conn.execute(text(statement), {"value": value, "code": class_code})


def ground(conn: Connection, kind: str, wkt: str, width_m: float | None = None) -> None:
    conn.execute(
        text(
            "insert into grids.barrier (kind, width_m, data_source, geom, valid, change_id) "
            "select :kind, :width_m, 'made up', st_translate(st_geomfromtext(:wkt, :srid), :east, :north), "
            "'[2026-01-01,)', min(id) from gis.change"
        ),
        {"kind": kind, "wkt": wkt, "width_m": width_m, "srid": SRID, "east": at(0, 0)[0], "north": at(0, 0)[1]},
    )


def test_what_stands_on_a_building_or_in_the_river_is_told_but_not_on_a_bridge(conn: Connection, run: Any) -> None:
    set_class(conn, "C0137", never_on=["building", "water"])
    ground(conn, "building", "POLYGON((300 300, 320 300, 320 320, 300 320, 300 300))")
    ground(conn, "water", "POLYGON((200 200, 400 200, 400 240, 200 240, 200 200))")
    ground(conn, "street", "LINESTRING(300 100, 300 400)", 10.0)
    rows = [row(310, 310, key="a"), row(250, 220, key="b"), row(304, 220, key="c"), row(310, 310, "C0101", key="d")]
    report = run(rows, commit=False)
    assert report.tally == {"on_building": 1, "on_water": 1}
    assert report.findings["row"].tolist() == [1, 2]


def test_shapes_that_cross_themselves_are_refused_and_sound_ones_get_a_cell(conn: Connection, run: Any) -> None:
    set_class(conn, "C0137", geometry_type="Polygon")
    bow = Polygon([at(10, 10), at(30, 30), at(30, 10), at(10, 30)])
    bed = Polygon([at(110, 10), at(130, 10), at(130, 30), at(110, 30)])
    report = run([row(0, 0, key="a", geometry=bow), row(0, 0, key="b", geometry=bed)], skip_errors=True)
    assert report.tally == {"invalid_geometry": 1}
    assert "Self-intersection" in report.findings["detail_en"].iloc[0]
    cell = conn.execute(text("select cell_code from layers.component where source_key = 'b'")).scalar_one()
    assert cell == "610999001001004"


def test_attributes_outside_of_their_domain_are_told(conn: Connection, run: Any) -> None:
    set_class(conn, "C0137", attribute_schema='{"properties": {"material": {"enum": ["铸铁"]}}, "required": ["lamps"]}')
    report = run([*BASE, row(5, 5, key="a", material="木"), row(350, 5, key="b", lamps=None)], commit=False)
    assert report.tally == {"attribute": 1, "attribute_missing": 1}
    assert report.findings[["row", "field", "value"]].to_numpy().tolist()[0] == [10, "material", "木"]


def test_a_place_in_the_city_without_a_cell_and_a_far_move_are_told(conn: Connection, run: Any) -> None:
    run(BASE)
    conn.execute(
        text(
            "update grids.cell set valid = tstzrange(lower(valid), now()) "
            "where code = '610999002002004' and upper_inf(valid)"
        )
    )
    report = run([row(350, 250, key="n"), row(25, 130, key="K1")], commit=False)
    assert report.tally == {"no_cell": 1, "moved_far": 1}


def test_heights_are_dropped_and_told(run: Any) -> None:
    report = run([row(5, 5, key="a", geometry=Point(*at(5, 5), 12.5))])
    assert report.tally == {"height": 1}
    assert fates(report) == {"new": 1}


def test_only_the_rows_that_the_mapping_wants_are_read(run: Any) -> None:
    wanted = {"where": {"field": "state", "among": ["破损"]}}
    assert fates(run([*BASE, row(5, 5, key="x", state="破损")], commit=False, mapping=wanted)) == {"new": 1}
    with pytest.raises(UnfitFile, match="no rows"):
        run(BASE, commit=False, mapping=wanted)


def test_an_extent_from_a_file_bounds_what_is_gone(run: Any, tmp_path: Path) -> None:
    good, bad = (
        Polygon([at(0, 0), at(200, 0), at(200, 200), at(0, 200)]),
        Polygon([at(0, 0), at(9, 9), at(9, 0), at(0, 9)]),
    )
    for name, shape in (("good", good), ("bad", bad)):
        gpd.GeoDataFrame(geometry=[shape], crs=SRID).to_file(tmp_path / f"{name}.gpkg")
    assert fates(run(BASE, commit=False, mapping={"extent": "good.gpkg"})) == {"new": 9, "gone": 1}
    with pytest.raises(UnfitFile, match="crosses itself"):
        run(BASE, commit=False, mapping={"extent": "bad.gpkg"})
    with pytest.raises(UnfitFile, match="is not there"):
        run(BASE, commit=False, mapping={"extent": "none.gpkg"})
