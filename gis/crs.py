"""Coordinate systems: the city's in metres, Gauss-Krüger zones, snapping, and how else numbers could be read.

Axis order is always x = east or longitude, y = north or latitude, whatever the register says; degrees for
geographic systems, metres (or the system's own unit) for projected ones. A system is named by its EPSG
number; the two scrambled Chinese web-map systems have none and get numbers of our own: GCJ02 and BD09.
"Geodetic" means EPSG:4326; CGCS2000 (EPSG:4490) is held equal to it, as PROJ does: the two differ by less
than a metre, below what phone positions and GCJ-02 deserve.

Limits: two dimensions only. Nothing here guesses: diagnose() proposes readings, nobody applies them unasked.
A position in GCJ-02 that is declared as geodetic and lies inside the city cannot be noticed by anyone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from geopandas import GeoDataFrame, GeoSeries
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError
from shapely.geometry.base import BaseGeometry

from gis.errors import UnfitCoordinates
from gis.gcj import Bounds, FloatArray, from_bd09, from_gcj02, to_bd09, to_gcj02

GEODETIC = 4326
GCJ02 = 910002  #: 火星坐标 (AutoNavi, Tencent, Google China); degrees; no EPSG number exists
BD09 = 910009  #: 百度坐标, GCJ-02 shifted once more; degrees; no EPSG number exists
SCRAMBLED = frozenset({GCJ02, BD09})
_SCRAMBLE = {GCJ02: to_gcj02, BD09: to_bd09}
_UNSCRAMBLE = {GCJ02: from_gcj02, BD09: from_bd09}

SNAP = 2.0**-10  #: metres; multiples of it below 2**26 m have exact cross products in double arithmetic

MARGIN_DEG = 1.5  #: how far beyond a system's area of use numbers are still taken (see number_bounds)


# ── systems ────────────────────────────────────────


@lru_cache(maxsize=512)
def crs_of(srid: int) -> CRS:
    """The system of an EPSG number; UnfitCoordinates when it is unknown, not flat, or in odd units.

    For GCJ-02 and BD-09 it answers EPSG:4326, whose axes and unit they share.
    """
    if srid in SCRAMBLED:
        return crs_of(GEODETIC)
    try:
        system = CRS.from_epsg(int(srid))
    except (CRSError, ValueError, OverflowError) as error:
        raise _unfit_system(srid, "is not a coordinate system known here", "不是已知的坐标系") from error
    if not (system.is_projected or system.is_geographic) or len(system.axis_info) != 2:
        raise _unfit_system(srid, "is not a flat (two-dimensional) system", "不是二维坐标系")
    if system.is_geographic and system.axis_info[0].unit_name != "degree":
        raise _unfit_system(srid, "is not measured in degrees", "不以度为单位")
    return system


def _unfit_system(srid: int, en: str, zh: str) -> UnfitCoordinates:
    return UnfitCoordinates(
        f"EPSG:{srid} {en}",
        f"EPSG:{srid} {zh}",
        mend=f"use an EPSG number, {GCJ02} for GCJ-02 or {BD09} for BD-09",
        mend_zh=f"请使用 EPSG 编号；GCJ-02 用 {GCJ02}，BD-09 用 {BD09}",
        srid=srid,
    )


def is_metric(srid: int) -> bool:
    """Whether both axes of the system are measured in metres."""
    system = crs_of(srid)
    return bool(system.is_projected and all(axis.unit_name == "metre" for axis in system.axis_info))


def city_crs(srid: int) -> CRS:
    """The city's own system; UnfitCoordinates unless it is projected and in metres."""
    if srid in SCRAMBLED or not is_metric(srid):
        raise _unfit_system(srid, "is not measured in metres, as a city's must be", "不以米为单位")
    return crs_of(srid)


