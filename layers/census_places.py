"""Where the rows of a census lie: cell, district, buildings, water; how near they are to others of their class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from gis.crs import Extent, diagnose
from layers.census_rules import Findings

#: greatest mean error of a position by accuracy class, metres (GB/T 30428.2 as practised: docs/census.md)
ACCURACY_M: Mapping[str, float] = {"A": 0.5, "B": 1.0, "C": 10.0}
BRIDGE_M = 3.0  #: beyond the half width of a street that what stands on a bridge may be
USUAL_WIDTH_M = 12.0  #: of a street whose width is not known
DIAGNOSED = 200  #: rows outside for which another reading is looked for
SINGLE = {"Point": 0, "LineString": 1, "Polygon": 3}  #: shapely's type ids


@dataclass(frozen=True, kw_only=True)
class Classes:
    """What the check must know of component classes, by code."""

    geometry: Mapping[str, str]
    accuracy_m: Mapping[str, float]
    never_on: Mapping[str, frozenset[str]]


class Places:
    """The city as the rows meet it. All frames in the city's system, areas and cells sorted by code."""

    def __init__(self, areas: gpd.GeoDataFrame, cells: gpd.GeoDataFrame, ground: gpd.GeoDataFrame, srid: int) -> None:
        cells = cells.sort_values("code")
        districts = areas[areas["code"].str.len() == 6].sort_values("code")
        self.cell_codes = cells["code"].to_numpy(dtype=object)
        self.district_codes = districts["code"].to_numpy(dtype=object)
        self._cells = shapely.STRtree(np.asarray(cells.geometry.array, dtype=object))
        self._districts = shapely.STRtree(np.asarray(districts.geometry.array, dtype=object))
        self.extent = Extent.of(districts if len(districts) else areas, srid)
        self.box = shapely.box(*areas.total_bounds)
        kinds = {kind: ground[ground["kind"] == kind] for kind in ("building", "water", "street")}
        polygons = {kind: kinds[kind].geometry for kind in ("building", "water")}
        self._ground = {
            kind: shapely.STRtree(np.asarray(shapes[shapely.get_dimensions(shapes.array) == 2].array, dtype=object))
            for kind, shapes in polygons.items()
        }
        streets = np.asarray(kinds["street"].geometry.array, dtype=object)
        half = np.where(shapely.get_dimensions(streets) == 2, 0.0, kinds["street"]["width_m"].fillna(USUAL_WIDTH_M) / 2)
        self._streets, self._reach_m = shapely.STRtree(streets), np.asarray(half, float) + BRIDGE_M

    def judge(self, rows: pd.DataFrame, classes: Classes, found: Findings) -> None:
        """Add ``cell_code``, ``district``, ``x``, ``y`` to rows of component_rows; find faults of their places.

        The cell is that of the point, of lines and polygons that of a point on them; on a shared border the lowest
        code. x, y: that point, metres.
        """
        shapes = rows["geometry"].to_numpy(dtype=object)
        kinds = rows["class_code"].map(classes.geometry)
        there = ~shapely.is_missing(shapes)
        wanted = kinds.map(SINGLE).to_numpy(dtype=float)
        fits = ~there | np.isnan(wanted) | (shapely.get_type_id(shapes) == wanted)
        names = [getattr(shape, "geom_type", None) for shape in shapes[~fits]]
        found.add(
            "geometry_type",
            ~fits,
            field="geometry",
            values=pd.Series(_spread(~fits, names)),
            en=[f"the class is drawn as {kind}" for kind in kinds[~fits]],
            zh=[f"该类别应绘制为 {kind}" for kind in kinds[~fits]],
        )
        broken = there & ~shapely.is_valid(shapes)
        reasons = shapely.is_valid_reason(shapes[broken]).tolist()
        found.add("invalid_geometry", broken, field="geometry", en=reasons, zh=reasons)
        points = _points(shapes, broken)
        rows["x"], rows["y"] = shapely.get_x(points), shapely.get_y(points)
        cell = _lowest(self._cells, points)
        rows["cell_code"] = _named(self.cell_codes, cell)
        district = np.full(len(rows), None, dtype=object)
        inside = cell >= 0
        district[inside] = [code[:6] for code in self.cell_codes[cell[inside]]]
        left = np.flatnonzero(~inside & ~shapely.is_missing(points))
        home = _lowest(self._districts, points[left])
        district[left[home >= 0]] = self.district_codes[home[home >= 0]]
        rows["district"] = district
        known = pd.notna(district)
        outside = ~shapely.is_missing(points) & ~known
        readings = self._readings(points[outside])
        found.add("outside", outside, field="geometry", values=pd.Series(_spread(outside, _said(points[outside]))),
                  en=[en for en, _ in readings], zh=[zh for _, zh in readings])  # fmt: skip
        found.add("no_cell", known & ~inside, field="geometry")
        self._codes(rows, found)
        for ground in ("building", "water"):
            shunned = {code for code, never in classes.never_on.items() if ground in never}
            never = rows["class_code"].isin(shunned).to_numpy()
            found.add(f"on_{ground}", self._stands_on(ground, points, never & known), field="geometry")

    def _readings(self, points: Any) -> list[tuple[str | None, str | None]]:
        """For points outside: how else the numbers could be read."""
        said: list[tuple[str | None, str | None]] = [(None, None)] * len(points)
        for at, point in enumerate(points[:DIAGNOSED]):
            found = diagnose(point.x, point.y, self.extent.srid, self.extent)
            if found:
                said[at] = (f"it would fit as: {found[0].en}", f"若按“{found[0].zh}”读取则相符")
        return said

    def _codes(self, rows: pd.DataFrame, found: Findings) -> None:
        code = rows["code"]
        has = code.notna().to_numpy()
        if not has.any():
            return
        texts = code[has]
        other_class = np.zeros(len(rows), dtype=bool)
        other_class[has] = ("C" + texts.str[6:-6]).to_numpy() != rows["class_code"][has].to_numpy()
        other_class &= rows["class_code"].notna().to_numpy()
        found.add("code_class", other_class, field="code", values=code)
        elsewhere = np.zeros(len(rows), dtype=bool)
        elsewhere[has] = texts.str[:6].to_numpy() != rows["district"][has].to_numpy()
        elsewhere &= rows["district"].notna().to_numpy()
        places = rows["district"][elsewhere]
        found.add(
            "code_district",
            elsewhere,
            field="code",
            values=code,
            en=[f"the place is in {place}" for place in places],
            zh=[f"所在位置属于 {place}" for place in places],
        )

    def _stands_on(self, ground: str, points: Any, asked: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of the points lie inside a building, or in water where no street passes over it."""
        on = np.zeros(len(points), dtype=bool)
        at = np.flatnonzero(asked)
        if not len(at) or not len(self._ground[ground].geometries):
            return on
        hit = np.unique(self._ground[ground].query(points[at], predicate="within")[0])
        on[at[hit]] = True
        if ground == "water" and len(hit) and len(self._streets.geometries):
            wet = at[hit]
            far = float(self._reach_m.max())
            point, street = self._streets.query(points[wet], predicate="dwithin", distance=far)
            near = shapely.distance(points[wet[point]], self._streets.geometries[street]) <= self._reach_m[street]
            on[wet[np.unique(point[near])]] = False
        return on


def _points(shapes: Any, broken: NDArray[np.bool_]) -> Any:
    """The points themselves, of lines and polygons a point on them, of broken ones none."""
    points: Any = np.where(shapely.get_type_id(shapes) == 0, shapes, None)
    rest = np.flatnonzero((shapely.get_type_id(shapes) > 0) & ~broken)
    points[rest] = shapely.point_on_surface(shapes[rest])
    return points


def _lowest(tree: shapely.STRtree, points: Any) -> NDArray[np.int64]:
    """For each point the first polygon of the tree that covers it, -1 for none."""
    owner = np.full(len(points), len(tree.geometries), dtype=np.int64)
    if len(points) and len(tree.geometries):
        point, polygon = tree.query(points, predicate="intersects")
        np.minimum.at(owner, point, polygon)
    owner[owner == len(tree.geometries)] = -1
    return owner


def _named(codes: Any, at: NDArray[np.int64]) -> NDArray[Any]:
    """The code at each number, None at -1."""
    known: NDArray[Any] = np.full(len(codes) + 1, None, dtype=object)
    known[: len(codes)] = codes
    return np.asarray(known[at], dtype=object)


def _spread(where: NDArray[np.bool_], values: list[Any]) -> NDArray[Any]:
    column = np.full(len(where), None, dtype=object)
    column[where] = values
    return column


def _said(points: Any) -> list[str]:
    return [f"{point.x:.10g}, {point.y:.10g}" for point in points]


# ── near each other ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Spots:
    """Many points of many classes, as arrays of one length."""

    x: NDArray[np.float64]  #: metres
    y: NDArray[np.float64]
    kind: NDArray[np.int32]  #: number of the class, -1: none

    def of(self, at: NDArray[Any]) -> Spots:
        """Some of them."""
        return Spots(x=self.x[at], y=self.y[at], kind=self.kind[at])


def near_in_file(spots: Spots, within_m: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64], Any]:
    """Rows whose nearest other row of the class is within the class's metres and comes before them.

    within_m : by number of the class. Returns row, the other row, metres; one line per row at most.
    """
    mine: list[Any] = []
    for kind, at in _by_kind(spots):
        tree = cKDTree(np.column_stack([spots.x[at], spots.y[at]]))
        metres, other = tree.query(
            tree.data, k=2, distance_upper_bound=np.nextafter(within_m[kind], np.inf), workers=-1
        )
        own = np.arange(len(at))[:, None]
        metres = np.where(other == own, np.inf, metres)
        best = metres.argmin(axis=1)
        metres, other = metres[own[:, 0], best], other[own[:, 0], best]
        late = np.flatnonzero(np.isfinite(metres) & (other < own[:, 0]))
        mine.append((at[late], at[other[late]], metres[late]))
    return _joined(mine)


def near_in_inventory(
    spots: Spots, inventory: Spots, own: NDArray[np.int64], within_m: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], Any]:
    """Rows within the class's metres of a component of their class that is not theirs.

    own : for each row the number of its component in ``inventory``, -1 for none. Returns row, component, metres.
    """
    mine: list[Any] = []
    theirs = dict(_by_kind(inventory))
    for kind, at in _by_kind(spots):
        if kind not in theirs:
            continue
        there = theirs[kind]
        tree = cKDTree(np.column_stack([inventory.x[there], inventory.y[there]]))
        metres, other = tree.query(
            np.column_stack([spots.x[at], spots.y[at]]),
            k=[1, 2],
            distance_upper_bound=np.nextafter(within_m[kind], np.inf),
            workers=-1,
        )
        found = np.isfinite(metres)
        component = np.where(found, there[np.minimum(other, len(there) - 1)], -1)
        metres = np.where(found & (component != own[at][:, None]), metres, np.inf)
        best = metres.argmin(axis=1)
        rows = np.arange(len(at))
        close = np.flatnonzero(np.isfinite(metres[rows, best]))
        mine.append((at[close], component[close, best[close]], metres[close, best[close]]))
    return _joined(mine)


def nearest_pairs(
    spots: Spots, inventory: Spots, within_m: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows and components of one class matched one to one by nearness.

    within_m : by row; NaN for rows that are not matched so. A pair is decided when each is the other's nearest and
    every other candidate of either is at least twice as far; rows and components at one and the same place, as many of
    each, are paired in their order. Returns row, component of the pairs, and the rows that have candidates but no
    decision.
    """
    pairs: list[Any] = []
    unsure: list[NDArray[np.int64]] = []
    theirs = dict(_by_kind(inventory))
    for kind, every in _by_kind(spots):
        at = every[np.isfinite(within_m[every])]
        if kind not in theirs or not len(at):
            continue
        there = theirs[kind]
        rows, others = _same_place(spots, at, inventory, there)
        pairs.append((rows, others, np.zeros(len(rows))))
        at, there = np.setdiff1d(at, rows, assume_unique=True), np.setdiff1d(there, others, assume_unique=True)
        if not len(at) or not len(there):
            continue
        here = np.column_stack([spots.x[at], spots.y[at]])
        tree_here, tree_there = cKDTree(here), cKDTree(np.column_stack([inventory.x[there], inventory.y[there]]))
        metres, other = tree_there.query(here, k=[1, 2], workers=-1)
        back, mine = tree_here.query(tree_there.data, k=[1, 2], workers=-1)
        close = metres[:, 0] <= within_m[at]
        first = np.minimum(other[:, 0], len(there) - 1)
        own = np.arange(len(at))
        clear = (mine[first, 0] == own) & (metres[:, 1] >= 2 * metres[:, 0]) & (back[first, 1] >= 2 * metres[:, 0])
        clear &= (metres[:, 1] > metres[:, 0]) & (back[first, 1] > metres[:, 0])
        decided = np.flatnonzero(close & clear)
        pairs.append((at[decided], there[first[decided]], metres[decided, 0]))
        taken = np.zeros(len(there), dtype=bool)
        taken[first[decided]] = True
        rest = np.flatnonzero(close & ~clear)
        second = np.minimum(other[rest, 1], len(there) - 1)
        free = ~taken[first[rest]] | ((metres[rest, 1] <= within_m[at[rest]]) & ~taken[second])
        unsure.append(at[rest[free]])
    row, component, _ = _joined(pairs)
    return row, component, np.sort(np.concatenate(unsure)) if unsure else np.zeros(0, dtype=np.int64)


def _same_place(spots: Spots, at: Any, inventory: Spots, there: Any) -> tuple[Any, Any]:
    """Pairs at one and the same place, where as many rows as components stand there."""
    frames = []
    for points, rows in ((spots, at), (inventory, there)):
        frame = pd.DataFrame({"x": points.x[rows], "y": points.y[rows], "at": rows})
        of = frame.groupby(["x", "y"])["at"]
        frames.append(frame.assign(rank=of.cumcount(), many=of.transform("size")))
    both = frames[0].merge(frames[1], on=["x", "y", "rank", "many"])
    return both["at_x"].to_numpy(np.int64), both["at_y"].to_numpy(np.int64)


def _by_kind(spots: Spots) -> Any:
    """Number of the class and the positions of its points, in order; points that are none are left out."""
    good = np.flatnonzero((spots.kind >= 0) & np.isfinite(spots.x))
    order = good[np.argsort(spots.kind[good], kind="stable")]
    kinds, starts = np.unique(spots.kind[order], return_index=True)
    return zip(kinds.tolist(), np.split(order, starts[1:]), strict=True) if len(kinds) else []


def _joined(parts: list[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    row, other, metres = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(row, kind="stable")
    return row[order].astype(np.int64), other[order].astype(np.int64), metres[order]
