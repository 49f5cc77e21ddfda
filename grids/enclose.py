"""From barriers to blocks: what streets, water, rail, walls and the community's border enclose.

Steps, each with a law of its own: *lines* of different rank are taken from the ground; ends that stop short are
joined; the lines and the border are noded on the lattice and polygonised, so that the faces add up to the community;
faces that are no blocks (between two carriageways, inside a roundabout, the surface of a street polygon) are shared
out to the faces beside them, each part to the nearest; rings are opened, so that no block has a hole.
"""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely.geometry import MultiPolygon, Polygon

from grids.coverage import (
    STEP_M,
    Floats,
    Geometries,
    Ints,
    face_of,
    owners_with_neighbours,
    shared_sides,
    united,
)
from grids.detour import around

#: how strongly a barrier divides: (kind, grade) → rank; grade None is any other grade of the kind
RANKS = {
    ("rail", None): 4,
    ("water", None): 4,
    ("street", "arterial"): 4,
    ("street", None): 3,
    ("street", "lane"): 2,
    ("wall", None): 2,
    ("path", None): 1,
    ("street", "path"): 1,
}
NARROW_M = 18.0  #: a face narrower than this in the mean, and long, is a strip between carriageways
ROUNDABOUT_M2 = 1_500.0  #: a round face below this is an island in a street
SAMPLE_M = 4.0  #: spacing of the points from which nearness is measured when a strip is shared out
SIMPLIFY_M = 1.0  #: how far a line shared out may be straightened
LEAST_M = 0.05  #: nearer lines than this are one, whatever the tolerance
REACH_M = 60.0  #: a dead end this near to another line, straight ahead, is drawn on to it


def barrier_lines(barriers: gpd.GeoDataFrame, *, target_m2: float) -> tuple[Geometries, Ints, Geometries]:
    """Lines, the rank of each, and the street polygons, from the ground (columns kind, grade, geometry, in metres).

    Outlines of water below twice the target area, buildings and green are no barriers. Empty and missing geometries
    are left out; polygons are taken by their outlines.
    """
    geometry = np.asarray(barriers.geometry.array, dtype=object)
    kinds = barriers["kind"].astype(object).to_numpy()
    grades = barriers["grade"].astype(object).to_numpy() if "grade" in barriers else np.full(len(barriers), None)
    rank = np.array(
        [RANKS.get((kind, grade), RANKS.get((kind, None), 0)) for kind, grade in zip(kinds, grades, strict=True)],
        dtype=np.int64,
    )
    there = (rank > 0) & ~shapely.is_missing(geometry) & ~shapely.is_empty(geometry)
    flat = shapely.get_dimensions(geometry) == 2
    there &= ~(flat & (kinds == "water") & (shapely.area(geometry) < 2 * target_m2))
    surfaces = shapely.get_parts(geometry[there & flat & (kinds == "street")])
    chosen, ranks = geometry[there], rank[there]
    chosen = np.where(shapely.get_dimensions(chosen) == 2, shapely.boundary(chosen), chosen)
    lines, of = shapely.get_parts(shapely.normalize(chosen), return_index=True)
    line = shapely.get_dimensions(lines) == 1
    lines, ranks = lines[line], ranks[of[line]]
    bounds = shapely.bounds(lines)
    order = np.lexsort((ranks, shapely.length(lines), *bounds.T))  # the order of the rows must not matter
    return lines[order], ranks[order], np.asarray(surfaces, dtype=object)


def enclose(
    community: Polygon | MultiPolygon,
    lines: Geometries,
    surfaces: Geometries,
    buildings: Geometries,
    *,
    tolerance_m: float,
) -> Geometries:
    """The blocks that lines and border enclose: polygons without holes that cover the community once.

    community   : on the lattice, in metres
    lines       : those that meet it (more do no harm); they may cross themselves, repeat, or stop short
    surfaces    : street polygons: their insides are shared out to the blocks beside them
    buildings   : what no line that is not in the ground may pass through
    tolerance_m : an end that stops this short of another line is joined to it
    """
    tolerance_m = max(tolerance_m, LEAST_M)
    inside = _within(community, lines, tolerance_m)
    if len(inside):
        inside = np.concatenate([inside, *_joined(community, inside, buildings, tolerance_m)])
    faces = faces_of(community, inside)
    faces = _shared_out(community, faces, surfaces)
    return opened(community, faces, buildings)


