"""In which system the numbers of a file are, and how they come to the city's: every form that surveyors hand over.

A `Reference` is one of: an EPSG system (the zone-prefixed Gauss-Krüger families are systems of their own, 4491 …
4533); GCJ-02 or BD-09 degrees; another system by its WKT. Each may have its northing (or latitude) first, and may go
through a transformation of the surveyor's own: four parameters in the plane, or seven between two datums.

Four parameters (PROJ ``helmert`` in two dimensions; the Chinese 四参数 with x north): with E, N the file's numbers,
``E' = dx + k (E cos r + N sin r)`` and ``N' = dy + k (N cos r - E sin r)``, so that dx is to the east, dy to the north,
and the rotation r turns clockwise on the map; the result is in ``crs``.
Seven parameters: the file's numbers are in ``crs``, on its datum; the shift goes to the city's datum, at height 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

from gis.crs import (
    BD09,
    GCJ02,
    GEODETIC,
    SCRAMBLED,
    Extent,
    crs_of,
    fits,
    gauss_krueger_zones,
    transform,
    zone_of,
)
from gis.errors import UnfitCoordinates
from gis.gcj import FloatArray

Convention = Literal["position_vector", "coordinate_frame"]
_WORDS = {"gcj02": GCJ02, "gcj-02": GCJ02, "火星坐标": GCJ02, "bd09": BD09, "bd-09": BD09, "百度坐标": BD09}
_NAMES = {GCJ02: "gcj02", BD09: "bd09"}
_SAID = {GCJ02: "GCJ-02", BD09: "BD-09"}
_KEYS = frozenset({"crs", "northing_first", "helmert4", "helmert7"})
_KEYS4 = frozenset({"dx_m", "dy_m", "rotation_deg", "rotation_s", "scale", "scale_ppm"})
_KEYS7 = frozenset({"dx_m", "dy_m", "dz_m", "rx_s", "ry_s", "rz_s", "scale_ppm", "from", "convention"})
_LIKE_M = 0.5  #: ellipsoids whose half axes differ by less are taken for one datum where PROJ knows no way
_SHIFT_DEG = 1e-6  #: a GCJ-02 shift below this is none: the place is outside of China
_ROUNDS = 3  #: of mending the inverse of seven parameters; each gains five digits
_DEGREE_ZONES = 3.0  #: a Gauss-Krüger zone is proposed up to so many degrees from its middle


@dataclass(frozen=True, slots=True)
class Helmert4:
    """A transformation in the plane: shift to the east and north in metres, clockwise rotation, scale factor."""

    dx_m: float
    dy_m: float
    rotation_s: float = 0.0  #: seconds of arc
    scale: float = 1.0

    def apply(self, east: FloatArray, north: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The file's numbers as numbers of the system it leads to."""
        a, b = self._turn()
        return self.dx_m + a * east + b * north, self.dy_m + a * north - b * east

    def undo(self, east: FloatArray, north: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The inverse of apply."""
        a, b = self._turn()
        east, north, size = east - self.dx_m, north - self.dy_m, a * a + b * b
        return (a * east - b * north) / size, (a * north + b * east) / size

    def _turn(self) -> tuple[float, float]:
        angle = np.radians(self.rotation_s / 3600.0)
        return float(self.scale * np.cos(angle)), float(self.scale * np.sin(angle))


@dataclass(frozen=True, slots=True)
class Helmert7:
    """A shift between two datums: metres, seconds of arc, parts per million, and which way the rotations count."""

    dx_m: float
    dy_m: float
    dz_m: float
    rx_s: float
    ry_s: float
    rz_s: float
    scale_ppm: float
    convention: Convention

    def step(self) -> str:
        """The step of a PROJ pipeline."""
        return (
            f"+step +proj=helmert +x={self.dx_m!r} +y={self.dy_m!r} +z={self.dz_m!r} +rx={self.rx_s!r} "
            f"+ry={self.ry_s!r} +rz={self.rz_s!r} +s={self.scale_ppm!r} +convention={self.convention}"
        )


@dataclass(frozen=True, slots=True)
class Reference:
    """In which system numbers are; x, y as in the file (``northing_first``: x is the northing or latitude)."""

    srid: int | None  #: EPSG number, GCJ02 or BD09; None: see wkt
    wkt: str | None = None  #: of a system without an EPSG number
    northing_first: bool = False
    helmert4: Helmert4 | None = None
    helmert7: Helmert7 | None = None

    # ── from and to tables ──

    @classmethod
    def parse(cls, given: Any) -> Reference:
        """The reference that a mapping or an option states. Raises UnfitCoordinates, which says what is wrong.

        given : an EPSG number; "EPSG:4545", "gcj02", "bd09", "ESRI:102113" or WKT; or a table with ``crs`` (one of
        those), ``northing_first`` and one of ``helmert4`` (dx_m, dy_m, rotation_deg or rotation_s, scale or scale_ppm)
        and ``helmert7`` (dx_m, dy_m, dz_m, rx_s, ry_s, rz_s, scale_ppm, convention = "position_vector" or
        "coordinate_frame", from = EPSG number of the geographic system, needed only without ``crs``).
        """
        if isinstance(given, Reference):
            return given
        if not isinstance(given, Mapping):
            return cls(*_system(given))
        _known(given, _KEYS, "crs")
        four, seven = given.get("helmert4"), given.get("helmert7")
        if four is not None and seven is not None:
            raise _unfit("has both helmert4 and helmert7", "不能同时给出 helmert4 与 helmert7")
        base = given.get("crs")
        if base is None and isinstance(seven, Mapping):
            base = seven.get("from")
        if base is None:
            raise _unfit("does not say its crs", "没有说明 crs")
        srid, wkt = _system(base)
        first = given.get("northing_first", False)
        if not isinstance(first, bool):
            raise _unfit("northing_first must be true or false", "northing_first 应为 true 或 false")
        made = cls(
            srid,
            wkt,
            first,
            None if four is None else _helmert4(four),
            None if seven is None else _helmert7(seven),
        )
        made._check(seven)
        return made

    @classmethod
    def of_file(cls, crs: CRS) -> Reference:
        """The reference of a system as a file states it: its EPSG number where it has one."""
        number = crs.to_2d().to_epsg(min_confidence=70)
        return cls(number) if number else cls(None, crs.to_2d().to_wkt())

    def table(self) -> dict[str, Any]:
        """As a mapping or JSON writes it; ``parse`` reads it back."""
        table: dict[str, Any] = {"crs": self.wkt if self.srid is None else _NAMES.get(self.srid, self.srid)}
        if self.northing_first:
            table["northing_first"] = True
        if self.helmert4 is not None:
            four = self.helmert4
            table["helmert4"] = {
                "dx_m": four.dx_m,
                "dy_m": four.dy_m,
                "rotation_s": four.rotation_s,
                "scale": four.scale,
            }
        if self.helmert7 is not None:
            seven = self.helmert7
            table["helmert7"] = {name: getattr(seven, name) for name in Helmert7.__dataclass_fields__}
        return table

    @property
    def crs(self) -> CRS:
        """The system (EPSG:4326 for GCJ-02 and BD-09); with four parameters, the one that they lead to."""
        return crs_of(self.srid) if self.srid is not None else CRS.from_wkt(str(self.wkt))

    def said(self) -> tuple[str, str]:
        """In words, English and Chinese."""
        name = self.crs.name if self.srid is None else _SAID.get(self.srid, f"EPSG:{self.srid}")
        en, zh = [name], [name]
        if self.srid is not None and self.srid not in SCRAMBLED:
            en[0], zh[0] = f"{name} ({self.crs.name})", f"{name}（{self.crs.name}）"
        if self.northing_first:
            en, zh = [*en, "northing first"], [*zh, "北坐标（纬度）在前"]
        if self.helmert4 is not None:
            en, zh = [*en, "after four parameters"], [*zh, "经四参数转换"]
        if self.helmert7 is not None:
            en, zh = [*en, "by seven parameters"], [*zh, "经七参数转换"]
        return ", ".join(en), "，".join(zh)

    # ── moving ──

    def to_city(self, geometries: Any, city_srid: int) -> Any:
        """Geometries (array of shapely geometries or None) from the file's numbers to EPSG:``city_srid``.

        Not snapped; vertices move, edges stay straight; NaN or infinity where there is no way. Raises UnfitCoordinates
        when PROJ knows no way between the two datums.
        """
        return _moved(geometries, lambda x, y: self.forward(x, y, city_srid))

    def from_city(self, geometries: Any, city_srid: int) -> Any:
        """The inverse of to_city."""
        return _moved(geometries, lambda x, y: self.backward(x, y, city_srid))

    def forward(self, x: FloatArray, y: FloatArray, city_srid: int) -> tuple[FloatArray, FloatArray]:
        """Numbers of the file as numbers of the city's system (x = east)."""
        if self.northing_first:
            x, y = y, x
        if self.helmert4 is not None:
            x, y = self.helmert4.apply(x, y)
        if self.helmert7 is not None:
            for step in _seven(self.crs.to_wkt(), self.helmert7, city_srid):
                x, y = _run(step, x, y)
            return x, y
        if self.srid is None:
            return _run(_between(str(self.wkt), city_srid), x, y)
        _want_way(self.srid, city_srid)
        return transform(x, y, self.srid, city_srid)

    def backward(self, x: FloatArray, y: FloatArray, city_srid: int) -> tuple[FloatArray, FloatArray]:
        """The inverse of forward."""
        if self.helmert7 is not None:
            x, y = _undone(_seven(self.crs.to_wkt(), self.helmert7, city_srid), x, y)
        elif self.srid is None:
            x, y = _run(_between(str(self.wkt), city_srid), x, y, back=True)
        else:
            _want_way(self.srid, city_srid)
            x, y = transform(x, y, city_srid, self.srid)
        if self.helmert4 is not None:
            x, y = self.helmert4.undo(x, y)
        return (y, x) if self.northing_first else (x, y)

    def _check(self, seven: Any) -> None:
        if self.srid in SCRAMBLED and (self.helmert4 or self.helmert7):
            raise _unfit(
                "is in shifted degrees, which no parameters of a surveyor apply to", "偏移坐标不能再用参数转换"
            )
        if self.helmert4 is not None and not self.crs.is_projected:
            raise _unfit("helmert4 leads to a plane: crs must be a projected system", "四参数的 crs 应为投影坐标系")
        if self.helmert7 is not None and "from" in seven:
            if not isinstance(seven["from"], int) or isinstance(seven["from"], bool):
                raise _unfit("helmert7.from must be an EPSG number", "helmert7.from 应为 EPSG 编号")
            base, said = self.crs.geodetic_crs, crs_of(seven["from"])
            if base is None or base.ellipsoid != said.ellipsoid:
                raise _unfit(
                    f"helmert7.from is not the datum of {self.crs.name}",
                    f"helmert7.from 与 {self.crs.name} 的椭球不符",
                )


def _moved(geometries: Any, move: Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]) -> Any:
    return shapely.transform(
        np.asarray(geometries, dtype=object), lambda points: np.column_stack(move(points[:, 0], points[:, 1]))
    )


