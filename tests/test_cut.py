"""Laws of cutting: an exact partition that follows the barriers, sizes near the target, neighbours that fit."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import LineString, MultiPolygon, Point, Polygon, box

from gis.errors import Invalid
from grids.coverage import STEP_M, STEPS_PER_METRE, noded, shared_sides, snapped, without_needles
from grids.cut import cut, cut_all, fitted, number, wished
from grids.divide import balanced_cuts
from grids.enclose import barrier_lines, enclose, faces_of

EAST, NORTH = 595_000.0, 3_619_000.0
CODE = "610902001001"


def here(x: float, y: float) -> tuple[float, float]:
    return EAST + x, NORTH + y


def field(width: float, height: float, x: float = 0, y: float = 0) -> Polygon:
    return box(*here(x, y), *here(x + width, y + height))


def line(*points: tuple[float, float]) -> LineString:
    return LineString([here(*point) for point in points])


def ground(streets=(), *, grade="street", **others) -> gpd.GeoDataFrame:
    """The ground of a test: streets, and other kinds by name."""
    rows = [("street", grade, shape) for shape in streets]
    rows += [(kind, None, shape) for kind, shapes in others.items() for shape in shapes]
    kinds, grades, shapes = zip(*rows, strict=True)
    return gpd.GeoDataFrame({"kind": kinds, "grade": grades}, geometry=list(shapes), crs=4545)


def on_steps(geometries) -> bool:
    coordinates = shapely.get_coordinates(geometries) * STEPS_PER_METRE
    return bool((coordinates == np.round(coordinates)).all())


def follows(cells: gpd.GeoSeries, along: LineString) -> float:
    """The share of a line that lies on borders of cells."""
    near = shapely.buffer(shapely.union_all(shapely.boundary(cells.array)), 0.05)
    return float(shapely.length(shapely.intersection(along, near)) / along.length)


@st.composite
def stars(draw: st.DrawFn) -> Polygon:
    """Star-shaped polygons some hundred metres wide."""
    corners = draw(st.integers(3, 14))
    radius = draw(st.lists(st.floats(30, 600), min_size=corners, max_size=corners))
    x, y = draw(st.floats(0, 200)), draw(st.floats(0, 200))
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False) + draw(st.floats(0, 6))
    return snapped(Polygon([here(x + r * np.cos(a), y + r * np.sin(a)) for r, a in zip(radius, angle, strict=True)]))


@st.composite
def streets(draw: st.DrawFn) -> gpd.GeoDataFrame:
    """Lines of all sorts: crossing, repeated, crossing themselves, stopping short."""
    place = st.tuples(st.floats(-500, 700), st.floats(-500, 700))
    drawn = draw(st.lists(st.lists(place, min_size=2, max_size=5), min_size=1, max_size=8))
    lines = [line(*points) for points in drawn if LineString(points).length > 1]
    return ground([*lines, *lines[:1], line((0, 0), (100, 1))])


def assert_no_hairline(shapes, community) -> None:
    """Neither overlap nor gap, be it as thin as a step: what the shapes add up to has the community's holes only."""
    assert shapely.coverage_is_valid(shapes)
    holes = shapely.get_num_interior_rings(shapely.get_parts(community)).sum()
    assert shapely.get_num_interior_rings(shapely.get_parts(shapely.union_all(shapes))).sum() == holes


def assert_partition_with_holes(cells: gpd.GeoSeries, community) -> None:
    """A partition, where holes may meet in a point: rings of what the cells add up to are not counted."""
    shapes = np.asarray(cells.array, dtype=object)
    assert (shapely.get_type_id(shapes) == 3).all()
    assert shapely.coverage_is_valid(shapes)
    assert shapely.area(shapely.symmetric_difference(shapely.union_all(shapes), community)) < community.length * 0.002


def assert_partition(cells: gpd.GeoSeries, community) -> None:
    shapes = np.asarray(cells.array, dtype=object)
    assert (shapely.get_type_id(shapes) == 3).all()
    assert shapely.is_valid(shapes).all()
    assert on_steps(shapes)
    assert_no_hairline(shapes, community)
    # a vertex put where a line meets a border may lie half a millimetre beside it
    assert shapely.area(shapes).sum() == pytest.approx(community.area, abs=community.length * 0.002, rel=1e-6)
    assert shapely.area(shapely.symmetric_difference(shapely.union_all(shapes), community)) < community.length * 0.002


