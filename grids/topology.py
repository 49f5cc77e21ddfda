"""How cells lie to each other and to communities: overlaps, gaps, nesting, nodes, buildings cut.

All vectorised on GEOS: edges that two cells do not share exactly are found first, and only their cells are overlaid.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from grids.findings import RULES, Finding

Geometries = NDArray[np.object_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NEAR_M = 0.5  #: a node that misses its neighbour's border by more is not meant to be on it


def solid(geometry: Geometries) -> Geometries:
    """Each geometry as a valid polygonal one: mended where invalid, empty where there is none."""
    made = np.array(geometry, dtype=object)
    made[~np.isin(shapely.get_type_id(made), (3, 6)) | shapely.is_empty(made)] = shapely.Polygon()
    for row in np.flatnonzero(~shapely.is_valid(made)).tolist():
        made[row] = polygonal(shapely.make_valid(made[row], method="structure", keep_collapsed=False))
    return made


def polygonal(geometry: Any) -> Any:
    """The polygons of a geometry: a Polygon, a MultiPolygon, or an empty Polygon."""
    every = shapely.get_parts(shapely.get_parts(geometry))
    parts = [part for part in every if part.geom_type == "Polygon" and not part.is_empty]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts) if parts else shapely.Polygon()


def thick_parts(geometry: Geometries, tolerance_m: float) -> tuple[Geometries, Ints]:
    """The polygons among the parts that are somewhere as wide as the tolerance, and the row of each.

    The widest circle in a polygon has at least a radius of A/P; where that does not decide, it is shrunk to see.
    """
    parts, row = shapely.get_parts(geometry, return_index=True)
    parts, within = shapely.get_parts(parts, return_index=True)  # a collection may hold multi-parts
    row = row[within]
    flat = (shapely.get_type_id(parts) == 3) & ~shapely.is_empty(parts)
    parts, row = parts[flat], row[flat]
    area, length = shapely.area(parts), shapely.length(parts)
    keep = 2 * area >= tolerance_m * length
    doubtful = np.flatnonzero(~keep & (area > 0))
    shrunk = shapely.buffer(parts[doubtful], -tolerance_m / 2, quad_segs=1, join_style="mitre")
    keep[doubtful] = ~shapely.is_empty(shrunk)
    return parts[keep], row[keep].astype(np.int64)


def thick(geometry: Geometries, tolerance_m: float) -> Geometries:
    """Of each geometry its thick parts as one geometry; None where there are none."""
    parts, row = thick_parts(geometry, tolerance_m)
    found = np.full(len(geometry), None, dtype=object)
    starts = np.flatnonzero(np.r_[True, row[1:] != row[:-1]]) if len(row) else np.empty(0, np.int64)
    for mine, index in zip(np.split(parts, starts[1:]), row[starts], strict=True) if len(row) else ():
        found[index] = mine[0] if len(mine) == 1 else shapely.MultiPolygon(list(mine))
    return found


def there(found: Geometries) -> Ints:
    """The rows that are not None."""
    return np.flatnonzero(~shapely.is_missing(found)).astype(np.int64)


class Shares(NamedTuple):
    """Parts of cells that lie in another community than the cell's own."""

    cell: Ints
    community: Ints
    part: Geometries


