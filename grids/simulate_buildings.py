"""What stands between the streets of a simulated city: buildings in rows, greens, ponds and compound walls.

Every plot (a block without its streets) gets a use by chance and density: slabs, towers, courtyard houses, large
boxes, schools, sheds, village houses, green or nothing. Buildings stand in rows along the plot's own axis, set
back from the street, and wholly inside their plot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry import LineString, Point, Polygon
from shapely.geometry.base import BaseGeometry

from grids.simulate_frame import Frame, Waters, density, place_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Geometries = NDArray[np.object_]

USES = ("slab", "tower", "courtyard", "box", "school", "shed", "village", "green", "open")
#: share of each use by density of the plot: lower bound of the density, then shares in the order of USES
SHARES = (
    (0.72, (0.36, 0.06, 0.32, 0.17, 0.04, 0.00, 0.00, 0.03, 0.02)),
    (0.45, (0.54, 0.12, 0.09, 0.11, 0.05, 0.01, 0.01, 0.04, 0.03)),
    (0.22, (0.44, 0.08, 0.02, 0.06, 0.05, 0.09, 0.14, 0.07, 0.05)),
    (0.10, (0.12, 0.00, 0.00, 0.02, 0.02, 0.14, 0.36, 0.16, 0.18)),
    (0.00, (0.00, 0.00, 0.00, 0.00, 0.00, 0.03, 0.24, 0.41, 0.32)),
)
#: length, depth, pitch along, pitch between rows, jitter, share missing, setback; metres
LAYOUT = {
    "slab": (46.0, 12.5, 55.0, 29.0, 0.8, 0.03, 4.0),
    "tower": (25.0, 19.0, 46.0, 42.0, 2.0, 0.04, 8.0),
    "courtyard": (10.5, 8.5, 12.6, 13.0, 0.7, 0.09, 1.5),
    "box": (46.0, 28.0, 58.0, 42.0, 2.0, 0.05, 6.0),
    "school": (58.0, 13.0, 72.0, 46.0, 1.0, 0.15, 8.0),
    "shed": (58.0, 24.0, 70.0, 34.0, 1.0, 0.10, 6.0),
    "village": (12.0, 9.0, 19.0, 20.0, 2.2, 0.28, 3.0),
}


def build_up(
    profile: Mapping[str, Any],
    city: BaseGeometry,
    streets: gpd.GeoDataFrame,
    waters: Waters,
    at_station: tuple[Polygon, Polygon] | None,
    rail: Sequence[LineString],
    rng: np.random.Generator,
) -> gpd.GeoDataFrame:
    """Buildings, greens, ponds and walls of the city, with the columns of barriers (without data_source).

    city : the ground to fill; streets : grade, width_m and centre lines; at_station : see :func:`station`; all in
    the city's system. Nothing overlaps a street, a river or the railway; buildings do not overlap each other.
    """
    paved = shapely.union_all(
        shapely.buffer(np.asarray(streets.geometry.array), streets["width_m"].to_numpy() / 2, quad_segs=2)
    )
    taken = [paved, *(shapely.buffer(p, 0.5) for p in waters.polygons), *(line.buffer(16) for line in rail)]
    rows: list[dict[str, Any]] = []
    if at_station is not None:
        building, square = at_station
        building = max(shapely.get_parts(shapely.difference(building, paved)), key=lambda part: float(part.area))
        rows.append(_row("building", building, profile["simulation"]["rail"]["station_zh"], "station_en", profile))
        taken += [building.buffer(8), square]
    plots = shapely.get_parts(shapely.difference(city, shapely.union_all(taken)))
    plots = plots[shapely.area(plots) > 250]
    plots = np.asarray(plots[np.lexsort(shapely.bounds(plots).T[::-1])], dtype=object)
    middle = shapely.get_coordinates(shapely.point_on_surface(plots))
    use = _uses(profile, plots, middle, waters, rng)
    rows += _parks(profile, plots, use, rng)
    rows += [_row("green", plot) for plot in plots[use == "green"]]
    for name in LAYOUT:
        chosen = plots[use == name]
        if len(chosen):
            rows += [_row("building", house) for house in _houses(chosen, name, rng)]
    rows += [_row("wall", wall) for wall in _walls(plots[np.isin(use, ("slab", "tower", "school", "shed"))], rng)]
    return gpd.GeoDataFrame(pd.DataFrame(rows), geometry="geometry", crs=profile["srid"])


def station(profile: Mapping[str, Any], frame: Frame, rail: Sequence[LineString]) -> tuple[Polygon, Polygon] | None:
    """The station building and the square before it, on the river's side of the railway; None without railway."""
    if not rail or "station_zh" not in profile["simulation"]["rail"]:
        return None
    plan = profile["simulation"]["rail"]
    level_m = float(np.mean([v for _, v in plan["line"]]))
    at_m = rail[0].project(Point(frame.to_xy(np.array([[plan["station_u_m"], level_m]]))[0]))
    middle, ahead = shapely.get_coordinates(shapely.line_interpolate_point(rail[0], [at_m, at_m + 1]))
    along = ahead - middle
    away = np.array([-along[1], along[0]])
    if frame.to_uv((middle + 50 * away)[None])[0, 1] > frame.to_uv(middle[None])[0, 1]:
        away = -away

    def oblong(half_m: float, near_m: float, far_m: float) -> Polygon:
        return Polygon(
            [middle + s * half_m * along + d * away for s, d in ((-1, near_m), (1, near_m), (1, far_m), (-1, far_m))]
        )

    return oblong(85, 22, 52), oblong(110, 58, 165)


