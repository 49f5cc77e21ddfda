"""Well-known binary as plain two-dimensional geometries: curves become chords, heights and measures are dropped.

GEOS knows neither curves nor surfaces of triangles; GDAL hands them over as they are in the file. Arcs are cut every
ARC_DEG degrees: at a radius of 100 m a chord is off by 15 mm at most.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

ARC_DEG = 2.0
Mask = npt.NDArray[np.bool_]
_HEAD = 5  #: bytes: order and type
DEEPEST = 16  #: geometries within geometries
_COLLECTION, _TRIANGLE = 7, 17


class Flat(NamedTuple):
    """Geometries and what was done to them, row by row."""

    geometry: npt.NDArray[np.object_]  #: shapely geometries in two dimensions, or None
    curved: Mask  #: had arcs, which are chords now
    z: Mask  #: had heights that were not all 0
    m: Mask  #: had measures that were not all 0
    unreadable: Mask  #: there was something that is no geometry


def flat(wkbs: npt.NDArray[np.object_]) -> Flat:
    """Plain geometries of an array of WKB (ISO or EWKB) or None. Never raises: what cannot be read is flagged."""
    given = np.array([wkb is not None for wkb in wkbs], dtype=bool)
    kind, z, m = _kinds(wkbs)
    curved = (kind > _COLLECTION) & (kind < 15)
    own = given & (kind >= _COLLECTION)
    plain = wkbs.copy()
    plain[~(given & (kind > 0) & (kind < _COLLECTION))] = None
    geometry: npt.NDArray[np.object_] = np.empty(len(wkbs), dtype=object)
    geometry[:] = shapely.from_wkb(plain, on_invalid="fix")
    for at in np.flatnonzero(own):
        try:
            geometry[at], curved[at] = linear(wkbs[at])
        except (ValueError, struct.error, IndexError, shapely.GEOSException):
            geometry[at] = None
    high = (z | m) & ~own
    if high.any():
        z[high], m[high] = _meant(geometry[high])
        geometry[high] = shapely.force_2d(geometry[high])
    return Flat(geometry, curved & given, z & given, m & given, given & shapely.is_missing(geometry))


def _meant(geometry: npt.NDArray[np.object_]) -> tuple[Mask, Mask]:
    """Whether any height, and any measure, is there and is not 0: drawings give every entity the height 0."""
    numbers, owner = shapely.get_coordinates(geometry, include_z=True, include_m=True, return_index=True)
    said = np.nan_to_num(numbers[:, 2:]) != 0
    found = [np.bincount(owner, weights=said[:, axis], minlength=len(geometry)) > 0 for axis in (0, 1)]
    return found[0], found[1]


def _kinds(wkbs: npt.NDArray[np.object_]) -> tuple[npt.NDArray[np.int64], Mask, Mask]:
    """The geometry type of each (0: none), and whether it has heights and measures."""
    blank = b"\1\0\0\0\0"
    heads = b"".join(wkb[:_HEAD] if wkb is not None and len(wkb) >= _HEAD else blank for wkb in wkbs)
    table = np.frombuffer(heads, dtype=np.dtype([("order", "u1"), ("type", "<u4")]))
    types = np.where(table["order"] == 1, table["type"], table["type"].byteswap()).astype(np.int64)
    odd = (types & 0x0FFFFFFF) // 1000
    z = (types & 0x80000000 > 0) | (odd == 1) | (odd == 3)
    m = (types & 0x40000000 > 0) | (odd == 2) | (odd == 3)
    kinds = (types & 0x0FFFFFFF) % 1000
    return np.where((odd > 3) | (kinds > _TRIANGLE) | (table["order"] > 1), 0, kinds), z, m


def linear(wkb: bytes) -> tuple[BaseGeometry, bool]:
    """One geometry of any type as a plain one in two dimensions, and whether it had arcs. ValueError if it is none."""
    reader = _Reader(bytes(wkb))
    return reader.geometry(0), reader.curved


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.curved, self.order, self.wide = data, 0, False, "<", 2

    def geometry(self, depth: int) -> Any:
        kind = self._head()
        if depth > DEEPEST:
            raise ValueError("nested too deep")
        if kind == 1:
            point = self._numbers(1)[0]
            return shapely.Point() if np.isnan(point).all() else shapely.Point(point)
        if kind in (2, 8):
            line = self._numbers(self._count())
            return shapely.LineString(self._arcs(line) if kind == 8 else line)
        if kind in (3, _TRIANGLE):
            rings = [self._numbers(self._count()) for _ in range(self._count())]
            return shapely.Polygon(rings[0], rings[1:]) if rings else shapely.Polygon()
        parts = [self.geometry(depth + 1) for _ in range(self._count())]
        if kind == 9:
            return _joined(parts)
        if kind == 10:
            rings = [shapely.get_coordinates(part) for part in parts]
            return shapely.Polygon(rings[0], rings[1:]) if rings else shapely.Polygon()
        makes: dict[int, Any] = {
            4: shapely.MultiPoint,
            5: shapely.MultiLineString,
            11: shapely.MultiLineString,
            6: shapely.MultiPolygon,
            12: shapely.MultiPolygon,
            15: shapely.MultiPolygon,
            16: shapely.MultiPolygon,
            _COLLECTION: shapely.GeometryCollection,
        }
        if kind not in makes:
            raise ValueError(f"geometry type {kind}")
        return makes[kind](parts)

    def _head(self) -> int:
        self.order = "<" if self.data[self.at] == 1 else ">"
        (kind,) = struct.unpack_from(f"{self.order}I", self.data, self.at + 1)
        self.at += _HEAD
        if kind & 0x20000000:  # EWKB: the number of its system follows
            self.at += 4
        odd = (kind & 0x0FFFFFFF) // 1000
        self.wide = 2 + (kind & 0x80000000 > 0 or odd in (1, 3)) + (kind & 0x40000000 > 0 or odd in (2, 3))
        return int((kind & 0x0FFFFFFF) % 1000)

    def _count(self) -> int:
        (count,) = struct.unpack_from(f"{self.order}I", self.data, self.at)
        self.at += 4
        if count > len(self.data):
            raise ValueError("more parts than bytes")
        return int(count)

    def _numbers(self, count: int) -> npt.NDArray[np.float64]:
        numbers = np.frombuffer(self.data, f"{self.order}f8", count * self.wide, self.at)
        self.at += count * self.wide * 8
        return numbers.reshape(count, self.wide)[:, :2].astype(np.float64)

    def _arcs(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        self.curved = True
        if len(points) < 3:
            return points
        parts = [points[:1]]
        parts += [arc(*points[at : at + 3])[1:] for at in range(0, len(points) - 2, 2)]
        return np.concatenate(parts)


def arc(start: npt.NDArray[np.float64], via: npt.NDArray[np.float64], end: npt.NDArray[np.float64]) -> Any:
    """Points along the arc through three, the first and last exactly; a circle if it ends where it starts."""
    if (start == end).all():
        centre = (start + via) / 2
        turn = 2 * np.pi
    else:
        (ax, ay), (bx, by) = via - start, end - start
        cross = ax * by - ay * bx
        if cross == 0 or abs(cross) < 1e-12 * np.hypot(ax, ay) * np.hypot(bx, by):
            return np.array([start, via, end])
        a, b = ax * ax + ay * ay, bx * bx + by * by
        centre = start + np.array([by * a - ay * b, ax * b - bx * a]) / (2 * cross)
        first, last = (np.arctan2(*(point - centre)[::-1]) for point in (start, end))
        turn = (last - first) % (2 * np.pi) if cross > 0 else -((first - last) % (2 * np.pi))
    steps = max(2, int(np.ceil(abs(np.degrees(turn)) / ARC_DEG)))
    begin = np.arctan2(*(start - centre)[::-1])
    angles = begin + turn * np.linspace(0, 1, steps + 1)
    radius = np.hypot(*(start - centre))
    points = centre + radius * np.column_stack([np.cos(angles), np.sin(angles)])
    points[0], points[-1] = start, end
    return points


def _joined(parts: list[BaseGeometry]) -> BaseGeometry:
    """The pieces of a compound curve as one line."""
    lines = [shapely.get_coordinates(part) for part in parts]
    return shapely.LineString(np.concatenate([lines[0], *(line[1:] for line in lines[1:])]) if lines else None)
