"""Cuts that go around buildings and keep away from components.

A cut that would pass through a building is replaced by the shortest way around it: straight between corners, as a
surveyor would draw it (shortest paths in the visibility graph of the obstacles' corners). The obstacles are buildings
grown by a clearance, and components by a metre; where both cannot be kept, the metre around components gives way
first, then the clearance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from shapely.geometry import Polygon

from grids.coverage import Floats, Geometries

CLEARANCES_M = (1.0, 0.3, 0.05)  #: tried one after the other
TOUCH_M = 0.01  #: a way along an obstacle's edge does not enter it
SLIDE_M = 40.0  #: how far a junction inside a building may be moved
ROUNDS = 5  #: a way found is looked at again for obstacles that it meets


def around(block: Polygon, cuts: Geometries, buildings: Geometries, components: Geometries) -> Geometries:
    """The cuts of a block, those through a building or within a metre of a component replaced by a way around.

    cuts : straight lines; common ends stay common. buildings : polygons that meet the block; components : points.
    A cut for which there is no way inside the block stays as it is (the caller's check reports the building).
    """
    near = shapely.STRtree(cuts)
    if not len(near.query(buildings, predicate="dwithin", distance=CLEARANCES_M[0])[0]) and not len(
        near.query(components, predicate="dwithin", distance=1.0)[0]
    ):
        return cuts
    tips = [shapely.get_coordinates(shapely.get_point(cuts, n)) for n in (0, -1)]
    ends = np.stack(tips, axis=1)
    settings: list[tuple[float, bool]] = [(clearance, True) for clearance in CLEARANCES_M]
    if len(components):
        settings = [(CLEARANCES_M[0], True), *((clearance, False) for clearance in CLEARANCES_M)]
    ways: list[Any] = [None] * len(cuts)
    moved: dict[tuple[float, float], tuple[float, float]] = {}
    for clearance, keep_away in settings:
        todo = [row for row, way in enumerate(ways) if way is None]
        if not todo:
            break
        field = _Field(block, buildings, components if keep_away else components[:0], clearance)
        for key in sorted({tuple(end) for row in todo for end in ends[row].tolist()} - set(moved)):
            free = field.freed(key)
            if free is not None:
                moved[key] = free
        for row in todo:
            a, b = (moved.get(tuple(end)) for end in ends[row].tolist())
            if a is not None and b is not None:
                ways[row] = field.way(a, b)
    lines = []
    for row, way in enumerate(ways):
        if way is None:
            a, b = (moved.get(tuple(end), tuple(end)) for end in ends[row].tolist())
            way = shapely.linestrings([a, b])
        lines.append(way)
        for old in ends[row].tolist():  # a junction that was moved stays tied to what it stood on
            new = moved.get(tuple(old))
            if new is not None and field.on_edge(tuple(old)) and new != tuple(old) and not field.on_edge(new):
                lines.append(shapely.linestrings([new, old]))
    return np.asarray(lines, dtype=object)


class _Field:
    """The obstacles in one block, grown, and the ways between them."""

    def __init__(self, block: Polygon, buildings: Geometries, components: Geometries, clearance_m: float) -> None:
        grown = shapely.buffer(buildings, clearance_m, join_style="mitre", mitre_limit=2.0)
        self.block = block
        self.edge = shapely.boundary(block)
        shapely.prepare(self.edge)
        self.grown = np.concatenate([grown, shapely.buffer(components, 1.0, quad_segs=1)])
        self.core = shapely.buffer(self.grown, -TOUCH_M, join_style="mitre")
        self.tree = shapely.STRtree(self.core)
        self.inside = shapely.buffer(block, TOUCH_M, join_style="mitre")
        shapely.prepare(self.inside)

    def on_edge(self, at: Sequence[float]) -> bool:
        """Whether a place is on the block's boundary."""
        return bool(shapely.dwithin(self.edge, shapely.points(at), 2 * TOUCH_M))

    def freed(self, at: tuple[float, float]) -> tuple[float, float] | None:
        """The place itself, or the nearest outside of all obstacles; None if there is none within the block."""
        point = shapely.points(at)
        hit = self.tree.query(point, predicate="intersects")
        if not len(hit):
            return at
        if self.on_edge(at):
            near = shapely.intersection(self.edge, shapely.buffer(point, SLIDE_M))
            met = self.tree.query(near, predicate="intersects")
            target = shapely.difference(near, shapely.union_all(self.grown[met]))
        else:
            known = set(hit.tolist())  # the obstacles that hang together with the one it lies in
            for _ in range(ROUNDS):
                met = np.unique(self.tree.query(self.core[sorted(known)], predicate="intersects")[1])
                if set(met.tolist()) <= known:
                    break
                known |= set(met.tolist())
            target = shapely.boundary(shapely.union_all(self.grown[sorted(known)]))
            target = shapely.intersection(target, self.block)
        if target.is_empty:
            return None
        x, y = shapely.get_coordinates(shapely.shortest_line(target, point))[0].tolist()
        return (x, y) if shapely.distance(target, point) < SLIDE_M else None

    def way(self, a: tuple[float, float], b: tuple[float, float]) -> Any:
        """The shortest line from a to b inside the block that enters no obstacle; None if there is none."""
        straight = shapely.linestrings([a, b])
        met = self.tree.query(straight, predicate="intersects")
        if not len(met) and shapely.covers(self.inside, straight):
            return straight
        known: set[int] = set(met.tolist())
        for _ in range(ROUNDS):
            path = self._shortest(a, b, sorted(known))
            if path is None:
                return None
            met = self.tree.query(path, predicate="intersects")
            if not len(met):
                return path
            known |= set(met.tolist())
        return None

    def _shortest(self, a: tuple[float, float], b: tuple[float, float], known: list[int]) -> Any:
        corners = [shapely.get_coordinates(shapely.simplify(self.grown[row], TOUCH_M / 2))[:-1] for row in known]
        nodes: Floats = np.concatenate([[a, b], *corners])
        nodes = nodes[np.r_[True, True, shapely.contains_xy(self.inside, nodes[2:])]]
        i, j = np.triu_indices(len(nodes), 1)
        lines = shapely.linestrings(np.stack([nodes[i], nodes[j]], axis=1))
        open_ = np.asarray(shapely.covers(self.inside, lines))
        blocked = shapely.STRtree(self.core[known]).query(lines, predicate="intersects")[0]
        open_[blocked] = False
        i, j = i[open_], j[open_]
        length = np.hypot(*(nodes[i] - nodes[j]).T) + 1e-6
        graph = csr_array((length, (i, j)), shape=(len(nodes), len(nodes)))
        far, before = dijkstra(graph, directed=False, indices=0, return_predecessors=True)
        if not np.isfinite(far[1]) or far[1] > 3 * np.hypot(a[0] - b[0], a[1] - b[1]) + 60:
            return None
        path = [1]
        while path[-1] != 0:
            path.append(int(before[path[-1]]))
        return shapely.linestrings(nodes[path[::-1]])
