"""Where labels go: points of an area with room, places around a point, and a place that nothing else has taken."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely

Points = npt.NDArray[np.float64]  #: (n, 2)
Boxes = npt.NDArray[np.float64]  #: (n, 4): low x, low y, high x, high y


def largest_part(geometry: shapely.Geometry) -> shapely.Polygon:
    """Of a polygon of several parts the largest, prepared for many questions."""
    parts = shapely.get_parts(geometry)
    largest: shapely.Polygon = parts[shapely.area(parts).argmax()]
    shapely.prepare(largest)
    return largest


def spots_inside(polygon: shapely.Polygon, avoid: Points, reach_m: float, steps: int = 40) -> tuple[Points, Points]:
    """Points of a lattice inside the polygon, and how fit each is to hold a name, in metres.

    Fit is far from the border and from the points to avoid (beyond ``reach_m`` is far enough) and near the middle.
    """
    west, south, east, north = polygon.bounds
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(west, east, steps), np.linspace(south, north, steps)))
    inside = shapely.contains_xy(polygon, x, y)
    if not inside.any():
        point = shapely.point_on_surface(polygon)
        return np.array([[point.x, point.y]]), np.zeros(1)
    x, y = x[inside], y[inside]
    room = np.minimum(shapely.distance(polygon.boundary, shapely.points(x, y)), reach_m)
    for spot in avoid:
        room = np.minimum(room, 0.6 * np.hypot(x - spot[0], y - spot[1]))
    middle = np.hypot(x - (west + east) / 2, y - (south + north) / 2)
    return np.column_stack([x, y]), room - 0.05 * middle


def roomy_point(geometry: shapely.Geometry, avoid: Points, reach_m: float) -> tuple[float, float]:
    """A point well inside the polygon, off its border and the points to avoid: where its name fits best."""
    spots, fitness = spots_inside(largest_part(geometry), avoid, reach_m)
    x, y = spots[fitness.argmax()]
    return float(x), float(y)


def spread(points: Points, busy: Points, radius: float) -> Points:
    """Where to put a label around each point: offsets of this length, each where the least is in the way.

    points, busy: (n, 2) on paper or screen; what is busy, the points themselves and labels already put count.
    """
    turns = np.linspace(0.6, 2 * np.pi + 0.6, 16, endpoint=False)
    ring = radius * np.column_stack([np.cos(turns), np.sin(turns)])
    offsets = np.zeros_like(points)
    for row, point in enumerate(points):
        trouble = np.vstack([busy, points, (points + offsets)[:row]])
        room = np.hypot(*(ring[:, None, :] + point - trouble[None, :, :]).transpose(2, 0, 1)).min(axis=1)
        offsets[row] = ring[room.argmax()]
    return offsets


def boxes_around(points: Points, wide: float, tall: float) -> Boxes:
    """Boxes of this size with the points in their middles."""
    half = np.array([wide, tall]) / 2
    return np.hstack([points - half, points + half])


def clashes(boxes: Boxes, taken: Boxes) -> npt.NDArray[np.bool_]:
    """Which of the boxes overlap any that is taken."""
    a, b = boxes[:, None, :], taken[None, :, :]
    over = (a[..., 0] < b[..., 2]) & (b[..., 0] < a[..., 2]) & (a[..., 1] < b[..., 3]) & (b[..., 1] < a[..., 3])
    return np.asarray(over.any(axis=1))
