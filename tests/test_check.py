"""The check of a grid: a sound grid gives no error, every planted fault is found at its place, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from gis.errors import Invalid, UnfitCoordinates
from grids.check import RULES, Finding, check, errors_of, findings_frame, write_findings
from grids.findings import counts
from tests.plats import SRID, block, sound, there, with_points

# ── laws of sound grids ────────────────────────────────────────

plats = st.builds(
    sound,
    st.integers(1, 3),
    st.integers(1, 5),
    side_m=st.sampled_from([80.0, 100.0, 130.0]),
    wobble_m=st.sampled_from([0.0, 3.0, 25.0]),
    seed=st.integers(0, 10_000),
)


@given(plats)
@settings(max_examples=40)
def test_a_sound_grid_has_no_error(plat: tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]) -> None:
    cells, areas = plat
    assert errors_of(check(cells, areas)) == []


@given(plats, st.integers(0, 1000))
@settings(max_examples=20)
def test_the_order_of_the_rows_does_not_matter(plat: tuple[gpd.GeoDataFrame, gpd.GeoDataFrame], seed: int) -> None:
    cells, areas = plat
    cells = cells.drop(index=cells.index[len(cells) // 2])
    mixed = cells.sample(frac=1, random_state=seed)
    first, second = check(cells, areas), check(mixed, areas.sample(frac=1, random_state=seed))
    assert [(f.rule, f.code, f.other, f.en) for f in first] == [(f.rule, f.code, f.other, f.en) for f in second]


@given(plats, st.sampled_from([0.0005, 0.001]), st.integers(0, 1000))
@settings(max_examples=20)
def test_what_is_thinner_than_the_tolerance_is_no_error(
    plat: tuple[gpd.GeoDataFrame, gpd.GeoDataFrame], noise_m: float, seed: int
) -> None:
    """Every corner of every cell is moved on its own: hairlines everywhere, and all of them noise."""
    cells, areas = plat
    rng = np.random.default_rng(seed)
    moved = []
    for shape in cells.geometry:
        ring = shapely.get_coordinates(shape)[:-1]
        moved.append(shapely.Polygon(ring + rng.uniform(-noise_m / 1.5, noise_m / 1.5, ring.shape)))
    assert errors_of(check(cells.set_geometry(moved, crs=SRID), areas, tolerance_m=4 * noise_m)) == []


def test_a_hamlet_without_cells_is_one_gap() -> None:
    cells, areas = sound(2, 2)
    found = check(cells.iloc[:0], areas)
    assert {f.rule for f in found} == {"gap"}
    assert sum(f.size or 0 for f in found) == areas.area.sum()


def test_only_the_communities_asked_for_must_be_covered() -> None:
    cells, areas = sound(2, 2)
    some = cells[cells["code"].str.startswith("610999001001")]
    assert check(some, areas, covered=["610999001001"]) == []


# ── planted faults ────────────────────────────────────────


@dataclass
class Plat:
    """A grid being damaged: 3 × 3 communities of 5 × 5 cells of 100 m."""

    cells: dict[str, Any]
    classes: dict[str, str] = field(default_factory=dict)
    recoded: dict[str, str] = field(default_factory=dict)
    retired: list[str] = field(default_factory=list)
    buildings: list[Any] = field(default_factory=list)

    def frame(self) -> gpd.GeoDataFrame:
        codes = [self.recoded.get(code, code) for code in self.cells]
        classes = [self.classes.get(code, "A") for code in self.cells]
        return gpd.GeoDataFrame({"code": codes, "area_class": classes}, geometry=list(self.cells.values()), crs=SRID)


Expected = list[tuple[str, str | None, tuple[float, float]]]  #: rule, code, a place it must touch
Plant = Callable[[Plat], Expected]


def cell(column: int, row: int) -> str:
    """The code of the cell whose lower left corner is (column, row) × 100 m."""
    community = f"610999{column // 5 + 1:03d}{row // 5 + 1:03d}"
    return f"{community}{(4 - row % 5) * 5 + column % 5 + 1:03d}"


def gap(plat: Plat) -> Expected:
    code = cell(1, 1)  # its upper right corner drawn in by ten metres
    plat.cells[code] = shapely.Polygon([there(100, 100), there(200, 100), there(190, 190), there(100, 200)])
    return [("gap", "610999001001", (195, 195))]


def overlap(plat: Plat) -> Expected:
    code = cell(3, 1)
    plat.cells[code] = with_points(plat.cells[code], (410, 150), after=(400, 100))
    return [("overlap", code, (405, 150))]


def strip(plat: Plat) -> Expected:
    code, new = cell(1, 3), "610999001001026"
    plat.cells[code], plat.cells[new] = block(100, 300, 98.5, 100), block(198.5, 300, 1.5, 100)
    return [("sliver", new, (199, 350))]


def scrap(plat: Plat) -> Expected:
    code, new = cell(3, 3), "610999001001027"
    plat.cells[code], plat.cells[new] = block(300, 300, 92, 100), block(392, 300, 8, 100)
    return [("sliver", new, (396, 350))]


def astride(plat: Plat) -> Expected:
    west, east = cell(4, 6), cell(5, 6)
    plat.cells[west] = with_points(plat.cells[west], (510, 650), after=(500, 600))
    plat.cells[east] = with_points(plat.cells[east], (510, 650), after=(500, 700))
    return [("astride", west, (505, 650))]


def outside(plat: Plat) -> Expected:
    code = "610999001002026"
    plat.cells[code] = block(-500, 600, 100, 100)
    return [("outside", code, (-450, 650))]


def reaching_out(plat: Plat) -> Expected:
    code = cell(0, 8)
    plat.cells[code] = with_points(plat.cells[code], (-10, 850), after=(0, 900))
    return [("outside", code, (-5, 850))]


def code_place(plat: Plat) -> Expected:
    code, wrong = cell(2, 6), "610999003003026"
    plat.recoded[code] = wrong
    return [("code_place", wrong, (250, 650))]


def malformed(plat: Plat) -> Expected:
    plat.recoded[cell(2, 8)] = "61099900100A017"
    return [("code_malformed", "61099900100A017", (250, 850))]


def digits(plat: Plat) -> Expected:
    plat.recoded[cell(3, 9)] = "61099900100204"
    return [("code_digits", "61099900100204", (350, 950))]


def duplicate(plat: Plat) -> Expected:
    plat.recoded[cell(1, 11)] = cell(3, 11)
    return [("code_duplicate", cell(3, 11), (350, 1150))]


def retired(plat: Plat) -> Expected:
    plat.retired.append(cell(1, 13))
    return [("code_retired", cell(1, 13), (150, 1350))]


def large(plat: Plat) -> Expected:
    del plat.cells[cell(6, 1)], plat.cells[cell(7, 1)]
    plat.cells[cell(8, 1)] = shapely.Polygon(
        [
            there(x, y)
            for x, y in [(600, 100), (700, 100), (800, 100), (900, 100), (900, 200), (800, 200), (700, 200), (600, 200)]
        ]
    )
    return [("odd_area", cell(8, 1), (750, 150))]


def ring(plat: Plat) -> Expected:
    code = cell(6, 3)  # its right border runs out into the neighbour and back on itself
    plat.cells[code] = with_points(plat.cells[code], (700, 350), (720, 350), (700, 350), after=(700, 300))
    return [("invalid_ring", code, (720, 350))]


def parts(plat: Plat) -> Expected:
    code, lost = cell(8, 3), cell(6, 4)
    plat.cells[code] = shapely.MultiPolygon([plat.cells[code], plat.cells.pop(lost)])
    return [("several_parts", code, (650, 450))]


def hole(plat: Plat) -> Expected:
    code, new = cell(6, 6), "610999002002026"
    plat.cells[code], plat.cells[new] = block(600, 600, 100, 100) - block(620, 620, 50, 50), block(620, 620, 50, 50)
    return [("hole", code, (650, 650)), ("odd_area", new, (650, 650))]


def empty(plat: Plat) -> Expected:
    code = cell(8, 6)
    plat.cells[code] = None
    return [("empty", code, (0, 0)), ("gap", "610999002002", (850, 650))]


def open_border(plat: Plat) -> Expected:
    code = cell(6, 8)
    plat.cells[code] = with_points(plat.cells[code], (699.9375, 850), after=(700, 800))
    return [("open_border", code, (699.9375, 850)), ("gap", "610999002002", (699.97, 850))]


def comb(plat: Plat) -> Expected:
    west, east = cell(6, 11), cell(7, 11)
    teeth = [(700 + 40 * (-1) ** n, 1100 + 7 * n) for n in range(1, 14)]
    plat.cells[west] = with_points(plat.cells[west], *teeth, after=(700, 1100))
    plat.cells[east] = with_points(plat.cells[east], *teeth[::-1], after=(700, 1200))
    return [("low_compactness", west, (650, 1150)), ("low_compactness", east, (750, 1150))]


def spike(plat: Plat) -> Expected:
    west, east = cell(6, 13), cell(7, 13)
    needle = [(700, 1350), (740, 1351), (700, 1352)]
    plat.cells[west] = with_points(plat.cells[west], *needle, after=(700, 1300))
    plat.cells[east] = with_points(plat.cells[east], *needle[::-1], after=(700, 1400))
    return [("spike", west, (740, 1351))]


def building(plat: Plat) -> Expected:
    plat.buildings += [block(1190, 140, 20, 12), block(1230, 140, 20, 12), block(1300, 140, 20, 12)]
    return [("building_cut", cell(11, 1), (1200, 146))]


def unshared_node(plat: Plat) -> Expected:
    code = cell(11, 3)
    plat.cells[code] = with_points(plat.cells[code], (1200, 350), after=(1200, 300))
    return [("unshared_node", code, (1200, 350))]


def off_lattice(plat: Plat) -> Expected:
    west, east = cell(11, 6), cell(12, 6)
    plat.cells[west] = with_points(plat.cells[west], (1200.0001, 650), after=(1200, 600))
    plat.cells[east] = with_points(plat.cells[east], (1200.0001, 650), after=(1200, 700))
    return [("off_lattice", west, (1200.0001, 650)), ("off_lattice", east, (1200.0001, 650))]


def numbering(plat: Plat) -> Expected:
    north_west, south_east = cell(10, 14), cell(13, 11)
    plat.recoded |= {north_west: south_east, south_east: north_west}
    return [("numbering", "610999003003", (1050, 1450))]


def far_outside_the_centre(plat: Plat) -> Expected:
    """Any size in class C: a note, and no scrap."""
    code, new = cell(13, 1), "610999003001026"
    plat.cells[code], plat.cells[new] = block(1300, 100, 91, 100), block(1391, 100, 9, 100)
    plat.classes |= {code: "C", new: "C"}
    return [("odd_area", new, (1395, 150))]


PLANTS: list[Plant] = [
    *(gap, overlap, strip, scrap, astride, outside, reaching_out, code_place, malformed, digits, duplicate, retired),
    *(large, ring, parts, hole, empty, open_border, comb, spike, building, unshared_node, off_lattice, numbering),
    far_outside_the_centre,
]


def damaged(plants: list[Plant]) -> tuple[list[Finding], Expected]:
    cells, areas = sound(3, 5)
    plat = Plat(dict(zip(cells["code"], cells.geometry, strict=True)))
    expected = [finding for plant in plants for finding in plant(plat)]
    buildings = gpd.GeoSeries(plat.buildings, crs=SRID) if plat.buildings else None
    return check(plat.frame(), areas, retired=plat.retired, buildings=buildings), expected


def assert_found(found: list[Finding], expected: Expected) -> None:
    """Each expected fault is found and touches its place; the rest are notes of nodes and of late numbers."""
    by_name: dict[tuple[str, str | None], list[Finding]] = {}
    for finding in found:
        by_name.setdefault((finding.rule, finding.code), []).append(finding)
    for rule, code, place in expected:
        here = by_name.get((rule, code), [])
        assert here, (rule, code, sorted(by_name))
        if rule != "empty":
            assert any(shapely.distance(f.place, shapely.Point(there(*place))) < 0.05 for f in here), here
    wanted = {(rule, code) for rule, code, _ in expected}
    rest = {name for name in by_name if name not in wanted and name[0] not in ("unshared_node", "numbering")}
    assert not rest


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_each_planted_fault_is_found_and_nothing_else(plant: Plant) -> None:
    assert_found(*damaged([plant]))


def test_all_planted_faults_are_found_at_once_and_nothing_else() -> None:
    found, expected = damaged(PLANTS)
    assert_found(found, expected)
    assert {finding.rule for finding in found} == set(RULES)
    assert found == damaged(PLANTS)[0]


def test_every_finding_says_what_where_and_how_grave() -> None:
    found, _ = damaged(PLANTS)
    for finding in found:
        assert finding.en
        assert finding.zh
        assert finding.en != finding.zh
        assert finding.severity in ("error", "warning", "note")
        assert finding.rule == "empty" or not finding.place.is_empty
        assert (finding.size is None) or np.isfinite(finding.size)
    assert [finding.rule for finding in found] == sorted([finding.rule for finding in found], key=list(RULES).index)


def test_sizes_are_those_of_the_faults() -> None:
    found = {
        finding.rule: finding
        for plant in (gap, overlap, astride, building, open_border)
        for finding in damaged([plant])[0]
    }
    assert found["overlap"].size == pytest.approx(500)
    assert found["astride"].size == pytest.approx(500)
    assert found["building_cut"].size == pytest.approx(12, abs=0.01)
    assert found["open_border"].size == pytest.approx(0.0625)


def test_a_hole_of_the_community_is_no_fault() -> None:
    shape = block(0, 0, 100, 100) - block(40, 40, 30, 30)
    cells = gpd.GeoDataFrame({"code": ["610999001001001"]}, geometry=[shape], crs=SRID)
    areas = gpd.GeoDataFrame({"code": ["610999001001"]}, geometry=[shapely.MultiPolygon([shape])], crs=SRID)
    assert errors_of(check(cells, areas)) == []


def test_degrees_are_refused() -> None:
    cells, areas = sound(1, 2)
    with pytest.raises(UnfitCoordinates):
        check(cells.to_crs(4326), areas.to_crs(4326))
    with pytest.raises(Invalid):
        check(cells.to_crs(4546), areas)


# ── for QGIS ────────────────────────────────────────


def test_findings_go_into_a_geopackage_with_a_layer_for_each_kind(tmp_path: Path) -> None:
    found, _ = damaged(PLANTS)
    write_findings(tmp_path / "findings.gpkg", found, SRID)
    layers = {str(name): str(kind) for name, kind in pyogrio.list_layers(tmp_path / "findings.gpkg")}
    assert layers == {
        "findings_polygons": "MultiPolygon",
        "findings_lines": "MultiLineString",
        "findings_points": "MultiPoint",
    }
    read = [pyogrio.read_dataframe(tmp_path / "findings.gpkg", layer=layer) for layer in layers]
    assert sum(map(len, read)) == len(found)
    assert all(frame.crs.to_epsg() == SRID for frame in read)
    every = pd.concat([frame.drop(columns="geometry") for frame in read])
    assert set(every["rule"]) == set(RULES)
    assert list(every.columns) == list(findings_frame(found, SRID).columns.drop("geometry"))


def test_no_findings_are_an_empty_layer(tmp_path: Path) -> None:
    write_findings(tmp_path / "none.gpkg", [], SRID)
    assert len(pyogrio.read_dataframe(tmp_path / "none.gpkg")) == 0


def test_the_counts_add_up() -> None:
    found, _ = damaged(PLANTS)
    table = counts(found)
    assert table["findings"].sum() == len(found)
    assert table["severity"].iloc[0] == "error"