def in_metres(frame: GeoDataFrame) -> GeoDataFrame:
    """The same frame, or UnfitCoordinates if lengths in it would not be metres (or it names no system)."""
    system = frame.crs
    if system is None or not system.is_projected or system.axis_info[0].unit_name != "metre":
        name = "no coordinate system" if system is None else system.name
        raise UnfitCoordinates(
            f"the geometries are in {name}, not in metres",
            f"几何数据的坐标系为 {name}，不以米为单位",
            mend="bring the frame to the city's system first (frame.to_crs)",
            mend_zh="请先转换到城市坐标系",
            crs=name,
        )
    return frame


@lru_cache(maxsize=512)
def transformer(from_srid: int, to_srid: int) -> Transformer:
    """The cached PROJ transformation between two EPSG systems, x = east. Safe to share between threads."""
    try:
        return Transformer.from_crs(crs_of(from_srid), crs_of(to_srid), always_xy=True)
    except ProjError as error:  # 23 systems of the register are made by a method that PROJ does not have
        raise _unfit_system(from_srid, f"cannot be brought to EPSG:{to_srid}", f"无法转换到 EPSG:{to_srid}") from error


@lru_cache(maxsize=512)
def number_bounds(srid: int) -> Bounds:
    """(min x, min y, max x, max y) of numbers that can be meant in this system.

    The register's area of use, widened by MARGIN_DEG degrees because cities reach over zone borders (Ankang's
    east lies 0.7° beyond its zone), as a box in the system's own unit. Worldwide systems: the whole world.
    """
    if srid in SCRAMBLED:
        return -180.0, -90.0, 180.0, 90.0
    system = crs_of(srid)
    area = system.area_of_use
    west, south, east, north = area.bounds if area is not None else (-180.0, -90.0, 180.0, 90.0)
    if west <= east and east - west < 359:
        west, east = max(west - MARGIN_DEG, -180.0), min(east + MARGIN_DEG, 180.0)
        south, north = max(south - MARGIN_DEG, -90.0), min(north + MARGIN_DEG, 90.0)
    if system.is_geographic:
        return (west, south, east, north) if west <= east else (-180.0, south, 180.0, north)
    try:
        box = transformer(GEODETIC, srid).transform_bounds(west, south, east, north)
    except ProjError:
        box = (np.nan,) * 4
    low_x, low_y, high_x, high_y = (float(side) for side in box)
    if not np.isfinite(box).all():  # its own area is no box in it: any finite number passes
        return -np.inf, -np.inf, np.inf, np.inf
    return low_x, low_y, high_x, high_y


def box_in(degrees: Bounds, srid: int) -> Bounds | None:
    """A box in degrees (west, south, east, north) as the box around it in a projected system.

    What lies beyond the system's area of use, widened as in number_bounds, is cut off: there its numbers mean nothing.
    None when nothing is left.
    """
    west, south, east, north = degrees
    area = crs_of(srid).area_of_use
    if area is not None and area.west <= area.east:
        west, east = max(west, area.west - MARGIN_DEG), min(east, area.east + MARGIN_DEG)
        south, north = max(south, area.south - MARGIN_DEG), min(north, area.north + MARGIN_DEG)
    if not (west < east and south < north):
        return None
    box = transformer(GEODETIC, srid).transform_bounds(west, south, east, north, errcheck=False)
    low_x, low_y, high_x, high_y = (float(side) for side in box)
    return (low_x, low_y, high_x, high_y) if np.isfinite(box).all() else None


