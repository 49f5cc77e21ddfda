"""The street network of a simulated city: main streets, then blocks halved again and again.

Main streets along and across the river make superblocks; each is halved across its longer side into street
blocks and those into lane blocks, the smaller the denser the city is there. Cuts are a little off the middle and
a little slanted, and end at the street they meet: T-junctions, as in towns that have grown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import LineString
from shapely.geometry.base import BaseGeometry

from grids.simulate_frame import Frame, Waters, density, to_city

Floats = NDArray[np.float64]

WIDTH_M = {"arterial": 38.0, "street": 20.0, "lane": 7.0}  #: from house front to house front
STREET_BLOCK_M = (150.0, 330.0)  #: side of a block between streets: densest, sparsest
LANE_BLOCK_M = (66.0, 185.0)  #: side of a block between lanes
OVERSHOOT_M = 0.6  #: lines that should meet are drawn this far across each other


@dataclass
class _Drawing:
    frame: Frame
    profile: Mapping[str, Any]
    rng: np.random.Generator
    names: list[tuple[str, str]]
    within: BaseGeometry
    rows: list[dict[str, Any]] = field(default_factory=list)
    lanes_of: dict[str, int] = field(default_factory=dict)
    at_bank: set[tuple[float, float]] = field(default_factory=set)

    def add(self, grade: str, name: tuple[str | None, str | None], uv: Any) -> None:
        line, drawn = self.frame.line(uv), self.frame.line(uv, beyond_m=OVERSHOOT_M)
        bank_m = self.profile["simulation"]["bank_road_m"]
        if grade != "lane":
            self.at_bank |= {(float(u), float(v)) for u, v in uv if abs(abs(v) - bank_m) < 1e-6}
        self.rows.append(
            {
                "grade": grade,
                "name_zh": name[0],
                "name_en": name[1],
                "width_m": WIDTH_M[grade],
                "geometry": line,
                "drawn": drawn,
            }
        )

    def next_name(self) -> tuple[str, str]:
        return self.names.pop(0) if self.names else (f"规划{len(self.rows)}路", f"Planned Road {len(self.rows)}")

    def lane_name(self, street: tuple[str, str]) -> tuple[str, str]:
        number = self.lanes_of[street[0]] = self.lanes_of.get(street[0], 0) + 1
        return f"{street[0]}{number}巷", f"{street[1]} Lane {number}"


def lay_streets(
    profile: Mapping[str, Any], frame: Frame, waters: Waters, within: BaseGeometry, rng: np.random.Generator
) -> tuple[gpd.GeoDataFrame, list[LineString], list[LineString]]:
    """Streets and bridges inside ``within`` (generously), the railway, and where to part the river.

    Returns the streets (grade, name_zh, name_en, width_m, geometry: where the street runs; drawn: the same a little
    longer, for making blocks), the railway's lines, and lines from where streets meet the bank road to the middle of
    the main river: no streets, but they part its surface, so that a community gets the water before its bank.
    All in the city's system. Streets and lanes end at water and railway, main streets cross them.
    """
    plan = profile["simulation"]
    names = [(str(zh), str(en)) for zh, en in plan["street_names"]]
    order = rng.permutation(len(names))
    drawing = _Drawing(frame, profile, rng, [names[k] for k in order], within)
    bank_m, (u_low, u_high), (v_low, v_high) = plan["bank_road_m"], plan["u_range_m"], plan["v_range_m"]
    for side, bank, far_m in ((-1, "south", v_low), (1, "north", v_high)):
        road = (plan["bank_road"][f"{bank}_zh"], plan["bank_road"][f"{bank}_en"])
        along = [(side * bank_m, road)]
        along += [(s["v_m"], (s["name_zh"], s["name_en"])) for s in plan["along"] if s["v_m"] * side > 0]
        along.sort(key=lambda entry: abs(entry[0]))
        across = [(s["u_m"], (s["name_zh"], s["name_en"])) for s in plan["across"] if s["bank"] in (bank, "both")]
        across.sort(key=lambda entry: entry[0])
        for v, name in along:
            drawing.add("arterial", name, [[u_low, v], [u_high, v]])
        for u, name in across:
            drawing.add("arterial", name, [[u, side * bank_m], [u, far_m]])
        v_lines = [*along, (far_m, along[-1][1])]
        u_lines = [(u_low, across[0][1]), *across, (u_high, across[-1][1])]
        for (v0, name), (v1, _) in pairwise(v_lines):
            for (u0, _), (u1, _) in pairwise(u_lines):
                corners = np.array([[u0, v0], [u1, v0], [u1, v1], [u0, v1]])
                if within.intersects(shapely.Polygon(frame.to_xy(corners))):
                    _halve(drawing, corners, "street", name)
    for street in plan["across"]:
        if street["bank"] == "both":
            name = (street["bridge_zh"], street["bridge_en"])
            drawing.add("arterial", name, [[street["u_m"], -bank_m], [street["u_m"], bank_m]])
    streets = gpd.GeoDataFrame(drawing.rows, geometry="geometry", crs=profile["srid"])
    rail = [frame.line(_smooth(plan["rail"]["line"]))] if "rail" in plan else []
    in_the_way = shapely.union_all(
        [*(shapely.buffer(p, 8) for p in waters.polygons), *(line.buffer(20) for line in rail)]
    )
    minor = (streets["grade"] != "arterial").to_numpy()
    for column in ("geometry", "drawn"):
        lines = np.asarray(streets[column].array, dtype=object)
        lines[minor] = shapely.difference(lines[minor], in_the_way)
        streets[column] = gpd.GeoSeries(lines, crs=profile["srid"])
    cuts = [frame.line([[u, 0.0], [u, v]], beyond_m=OVERSHOOT_M) for u, v in sorted(drawing.at_bank)]
    return streets[~streets.geometry.is_empty].reset_index(drop=True), rail, cuts


def _halve(drawing: _Drawing, corners: Floats, grade: str, street: tuple[str, str]) -> None:
    """Halve the quadrilateral until its sides suit the grade, then go on with lanes; draws the cuts.

    corners : 4 × 2, street coordinates, in the order low-low, high-low, high-high, low-high.
    """
    place = drawing.frame.to_xy(corners.mean(axis=0)[None])
    thick = float(density(drawing.profile, place)[0])
    along_m = (np.hypot(*(corners[1] - corners[0])) + np.hypot(*(corners[2] - corners[3]))) / 2
    across_m = (np.hypot(*(corners[3] - corners[0])) + np.hypot(*(corners[2] - corners[1]))) / 2
    dense, sparse = STREET_BLOCK_M if grade == "street" else LANE_BLOCK_M
    target_m = sparse + (dense - sparse) * thick
    longer = max(along_m, across_m)
    inside = drawing.within.intersects(shapely.Polygon(drawing.frame.to_xy(corners)))
    stops = longer < 1.5 * target_m or (grade == "lane" and longer < 3 * target_m and drawing.rng.random() < 0.16)
    if not inside or (thick < 0.04 and longer < 700) or stops:
        if grade == "street" and inside and thick >= 0.08:
            _halve(drawing, corners, "lane", street)
        return
    middle = drawing.rng.uniform(0.42, 0.58)
    slant = drawing.rng.normal(0, 0.035)
    if along_m >= across_m:
        low = corners[0] + (middle + slant) * (corners[1] - corners[0])
        high = corners[3] + (middle - slant) * (corners[2] - corners[3])
        halves = [[corners[0], low, high, corners[3]], [low, corners[1], corners[2], high]]
    else:
        low = corners[0] + (middle + slant) * (corners[3] - corners[0])
        high = corners[1] + (middle - slant) * (corners[2] - corners[1])
        halves = [[corners[0], corners[1], high, low], [low, high, corners[2], corners[3]]]
    name = drawing.next_name() if grade == "street" else drawing.lane_name(street)
    drawing.add(grade, name, [low, high])
    for half in halves:
        _halve(drawing, np.array(half), grade, name if grade == "street" else street)


def _smooth(corners: Any) -> Floats:
    """A polyline with its corners rounded (Chaikin, three times)."""
    line = np.asarray(corners, dtype=np.float64)
    for _ in range(3):
        inner = np.stack([0.75 * line[:-1] + 0.25 * line[1:], 0.25 * line[:-1] + 0.75 * line[1:]], axis=1)
        line = np.concatenate([line[:1], inner.reshape(-1, 2), line[-1:]])
    return line


def zone_rings(profile: Mapping[str, Any]) -> list[tuple[str, BaseGeometry]]:
    """Area code and hand-drawn ring, in the city's system, of each zone of the profile."""
    return [
        (zone["area"], shapely.Polygon(to_city(zone["ring"], profile["srid"])))
        for zone in profile["simulation"]["zone"]
    ]
