"""The simulated city: the same every time, complete, consistent, and every thing where it belongs."""

import hashlib
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely

from cases.simulate import read_profile, simulate_city
from cases.worktime import WorkCalendar
from gis.errors import Invalid, UnfitFile
from grids.simulate_frame import Frame, density, place_of, to_city, to_lon_lat
from layers.simulate import duties_of
from layers.simulate_components import place_components

FOLDER = Path(__file__).parent.parent / "data" / "ankang"
LEVELS = (4, 6, 9, 12)
STAGES = (
    "reported verifying accepted filed dispatched disposed awaiting_check checking checked closed refused void"
    " self_disposed"
)

COLUMNS = {
    "areas": "code name_zh name_en data_source geometry",
    "barriers": "kind grade name_zh name_en width_m data_source geometry",
    "cells": "code area_class geometry",
    "units": "code name_zh name_en kind parent_code area_code",
    "collectors": "code name_zh name_en unit_code",
    "responsibility": "code name_zh name_en cell_code collector_code",
    "majors": "code name_zh name_en",
    "classes": "code name_zh name_en geometry_type accuracy_class source",
    "conditions": "class_code no condition_zh condition_en limit_value limit_basis closing_result_zh roles source",
    "components": "code class_code name_zh supervising_unit owner_unit maintainer_unit state surveyed_on data_source"
    " attrs geometry",
    "rules": "code class_prefix condition_no area_prefix roles zone source_document source_on",
    "reports": "key channel class_code condition_no component_code x y srid accuracy_m address description"
    " reported_at due_at dispatched_at inspected_at disposed_at closed_at stage note unit_label area_label data_source",
    "truth": "id name_zh name_en x y radius_m class_prefix from_at to_at cases",
}


def digest(city) -> str:
    """One number for everything in the frames, geometry to the last bit."""
    state = hashlib.sha256()
    for name in sorted(COLUMNS):
        for column in city[name].columns:
            values = city[name][column]
            if column in ("geometry", "zone"):
                parts = [b"-" if value is None else value for value in shapely.to_wkb(np.asarray(values.array))]
                state.update(b"".join(parts))
            else:
                state.update("\n".join(map(str, values)).encode())
    return state.hexdigest()


@pytest.fixture(scope="module")
def heard() -> list[tuple[str, float]]:
    return []


@pytest.fixture(scope="module")
def city(heard):
    return simulate_city(FOLDER, lambda stage, share: heard.append((stage, share)))


@pytest.fixture(scope="module")
def profile():
    return read_profile(FOLDER)[0]


@pytest.fixture(scope="module")
def ground(city):
    barriers = city["barriers"]
    return {
        "city": city["areas"].geometry.iloc[0],
        "water": shapely.union_all(barriers.geometry[barriers["kind"] == "water"].array),
        "houses": barriers.geometry[barriers["kind"] == "building"].array,
    }


@pytest.fixture(scope="module")
def places(city, profile):
    """Places of the reports in the city's metres."""
    reports = city["reports"]
    xy = reports[["x", "y"]].to_numpy(float)
    geodetic = (reports["srid"] == 4490).to_numpy()
    xy[geodetic] = to_city(xy[geodetic], profile["srid"])
    return xy


