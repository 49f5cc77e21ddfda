"""One place, one answer: the cell, the areas, the responsible unit and why, the nearest border, what is near.

The answer is plain values, ready for JSON; the command line makes lines of it (api/locate.py).
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Connection

from cases.border import candidates, in_words, rivals
from cases.duty import explain
from gis.crs import BD09, GCJ02, GEODETIC, Extent, crs_of, diagnose, snap, transform
from gis.db import query
from gis.errors import Invalid, NotFound, UnfitCoordinates
from gis.layer import read_geoframe
from gis.place import Place
from grids.city import City
from layers.places import in_words as in_words_of

NEAR_M = 200.0  #: components of the class asked for are looked for this far; of any class a quarter as far
NEAR_MOST = 8
SIMILAR_M = {"C": 20.0, "E": 50.0}  #: an open case of the class this near may be the same problem
SIMILAR_DAYS = 30
LEVELS = {6: "district", 9: "street", 12: "community"}
REACH_MOST_M = 1000.0  #: a place that may be farther off is none
FITTING_M = 30.0  #: a reading of the numbers that brings them this near to the component named is proposed
FAR_M = 200.0  #: a component this far from the place that was reported may be another, or the numbers another system's
NO_CELL = {
    "en": "no cell covers this ground: whoever looks after it is outside of this grid",
    "zh": "该处无单元网格覆盖，不在本网格管理范围",
    "basis": "nobody",
    "resolved_by": None,
    "rule": None,
    "document": None,
    "source_on": None,
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A place as its sender said it, and the problem there as far as it is known."""

    x: float  #: east or longitude, in the system srid
    y: float
    srid: int
    class_code: str | None = None
    condition_no: int | None = None
    component_code: str | None = None
    accuracy_m: float | None = None  #: how far the place may be wrong, as its sender states
    at: datetime | None = None  #: as of this instant; None: now


def in_city(conn: Connection, city: City, asked: Asked) -> Place:
    """The place in the city's system, snapped. UnfitCoordinates, with the readings that would put it inside."""
    crs_of(asked.srid)  # an unknown system is refused as such, whatever the numbers
    try:
        place = Place(asked.x, asked.y, asked.srid)
    except UnfitCoordinates as error:
        raise _with_readings(conn, city, asked, error) from None
    try:
        here = place.to(city.srid)
    except UnfitCoordinates:
        raise outside(conn, city, asked) from None
    return Place(float(snap(here.x)), float(snap(here.y)), city.srid)


def outside(conn: Connection, city: City, asked: Asked) -> UnfitCoordinates:
    """The refusal of a place that lies in no cell and not near one, or of an instant before there were cells."""
    began = conn.execute(query("grids", "grid_began")).scalar_one()
    if began is None:
        raise NotFound(
            f"{city.name_en} has no grid yet",
            f"{city.name_zh}尚无单元网格",
            mend="wanmi grid import, or wanmi grid cut and publish, makes one",
            mend_zh="请先用 wanmi grid import 或 wanmi grid cut 建立并发布网格",
        )
    if asked.at is not None and asked.at < began:
        local = began.astimezone(ZoneInfo(city.timezone)).isoformat(timespec="seconds")
        raise Invalid(
            f"there was no grid at {asked.at.astimezone(ZoneInfo(city.timezone)).isoformat()}",
            f"{asked.at.astimezone(ZoneInfo(city.timezone)).isoformat()} 时尚无单元网格",
            mend=f"the first cells hold from {local}",
            mend_zh=f"最早的网格自 {local} 起有效",
            field="at",
        )
    refusal = UnfitCoordinates(
        f"({asked.x}, {asked.y}) in EPSG:{asked.srid} lies outside the grid of {city.name_en}",
        f"坐标 ({asked.x}, {asked.y})(EPSG:{asked.srid})不在{city.name_zh}网格范围内",
    )
    return _with_readings(conn, city, asked, refusal)