@dataclass(frozen=True)
class Cover:
    """Cells over communities, all valid and polygonal or empty."""

    cells: Geometries
    labels: Sequence[str]
    codes: Sequence[str]  #: of the communities, ascending
    communities: Geometries
    tolerance_m: float
    home: Ints  #: of each cell: the community that holds most of it, -1 none
    shares: Shares
    outside: Geometries  #: of each cell what lies in no community beyond tolerance, else None

    @classmethod
    def of(
        cls,
        cells: Geometries,
        labels: Sequence[str],
        codes: Sequence[str],
        communities: Geometries,
        tolerance_m: float,
    ) -> Cover:
        """Find the community of each cell; where communities overlap, the lower code has it."""
        communities = solid(shapely.force_2d(np.asarray(communities, dtype=object)))
        home = np.full(len(cells), -1, dtype=np.int64)
        community, cell = shapely.STRtree(cells).query(communities, predicate="covers")
        order = np.argsort(-community, kind="stable")
        home[cell[order]] = community[order]
        outside = np.full(len(cells), None, dtype=object)
        loose = np.flatnonzero((home < 0) & ~shapely.is_empty(cells))
        at, community = shapely.STRtree(communities).query(cells[loose], predicate="intersects")
        parts = thick(shapely.intersection(cells[loose[at]], communities[community]), tolerance_m)
        for index, row in enumerate(loose):
            near = communities[community[at == index]]
            outside[row] = shapely.difference(cells[row], shapely.union_all(near)) if len(near) else cells[row]
        outside[loose] = thick(outside[loose], tolerance_m)
        real = there(parts)
        cell, community, parts = loose[at[real]], community[real], parts[real]
        order = np.lexsort((community, -shapely.area(parts), cell))
        cell, community, parts = cell[order], community[order], parts[order]
        first = np.r_[True, cell[1:] != cell[:-1]][: len(cell)]
        home[cell[first]] = community[first]
        shares = Shares(cell[~first], community[~first], parts[~first])
        return cls(cells, labels, codes, communities, tolerance_m, home, shares, outside)

    # ── cells and communities ────────────────────────────────────────

    def nesting(self, codes: Sequence[str | None]) -> list[Finding]:
        """Cells astride two communities, outside all, or whose code (None: not to be asked) names another."""
        found = []
        for cell in np.unique(self.shares.cell).tolist():
            mine = self.shares.cell == cell
            others = [self.codes[community] for community in self.shares.community[mine]]
            part = shapely.union_all(self.shares.part[mine])
            en = f"lies in {self.codes[self.home[cell]]} and with {part.area:,.2f} m² in {', '.join(others)}"
            zh = f"位于 {self.codes[self.home[cell]]}，另有 {part.area:,.2f} 平方米位于 {'、'.join(others)}"
            found.append(self._of(cell, "astride", en, zh, part, part.area, other=others[0]))
        for cell in there(self.outside).tolist():
            part = self.outside[cell]
            whole = self.home[cell] < 0
            en = "lies in no community" if whole else f"reaches with {part.area:,.2f} m² outside every community"
            zh = "不在任何社区内" if whole else f"有 {part.area:,.2f} 平方米不在任何社区内"
            found.append(self._of(cell, "outside", en, zh, part, part.area))
        for cell in np.flatnonzero(self.home >= 0).tolist():
            code, place = codes[cell], self.codes[self.home[cell]]
            if code is not None and not code.startswith(place):
                en, zh = f"lies in community {place}, not in {code[:12]}", f"位于社区 {place}，而非 {code[:12]}"
                point = shapely.point_on_surface(self.cells[cell])
                found.append(self._of(cell, "code_place", en, zh, point, other=place))
        return found

    def uncovered(self, covered: Iterable[str]) -> tuple[Geometries, Ints]:
        """The parts of the communities named that no cell covers, and the row of each one's community."""
        named = set(covered)
        wanted = np.array([number for number, code in enumerate(self.codes) if code in named], dtype=np.int64)
        broken = np.zeros(len(self.cells), dtype=bool)
        broken[self.flagged] = True
        cell = np.r_[np.flatnonzero(self.home >= 0), self.shares.cell]
        community = np.r_[self.home[self.home >= 0], self.shares.community]
        order = np.argsort(community, kind="stable")
        cell, community = cell[order], community[order]
        low = np.searchsorted(community, wanted)
        high = np.searchsorted(community, wanted, side="right")
        unions = np.empty(len(wanted), dtype=object)
        for index, (begin, end) in enumerate(zip(low, high, strict=True)):
            rows = cell[begin:end]
            of = self.cells[rows]
            unions[index] = shapely.union_all(of) if broken[rows].any() else shapely.coverage_union_all(of)
        parts, of_part = thick_parts(shapely.difference(self.communities[wanted], unions), self.tolerance_m)
        return parts, wanted[of_part]

    def gaps(self, covered: Iterable[str]) -> list[Finding]:
        """Parts of the communities named that no cell covers."""
        found = []
        for part, community in zip(*self.uncovered(covered), strict=True):
            code = self.codes[community]
            found.append(
                Finding(
                    rule="gap",
                    severity=RULES["gap"].severity,
                    code=code,
                    other=None,
                    size=float(part.area),
                    unit="m2",
                    en=f"{part.area:,.2f} m² of community {code} are covered by no cell",
                    zh=f"社区 {code} 有 {part.area:,.2f} 平方米未被任何网格覆盖",
                    place=part,
                )
            )
        return found

    # ── cells among each other ────────────────────────────────────────

    @cached_property
    def flagged(self) -> Ints:
        """The cells with an edge that is not exactly shared: inside, across or beside another cell."""
        if not len(self.cells):
            return np.empty(0, np.int64)
        return np.flatnonzero(~shapely.is_empty(shapely.coverage_invalid_edges(self.cells))).astype(np.int64)

    def common(self) -> tuple[Ints, Geometries]:
        """Pairs of cells (n × 2, the first has the lower label) that overlap, and where, beyond tolerance."""
        at, other = shapely.STRtree(self.cells).query(self.cells[self.flagged], predicate="intersects")
        pair = np.sort(np.stack([self.flagged[at], other], axis=1), axis=1)
        pair = np.unique(pair[pair[:, 0] != pair[:, 1]], axis=0).reshape(-1, 2)
        parts = thick(shapely.intersection(self.cells[pair[:, 0]], self.cells[pair[:, 1]]), self.tolerance_m)
        real = there(parts)
        named = [sorted(rows, key=lambda row: self.labels[row]) for rows in pair[real].tolist()]
        return np.array(named, dtype=np.int64).reshape(-1, 2), parts[real]

    def overlaps(self) -> list[Finding]:
        """Pairs of cells that overlap by more than a hairline."""
        found = []
        for (i, j), part in zip(*self.common(), strict=True):
            en = f"overlaps cell {self.labels[j]} by {part.area:,.2f} m²"
            zh = f"与网格 {self.labels[j]} 重叠 {part.area:,.2f} 平方米"
            found.append(self._of(i, "overlap", en, zh, part, part.area, other=self.labels[j]))
        return found

    def nodes(self, pieces: Sequence[Any]) -> list[Finding]:
        """Nodes of one cell that lie on, or miss, the border of another that has no such node.

        Within tolerance it is a note; beyond, up to NEAR_M, an error if a gap or overlap of ``pieces`` opens there.
        One finding for each pair of cells, which names the worst node.
        """
        edges = _Edges.of(self.cells)
        open_ = edges.alone()
        if not len(open_):
            return []
        lines: Any = shapely.linestrings(np.stack([edges.points[edges.a[open_]], edges.points[edges.b[open_]]], axis=1))
        nodes = np.unique(np.r_[edges.a[open_], edges.b[open_]])
        spots: Any = shapely.points(edges.points[nodes])
        at, line = shapely.STRtree(lines).query(spots, predicate="dwithin", distance=NEAR_M)
        node, cell = nodes[at], edges.cell[open_[line]]
        foreign = ~edges.has(cell, node)
        at, line, node, cell = at[foreign], line[foreign], node[foreign], cell[foreign]
        missed_m = np.asarray(shapely.distance(spots[at], lines[line]))
        order = np.lexsort((missed_m, cell, node))
        order = order[np.r_[True, (np.diff(node[order]) != 0) | (np.diff(cell[order]) != 0)][: len(order)]]
        at, line, node, cell, missed_m = at[order], line[order], node[order], cell[order], missed_m[order]
        opens = np.zeros(len(at), dtype=bool)
        if len(pieces):  # the way from the node to the border leads through the gap, not along its rim
            middles = shapely.line_interpolate_point(
                shapely.shortest_line(spots[at], lines[line]), 0.5, normalized=True
            )
            through, _ = shapely.STRtree(pieces).query(middles, predicate="within")
            opens[through] = True
        kept = np.flatnonzero(opens | (missed_m <= self.tolerance_m))
        owner, wide = edges.owner(node[kept]), missed_m[kept] > self.tolerance_m
        key = np.stack([wide, np.minimum(owner, cell[kept]), np.maximum(owner, cell[kept])], axis=1)
        order = np.lexsort((*key.T[::-1],))
        starts = np.flatnonzero(np.r_[True, (np.diff(key[order], axis=0) != 0).any(axis=1)][: len(order)])
        found = []
        for rows in np.split(order, starts[1:]) if len(order) else ():
            worst = rows[np.lexsort((node[kept[rows]], -missed_m[kept[rows]]))[0]]
            places = spots[np.unique(at[kept[rows]])]
            label, size, many = self.labels[cell[kept[worst]]], float(missed_m[kept[worst]]), len(places)
            en = (
                f"misses the border of cell {label} by {size:.3f} m"
                if wide[worst]
                else f"has a node cell {label} lacks"
            )
            zh = f"的节点偏离网格 {label} 的边界 {size:.3f} 米" if wide[worst] else f"有一个网格 {label} 没有的公共节点"
            if many > 1:
                en, zh = f"{en}, and {many - 1} more along their border", f"{zh}，两者边界上另有 {many - 1} 处"
            place = places[0] if len(places) == 1 else shapely.MultiPoint(list(places))
            rule = "open_border" if wide[worst] else "unshared_node"
            found.append(self._of(int(owner[worst]), rule, en, zh, place, size, "m", other=label))
        return found

    # ── buildings ────────────────────────────────────────

    def buildings(self, buildings: Geometries) -> list[Finding]:
        """Buildings that a border cuts: one finding each, with the length of border inside."""
        shapes = solid(shapely.force_2d(buildings))
        tree = shapely.STRtree(self.cells)
        whole = np.zeros(len(shapes), dtype=bool)
        whole[tree.query(shapes, predicate="covered_by")[0]] = True
        cut = np.flatnonzero(~whole & ~shapely.is_empty(shapes))
        at, cell = tree.query(shapes[cut], predicate="intersects")
        parts = thick(shapely.intersection(shapes[cut[at]], self.cells[cell]), self.tolerance_m)
        real = there(parts)
        at, cell, parts = at[real], cell[real], parts[real]
        rank = np.argsort(np.argsort(np.array(self.labels, dtype=str), kind="stable"), kind="stable")
        order = np.lexsort((rank[cell], -np.round(shapely.area(parts), 3), at))
        found = []
        for index in np.unique(at[np.flatnonzero(np.bincount(at, minlength=len(cut))[at] > 1)]):
            rows = order[at[order] == index]
            within = shapely.buffer(shapes[cut[index]], -self.tolerance_m, join_style="mitre")
            border = shapely.intersection(shapely.union_all(shapely.boundary(self.cells[cell[rows]])), within)
            if not border.length > 0:
                continue
            i, j = cell[rows[0]], cell[rows[1]]
            en = f"shares a building with cell {self.labels[j]}: {border.length:,.1f} m of border inside"
            zh = f"与网格 {self.labels[j]} 的边界穿过建筑物，建筑内边界长 {border.length:,.1f} 米"
            found.append(self._of(i, "building_cut", en, zh, border, border.length, "m", other=self.labels[j]))
        return found

    def _of(
        self,
        cell: int,
        rule: str,
        en: str,
        zh: str,
        place: Any,
        size: float | None = None,
        unit: str = "m2",
        other: str | None = None,
    ) -> Finding:
        label = self.labels[cell]
        return Finding(
            rule=rule,
            severity=RULES[rule].severity,
            code=None if label.startswith("#") else label,
            other=other,
            size=None if size is None else float(size),
            unit=None if size is None else unit,
            en=f"cell {label} {en}",
            zh=f"网格 {label} {zh}",
            place=place,
        )


