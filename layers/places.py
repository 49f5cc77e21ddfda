"""Where a place is, however it is said (地理编码): names of places through time, ranked answers, a place in words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from sqlalchemy import Connection, text

from gis.crs import snap
from gis.db import copy_frame, query
from gis.errors import Invalid
from gis.history import Version
from gis.layer import read_geoframe
from layers.place_words import Saying, fold, initials_of, is_latin, key, sound, sounds_of, take_apart

KINDS = {
    "area": ("area", "区域"),
    "road": ("road", "道路"),
    "crossing": ("crossing", "路口"),
    "zone": ("zone", "地片、区片"),
    "door": ("door", "门牌"),
    "building": ("building", "楼栋"),
    "poi": ("place of interest", "兴趣点"),
    "water": ("water", "水系"),
    "green": ("green", "绿地"),
    "rail": ("railway", "铁路"),
}
COLUMNS = ["code", "kind", "name_zh", "name_en", "other_names", "road", "number", "derived", "data_source"]
MOST = 20
PLAIN = 0.8  #: sure enough not to look for other readings
_PROVINCES = (("", "陕西省"),)


@dataclass(frozen=True, kw_only=True)
class Found:
    """One answer to a saying."""

    code: str
    kind: str
    name_zh: str
    name_en: str | None
    former: str | None  #: the name that was asked for, where it is one of the past
    area_code: str | None
    sure: float  #: 0 … 1: how much of what was said is there, and how plainly
    how: str  #: name, part, sound, initials, alike; door, between, road (no such number known), crossing
    x: float  #: metres in the city's system
    y: float
    bounds: tuple[float, float, float, float]
    within_m: float  #: how far the thing itself may be from the point


# ── writing ────────────────────────────────────────


def load_places(conn: Connection, places: gpd.GeoDataFrame, version: Version) -> int:
    """Write places (COLUMNS and geometry in the city's system); returns the rows. The names' keys are made here."""
    if places.empty:
        return 0
    frame = places[COLUMNS].copy()
    names = [
        [name for name in (zh, en, *others) if isinstance(name, str) and name]
        for zh, en, others in zip(frame["name_zh"], frame["name_en"], frame["other_names"], strict=True)
    ]
    keys = [list(dict.fromkeys(key(name) for name in several)) for several in names]
    sounds = [list(dict.fromkeys(one for name in several for one in sounds_of(name))) for several in names]
    frame["keys"] = [_array(one) for one in keys]
    frame["sounds"] = [_array(one) for one in sounds]
    frame["initials"] = [
        _array(list(dict.fromkeys(one for name in several for one in initials_of(name)))) for several in names
    ]
    frame["spelling"] = [" ".join(dict.fromkeys([*one, *other])) for one, other in zip(keys, sounds, strict=True)]
    frame["other_names"] = [_array(list(others)) for others in frame["other_names"]]
    frame["number"] = frame["number"].astype("Int64")
    frame["geom"] = snap(gpd.GeoSeries(places.geometry, crs=places.crs))
    many = copy_frame(conn, version.stamp(frame), "layers.place")
    conn.execute(query("layers", "place_places"))
    conn.execute(text("analyze layers.place"))
    return many


def _array(texts: list[str]) -> str:
    return "{" + ",".join('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts) + "}"


def derive_places(conn: Connection, srid: int) -> gpd.GeoDataFrame:
    """Places that areas and ground of today name: areas, roads, their crossings, water, parks, named buildings.

    Columns as ``load_places`` takes them. A road of several pieces is one place unless they lie far apart.
    """
    areas = read_geoframe(conn, query("layers", "areas_as_places"), srid)
    ground = read_geoframe(conn, query("layers", "ground_as_places"), srid)
    parts = [_frame(areas, "area"), _frame(ground, None)]
    roads = ground[ground["kind"] == "road"].reset_index(drop=True)
    parts.append(_crossings(roads))
    frame = gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), geometry="geometry", crs=srid)
    frame["derived"] = True
    return frame


def _frame(rows: gpd.GeoDataFrame, kind: str | None) -> gpd.GeoDataFrame:
    frame = rows.copy()
    if kind is not None:
        frame["kind"] = kind
    frame["code"] = [f"{one}:{code}" for one, code in zip(frame["kind"], frame["code"], strict=True)]
    frame["other_names"] = [_short_names(one, name) for one, name in zip(frame["kind"], frame["name_zh"], strict=True)]
    return frame.assign(road=None, number=None)


def _short_names(kind: str, name: str) -> list[str]:
    """What people call an area for short."""
    if kind != "area":
        return []
    for level in ("街道", "社区", "区", "市", "县"):
        if name.endswith(level) and len(name) - len(level) >= 2:
            return [name[: -len(level)]]
    return []


def _crossings(roads: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Where two roads of different names meet; of a pair that meets often, the meeting in the middle."""
    shapes = roads.geometry.to_numpy()
    one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    pairs = [(a, b) for a, b in zip(one.tolist(), other.tolist(), strict=True) if a < b]
    rows = []
    for a, b in pairs:
        names = [roads["name_zh"][n] for n in (a, b)]
        if names[0] == names[1]:
            continue
        meeting = shapely.intersection(shapes[a], shapes[b])
        point = shapely.centroid(meeting) if meeting.geom_type == "Point" else shapely.point_on_surface(meeting)
        english = [roads["name_en"][n] or roads["name_zh"][n] for n in (a, b)]
        rows.append(
            {
                "code": "crossing:" + "|".join(sorted(names)),
                "kind": "crossing",
                "name_zh": f"{names[0]}与{names[1]}交叉口",
                "name_en": f"{english[0]} and {english[1]}",
                "other_names": [f"{names[1]}与{names[0]}交叉口", f"{names[0]}{names[1]}", f"{names[1]}{names[0]}"],
                "data_source": roads["data_source"][a],
                "geometry": point,
            }
        )
    frame = pd.DataFrame(rows, columns=["code", "kind", "name_zh", "name_en", "other_names", "data_source", "geometry"])
    frame = frame.drop_duplicates("code").assign(road=None, number=None)
    return gpd.GeoDataFrame(frame, geometry="geometry", crs=roads.crs)


# ── finding ────────────────────────────────────────


def find_places(
    conn: Connection, said: str, *, at: datetime | None = None, most: int = MOST
) -> tuple[Saying, list[Found]]:
    """The places that a saying may mean, the surest first, and the saying taken apart.

    Raises Invalid for a saying without letters or digits.
    """
    areas = [(row.code, row.name_zh) for row in conn.execute(query("layers", "area_names"))]
    areas += _PROVINCES
    if not any(letter.isalnum() for letter in said):
        raise Invalid(
            "nothing to look for: it has no letters",
            "没有可查找的文字",
            mend="type a name, an address, pinyin or its first letters",
            mend_zh="请输入地名、地址、拼音或首字母",
            field="q",
        )
    saying = take_apart(said, areas)
    found = _answers(conn, saying, most)
    for reading in ({"things": True}, {"short": True}, {"short": True, "things": True}):
        if (found and found[0].sure >= PLAIN) or len(saying.names) > 1:
            break
        other = take_apart(said, areas, **reading)
        more = _answers(conn, other, most) if other != saying else []
        if more and (not found or more[0].sure > found[0].sure):
            saying, found = other, more
    return saying, found


def _answers(conn: Connection, saying: Saying, most: int) -> list[Found]:
    """The places that a saying taken apart may mean, the surest first."""
    name, *second = saying.names
    if second:
        found = _crossing(conn, saying) or _named(conn, "".join(saying.names), saying, most)
    elif saying.number is not None:
        found = _doors(conn, saying, _named(conn, name, saying, most, kind="road"))
        if not found:  # a door of a road that has no name of its own among the places
            found = _named(conn, f"{name}{saying.number}号", saying, most, kind="door", plain=True)
            found = [Found(**{**vars(one), "sure": one.sure * (0.9 if saying.finer else 1.0)}) for one in found]
        numbered = f"{name}{saying.number}"  # a name that ends in a number
        found += _named(conn, numbered, saying, most, plain=bool(found) and found[0].sure >= PLAIN)
    else:
        found = _named(conn, name, saying, most)
    best: dict[str, Found] = {}
    for one in found:
        if one.code not in best or one.sure > best[one.code].sure:
            best[one.code] = one
    order = list(KINDS)
    ranked = sorted(best.values(), key=lambda one: (-one.sure, order.index(one.kind), len(one.name_zh), one.code))
    return ranked[:most]


def _named(
    conn: Connection, name: str, saying: Saying, most: int, *, kind: str | None = None, plain: bool = False
) -> list[Found]:
    """Places by a name: the same, the same by sound, by first letters; else a part of it, or alike."""
    latin = is_latin(name)
    asked = {
        "key": name,
        "sound": fold(name) if latin else sound(name),
        "initials": name if latin and len(name) <= 12 else None,
        "latin": latin,
        "kind": kind,
        "most": max(most, 20),
    }
    rows = list(conn.execute(query("layers", "places_named"), asked))
    if not plain and (not rows or max(_sure(row, saying) for row in rows) < PLAIN):
        rows += list(conn.execute(query("layers", "places_alike"), asked))
    return sorted((_found(row, _sure(row, saying), row.how) for row in rows), key=lambda one: -one.sure)


def _sure(row: Any, saying: Saying) -> float:
    """How sure an answer is: how the name fits, less where the areas that were said are others."""
    fit = float(row.fit)
    if row.former is not None:
        fit -= 0.1
    for code in saying.areas:
        fit += 0.02 if (row.area_code or "").startswith(code) else -0.15
    return max(0.01, min(fit, 1.0))


def _found(row: Any, sure: float, how: str, **other: Any) -> Found:
    facts = {
        "code": row.code,
        "kind": row.kind,
        "name_zh": row.name_zh,
        "name_en": row.name_en,
        "former": row.former,
        "area_code": row.area_code,
        "x": row.x,
        "y": row.y,
        "bounds": (row.west, row.south, row.east, row.north),
        "within_m": float(np.hypot(row.east - row.west, row.north - row.south) / 2),
    }
    return Found(**{**facts, **other}, sure=round(sure, 3), how=how)


def _doors(conn: Connection, saying: Saying, roads: list[Found]) -> list[Found]:
    """The door of a number on the roads found; between its neighbours where it is not known; else the road."""
    found = []
    for road in roads[:5]:
        rows: list[Any] = []
        for same_side in (True, False):
            asked = {"road": road.name_zh, "number": saying.number, "same_side": same_side}
            rows = rows or list(conn.execute(query("layers", "doors_near_number"), asked))
        exact = [row for row in rows if row.number == saying.number]
        if exact:
            found += [_found(row, road.sure * (0.9 if saying.finer else 1.0), "door") for row in exact]
        elif rows:
            low = max((row for row in rows if row.number < saying.number), key=lambda row: row.number, default=rows[0])
            high = min(
                (row for row in rows if row.number > saying.number), key=lambda row: row.number, default=rows[-1]
            )
            span = high.number - low.number
            if not low.number < saying.number < high.number:  # beyond the last number that is known
                found.append(Found(**{**vars(road), "sure": round(road.sure * 0.6, 3), "how": "road"}))
                continue
            part = (saying.number - low.number) / span
            x, y = low.x + part * (high.x - low.x), low.y + part * (high.y - low.y)
            name = f"{road.name_zh}{saying.number}号"
            away = float(np.hypot(high.x - low.x, high.y - low.y))
            found.append(
                _found(
                    low,
                    road.sure * 0.85,
                    "between",
                    code=f"{road.code}#{saying.number}",
                    name_zh=name,
                    name_en=None,
                    x=x,
                    y=y,
                    bounds=(x, y, x, y),
                    within_m=max(away, 20.0),
                )
            )
        else:
            found.append(Found(**{**vars(road), "sure": round(road.sure * 0.6, 3), "how": "road"}))
    return found


def _crossing(conn: Connection, saying: Saying) -> list[Found]:
    """The crossing of two roads, also of roads that only nearly meet."""
    roads = [_named(conn, name, saying, 5, kind="road")[:4] for name in saying.names]
    found = []
    for one in roads[0]:
        for other in roads[1]:
            if one.code == other.code:
                continue
            code = "crossing:" + "|".join(sorted((one.name_zh, other.name_zh)))
            row = conn.execute(query("layers", "place_of_code"), {"code": code}).first()
            if row is not None:
                found.append(_found(row, min(one.sure, other.sure), "crossing"))
    if not found:  # they do not meet: each of them is a place
        found = [
            Found(**{**vars(one), "sure": round(one.sure * 0.6, 3), "how": "road"}) for two in roads for one in two[:1]
        ]
    return sorted(found, key=lambda one: -one.sure)


# ── in words ────────────────────────────────────────


_POINTS = (
    *(("east", "东"), ("north east", "东北"), ("north", "北"), ("north west", "西北")),
    *(("west", "西"), ("south west", "西南"), ("south", "南"), ("south east", "东南")),
)


def in_words(near: list[dict[str, Any]], x: float, y: float) -> dict[str, Any] | None:
    """A place in words, Chinese and English: the door, else the road, and where it lies from a landmark.

    ``near``: the rows of layers.places_near. None where nothing that has a name is near.
    """
    rows = {row["kind"]: row for row in near}
    door, road, mark = rows.get("door"), rows.get("road"), rows.get("mark")
    zh, en = [], []
    if door is not None:
        close = door["distance_m"] < 8
        zh.append(door["name_zh"] if close else f"{door['name_zh']}附近")
        en.append(_english(door) if close else f"near {_english(door)}")
    elif road is not None:
        on = road["distance_m"] <= 12
        zh.append(road["name_zh"] if on else f"{road['name_zh']}旁")
        en.append(_english(road) if on else f"by {_english(road)}")
    if mark is not None:
        if mark["distance_m"] < 15:
            zh.append(mark["name_zh"])
            en.append(_english(mark))
        else:
            angle = np.degrees(np.arctan2(y - mark["y"], x - mark["x"])) % 360
            east, dong = _POINTS[int((angle + 22.5) // 45) % 8]
            far = int(round(mark["distance_m"], -1)) or 10
            zh.append(f"{mark['name_zh']}以{dong}约 {far} 米")
            en.append(f"about {far} m {east} of {_english(mark)}")
    if not zh:
        return None
    return {"zh": "，".join(zh), "en": ", ".join(en)}


def _english(row: dict[str, Any]) -> str:
    return str(row["name_en"] or row["name_zh"])