def test_same_seed_same_city_in_another_process_with_other_hashes(city):
    code = (
        "import sys; sys.path[:0] = [sys.argv[1], sys.argv[1] + '/tests'];"
        "from test_simulate import FOLDER, digest; from cases.simulate import simulate_city;"
        "print(digest(simulate_city(FOLDER, lambda stage, share: None)))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(FOLDER.parent.parent)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == digest(city)


def test_progress_runs_from_nought_to_one(city, heard):
    shares = [share for _, share in heard]
    assert shares[0] == 0
    assert shares[-1] == 1
    assert shares == sorted(shares)


@pytest.mark.parametrize("name", COLUMNS)
def test_frames_have_the_columns_of_the_contract(city, name):
    assert list(city[name].columns) == COLUMNS[name].split()
    assert not city[name].empty


def test_the_facts_are_real_and_complete(city):
    areas, classes = city["areas"], city["classes"]
    assert areas["code"].str.len().value_counts().to_dict() == {12: 39, 9: 4, 6: 1, 4: 1}
    assert classes["code"].str[0].value_counts().to_dict() == {"C": 76, "E": 59}
    assert len(city["conditions"]) == 383
    assert len(city["majors"]) == 11
    assert set(city["conditions"]["class_code"]) == set(classes["code"])
    assert city["conditions"]["limit_value"].gt(0).all()
    assert (classes["geometry_type"].notna() == classes["code"].str.startswith("C")).all()


def test_what_is_invented_says_so(city):
    for name in ("areas", "barriers", "components", "reports"):
        assert city[name]["data_source"].str.contains("模拟").all()
    assert city["units"]["name_zh"].str.contains("示例").all()
    for name in ("collectors", "responsibility", "truth"):
        assert city[name]["name_zh"].str.contains("模拟").all()


def test_areas_tile_their_parents_exactly(city):
    areas = city["areas"].set_index("code").geometry
    coordinates = shapely.get_coordinates(areas.array) * 1024
    assert (coordinates == np.round(coordinates)).all()
    for upper, lower in pairwise(LEVELS):
        children = areas[areas.index.str.len() == lower]
        assert shapely.coverage_is_valid(children.array)
        for code, whole in areas[areas.index.str.len() == upper].items():
            parts = children[children.index.str.startswith(code)]
            assert shapely.equals_exact(
                shapely.normalize(shapely.coverage_union_all(parts.array)), shapely.normalize(whole)
            )
    assert areas.geom_type.eq("Polygon").all()
    assert not areas.interiors.map(len).any()


def test_cells_tile_their_communities_exactly(city):
    cells, areas = city["cells"], city["areas"].set_index("code").geometry
    assert 2_300 <= len(cells) <= 2_900
    assert cells["code"].is_unique
    assert cells["code"].str.fullmatch(r"\d{15}").all()
    assert shapely.coverage_is_valid(cells.geometry.array)
    for code, parts in cells.groupby(cells["code"].str[:12]):
        assert parts.area.sum() == pytest.approx(areas[code].area, abs=1e-6)
        assert parts.within(areas[code].buffer(1e-6)).all()
    assert set(cells["area_class"]) == {"A", "B", "C"}


def test_communities_lie_at_their_real_points_and_on_their_bank(city, profile):
    listed = pd.read_csv(FOLDER / "areas.csv", dtype={"code": str}).set_index("code")
    real = listed[listed["source"].str.contains("approx")]
    assert len(real) == 16
    areas = city["areas"].set_index("code").geometry
    points = shapely.points(to_city(real[["lon", "lat"]].to_numpy(), profile["srid"]))
    assert max(areas[code].distance(point) for code, point in zip(real.index, points, strict=True)) < 120
    frame = Frame.of(profile, np.random.default_rng(profile["simulation"]["seed"]).spawn(3)[0].spawn(4)[0])
    for code, geometry in areas[areas.index.str.len() == 12].items():
        v = frame.to_uv(shapely.get_coordinates(geometry.representative_point()))[0, 1]
        assert (v > 0) == code.startswith(("610902003", "610902004"))


def test_streets_have_grades_names_and_bridges(city, ground):
    streets = city["barriers"].query("kind == 'street'")
    assert set(streets["grade"]) == {"arterial", "street", "lane"}
    assert streets["name_zh"].notna().all()
    bridges = streets[streets["name_zh"].str.contains("桥$")]
    assert bridges["name_zh"].nunique() == 4
    assert shapely.intersects(ground["water"], bridges.geometry.array).all()
    minor = streets[streets["grade"] != "arterial"]
    assert not shapely.intersects(ground["water"], minor.geometry.array).any()


def test_buildings_stand_clear_of_each_other_of_streets_and_of_water(city, ground):
    houses = ground["houses"]
    streets = city["barriers"].query("kind == 'street'")
    assert len(houses) > 8_000
    tree = shapely.STRtree(houses)
    assert tree.query(houses, predicate="overlaps").size == 0
    paved = shapely.buffer(np.asarray(streets.geometry.array), streets["width_m"].to_numpy() / 2 * 0.98)
    assert tree.query(paved, predicate="intersects").size == 0
    assert not shapely.intersects(ground["water"], houses).any()


def test_components_stand_where_such_things_stand(city, ground):
    components = city["components"]
    assert len(components) >= 60_000
    assert components["class_code"].nunique() == 76
    points = components[components.geom_type == "Point"]
    at = np.asarray(points.geometry.array)
    assert shapely.STRtree(ground["houses"]).query(at, predicate="intersects").size == 0
    shapely.prepare(ground["water"])
    assert not shapely.contains(ground["water"], at).any()
    wet = components[shapely.intersects(ground["water"], np.asarray(components.geometry.array))]
    assert set(wet["class_code"]) == {"C0209"}  # bridges
    kinds = city["classes"].set_index("code")["geometry_type"]
    assert (components.geom_type == components["class_code"].map(kinds)).all()
    streets = shapely.union_all(city["barriers"].query("kind == 'street'").geometry.array)
    shapely.prepare(streets)
    lamps = components.geometry[components["class_code"] == "C0137"].array
    assert shapely.dwithin(streets, lamps, 20).all()
    assert components.is_valid.all()


def test_component_codes_are_district_class_and_serial(city):
    components = city["components"]
    assert components["code"].is_unique
    assert components["code"].str.fullmatch(r"610902\d{10}").all()
    assert (components["code"].str[6:10] == components["class_code"].str[1:]).all()
    units = set(city["units"]["code"])
    for column in ("supervising_unit", "owner_unit", "maintainer_unit"):
        assert set(components[column].dropna()) <= units
    assert components["owner_unit"].isna().any()
    assert components["attrs"].map(bool).all()


def test_organisations_are_as_many_as_asked(city):
    units = city["units"]
    kinds = units["kind"].value_counts()
    assert kinds[["supervision_centre", "command_centre", "district", "street_office"]].tolist() == [1, 1, 1, 4]
    assert 15 <= kinds.drop(["supervision_centre", "command_centre", "district", "street_office"]).sum() <= 20
    assert set(units["parent_code"].dropna()) <= set(units["code"])
    assert set(units["area_code"].dropna()) <= set(city["areas"]["code"])


def test_rules_name_units_roles_classes_and_zones_that_exist(city):
    rules = city["rules"]
    assert len(rules) >= 200
    assert rules["code"].is_unique
    units, classes = set(city["units"]["code"]), city["classes"]["code"]
    for roles in rules["roles"]:
        for role in roles.split("|"):
            kind, _, code = role.partition(":")
            assert (kind == "unit" and code in units) or role in (
                "owner",
                "maintainer",
                "cell",
                "community",
                "street",
                "district",
            )
    assert all(classes.str.startswith(prefix).any() for prefix in rules["class_prefix"].unique())
    conditions = set(zip(city["conditions"]["class_code"], city["conditions"]["no"], strict=True))
    given = rules[rules["condition_no"].notna()]
    assert set(zip(given["class_prefix"], given["condition_no"].astype(int), strict=True)) <= conditions
    assert rules["zone"].notna().sum() >= 10
    assert not rules.duplicated(["class_prefix", "condition_no", "area_prefix", "zone"]).any()


def test_responsibility_grids_are_connected_and_have_one_collector_each(city):
    grids, cells = city["responsibility"], city["cells"].set_index("code").geometry
    assert sorted(grids["cell_code"]) == sorted(cells.index)
    size = grids.groupby("code").size()
    assert size.between(10, 34).all()
    assert 14 <= size.median() <= 25
    for code, rows in grids.groupby("code"):
        assert shapely.coverage_union_all(cells[rows["cell_code"]].array).geom_type == "Polygon", code
        assert len(set(rows["cell_code"].str[:9])) == 1
    assert grids.groupby("code")["collector_code"].nunique().eq(1).all()
    assert sorted(city["collectors"]["code"]) == sorted(grids["collector_code"].unique())


def test_reports_are_a_consistent_year(city, profile):
    reports = city["reports"]
    assert len(reports) >= 40_000
    assert not reports.duplicated(["channel", "key"]).any()
    assert reports["reported_at"].is_monotonic_increasing
    local = reports["reported_at"].dt.tz_convert(profile["timezone"])
    assert str(local.min().date()) >= "2025-11-01"
    assert str(local.max().date()) <= "2026-10-31"
    end = pd.Timestamp("2026-11-01", tz=profile["timezone"])
    for earlier, later in (("reported_at", "disposed_at"), ("disposed_at", "closed_at"), ("reported_at", "due_at")):
        both = reports[[earlier, later]].dropna()
        assert (both[earlier] <= both[later]).all()
    assert (reports[["disposed_at", "closed_at"]].max() <= end).all()
    conditions = set(zip(city["conditions"]["class_code"], city["conditions"]["no"], strict=True))
    assert set(zip(reports["class_code"], reports["condition_no"], strict=True)) <= conditions
    closed = reports[reports["stage"] == "closed"]
    assert closed["closed_at"].notna().all()
    assert set(reports["stage"]) == set(STAGES.split())
    assert reports.loc[reports["stage"].isin(["refused", "void", "reported"]), "due_at"].isna().all()


def test_rates_are_realistic(city, profile):
    reports = city["reports"]
    share = reports["channel"].value_counts(normalize=True)
    assert share["collector"] == pytest.approx(0.75, abs=0.04)
    assert share["public"] == pytest.approx(0.14, abs=0.03)
    assert (reports["stage"] == "refused").mean() == pytest.approx(0.03, abs=0.005)
    done = reports.dropna(subset=["disposed_at", "due_at"])
    assert 0.10 <= (done["disposed_at"] > done["due_at"]).mean() <= 0.15
    local = reports["reported_at"].dt.tz_convert(profile["timezone"])
    month = local.dt.month
    assert month[reports["class_code"] == "E0407"].isin([12, 1, 2]).all()
    assert month[reports["class_code"] == "E0406"].isin([7, 8, 9]).mean() > 0.6
    assert local.dt.hour[reports["class_code"] == "E0510"].isin([18, 19, 20, 21, 22, 23, 0, 1]).mean() > 0.6
    daily = local.dt.date.value_counts()
    assert daily[pd.Timestamp("2026-02-18").date()] < 0.7 * daily.median()


def test_component_reports_lie_at_their_component(city, places):
    reports = city["reports"]
    good = (reports["class_code"].str[0] == "C") & reports["note"].isna()
    code = reports.loc[good, "component_code"]
    assert code.notna().all()
    assert reports.loc[reports["class_code"].str[0] == "E", "component_code"].isna().all()
    assert (code.str[6:10] == reports.loc[good, "class_code"].str[1:]).all()
    where = city["components"].set_index("code").geometry[code]
    away = shapely.distance(np.asarray(where.array), shapely.points(places[good.to_numpy()]))
    assert np.median(away) < 5
    assert np.quantile(away, 0.999) < 100


def test_bad_places_are_labelled(city, ground, places):
    reports = city["reports"]
    labelled = reports["note"].fillna("").str.contains("simulated").to_numpy()
    assert labelled.mean() == pytest.approx(0.003, abs=0.0015)
    away = shapely.distance(ground["city"], shapely.points(places))
    assert (away[labelled] > 0).all()
    assert away[~labelled].max() < 60
    assert sum(finding["rows"] for finding in city["findings"]) == labelled.sum()


def test_planted_hot_spots_stand_out(city, places):
    reports, truth = city["reports"], city["truth"]
    assert len(truth) == 8
    for spot in truth.itertuples():
        near = np.hypot(places[:, 0] - spot.x, places[:, 1] - spot.y) < spot.radius_m + 30
        inside = near & reports["class_code"].str.startswith(spot.class_prefix).to_numpy()
        inside &= (reports["reported_at"] >= spot.from_at).to_numpy() & (reports["reported_at"] < spot.to_at).to_numpy()
        assert inside.sum() >= 0.9 * spot.cases


def test_the_frame_and_degrees_go_there_and_back(profile):
    frame = Frame.of(profile, np.random.default_rng(3))
    uv = np.stack(np.meshgrid(np.linspace(-4500, 5000, 20), np.linspace(-3000, 2400, 15)), axis=-1).reshape(-1, 2)
    assert np.abs(frame.to_uv(frame.to_xy(uv)) - uv).max() < 0.001
    xy = frame.to_xy(uv)
    assert np.abs(to_city(to_lon_lat(xy, 4545), 4545) - xy).max() < 1e-4


def test_density_is_highest_in_the_old_town(profile):
    centres = [place_of(profile, centre) for centre in profile["simulation"]["centre"]]
    thick = density(profile, shapely.get_coordinates(centres))
    assert thick.argmax() == 0
    assert ((thick > 0) & (thick <= 1)).all()


def test_deadlines_follow_the_calendar(city, profile):
    calendar = WorkCalendar.read(
        FOLDER / "calendar.csv",
        hours=[tuple(period) for period in profile["office_hours"]],
        timezone=profile["timezone"],
    )
    limits = city["conditions"].set_index(["class_code", "no"])[["limit_value", "limit_basis"]]
    dispatched = city["reports"].dropna(subset=["due_at"]).join(limits, on=["class_code", "condition_no"])
    working = dispatched[dispatched["limit_basis"].isin(["work_hour", "work_day"])]
    allowed = working["limit_value"] * np.where(working["limit_basis"] == "work_day", 8, 1) * 3600
    spent = calendar.elapsed(working["reported_at"], working["due_at"])
    assert (spent >= allowed - 1e-6).all()  # the clock starts at dispatch, after the report
    assert (spent <= allowed + 8 * 3600).all()


def test_a_missing_or_broken_file_says_which(tmp_path):
    with pytest.raises(UnfitFile, match=r"city\.toml"):
        simulate_city(tmp_path, lambda stage, share: None)
    for source in FOLDER.iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    (tmp_path / "city.toml").write_text("seed = = 4", encoding="utf-8")
    with pytest.raises(UnfitFile, match="cannot be read"):
        read_profile(tmp_path)


def test_a_class_without_duty_is_refused():
    with pytest.raises(Invalid, match="E0101"):
        duties_of(pd.Series(["E0101"]), pd.DataFrame({"class_prefix": ["C"]}))


def test_an_unknown_place_is_refused():
    with pytest.raises(Invalid, match="on the moon"):
        place_components(None, {"place": "on the moon"}, np.random.default_rng(1))


def test_an_interrupt_passes_through():
    def interrupt(stage: str, share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_city(FOLDER, interrupt)