@dataclass(frozen=True)
class _Edges:
    """All edges of the cells: their ends as numbers of distinct points, and the cell of each."""

    points: Floats
    a: Ints
    b: Ints
    cell: Ints
    known: Ints  #: sorted keys point × cells + cell: which cell has which point
    cells: int

    @classmethod
    def of(cls, cells: Geometries) -> _Edges:
        parts, of_part = shapely.get_parts(cells, return_index=True)
        rings, of_ring = shapely.get_rings(parts, return_index=True)
        vertices, ring = shapely.get_coordinates(rings, return_index=True)
        owner = of_part[of_ring[ring]].astype(np.int64)
        distinct, number = np.unique(vertices[:, 0] + 1j * vertices[:, 1], return_inverse=True)
        points = np.column_stack([distinct.real, distinct.imag])
        begin = np.flatnonzero(ring[1:] == ring[:-1])
        known = np.unique(number.astype(np.int64) * len(cells) + owner)
        return cls(points, number[begin], number[begin + 1], owner[begin], known, len(cells))

    def alone(self) -> Ints:
        """The edges that no other edge equals."""
        key = np.minimum(self.a, self.b) * len(self.points) + np.maximum(self.a, self.b)
        _, back, count = np.unique(key, return_inverse=True, return_counts=True)
        return np.flatnonzero(count[back] == 1).astype(np.int64)

    def has(self, cell: Ints, point: Ints) -> NDArray[np.bool_]:
        """Whether each cell has each point as a vertex."""
        key = point * self.cells + cell
        place = np.minimum(np.searchsorted(self.known, key), len(self.known) - 1)
        return np.asarray(self.known[place] == key)

    def owner(self, point: Ints) -> Ints:
        """The first cell that has each point."""
        return np.asarray(self.known[np.searchsorted(self.known, point * self.cells)] % self.cells)


