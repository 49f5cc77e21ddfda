"""The parts of a census import, each with its law: codes, days, cells, nearness, mappings."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import points
from sqlalchemy import Connection, Engine, text

from gis.errors import Invalid, UnfitFile
from grids.areas import AREAS, CELLS
from grids.city import City
from grids.codes import ComponentCode
from grids.ground import GROUND
from layers.census_mapping import parse_mapping, read_mapping
from layers.census_places import Places, Spots, _lowest, near_in_file, near_in_inventory, nearest_pairs
from layers.census_rows import day_of, well_formed
from layers.census_rules import RULES
from tests.hamlet import SRID, at

HOME = Path(__file__).resolve().parents[1]
digits = st.text("0123456789", min_size=14, max_size=18)
odd = st.text(min_size=0, max_size=18)


@given(digits | odd | st.from_regex("[0-9]{2}(00|09)(00|02)(00|01)(00|37)(000000|000001)", fullmatch=True))
@settings(max_examples=400)
def test_a_code_is_well_formed_exactly_when_it_is_a_code(code: str) -> None:
    try:
        ComponentCode(code)
    except Invalid:
        assert not well_formed(code)
    else:
        assert well_formed(code)


@given(st.dates(date(1000, 1, 1)))
def test_every_usual_way_to_write_a_day_means_it(day: date) -> None:
    ways = [day, day.isoformat(), f"{day:%Y%m%d}", f"{day:%Y/%m/%d}", f"{day.year}年{day.month}月{day.day}日"]
    ways += [int(f"{day:%Y%m%d}"), float(f"{day:%Y%m%d}"), f"{day.isoformat()}T08:00:00+08:00"]
    assert [day_of(way) for way in ways] == [day] * len(ways)


@pytest.mark.parametrize("wrong", ["", "2026-02-30", "20261301", "yesterday", "01/02/2026", 12, None, "2026"])
def test_what_is_no_day_is_none(wrong: Any) -> None:
    assert day_of(wrong) is None


# ── places ────────────────────────────────────────

along = st.integers(0, 8).map(lambda n: n * 50.0) | st.floats(0, 400).map(lambda m: round(m * 1024) / 1024)


@given(spots=st.lists(st.tuples(along, along), min_size=1, max_size=40))
@settings(max_examples=25)
def test_rows_fall_into_the_cell_that_postgis_finds(hamlet_engine: Engine, spots: list[tuple[float, float]]) -> None:
    with hamlet_engine.connect() as conn:
        same_cell(conn, spots)


def same_cell(conn: Connection, spots: list[tuple[float, float]]) -> None:
    places = Places(AREAS.read(conn, SRID), CELLS.read(conn, SRID), GROUND.read(conn, SRID), SRID)
    here = [at(*spot) for spot in spots]
    found = _lowest(places._cells, points(here))
    mine = [places.cell_codes[cell] if cell >= 0 else None for cell in found]
    theirs = conn.execute(
        text(
            "select (select c.code from grids.cell c where upper_inf(c.valid) and "
            "st_covers(c.geom, st_setsrid(st_makepoint(q.x, q.y), :srid)) order by c.code limit 1) "
            "from unnest(cast(:x as float8[]), cast(:y as float8[])) with ordinality q (x, y, n) order by n"
        ),
        {"x": [x for x, _ in here], "y": [y for _, y in here], "srid": SRID},
    ).scalars()
    assert mine == list(theirs)


coordinates = st.integers(0, 30).map(lambda n: n / 4)
clouds = st.lists(st.tuples(coordinates, coordinates, st.integers(0, 1)), min_size=0, max_size=25)


def cloud(given_spots: list[tuple[float, float, int]]) -> Spots:
    table = np.array(given_spots, dtype=float).reshape(-1, 3)
    return Spots(x=table[:, 0], y=table[:, 1], kind=table[:, 2].astype(np.int32))


@given(clouds, clouds)
@settings(max_examples=300)
def test_pairs_are_one_to_one_of_one_class_and_near(mine: Any, theirs: Any) -> None:
    rows, components = cloud(mine), cloud(theirs)
    row, component, unsure = nearest_pairs(rows, components, np.full(len(rows.x), 2.0))
    assert len(set(row.tolist())) == len(row) == len(set(component.tolist()))
    assert not set(unsure.tolist()) & set(row.tolist())
    metres = np.hypot(rows.x[row] - components.x[component], rows.y[row] - components.y[component])
    assert (metres <= 2).all()
    assert (rows.kind[row] == components.kind[component]).all()
    away = np.hypot(rows.x[:, None] - components.x, rows.y[:, None] - components.y)
    away[rows.kind[:, None] != components.kind] = np.inf
    for one in set(range(len(rows.x))) - set(row.tolist()) - set(unsure.tolist()):  # new: nobody near is left for it
        left = set(np.flatnonzero(away[one] <= 2).tolist()) - set(component.tolist())
        assert not left


@given(clouds)
@settings(max_examples=200)
def test_who_is_near_in_a_file_is_near(mine: Any) -> None:
    rows = cloud(mine)
    at_row, other, metres = near_in_file(rows, np.array([0.5, 1.0]))
    assert (other < at_row).all()
    assert np.allclose(metres, np.hypot(rows.x[at_row] - rows.x[other], rows.y[at_row] - rows.y[other]))
    away = np.hypot(rows.x[:, None] - rows.x, rows.y[:, None] - rows.y)
    close = (away <= np.array([0.5, 1.0])[rows.kind][:, None]) & (rows.kind[:, None] == rows.kind)
    np.fill_diagonal(close, False)
    if close.any():
        assert len(at_row)
    assert set(at_row.tolist()) <= set(np.flatnonzero(close.any(axis=1)).tolist())


@given(clouds, clouds)
@settings(max_examples=200)
def test_who_is_near_in_the_inventory_is_told_unless_it_is_ones_own(mine: Any, theirs: Any) -> None:
    rows, inventory = cloud(mine), cloud(theirs)
    own = np.full(len(rows.x), -1)
    own[: min(len(own), len(inventory.x))] = np.arange(min(len(own), len(inventory.x)))
    row, component, _ = near_in_inventory(rows, inventory, own, np.array([0.5, 1.0]))
    away = np.hypot(rows.x[:, None] - inventory.x, rows.y[:, None] - inventory.y)
    close = (away <= np.array([0.5, 1.0])[rows.kind][:, None]) & (rows.kind[:, None] == inventory.kind)
    for one in np.flatnonzero(own >= 0):
        close[one, own[one]] = False
    assert set(row.tolist()) == set(np.flatnonzero(close.any(axis=1)).tolist())
    assert close[row, component].all()


# ── mappings ────────────────────────────────────────

WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "class"),
    ({"class": "C0101", "class_field": "x"}, "class"),
    ({"class": "E0101"}, "class"),
    ({"class": "C????"}, "class"),
    ({"class": "C0101", "klass": 1}, "klass"),
    ({"class": "C0101", "code": 7}, "code"),
    ({"class": "C0101", "match_m": 0}, "match_m"),
    ({"class": "C0101", "match_m": True}, "match_m"),
    ({"class": "C0101", "surveyed_on": "2026-01-01"}, "surveyed_on"),
    ({"class": "C0101", "crs": "mars"}, "crs"),
    ({"class": "C0101", "where": {"field": "a"}}, "where"),
    ({"class": "C0101", "new_codes": "yes"}, "new_codes"),
    ({"class": "C0101", "states": "x"}, "states"),
    ({"class": "C0101", "extent": 7}, "extent"),
    ({"class": "C0101", "layer": [{"name": "a"}, {"name": "a"}]}, "layer.name"),
    ({"class": "C0101", "layer": [{"nmae": "a"}]}, "nmae"),
    ({"class_field": "k", "classes": {"a": "manhole"}}, "class"),
]


@pytest.mark.parametrize(("table", "key"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_a_wrong_mapping_names_the_key(table: dict[str, Any], key: str) -> None:
    with pytest.raises(UnfitFile) as caught:
        parse_mapping(table, Path("mapping.toml"))
    assert caught.value.where["field"] == key
    assert caught.value.mend


def test_a_mapping_that_is_no_toml_or_not_there_is_refused(tmp_path: Path) -> None:
    for content in (b"a = ", b"\xff\xfe", None):
        path = tmp_path / "mapping.toml"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UnfitFile):
            read_mapping(path)


def test_defaults_hold_for_all_layers_and_a_layer_has_its_own() -> None:
    table = {"source": "S", "key": "ID", "class": "C0101", "layer": [{"name": "a"}, {"name": "b", "class": "C0102"}]}
    mapping = parse_mapping(table, Path("m.toml"))
    assert [(one.name, one.class_code, one.key, one.key_prefix, one.source) for one in mapping.layers] == [
        ("a", "C0101", "ID", "a", "S"),
        ("b", "C0102", "ID", "b", "S"),
    ]
    assert json.dumps(mapping.table)


def test_every_rule_is_in_the_docs_with_its_gravity_and_used() -> None:
    page = (HOME / "docs" / "census.md").read_text(encoding="utf-8")
    code = "".join(path.read_text(encoding="utf-8") for path in (HOME / "layers").glob("census*.py"))
    for name, rule in RULES.items():
        assert f"| `{name}` {rule.en} | {rule.severity} |" in page
        assert f'"{name}"' in code or name in ("on_building", "on_water")


# ── killed ────────────────────────────────────────

CHILD = """
import sys, time
from pathlib import Path
from sqlalchemy import create_engine
from grids.city import City
from layers.census import import_census
from layers.census_mapping import parse_mapping
from tests.hamlet import hamlet