def fits(x: npt.ArrayLike, y: npt.ArrayLike, srid: int) -> npt.NDArray[np.bool_]:
    """For each point whether its numbers are finite and can be meant in the system (see number_bounds)."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    low_x, low_y, high_x, high_y = number_bounds(srid)
    inside = (x >= low_x) & (x <= high_x) & (y >= low_y) & (y <= high_y)
    return np.asarray(inside & np.isfinite(x) & np.isfinite(y))


def transform(x: npt.ArrayLike, y: npt.ArrayLike, from_srid: int, to_srid: int) -> tuple[FloatArray, FloatArray]:
    """Points from one system to another (EPSG, GCJ02 or BD09), elementwise; inf or NaN where PROJ cannot.

    Numbers are not checked against the area of use: that is the business of Place and to_city.
    """
    x, y = np.array(x, np.float64), np.array(y, np.float64)
    if from_srid == to_srid:
        return x, y
    if from_srid in SCRAMBLED:
        x, y = _UNSCRAMBLE[from_srid](x, y)
        from_srid = GEODETIC
    target = GEODETIC if to_srid in SCRAMBLED else to_srid
    if from_srid != target:
        x, y = (np.asarray(axis, np.float64) for axis in transformer(from_srid, target).transform(x, y))
    return _SCRAMBLE[to_srid](x, y) if to_srid in SCRAMBLED else (x, y)


def reproject(geometries: Any, from_srid: int, to_srid: int) -> Any:
    """Geometries (one, an array, a GeoSeries) from one system to another; vertices move, edges stay straight.

    A GeoSeries comes back with the new system named (none for GCJ-02 and BD-09, which have no name).
    """

    def move(points: FloatArray) -> FloatArray:
        return np.column_stack(transform(points[:, 0], points[:, 1], from_srid, to_srid))

    if isinstance(geometries, GeoSeries):
        named = None if to_srid in SCRAMBLED else crs_of(to_srid)
        moved = shapely.transform(geometries.to_numpy(), move)
        return GeoSeries(moved, index=geometries.index, crs=named, name=geometries.name)
    return shapely.transform(geometries, move)


def to_city(x: npt.ArrayLike, y: npt.ArrayLike, srid: npt.ArrayLike, city_srid: int) -> tuple[FloatArray, FloatArray]:
    """Points in mixed systems, brought to the city's: two arrays of metres, NaN where ``Place`` would refuse.

    x, y, srid: one row per point; srid may hold missing values (they give NaN), and may be a single number.
    Row by row the same as ``Place(x, y, srid).to(city_srid)``. Not snapped: see :func:`snap`.
    """
    x, y, srids = np.broadcast_arrays(_floats(x), _floats(y), _floats(srid))
    city_x, city_y = np.full(x.shape, np.nan), np.full(x.shape, np.nan)
    for number in np.unique(srids[np.isfinite(srids)]):
        if number != int(number):
            continue
        rows = np.flatnonzero(srids == number)
        try:
            rows = rows[fits(x[rows], y[rows], int(number))]
        except UnfitCoordinates:
            continue  # an unknown system: its rows stay NaN
        moved_x, moved_y = transform(x[rows], y[rows], int(number), city_srid)
        good = fits(moved_x, moved_y, city_srid)
        city_x[rows[good]], city_y[rows[good]] = moved_x[good], moved_y[good]
    return city_x, city_y


def _floats(values: npt.ArrayLike) -> FloatArray:
    """Any column as float64, missing values (None, pandas.NA) as NaN."""
    column: Any = values
    if hasattr(column, "to_numpy"):
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan), np.float64)
    return np.asarray(column, np.float64)


def snap(what: Any) -> Any:
    """The same, every coordinate rounded to a multiple of SNAP = 2**-10 m (half to even, like PostGIS).

    Takes a geometry, an array of geometries, a GeoSeries, a GeoDataFrame (its active geometry), or numbers.
    Why: on this lattice orientation tests are exact in doubles, so that PostGIS, GEOS and our own kernels
    agree on every border. Heights are dropped. Missing stays missing. The caller looks for geometries that
    became invalid or empty (slivers under a millimetre).
    """
    if isinstance(what, GeoDataFrame):
        return what.set_geometry(snap(what.geometry))
    if isinstance(what, GeoSeries):
        snapped = shapely.transform(what.to_numpy(), _snap_numbers)
        return GeoSeries(snapped, index=what.index, crs=what.crs, name=what.name)
    if isinstance(what, BaseGeometry) or getattr(what, "dtype", None) == np.dtype(object):
        return shapely.transform(what, _snap_numbers)
    if isinstance(what, (list, tuple)) and any(isinstance(item, BaseGeometry) for item in what):
        return shapely.transform(np.asarray(what, object), _snap_numbers)
    return _snap_numbers(np.asarray(what, np.float64))


def _snap_numbers(numbers: FloatArray) -> FloatArray:
    return np.asarray(np.rint(numbers / SNAP) * SNAP)


# ── Gauss-Krüger on CGCS2000 ────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class GaussKrueger:
    """One zone of CGCS2000 / Gauss-Krüger, in one of its four EPSG families (4491 … 4554)."""

    srid: int
    width_deg: int  #: 3 or 6
    number: int  #: zone number: 25 … 45 for 3 degrees, 13 … 23 for 6 degrees
    prefixed: bool  #: whether eastings begin with the zone number (36 512 345 instead of 512 345)

    @property
    def central_meridian(self) -> int:
        """Longitude of the zone's middle in degrees: 3 n, or 6 n - 3."""
        return 3 * self.number if self.width_deg == 3 else 6 * self.number - 3

    @property
    def false_easting_m(self) -> float:
        """Easting of the central meridian: 500 km, after the zone number where it is prefixed."""
        return 500_000.0 + (self.number * 1_000_000.0 if self.prefixed else 0.0)


