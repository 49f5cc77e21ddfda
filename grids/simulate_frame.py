"""Street coordinates of a simulated city: metres along its main river and metres away from it.

``u`` runs downstream along the axis of the river, ``v`` to its left, 0 in the middle of the water. A straight line
in (u, v) becomes a street that bends with the river, less so the farther away, and wanders a little. The map is
smooth and does not fold as long as bends and noise are gentle (tens of metres over kilometres).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from scipy.interpolate import CubicSpline
from shapely.geometry import LineString, Point, Polygon
from shapely.geometry.base import BaseGeometry

from gis.errors import Invalid

Floats = NDArray[np.float64]

BEYOND_M = 2200  #: rivers run on this far beyond the streets, so that they part the land for certain


@lru_cache
def _transformer(source: int, target: int) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def to_city(lon_lat: Any, srid: int) -> Floats:
    """Geodetic CGCS2000 degrees, n × 2 (lon, lat), as metres in the city's system, n × 2 (east, north)."""
    degrees = np.atleast_2d(np.asarray(lon_lat, dtype=np.float64))
    return np.stack(_transformer(4490, srid).transform(degrees[:, 0], degrees[:, 1]), axis=1)


def to_lon_lat(xy: Floats, srid: int) -> Floats:
    """Metres in the city's system, n × 2, as geodetic CGCS2000 degrees, n × 2 (lon, lat)."""
    return np.stack(_transformer(srid, 4490).transform(xy[:, 0], xy[:, 1]), axis=1)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The map from street coordinates (u, v) to the city's metres."""

    origin: Floats  #: east, north of u = v = 0 on the axis
    axis: Floats  #: unit vector downstream
    bends: CubicSpline  #: offset of the river from the axis, metres, by u
    reach_m: float  #: how far the bends are felt
    noise_m: Floats  #: amplitude of each wave
    waves: Floats  #: wave vectors, one row each
    phases: Floats  #: phase of each wave, for each of the two directions

    @classmethod
    def of(cls, profile: Mapping[str, Any], rng: np.random.Generator) -> Frame:
        """The frame of a city profile: river line, reach and noise under ``simulation``."""
        plan = profile["simulation"]
        if not plan["river"]:
            raise Invalid("A simulated city needs a river to lie at.", "模拟城市需要一条河流作为骨架。")
        line = to_city(plan["river"][0]["line"], profile["srid"])
        axis = (line[-1] - line[0]) / np.hypot(*(line[-1] - line[0]))
        origin = line.mean(axis=0)
        along = (line - origin) @ axis
        across = (line - origin) @ np.array([-axis[1], axis[0]])
        angle = rng.uniform(0, 2 * np.pi, len(plan["wave_m"]))
        length = 2 * np.pi / np.asarray(plan["wave_m"], dtype=np.float64)
        return cls(
            origin=origin,
            axis=axis,
            bends=CubicSpline(along, across),
            reach_m=float(plan["reach_m"]),
            noise_m=np.asarray(plan["noise_m"], dtype=np.float64),
            waves=np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1),
            phases=rng.uniform(0, 2 * np.pi, (len(length), 2)),
        )

    def to_xy(self, uv: Floats) -> Floats:
        """Street coordinates n × 2 as metres in the city's system n × 2."""
        u, v = uv[:, 0], uv[:, 1]
        across = v + self.bends(u) * np.exp(-((v / self.reach_m) ** 2))
        angle = uv @ self.waves.T
        strength = 1 - np.exp(-((v / 800) ** 2))
        shift = np.stack([(np.sin(angle + self.phases[:, k]) @ self.noise_m) * strength for k in (0, 1)], axis=1)
        normal = np.array([-self.axis[1], self.axis[0]])
        return np.asarray(self.origin + u[:, None] * self.axis + across[:, None] * normal + shift)

    def to_uv(self, xy: Floats) -> Floats:
        """The inverse of :meth:`to_xy`, by iteration; exact to a millimetre inside the city."""
        turn = np.stack([self.axis, [-self.axis[1], self.axis[0]]], axis=1)
        uv = (xy - self.origin) @ turn
        for _ in range(40):
            uv = uv + (xy - self.to_xy(uv)) @ turn
        return np.asarray(uv)

    def line(self, uv: Any, *, step_m: float = 20.0, beyond_m: float = 0.0) -> LineString:
        """A polyline given in street coordinates as a line on the ground, bent, a vertex every ``step_m``.

        ``beyond_m`` lengthens both ends, so that lines that should meet do cross.
        """
        corner = np.asarray(uv, dtype=np.float64)
        if beyond_m:
            corner = corner.copy()
            for end, inner in ((0, 1), (-1, -2)):
                way = corner[end] - corner[inner]
                corner[end] = corner[end] + way / np.hypot(*way) * beyond_m
        points = [corner[:1]]
        for a, b in pairwise(corner):
            pieces = max(1, int(np.ceil(np.hypot(*(b - a)) / step_m)))
            share = np.arange(1, pieces + 1)[:, None] / pieces
            points.append(a + share * (b - a))
        return LineString(self.to_xy(np.concatenate(points)))


@dataclass(frozen=True, kw_only=True)
class Waters:
    """The rivers of a simulated city."""

    polygons: list[BaseGeometry]  #: water surface of each river, main river first, not overlapping
    middles: list[LineString]  #: middle line of each


def lay_rivers(profile: Mapping[str, Any], frame: Frame) -> Waters:
    """The rivers of the profile: the main one along v = 0, the others along their own lines."""
    plan = profile["simulation"]
    half_m = plan["river"][0]["width_m"] / 2
    u = np.arange(plan["u_range_m"][0] - BEYOND_M, plan["u_range_m"][1] + BEYOND_M, 25.0)
    half = half_m * (1 + 0.10 * np.sin(u / 870) + 0.05 * np.sin(u / 310 + 1))
    left = frame.to_xy(np.stack([u, half], axis=1))
    right = frame.to_xy(np.stack([u, -half], axis=1))
    main = Polygon(np.concatenate([left, right[::-1]]))
    polygons: list[BaseGeometry] = [main]
    middles = [LineString(frame.to_xy(np.stack([u, np.zeros(len(u))], axis=1)))]
    for river in plan["river"][1:]:
        line = to_city(river["line"], profile["srid"])
        along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
        curve = CubicSpline(along, line)
        middle = LineString(curve(np.append(np.arange(0, along[-1], 20.0), along[-1])))
        polygons.append(shapely.difference(middle.buffer(river["width_m"] / 2, cap_style="flat"), main))
        middles.append(middle)
    return Waters(polygons=polygons, middles=middles)


def density(profile: Mapping[str, Any], xy: Floats) -> Floats:
    """How dense the city is at each point, 0 … 1: the centres of the profile, fading with distance."""
    open_share = np.ones(len(xy))
    for centre in profile["simulation"]["centre"]:
        place = to_city([[centre["lon"], centre["lat"]]], profile["srid"])[0]
        distance = np.hypot(*(xy - place).T) / centre["reach_m"]
        open_share *= 1 - centre["weight"] * np.exp(-(distance**2))
    return 1 - open_share


def place_of(profile: Mapping[str, Any], entry: Mapping[str, Any]) -> Point:
    """The point of a profile entry with ``lon`` and ``lat``, in the city's system."""
    return Point(to_city([[entry["lon"], entry["lat"]]], profile["srid"])[0])