def progress(text, fraction):
    if fraction >= 0.88:
        print("promoting", flush=True)
        time.sleep(60)

table = {"class_field": "class", "code": "code", "extent": "areas"}
with create_engine(sys.argv[1]).begin() as conn:
    mapping = parse_mapping(table, Path("mapping.toml"))
    import_census(conn, hamlet()[0], Path(sys.argv[2]), mapping, actor="tester", commit=True, progress=progress)
"""


def test_a_killed_import_leaves_the_inventory_untouched(server: Any, template: City, tmp_path: Path) -> None:
    from tests.conftest import copied
    from tests.test_census import BASE, inventory, survey

    engine = copied(server, template, "census_killed")
    with engine.connect() as conn:
        before = inventory(conn)
    path = survey(tmp_path / "survey.gpkg", BASE)
    address = engine.url.render_as_string(hide_password=False)
    child = subprocess.Popen([sys.executable, "-c", CHILD, address, path], cwd=HOME, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "promoting\n"
    child.kill()
    child.wait()
    child.stdout.close()
    for _ in range(100):
        with engine.connect() as conn:
            waiting = text(
                "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
            )
            if not conn.execute(waiting).scalar_one():
                break
        time.sleep(0.1)
    with engine.connect() as conn:
        assert inventory(conn) == before
        assert conn.execute(text("select count(*) from layers.census")).scalar_one() == 0
    engine.dispose()