def jurisdiction(
    conn: Connection, city: City, asked: Asked, *, seen: tuple[int, ...] | None = None, nearby: bool = True
) -> dict[str, Any]:
    """Who must act at a place, and why; the field names are those of ``GET /locate`` (docs/http.md).

    ``seen``: units whose cases may be told; None: all. ``nearby``: also who walks there, components and open cases near
    by, and the place in words; else these are empty.

    Raises UnfitCoordinates for numbers that are no place or lie outside the grid (with the readings that would put
    them inside), Invalid for a class, condition or component that is not there, for an accuracy that says no place,
    and for an instant before the grid.
    """
    if asked.accuracy_m is not None and not 0 <= asked.accuracy_m <= REACH_MOST_M:
        raise Invalid(
            f"an accuracy of {asked.accuracy_m:g} m says no place",
            f"精度 {asked.accuracy_m:g} 米无法确定位置",
            mend=f"0 to {REACH_MOST_M:g} m; without a better one look for the place by its name or address",
            mend_zh=f"应为 0 至 {REACH_MOST_M:g} 米；精度更差时请按地名地址查找",
            field="accuracy",
        )
    here = in_city(conn, city, asked)
    refuse_unknown(conn, asked)
    found = located(conn, here, asked, around=nearby, seen=seen)
    if asked.class_code is not None and found.problem is None:
        raise unknown_class(conn, asked.class_code)
    first, areas, units = found.rows[0], found.areas, found.units
    if first.placed == "outside":
        raise outside(conn, city, asked)
    across = next((row for row in found.rows if row.kind == "across"), None)
    answers = on_border(conn, city, found, asked.accuracy_m, asked.at)
    lon, lat = (float(axis) for axis in transform(here.x, here.y, city.srid, GEODETIC))
    return {
        "at": None if asked.at is None else asked.at.astimezone(ZoneInfo(city.timezone)).isoformat(timespec="seconds"),
        "place": {"lon": round(lon, 7), "lat": round(lat, 7), "x": here.x, "y": here.y, "srid": city.srid},
        "simulated": city.simulated,
        "class": found.problem,
        "cell": {
            "code": first.cell_code,
            "area_m2": round(first.area_m2, 1),
            "area_class": first.area_class,
            "placed": first.placed,
            "distance_m": round(first.placed_m, 2),
        },
        "areas": areas[first.cell_code],
        "unit": units.get(first.unit_id),
        "assisting": [units[number] for number in first.assisting_ids if number in units],
        "reason": reason(first),
        **answers,
        "border": None
        if across is None
        else {
            "distance_m": round(across.distance_m, 2),
            "within_reach": across.distance_m <= first.reach_m,
            "level": _level_between(first.cell_code, across.cell_code),
            "cell": across.cell_code,
            "areas": areas[across.cell_code],
            "unit": units.get(across.unit_id),
        },
        "component": None
        if asked.component_code is None or first.component_m is None
        else {
            "code": asked.component_code,
            "distance_m": round(first.component_m, 2),
            "reading": _fitting_reading(conn, city, asked, first.component_m),
        },
        "in_words": in_words_of(found.places, here.x, here.y),
        **_around(city, found.around),
    }


@dataclass(frozen=True, kw_only=True)
class Located:
    """What the database says of a place."""

    rows: list[Any]  #: of cases.locate: the place itself first, then what lies across the border, and the parts
    areas: dict[str, list[dict[str, str]]]  #: of each cell in the rows, community first
    units: dict[int | None, dict[str, str]]  #: each in the rows, by id
    problem: dict[str, str] | None  #: the class, if the catalogue has it
    around: dict[str, Any]  #: of cases.around, if asked for
    places: list[dict[str, Any]]  #: of layers.places_near, if asked for


