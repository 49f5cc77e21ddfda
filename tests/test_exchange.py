"""Taking over and giving out: an export comes back to the last bit; healing is idempotent and spares the sound."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import shapely.affinity
from hypothesis import given, settings
from hypothesis import strategies as st

from gis.crs import BD09, GCJ02, GEODETIC, reproject, snap
from gis.errors import Invalid, UnfitCoordinates, UnfitFile
from gis.formats import write_vector
from grids.check import check, errors_of
from grids.exchange import compare, our_fields, read_grid, standard_fields, with_classes
from grids.heal import heal
from grids.measures import measures
from tests.plats import SRID, block, sound, there, with_points

FORMATS = [".gpkg", ".parquet", ".shp", ".zip", ".geojson", ".fgb"]


def dated(cells: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """The cells as the database hands them to an export."""
    first, later = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 5, 4, 12, tzinfo=UTC)
    since = [later if row % 3 == 0 else first for row in range(len(cells))]
    return cells.assign(first_since=first, since=since, until=pd.NaT)


def same(one: Any, other: Any) -> bool:
    """The same vertices to the last bit, wherever the rings begin."""
    return bool(
        shapely.equals_exact(*(shapely.normalize(np.asarray(of.geometry.array)) for of in (one, other)), 0.0).all()
    )


# ── round trip ────────────────────────────────────────


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("fields", [standard_fields, our_fields])
def test_what_is_exported_comes_back_to_the_last_bit(tmp_path: Path, suffix: str, fields: Any) -> None:
    cells, areas = sound(2, 4, wobble_m=25, seed=7)
    cells.loc[3, "area_class"] = "C"
    write_vector(fields(dated(cells)), tmp_path / f"grid{suffix}")
    again, findings = read_grid(tmp_path / f"grid{suffix}", srid_city=SRID, mapping={}, areas=areas)
    again = again.sort_values("code", ignore_index=True)
    assert findings == []
    assert list(again["code"]) == list(cells["code"])
    assert same(again, cells)
    if fields is our_fields:
        assert list(again["area_class"]) == list(cells["area_class"])


def test_the_standards_fields_are_those_of_its_table() -> None:
    cells = dated(sound(1, 2)[0])
    table = standard_fields(cells)
    assert list(table.columns.drop("geometry")) == ["BGCode", "BGName", "Area", "ORDate", "CHDate", "DEDate", "Note"]
    assert list(table["Area"]) == [10_000.0] * 4
    assert [str(day) for day in table["CHDate"]] == ["2026-05-04", "None", "None", "2026-05-04"]
    assert {str(day) for day in table["ORDate"]} == {"2026-01-01"}


@given(st.floats(1, 1e5), st.floats(1, 1e5))
def test_a_rectangle_is_measured_as_the_book_says(wide_m: float, tall_m: float) -> None:
    of = measures(gpd.GeoSeries([shapely.box(0, 0, wide_m, tall_m)], crs=SRID)).iloc[0]
    assert of["area_m2"] == pytest.approx(wide_m * tall_m)
    assert of["perimeter_m"] == pytest.approx(2 * (wide_m + tall_m))
    assert of["compactness"] <= np.pi / 4 + 1e-12


def test_degrees_come_back_within_a_millimetre(tmp_path: Path) -> None:
    cells, areas = sound(2, 3, wobble_m=20)
    write_vector(cells.to_crs(4490), tmp_path / "grid.gpkg")
    again, _ = read_grid(tmp_path / "grid.gpkg", srid_city=SRID, mapping={}, areas=areas)
    moved = shapely.hausdorff_distance(again.geometry.to_numpy(), cells.geometry.to_numpy())
    assert (moved < 0.001).all()
    assert errors_of(check(again, areas)) == []


# ── fields ────────────────────────────────────────


@pytest.mark.parametrize("field", ["BGCode", "bgid", "单元网格标识码", "DYWGBSM", "网格编码", "code"])
def test_usual_names_of_the_code_are_known(tmp_path: Path, field: str) -> None:
    cells, _ = sound(1, 2)
    write_vector(cells.rename(columns={"code": field}), tmp_path / "grid.gpkg")
    again, _ = read_grid(tmp_path / "grid.gpkg", srid_city=SRID, mapping={})
    assert list(again["code"]) == list(cells["code"])


def test_fields_are_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    cells, _ = sound(1, 2)
    given_ = cells.rename(columns={"code": "number", "area_class": "等级"}).assign(主体="街道办", n=[1, 2, 3, None])
    given_["等级"] = ["一级", "2", "c", None]
    write_vector(given_, tmp_path / "grid.gpkg")
    with pytest.raises(UnfitFile) as caught:
        read_grid(tmp_path / "grid.gpkg", srid_city=SRID, mapping={})
    assert "number" in str(caught.value.mend)
    again, _ = read_grid(tmp_path / "grid.gpkg", srid_city=SRID, mapping={"code": "number", "area_class": "等级"})
    assert list(again["area_class"]) == ["A", "B", "C", "A"]
    assert again["attrs"].iloc[0] == {"主体": "街道办", "n": 1.0}
    with pytest.raises(UnfitFile, match="nothing"):
        read_grid(tmp_path / "grid.gpkg", srid_city=SRID, mapping={"code": "nothing"})
    with pytest.raises(Invalid, match="colour"):
        read_grid(tmp_path / "grid.gpkg", srid_city=SRID, mapping={"colour": "number"})


def test_an_unknown_class_is_refused_with_its_row(tmp_path: Path) -> None:
    cells, _ = sound(1, 2)
    write_vector(cells.assign(area_class=["A", "A", "Z", "A"]), tmp_path / "grid.gpkg")
    with pytest.raises(UnfitFile) as caught:
        read_grid(tmp_path / "grid.gpkg", srid_city=SRID, mapping={})
    assert caught.value.where["row"] == 3


def test_closed_lines_of_a_drawing_become_cells(tmp_path: Path) -> None:
    cells, _ = sound(1, 2)
    write_vector(cells.set_geometry(cells.boundary), tmp_path / "grid.gpkg")
    again, _ = read_grid(tmp_path / "grid.gpkg", srid_city=SRID, mapping={})
    assert same(again, cells)


def test_one_part_is_unwrapped_and_coordinates_are_put_on_the_lattice(tmp_path: Path) -> None:
    cells, _ = sound(1, 2)
    moved = shapely.transform(cells.geometry.to_numpy(), lambda xy: xy + 0.0003)
    wrapped = [shapely.MultiPolygon([shape]) for shape in moved]
    write_vector(cells.set_geometry(wrapped, crs=SRID), tmp_path / "grid.gpkg")
    again, findings = read_grid(tmp_path / "grid.gpkg", srid_city=SRID, mapping={})
    assert same(again, cells)
    assert [finding.rule for finding in findings] == ["off_lattice"]
    assert findings[0].size == pytest.approx(0.0003 * 2**0.5, rel=1e-3)


# ── wrong readings ────────────────────────────────────────


def test_a_grid_elsewhere_is_refused_with_the_reading_that_fits(tmp_path: Path) -> None:
    cells, areas = sound(2, 3)
    swapped = shapely.transform(cells.to_crs(GEODETIC).geometry.to_numpy(), lambda xy: xy[:, ::-1])
    write_vector(cells.set_geometry(gpd.GeoSeries(swapped, crs=GEODETIC)), tmp_path / "swapped.gpkg")
    with pytest.raises(UnfitCoordinates, match="swapped"):
        read_grid(tmp_path / "swapped.gpkg", srid_city=SRID, mapping={}, areas=areas)
    write_vector(cells.set_crs(4546, allow_override=True), tmp_path / "zone.gpkg")
    with pytest.raises(UnfitCoordinates, match="4545"):
        read_grid(tmp_path / "zone.gpkg", srid_city=SRID, mapping={}, areas=areas)


@pytest.mark.parametrize(("datum", "name"), [(GCJ02, "GCJ-02"), (BD09, "BD-09")])
def test_scrambled_degrees_are_noticed_by_the_codes(tmp_path: Path, datum: int, name: str) -> None:
    cells, areas = sound(3, 10)
    degrees = reproject(cells.geometry.to_numpy(), SRID, datum)
    write_vector(cells.set_geometry(gpd.GeoSeries(degrees, crs=GEODETIC)), tmp_path / "grid.gpkg")
    with pytest.raises(UnfitCoordinates, match=name):
        read_grid(tmp_path / "grid.gpkg", srid_city=SRID, mapping={}, areas=areas)
    again, _ = read_grid(tmp_path / "grid.gpkg", srid_city=SRID, mapping={}, areas=areas, srid=datum)
    assert (shapely.hausdorff_distance(again.geometry.to_numpy(), cells.geometry.to_numpy()) < 0.01).all()


# ── healing ────────────────────────────────────────

plats = st.builds(
    sound, st.integers(1, 2), st.integers(2, 5), wobble_m=st.sampled_from([0.0, 3.0, 25.0]), seed=st.integers(0, 999)
)


def shaken(cells: gpd.GeoDataFrame, by_m: float, seed: int) -> gpd.GeoDataFrame:
    """Every corner of every cell moved on its own, as when each cell is drawn by itself."""
    rng = np.random.default_rng(seed)
    rings = [shapely.get_coordinates(shape)[:-1] for shape in cells.geometry]
    moved = [shapely.Polygon(ring + rng.uniform(-by_m, by_m, ring.shape)) for ring in rings]
    return cells.set_geometry(moved, crs=SRID)


@given(plats, st.sampled_from([0.01, 0.1, 1.0]))
@settings(max_examples=25)
def test_a_sound_grid_is_not_changed_by_healing(
    plat: tuple[gpd.GeoDataFrame, gpd.GeoDataFrame], tolerance_m: float
) -> None:
    cells, areas = plat
    healed, moves = heal(cells, areas, tolerance_m=tolerance_m)
    assert shapely.equals_identical(healed.geometry.to_numpy(), cells.geometry.to_numpy()).all()
    assert moves.empty


@given(plats, st.sampled_from([0.01, 0.05, 0.2]), st.integers(0, 999))
@settings(max_examples=25)
def test_a_shaken_grid_is_sound_after_healing(
    plat: tuple[gpd.GeoDataFrame, gpd.GeoDataFrame], by_m: float, seed: int
) -> None:
    cells, areas = plat
    bad = shaken(cells, by_m, seed)
    healed, moves = heal(bad, areas, tolerance_m=4 * by_m)
    assert errors_of(check(healed, areas)) == []
    assert (moves["moved_m"] <= 4 * by_m).all()
    xy = shapely.get_coordinates(healed.geometry.to_numpy()) * 1024
    assert (xy == np.round(xy)).all()
    again, more = heal(healed, areas, tolerance_m=4 * by_m)
    assert shapely.equals_identical(again.geometry.to_numpy(), healed.geometry.to_numpy()).all()
    assert more.empty


def test_what_is_wider_than_the_tolerance_stays_and_is_found() -> None:
    cells, areas = sound(1, 3)
    cells = cells.set_index("code", drop=False)
    code = "610999001001005"
    cells.loc[code, "geometry"] = with_points(cells.loc[code, "geometry"], (195, 150), after=(200, 100))
    healed, moves = heal(cells, areas, tolerance_m=0.5)
    assert moves.empty
    assert same(healed, cells)
    assert {finding.rule for finding in check(healed, areas)} == {"gap"}


def test_each_move_is_listed_with_its_width() -> None:
    cells, areas = sound(1, 3)
    shapes = list(cells.geometry)
    shapes[3] = block(0, 100, 99.75, 100)  # a gap of a quarter metre
    shapes[5] = block(199.75, 100, 100.25, 100)  # an overlap of as much
    shapes[0] = block(-0.25, 200, 100.25, 100)  # over the community's border
    healed, moves = heal(cells.set_geometry(shapes, crs=SRID), areas, tolerance_m=0.3)
    moves = moves[moves["what"] != "node"]
    assert dict(moves.groupby("what")["moved_m"].max()) == pytest.approx(
        {"gap": 0.25, "overlap": 0.25, "trimmed": 0.25}, abs=0.01
    )
    assert dict(moves.groupby("what")["area_m2"].sum()) == pytest.approx(
        {"gap": 25, "overlap": 25, "trimmed": 25}, abs=0.2
    )
    assert errors_of(check(healed, areas)) == []


@pytest.mark.parametrize("tolerance_m", [0.0, -1.0, 6.0, float("nan")])
def test_a_tolerance_out_of_reason_is_refused(tolerance_m: float) -> None:
    cells, areas = sound(1, 2)
    with pytest.raises(Invalid):
        heal(cells, areas, tolerance_m=tolerance_m)


def test_broken_rows_are_left_as_they_are() -> None:
    cells, areas = sound(1, 3)
    shapes = list(cells.geometry)
    west, south, east, north = shapes[1].bounds
    bow = shapely.Polygon([(west, south), (east, north), (east, south), (west, north)])
    shapes[0], shapes[1] = None, bow
    bad = cells.set_geometry(gpd.GeoSeries(shapes, crs=SRID))
    healed, _ = heal(bad, areas, tolerance_m=0.2)
    assert healed.geometry.iloc[0] is None
    assert shapely.equals_identical(healed.geometry.iloc[1], bow)


def test_a_needle_without_width_is_straightened() -> None:
    cells, areas = sound(1, 3)
    shapes = list(cells.geometry)
    whole, shapes[1] = shapes[1], with_points(shapes[1], (200, 250), (220, 250), (200, 250), after=(200, 200))
    healed, _ = heal(cells.set_geometry(gpd.GeoSeries(shapes, crs=SRID)), areas, tolerance_m=0.2)
    assert healed.geometry.iloc[1].is_valid
    assert healed.geometry.iloc[1].equals(whole)


def test_a_grid_rounded_to_centimetres_is_healed() -> None:
    cells, areas = sound(3, 3)
    turned = [
        shapely.affinity.rotate(shape, 17, origin=(500_000, 3_600_000)) for shape in (*cells.geometry, *areas.geometry)
    ]
    turned = list(snap(gpd.GeoSeries(turned, crs=SRID)))
    cells = cells.set_geometry(gpd.GeoSeries(turned[: len(cells)], crs=SRID))
    areas = areas.set_geometry(gpd.GeoSeries(turned[len(cells) :], crs=SRID))
    rounded = cells.set_geometry(
        gpd.GeoSeries(
            [shapely.transform(shape, lambda xy: np.round(xy * 100) / 100) for shape in cells.geometry], crs=SRID
        )
    )
    healed, _ = heal(rounded, areas, tolerance_m=0.1)
    assert not errors_of(check(healed, areas))


def test_classes_that_the_file_lacks_are_those_of_the_grid(tmp_path: Path) -> None:
    ours, _ = sound(2, 2)
    ours["area_class"] = ["C" if code[:12] == "610999001001" else "B" for code in ours["code"]]
    ours.loc[0, "area_class"] = "A"
    theirs = ours[["code", "geometry"]].copy()
    theirs.loc[1, "code"] = "610999001001005"
    theirs.loc[4, "code"] = "610999009009001"
    write_vector(theirs, tmp_path / "grid.gpkg")
    read, _ = read_grid(tmp_path / "grid.gpkg", srid_city=SRID, mapping={})
    assert read["area_class"].isna().all()
    filled = with_classes(read, ours).set_index("code")["area_class"]
    assert filled["610999001001001"] == "A"
    assert filled["610999001001005"] == "C"
    assert filled["610999009009001"] == "A"
    assert filled["610999002001001"] == "B"


# ── comparing ────────────────────────────────────────


def test_the_comparison_counts_every_cell_once() -> None:
    ours, _ = sound(2, 3)
    theirs = ours[ours["code"].str[:9] == "610999001"].copy()
    assert compare(ours, theirs)["same"].sum() == len(theirs)
    theirs = theirs.iloc[1:].copy()
    theirs.loc[theirs.index[0], "area_class"] = "B"
    theirs.loc[theirs.index[1], "code"] = "610999001001010"
    turned = shapely.Polygon(np.roll(shapely.get_coordinates(theirs.geometry.iloc[2])[:-1], 2, axis=0))
    theirs.loc[theirs.index[2], "geometry"] = turned
    table = compare(ours, theirs).set_index("community")
    assert table.loc["610999001001"].to_dict() == {"new": 1, "changed": 1, "same": 6, "gone": 2}
    assert table.loc["610999001002"].to_dict() == {"new": 0, "changed": 0, "same": 9, "gone": 0}
    assert there(0, 0) == (500_000.0, 3_600_000.0)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_coordinates_that_are_no_numbers_are_named_by_their_row(tmp_path: Path, number: float) -> None:
    cells, _ = sound(1, 2)
    broken = shapely.transform(cells.geometry.iloc[1], lambda xy: np.where(xy == xy.max(axis=0), number, xy))
    cells = cells.set_geometry(gpd.GeoSeries([cells.geometry.iloc[0], broken, *cells.geometry.iloc[2:]], crs=SRID))
    cells.to_file(tmp_path / "odd.gpkg")
    with pytest.raises(UnfitFile, match="no numbers") as caught:
        read_grid(tmp_path / "odd.gpkg", srid_city=SRID, mapping={})
    assert caught.value.where["row"] == 2
