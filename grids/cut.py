"""The first grid: squares clipped to communities, slivers merged.

A cell (单元网格) is "usually about 10 000 m²", lies in exactly one community, and cells neither overlap nor leave
gaps (CJ/T 213-2005, GB/T 30428.1-2013). This cutter knows no streets: cells are squares of one lattice that is
the same for the whole city, so its cells cut through blocks and buildings.

Exactness. Every coordinate is a multiple of 2⁻¹⁰ m. Before clipping, each edge of a community gets a vertex where
it crosses the lattice, computed from the edge alone in one fixed direction: the community on the other side of
the edge gets the very same vertex. After that the lattice meets a border only in vertices, clipping invents no
coordinate, and cells of neighbouring communities fit as their borders do. A vertex so inserted may lie up to half
a millimetre beside the edge it was put on.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from gis.errors import Invalid

STEPS_PER_METRE = 1024  #: all coordinates are multiples of 2⁻¹⁰ m
LARGEST_SERIAL = 999  #: three digits in the cell's code (GB/T 30428.1-2013)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Geometries = NDArray[np.object_]


def snapped(geometry: Polygon | MultiPolygon) -> Polygon | MultiPolygon:
    """The geometry with every vertex moved to the nearest multiple of 2⁻¹⁰ m.

    Vertex by vertex, so that two neighbours that shared a vertex still do. Raises Invalid if that makes the
    geometry cross itself (it was narrower than a millimetre somewhere).
    """
    moved = shapely.transform(geometry, lambda xy: np.round(xy * STEPS_PER_METRE) / STEPS_PER_METRE)
    moved = shapely.remove_repeated_points(moved)
    if moved.is_empty or not moved.is_valid:
        reason = shapely.is_valid_reason(moved)
        raise Invalid(
            f"A community's border crosses itself: {reason}.",
            f"社区边界自相交：{reason}。",
            mend="Repair the border of this community, then cut again.",
            mend_zh="请修复该社区边界后重新划分。",
        )
    return moved


def cut(community: Polygon | MultiPolygon, *, target_m2: float = 10_000) -> gpd.GeoSeries:
    """Cells of the first grid: an exact partition of the community into single-part polygons.

    community : in metres; holes and several parts are allowed
    target_m2 : area of a whole cell; pieces below half of it join the neighbour with the longest common side.
                A part of the community that is smaller than that and stands alone stays a small cell.
    Returns the cells in no particular order (see :func:`number`), without CRS.
    Raises Invalid for an empty or self-crossing community or a target that is not positive.
    """
    if not target_m2 > 0:
        raise Invalid(f"The target area must be positive, not {target_m2}.", f"目标面积必须为正数：{target_m2}。")
    if community.is_empty:
        raise Invalid("The community has no area.", "社区没有面积。")
    side_m = round(float(np.sqrt(target_m2)) * STEPS_PER_METRE) / STEPS_PER_METRE
    whole = _noded_on_lattice(shapely.get_parts(snapped(community)), side_m)
    pieces = _clipped(_clipped(whole, side_m, axis=0), side_m, axis=1)
    pieces = _noded_on_each_other(pieces, side_m)
    return gpd.GeoSeries(_without_slivers(pieces, target_m2 / 2))


def number(cells: gpd.GeoSeries, community_code: str, *, target_m2: float = 10_000) -> list[str]:
    """Codes for the cells of one community: its 12 digits and a serial, 001 up, in the order of ``cells``.

    Serials run west → east within a row, rows north → south (Beijing DB11, CJ/T 349); a row is as high as the
    side of a target cell. Raises Invalid beyond 999 cells.
    """
    if len(cells) > LARGEST_SERIAL:
        raise Invalid(
            f"Community {community_code} would have {len(cells)} cells; the code has room for {LARGEST_SERIAL}.",
            f"社区 {community_code} 将有 {len(cells)} 个单元网格，编码最多容纳 {LARGEST_SERIAL} 个。",
            mend="Split the community or cut it with a larger target area.",
            mend_zh="请拆分社区，或增大目标面积。",
            community=community_code,
        )
    centre = shapely.get_coordinates(shapely.centroid(np.asarray(cells.array)))
    row = -np.floor(centre[:, 1] / np.sqrt(target_m2))
    order = np.lexsort((centre[:, 1], centre[:, 0], row))
    serial = np.empty(len(cells), dtype=np.int64)
    serial[order] = np.arange(1, len(cells) + 1)
    return [f"{community_code}{value:03d}" for value in serial]


def cut_all(
    areas: gpd.GeoDataFrame,
    *,
    target_m2: float = 10_000,
    progress: Callable[[float], None] | None = None,
) -> gpd.GeoDataFrame:
    """The first grid of a city: every community of ``areas`` (12-digit codes) cut and numbered.

    Returns code (15 digits), area_class and geometry, sorted by code, in the CRS of ``areas``. The area class is
    that of the community if ``areas`` has a column ``area_class``, else "B". ``progress`` hears the share done.
    """
    communities = areas[areas["code"].str.len() == 12].sort_values("code")
    frames = []
    for done, (code, geometry) in enumerate(zip(communities["code"], communities.geometry, strict=True)):
        try:
            cells = cut(geometry, target_m2=target_m2)
        except Invalid as fault:
            fault.where.setdefault("community", code)
            raise
        frames.append(pd.DataFrame({"code": number(cells, code, target_m2=target_m2), "geometry": cells.array}))
        if progress is not None:
            progress((done + 1) / len(communities))
    grid = pd.concat(frames, ignore_index=True).sort_values("code", ignore_index=True)
    if "area_class" in communities:
        classes = dict(zip(communities["code"], communities["area_class"], strict=True))
        grid.insert(1, "area_class", [classes[code[:12]] for code in grid["code"]])
    else:
        grid.insert(1, "area_class", "B")
    return gpd.GeoDataFrame(grid, geometry="geometry", crs=areas.crs)


def noded_on_lattice(polygons: Geometries, *, target_m2: float = 10_000) -> Geometries:
    """The same single-part polygons with a vertex wherever an edge crosses the lattice of the first grid.

    Borders prepared like this are kept by :func:`cut` to the last bit: its cells add up exactly.
    """
    side_m = round(float(np.sqrt(target_m2)) * STEPS_PER_METRE) / STEPS_PER_METRE
    return _noded_on_lattice(polygons, side_m)


def _edges(polygons: Geometries) -> tuple[Geometries, Ints, Floats, Ints]:
    """Rings, the polygon of each ring, all vertices, and the ring of each vertex."""
    rings, owner = shapely.get_rings(polygons, return_index=True)
    vertices, ring = shapely.get_coordinates(rings, return_index=True)
    return rings, owner.astype(np.int64), vertices, ring.astype(np.int64)


def _with_vertices(polygons: Geometries, edge: Ints, along: Floats, added: Floats) -> Geometries:
    """The polygons with vertices ``added`` on edges ``edge`` (index of the edge's first vertex), ordered by
    ``along`` (0 … 1); repeated points are dropped."""
    if not len(edge):
        return polygons
    _, owner, vertices, ring = _edges(polygons)
    place = np.concatenate([np.arange(len(vertices)), edge])
    order = np.lexsort((np.concatenate([np.zeros(len(vertices)), along]), place))
    every = np.concatenate([vertices, added])[order]
    of_ring = np.concatenate([ring, ring[edge]])[order]
    fresh = np.ones(len(every), dtype=bool)
    fresh[1:] = (np.diff(every, axis=0) != 0).any(axis=1) | (np.diff(of_ring) != 0)
    rebuilt = np.asarray(shapely.linearrings(every[fresh], indices=of_ring[fresh]), dtype=object)
    return np.asarray(shapely.polygons(rebuilt, indices=owner), dtype=object)


def _noded_on_lattice(polygons: Geometries, side_m: float) -> Geometries:
    _, _, vertices, ring = _edges(polygons)
    start = np.flatnonzero(ring[1:] == ring[:-1])
    a, b = vertices[start], vertices[start + 1]
    backward = (a[:, 0] > b[:, 0]) | ((a[:, 0] == b[:, 0]) & (a[:, 1] > b[:, 1]))
    low, high = np.where(backward[:, None], b, a), np.where(backward[:, None], a, b)
    edges, alongs, added = [], [], []
    for axis in (0, 1):
        first = np.floor(np.minimum(low[:, axis], high[:, axis]) / side_m) + 1
        last = np.ceil(np.maximum(low[:, axis], high[:, axis]) / side_m) - 1
        count = np.maximum(last - first + 1, 0).astype(np.int64)
        which = np.repeat(np.arange(len(start)), count)
        nth = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        line = (first[which] + nth) * side_m
        share = (line - low[which, axis]) / (high[which, axis] - low[which, axis])
        other = low[which, 1 - axis] + share * (high[which, 1 - axis] - low[which, 1 - axis])
        other = np.round(other * STEPS_PER_METRE) / STEPS_PER_METRE
        point = np.stack([line, other], axis=1) if axis == 0 else np.stack([other, line], axis=1)
        edges.append(start[which])
        alongs.append(np.where(backward[which], 1 - share, share))
        added.append(point)
    return _with_vertices(polygons, np.concatenate(edges), np.concatenate(alongs), np.concatenate(added))


def _clipped(polygons: Geometries, side_m: float, *, axis: int) -> Geometries:
    """The polygons cut along the lattice lines of one axis (0: into columns, 1: into rows)."""
    bounds = shapely.bounds(polygons)
    first = np.floor(bounds[:, axis] / side_m)
    count = np.maximum(np.ceil(bounds[:, axis + 2] / side_m) - first, 1).astype(np.int64)
    which = np.repeat(np.arange(len(polygons)), count)
    nth = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    from_m = (first[which] + nth) * side_m
    other = 1 - axis
    low = (np.floor(bounds[which, other] / side_m) - 1) * side_m
    high = (np.ceil(bounds[which, other + 2] / side_m) + 1) * side_m
    if axis == 0:
        boxes = shapely.box(from_m, low, from_m + side_m, high)
    else:
        boxes = shapely.box(low, from_m, high, from_m + side_m)
    single = count[which] == 1
    parts = np.where(single, polygons[which], shapely.intersection(boxes, polygons[which]))
    pieces = shapely.get_parts(parts)
    pieces = shapely.get_parts(pieces)  # a collection may hold a multipolygon
    return np.asarray(pieces[(shapely.get_type_id(pieces) == 3) & ~shapely.is_empty(pieces)], dtype=object)


def _steps(vertices: Floats) -> Ints:
    return np.asarray(np.round(vertices * STEPS_PER_METRE), dtype=np.int64)


def _noded_on_each_other(pieces: Geometries, side_m: float) -> Geometries:
    """The pieces with every vertex of one that lies inside a lattice edge of another put into that edge."""
    _, _, vertices, ring = _edges(pieces)
    steps = _steps(vertices)
    side = round(side_m * STEPS_PER_METRE)
    start = np.flatnonzero(ring[1:] == ring[:-1])
    edges, alongs, added = [], [], []
    for axis in (0, 1):
        on_line = steps[:, axis] % side == 0
        known = np.unique(steps[on_line][:, [axis, 1 - axis]], axis=0)
        base = known.min(axis=0, initial=0)
        span = int(steps.max(initial=0) - base[1] + 2)
        key = (known[:, 0] - base[0]) * span + (known[:, 1] - base[1])
        a, b = steps[start], steps[start + 1]
        lies = (a[:, axis] == b[:, axis]) & (a[:, axis] % side == 0)
        of_edge = start[lies]
        line = (a[lies, axis] - base[0]) * span
        ends = np.sort(np.stack([a[lies, 1 - axis], b[lies, 1 - axis]], axis=1), axis=1) - base[1]
        after = np.searchsorted(key, line + ends[:, 0], side="right")
        before = np.searchsorted(key, line + ends[:, 1], side="left")
        count = np.maximum(before - after, 0)
        which = np.repeat(np.arange(len(of_edge)), count)
        nth = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        found = known[after[which] + nth]
        begin = steps[of_edge[which], 1 - axis]
        length = steps[of_edge[which] + 1, 1 - axis] - begin
        edges.append(of_edge[which])
        alongs.append((found[:, 1] - begin) / length)
        point = found if axis == 0 else found[:, ::-1]
        added.append(point / STEPS_PER_METRE)
    return _with_vertices(pieces, np.concatenate(edges), np.concatenate(alongs), np.concatenate(added))


def shared_sides(polygons: Geometries) -> tuple[Ints, Ints, Floats]:
    """Pairs of polygons (rows i < j) that share edges, and the length in metres they share.

    Only edges with the same two vertices count: the polygons must be noded on each other.
    """
    _, owner, vertices, ring = _edges(polygons)
    steps = _steps(vertices)
    start = np.flatnonzero(ring[1:] == ring[:-1])
    a, b = steps[start], steps[start + 1]
    backward = (a[:, 0] > b[:, 0]) | ((a[:, 0] == b[:, 0]) & (a[:, 1] > b[:, 1]))
    ends = np.concatenate([np.where(backward[:, None], b, a), np.where(backward[:, None], a, b)], axis=1)
    polygon = owner[ring[start]]
    order = np.lexsort((polygon, *ends.T[::-1]))
    ends, polygon = ends[order], polygon[order]
    same = np.flatnonzero((ends[1:] == ends[:-1]).all(axis=1) & (polygon[1:] != polygon[:-1]))
    i, j = polygon[same], polygon[same + 1]
    length = np.hypot(ends[same, 2] - ends[same, 0], ends[same, 3] - ends[same, 1]) / STEPS_PER_METRE
    pair, index = np.unique(np.stack([i, j], axis=1), axis=0, return_inverse=True)
    total = np.zeros(len(pair))
    np.add.at(total, index.ravel(), length)
    return pair[:, 0], pair[:, 1], total


def _without_slivers(pieces: Geometries, smallest_m2: float) -> Geometries:
    """Pieces below the smallest area merged, smallest first, into the neighbour with the longest shared side."""
    area = list(shapely.area(pieces))
    beside: list[dict[int, float]] = [{} for _ in pieces]
    for i, j, length in zip(*(column.tolist() for column in shared_sides(pieces)), strict=True):
        beside[i][j] = beside[j][i] = length
    members = [[row] for row in range(len(pieces))]
    queue = [(value, row) for row, value in enumerate(area) if value < smallest_m2]
    heapq.heapify(queue)
    gone = [False] * len(pieces)
    while queue:
        value, row = heapq.heappop(queue)
        if gone[row] or value != area[row] or not beside[row]:
            continue
        into = max(beside[row], key=lambda other: (beside[row][other], -other))
        gone[row] = True
        area[into] += area[row]
        members[into] += members[row]
        for other, length in beside[row].items():
            del beside[other][row]
            if other != into:
                beside[into][other] = beside[other][into] = beside[into].get(other, 0.0) + length
        if area[into] < smallest_m2:
            heapq.heappush(queue, (area[into], into))
    kept = [row for row in range(len(pieces)) if not gone[row]]
    merged = [
        pieces[row] if len(members[row]) == 1 else shapely.coverage_union_all(pieces[sorted(members[row])])
        for row in kept
    ]
    return np.asarray(merged, dtype=object)