#: first EPSG number, width in degrees, first and last zone, whether eastings carry the zone number
_FAMILIES = (
    (4491, 6, 13, 23, True),
    (4502, 6, 13, 23, False),
    (4513, 3, 25, 45, True),
    (4534, 3, 25, 45, False),
)


def gauss_krueger_zones() -> list[GaussKrueger]:
    """All 64 zones of the register, by EPSG number (a test compares them with PROJ's database)."""
    return [
        GaussKrueger(first + number - low, width, number, prefixed)
        for first, width, low, high, prefixed in _FAMILIES
        for number in range(low, high + 1)
    ]


def gauss_krueger(srid: int) -> GaussKrueger | None:
    """The zone of an EPSG number between 4491 and 4554; None for every other system."""
    return next((zone for zone in gauss_krueger_zones() if zone.srid == srid), None)


def zone_of(easting_m: float, northing_m: float) -> GaussKrueger | None:
    """The zone that the easting's own prefix names (36 512 345 → zone 36, EPSG:4524); None without a prefix.

    The 3-degree numbers 25 … 45 and the 6-degree numbers 13 … 23 do not overlap, so the prefix decides.
    """
    for zone in gauss_krueger_zones():
        if zone.prefixed and abs(easting_m - zone.false_easting_m) < 500_000:
            return zone if bool(fits(easting_m, northing_m, zone.srid)) else None
    return None


# ── which reading would put a place into the city ────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Extent:
    """Where the city is: a box in geodetic degrees, its own system, and its outline in degrees if known."""

    west: float
    south: float
    east: float
    north: float
    srid: int
    outline: BaseGeometry | None = None

    @classmethod
    def of(cls, frame: GeoDataFrame, srid: int) -> Extent:
        """The extent of a frame of areas (its crs set); the outline is the union of its polygons."""
        degrees = frame.geometry.to_crs(GEODETIC)
        west, south, east, north = (float(side) for side in degrees.total_bounds)
        return cls(west, south, east, north, srid, degrees.union_all())

    def holds(self, lon: float, lat: float) -> bool:
        """Whether a geodetic point lies in the box and in the outline, borders included."""
        if not (self.west <= lon <= self.east and self.south <= lat <= self.north):
            return False
        return self.outline is None or bool(shapely.intersects_xy(self.outline, lon, lat))


class Reading(NamedTuple):
    """Another way to read two numbers, for an error message."""

    code: str  #: swapped_axes, northing_first, zone_prefix, other_zone, degrees, metres, web_mercator, gcj02 …
    en: str
    zh: str