def _row(
    kind: str,
    geometry: BaseGeometry,
    name_zh: str | None = None,
    name_en: str | None = None,
    profile: Mapping[str, Any] | None = None,
    grade: str | None = None,
) -> dict[str, Any]:
    if profile is not None and name_en is not None:
        name_en = profile["simulation"]["rail"][name_en]
    return {
        "kind": kind,
        "grade": grade,
        "name_zh": name_zh,
        "name_en": name_en,
        "width_m": np.nan,
        "geometry": geometry,
    }


def _uses(
    profile: Mapping[str, Any], plots: Geometries, middle: Floats, waters: Waters, rng: np.random.Generator
) -> NDArray[np.str_]:
    thick = density(profile, middle)
    draw = rng.random(len(plots))
    use = np.full(len(plots), "open", dtype="<U10")
    upper = np.inf
    for bound, shares in SHARES:
        here = (thick >= bound) & (thick < upper)
        chosen = np.searchsorted(np.cumsum(shares)[:-1], draw[here], side="right")
        use[here] = np.asarray(USES)[chosen]
        upper = bound
    shore = shapely.union_all([shapely.buffer(p, 62) for p in waters.polygons])
    shapely.prepare(shore)
    use[shapely.contains_properly(shore, plots)] = "green"
    slight = shapely.area(plots) < 900
    use[slight & np.isin(use, ("slab", "tower", "box", "school", "shed"))] = "village"
    return use


