"""The main job end to end, by the command line: a city's cases assigned in PostGIS, the summary, the heat map."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from gis.db import Access, database_name
from layers.places import find_places

HOME = Path(__file__).resolve().parents[1]


def wanmi(server: Access, *words: str) -> str:
    """What a command prints, run against the tests' server; it must succeed."""
    environment = {**os.environ, "PYTHONPATH": str(HOME), "WANMI_LANGUAGE": "en", "COLUMNS": "200"}
    environment["WANMI_DATABASE_URL"] = server.url("postgres")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "api.cli", *words], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def ankang(server: Access, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The summary of the demo and the folder of its maps."""
    out = tmp_path_factory.mktemp("maps")
    return wanmi(server, "demo", "--once", "--out", str(out)), out


@pytest.fixture(scope="module")
def washington(server: Access, washington_files: Path) -> str:
    """The summary of the real city."""
    return wanmi(server, "load", "washington", "--from", str(washington_files))


@pytest.fixture
def city(request: pytest.FixtureRequest, server: Access) -> Iterator[Connection]:
    """A connection to the city that a test names by parameter."""
    request.getfixturevalue(request.param)
    engine = server.engine(database_name(request.param))
    with engine.connect() as conn:
        yield conn
    engine.dispose()


in_ankang = pytest.mark.parametrize("city", ["ankang"], indirect=True)
in_washington = pytest.mark.parametrize("city", ["washington"], indirect=True)
in_both = pytest.mark.parametrize("city", ["ankang", "washington"], indirect=True)


def count(conn: Connection, query: str) -> int:
    return int(conn.execute(text(query)).scalar_one())


@in_ankang
def test_ankang_is_as_large_as_it_says(city: Connection) -> None:
    assert count(city, "select count(*) from grids.area where level = 'community'") == 39
    assert (
        count(city, "select count(*) from layers.class where edition = layers.edition_at(null) and kind = 'component'")
        == 76
    )
    assert (
        count(city, "select count(*) from layers.class where edition = layers.edition_at(null) and kind = 'event'")
        == 59
    )
    assert count(city, "select count(*) from layers.condition") == 383
    assert count(city, "select count(distinct class_code) from layers.component") == 76
    assert count(city, "select count(*) from layers.component") >= 60_000
    assert count(city, "select count(*) from cases.case") >= 40_000
    assert count(city, "select count(*) from cases.rule") >= 200
    assert 2_500 <= count(city, "select count(*) from grids.cell") <= 3_100
    assert count(city, "select Find_SRID('grids', 'cell', 'geom')") == 4545


@in_both
def test_cells_tile_their_communities_and_levels_tile_each_other(city: Connection) -> None:
    worst = (
        "select max(abs(a.m2 - st_area(b.geom)) / st_area(b.geom)) < 1e-6 from ({}) a join grids.area b using (code)"
    )
    cells = "select community_code as code, sum(area_m2) as m2 from grids.cell group by 1"
    below = (
        "select parent_code as code, sum(st_area(geom)) as m2 from grids.area where parent_code is not null group by 1"
    )
    assert city.execute(text(worst.format(cells))).scalar_one()
    assert city.execute(text(worst.format(below))).scalar_one()
    overlapping = "select count(*) from grids.cell a join grids.cell b on a.id < b.id and st_overlaps(a.geom, b.geom)"
    assert count(city, overlapping) == 0


@in_both
def test_every_report_became_a_case_or_says_why_not(city: Connection) -> None:
    assert count(city, "select count(*) from cases.report where (case_no is null) = (refusal is null)") == 0
    assert count(city, "select count(*) from cases.report where refusal is not null and refusal_zh is null") == 0
    assert count(city, "select count(*) from cases.case") == count(
        city, "select count(*) from cases.report where case_no is not null"
    )
    assert count(city, "select count(*) from cases.event where seq = 1") == count(
        city, "select count(*) from cases.case"
    )
    # open ones have a second event, with the clock that their times allow
    assert not count(city, "select count(*) from cases.event where act <> 'import' or seq > 2")
    assert count(city, "select count(*) from cases.case where clock is not null")


@in_both
def test_every_case_lies_in_the_cell_it_was_given(city: Connection) -> None:
    inside = (
        "select count(*) from cases.case c join grids.cell k on k.id = c.cell_id where c.placed = 'inside' and not "
    )
    assert count(city, inside + "st_covers(k.geom, c.geom)") == 0
    assert count(city, "select count(*) from cases.case where (unit_id is null) <> (basis = 'nobody')") == 0


@in_both
def test_every_component_on_the_grid_has_its_cell(city: Connection) -> None:
    strays = (
        "select count(*) from layers.component k where cell_code is null and exists (select from grids.cell c where "
    )
    assert count(city, strays + "st_dimension(k.geom) = 0 and st_covers(c.geom, k.geom))") == 0


def test_the_summary_and_the_maps_say_that_ankang_is_simulated(ankang: tuple[str, Path]) -> None:
    summary, out = ankang
    assert "SIMULATED (模拟)" in summary
    for line in ("areas", "cells", "components", "cases", "hottest cells", "times", "became no case"):
        assert f"\n  {line}" in summary or line in summary
    page = (out / "ankang-heat.html").read_text(encoding="utf-8")
    assert "模拟" in page
    assert "simulated" in page
    assert (out / "ankang-heat.png").read_bytes().startswith(b"\x89PNG")


def test_the_demo_again_changes_nothing(ankang: tuple[str, Path], server: Access, tmp_path: Path) -> None:
    again = wanmi(server, "demo", "--once", "--out", str(tmp_path))
    first = ankang[0]
    assert first[: first.index("  times")] == again[: again.index("  times")]


@in_washington
def test_all_real_requests_are_assigned_or_listed(city: Connection, washington: str) -> None:
    assert count(city, "select count(*) from cases.report") == 22_576
    assert count(city, "select count(*) from cases.case where unit_id is not null") == 22_576
    assert "22,576  assigned to a unit" in washington


@in_washington
def test_assigned_wards_agree_with_the_labels(city: Connection) -> None:
    agree = (
        "select avg((left(k.community_code, 6) = r.area_label)::int) from cases.report r "
        "join cases.case c on c.no = r.case_no join grids.cell k on k.id = c.cell_id where r.area_label is not null"
    )
    assert city.execute(text(agree)).scalar_one() >= 0.997


# ── places, however they are said ────────────────────────────────────────


@in_ankang
def test_the_right_place_comes_first_for_nearly_all_ways_to_say_it(city: Connection) -> None:
    with (HOME / "tests" / "places_said.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    assert len(rows) >= 200
    wrong = [row for row in rows if (find_places(city, row["said"])[1] or [None])[0].code != row["code"]]
    assert len(wrong) <= 0.05 * len(rows), wrong