@given(stars(), streets())
@settings(max_examples=60)
def test_cells_cover_the_community_once_whatever_the_streets(star, lines):
    cells = cut(star, lines)
    assert_partition(cells, star)
    assert (shapely.get_num_interior_rings(np.asarray(cells.array)) == 0).all()


@given(stars())
@settings(max_examples=40)
def test_without_barriers_sizes_lie_between_half_and_root_two_of_the_target(star):
    area = cut(star).area
    if star.area > 5_000:
        assert area.min() > 4_000
    assert area.max() < 14_143 * 1.3


@given(stars(), streets(), st.floats(0, 3.1), st.floats(-60, 60))
@settings(max_examples=40)
def test_neighbours_fit_vertex_by_vertex(star, lines, angle, shift):
    centre = np.array(shapely.get_coordinates(star.centroid)[0])
    way = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-way[1], way[0]])
    middle = centre + shift * across
    left = Polygon(
        [middle - 3000 * way, middle + 3000 * way, middle + 3000 * (way + across), middle + 3000 * (across - way)]
    )
    faces = faces_of(star, [shapely.boundary(left)])
    inside = shapely.contains(left, shapely.point_on_surface(faces))
    sides = [shapely.coverage_union_all(faces[chosen]) for chosen in (inside, ~inside) if chosen.any()]
    areas = gpd.GeoDataFrame({"code": ["610902001001", "610902001002"][: len(sides)]}, geometry=sides, crs=4545)
    cells = cut_all(areas, lines)
    assert_no_hairline(cells.geometry.array, star)
    assert cells.geometry.is_valid.all()
    whole = fitted(areas, cells)
    for code, shape in zip(whole["code"], whole.geometry, strict=True):
        own = cells[cells["code"].str.startswith(code)]
        assert own.geometry.area.sum() == pytest.approx(shape.area, rel=1e-12)
    assert_no_hairline(whole.geometry.array, star)


def test_streets_become_borders():
    middle = line((100, 0), (100, 300))
    cells = cut(field(200, 300), ground([middle, line((0, 100), (200, 100)), line((0, 200), (200, 200))]))
    assert sorted(cells.area) == [10_000] * 6
    assert follows(cells, middle) == 1


def test_ends_that_stop_short_by_centimetres_are_joined_and_by_more_are_drawn_on():
    whole = field(200, 200)
    for short in (0.01, 0.04, 0.6, 20):
        cells = cut(whole, ground([line((100, short), (100, 200 - short)), line((short, 100), (200 - short, 100))]))
        assert cells.area.round().tolist() == [10_000] * 4
        assert follows(cells, line((100, short), (100, 200 - short))) == pytest.approx(1)


def test_a_dual_carriageway_is_one_border_and_its_strip_no_cell():
    pair = [
        line((0, 95), (600, 95)),
        line((0, 105), (600, 105)),
        *(line((x, 0), (x, 200)) for x in range(100, 600, 100)),
    ]
    cells = cut(field(600, 200), ground(pair, grade="arterial"))
    assert len(cells) == 12
    assert cells.area.between(9_500, 10_500).all()
    assert follows(cells, line((0, 100), (600, 100))) > 0.95


def test_a_street_polygon_is_shared_out_along_its_middle():
    street = field(600, 24, 0, 88).union(field(24, 200, 288, 0))
    cells = cut(field(600, 200), ground([street]))
    assert_partition(cells, field(600, 200))
    assert follows(cells, line((0, 100), (600, 100))) > 0.9
    assert follows(cells, line((300, 0), (300, 200))) > 0.9


def test_a_roundabout_is_no_cell_and_borders_meet_in_it():
    ring = Point(here(100, 100)).buffer(18).exterior
    arms = [
        line((0, 100), (82, 100)),
        line((118, 100), (200, 100)),
        line((100, 0), (100, 82)),
        line((100, 118), (100, 200)),
    ]
    cells = cut(field(200, 200), ground([ring, *arms]))
    assert len(cells) == 4
    assert cells.area.between(9_000, 11_000).all()
    assert shapely.distance(cells.array, Point(here(100, 100))).max() < 3


def test_small_blocks_join_a_neighbour_of_the_community():
    cells = cut(field(230, 100), ground([line((200, 0), (200, 100)), line((100, 0), (100, 100))]))
    assert sorted(cells.area) == [10_000, 13_000]