def with_shared_nodes(cells: Geometries, within_m: float) -> Geometries:
    """The cells with every node of one that lies on an edge of another put into that edge.

    cells: single polygons. A node that the other cell has already is not put in again, nor one that lies beyond the
    end of the edge; a cell that would become invalid stays as it is.
    """
    rings, of_ring = shapely.get_rings(cells, return_index=True)
    vertices, ring = shapely.get_coordinates(rings, return_index=True)
    begin = np.flatnonzero(ring[1:] == ring[:-1])
    edges = _Edges.of(cells)
    open_ = edges.alone()
    if not len(open_):
        return cells
    low, high = edges.points[edges.a[open_]], edges.points[edges.b[open_]]
    lines: Any = shapely.linestrings(np.stack([low, high], axis=1))
    nodes = np.unique(np.r_[edges.a[open_], edges.b[open_]])
    spots: Any = shapely.points(edges.points[nodes])
    at, line = shapely.STRtree(lines).query(spots, predicate="dwithin", distance=within_m)
    foreign = ~edges.has(edges.cell[open_[line]], nodes[at])
    at, line = at[foreign], line[foreign]
    along = shapely.line_locate_point(lines[line], spots[at])
    missed_m = np.asarray(shapely.distance(lines[line], spots[at]))
    inner = (along > 0) & (along < shapely.length(lines[line]))
    at, line, along, missed_m = at[inner], line[inner], along[inner], missed_m[inner]
    order = np.lexsort((line, missed_m, edges.cell[open_[line]], at))
    once = np.r_[True, (np.diff(at[order]) != 0) | (np.diff(edges.cell[open_[line[order]]]) != 0)][: len(order)]
    at, line, along = at[order[once]], line[order[once]], along[order[once]]
    if not len(at):
        return cells
    behind = begin[open_[line]] + 1
    order = np.lexsort((along, behind))
    behind, at = behind[order], at[order]
    every = np.insert(vertices, behind, edges.points[nodes[at]], axis=0)
    rebuilt: Any = shapely.linearrings(every, indices=np.insert(ring, behind, ring[behind - 1]))
    made = np.asarray(shapely.polygons(rebuilt, indices=of_ring), dtype=object)
    touched = np.unique(of_ring[ring[behind - 1]])
    fit = touched[shapely.is_valid(made[touched])]
    found = cells.copy()
    found[fit] = made[fit]
    return found