def diagnose(x: float, y: float, srid: int, extent: Extent) -> list[Reading]:
    """Readings of (x, y) that would put it into the city, the likeliest first; none if it is there already.

    A proposal for the message of a refusal: nothing is changed. GCJ-02 and BD-09 move a point by some 500 m
    only, so they are proposed for points just outside and say nothing about points inside.
    """
    if not (np.isfinite(x) and np.isfinite(y)) or _inside(x, y, srid, extent) is not None:
        return []
    readings: list[Reading] = []
    seen: set[tuple[float, float]] = set()
    for reading, as_x, as_y, as_srid in _candidates(float(x), float(y), srid, extent.srid):
        spot = _inside(as_x, as_y, as_srid, extent)
        if spot is not None and spot not in seen:
            seen.add(spot)
            readings.append(reading)
    return readings


def _inside(x: float, y: float, srid: int, extent: Extent) -> tuple[float, float] | None:
    """The geodetic point, rounded to a centimetre, if this reading fits its system and lies in the city."""
    try:
        if not bool(fits(x, y, srid)):
            return None
        lon, lat = (float(axis) for axis in transform(x, y, srid, GEODETIC))
    except UnfitCoordinates:
        return None
    return (round(lon, 7), round(lat, 7)) if extent.holds(lon, lat) else None


def _candidates(x: float, y: float, srid: int, city_srid: int) -> Iterator[tuple[Reading, float, float, int]]:
    """Every other reading worth a try, the likeliest first."""
    try:
        geographic = bool(crs_of(srid).is_geographic)
    except UnfitCoordinates:
        geographic = False
    if abs(x) <= 180 and abs(y) <= 180:
        yield from _degrees(x, y, srid, geographic)
        return
    if not geographic:
        yield Reading("northing_first", "the northing comes first", "北坐标在前"), y, x, srid
    for east, north, en, zh in ((x, y, "", ""), (y, x, ", northing first", "，且北坐标在前")):
        zone = zone_of(east, north)
        if zone is not None:
            code = f"EPSG:{zone.srid}"
            en_zone = f"the easting carries its zone number {zone.number}: {code}{en}"
            zh_zone = f"东坐标带有带号 {zone.number}：{code}{zh}"
            yield Reading("zone_prefix", en_zone, zh_zone), east, north, zone.srid
        code = f"EPSG:{city_srid}"
        yield Reading("metres", f"metres in {code}{en}", f"单位是米（{code}）{zh}"), east, north, city_srid
        for other in reversed(gauss_krueger_zones()):  # 3 degrees without prefix first: what cities use
            if other.prefixed:
                continue
            code, meridian = f"EPSG:{other.srid}", f"{other.central_meridian}°E"
            en_zone = f"the Gauss-Krüger zone of {meridian}: {code}{en}"
            yield Reading("other_zone", en_zone, f"{meridian} 高斯带：{code}{zh}"), east, north, other.srid
        web = Reading("web_mercator", f"Web Mercator: EPSG:3857{en}", f"Web 墨卡托：EPSG:3857{zh}")
        yield web, east, north, 3857


def _degrees(x: float, y: float, srid: int, geographic: bool) -> Iterator[tuple[Reading, float, float, int]]:
    """The readings of two numbers that can be degrees."""
    if geographic:
        yield Reading("swapped_axes", "latitude and longitude are swapped", "经度与纬度写反"), y, x, srid
        if srid in SCRAMBLED:
            yield Reading("geodetic", "plain GPS degrees (WGS 84)", "未加偏的经纬度"), x, y, GEODETIC
    else:
        yield Reading("degrees", "degrees, not metres", "单位是度，不是米"), x, y, GEODETIC
        yield Reading("degrees_swapped", "degrees, latitude first", "单位是度，纬度在前"), y, x, GEODETIC
    for datum, code, name in ((GCJ02, "gcj02", "GCJ-02"), (BD09, "bd09", "BD-09")):
        if datum != srid:
            yield Reading(code, f"{name} degrees", f"{name} 经纬度"), x, y, datum
