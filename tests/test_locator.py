"""The locator: the same owner as shapely, PostGIS and exact arithmetic, for any polygons and the nastiest points."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from gis.errors import Invalid, UnfitFile
from gis.locate import OUTSIDE, Locator

FAR = (500_000.0, 36_000_000.0)  #: as false easting and zone prefix make them
Shapes = NDArray[np.object_]


def series(shapes: Any, srid: int = 4545) -> gpd.GeoSeries:
    return gpd.GeoSeries(list(shapes), crs=srid)


def coverage(many: int, rng: np.random.Generator, origin: tuple[float, float] = FAR, snapped: bool = True) -> Shapes:
    """Voronoi cells of a square, some of them put together to multipolygons, one given a hole that another fills."""
    side = 100.0 * np.sqrt(many)
    box = shapely.box(*origin, origin[0] + side, origin[1] + side)
    seeds = shapely.multipoints(rng.uniform(0, side, (many, 2)) + origin)
    cells = shapely.intersection(shapely.get_parts(shapely.voronoi_polygons(seeds, extend_to=box)), box)
    if snapped:
        cells = shapely.get_parts(shapely.coverage_simplify(shapely.set_precision(cells, 1 / 1024), 0.0))
    cells = [cell for cell in cells if isinstance(cell, shapely.Polygon) and cell.area > 100]
    middle = cells[0].representative_point()
    island = shapely.box(*np.round(np.array([middle.x - 3, middle.y - 3, middle.x + 3, middle.y + 3]) * 1024) / 1024)
    cells[0] = cells[0] - island
    pairs = [shapely.MultiPolygon([cells[-1], cells[-4]]), shapely.MultiPolygon([cells[-2], cells[-7]])]
    parts = [cell for n, cell in enumerate(cells) if n - len(cells) not in (-1, -2, -4, -7)]
    shapes = np.array([*parts, *pairs, island], dtype=object)
    shapes = shapes[shapely.is_valid(shapes)]
    return shapes[rng.permutation(len(shapes))]


def nasty(shapes: Shapes, rng: np.random.Generator, many: int) -> NDArray[np.float64]:
    """Points on vertices, on edges, on the lines of rows and columns through vertices, and one ulp beside all these."""
    parts = shapely.get_rings(shapely.get_parts(shapes))
    ring, xy = rng.integers(0, len(parts), many), []
    for n in ring.tolist():
        corners = shapely.get_coordinates(parts[n])
        at = int(rng.integers(0, len(corners) - 1))
        a, b = corners[at], corners[at + 1]
        part = rng.choice([0.0, 0.5, 0.25, rng.random()])
        other = corners[int(rng.integers(0, len(corners)))]
        xy.append([a + part * (b - a), [a[0], other[1]], [other[0], a[1]], a][int(rng.integers(0, 4))])
    points = np.array(xy)
    step = rng.integers(-1, 2, points.shape)
    return np.where(step == 0, points, np.nextafter(points, np.where(step > 0, np.inf, -np.inf)))


def by_shapely(shapes: Shapes, xy: NDArray[np.float64]) -> NDArray[np.int64]:
    """The lowest row that covers each point, −1 for none."""
    point, row = shapely.STRtree(shapes).query(shapely.points(xy), predicate="intersects")
    found = np.full(len(xy), len(shapes))
    np.minimum.at(found, point, row)
    return np.where(found == len(shapes), OUTSIDE, found)


def covers_exactly(shape: Any, x: float, y: float) -> bool:
    """Whether a polygon covers a point, in rational numbers: nothing is rounded."""
    px, py, inside = Fraction(x), Fraction(y), False
    for ring in shapely.get_rings(shapely.get_parts(shape)):
        corners = [(Fraction(a), Fraction(b)) for a, b in shapely.get_coordinates(ring).tolist()]
        for (ax, ay), (bx, by) in pairwise(corners):
            side = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
            if side == 0 and min(ax, bx) <= px <= max(ax, bx) and min(ay, by) <= py <= max(ay, by):
                return True
            if (ay <= py) != (by <= py):
                inside ^= (side < 0) == (ay <= py)
    return inside


# ── the same as others ────────────────────────────────────────


@pytest.mark.parametrize("snapped", [True, False])
@pytest.mark.parametrize("origin", [(0.0, 0.0), FAR])
@pytest.mark.parametrize("many", [30, 900])
def test_the_owner_is_the_lowest_row_that_covers_the_point(
    many: int, origin: tuple[float, float], snapped: bool
) -> None:
    rng = np.random.default_rng(many)
    shapes = coverage(many, rng, origin, snapped)
    locator = Locator.of(series(shapes))
    west, south, east, north = shapely.total_bounds(shapes)
    xy = np.concatenate(
        [
            np.column_stack([rng.uniform(west - 60, east + 60, 40_000), rng.uniform(south - 60, north + 60, 40_000)]),
            nasty(shapes, rng, 20_000),
        ]
    )
    found = locator.locate(*xy.T)
    assert np.array_equal(found, by_shapely(shapes, xy))
    assert set(np.unique(found)) >= set(range(len(shapes)))


def test_postgis_says_the_same(conn: Connection) -> None:
    rng = np.random.default_rng(5)
    shapes = coverage(60, rng, (500_000.0, 3_600_000.0))
    random = rng.uniform(0, 800, (4_000, 2)) + np.array([500_000.0, 3_600_000.0])
    xy = np.concatenate([nasty(shapes, rng, 6_000), random])
    conn.execute(text("create temporary table shape (row int, geom geometry) on commit drop"))
    rows = [{"row": row, "shape": shapely.to_wkb(shape)} for row, shape in enumerate(shapes)]
    conn.execute(text("insert into shape values (:row, st_geomfromwkb(:shape))"), rows)
    conn.execute(text("create index on shape using gist (geom)"))
    said = conn.execute(
        text(
            "select coalesce((select min(s.row) from shape s where st_covers(s.geom, p.point)), -1) "
            "from unnest(cast(:x as float8[]), cast(:y as float8[])) with ordinality q (x, y, n), "
            "lateral (select st_makepoint(q.x, q.y) as point) p order by q.n"
        ),
        {"x": xy[:, 0].tolist(), "y": xy[:, 1].tolist()},
    )
    assert np.array_equal(Locator.of(series(shapes)).locate(*xy.T), np.array(list(said.scalars())))


def test_exact_arithmetic_says_the_same_where_doubles_cannot_tell() -> None:
    rng = np.random.default_rng(7)
    fan = [
        shapely.Polygon([(0, 0), (1e5 * np.cos(a), 1e5 * np.sin(a)), (1e5 * np.cos(b), 1e5 * np.sin(b))])
        for a, b in np.lib.stride_tricks.sliding_window_view(np.sort(rng.uniform(0, 6.28, 60)), 2).tolist()
    ]
    slivers = [shapely.Polygon([(0, 0), (7e4, 1e-6 * n), (7e4, 1e-6 * (n + 1))]) for n in range(20)]
    for shapes in (fan, slivers, [*fan, *slivers, *fan[::-1]]):
        some = np.array([shape for shape in shapes if shape.is_valid], dtype=object)
        xy = nasty(some, rng, 600)
        expected = [
            next((row for row, shape in enumerate(some) if covers_exactly(shape, x, y)), OUTSIDE)
            for x, y in xy.tolist()
        ]
        assert Locator.of(series(some)).locate(*xy.T).tolist() == expected


def test_overlaps_duplicates_and_nested_polygons_go_to_the_lowest_row() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        centres, sizes = rng.uniform(0, 300, (40, 2)), rng.choice([4.0, 30.0, 200.0], 40)
        shapes = shapely.buffer(shapely.points(centres), sizes, quad_segs=5)
        shapes = np.array([*shapes, *shapes[rng.integers(0, 40, 10)], shapely.box(-500, -500, 900, 900)], dtype=object)
        shapes = shapes[rng.permutation(len(shapes))]
        xy = np.concatenate([rng.uniform(-600, 1000, (3_000, 2)), nasty(shapes, rng, 1_000)])
        assert np.array_equal(Locator.of(series(shapes)).locate(*xy.T), by_shapely(shapes, xy))


def test_a_large_polygon_among_small_ones_keeps_coarse_pixels_and_the_answers() -> None:
    rng = np.random.default_rng(4)
    small = [shapely.box(x, y, x + 10, y + 10) for x in range(0, 200, 10) for y in range(0, 200, 10)]
    rest = shapely.box(-20_000, -20_000, 20_000, 20_000) - shapely.box(0, 0, 200, 200)
    shapes = np.array([*small, rest], dtype=object)
    locator = Locator.of(series(shapes))
    assert locator.nbytes < 60e6, "pixels of a metre all over would take gigabytes"
    xy = np.concatenate(
        [rng.uniform(-21_000, 21_000, (20_000, 2)), rng.integers(-2, 203, (20_000, 2)), nasty(shapes, rng, 5_000)]
    )
    assert np.array_equal(locator.locate(*xy.T), by_shapely(shapes, xy))


def test_small_polygons_far_from_the_origin_are_taken() -> None:
    rng, corner = np.random.default_rng(10), np.array([36_500_000.0, 36_000_000.0])
    for size in (0.25, 5.0, 40.0):
        lattice = [shapely.box(x * size, y * size, (x + 1) * size, (y + 1) * size) for x in range(9) for y in range(9)]
        shapes = np.array([shapely.transform(one, lambda xy: xy + corner) for one in lattice])
        xy = np.concatenate([nasty(shapes, rng, 4_000), rng.uniform(-size, 10 * size, (4_000, 2)) + corner])
        assert np.array_equal(Locator.of(series(shapes)).locate(*xy.T), by_shapely(shapes, xy))


def test_less_memory_gives_the_same_answers() -> None:
    rng = np.random.default_rng(6)
    shapes = coverage(400, rng)
    wide, narrow = (Locator.of(series(shapes), memory_mb=memory) for memory in (500, 0))
    assert narrow.nbytes < wide.nbytes / 2
    xy = nasty(shapes, rng, 20_000)
    assert np.array_equal(wide.locate(*xy.T), narrow.locate(*xy.T))


# ── many at once, and again ────────────────────────────────────────


def test_threads_and_requests_at_once_do_not_change_the_answer() -> None:
    rng = np.random.default_rng(8)
    shapes = coverage(200, rng)
    locator = Locator.of(series(shapes))
    x, y = (rng.uniform(low, low + 1500, 300_000) for low in FAR)
    one = locator.locate(x, y, threads=1)
    with ThreadPoolExecutor(6) as pool:
        for other in pool.map(lambda _: locator.locate(x, y, threads=3), range(12)):
            assert np.array_equal(one, other)


def test_a_saved_index_is_shared_and_says_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    shapes = coverage(100, rng)
    locator = Locator.of(series(shapes))
    locator.save(tmp_path / "index")
    locator.save(tmp_path / "index")  # again, over the old one
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    again = Locator.load(tmp_path / "index")
    assert isinstance(again.pixels, np.memmap)
    xy = nasty(shapes, rng, 5_000)
    assert np.array_equal(locator.locate(*xy.T), again.locate(*xy.T))
    assert (again.count, again.crs) == (len(shapes), locator.crs)


@pytest.mark.parametrize("harm", ["nothing", "format", "cut", "missing"])
def test_what_is_no_index_is_refused(tmp_path: Path, harm: str) -> None:
    folder = tmp_path / "index"
    if harm != "nothing":
        Locator.of(series([shapely.box(0, 0, 10, 10)])).save(folder)
    if harm == "format":
        facts = json.loads((folder / "locator.json").read_text())
        (folder / "locator.json").write_text(json.dumps(facts | {"format": 0}))
    elif harm == "cut":
        (folder / "pixels.npy").write_bytes((folder / "pixels.npy").read_bytes()[:100])
    elif harm == "missing":
        (folder / "xy.npy").unlink()
    with pytest.raises(UnfitFile, match="is no index"):
        Locator.load(folder)


# ── what is no place, and no polygon ────────────────────────────────────────


def test_what_is_no_number_lies_outside() -> None:
    locator = Locator.of(series([shapely.box(0, 0, 100, 100)]))
    strange = [np.nan, np.inf, -np.inf, 1e300, -1e300, 50.0, -0.0]
    x, y = (np.array(axis) for axis in zip(*[(a, b) for a in strange for b in strange], strict=True))
    assert np.flatnonzero(locator.locate(x, y) != OUTSIDE).tolist() == [
        n for n, (a, b) in enumerate(zip(x, y, strict=True)) if a in (50, 0) and b in (50, 0)
    ]
    assert len(locator.locate(np.empty(0), np.empty(0))) == 0
    with pytest.raises(ValueError, match="same length"):
        locator.locate(np.zeros(2), np.zeros(3))


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([], "no polygons"),
        ([shapely.box(0, 0, 1, 1), None], r"row 1 \(1\): is missing"),
        ([shapely.Polygon()], "row 0 .*is empty"),
        ([shapely.box(0, 0, 1, 1), shapely.Point(0, 0)], "row 1 .*is a Point"),
        ([shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])], "row 0 .*Self-intersection"),
        ([shapely.box(3e15, 3e15, 3e15 + 8, 3e15 + 8)], "too large"),
    ],
)
def test_what_is_no_polygon_is_named(shapes: list[Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        Locator.of(series(shapes))


def test_polygons_in_degrees_are_refused() -> None:
    with pytest.raises(Invalid, match="degrees"):
        Locator.of(series([shapely.box(108, 32, 109, 33)], 4490))
