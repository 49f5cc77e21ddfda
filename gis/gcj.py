"""GCJ-02 (火星坐标: AutoNavi, Tencent, Google China) and BD-09 (百度坐标) to and from geodetic degrees.

The algorithm is not published by its owners; it has been public as code since 2013 (github.com/googollee/
eviltransform, github.com/wandergis/coordtransform). Its constants are those of the Krasovsky 1940 ellipsoid.
GCJ-02 adds some 300 to 700 m to a geodetic point, BD-09 adds 0.0065° and 0.006° and a ripple to GCJ-02.
Everything is elementwise on arrays, longitude first. How true the shift is to the ground nobody outside can
say: practice puts it at a few metres, so an undone point is no better than that.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Bounds = tuple[float, float, float, float]
Shift = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]

_A_M = 6_378_245.0
_E2 = 0.00669342162296594323
_CHINA: Bounds = (72.004, 0.8293, 137.8347, 55.8271)  # the published box: outside it nothing is shifted
_REACH_DEG = 0.05  #: more than any shift
_BD_WAVE = np.pi * 3000.0 / 180.0


def _in_china(lon: FloatArray, lat: FloatArray, reach_deg: float = 0.0) -> npt.NDArray[np.bool_]:
    """Whether the points lie in the box, or within some degrees of it."""
    west, south, east, north = _CHINA
    within = (lon > west - reach_deg) & (lon < east + reach_deg)
    return np.asarray(within & (lat > south - reach_deg) & (lat < north + reach_deg))


def _gcj_shift(lon: FloatArray, lat: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Degrees that GCJ-02 adds at a geodetic point."""
    x, y, root, pi = lon - 105.0, lat - 35.0, np.sqrt(np.abs(lon - 105.0)), np.pi
    common = 20.0 * np.sin(6.0 * x * pi) + 20.0 * np.sin(2.0 * x * pi)
    north_m = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root
    north_m += (common + 20.0 * np.sin(y * pi) + 40.0 * np.sin(y / 3.0 * pi)) * 2.0 / 3.0
    north_m += (160.0 * np.sin(y / 12.0 * pi) + 320.0 * np.sin(y * pi / 30.0)) * 2.0 / 3.0
    east_m = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root
    east_m += (common + 20.0 * np.sin(x * pi) + 40.0 * np.sin(x / 3.0 * pi)) * 2.0 / 3.0
    east_m += (150.0 * np.sin(x / 12.0 * pi) + 300.0 * np.sin(x / 30.0 * pi)) * 2.0 / 3.0
    phi = np.radians(lat)
    w2 = 1.0 - _E2 * np.sin(phi) ** 2
    return (
        np.degrees(east_m / (_A_M / np.sqrt(w2) * np.cos(phi))),
        np.degrees(north_m / (_A_M * (1.0 - _E2) / (w2 * np.sqrt(w2)))),
    )


def _bd_shift(lon: FloatArray, lat: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Degrees that BD-09 adds at a GCJ-02 point."""
    radius = np.hypot(lon, lat) + 0.00002 * np.sin(lat * _BD_WAVE)
    angle = np.arctan2(lat, lon) + 0.000003 * np.cos(lon * _BD_WAVE)
    return radius * np.cos(angle) + 0.0065 - lon, radius * np.sin(angle) + 0.006 - lat


def _undo(shift: Shift, lon: FloatArray, lat: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The point that the shift carries to (lon, lat), by iteration: each round gains two digits or more."""
    from_lon, from_lat = lon, lat
    for _ in range(12):
        east, north = shift(from_lon, from_lat)
        from_lon, from_lat = lon - east, lat - north
    return from_lon, from_lat


def _where(here: npt.NDArray[np.bool_], lon: npt.ArrayLike, lat: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """The points that are here; the others (which may be infinite) as some harmless point."""
    return np.where(here, lon, 110.0), np.where(here, lat, 35.0)


def _pair(lon: npt.ArrayLike, lat: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    return np.asarray(lon, np.float64), np.asarray(lat, np.float64)


def to_gcj02(lon: npt.ArrayLike, lat: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Geodetic degrees to GCJ-02 degrees; unchanged outside China's box, where it is not in use."""
    lon, lat = _pair(lon, lat)
    here = _in_china(lon, lat)
    east, north = _gcj_shift(*_where(here, lon, lat))
    return lon + np.where(here, east, 0.0), lat + np.where(here, north, 0.0)


def from_gcj02(lon: npt.ArrayLike, lat: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """GCJ-02 degrees to geodetic degrees: the inverse of to_gcj02 to 1e-11 degrees (micrometres).

    Within 0.01° outside the box both "shifted" and "not" can be meant; shifted is taken. No city lies there.
    """
    lon, lat = _pair(lon, lat)
    true_lon, true_lat = _undo(_gcj_shift, *_where(_in_china(lon, lat, _REACH_DEG), lon, lat))
    return _unless_outside(lon, lat, true_lon, true_lat)


def to_bd09(lon: npt.ArrayLike, lat: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Geodetic degrees to BD-09 degrees; unchanged outside China's box."""
    lon, lat = _pair(lon, lat)
    here = _in_china(lon, lat)
    gcj_lon, gcj_lat = to_gcj02(*_where(here, lon, lat))
    east, north = _bd_shift(gcj_lon, gcj_lat)
    return np.where(here, gcj_lon + east, lon), np.where(here, gcj_lat + north, lat)


def from_bd09(lon: npt.ArrayLike, lat: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """BD-09 degrees to geodetic degrees: the inverse of to_bd09 to 1e-11 degrees; see from_gcj02."""
    lon, lat = _pair(lon, lat)
    gcj_lon, gcj_lat = _undo(_bd_shift, *_where(_in_china(lon, lat, _REACH_DEG), lon, lat))
    return _unless_outside(lon, lat, *_undo(_gcj_shift, gcj_lon, gcj_lat))


def _unless_outside(
    lon: FloatArray, lat: FloatArray, true_lon: FloatArray, true_lat: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """The undone points where they lie in China's box, else the points as given."""
    here = _in_china(true_lon, true_lat) & _in_china(lon, lat, _REACH_DEG)
    return np.where(here, true_lon, lon), np.where(here, true_lat, lat)
