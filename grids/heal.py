"""Healing: small gaps and overlaps of a grid drawn by hand are closed, and every move is listed.

What is wider than the tolerance stays as it is and is found by the check. Communities are the truth: cells are
trimmed to them. The borders around the faults are noded on the lattice and made into faces; each face is given to one
cell: an overlap to the cell with the lower code, a gap to the one beside it. So the result fits by construction.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from gis.crs import in_metres, snap
from gis.errors import Invalid
from grids.coverage import STEP_M, shared_sides
from grids.topology import Cover, polygonal, spans, thick_parts, with_shared_nodes

Geometries = NDArray[np.object_]

NOISE_M = 0.002  #: thinner than this is no fault and is left
MOST_M = 5.0  #: above, closing a gap is drawing anew
ROUNDS = 8
BESIDE = 0.5  #: of the longest side: a cell that has as much of a gap's rim may take it
WHAT = {
    "trimmed": "裁切至社区边界",
    "overlap": "消除重叠",
    "gap": "填补空隙",
    "node": "补齐公共节点",
}


class _Fault(NamedTuple):
    """A region that is to change hands."""

    what: str
    cell: str  #: the cell that loses it, or the community for a gap
    other: str | None
    region: Any
    width_m: float


def heal(
    cells: gpd.GeoDataFrame, communities: gpd.GeoDataFrame, *, tolerance_m: float
) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """The cells with gaps and overlaps narrower than ``tolerance_m`` closed, and what was moved.

    cells, communities : code, geometry, in the city's metres; the communities those of 12 digits
    A border that crosses itself by less than that is straightened.
    The second frame has a row for each region that changed hands: code (the cell; the community for a gap), other
    (the cell or community beyond), what (trimmed, overlap, gap, node: one shared with a neighbour), moved_m (how far
    the border moved at most), area_m2.
    The result is on the lattice, its borders shared node by node to within 2 mm. Healing it again changes nothing; a
    sound grid stays as it is. Raises Invalid for a tolerance that is not above 0 or is over MOST_M.
    """
    if not 0 < tolerance_m <= MOST_M:
        raise Invalid(
            f"{tolerance_m:g} m is no tolerance for healing: above 0, at most {MOST_M:g} m",
            f"修补容差 {tolerance_m:g} 米不合适：应大于 0 且不超过 {MOST_M:g} 米",
            mend="0.1 closes what digitising leaves; draw larger faults anew in QGIS",
            mend_zh="0.1 米可消除数字化误差；更大的问题请在 QGIS 中修改",
        )
    in_metres(cells)
    areas = communities[communities["code"].str.len() == 12].sort_values("code", ignore_index=True)
    codes = [code if isinstance(code, str) else f"#{row}" for row, code in enumerate(cells["code"], start=1)]
    given = _uncrossed(np.asarray(snap(cells.geometry).array, dtype=object), tolerance_m)
    whole = (shapely.get_type_id(given) == 3) & ~shapely.is_empty(given) & shapely.is_valid(given)
    shapes = given.copy()
    shapes[~whole] = shapely.Polygon()
    listed: list[tuple[str, str | None, str, float, float]] = []
    for _ in range(ROUNDS):
        cover = Cover.of(shapes, codes, areas["code"].tolist(), areas.geometry.to_numpy(), NOISE_M)
        faults = _faults(cover, tolerance_m)
        before = shapes.copy()
        if faults:
            shapes = _given(cover, faults, tolerance_m)
            listed += [(f.cell, f.other, f.what, f.width_m, float(f.region.area)) for f in faults]
        shapes, nodes = _noded(_without_pinholes(shapes, tolerance_m))
        listed += [(codes[row], None, "node", width, area) for row, width, area in nodes]
        if shapely.equals_identical(shapes, before).all():
            listed = listed[: len(listed) - len(faults)] if faults else listed
            break
    shapes[~whole] = given[~whole]
    moves = pd.DataFrame(listed, columns=["code", "other", "what", "moved_m", "area_m2"])
    moves = moves.sort_values(["code", "what", "other", "moved_m"], ignore_index=True, na_position="first")
    return cells.set_geometry(gpd.GeoSeries(shapes, index=cells.index, crs=cells.crs)), moves


def _without_pinholes(shapes: Geometries, tolerance_m: float) -> Geometries:
    """The cells without holes narrower than the tolerance: a gap that lies within one cell."""
    out = shapes.copy()
    for row in np.flatnonzero(shapely.get_num_interior_rings(shapes) > 0).tolist():
        rings = [shapely.Polygon(ring) for ring in shapes[row].interiors]
        kept = [ring.exterior for ring in rings if 2 * ring.area >= tolerance_m * ring.length]
        if len(kept) < len(rings):
            out[row] = shapely.Polygon(shapes[row].exterior, kept)
    return out


def _uncrossed(shapes: Geometries, tolerance_m: float) -> Geometries:
    """Borders that cross themselves straightened, where no more than hairlines go: needles that rounding has folded."""
    out = shapes.copy()
    for row in np.flatnonzero((shapely.get_type_id(shapes) == 3) & ~shapely.is_valid(shapes)).tolist():
        parts = shapely.get_parts(shapely.make_valid(shapes[row], method="structure", keep_collapsed=False))
        parts = np.asarray(snap(gpd.GeoSeries(parts)).array, dtype=object)
        area, around = shapely.area(parts), shapely.length(parts)
        largest = int(np.argmax(area)) if len(parts) else -1
        rest = np.delete(np.arange(len(parts)), largest)
        if largest >= 0 and shapely.is_valid(parts[largest]) and (2 * area[rest] < tolerance_m * around[rest]).all():
            out[row] = parts[largest]
    return out


def _noded(shapes: Geometries) -> tuple[Geometries, list[tuple[int, float, float]]]:
    """The cells noded on each other: nodes that a neighbour lacks are put into its border; row, metres, m² of each."""
    single = np.flatnonzero(~shapely.is_empty(shapes) & (shapely.get_type_id(shapes) == 3))
    made = with_shared_nodes(shapes[single], 2 * STEP_M)
    new = ~shapely.equals_identical(made, shapes[single])
    rows, made = single[new], made[new]
    bent_m = shapely.hausdorff_distance(shapes[rows], made)
    area_m2 = abs(shapely.area(shapes[rows]) - shapely.area(made))
    shapes = shapes.copy()
    shapes[rows] = made
    return shapes, list(zip(rows.tolist(), bent_m.tolist(), area_m2.tolist(), strict=True))


def _faults(cover: Cover, tolerance_m: float) -> list[_Fault]:
    """What is wider than noise but nowhere as wide as the tolerance."""
    faults: list[_Fault] = []

    def add(what: str, cell: str, other: str | None, geometry: Any) -> None:
        for part in thick_parts(np.array([geometry], dtype=object), NOISE_M)[0]:
            if not len(thick_parts(np.array([part], dtype=object), tolerance_m)[0]):
                faults.append(_Fault(what, cell, other, part, _width(part, tolerance_m)))

    for cell, community, reach in zip(*cover.shares, strict=True):
        add("trimmed", cover.labels[cell], cover.codes[community], reach)
    for cell, reach in enumerate(cover.outside):
        if reach is not None and cover.home[cell] >= 0:
            add("trimmed", cover.labels[cell], None, reach)
    for (keeper, giver), common in zip(*cover.common(), strict=True):
        add("overlap", cover.labels[giver], cover.labels[keeper], common)
    for gap, home in zip(*cover.uncovered(cover.codes), strict=True):
        add("gap", cover.codes[home], None, gap)
    return faults


def _width(part: Any, most_m: float) -> float:
    """The width of a polygon at its widest, known to be between noise and ``most_m``, to a hundredth of that.

    By halving: how much must it be shrunk to vanish. (The largest circle inside is ten times as slow.)
    """
    low, high = NOISE_M, most_m
    while high - low > most_m / 100:
        middle = (low + high) / 2
        gone = shapely.buffer(part, -middle / 2, quad_segs=1, join_style="mitre").is_empty
        low, high = (low, middle) if gone else (middle, high)
    return high


def _given(cover: Cover, faults: list[_Fault], tolerance_m: float) -> Geometries:
    """The cells around the faults made anew from faces, each face given to its cell."""
    regions = np.array([fault.region for fault in faults], dtype=object)
    tree = shapely.STRtree(cover.cells)
    touched = np.unique(tree.query(regions, predicate="dwithin", distance=2 * STEP_M)[1])
    around = shapely.STRtree(cover.communities).query(regions, predicate="dwithin", distance=2 * STEP_M)
    rims = shapely.buffer(regions[around[0]], 2 * tolerance_m)
    borders = shapely.intersection(shapely.boundary(cover.communities[around[1]]), rims)
    lines = [
        *shapely.boundary(cover.cells[touched]),
        *borders,
        *spans(cover.cells, touched, regions, borders, tolerance_m),
    ]
    noded = shapely.union_all(np.array(lines, dtype=object), grid_size=STEP_M)
    faces = shapely.get_parts(shapely.polygonize([noded]))
    spots = shapely.point_on_surface(faces)
    owners: list[list[int]] = [[] for _ in faces]
    within = set(touched.tolist())
    for face, cell in zip(*(of.tolist() for of in tree.query(spots, predicate="within")), strict=True):
        if cell in within:
            owners[face].append(cell)
    place = np.full(len(faces), -1, dtype=np.int64)
    face, community = shapely.STRtree(cover.communities).query(spots, predicate="within")
    place[face[::-1]] = community[::-1]
    loose = np.zeros(len(faces), dtype=bool)  # to be given to one cell
    loose[shapely.STRtree(regions).query(spots, predicate="within")[0]] = True
    loose[np.setdiff1d(np.arange(len(faces)), thick_parts(faces, NOISE_M)[1])] = True
    rank = {
        int(row): number
        for number, row in enumerate(sorted(range(len(cover.labels)), key=lambda row: cover.labels[row]))
    }
    for number in np.flatnonzero(loose).tolist():
        own = [cell for cell in owners[number] if cover.home[cell] == place[number]]
        owners[number] = [min(own, key=lambda cell: rank[cell])] if own and place[number] >= 0 else []
    made = cover.cells.copy()
    for _ in range(ROUNDS):
        _adopt(faces, owners, loose & (place >= 0), place, cover, rank)
        held: dict[int, list[int]] = {int(cell): [] for cell in touched}
        for number, cells in enumerate(owners):
            for cell in cells:
                held[cell].append(number)
        strays: list[int] = []
        for cell, mine in held.items():
            made[cell], apart = _joined(faces, mine, tolerance_m)
            strays += apart
        if not strays:
            break
        for number in strays:
            owners[number], loose[number] = [], True
    return made


def _joined(faces: Geometries, mine: list[int], tolerance_m: float) -> tuple[Any, list[int]]:
    """The union of faces; and those in a part beside the largest that is nowhere as wide as the tolerance."""
    union: Any = polygonal(shapely.coverage_union_all(faces[mine])) if mine else shapely.Polygon()
    if union.geom_type == "Polygon":
        return union, []
    parts = sorted(union.geoms, key=lambda part: -part.area)
    crumbs = [part for part in parts[1:] if not len(thick_parts(np.array([part], dtype=object), tolerance_m)[0])]
    spots = shapely.point_on_surface(faces[mine])
    within = shapely.STRtree(spots).query(np.array(crumbs, dtype=object), predicate="contains")[1] if crumbs else ()
    return union, [mine[number] for number in within]


def _adopt(
    faces: Geometries,
    owners: list[list[int]],
    loose: NDArray[np.bool_],
    place: NDArray[np.int64],
    cover: Cover,
    rank: dict[int, int],
) -> None:
    """Give each loose face without an owner to a cell beside it: of those with much of its rim the lowest code."""
    i, j, length = shared_sides(faces)
    beside: dict[int, list[tuple[int, float]]] = {}
    for one, other, side in zip(i.tolist(), j.tolist(), length.tolist(), strict=True):
        beside.setdefault(one, []).append((other, side))
        beside.setdefault(other, []).append((one, side))
    waiting = [number for number in np.flatnonzero(loose).tolist() if not owners[number]]
    while waiting:
        chosen: dict[int, int] = {}
        for number in waiting:
            sides: dict[int, float] = {}
            for other, side in beside.get(number, []):
                for cell in owners[other]:
                    if cover.home[cell] == place[number]:
                        sides[cell] = sides.get(cell, 0.0) + side
            if sides:
                most = max(sides.values())
                chosen[number] = min((c for c in sides if sides[c] >= BESIDE * most), key=lambda cell: rank[cell])
        if not chosen:
            return
        for number, cell in chosen.items():
            owners[number] = [cell]
        waiting = [number for number in waiting if number not in chosen]
