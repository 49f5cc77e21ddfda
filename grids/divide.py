"""Dividing a block into cells of equal area that are as compact as the block allows: balanced cuts.

A power diagram with equal areas, made compact by Lloyd's steps (:mod:`grids.power`), or, in a block that winds,
repeated halving by the shortest straight cut.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon

from grids.coverage import STEP_M, STEPS_PER_METRE
from grids.power import balanced, diagram, halving

Floats = NDArray[np.float64]

LLOYD_STEPS = 40


TURNS = (0.0, 0.5, 0.25, 0.75)  #: of a half turn: how the first strips may lie
ANGLES = 16  #: directions tried for a halving cut, beside those of the block and its buildings
SLACK = (0.0, 0.08, -0.08, 0.16, -0.16)  #: of a cell: how far a halving cut may shift to miss buildings
CROSSING_M = 15.0  #: so much longer may a cut be to spare one building
#: a block is divided well enough if no cell is farther from the others' area than this
GOOD_CV = 0.02


def balanced_cuts(block: Polygon, k: int, buildings: NDArray[Any] | None = None) -> NDArray[Any]:
    """The cuts that divide a block into k cells of equal area, as compact as can be: straight lines inside the block.

    block : in metres, one part, holes allowed, on the lattice; k : number of cells, at least 1. Polygonising the cuts
    with the block's boundary gives the cells. In a block with bays a cell of the power diagram may fall apart; then
    other beginnings are tried, and repeated halving by the shortest cut, and what divides best is taken: even areas
    first, compact cells second. Fragments may remain in a block that winds; the caller joins them.
    buildings : polygons that the cuts rather pass between, at the price of a tenth of a cell's area
    """
    if k < 2:
        return np.empty(0, dtype=object)
    x0, y0 = np.floor(block.bounds[:2])
    shift = np.array([x0, y0])
    local = shapely.transform(block, lambda xy: xy - shift)
    built = np.empty(0, dtype=object) if buildings is None else shapely.transform(buildings, lambda xy: xy - shift)
    houses = shapely.STRtree(built)
    best: tuple[float, NDArray[Any]] | None = None
    fair = False
    for turn in TURNS:
        cuts = _power_cuts(local, k, turn * np.pi)
        cost, good = _cost(local, cuts, k, houses)
        if best is None or cost < best[0]:
            best = cost, cuts
        fair = fair or good
        met = len(houses.query(best[1], predicate="intersects")[0]) > 0
        if fair and (k > 6 or turn > 0 or met):  # in small blocks the way the strips lie decides: two beginnings
            break
    assert best is not None
    if not fair or met:
        halves = shapely.union_all(_halving_cuts(local, k, houses), grid_size=STEP_M)
        cuts = np.asarray(shapely.get_parts(halves), dtype=object)  # where one ends on another, both have an end
        cost, _ = _cost(local, cuts, k, houses)
        if cost < best[0]:
            best = cost, cuts
    return np.asarray(shapely.transform(best[1], lambda xy: xy + shift), dtype=object)


def _within(block: Polygon, lines: Any) -> NDArray[Any]:
    """The stretches of lines inside a block, their ends on the lattice."""
    parts = shapely.get_parts(shapely.get_parts(shapely.intersection(lines, block)))
    return np.asarray(parts[shapely.length(parts) > 0], dtype=object)


def _pieces(block: Polygon, cuts: NDArray[Any]) -> NDArray[Any]:
    linework = shapely.union_all([shapely.boundary(block), *cuts], grid_size=STEP_M)
    return np.asarray(shapely.get_parts(shapely.polygonize([linework])), dtype=object)


def _cost(block: Polygon, cuts: NDArray[Any], k: int, houses: shapely.STRtree) -> tuple[float, bool]:
    """How bad a division is (lower is better), and whether it needs no better one."""
    pieces = _pieces(block, cuts)
    area = np.sort(shapely.area(pieces))[::-1]
    if len(area) < k or not len(cuts):
        return np.inf, False
    missed = area[:k] - area.sum() / k  # fragments beyond the k largest go to a neighbour: they are missing here
    compact = 4 * np.pi * shapely.area(pieces) / shapely.length(pieces) ** 2
    cv = float(np.sqrt((missed**2).mean()) / (area.sum() / k))
    crossings = len(houses.query(cuts, predicate="intersects")[0]) * CROSSING_M / float(shapely.length(cuts).sum())
    return 3 * max(cv - 0.05, 0.0) + cv + crossings - float(compact.mean()), cv < GOOD_CV


def _rings(block: Polygon) -> tuple[Floats, NDArray[np.int64]]:
    """The rings one after the other, closed, shell counter-clockwise, and where each begins."""
    rings = shapely.get_rings(shapely.orient_polygons(shapely.normalize(block)))
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    start = np.concatenate([np.flatnonzero(np.diff(ring, prepend=-1)), [len(xy)]]).astype(np.int64)
    return xy, start


def _power_cuts(block: Polygon, k: int, turn: float) -> NDArray[Any]:
    xy, start = _rings(block)
    sites, weights, _ = balanced(xy, start, k, turn, LLOYD_STEPS)
    segments = diagram(sites, weights, np.array([*xy.min(axis=0) - 10, *xy.max(axis=0) + 10]))
    segments = np.round(segments * STEPS_PER_METRE) / STEPS_PER_METRE  # ends that several cuts share become equal
    return _within(block, shapely.linestrings(segments.reshape(-1, 2, 2)))


def _halving_cuts(block: Polygon, k: int, houses: shapely.STRtree) -> list[Any]:
    """The block halved by the shortest straight cut that leaves two parts and spares buildings; each half again."""
    if k < 2:
        return []
    xy, start = _rings(block)
    near = houses.geometries[houses.query(block, predicate="intersects")]
    angles = _directions(block, near)
    slack = SLACK if len(near) else SLACK[:1]
    lines, costs = [], []
    for share in sorted({k // 2 / k, 1 - k // 2 / k}):
        for angle in angles:
            way, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
            far = 2 * np.ptp(xy, axis=0).sum() * across
            for shift in slack:
                middle = halving(xy, start, angle, share + shift / k) * way + (xy.mean(axis=0) @ across) * across
                lines.append(np.round(np.stack([middle - far, middle + far]) * STEPS_PER_METRE) / STEPS_PER_METRE)
                costs.append(100 * abs(shift))
    inside = np.asarray(shapely.intersection(shapely.linestrings(np.stack(lines)), block), dtype=object)
    stretches = shapely.get_num_geometries(inside)
    crossed = np.bincount(houses.query(inside, predicate="intersects")[0], minlength=len(inside))
    cost = shapely.length(inside) + CROSSING_M * crossed + np.array(costs) + 1e4 * (stretches - 1)
    for row in np.argsort(cost, kind="stable")[:3]:
        cuts = _within(block, inside[row])
        parts = _pieces(block, cuts)
        if len(parts) > 1:
            made = [*cuts]
            for part in parts:
                made += _halving_cuts(part, round(part.area / block.area * k), houses)
            return made
    return []


def _directions(block: Polygon, houses: NDArray[Any]) -> list[float]:
    """Directions (of the normal) for halving cuts: those of the block's sides and its houses; without houses, many."""
    if not len(houses):
        return [*(np.arange(ANGLES) * np.pi / ANGLES).tolist()]
    of_block, of_houses = _lie(shapely.get_rings(block)), _lie(shapely.get_exterior_ring(houses[:50]))
    apart = abs((of_block - of_houses + np.pi / 4) % (np.pi / 2) - np.pi / 4)
    angles = [of_houses] if apart < 0.05 else [of_houses, of_block]
    return [turn for angle in angles for turn in (angle, angle + np.pi / 2)]


def _lie(rings: Any) -> float:
    """The direction, up to right angles, in which most of the length of rings lies."""
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    edges = np.diff(xy, axis=0)[ring[1:] == ring[:-1]]
    turned = np.hypot(*edges.T) * np.exp(4j * np.arctan2(edges[:, 1], edges[:, 0]))
    return float(np.angle(turned.sum()) / 4)
