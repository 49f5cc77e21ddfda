"""Two real inventories as a census: imported, changed, compared, undone. Skipped where ../shared/data is not there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
from rich.console import Console
from sqlalchemy import Connection, Engine, text

from api.censusreport import report_lines, write_geopackage, write_html
from api.city import city_engine, load_city
from api.exported import Wanted, export_layer
from api.progress import Stages
from cases.opendata import COLLECTOR_COLUMNS, REPORT_COLUMNS, RESPONSIBILITY_COLUMNS
from gis.db import Access
from grids.city import City, read_city
from grids.opendata import build_areas, read_ground
from layers.census import import_census
from layers.census_log import undo_census
from layers.census_mapping import CensusMapping, read_mapping
from layers.census_report import CensusReport
from layers.opendata import read_catalogue, read_components, read_table
from tests.changed_census import Plan, Truth, change
from tests.conftest import SHARED, silent, template_lock

HOME = Path(__file__).resolve().parents[1]
FILES = {"cambridge": "cambridge.gpkg", "washington": "dc_base.gpkg"}
SAME = {"cambridge": (29_206, 460), "washington": (50_619, 11)}  #: rows that the first file has the same, and refused
PLANS: dict[str, dict[str, Plan]] = {
    "cambridge": {
        "c_street_lights": Plan(
            key="PoleID",
            alike=("c_street_lights_not_city",),
            removed=12,
            added=8,
            moved=(10, 7.5),
            changed=(9, "NumLamps", 9.0),
            bad=((3, "Owner", "Martian Works", "unit_unknown"),),
        ),
        "c_traffic_signals": Plan(removed=5, moved=(6, 1.25)),  # without a key: matched by place
        "c_park_benches": Plan(removed=4, moved=(5, 1.25)),  # lines
        "c_misc_structures": Plan(removed=3, changed=(4, "TYPE", "GREENHOUSE")),  # polygons
        "c_pedestrian_ramps": Plan(
            key="GlobalID", changed=(11, "CONDITION", "X"), bad=((4, "date", "20269999", "day"),), duplicated=3
        ),
        "c_hydrants": Plan(key="GlobalID", swapped=4, changed=(5, "LIFECYCLESTATUS", "ABN")),
        "c_bus_shelters": Plan(key="GlobalID", outside=2, removed=2, added=1),
    },
    "washington": {
        "c_litter_cans": Plan(
            key="OBJECTID", removed=15, added=9, moved=(11, 7.5), bad=((4, "CREATEDAT", "31.02.2015", "day"),)
        ),
        "c_metro_entrances": Plan(key="OBJECTID_1", changed=(6, "LINE", "plaid"), outside=2),
        "c_loading_zones": Plan(key="OBJECTID", bad=((3, "SURVEY_STATUS", "eaten", "state_unknown"),), removed=4),
        "c_signal_cabinets": Plan(key="OBJECTID", swapped=5, duplicated=2, changed=(7, "CABINETTYPE", 99)),
        "c_hydrants_2013": Plan(key="NAME", changed=(13, "status", "Not In Service"), moved=(3, 60.0)),
    },
}


@dataclass
class Real:
    """A real city in a database of its own, without requests; each community is one cell, for speed."""

    name: str
    city: City
    engine: Engine
    file: Path
    mapping: CensusMapping


@pytest.fixture(scope="module", params=list(FILES))
def real(server: Access, request: pytest.FixtureRequest, worker_id: str) -> Iterator[Real]:
    name = request.param
    source = SHARED / "data" / name
    if not (source / FILES[name]).exists():
        pytest.skip(f"the open data of {name} are not in ../shared/data/{name} (data/{name}/README.md)")
    profile = read_city(HOME, name)
    city = replace(profile, id=f"real_{name}_{worker_id}")
    with template_lock(server):
        engine = city_engine(server, city)
        load_city(
            engine,
            city,
            frames=_frames(city, source),
            replace=True,
            stages=Stages("en", Console(quiet=True)),
            say=silent,
        )
    yield Real(name, city, engine, source / FILES[name], read_mapping(city.folder / "census.toml"))
    engine.dispose()


def _frames(city: City, source: Path) -> dict[str, Any]:
    areas, found = build_areas(city.profile, source)
    frames: dict[str, Any] = dict(read_catalogue(city.folder, city.profile, areas))
    frames.pop("types")
    own = areas[areas["code"].str.len() == 12]
    ground, _ = read_ground(city.profile, source, areas.geometry.iloc[0])
    components, _ = read_components(city.profile, source, areas, frames["classes"])
    cells = gpd.GeoDataFrame({"code": own["code"] + "001"}, geometry=own.geometry, crs=areas.crs)
    return {
        **frames,
        "areas": areas,
        "barriers": ground,
        "cells": cells.assign(name_zh=None, area_class="A"),
        "components": components,
        "collectors": pd.DataFrame(columns=COLLECTOR_COLUMNS, dtype=object),
        "responsibility": pd.DataFrame(columns=RESPONSIBILITY_COLUMNS, dtype=object),
        "reports": pd.DataFrame(columns=REPORT_COLUMNS, dtype=object),
        "findings": found,
    }


@pytest.fixture
def conn(real: Real) -> Iterator[Connection]:
    with real.engine.connect() as connection:
        yield connection
        connection.rollback()


def fates(report: CensusReport) -> Counter[tuple[str, str]]:
    """(layer, fate) → rows, without what is the same."""
    found: Counter[tuple[str, str]] = Counter()
    for row in report.counts.to_dict("records"):
        for fate in ("new", "confirmed", "changed", "moved", "gone", "ambiguous", "refused"):
            found[row["layer"], fate] += row[fate]
    return +found


def exported(conn: Connection, real: Real, path: Path) -> bytes:
    """The inventory as a file."""
    export_layer(conn, real.city, path, Wanted(layer="components"))
    return path.read_bytes()


def places(report: CensusReport, fate: str) -> set[tuple[str, int]]:
    """(layer, row) of the differences of a fate."""
    rows = report.differences[report.differences["fate"] == fate]
    return set(zip(rows["layer"], rows["row"].astype(int), strict=True))


def test_a_real_inventory_is_imported_changed_and_undone(real: Real, conn: Connection, tmp_path: Path) -> None:
    def run(path: Path, **options: Any) -> CensusReport:
        return import_census(conn, real.city, path, real.mapping, actor="tester", skip_errors=True, **options)

    loaded = conn.execute(text("select count(*) from layers.component")).scalar_one()
    again = run(real.file)
    assert (again.census_id, conn.execute(text("select count(*) from layers.component")).scalar_one()) == (None, loaded)
    if loaded == 0:  # Cambridge; the load of Washington has brought what is in its file
        first = run(real.file, commit=True)
        assert first.total("new") == first.changes == again.total("new") == again.rows - again.total("refused")
        again = run(real.file)
    told = (again.changes, again.total("ambiguous"), again.total("same"), again.total("refused"))
    assert told == (0, 0, *SAME[real.name])

    before = exported(conn, real, tmp_path / "before.gpkg")
    errors = again.findings[again.findings["severity"] == "error"]
    without = set(zip(errors["layer"], errors["row"].astype(int), strict=True))
    names = [layer.name or "" for layer in real.mapping.layers]
    truth = change(real.file, tmp_path / "changed.gpkg", PLANS[real.name], names, srid=real.city.srid, without=without)
    report = run(tmp_path / "changed.gpkg", commit=True)
    agrees(report, truth)
    assert exported(conn, real, tmp_path / "after.gpkg") != before
    assert run(tmp_path / "changed.gpkg").changes == 0
    undo_census(conn, report.census_id or 0, actor="tester")
    assert exported(conn, real, tmp_path / "undone.gpkg") == before

    lines = list(report_lines(report))
    assert len(lines) < 150
    write_html(report, tmp_path / "report.html")
    write_geopackage(report, tmp_path / "report.gpkg")
    assert (tmp_path / "report.html").stat().st_size < 3_000_000


def agrees(report: CensusReport, truth: Truth) -> None:
    """The report says the truth and nothing else."""
    assert fates(report) == +truth.fates
    for fate in ("moved", "changed", "new"):
        assert places(report, fate) == truth.rows.get(fate, set())
    differ = report.differences
    for row in differ[differ["fate"] == "moved"].itertuples():
        assert float(row.moved_m) == pytest.approx(truth.moved_m[row.layer, int(row.row)], abs=0.005)
    gone = set(differ.loc[differ["fate"] == "gone", "before"].dropna())
    assert gone == set().union(*truth.gone.values())
    found = Counter({rule: many for rule, many in report.tally.items() if report.rules[rule].severity == "error"})
    axes = found["coordinates"] + found["outside"] - truth.findings["outside"]
    assert axes == truth.findings["axes"]
    for rule in set(truth.findings) - {"axes", "outside"}:
        assert found[rule] == truth.findings[rule]


# ── the mapping files themselves ────────────────────────────────────────


@pytest.mark.parametrize("name", list(FILES))
def test_a_mapping_names_only_classes_and_units_that_the_city_has(name: str) -> None:
    folder = HOME / "data" / name
    mapping = read_mapping(folder / "census.toml")
    classes = set(read_table(folder, "classes")["code"])
    units = set(read_table(folder, "units")["code"])
    named = {code for layer in mapping.layers for code in (layer.class_code, *layer.classes.values()) if code}
    assert named <= classes
    values = {value for layer in mapping.layers for _, value in layer.units.values() if value}
    assert values | set(mapping.units.values()) <= units
    assert len({layer.name for layer in mapping.layers}) == {"cambridge": 18, "washington": 12}[name]


def test_the_census_of_washington_says_what_its_load_says() -> None:
    city = read_city(HOME, "washington")
    layers = {layer.name: layer for layer in read_mapping(city.folder / "census.toml").layers}
    for spec in city.profile["component"]:
        layer = layers[spec["layer"]]
        assert (layer.class_code, layer.key, layer.key_prefix) == (spec["class"], spec["key"], spec["layer"])
        assert (layer.source, layer.surveyed_field) == (spec["data_source"], spec.get("surveyed"))
        assert layer.surveyed_on == spec.get("surveyed_on")
        assert dict(layer.attributes) == {name: name for name in (spec["key"], *spec["attrs"])}
        assert {role: value for role, (_, value) in layer.units.items()} == {
            role: spec.get(role) for role in layer.units
        }
        assert layer.state == spec.get("state")
        assert {word: state for word, state in layer.states.items() if state != "intact"} == spec.get("states", {})