def _run(step: Transformer, x: FloatArray, y: FloatArray, *, back: bool = False) -> tuple[FloatArray, FloatArray]:
    east, north = step.transform(np.array(x), np.array(y), direction="INVERSE" if back else "FORWARD")
    return np.asarray(east, np.float64), np.asarray(north, np.float64)


@lru_cache(maxsize=64)
def _between(wkt: str, city_srid: int) -> Transformer:
    _want_way(wkt, city_srid)
    return Transformer.from_crs(CRS.from_wkt(wkt), crs_of(city_srid), always_xy=True)


@lru_cache(maxsize=64)
def _seven(wkt: str, shift: Helmert7, city_srid: int) -> list[Transformer]:
    """Numbers → degrees of their datum → degrees of the city's datum → the city's numbers."""
    given, city = CRS.from_wkt(wkt), crs_of(city_srid)
    start, end = given.geodetic_crs, city.geodetic_crs
    if start is None or end is None or start.ellipsoid is None or end.ellipsoid is None:
        raise _unfit("has no datum", "没有大地基准")
    axes = [f"+a={one.semi_major_metre!r} +b={one.semi_minor_metre!r}" for one in (start.ellipsoid, end.ellipsoid)]
    pipeline = (
        "+proj=pipeline +step +proj=unitconvert +xy_in=deg +xy_out=rad "
        f"+step +proj=cart {axes[0]} {shift.step()} +step +inv +proj=cart {axes[1]} "
        "+step +proj=unitconvert +xy_in=rad +xy_out=deg"
    )
    return [
        Transformer.from_crs(given, start.to_2d(), always_xy=True),
        Transformer.from_pipeline(pipeline),
        Transformer.from_crs(end.to_2d(), city, always_xy=True),
    ]