def spans(cells: Geometries, rows: Ints, regions: Geometries, borders: Geometries, reach_m: float) -> list[Any]:
    """Segments from each node of the cells ``rows`` at a region to the nearest point of other cells and of borders.

    They cut a long gap or overlap where its neighbours change, so that each neighbour can get what lies along it.
    """
    edges = _Edges.of(cells[rows])
    open_ = edges.alone()
    nodes = np.unique(np.r_[edges.a[open_], edges.b[open_]])
    spots: Any = shapely.points(edges.points[nodes])
    near = np.unique(shapely.STRtree(regions).query(spots, predicate="dwithin", distance=2 * reach_m)[0])
    nodes, spots = nodes[near], spots[near]
    lines: Any = shapely.linestrings(np.stack([edges.points[edges.a[open_]], edges.points[edges.b[open_]]], axis=1))
    at, line = shapely.STRtree(lines).query(spots, predicate="dwithin", distance=reach_m)
    foreign = ~edges.has(edges.cell[open_[line]], nodes[at])
    at, line = at[foreign], line[foreign]
    across = shapely.shortest_line(spots[at], lines[line])
    at, border = shapely.STRtree(borders).query(spots, predicate="dwithin", distance=reach_m)
    made = np.r_[np.atleast_1d(across), np.atleast_1d(shapely.shortest_line(spots[at], borders[border]))]
    return [segment for segment in made if segment.length > 0]
