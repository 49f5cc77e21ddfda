"""The ground of a simulated city, prepared for placing things on it: what is free, what runs where.

Shared by the simulation of components and of reports. ``Site`` knows streets with their carriageways, buildings,
waters and greens, and answers whether a point is dry land, and whether it lies beside the carriageway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Geometries = NDArray[np.object_]

ROADWAY_SHARE = 0.62  #: part of a street's width that is carriageway
LANE_EDGE_M = 0.8  #: what a lane has beside its carriageway, on each side


@dataclass
class Site:
    """The ground, prepared for placing points on it."""

    profile: Mapping[str, Any]
    city: BaseGeometry
    streets: gpd.GeoDataFrame  #: with roadway_m, the width of the carriageway
    houses: Geometries
    greens: Geometries
    rivers: Geometries
    rails: Geometries
    roadway: BaseGeometry
    water: BaseGeometry
    house_tree: shapely.STRtree
    junctions: pd.DataFrame = field(default_factory=pd.DataFrame)
    lots: list[Geometries] = field(default_factory=list)  #: ground already given to parking lots and the like

    @classmethod
    def of(cls, profile: Mapping[str, Any], areas: gpd.GeoDataFrame, barriers: gpd.GeoDataFrame) -> Site:
        """The site of the frames ``areas`` (first row: the city) and ``barriers``."""
        streets = barriers[barriers["kind"] == "street"].reset_index(drop=True)
        lane = (streets["grade"] == "lane").to_numpy()
        width = streets["width_m"].to_numpy(float)
        streets["roadway_m"] = np.where(lane, width - 2 * LANE_EDGE_M, width * ROADWAY_SHARE)

        def of_kind(kind: str) -> Geometries:
            return np.asarray(barriers.geometry.array[(barriers["kind"] == kind).to_numpy()], dtype=object)

        rivers = barriers[(barriers["kind"] == "water") & (barriers["grade"] == "river")]
        houses = of_kind("building")
        city = areas.loc[areas["code"].str.len().idxmin()].geometry
        lines = np.asarray(streets.geometry.array)
        site = cls(
            profile=profile,
            city=city,
            streets=streets,
            houses=houses,
            greens=of_kind("green"),
            rivers=np.asarray(rivers.geometry.array, dtype=object),
            rails=of_kind("rail"),
            roadway=shapely.union_all(shapely.buffer(lines, streets["roadway_m"].to_numpy() / 2, quad_segs=2)),
            water=shapely.union_all(of_kind("water")),
            house_tree=shapely.STRtree(houses),
        )
        for shape in (site.city, site.roadway, site.water):
            shapely.prepare(shape)
        site.junctions = _junctions(streets)
        return site

    def dry(self, xy: Floats) -> Flags:
        """Inside the city, and neither in water nor in a building."""
        inside = shapely.contains_xy(self.city, xy) & ~shapely.contains_xy(self.water, xy)
        built = self.house_tree.query(shapely.points(xy), predicate="intersects")[0]
        inside[built] = False
        return np.asarray(inside)

    def beside_roadway(self, xy: Floats) -> Flags:
        """Dry and not on any carriageway."""
        return self.dry(xy) & ~shapely.contains_xy(self.roadway, xy)

    def of_grades(self, grades: str) -> gpd.GeoDataFrame:
        """The streets of the grades in a blank-separated list."""
        return self.streets[self.streets["grade"].isin(grades.split())]


def along(
    lines: Geometries, every_m: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Floats, Floats, NDArray[np.int64]]:
    """Points along lines about every so many metres: line, place n × 2, direction n × 2, running number in line."""
    length = shapely.length(lines)
    phase = rng.random(len(lines))
    count = np.maximum(np.floor(length / every_m + phase), 0).astype(np.int64)
    line = np.repeat(np.arange(len(lines)), count)
    nth = np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count)
    at = (nth + 0.5 + rng.uniform(-0.12, 0.12, len(line))) * (length / np.maximum(count, 1))[line]
    place = shapely.get_coordinates(shapely.line_interpolate_point(lines[line], at))
    behind = shapely.get_coordinates(shapely.line_interpolate_point(lines[line], np.maximum(at - 1, 0)))
    ahead = shapely.get_coordinates(shapely.line_interpolate_point(lines[line], np.minimum(at + 1, length[line])))
    way = ahead - behind
    way /= np.maximum(np.hypot(way[:, 0], way[:, 1]), 1e-9)[:, None]
    return line, place, way, nth


def left_of(way: Floats) -> Floats:
    """The unit vectors to the left of directions n × 2."""
    return np.stack([-way[:, 1], way[:, 0]], axis=1)


def oblongs(centre: Floats, way: Floats, length_m: float, width_m: float) -> Geometries:
    """Rectangles around centres, their length along the directions."""
    ex, ey = way * length_m / 2, left_of(way) * width_m / 2
    ring = np.stack([centre - ex - ey, centre + ex - ey, centre + ex + ey, centre - ex + ey, centre - ex - ey], 1)
    return np.asarray(shapely.polygons(ring), dtype=object)


def random_in(polygons: Geometries, count: int, rng: np.random.Generator) -> Floats:
    """Random points in polygons, more in larger ones; up to ``count`` of them."""
    area = shapely.area(polygons)
    which = rng.choice(len(polygons), 4 * count, p=area / area.sum())
    low, high = shapely.bounds(polygons[which])[:, :2], shapely.bounds(polygons[which])[:, 2:]
    xy = low + rng.random((len(which), 2)) * (high - low)
    return np.asarray(xy[shapely.contains_xy(polygons[which], xy)][:count])


def _junctions(streets: gpd.GeoDataFrame) -> pd.DataFrame:
    """Where two streets (not lanes) meet: x, y, the directions and widths of both, one row per meeting."""
    main = streets[streets["grade"] != "lane"]
    lines = np.asarray(main.geometry.array)
    longer = shapely.buffer(lines, 0.8, cap_style="square", quad_segs=1)
    a, b = shapely.STRtree(longer).query(longer, predicate="intersects")
    a, b = a[a < b], b[a < b]
    meet = shapely.centroid(shapely.intersection(longer[a], longer[b]))
    far = shapely.length(shapely.shortest_line(meet, lines[a])) > 3
    a, b, meet = a[~far], b[~far], meet[~far]
    frame = pd.DataFrame(shapely.get_coordinates(meet), columns=["x", "y"])
    for name, row in (("a", a), ("b", b)):
        at = shapely.line_locate_point(lines[row], meet)
        ends = [
            shapely.get_coordinates(
                shapely.line_interpolate_point(lines[row], np.clip(at + step, 0, shapely.length(lines[row])))
            )
            for step in (-6, 6)
        ]
        way = ends[1] - ends[0]
        way /= np.maximum(np.hypot(way[:, 0], way[:, 1]), 1e-9)[:, None]
        frame[f"{name}x"], frame[f"{name}y"] = way[:, 0], way[:, 1]
        frame[f"{name}_m"] = main["width_m"].to_numpy()[row]
        frame[f"{name}_road_m"] = main["roadway_m"].to_numpy()[row]
    crossing = np.abs(frame["ax"] * frame["by"] - frame["ay"] * frame["bx"]) > 0.3
    frame = frame[crossing]
    again = (frame[["x", "y"]] / 12).round().duplicated()
    found: pd.DataFrame = frame[~again].reset_index(drop=True)
    return found