def test_lanes_give_way_before_main_streets():
    lines = gpd.GeoDataFrame(
        {"kind": "street", "grade": ["arterial", "lane"]},
        geometry=[line((100, 0), (100, 100)), line((130, 0), (130, 100))],
        crs=4545,
    )
    cells = cut(field(230, 100), lines)
    assert sorted(cells.area) == [10_000, 13_000]
    assert follows(cells, line((100, 0), (100, 100))) == 1


def test_no_building_is_cut():
    houses = [field(18, 11, x, y) for x in range(8, 380, 29) for y in range(8, 380, 21)]
    cells = cut(field(400, 400), ground([line((0, 200), (3, 200))], building=houses))
    assert len(cells) == 16
    borders = shapely.boundary(cells.array)
    inner = shapely.STRtree(shapely.buffer(houses, -0.02)).query(borders, predicate="intersects")
    assert inner.size == 0
    assert cells.area.between(7_500, 12_500).all()


def test_borders_keep_a_metre_from_components_where_they_can():
    rng = np.random.default_rng(7)
    points = gpd.GeoSeries(shapely.points(rng.uniform(here(0, 0), here(400, 400), (400, 2))), crs=4545)
    whole = field(400, 400)
    inner = shapely.buffer(whole, -1.5)
    lines = shapely.intersection(shapely.boundary(cut(whole, components=points).array), inner)
    far = shapely.distance(points.array[shapely.covers(inner, points.array)], shapely.union_all(lines))
    before = shapely.intersection(shapely.boundary(cut(whole).array), inner)
    assert (shapely.distance(points.array, shapely.union_all(before)) < 0.99).any()
    assert (far > 0.69).all()  # a metre at the corners of the squares kept free, 0.7 at their sides


def test_a_new_street_changes_only_what_it_touches():
    grid = [line((x, 0), (x, 1000)) for x in range(150, 1000, 150)] + [
        line((0, y), (1000, y)) for y in range(130, 1000, 130)
    ]
    before = set(shapely.to_wkb(cut(field(1000, 1000), ground(grid)).array))
    new = line((300, 320), (450, 320))
    after = cut(field(1000, 1000), ground([*grid, new]))
    changed = [shape for shape in after if shapely.to_wkb(shape) not in before]
    assert changed
    assert max(shapely.distance(shape, new) for shape in changed) < 200
    assert len(after) - len(changed) > 60


def test_the_same_input_gives_the_same_cells_in_any_order():
    lines = ground([line((x, -10), (x + 30, 500)) for x in range(40, 500, 70)] + [line((0, 200), (500, 260))])
    one = cut(field(500, 500), lines)
    two = cut(field(500, 500), lines.iloc[::-1])
    assert set(shapely.to_wkb(one.normalize())) == set(shapely.to_wkb(two.normalize()))


def test_parts_and_holes_of_a_community():
    parts = MultiPolygon([field(200, 200), field(10, 10, 550, 550)])
    cells = cut(parts)
    assert sorted(cells.area) == pytest.approx([100, 10_000, 10_000, 10_000, 10_000], rel=0.001)
    ring = field(500, 500).difference(field(270, 240, 120, 130))
    cells = cut(ring)
    assert_partition(cells, ring)
    assert not cells.intersects(field(268, 238, 121, 131)).any()


@given(st.lists(st.tuples(*[st.floats(3, 280)] * 2, *[st.floats(3, 60)] * 2), min_size=1, max_size=9))
@settings(max_examples=60)
def test_a_community_with_holes_has_no_scraps_and_no_rings_of_its_own(holes):
    whole = field(300, 300)
    for x, y, width, height in holes:
        whole = shapely.difference(whole, field(width, height, x, y), grid_size=STEP_M)
    whole = max(shapely.get_parts(whole), key=lambda part: part.area)
    cells = cut(whole)
    assert_partition_with_holes(cells, whole)
    assert cells.area.min() > min(1_000, 0.9 * whole.area)
    assert shapely.get_num_interior_rings(np.asarray(cells.array)).sum() <= len(whole.interiors)


@pytest.mark.parametrize("seed", [72, 215])
def test_lines_that_hug_the_border_by_a_millimetre_do_no_harm(seed):
    rng = np.random.default_rng(seed)
    corners = int(rng.integers(4, 13))
    angle, radius = np.arange(2 * corners) * np.pi / corners, np.where(np.arange(2 * corners) % 2, 500, 120)
    star = snapped(Polygon([here(r * np.cos(a), r * np.sin(a)) for r, a in zip(radius, angle, strict=True)]))
    near = 10 ** rng.uniform(-3.2, -2.5)
    xy = shapely.get_coordinates(star)
    shaken = LineString(xy + rng.normal(0, near, xy.shape))
    for tolerance_m in (0.0, 1.0):
        lines = ground([shapely.buffer(star, -near).exterior], grade="lane", water=[shaken])
        cells = cut(star, lines, tolerance_m=tolerance_m)
        assert_partition(cells, star)
        assert cells.area.min() > 1_000


