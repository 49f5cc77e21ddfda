"""Coverages: polygons that share their borders vertex by vertex, on the lattice of 2⁻¹⁰ m.

Every coordinate of the grid is a multiple of 2⁻¹⁰ m, and a border that two cells share has the same vertices in both.
Then cross products are exact in double arithmetic and no two engines can disagree about a side.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely.geometry import MultiPolygon, Polygon

from gis.errors import Invalid

STEPS_PER_METRE = 1024  #: all coordinates are multiples of 2⁻¹⁰ m
STEP_M = 1 / STEPS_PER_METRE

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


def densified(polygons: Geometries, *, every_m: float = 50.0) -> Geometries:
    """The polygons with vertices put into long edges, so that a vertex to come bends a short stretch only.

    Each is the point of the lattice that lies nearest to the edge within half a metre of its place (as a rule within
    a micrometre). It depends on the edge alone: the polygon on the other side gets the very same one.
    """
    _, _, vertices, ring = _edges(polygons)
    steps = _steps(vertices)
    start = np.flatnonzero(ring[1:] == ring[:-1])
    a, b = steps[start], steps[start + 1]
    backward = (a[:, 0] > b[:, 0]) | ((a[:, 0] == b[:, 0]) & (a[:, 1] > b[:, 1]))
    low, high = np.where(backward[:, None], b, a), np.where(backward[:, None], a, b)
    pieces = np.ceil(np.hypot(*(high - low).T.astype(float)) / (every_m * STEPS_PER_METRE)).astype(np.int64)
    added = np.maximum(pieces - 1, 0)
    which = np.repeat(np.arange(len(start)), added)
    if not len(which):
        return polygons
    nth = np.arange(len(which)) - np.repeat(np.cumsum(added) - added, added) + 1
    way = (high - low)[which]
    steep = np.abs(way[:, 1]) > np.abs(way[:, 0])
    long, short = np.where(steep, way[:, 1], way[:, 0]), np.where(steep, way[:, 0], way[:, 1])
    places = np.rint(long * nth / pieces[which])[:, None] + np.arange(-STEPS_PER_METRE // 2, STEPS_PER_METRE // 2 + 1)
    exact = places * (short / long)[:, None]
    best = np.argmin(np.abs(exact - np.rint(exact)), axis=1)
    row = np.arange(len(which))
    along, across = places[row, best], np.rint(exact[row, best])
    point = low[which] + np.where(steep[:, None], np.stack([across, along], 1), np.stack([along, across], 1))
    share = along / long
    share = np.where(backward[which], 1 - share, share)
    return _with_vertices(polygons, start[which], share, point / STEPS_PER_METRE)


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


def _steps(vertices: Floats) -> Ints:
    return np.asarray(np.round(vertices * STEPS_PER_METRE), dtype=np.int64)


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


def noded(polygons: Geometries, *, within_m: float = 4 * STEP_M) -> Geometries:
    """The polygons made a coverage, where they fit but for hairlines: borders become equal vertex by vertex.

    polygons : single-part, valid, on the lattice; a coverage stays as it is
    within_m : gaps between them and overlaps narrower than this are closed; wider ones stay
    All borders are noded together and the faces given back to the polygon they lie in, hairlines to the polygon
    beside them with the longest common side. Order and number are kept.
    """
    if shapely.coverage_is_valid(polygons) and not _hairlines(polygons, within_m):
        return polygons
    _, _, vertices, ring = _edges(polygons)
    start = np.flatnonzero(ring[1:] == ring[:-1])
    ends = np.concatenate([vertices[start], vertices[start + 1]], axis=1)
    backward = (ends[:, 0] > ends[:, 2]) | ((ends[:, 0] == ends[:, 2]) & (ends[:, 1] > ends[:, 3]))
    ends[backward] = ends[backward][:, [2, 3, 0, 1]]
    edges = np.asarray(shapely.linestrings(np.unique(ends, axis=0).reshape(-1, 2, 2)), dtype=object)
    lines = shapely.get_parts(shapely.line_merge(shapely.multilinestrings(edges)))  # few long ones: six times as fast
    pieces = shapely.get_parts(shapely.polygonize([shapely.union_all(lines, grid_size=STEP_M)]))
    owner = face_of(pieces, polygons)
    narrow = 2 * shapely.area(pieces) / shapely.length(pieces) < within_m
    hairline = (owner < 0) & narrow
    parts, of = np.asarray(pieces[(owner >= 0) | hairline], dtype=object), owner[(owner >= 0) | hairline]
    for _ in range(3):
        of = owners_with_neighbours(parts, of)
        whole = united(parts, of)
        many = shapely.get_num_geometries(whole) > 1
        if not many.any():
            break
        rows = np.unique(of)  # a tip that was cut off goes to a neighbour; of what is cut in two the larger part stays
        for row in rows[many].tolist():
            of[np.flatnonzero(of == row)] = _without_tips(parts, np.flatnonzero(of == row), row)
    out = polygons.copy()
    out[np.unique(of)] = whole
    return out


def _hairlines(polygons: Geometries, within_m: float) -> bool:
    """Whether the ground that the polygons add up to has a gap narrower than this."""
    rings = shapely.get_rings(shapely.get_parts(shapely.coverage_union_all(polygons)))
    area = np.abs(shapely.area(shapely.polygons(rings)))
    return bool((2 * area / shapely.length(rings) < within_m).any())


def _without_tips(parts: Geometries, members: Ints, row: int) -> Ints:
    """The owner of the parts of one polygon: -1 for those not connected with the largest."""
    i, j, _ = shared_sides(parts[members])
    graph = coo_array((np.ones(len(i)), (i, j)), shape=(len(members), len(members)))
    _, group = connected_components(graph, directed=False)
    largest = np.argmax(np.bincount(group, weights=shapely.area(parts[members])))
    return np.where(group == largest, row, -1)


def without_needles(polygons: Geometries, *, degrees: float = 4.0, wide_m: float = 0.3) -> Geometries:
    """A coverage with its needles cut off: tips sharper than an angle and thinner than a width go to the neighbour.

    A needle is a corner between two long borders that run side by side, as where a lane overshoots the street it ends
    on. Its tip is given to the polygon along its long side; on the outer border it stays. What would not be a valid
    coverage afterwards is left as it was.
    """
    for _ in range(4):
        mended = _needles_cut(polygons, np.cos(np.radians(degrees)), wide_m)
        if mended is None:
            return polygons
        if not (shapely.is_valid(mended).all() and shapely.coverage_is_valid(mended)):
            return polygons
        polygons = mended
    return polygons


def _needles_cut(polygons: Geometries, cosine: float, wide_m: float) -> Geometries | None:
    """One round: needles of polygons that no other needle of this round concerns; None if there is none."""
    _, owner, vertices, ring = _edges(polygons)
    first = np.flatnonzero(np.diff(ring, prepend=-1))
    before = vertices[np.arange(len(vertices)) - 1]
    last = np.append(first[1:], len(vertices)) - 1
    before[first] = vertices[last - 1]  # rings are closed: the last vertex is the first again
    corner = np.delete(np.arange(len(vertices)), last)
    a, b = before[corner] - vertices[corner], vertices[corner + 1] - vertices[corner]
    size_a, size_b = np.hypot(*a.T), np.hypot(*b.T)
    sharp = (a * b).sum(axis=1) > cosine * size_a * size_b
    thin = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / np.maximum(size_a, size_b) < wide_m
    found = np.flatnonzero(sharp & thin)
    if not len(found):
        return None
    rows: dict[int, list[list[tuple[float, ...]]]] = {}
    touched: set[int] = set()
    tree = shapely.STRtree(polygons)
    for one in found.tolist():
        row = int(owner[ring[corner[one]]])
        tip = tuple(vertices[corner[one]].tolist())
        sides = tuple(before[corner[one]].tolist()), tuple(vertices[corner[one] + 1].tolist())
        near, far = sides if size_a[one] < size_b[one] else sides[::-1]
        if row in touched:
            continue
        for other in sorted(tree.query(shapely.points(tip), predicate="intersects").tolist()):
            if other in touched or other == row:
                continue
            given = _with_between(_ring_lists(polygons[other]), far, tip, near)
            if given is not None:
                rows[row] = [[at for at in line if at != tip] for line in _ring_lists(polygons[row])]
                rows[other] = given
                touched |= {row, other}
                break
    if not rows:
        return None
    out = polygons.copy()
    for row, lines in rows.items():
        if min(map(len, lines)) < 3:
            return None
        out[row] = Polygon(lines[0], lines[1:])
    return out


def _ring_lists(polygon: Polygon) -> list[list[tuple[float, ...]]]:
    return [[*map(tuple, shapely.get_coordinates(ring)[:-1].tolist())] for ring in shapely.get_rings(polygon)]


def _with_between(
    lines: list[list[tuple[float, ...]]], one: tuple[float, ...], two: tuple[float, ...], new: tuple[float, ...]
) -> list[list[tuple[float, ...]]] | None:
    """The rings with a vertex put into the edge between two; None if none of them has that edge, or has the vertex."""
    for line in lines:
        for n, at in enumerate(line):
            if {at, line[n - 1]} == {one, two} and new not in line:
                line.insert(n, new)
                return lines
    return None


def face_of(pieces: Geometries, faces: Geometries) -> Ints:
    """The row of the face that each piece lies in, the lowest if there are several, -1 for none."""
    found = np.full(len(pieces), -1, dtype=np.int64)
    piece, face = shapely.STRtree(faces).query(shapely.point_on_surface(pieces), predicate="within")
    order = np.argsort(-face, kind="stable")
    found[piece[order]] = face[order]
    return found


def owners_with_neighbours(pieces: Geometries, owner: Ints) -> Ints:
    """The owners, pieces without one (-1) given to the owner beside them with the longest common side.

    From the outside in; pieces that nobody is beside become owners of themselves.
    """
    owner = owner.copy()
    waiting = np.flatnonzero(owner < 0).tolist()
    if not waiting:
        return owner
    i, j, length = shared_sides(pieces)
    beside: dict[int, list[tuple[int, float]]] = {one: [] for one in waiting}
    for a, b, m in zip(i.tolist(), j.tolist(), length.tolist(), strict=True):
        if a in beside:
            beside[a].append((b, m))
        if b in beside:
            beside[b].append((a, m))
    while waiting:
        given = []
        for one in waiting:
            sides: dict[int, float] = {}
            for other, m in beside[one]:
                if owner[other] >= 0:
                    sides[int(owner[other])] = sides.get(int(owner[other]), 0.0) + m
            if sides:
                given.append((one, max(sides, key=lambda row: (sides[row], -row))))
        if not given:
            last = int(owner.max()) + 1
            owner[waiting] = np.arange(last, last + len(waiting))
            break
        for one, row in given:
            owner[one] = row
        waiting = [one for one in waiting if owner[one] < 0]
    return owner


def united(pieces: Geometries, owner: Ints) -> Geometries:
    """The pieces of each owner as one geometry, in the order of the owners' rows."""
    order = np.argsort(owner, kind="stable")
    rows, first, count = np.unique(owner[order], return_index=True, return_counts=True)
    out = np.empty(len(rows), dtype=object)
    for n, (begin, many) in enumerate(zip(first, count, strict=True)):
        members = pieces[order[begin : begin + many]]
        out[n] = members[0] if many == 1 else shapely.coverage_union_all(members)
    return out