def faces_of(community: Polygon | MultiPolygon, lines: Any) -> Geometries:
    """The faces of lines and border, noded on the lattice: polygons that cover the community once."""
    linework = shapely.union_all([shapely.boundary(community), *lines], grid_size=STEP_M)
    faces = np.asarray(shapely.get_parts(shapely.polygonize([linework])), dtype=object)
    if abs(shapely.area(faces).sum() - shapely.area(community)) <= 2 * STEP_M * shapely.length(community):
        return faces
    shapely.prepare(community)
    return np.asarray(faces[shapely.contains(community, shapely.point_on_surface(faces))], dtype=object)


def _within(community: Polygon | MultiPolygon, lines: Geometries, tolerance_m: float) -> Geometries:
    """The parts of the lines inside the community and off its border.

    What runs within the tolerance of the border is the border, drawn a second time: kept, it would cross it to and fro
    and leave slivers. An end that so comes to stop short is drawn on again.
    """
    if not len(lines):
        return lines
    core = shapely.buffer(community, -tolerance_m, join_style="mitre") if tolerance_m > 0 else community
    shapely.prepare(core)
    near = lines[shapely.intersects(core, lines)]
    whole = shapely.contains_properly(core, near)
    parts = shapely.get_parts(shapely.get_parts(shapely.intersection(near[~whole], core)))
    return np.concatenate([near[whole], parts[shapely.length(parts) > tolerance_m]])


def _joined(
    community: Polygon | MultiPolygon, lines: Geometries, buildings: Geometries, tolerance_m: float
) -> list[Geometries]:
    """Connecting lines for ends that stop short of another line, or that another line lies straight ahead of."""
    ends = np.concatenate([shapely.get_point(lines, 0), shapely.get_point(lines, -1)])
    before = np.concatenate([shapely.get_point(lines, 1), shapely.get_point(lines, -2)])
    targets = np.concatenate([lines, shapely.get_parts(shapely.boundary(community))])
    tree = shapely.STRtree(targets)
    own = np.tile(np.arange(len(lines)), 2)
    point, line = tree.query(ends, predicate="dwithin", distance=STEP_M)
    free = np.ones(len(ends), dtype=bool)
    free[point[line != own[point]]] = False
    free[np.concatenate([shapely.is_closed(lines)] * 2)] = False
    loose = np.flatnonzero(free)
    if not len(loose):
        return []
    made: list[Geometries] = []
    tip, back = shapely.get_coordinates(ends[loose]), shapely.get_coordinates(before[loose])
    way = tip - back
    way /= np.maximum(np.hypot(way[:, 0], way[:, 1]), 1e-9)[:, None]
    rays = np.stack([tip + way * 2 * STEP_M, tip + way * REACH_M], axis=1)
    ahead = np.asarray(shapely.linestrings(rays), dtype=object)
    hit, line = tree.query(ahead, predicate="intersects")
    if len(hit):
        crossings = shapely.intersection(ahead[hit], targets[line])
        meets = np.asarray(shapely.shortest_line(ends[loose[hit]], crossings), dtype=object)
        order = np.lexsort((shapely.length(meets), hit))
        first = order[np.unique(hit[order], return_index=True)[1]]
        built = shapely.STRtree(buildings).query(meets[first], predicate="intersects")[0]
        first = np.delete(first, built)
        made.append(_drawn_on(meets[first], tolerance_m))
        loose = np.delete(loose, hit[first])
    if len(loose):
        point, line = tree.query(ends[loose], predicate="dwithin", distance=tolerance_m)
        other = line != own[loose[point]]
        point, line = point[other], line[other]
        if len(point):
            links = shapely.shortest_line(ends[loose[point]], targets[line])
            order = np.lexsort((shapely.length(links), point))
            first = order[np.unique(point[order], return_index=True)[1]]
            made.append(_drawn_on(links[first], tolerance_m))
    return made


def _drawn_on(links: Geometries, by_m: float) -> Geometries:
    """Two-point lines drawn on a little past their end, so that rounding cannot leave them short of it."""
    ends = shapely.get_coordinates(links).reshape(-1, 2, 2)
    way = ends[:, 1] - ends[:, 0]
    length = np.maximum(np.hypot(way[:, 0], way[:, 1]), 1e-9)
    ends[:, 1] += way / length[:, None] * np.minimum(by_m, 0.05)
    return np.asarray(shapely.linestrings(ends), dtype=object)


def _no_block(faces: Geometries, surfaces: Geometries) -> NDArray[np.bool_]:
    area, around = shapely.area(faces), shapely.length(faces)
    compact = 4 * np.pi * area / around**2
    strip = (2 * area / around < NARROW_M) & (compact < 0.35)
    island = (compact > 0.75) & (area < ROUNDABOUT_M2)
    found = strip | island | (area < 300)
    if len(surfaces):
        point, _ = shapely.STRtree(surfaces).query(shapely.point_on_surface(faces), predicate="within")
        found[point] = True
    return np.asarray(found)