def test_a_block_around_others_is_opened():
    inner = shapely.boundary(field(200, 200, 100, 100))
    cells = cut(field(400, 400), ground([inner]))
    assert_partition(cells, field(400, 400))
    assert (shapely.get_num_interior_rings(np.asarray(cells.array)) == 0).all()


def test_communities_of_any_size():
    assert cut(field(20, 15)).area.tolist() == [300]
    assert len(cut(field(3_000, 3_000))) == 900
    areas = gpd.GeoDataFrame({"code": [CODE]}, geometry=[field(5_000, 2_100)], crs=4545)
    with pytest.raises(Invalid, match="1050 cells") as caught:
        cut_all(areas)
    assert caught.value.where["community"] == CODE


def test_outside_the_centre_blocks_may_stay_whole():
    cells = cut(field(500, 400), ground([line((300, 0), (300, 400))]), divide=False)
    assert sorted(cells.area) == [80_000, 120_000]


@pytest.mark.parametrize("barriers", [None, gpd.GeoDataFrame({"kind": []}, geometry=[], crs=4545)])
def test_no_barriers_at_all(barriers):
    assert_partition(cut(field(300, 400), barriers), field(300, 400))


def test_lines_that_are_none_are_left_out():
    odd = ground([line((100, 0), (100, 100)), None, LineString(), line((50, 50), (50, 50))], water=[Polygon()])
    lines, _, _ = barrier_lines(odd, target_m2=10_000)
    assert len(lines) <= 2
    assert_partition(cut(field(200, 100), odd), field(200, 100))


@pytest.mark.parametrize(
    ("community", "words"),
    [
        (Polygon(), "no area"),
        (Polygon([here(0, 0), here(100, 100), here(100, 0), here(0, 60)]), "crosses itself"),
        (box(109.02, 32.69, 109.03, 32.70), "degrees"),
    ],
)
def test_communities_that_cannot_be_cut_are_refused(community, words):
    with pytest.raises(Invalid, match=words):
        cut(community)
    areas = gpd.GeoDataFrame({"code": [CODE]}, geometry=[community], crs=4545)
    with pytest.raises(Invalid) as caught:
        cut_all(areas)
    assert caught.value.where["community"] == CODE


@pytest.mark.parametrize("target_m2", [0, -1, float("nan")])
def test_targets_that_make_no_sense_are_refused(target_m2):
    with pytest.raises(Invalid, match="positive"):
        cut(field(100, 100), target_m2=target_m2)


@pytest.mark.parametrize(
    ("other", "words"),
    [(field(200, 200, 199.5), "by 100.00 m2"), (field(200, 200, 190), "by 2000.00 m2")],
)
def test_communities_that_overlap_are_refused_with_the_place(other, words):
    areas = gpd.GeoDataFrame({"code": [CODE, "610902001002"]}, geometry=[field(200, 200), other], crs=4545)
    with pytest.raises(Invalid, match=words) as caught:
        cut_all(areas)
    assert caught.value.where["other"] == "610902001002"
    assert EAST + 190 < caught.value.where["x"] < EAST + 200


def test_slivers_between_communities_are_refused_and_lakes_are_not():
    lake = field(100, 100, 150, 50)
    for gap, fits in ((field(0.3, 100, 200, 50), False), (lake, True)):
        west, east = (shapely.difference(field(200, 200, x), gap) for x in (0, 200))
        areas = gpd.GeoDataFrame({"code": [CODE, "610902001002"]}, geometry=[west, east], crs=4545)
        if fits:
            assert cut_all(areas).geometry.area.sum() == pytest.approx(80_000 - lake.area, rel=1e-6)
        else:
            with pytest.raises(Invalid, match=r"30\.00 m2"):
                cut_all(areas)


def test_an_area_is_divided_into_the_number_whose_cells_are_nearest_to_the_target():
    assert [wished(a, 10_000) for a in (300, 14_100, 14_200, 24_400, 24_600, 500_000)] == [1, 1, 2, 2, 3, 50]