def _parks(
    profile: Mapping[str, Any], plots: Geometries, use: NDArray[np.str_], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """The named parks: the large plots nearest to their places, some with a pond. Marks them as used."""
    rows = []
    area = shapely.area(plots)
    for park in profile["simulation"].get("park", []):
        distance = shapely.distance(plots, place_of(profile, park))
        fit = np.flatnonzero((area > 9000) & (use != "park") & (distance < 700))
        if not len(fit):
            continue
        best = fit[np.argmin(distance[fit] - np.minimum(area[fit], 40000) / 250)]
        use[best] = "park"
        rows.append(_row("green", plots[best], park["name_zh"]))
        rows[-1]["name_en"] = park["name_en"]
        if area[best] > 14000:
            inner = plots[best].buffer(-24)
            if inner.is_empty:
                continue
            shape = Polygon(_blob(inner.representative_point(), np.sqrt(area[best] / 14), rng)).intersection(inner)
            if shape.geom_type == "Polygon" and shape.area > 300:
                rows.append(_row("water", shape, grade="pond"))
    return rows


def _blob(centre: Any, radius_m: float, rng: np.random.Generator) -> Floats:
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = radius_m * (1 + 0.22 * np.sin(2 * angle + rng.uniform(0, 6)) + 0.1 * np.sin(3 * angle + rng.uniform(0, 6)))
    return np.stack([centre.x + 1.3 * radius * np.cos(angle), centre.y + 0.8 * radius * np.sin(angle)], axis=1)


def _houses(plots: Geometries, use: str, rng: np.random.Generator) -> Geometries:
    """Oblongs in rows inside the plots, along the side of each plot that runs more east-west."""
    length, depth, pitch_x, pitch_y, jitter, missing, setback = LAYOUT[use]
    inner = shapely.get_parts(shapely.buffer(plots, -setback, join_style="mitre"))
    inner = inner[shapely.area(inner) > 60]
    frame = shapely.get_coordinates(shapely.oriented_envelope(inner)).reshape(-1, 5, 2)
    sides = np.diff(frame[:, :3], axis=1)
    size = np.hypot(sides[:, :, 0], sides[:, :, 1])
    first = np.abs(sides[:, 0, 0]) / size[:, 0] >= np.abs(sides[:, 1, 0]) / size[:, 1]
    if use in ("box", "courtyard", "village", "shed"):
        first = size[:, 0] >= size[:, 1]
    along = np.where(first[:, None], sides[:, 0] / size[:, :1], sides[:, 1] / size[:, 1:])
    across = np.where(first[:, None], sides[:, 1] / size[:, 1:], sides[:, 0] / size[:, :1])
    size_x, size_y = np.where(first, size[:, 0], size[:, 1]), np.where(first, size[:, 1], size[:, 0])
    corner = frame[:, 0]
    shortest, oblongs, owner = length * 0.6, [], []
    for row in range(len(inner)):
        stretch = rng.uniform(0.92, 1.12)
        nx = max(1, round(size_x[row] / (pitch_x * stretch)))
        ny = max(1, round(size_y[row] / (pitch_y * stretch)))
        step_x, step_y = size_x[row] / nx, size_y[row] / ny
        wide = min(length * 1.3, step_x - (pitch_x - length) * 0.8)
        if wide < shortest and use not in ("courtyard", "village"):
            continue
        x, y = np.meshgrid((np.arange(nx) + 0.5) * step_x, (np.arange(ny) + 0.5) * step_y)
        x, y = x.ravel(), y.ravel()
        stays = rng.random(len(x)) >= missing
        x = x + rng.uniform(-jitter, jitter, len(x))
        y = y + rng.uniform(-jitter, jitter, len(y))
        half_x = np.minimum(wide, step_x - 1.2) / 2 * rng.uniform(0.86, 1.0, len(x)) - jitter * 0.5
        half_y = np.minimum(depth, step_y - 1.2) / 2 * rng.uniform(0.9, 1.0, len(x)) - jitter * 0.5
        if use == "school":
            stays &= y > size_y[row] * 0.38
        centre = corner[row] + x[:, None] * along[row] + y[:, None] * across[row]
        ex, ey = half_x[:, None] * along[row], half_y[:, None] * across[row]
        ring = np.stack([centre - ex - ey, centre + ex - ey, centre + ex + ey, centre - ex + ey], axis=1)
        oblongs.append(ring[stays])
        owner.append(np.full(int(stays.sum()), row))
    if not oblongs:
        return np.empty(0, dtype=object)
    rings, owners = np.concatenate(oblongs), np.concatenate(owner)
    houses = np.asarray(shapely.polygons(np.concatenate([rings, rings[:, :1]], axis=1)), dtype=object)
    shapely.prepare(inner)
    fits = shapely.contains_properly(inner[owners], houses)
    middle = rings.mean(axis=1, keepdims=True)
    for share in (0.85, 0.7, 0.55):  # what does not fit is built smaller, or not at all
        tight = np.flatnonzero(~fits)
        less = middle[tight] + (rings[tight] - middle[tight]) * share
        houses[tight] = shapely.polygons(np.concatenate([less, less[:, :1]], axis=1))
        fits[tight] = shapely.contains_properly(inner[owners[tight]], houses[tight])
    return np.asarray(houses[fits & (shapely.area(houses) > 28)], dtype=object)


def _walls(plots: Geometries, rng: np.random.Generator) -> Geometries:
    """Walls, 30 cm thick, around about a quarter of the larger compounds, each with a gate left open."""
    large = plots[(shapely.area(plots) > 9000)]
    chosen = large[rng.random(len(large)) < 0.28]
    inner = shapely.buffer(chosen, -1.8, join_style="mitre")
    inner = inner[shapely.get_type_id(inner) == 3]
    rings = shapely.get_exterior_ring(inner)
    around = shapely.length(rings)
    gate = rng.uniform(0, 1, len(rings))
    gates = shapely.buffer(shapely.line_interpolate_point(rings, gate * around), 5)
    walls = shapely.buffer(shapely.difference(rings, gates), 0.15, cap_style="flat", join_style="mitre")
    parts = shapely.get_parts(walls)
    return np.asarray(parts[shapely.get_type_id(parts) == 3], dtype=object)