def located(
    conn: Connection, here: Place, asked: Asked, *, around: bool = False, seen: tuple[int, ...] | None = None
) -> Located:
    """What assign says of a place in the city's system, of the nearest other community, and around the place.

    ``around``: also the collector, components, names and open cases near by (of the units ``seen``; None: of all).
    """
    of_class = asked.class_code if (asked.class_code or "").startswith("C") else None
    parameters = {
        "x": here.x,
        "y": here.y,
        "srid": here.srid,
        "class_code": asked.class_code,
        "condition_no": asked.condition_no,
        "component_code": asked.component_code,
        "accuracy_m": asked.accuracy_m,
        "at": asked.at,
        "around": around,
        "similar_class": asked.class_code if asked.at is None else None,
        "component_class": of_class,
        "within_m": NEAR_M if of_class else NEAR_M / 4,
        "similar_m": SIMILAR_M.get((asked.class_code or "E")[:1], 0.0),
        "days": SIMILAR_DAYS,
        "unit_ids": None if seen is None else list(seen),
        "most": NEAR_MOST,
    }
    row = conn.execute(query("cases", "locate"), parameters).one()
    areas: dict[str, list[dict[str, str]]] = {found["cell_code"]: [] for found in row.answers if found["cell_code"]}
    for area in row.areas or ():
        areas[area.pop("cell_code")].append(area)
    return Located(
        rows=[SimpleNamespace(**found) for found in row.answers],
        areas=areas,
        units={int(number): unit for number, unit in (row.units or {}).items()},
        problem=row.problem,
        around=row.around or {"collector": None, "components": [], "open_cases": []},
        places=row.places or [],
    )


def undisputed(city: City, reach_m: float, accuracy_m: float | None) -> dict[str, Any]:
    """What on_border says of a place with one cell and no red line within reach."""
    return {
        "on_border": False,
        "reach_m": reach_m,
        "accuracy_m": accuracy_m,
        "tolerance_m": city.border_tolerance_m,
        "one_unit": True,
        "candidates": [],
        "claims": [],
        "dispute": None,
    }


def on_border(
    conn: Connection, city: City, found: Located, accuracy_m: float | None, at: datetime | None
) -> dict[str, Any]:
    """Whether the answer is the same everywhere within reach of the place; if not, every candidate, and in words."""
    first, parts = found.rows[0], [row for row in found.rows if row.kind == "part"]
    areas, units = found.areas, found.units
    claims: list[Any] = []
    contested = sorted({number for row in (first, *parts) for number in rivals(row)})
    if contested:
        asked = {"ids": contested, "cell_code": first.cell_code, "at": at}
        claims = list(conn.execute(query("cases", "zones_claiming"), asked))
        claims = claims if len(claims) > 1 else []  # one claim is no contest
    several = candidates(first, parts, contested=bool(claims))
    flagged = len(several) > 1 or first.placed != "inside" or bool(claims)
    if claims:
        units = {**units_by_id(conn, [row.unit_id for row in claims]), **units}
    names = {code[:12]: (held[0]["name_en"], held[0]["name_zh"]) for code, held in areas.items() if held}
    leads = {number: (unit["name_en"], unit["name_zh"]) for number, unit in units.items()}
    en, zh = in_words(several, names, leads, first.reach_m, claims) if flagged else ("", "")
    return {
        "on_border": flagged,
        "reach_m": first.reach_m,
        "accuracy_m": accuracy_m,
        "tolerance_m": city.border_tolerance_m,
        "one_unit": len({one.unit_id for one in several} | {row.unit_id for row in claims}) == 1,
        "candidates": [
            {
                "here": one.here,
                "distance_m": round(one.distance_m, 2),
                "share": round(one.share, 4),
                "cell": one.cell_code,
                "areas": areas.get(one.cell_code or "", []),
                "unit": units.get(one.unit_id),
                "assisting": [units[number] for number in one.assisting_ids if number in units],
                "reason": reason(one.row) if one.cell_code else NO_CELL,
            }
            for one in several
        ]
        if flagged
        else [],
        "claims": [
            {
                "rule": row.rule_code,
                "document": row.source_document,
                "source_on": None if row.source_on is None else str(row.source_on),
                "unit": units.get(row.unit_id),
            }
            for row in claims
        ],
        "dispute": {"en": en, "zh": zh} if flagged else None,
    }


def reason(found: Any) -> dict[str, Any]:
    """Why this unit: in a sentence of each language, and in codes."""
    en, zh = explain(found.basis, found.resolved_by, found.rule_code, found.source_document)
    return {
        "en": en,
        "zh": zh,
        "basis": found.basis,
        "resolved_by": found.resolved_by,
        "rule": found.rule_code,
        "document": None if found.basis == "decision" else found.source_document,
        "source_on": None if found.basis == "decision" or found.source_on is None else str(found.source_on),
    }


