"""Places by what people say: ``GET /geocode``; a place in words is part of ``GET /locate``."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from api.answers import tagged
from api.deps import InHouse, Who
from api.jurisdiction import Asked, areas_of_code, outside
from api.shapes import Area, Degrees, Metres
from gis.crs import GEODETIC, snap, transform
from gis.db import query
from gis.errors import UnfitCoordinates
from gis.place import Place
from grids.city import City
from layers.places import KINDS, Found, find_places

router = APIRouter(tags=["places"])
MOST_SAID = 200
_PAIR = re.compile(
    r"^\s*([-+]?\d{1,9}(?:\.\d+)?)\s*°?\s*[EN东经北纬]?\s*[,，;；\s]\s*([-+]?\d{1,9}(?:\.\d+)?)\s*°?\s*[EN]?\s*$"
)

_NAMED = re.compile("东经|北纬|经度|纬度|[:：]")
_DEGREES = re.compile(r"(\d{1,3})\s*[°度]\s*(\d{1,2}(?:\.\d+)?)\s*[′'’分]\s*(?:(\d{1,2}(?:\.\d+)?)\s*[″\"”秒])?")


class FoundPlace(BaseModel):
    """One answer to a saying."""

    kind: str = Field(examples=["door"])
    kind_zh: str
    kind_en: str
    code: str
    name_zh: str
    name_en: str | None
    former: str | None = Field(description="the name that was asked for, where it is one of the past")
    sure: float = Field(description="0 … 1: how much of what was said is there, and how plainly")
    how: str = Field(description="name, part, sound, initials, alike, door, between, road, crossing, coordinate, code")
    lon: Degrees
    lat: Degrees
    bounds: list[float] = Field(description="west, south, east, north in degrees")
    within_m: Metres = Field(description="how far the thing itself may be from the point")
    areas: list[Area]


class Hint(BaseModel):
    """What was said beside the place: no position is moved by it."""

    direction: str | None
    distance_m: int | None
    near: bool


class Geocoded(BaseModel):
    """The places that a saying may mean, the surest first."""

    said: str
    hint: Hint | None
    items: list[FoundPlace]
    simulated: bool


@router.get("/geocode", response_model=Geocoded)
def geocode(
    request: Request,
    house: InHouse,
    who: Who,
    q: Annotated[
        str,
        Query(
            min_length=1,
            max_length=MOST_SAID,
            description="an address, road, crossing, place, area, its pinyin or first letters, a code, or coordinates",
            examples=["兴安路57号"],
        ),
    ],
    limit: Annotated[int, Query(ge=1, le=20, description="answers at most")] = 5,
) -> Response:
    """Where a place is, however it is said: answers with how sure they are, the surest first.

    Two places of nearly the same sureness are two answers: whoever asks decides. "往南 500 米" is told as a hint.
    """
    with house.begin_reading() as conn:
        who.reader(conn)
        found = said_places(conn, house.city, q, limit)
    return tagged(request, Geocoded, found, private=house.reading == "accounts")


def said_places(conn: Connection, city: City, said: str, most: int) -> dict[str, Any]:
    """The answer of ``GET /geocode``. Raises Invalid for a saying without letters or digits."""
    plain = said.strip()
    hint = None
    found = _coordinates(conn, city, plain) or _code(conn, plain)
    if not found:
        saying, found = find_places(conn, plain, most=most)
        if saying.direction or saying.distance_m or saying.near:
            hint = {"direction": saying.direction, "distance_m": saying.distance_m, "near": saying.near}
    return {
        "said": plain,
        "hint": hint,
        "items": [_shown(conn, city, one) for one in found[:most]],
        "simulated": city.simulated,
    }


def _shown(conn: Connection, city: City, one: Found) -> dict[str, Any]:
    lon, lat = (float(axis) for axis in transform(one.x, one.y, city.srid, GEODETIC))
    west, south, east, north = one.bounds
    sides = transform([west, east], [south, north], city.srid, GEODETIC)
    en, zh = KINDS.get(
        one.kind, (one.kind, {"coordinate": "坐标", "cell": "单元网格", "component": "部件"}.get(one.kind, ""))
    )
    kept = ("kind", "code", "name_zh", "name_en", "former", "sure", "how")
    return {
        **{name: getattr(one, name) for name in kept},
        "kind_zh": zh,
        "kind_en": en,
        "lon": round(lon, 7),
        "lat": round(lat, 7),
        "bounds": [round(float(side), 7) for side in (sides[0][0], sides[1][0], sides[0][1], sides[1][1])],
        "within_m": round(one.within_m, 1),
        "areas": areas_of_code(conn, one.area_code),
    }


def _coordinates(conn: Connection, city: City, said: str) -> list[Found]:
    """A pair of numbers as a place: degrees in either order, or metres of the city's system, if it lies in the city."""
    pair = _numbers(said)
    if pair is None:
        return []
    first, second = pair
    for x, y, srid in (
        (first, second, GEODETIC),
        (second, first, GEODETIC),
        (first, second, city.srid),
        (second, first, city.srid),
    ):
        try:
            there = Place(x, y, srid).to(city.srid)
        except UnfitCoordinates:
            continue
        here = Place(float(snap(there.x)), float(snap(there.y)), city.srid)
        row = conn.execute(query("layers", "cell_at"), {"x": here.x, "y": here.y, "srid": city.srid}).first()
        if row is not None:
            name = f"{x!r}, {y!r}"
            return [_point("coordinate", name, name, here.x, here.y, "coordinate", row.code[:12])]
    raise outside(conn, city, Asked(x=first, y=second, srid=GEODETIC))


def _numbers(said: str) -> tuple[float, float] | None:
    """The two numbers of a pair, as decimals or as degrees, minutes and seconds; None where it is none."""
    plain = _PAIR.match(_NAMED.sub(" ", said))
    if plain is not None:
        return float(plain[1]), float(plain[2])
    parts = list(_DEGREES.finditer(said))
    if len(parts) != 2 or _DEGREES.sub("", said).strip(" ,，;；NESW东经北纬"):
        return None
    one, other = (float(part[1]) + float(part[2]) / 60 + float(part[3] or 0) / 3600 for part in parts)
    return one, other


def _code(conn: Connection, said: str) -> list[Found]:
    """The cell or component of a code."""
    if not (said.isascii() and said.isdigit() and len(said) in (4, 6, 9, 12, 14, 15, 16, 17)):
        return []
    row = conn.execute(query("layers", "place_by_code"), {"code": said}).first()
    if row is None:
        return []
    return [_point(row.kind, said, row.name_zh or said, row.x, row.y, "code", row.area_code)]


def _point(kind: str, code: str, name: str, x: float, y: float, how: str, area_code: str | None) -> Found:
    return Found(
        code=code,
        kind=kind,
        name_zh=name,
        name_en=None,
        former=None,
        area_code=area_code,
        sure=1.0,
        how=how,
        x=x,
        y=y,
        bounds=(x, y, x, y),
        within_m=0.0,
    )
