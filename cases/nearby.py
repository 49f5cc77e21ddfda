"""The nearest cell of places beside the grid, and distances to the last bit as PostGIS takes them.

GEOS finds what is near. Where its distances leave open which cell is nearest, or whether one is within reach, they are
taken again by the steps of PostGIS (``lw_dist2d_pt_ptarray``): cells that share a corner, or part at next to no angle,
are equally far but for the rounding, and the same one must come first here and there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

CLOSE_M = 1e-6  #: far more than either's rounding
Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


def nearest(x: Floats, y: Floats, tree: shapely.STRtree, reach_m: float, fits: Any = None) -> tuple[Rows, Rows, Floats]:
    """The points that a shape of the tree is within reach of, the row of the nearest (of equals the lowest), metres.

    fits : of arrays of points and rows, which pairs are meant; all
    """
    points: Any = shapely.points(x, y)
    shapes: Any = tree.geometries
    at, row = tree.query(points, predicate="dwithin", distance=reach_m + CLOSE_M)
    if fits is not None:
        meant = fits(at, row)
        at, row = at[meant], row[meant]
    away: Any = shapely.distance(points[at], shapes[row])
    least = np.full(len(x), np.inf)
    np.minimum.at(least, at, away)
    first = away <= least[at] + CLOSE_M
    at, row, away = at[first], row[first], away[first]
    unsure = (np.bincount(at, minlength=len(x))[at] > 1) | (np.abs(away - reach_m) <= CLOSE_M)
    away[unsure] = _metres(x[at[unsure]], y[at[unsure]], shapes[row[unsure]])
    within = away <= reach_m
    at, row, away = at[within], row[within], away[within]
    order = np.lexsort((row, away, at))
    best = order[np.unique(at[order], return_index=True)[1]]
    return at[best], row[best], away[best]


def _metres(x: Floats, y: Floats, shapes: Any) -> Floats:
    """From each point to its shape, as st_distance says."""
    if not len(x):
        return np.empty(0)
    parts, part_of = shapely.get_parts(shapes, return_index=True)
    rings, ring_of = shapely.get_rings(parts, return_index=True)
    xy, vertex_of = shapely.get_coordinates(rings, return_index=True)
    edges = np.flatnonzero(vertex_of[1:] == vertex_of[:-1])
    of = part_of[ring_of][vertex_of[edges]]
    a, along, p = xy[edges], xy[edges + 1] - xy[edges], np.column_stack([x, y])[of]
    with np.errstate(invalid="ignore", divide="ignore"):  # of an edge without length the first end counts
        part = ((p - a) * along).sum(axis=1) / (along * along).sum(axis=1)
    end = np.where((part >= 1)[:, None], xy[edges + 1], a + part[:, None] * along)
    end = np.where((part >= 0)[:, None], end, a)
    away = p - end
    metres = np.sqrt((away * away).sum(axis=1))
    starts = np.diff(vertex_of[edges], prepend=-1) != 0  # where a ring begins, its first vertex counts of itself
    metres[starts] = np.minimum(metres[starts], np.sqrt(((p - a)[starts] ** 2).sum(axis=1)))
    on = ((a - p)[:, 1] * along[:, 0] == (a - p)[:, 0] * along[:, 1]) & (part >= 0) & (part < 1)
    metres[on] = 0.0
    least = np.minimum.reduceat(metres, np.flatnonzero(np.diff(of, prepend=-1)))
    least[shapely.intersects_xy(shapes, x, y)] = 0.0
    return least