def areas_of(
    conn: Connection, cells: list[str | None], at: datetime | str = "infinity"
) -> dict[str, list[dict[str, str]]]:
    """For each cell's code its areas, today or at an instant, community first."""
    codes = list(dict.fromkeys(code for code in cells if code is not None))
    found: dict[str, list[dict[str, str]]] = {code: [] for code in codes}
    for row in conn.execute(query("grids", "areas_of_cells"), {"codes": codes, "at": at}):
        names = {"name_zh": row.name_zh, "name_en": row.name_en}
        found[row.cell_code].append({"level": row.level, "code": row.code, **names})
    return found


def areas_of_code(conn: Connection, area_code: str | None) -> list[dict[str, str]]:
    """An area by its code and those above it, the smallest first."""
    return [] if area_code is None else areas_of(conn, [area_code])[area_code]


def units_by_id(conn: Connection, ids: list[int | None]) -> dict[int | None, dict[str, str]]:
    """Units by id: code, names, kind."""
    wanted = [number for number in ids if number is not None]
    rows = conn.execute(query("layers", "units_by_id"), {"ids": wanted}) if wanted else ()
    return {
        row.id: {"code": row.code, "name_zh": row.name_zh, "name_en": row.name_en, "kind": row.kind} for row in rows
    }


def _level_between(code: str, across: str) -> str:
    """The highest level at which two cells lie in different areas."""
    return next((level for digits, level in LEVELS.items() if code[:digits] != across[:digits]), "community")


def _around(city: City, found: dict[str, Any]) -> dict[str, Any]:
    """Who walks here, the nearest components (of the class if it is one of
    components, else of any), and open cases of the class near by, which may be the same problem.
    """
    zone = ZoneInfo(city.timezone)
    names = ("code", "class_code", "class_zh", "class_en", "state")
    return {
        "collector": _beat(found["collector"]),
        "nearest_components": [
            {
                **{name: row[name] for name in names},
                "distance_m": round(row["distance_m"], 2),
                "lon": round(row["lon"], 7),
                "lat": round(row["lat"], 7),
            }
            for row in found["components"]
        ],
        "open_cases": [
            {
                "no": row["no"],
                "distance_m": round(row["distance_m"], 1),
                "reported_at": datetime.fromisoformat(row["reported_at"])
                .astimezone(zone)
                .isoformat(timespec="seconds"),
                "stage": {"code": row["stage"], "is_end": False, **_names(row, "stage")},
                "unit": None if row["unit_code"] is None else {"code": row["unit_code"], **_names(row, "unit")},
            }
            for row in found["open_cases"]
        ],
    }


def _names(row: dict[str, Any], of: str) -> dict[str, Any]:
    return {"name_zh": row[f"{of}_zh"], "name_en": row[f"{of}_en"]}


def _beat(row: dict[str, Any] | None) -> dict[str, Any] | None:
    if row is None:
        return None
    walks = {name: row[name] for name in ("code", "name_zh", "name_en")}
    grid = {"code": row["grid_code"], **_names(row, "grid")}
    return {"grid": grid, "collector": None if row["code"] is None else walks}


def _fitting_reading(conn: Connection, city: City, asked: Asked, far_m: float) -> dict[str, str] | None:
    """For a place far from the component that it names: the system in which the numbers would lie beside it."""
    if far_m <= FAR_M or not -180 <= asked.x <= 180 or not -90 <= asked.y <= 90:
        return None
    for srid, name in ((GCJ02, "GCJ-02"), (BD09, "BD-09"), (GEODETIC, "WGS 84")):
        if srid == asked.srid:
            continue
        try:
            there = Place(asked.x, asked.y, srid).to(city.srid)
        except UnfitCoordinates:
            continue
        of = {"x": there.x, "y": there.y, "srid": city.srid, "code": asked.component_code, "at": asked.at or "infinity"}
        away = conn.execute(query("layers", "distance_to_component"), of).scalar_one_or_none()
        if away is not None and away <= FITTING_M:
            return {
                "en": f"read as {name} the place lies {away:.0f} m from the component: the system may be that one",
                "zh": f"若坐标为 {name}，则距该部件仅 {away:.0f} 米，请核对坐标系",
            }
    return None


# ── refusals ────────────────────────────────────────