def _undone(steps: list[Transformer], x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The point that the steps carry to (x, y): their inverse starts from height 0 at the other end, and is mended."""

    def back(east: FloatArray, north: FloatArray) -> tuple[FloatArray, FloatArray]:
        for step in reversed(steps):
            east, north = _run(step, east, north, back=True)
        return east, north

    goal = at = back(x, y)
    for _ in range(_ROUNDS):
        east, north = at
        for step in steps:
            east, north = _run(step, east, north)
        seen = back(east, north)
        at = at[0] + (goal[0] - seen[0]), at[1] + (goal[1] - seen[1])
    return at


@lru_cache(maxsize=256)
def _want_way(given: int | str, city_srid: int) -> None:
    """Refuse a pair of datums between which PROJ only has a guess that is off by a hundred metres."""
    if given in SCRAMBLED or given == city_srid:
        return
    crs, city = crs_of(given) if isinstance(given, int) else CRS.from_wkt(given), crs_of(city_srid)
    try:
        Transformer.from_crs(crs, city, always_xy=True, allow_ballpark=False)
    except ProjError as bad:
        one, other = crs.ellipsoid, city.ellipsoid
        like = one is not None and other is not None
        like = like and abs(one.semi_major_metre - other.semi_major_metre) < _LIKE_M  # type: ignore[union-attr]
        like = like and abs(one.semi_minor_metre - other.semi_minor_metre) < _LIKE_M  # type: ignore[union-attr]
        if like and (crs.is_projected or crs.is_geographic):
            return
        raise UnfitCoordinates(
            f"{crs.name} cannot be brought to {city.name}: no public way leads from datum to datum",
            f"{crs.name} 无法转换到 {city.name}：两个基准之间没有公开的转换参数",
            mend="give the surveyor's seven parameters (crs = {crs = …, helmert7 = {…}}), or have the file transformed",
            mend_zh="请给出测绘部门的七参数（crs = {crs = …, helmert7 = {…}}），或请其转换后再提供",
            crs=crs.name,
        ) from bad


# ── reading what is stated ────────────────────────────────────────


def _system(given: Any) -> tuple[int | None, str | None]:
    """EPSG number or WKT of what is stated."""
    if isinstance(given, int) and not isinstance(given, bool):
        crs_of(given)
        return given, None
    if not isinstance(given, str) or not given.strip():
        raise _unfit(f"{given!r} is no coordinate system", f"{given!r} 不是坐标系")
    text = given.strip()
    if text.lower() in _WORDS:
        return _WORDS[text.lower()], None
    digits = text.upper().removeprefix("EPSG:").strip()
    if digits.isascii() and digits.isdigit():
        crs_of(int(digits))
        return int(digits), None
    try:
        system = CRS.from_user_input(text).to_2d()
    except CRSError as bad:
        raise _unfit(f"{text[:60]!r} is no coordinate system", f"{text[:60]!r} 不是坐标系") from bad
    if not (system.is_projected or system.is_geographic):
        raise _unfit(f"{system.name} is not tied to the Earth", f"{system.name} 与地球没有联系")
    number = system.to_epsg(min_confidence=100)
    return (number, None) if number else (None, system.to_wkt())


def _helmert4(table: Any) -> Helmert4:
    _known(table, _KEYS4, "helmert4")
    if "rotation_deg" in table and "rotation_s" in table:
        raise _unfit("helmert4 has both rotation_deg and rotation_s", "rotation_deg 与 rotation_s 只能给出其一")
    if "scale" in table and "scale_ppm" in table:
        raise _unfit("helmert4 has both scale and scale_ppm", "scale 与 scale_ppm 只能给出其一")
    seconds = _number(table, "rotation_s", _number(table, "rotation_deg", 0.0) * 3600.0)
    scale = _number(table, "scale", 1.0 + _number(table, "scale_ppm", 0.0) * 1e-6)
    if not 0.5 < scale < 2:
        raise _unfit(
            f"helmert4.scale = {scale} is no scale factor (near 1); write parts per million as scale_ppm",
            f"helmert4.scale = {scale} 不是尺度因子（应接近 1）；百万分之几请写作 scale_ppm",
        )
    return Helmert4(_number(table, "dx_m"), _number(table, "dy_m"), seconds, scale)


def _helmert7(table: Any) -> Helmert7:
    _known(table, _KEYS7, "helmert7")
    way = table.get("convention")
    if way not in ("position_vector", "coordinate_frame"):
        raise _unfit(
            'helmert7 must say convention = "position_vector" or "coordinate_frame": the signs of the rotations',
            'helmert7 须写明 convention = "position_vector" 或 "coordinate_frame"（旋转角的符号约定）',
        )
    values = {name: _number(table, name) for name in ("dx_m", "dy_m", "dz_m", "rx_s", "ry_s", "rz_s", "scale_ppm")}
    return Helmert7(**values, convention=way)


def _number(table: Mapping[str, Any], key: str, default: float | None = None) -> float:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise _unfit(f"{key} must be a number", f"{key} 应为数字")
    return float(value)


def _known(table: Any, keys: frozenset[str], name: str) -> None:
    if not isinstance(table, Mapping):
        raise _unfit(f"{name} must be a table", f"{name} 应为表")
    for key in table:
        if key not in keys:
            raise _unfit(f"{key} is no key of {name} ({', '.join(sorted(keys))})", f"{name} 中没有 {key} 这一项")


def _unfit(en: str, zh: str) -> UnfitCoordinates:
    return UnfitCoordinates(
        f"the coordinate system {en}" if not en[0].isupper() else en,
        f"坐标系：{zh}",
        mend='crs = 4545, "gcj02", "bd09", or a table; docs/formats.md shows every form',
        mend_zh='crs 可写作 4545、"gcj02"、"bd09" 或表；各种写法见 docs/formats.md',
        field="crs",
    )


# ── proposing ────────────────────────────────────────


class Proposal(NamedTuple):
    """A system in which the numbers may be, and how many of them would then lie in the city."""

    reference: Reference
    en: str
    zh: str
    share: float  #: of the sample, 0 … 1


def propose(crs: CRS | None, x: npt.ArrayLike, y: npt.ArrayLike, extent: Extent) -> list[Proposal]:
    """Systems in which the sample (x, y) would lie in the city, the likeliest first; nothing is decided.

    crs : what the file says, None if nothing; it comes first among equals
    GCJ-02, BD-09 and geodetic degrees differ by some 500 m: numbers cannot tell them apart, all three are named.
    """
    x, y = (np.asarray(axis, np.float64) for axis in (x, y))
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if not len(x):
        return []
    found: list[Proposal] = []
    seen: set[tuple[int | None, bool]] = set()
    for reference in _candidates(crs, x, y, extent):
        if (reference.srid, reference.northing_first) in seen:
            continue
        seen.add((reference.srid, reference.northing_first))
        share = _share(reference, x, y, extent)
        if share > 0:
            found.append(Proposal(reference, *reference.said(), share))
    return sorted(found, key=lambda one: -round(one.share, 2))


def _candidates(crs: CRS | None, x: FloatArray, y: FloatArray, extent: Extent) -> list[Reference]:
    """What is worth a try, in the order of how often it is the case."""
    own = []
    if crs is not None and (crs.is_projected or crs.is_geographic):
        stated = Reference.of_file(crs)
        own = [stated, Reference(stated.srid, stated.wkt, northing_first=True)]
    east, north = float(np.median(x)), float(np.median(y))
    if abs(east) <= 180 and abs(north) <= 180:
        systems = [GEODETIC]
        middle = (extent.west + extent.east) / 2, (extent.south + extent.north) / 2
        if np.abs(np.subtract(transform(*middle, GEODETIC, GCJ02), middle)).max() > _SHIFT_DEG:
            systems = [GEODETIC, GCJ02, BD09]
        return own + [Reference(srid, northing_first=first) for first in (False, True) for srid in systems]
    systems = [extent.srid]
    middle_lon = (extent.west + extent.east) / 2
    systems += [
        zone.srid
        for zone in sorted(gauss_krueger_zones(), key=lambda zone: (zone.prefixed, zone.width_deg))
        if abs(zone.central_meridian - middle_lon) <= _DEGREE_ZONES + (extent.east - extent.west) / 2
    ]
    named = [zone.srid for zone in (zone_of(east, north), zone_of(north, east)) if zone is not None]
    systems = [*named, *systems, 3857]
    return own + [Reference(srid, northing_first=first) for first in (False, True) for srid in systems]


def _share(reference: Reference, x: FloatArray, y: FloatArray, extent: Extent) -> float:
    """How much of the sample would lie in the city."""
    east, north = (y, x) if reference.northing_first else (x, y)
    if reference.srid is not None:
        good = fits(east, north, reference.srid)
        x, y = x[good], y[good]
    total = len(east)
    try:
        lon, lat = transform(*reference.forward(x, y, extent.srid), extent.srid, GEODETIC)
    except UnfitCoordinates:
        return 0.0
    inside = (lon >= extent.west) & (lon <= extent.east) & (lat >= extent.south) & (lat <= extent.north)
    if extent.outline is not None and inside.any():
        shapely.prepare(extent.outline)
        inside &= shapely.intersects_xy(extent.outline, lon, lat)
    return float(inside.sum() / total)
