"""Laws of the first grid: an exact partition, no slivers, neighbours that fit, codes in reading order."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, Polygon, box

from gis.errors import Invalid
from grids.cut import STEPS_PER_METRE, cut, cut_all, number, shared_sides, snapped


def on_steps(geometries) -> bool:
    coordinates = shapely.get_coordinates(geometries) * STEPS_PER_METRE
    return bool((coordinates == np.round(coordinates)).all())


@st.composite
def stars(draw: st.DrawFn) -> Polygon:
    """Star-shaped polygons some hundred metres wide, anywhere relative to the lattice."""
    corners = draw(st.integers(3, 14))
    radius = draw(st.lists(st.floats(30, 600), min_size=corners, max_size=corners))
    x, y = draw(st.floats(595_000, 595_200)), draw(st.floats(3_619_000, 3_619_200))
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False) + draw(st.floats(0, 6))
    return snapped(Polygon(np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)))


@given(stars())
@settings(max_examples=60, deadline=None)
def test_cells_cover_the_community_once(star):
    cells = cut(star)
    assert cells.geom_type.eq("Polygon").all()
    assert cells.is_valid.all()
    assert on_steps(cells.array)
    assert shapely.coverage_is_valid(cells.array)
    # a vertex put where the lattice crosses a border may lie half a millimetre beside it
    assert cells.area.sum() == pytest.approx(star.area, abs=star.length * 0.0005, rel=1e-6)
    assert shapely.symmetric_difference(shapely.union_all(cells.array), star).area < star.length * 0.001


@given(stars(), st.floats(0, 3.1), st.floats(-60, 60))
@settings(max_examples=60, deadline=None)
def test_neighbours_fit_vertex_by_vertex(star, angle, shift):
    centre = np.array(shapely.get_coordinates(star.centroid)[0])
    way = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-way[1], way[0]])
    middle = centre + shift * across
    far = 3000
    left = Polygon(
        [middle - far * way, middle + far * way, middle + far * (way + across), middle + far * (across - way)]
    )
    parts = [shapely.intersection(star, left, grid_size=1 / STEPS_PER_METRE)]
    parts.append(shapely.difference(star, left, grid_size=1 / STEPS_PER_METRE))
    parts = [part for whole in parts for part in shapely.get_parts(whole) if part.geom_type == "Polygon"]
    if not shapely.coverage_is_valid(parts):
        return  # snapping moved an outer vertex on one side only: no coverage to begin with
    cells = np.concatenate([cut(part).array for part in parts])
    assert shapely.coverage_is_valid(cells)


def test_a_community_noded_before_is_kept_to_the_last_bit():
    cells = cut(box(595_010.5, 3_619_020.25, 595_555.125, 3_619_410.75))
    assert cells.area.sum() == box(595_010.5, 3_619_020.25, 595_555.125, 3_619_410.75).area


def test_slivers_join_the_neighbour_with_the_longest_common_side():
    cells = cut(box(0, 0, 230, 100))
    assert sorted(cells.area) == [10_000, 13_000]
    assert cut(box(0, 0, 100, 149)).area.tolist() == [14_900]
    assert sorted(cut(box(0, 0, 100, 150)).area) == [5_000, 10_000]


def test_a_small_part_that_stands_alone_stays():
    cells = cut(MultiPolygon([box(0, 0, 200, 200), box(550, 550, 560, 560)]))
    assert sorted(cells.area) == [100, 10_000, 10_000, 10_000, 10_000]


def test_holes_stay_holes():
    ring = box(0, 0, 500, 500).difference(box(120, 130, 390, 370))
    cells = cut(ring)
    assert cells.area.sum() == ring.area
    assert not cells.intersects(box(121, 131, 389, 369)).any()


def test_no_cell_is_below_half_the_target_when_it_has_a_neighbour():
    star = Polygon([(3, 7), (921, 55), (700, 610), (333, 480), (41, 790)])
    assert cut(star).area.min() >= 5_000
    assert cut(star, target_m2=2_500).area.min() >= 1_250


def test_numbers_run_west_to_east_and_north_to_south():
    cells = cut(box(0, 0, 300, 200))
    code = dict(zip(number(cells, "610902001001"), cells.centroid, strict=True))
    assert [(code[f"610902001001{n:03d}"].x, code[f"610902001001{n:03d}"].y) for n in range(1, 7)] == [
        (50, 150),
        (150, 150),
        (250, 150),
        (50, 50),
        (150, 50),
        (250, 50),
    ]


def test_more_than_999_cells_are_refused_with_the_community():
    areas = gpd.GeoDataFrame({"code": ["610902001001"]}, geometry=[box(0, 0, 5_000, 2_100)], crs=4545)
    with pytest.raises(Invalid, match="1050 cells") as caught:
        cut_all(areas)
    assert caught.value.where["community"] == "610902001001"


def test_cut_all_numbers_every_community_and_takes_its_class():
    areas = gpd.GeoDataFrame(
        {"code": ["610902001002", "610902001", "610902001001"], "area_class": ["C", None, "A"]},
        geometry=[box(200, 0, 400, 200), box(0, 0, 400, 200), box(0, 0, 200, 200)],
        crs=4545,
    )
    heard: list[float] = []
    cells = cut_all(areas, progress=heard.append)
    assert cells["code"].tolist() == [f"61090200100{c}00{n}" for c in (1, 2) for n in (1, 2, 3, 4)]
    assert cells["area_class"].tolist() == ["A"] * 4 + ["C"] * 4
    assert cells.crs == areas.crs
    assert heard == [0.5, 1.0]


def test_shared_sides_are_measured():
    i, j, length = shared_sides(np.array([box(0, 0, 1, 2), box(1, 0, 2, 2), box(2, 2, 3, 3)], dtype=object))
    assert (i.tolist(), j.tolist(), length.tolist()) == ([0], [1], [2.0])


@pytest.mark.parametrize("wrong", [Polygon(), Polygon([(0, 0), (100, 100), (100, 0), (0, 100)])])
def test_what_has_no_proper_area_is_refused(wrong):
    with pytest.raises(Invalid):
        cut(wrong)


def test_a_target_must_be_positive():
    with pytest.raises(Invalid):
        cut(box(0, 0, 1, 1), target_m2=0)