def unknown_class(conn: Connection, class_code: str) -> Invalid:
    """The refusal of a class that the catalogue does not have, with those that are near."""
    known = {row.code: row for row in conn.execute(query("layers", "known_classes"))}
    near = difflib.get_close_matches(class_code, known, n=3, cutoff=0.5)
    listed = ", ".join(f"{code} {known[code].name_en}" for code in near)
    listed_zh = "、".join(f"{code} {known[code].name_zh}" for code in near)
    return Invalid(
        f"the catalogue has no class {class_code!r}",
        f"目录中没有类别 {class_code!r}",
        mend=f"component classes begin with C, event classes with E; near: {listed or 'none'}",
        mend_zh=f"部件类别以 C 开头,事件类别以 E 开头;相近:{listed_zh or '无'}",
        field="class",
    )


def refuse_unknown(conn: Connection, asked: Asked) -> None:
    """Raise Invalid for a condition that the class does not have, or a component that is not there or not of it."""
    if asked.condition_no is not None:
        conditions = list(conn.scalars(query("layers", "conditions_of_class"), {"class_code": asked.class_code}))
        if not conditions and conn.execute(query("layers", "known_class"), {"code": asked.class_code}).first() is None:
            raise unknown_class(conn, str(asked.class_code))
        if asked.condition_no not in conditions:
            raise Invalid(
                f"class {asked.class_code} has no filing condition {asked.condition_no}",
                f"类别 {asked.class_code} 没有立案条件 {asked.condition_no}",
                mend=f"its conditions are numbered {', '.join(map(str, conditions)) or '(none)'}",
                mend_zh=f"可选:{'、'.join(map(str, conditions)) or '(无)'}",
                field="condition",
            )
    if asked.component_code is None:
        return
    code = asked.component_code
    row = conn.execute(
        query("layers", "class_of_component"), {"code": code, "at": asked.at or "infinity"}
    ).one_or_none()
    of_class = None if row is None else row.class_code
    foreign = (
        row is not None and (asked.class_code or "").startswith("C") and asked.class_code not in (of_class, *row.alike)
    )
    if of_class is None or foreign:
        what = (
            "no component has the code" if of_class is None else f"it is of class {of_class}, not {asked.class_code}:"
        )
        what_zh = "不存在" if of_class is None else f"属于类别 {of_class},不是 {asked.class_code}"
        raise Invalid(
            f"{what} {code}",
            f"部件 {code} {what_zh}",
            mend="correct the component's code or the class",
            mend_zh="请更正部件编码或类别",
            field="component",
        )


def readings(conn: Connection, city: City, places: pd.DataFrame) -> list[str]:
    """For each refused place (columns x, y, srid, reason) how else its numbers could be read to lie in the city.

    English words, several with ``;`` between, or nothing. A proposal for a person: nothing is changed by it.
    """
    extent = _extent(conn, city)
    found = []
    rows = zip(*(places[name].tolist() for name in ("reason", "x", "y", "srid")), strict=True)
    for why, x, y, srid in rows:
        if why not in ("outside", "no_place") or pd.isna(x) or pd.isna(y) or pd.isna(srid):
            found.append("")
        else:
            found.append("; ".join(reading.en for reading in diagnose(float(x), float(y), int(srid), extent)))
    return found


def _extent(conn: Connection, city: City) -> Extent:
    return Extent.of(read_geoframe(conn, query("grids", "cities_now"), city.srid), city.srid)


def _with_readings(conn: Connection, city: City, asked: Asked, error: UnfitCoordinates) -> UnfitCoordinates:
    """The error with what would mend it: readings that would put the place into the city, else where the city is."""
    if not (math.isfinite(asked.x) and math.isfinite(asked.y)):
        return error
    extent = _extent(conn, city)
    readings = diagnose(asked.x, asked.y, asked.srid, extent)
    covered = f"{extent.west:.4f} … {extent.east:.4f}, {extent.south:.4f} … {extent.north:.4f}"
    en = f"check the numbers: the city covers longitude, latitude {covered}"
    zh = f"请核对坐标:城市范围为经度、纬度 {covered}"
    if readings:
        en = "it would lie inside if read as: " + "; ".join(reading.en for reading in readings)
        zh = "若按以下方式理解则在城市范围内:" + ";".join(reading.zh for reading in readings)
    return UnfitCoordinates(error.en, error.zh, mend=en, mend_zh=zh, **error.where)