def _shared_out(community: Polygon | MultiPolygon, faces: Geometries, surfaces: Geometries) -> Geometries:
    """The faces without those that are no blocks: each of these is divided among the faces beside it by nearness."""
    idle = _no_block(faces, surfaces)
    if not idle.any() or idle.all():
        return faces
    i, j, _ = shared_sides(faces)
    both = idle[i] & idle[j]
    graph = coo_array((np.ones(both.sum()), (i[both], j[both])), shape=(len(faces), len(faces)))
    _, group = connected_components(graph, directed=False)
    cuts: list[Any] = []
    borders = np.concatenate([i, j]), np.concatenate([j, i])
    for one in np.unique(group[idle]):
        members = np.flatnonzero((group == one) & idle)
        beside = np.unique(borders[1][np.isin(borders[0], members) & ~idle[borders[1]]])
        if len(beside) > 1:
            whole = faces[members[0]] if len(members) == 1 else shapely.coverage_union_all(faces[members])
            cuts += _nearest_lines(whole, faces[beside])
    pieces = faces_of(community, [*shapely.boundary(faces), *cuts]) if cuts else faces
    of = face_of(pieces, faces)
    owner = np.where((of < 0) | idle[of], -1, np.arange(len(pieces)))
    return united(pieces, owners_with_neighbours(pieces, owner))


def _nearest_lines(strip: Any, beside: Geometries) -> list[Any]:
    """Lines in a strip from which two of the faces beside it are equally far, straightened."""
    points: list[Floats] = []
    labels: list[Ints] = []
    for row, face in enumerate(beside):
        common = shapely.line_merge(shapely.intersection(shapely.boundary(strip), shapely.boundary(face)))
        common = shapely.get_parts(common)
        common = common[shapely.get_dimensions(common) == 1]
        for piece in common:
            steps = max(int(shapely.length(piece) / SAMPLE_M), 1)
            along = (np.arange(steps) + 0.5) / steps
            xy = shapely.get_coordinates(shapely.line_interpolate_point(piece, along, normalized=True))
            points.append(xy)
            labels.append(np.full(len(xy), row))
    if len(points) < 2:
        return []
    xy, label = np.concatenate(points), np.concatenate(labels)
    xy, first = np.unique(np.round(xy / STEP_M) * STEP_M, axis=0, return_index=True)
    label = label[first]
    if len(np.unique(label)) < 2:
        return []
    near = shapely.get_parts(shapely.voronoi_polygons(shapely.multipoints(xy), extend_to=strip, ordered=True))
    parts = [shapely.union_all(near[label == one]) for one in np.unique(label)]
    lines = shapely.union_all([shapely.boundary(part) for part in parts])
    lines = shapely.line_merge(shapely.intersection(lines, strip))
    lines = shapely.simplify(lines, SIMPLIFY_M)
    return [line for line in shapely.get_parts(lines) if shapely.get_dimensions(line) == 1]


def opened(community: Polygon | MultiPolygon, faces: Geometries, buildings: Geometries) -> Geometries:
    """The faces with rings opened: a face around others is divided by two short lines from the hole outwards.

    Holes of the community itself are opened too, where that takes no more than two lines.
    """
    for _ in range(3):
        ringed = faces[shapely.get_num_interior_rings(faces) > 0]
        if not len(ringed):
            break
        spokes = []
        for face in ringed:
            inside = buildings[shapely.intersects(buildings, face)]
            spokes += [*around(face, _spokes(face), inside, inside[:0])]
        parts = faces_of(community, [*shapely.boundary(faces), *spokes])
        if len(parts) == len(faces):
            break
        faces = parts
    return faces


def _spokes(face: Polygon) -> Geometries:
    """Two lines from each hole of a face to the nearest of what lies around it, on opposite sides of the hole."""
    lines: list[Any] = []
    holes = [shapely.get_interior_ring(face, n) for n in range(shapely.get_num_interior_rings(face))]
    for n, hole in enumerate(holes):
        outside = shapely.union_all([shapely.get_exterior_ring(face), *holes[:n], *holes[n + 1 :]])
        xy = shapely.get_coordinates(hole)
        first = shapely.shortest_line(hole, outside)
        begin = shapely.get_coordinates(first)[0]
        middle = shapely.get_coordinates(shapely.centroid(shapely.polygons(hole)))[0]
        away = ((xy - middle) * (middle - begin)).sum(axis=1)
        opposite = xy[np.lexsort((xy[:, 1], xy[:, 0], -away))[0]]
        second = shapely.shortest_line(shapely.points(opposite), outside)
        lines += [*_drawn_on(np.array([first, second], dtype=object), 0.05)]
    return np.asarray(lines, dtype=object)
