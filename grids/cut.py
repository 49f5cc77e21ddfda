"""Cutting the unit grid: barriers and a community's border in, cells of about 10 000 m² out.

A cell (单元网格) is "usually about 10 000 m²", lies in exactly one community, follows streets, water and yards, cuts
no building, and cells neither overlap nor leave gaps (CJ/T 213-2005, GB/T 30428.1-2013). Blocks come from
:mod:`grids.enclose`; here small ones join a neighbour, large ones are divided by balanced cuts
(:mod:`grids.divide`), and the cells are numbered.

Each community is cut by itself, from what lies in it; a new street changes only the blocks it touches and those that
were joined with them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.geometry import MultiPolygon, Polygon

from gis.errors import Invalid
from grids.areas import refuse_untiled
from grids.codes import CellCode
from grids.coverage import (
    Floats,
    Geometries,
    Ints,
    densified,
    face_of,
    noded,
    owners_with_neighbours,
    shared_sides,
    snapped,
    united,
    without_needles,
)
from grids.detour import around
from grids.divide import balanced_cuts
from grids.enclose import barrier_lines, enclose, faces_of, opened

SMALLEST = 0.5  #: of the target: a block below this joins a neighbour
LARGEST = 1.6  #: of the target: a cell above this is divided once more
PLAIN_M = 0.1  #: a vertex whose loss changes less than the square of this is left out
SCRAP = 0.2  #: of the target: what is below this in the end joins a neighbour, whatever lies between
THIN_M = 20.0  #: a block narrower than this in the mean is no cell by itself
#: what a union is worth: its compactness, less these times …
OFF = 0.6  #: … how far it is from a multiple of the target (logarithm)
RANK = 0.06  #: … the rank of the barrier that goes lost
OVER = 0.15  #: … 1 if it would have to be divided again


def wished(area_m2: float, target_m2: float) -> int:
    """Into how many cells an area is divided: the number whose cells are nearest to the target, as a ratio."""
    few = max(int(area_m2 / target_m2), 1)
    return few if area_m2 / few / target_m2 <= target_m2 * (few + 1) / area_m2 else few + 1


def cut(
    community: Polygon | MultiPolygon,
    barriers: gpd.GeoDataFrame | None = None,
    *,
    components: gpd.GeoSeries | None = None,
    target_m2: float = 10_000,
    tolerance_m: float = 1.0,
    divide: bool = True,
) -> gpd.GeoSeries:
    """Cells that cover the community once, follow the barriers, and lie near the target area.

    community   : in metres; holes and several parts are allowed
    barriers    : the ground (columns kind, grade, geometry, same system): streets, water, rail, walls, paths divide,
                  buildings are not cut; None or empty: balanced cuts alone
    components  : points from which balanced cuts keep a metre where they can
    target_m2   : area of a cell; blocks below half of it join a neighbour, blocks above √2 of it are divided
    tolerance_m : an end of a barrier that stops this short of another line is joined to it
    divide      : False leaves large blocks whole (outside the centre a cell may have any size)
    Returns single-part polygons in no particular order (see :func:`number`), without CRS. Raises Invalid for an empty
    or self-crossing community, one in degrees, or a target that is not positive.
    """
    ground = _Ground.of(barriers, components, target_m2)
    return gpd.GeoSeries(_cut(community, ground, target_m2=target_m2, tolerance_m=tolerance_m, divide=divide))


class _Ground:
    """The barriers and buildings of a city, indexed once for all communities."""

    def __init__(
        self, lines: Geometries, ranks: Ints, surfaces: Geometries, buildings: Geometries, components: Geometries
    ) -> None:
        self.lines, self.ranks, self.surfaces = lines, ranks, surfaces
        self.buildings, self.components = buildings, components
        self.line_tree = shapely.STRtree(lines)
        self.surface_tree = shapely.STRtree(surfaces)
        self.building_tree = shapely.STRtree(buildings)
        self.component_tree = shapely.STRtree(components)

    def buildings_in(self, block: Polygon | MultiPolygon) -> Geometries:
        """The buildings that meet a block."""
        return self.buildings[np.sort(self.building_tree.query(block, predicate="intersects"))]

    def components_in(self, block: Polygon) -> Geometries:
        """The components in a block or within a metre of it."""
        return self.components[np.sort(self.component_tree.query(block, predicate="dwithin", distance=1.0))]

    @classmethod
    def of(cls, barriers: gpd.GeoDataFrame | None, components: gpd.GeoSeries | None, target_m2: float) -> _Ground:
        nothing = np.empty(0, dtype=object)
        points = nothing if components is None else np.asarray(components.array, dtype=object)
        points = points[shapely.get_type_id(points) == 0]
        if barriers is None or not len(barriers):
            return cls(nothing, np.empty(0, dtype=np.int64), nothing, nothing, points)
        lines, ranks, surfaces = barrier_lines(barriers, target_m2=target_m2)
        built = np.asarray(barriers.geometry.array[(barriers["kind"] == "building").to_numpy()], dtype=object)
        return cls(lines, ranks, surfaces, np.asarray(shapely.get_parts(built), dtype=object), points)


def _refuse_unfit(community: Polygon | MultiPolygon, target_m2: float) -> None:
    if not target_m2 > 0:
        raise Invalid(f"The target area must be positive, not {target_m2}.", f"目标面积必须为正数：{target_m2}。")
    if community.is_empty or not community.area > 0:
        raise Invalid("The community has no area.", "社区没有面积。")
    west, south, east, north = community.bounds
    if abs(west) <= 360 and abs(east) <= 360 and abs(south) <= 90 and abs(north) <= 90 and community.area < 1:
        raise Invalid(
            "The community seems to be in degrees; cells are cut in metres.",
            "社区坐标疑为经纬度；划分网格须使用以米为单位的坐标。",
            mend="transform it to the city's projected system (GeoDataFrame.to_crs) and cut again",
            mend_zh="请先投影到城市的平面坐标系（GeoDataFrame.to_crs）再划分",
        )


def _cut(
    community: Polygon | MultiPolygon, ground: _Ground, *, target_m2: float, tolerance_m: float, divide: bool
) -> Geometries:
    _refuse_unfit(community, target_m2)
    parts = densified(np.asarray(shapely.get_parts(snapped(community)), dtype=object))
    whole: Polygon | MultiPolygon = parts[0] if len(parts) == 1 else MultiPolygon(list(parts))
    rows = np.sort(ground.line_tree.query(whole, predicate="intersects"))
    lines, ranks = ground.lines[rows], ground.ranks[rows]
    surfaces = ground.surfaces[np.sort(ground.surface_tree.query(whole, predicate="intersects"))]
    blocks = _sorted(enclose(whole, lines, surfaces, ground.buildings_in(whole), tolerance_m=tolerance_m))
    blocks = _merged(blocks, _resistance(lines, ranks), target_m2)
    if (shapely.get_num_interior_rings(blocks) > 0).any():  # joining made a block lie around others
        blocks = opened(whole, blocks, ground.buildings_in(whole))
    cells = blocks
    for above in (0.0, LARGEST, LARGEST) if divide else ():  # a way around buildings may have swallowed a cut
        if (shapely.area(cells) > above * target_m2).any():
            cells = _divided(whole, cells, ground, target_m2, above=above)
    cells = _without_scraps(whole, cells, target_m2)
    plain = shapely.coverage_simplify(cells, PLAIN_M, simplify_boundary=False)  # no vertex that nobody could see
    return without_needles(np.asarray(plain, dtype=object))


def _without_scraps(community: Polygon | MultiPolygon, cells: Geometries, target_m2: float) -> Geometries:
    """Scraps joined to a neighbour; cells that a cell lies around joined with it, unless the two are too large."""
    cells = joined(cells, SCRAP * target_m2)
    own = shapely.get_num_interior_rings(shapely.get_parts(community)).sum()
    if shapely.get_num_interior_rings(cells).sum() <= own:
        return cells
    around = cells[shapely.get_num_interior_rings(cells) > 0]
    middles = shapely.point_on_surface(cells)
    owner = np.arange(len(cells))
    for cell in around[np.argsort(-shapely.area(around), kind="stable")]:
        filled = shapely.polygons(shapely.get_exterior_ring(cell))
        inside = np.flatnonzero(shapely.within(middles, filled))
        if shapely.area(cells[inside]).sum() <= LARGEST * target_m2:
            owner[inside] = owner[inside].min()
    return united(cells, owner)


def _sorted(polygons: Geometries) -> Geometries:
    """In an order that depends on where they lie alone."""
    bounds = shapely.bounds(polygons)
    return np.asarray(polygons[np.lexsort((shapely.area(polygons), bounds[:, 1], bounds[:, 0]))], dtype=object)


def _resistance(lines: Geometries, ranks: Ints) -> Callable[[Geometries, Ints, Ints], Floats]:
    """A function: the rank, weighted by length, of what the sides common to pairs of faces follow."""
    tree = shapely.STRtree(lines)

    def of(faces: Geometries, i: Ints, j: Ints) -> Floats:
        found = np.zeros(len(i))
        if not len(lines) or not len(i):
            return found
        common = shapely.intersection(shapely.boundary(faces[i]), shapely.boundary(faces[j]))
        parts, of_pair = shapely.get_parts(common, return_index=True)
        line = shapely.get_dimensions(parts) == 1
        parts, of_pair = parts[line], of_pair[line]
        length = shapely.length(parts)
        middle = shapely.line_interpolate_point(parts, 0.5, normalized=True)
        part, near = tree.query(middle, predicate="dwithin", distance=0.05)
        rank = np.zeros(len(parts))
        np.maximum.at(rank, part, ranks[near])
        weight = np.bincount(of_pair, weights=length, minlength=len(i))
        np.add.at(found, of_pair, rank * length)
        return found / np.maximum(weight, 1e-9)

    return of


def _merged(faces: Geometries, resistance: Callable[[Geometries, Ints, Ints], Floats], target_m2: float) -> Geometries:
    """Faces below half the target joined to a neighbour, smallest first.

    The neighbour is the one with which the whole is most compact, lies nearest to a multiple of the target, and across
    the weakest barrier.
    """
    smallest = SMALLEST * target_m2

    def small(area: float, around: float) -> bool:
        return area < smallest or 2 * area / around < THIN_M

    def worth(one: float, other: float, around: float, rank: float, side: float) -> float:
        both, parts = one + other, wished(one + other, target_m2)
        compact = 4 * np.pi * both / around**2
        off = abs(np.log(both / target_m2 / parts))
        again = parts > max(wished(one, target_m2), wished(other, target_m2))
        return float(compact - OFF * off - RANK * rank - OVER * again)

    return _joined(faces, small, worth, resistance)


def joined(pieces: Geometries, smallest_m2: float) -> Geometries:
    """Fragments below an area joined to the neighbour with the longest common side, smallest first."""
    if len(pieces) < 2 or shapely.area(pieces).min() >= smallest_m2:
        return pieces
    return _joined(pieces, lambda area, around: area < smallest_m2, lambda one, other, around, rank, side: side)


def _joined(
    faces: Geometries,
    small: Callable[[float, float], bool],
    worth: Callable[[float, float, float, float, float], float],
    resistance: Callable[[Geometries, Ints, Ints], Floats] | None = None,
) -> Geometries:
    """Faces that are too small joined, smallest first, each to the neighbour with which it is worth most.

    small : of a face's area and perimeter. worth : of the two areas, the perimeter of both together, the rank of what
    runs between them, and the length of the common side. All in metres.
    """
    if len(faces) < 2:
        return faces
    area = shapely.area(faces).tolist()
    around = shapely.length(faces).tolist()
    i, j, length = shared_sides(faces)
    ranks = np.zeros(len(i)) if resistance is None else resistance(faces, i, j)
    beside: list[dict[int, tuple[float, float]]] = [{} for _ in faces]  # length, and length times rank
    for a, b, side, rank in zip(i.tolist(), j.tolist(), length.tolist(), ranks.tolist(), strict=True):
        beside[a][b] = beside[b][a] = (side, side * rank)

    def value_of(one: int, other: int) -> float:
        side, ranked = beside[one][other]
        return worth(area[one], area[other], around[one] + around[other] - 2 * side, ranked / side, side)

    owner = np.arange(len(faces))
    queue = [(value, row) for row, value in enumerate(area) if small(value, around[row])]
    heapq.heapify(queue)
    while queue:
        value, row = heapq.heappop(queue)
        if owner[row] != row or value != area[row] or not beside[row]:
            continue
        into = max(beside[row], key=lambda other: (value_of(row, other), -other))
        around[into] += around[row] - 2 * beside[row][into][0]
        area[into] += area[row]
        owner[owner == row] = into
        for other, (side, ranked) in beside[row].items():
            del beside[other][row]
            if other != into:
                had = beside[into].get(other, (0.0, 0.0))
                beside[into][other] = beside[other][into] = (had[0] + side, had[1] + ranked)
        if small(area[into], around[into]):
            heapq.heappush(queue, (area[into], into))
    return united(faces, owner)


def _divided(
    community: Polygon | MultiPolygon, blocks: Geometries, ground: _Ground, target_m2: float, *, above: float = 0.0
) -> Geometries:
    """Each block above a multiple of the target in as many cells as its area asks for, by balanced cuts."""
    cuts = [np.empty(0, dtype=object)]
    areas = shapely.area(blocks)
    wish = np.array([wished(area, target_m2) if area > above * target_m2 else 1 for area in areas.tolist()])
    for row in np.flatnonzero(wish > 1).tolist():
        block = blocks[row]
        houses = ground.buildings_in(block)
        lines = balanced_cuts(block, int(wish[row]), houses)
        cuts.append(around(block, lines, houses, ground.components_in(block)))
    pieces = faces_of(community, [*shapely.boundary(blocks), *np.concatenate(cuts)])
    of = face_of(pieces, blocks)
    if (of < 0).any():  # a hairline between two lines that all but coincide
        of = owners_with_neighbours(pieces, of)  # one that no block is beside becomes a block of its own
        alone = int(of.max()) + 1 - len(blocks)
        areas, wish = np.append(areas, np.ones(max(alone, 0))), np.append(wish, np.ones(max(alone, 0), dtype=int))
    order = np.argsort(of, kind="stable")
    rows, first, count = np.unique(of[order], return_index=True, return_counts=True)
    cells = []
    for row, begin, many in zip(rows.tolist(), first.tolist(), count.tolist(), strict=True):
        cells.append(joined(pieces[order[begin : begin + many]], 0.55 * areas[row] / wish[row]))
    return np.concatenate(cells)


def number(cells: gpd.GeoSeries, community_code: str, *, target_m2: float = 10_000, digits: int = 15) -> list[CellCode]:
    """Codes for the cells of one community: its 12 digits and a serial, 001 up, in the order of ``cells``.

    Serials run west → east within a row, rows north → south (Beijing DB11, CJ/T 349); a row is as high as the
    side of a target cell. digits : 15, or 14 for the oldest edition. Raises Invalid beyond 999 (99) cells.
    """
    largest = 10 ** (digits - 12) - 1
    if len(cells) > largest:
        raise Invalid(
            f"Community {community_code} would have {len(cells)} cells; the code has room for {largest}.",
            f"社区 {community_code} 将有 {len(cells)} 个单元网格，编码最多容纳 {largest} 个。",
            mend="Split the community or cut it with a larger target area.",
            mend_zh="请拆分社区，或增大目标面积。",
            community=community_code,
        )
    centre = shapely.get_coordinates(shapely.centroid(np.asarray(cells.array)))
    row = -np.floor(centre[:, 1] / np.sqrt(target_m2))
    order = np.lexsort((centre[:, 1], centre[:, 0], row))
    serial = np.empty(len(cells), dtype=np.int64)
    serial[order] = np.arange(1, len(cells) + 1)
    return [CellCode.of(community_code, int(value), digits=digits) for value in serial]


def cut_all(
    areas: gpd.GeoDataFrame,
    barriers: gpd.GeoDataFrame | None = None,
    *,
    components: gpd.GeoSeries | None = None,
    target_m2: float = 10_000,
    tolerance_m: float = 1.0,
    digits: int = 15,
    progress: Callable[[float], None] | None = None,
) -> gpd.GeoDataFrame:
    """The grid of a city: every community of ``areas`` (12-digit codes) cut and numbered.

    Returns code (of so many digits), area_class and geometry, sorted by code, in the CRS of ``areas``. The area class
    is that of the community if ``areas`` has a column ``area_class``, else "B"; in class C, outside the centre, cells
    may have any size and blocks stay whole. ``progress`` hears the share done.
    Raises Invalid for communities that overlap or leave slivers between them, and what :func:`cut` and :func:`number`
    raise, with the community.
    """
    communities = areas[areas["code"].str.len() == 12].sort_values("code")
    ground = _Ground.of(barriers, components, target_m2)
    refuse_untiled(communities)
    classes = communities.get("area_class", pd.Series("B", index=communities.index))
    todo = list(zip(communities["code"], communities.geometry, classes != "C", strict=True))

    def one(job: tuple[str, Any, bool]) -> pd.DataFrame:
        code, geometry, divide = job
        try:
            cells = _cut(geometry, ground, target_m2=target_m2, tolerance_m=tolerance_m, divide=divide)
            return pd.DataFrame(
                {"code": number(gpd.GeoSeries(cells), code, target_m2=target_m2, digits=digits), "geometry": cells}
            )
        except Invalid as fault:
            fault.where.setdefault("community", code)
            raise

    frames = []
    for done, frame in enumerate(_in_order(one, todo)):
        frames.append(frame)
        if progress is not None:
            progress((done + 1) / len(communities))
    grid = pd.concat(frames, ignore_index=True).sort_values("code", ignore_index=True)
    grid["geometry"] = noded(np.asarray(grid["geometry"], dtype=object))
    class_of = dict(zip(communities["code"], classes, strict=True))
    grid.insert(1, "area_class", [class_of[code[:12]] for code in grid["code"]])
    return gpd.GeoDataFrame(grid, geometry="geometry", crs=areas.crs)


def fitted(areas: gpd.GeoDataFrame, cells: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """The areas with the outlines that their cells add up to: the same ground, with a vertex wherever a cell has one.

    areas : code (4 to 12 digits), geometry; cells : code, geometry, of every community of ``areas``.
    """
    outlines = dict(_united_by(cells["code"].str[:12], np.asarray(cells.geometry.array, dtype=object)))
    for digits in (9, 6, 4):
        codes = pd.Series([code for code in outlines if len(code) == {9: 12, 6: 9, 4: 6}[digits]])
        outlines |= dict(_united_by(codes.str[:digits], np.array([outlines[code] for code in codes], dtype=object)))
    geometry = [outlines.get(code, old) for code, old in zip(areas["code"], areas.geometry, strict=True)]
    return areas.set_geometry(gpd.GeoSeries(geometry, index=areas.index, crs=areas.crs))


def _united_by(codes: pd.Series[str], polygons: Geometries) -> Iterator[tuple[str, Any]]:
    order = np.argsort(codes.to_numpy(dtype=str), kind="stable")
    known, first = np.unique(codes.to_numpy(dtype=str)[order], return_index=True)
    for code, rows in zip(known.tolist(), np.split(order, first[1:]), strict=True):
        yield code, shapely.coverage_union_all(polygons[rows])


def _in_order(work: Callable[[Any], Any], jobs: list[Any]) -> Iterator[Any]:
    """The results of the jobs in their order, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(work, jobs)