@given(stars(), st.integers(2, 30))
@settings(max_examples=40)
def test_balanced_cuts_give_equal_areas(star, k):
    areas = shapely.area(faces_of(star, balanced_cuts(star, k)))
    if len(areas) == k and star.area / k > 500:
        assert areas == pytest.approx(np.full(k, star.area / k), rel=0.02)


@given(stars(), streets())
@settings(max_examples=40)
def test_blocks_cover_the_community(star, lines):
    shapes, _, surfaces = barrier_lines(lines, target_m2=10_000)
    blocks = enclose(star, shapes, surfaces, np.empty(0, dtype=object), tolerance_m=1.0)
    assert_partition(gpd.GeoSeries(blocks), star)


def test_hairlines_between_polygons_are_closed_and_gaps_are_not():
    left = Polygon([(0, 0), (50, 0), (50 + STEP_M, 40), (50, 100), (0, 100)])
    right = Polygon([(50, 0), (100, 0), (100, 100), (50, 100), (50 - STEP_M, 61)])
    far = box(100.5, 0, 120, 100)
    fit = noded(np.array([left, right, far], dtype=object))
    assert shapely.coverage_is_valid(fit[:2], gap_width=0.01)
    assert shapely.equals_exact(fit[2].normalize(), far.normalize())
    assert shapely.area(fit).sum() == pytest.approx(10_000 + far.area, abs=1e-9)
    again = noded(fit)
    assert (shapely.to_wkb(again) == shapely.to_wkb(fit)).all()


def test_needles_go_to_the_neighbour_along_them():
    sharp = Polygon([(0, 0), (100, 0), (130, 0.2), (100, 1), (100, 50), (0, 50)])  # its tip between the two others
    below = Polygon([(0, 0), (0, -50), (130, -50), (130, 0.2), (100, 0)])
    above = Polygon([(100, 50), (100, 1), (130, 0.2), (130, 50)])
    mended = without_needles(np.array([sharp, below, above], dtype=object), wide_m=2)
    assert shapely.coverage_is_valid(mended)
    assert shapely.area(mended).sum() == pytest.approx(sharp.area + below.area + above.area, abs=1e-9)
    assert shapely.get_num_coordinates(mended[0]) < shapely.get_num_coordinates(sharp)
    assert shapely.bounds(mended[0])[2] == 100
    kept = without_needles(np.array([sharp], dtype=object), wide_m=2)
    assert shapely.equals_exact(kept[0], sharp), "on the outer border it stays"


def test_numbers_run_west_to_east_and_north_to_south():
    cells = cut(field(300, 200))
    code = dict(zip(number(cells, CODE), cells.centroid, strict=True))
    assert [(round(code[f"{CODE}{n:03d}"].x - EAST), round(code[f"{CODE}{n:03d}"].y - NORTH)) for n in range(1, 7)] == [
        (50, 150),
        (150, 150),
        (250, 150),
        (50, 50),
        (150, 50),
        (250, 50),
    ]


def test_the_oldest_edition_has_room_for_99_cells():
    areas = gpd.GeoDataFrame({"code": [CODE]}, geometry=[field(300, 300)], crs=4545)
    assert cut_all(areas, digits=14)["code"].tolist() == [f"{CODE}0{n}" for n in range(1, 10)]
    with pytest.raises(Invalid, match="room for 99"):
        cut_all(areas.set_geometry([field(1_000, 1_000)], crs=4545), digits=14)


def test_cut_all_numbers_every_community_and_takes_its_class():
    areas = gpd.GeoDataFrame(
        {"code": ["610902001002", "610902001", "610902001001"], "area_class": ["C", None, "A"]},
        geometry=[field(200, 200, 200), field(400, 200), field(200, 200)],
        crs=4545,
    )
    heard: list[float] = []
    cells = cut_all(areas, progress=heard.append)
    assert cells["code"].tolist() == [*(f"61090200100100{n}" for n in (1, 2, 3, 4)), "610902001002001"]
    assert cells["area_class"].tolist() == ["A"] * 4 + ["C"]  # class C: blocks stay whole
    assert cells.crs == areas.crs
    assert heard == [0.5, 1.0]


def test_shared_sides_are_measured():
    i, j, length = shared_sides(np.array([box(0, 0, 1, 2), box(1, 0, 2, 2), box(2, 2, 3, 3)], dtype=object))
    assert (i.tolist(), j.tolist(), length.tolist()) == ([0], [1], [2.0])
