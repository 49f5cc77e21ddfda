"""Places over HTTP: who is responsible at one, what a component is, what a code or a name means, the city itself."""

from __future__ import annotations

from typing import Annotated, Any

import shapely
from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import Connection

from api.answers import tagged
from api.deps import At, House, InHouse, Who
from api.dutyshapes import Jurisdiction
from api.geocode import said_places
from api.jurisdiction import Asked, areas_of, jurisdiction, units_by_id
from api.shapes import CityFacts, Component, Hits
from api.tiles import bounds_of
from gis.db import query
from gis.errors import Invalid, NotFound, UnfitCoordinates
from layers.accounts import ROLES
from layers.catalogue import edition_in_force
from layers.places import PLAIN

router = APIRouter(tags=["places"])
MOST_HITS = 20
LEAST_SURE = 0.5  #: a place less sure than this is not offered while somebody types
SOURCES = {
    "collector": ("collector", "信息监督员上报"),
    "public": ("public (hotline)", "公众举报"),
    "video": ("video", "实时视频"),
    "leader": ("leader", "领导交办"),
    "web": ("web", "网上举报"),
    "other": ("other", "其他来源"),
}


@router.get("/locate", response_model=Jurisdiction)
def locate(
    request: Request,
    house: InHouse,
    who: Who,
    lon: Annotated[
        float, Query(description="longitude in degrees, or east in metres if crs is projected", examples=[109.0235])
    ],
    lat: Annotated[float, Query(description="latitude in degrees, or north in metres", examples=[32.698])],
    crs: Annotated[int, Query(ge=1, le=999_999, description="EPSG code; 910002 GCJ-02, 910009 BD-09")] = 4326,
    class_: Annotated[
        str | None, Query(alias="class", max_length=8, description="class of the problem", examples=["E0102"])
    ] = None,
    condition: Annotated[int | None, Query(ge=1, le=9999, description="number of the filing condition")] = None,
    component: Annotated[str | None, Query(max_length=20, description="code of the component concerned")] = None,
    accuracy: Annotated[
        float | None, Query(description="error of the position, metres; none: the city's border tolerance")
    ] = None,
    at: At = None,
    nearby: Annotated[
        bool, Query(description="false: without collector, components, open cases and words, in half the time")
    ] = True,
) -> Response:
    """Who is responsible at a place: cell, areas, unit with its reason, the nearest border and what lies across it.

    Without a class: the territorial body of the place. `on_border`: within reach (`accuracy`, at least the city's
    tolerance) another answer holds; `candidates` has each with its distance and its share of the error circle. `at`: as
    of a past instant. Outside the grid 422, with how else the numbers could be read.
    """
    asked = Asked(
        x=lon,
        y=lat,
        srid=crs,
        class_code=class_.strip().upper() if class_ and class_.strip() else None,
        condition_no=condition,
        component_code=component or None,
        accuracy_m=accuracy,
        at=None if at is None else house.city.instant(at, "at"),
    )
    if asked.class_code is None and asked.condition_no is not None:
        raise Invalid(
            "a condition belongs to a class",
            "立案条件须与类别一同给出",
            mend="give class too",
            mend_zh="请同时给出类别",
            field="condition",
        )
    with house.begin_asking() as conn:
        seen = who.reader(conn)
        found = jurisdiction(conn, house.city, asked, seen=seen, nearby=nearby)
    return tagged(request, Jurisdiction, found, private=house.reading == "accounts" or seen is not None)


@router.get("/components/{code}", response_model=Component)
def one_component(
    request: Request,
    house: InHouse,
    who: Who,
    code: Annotated[str, Path(pattern="^[0-9]{16,17}$", description="16 or 17 digits", examples=["6109020101000001"])],
) -> Response:
    """All that is known of a component today."""
    with house.begin_reading() as conn:
        who.reader(conn)
        row = conn.execute(query("layers", "read_component"), {"code": code}).first()
        if row is None:
            raise NotFound(
                f"there is no component {code}",
                f"没有部件 {code}",
                mend="check its code",
                mend_zh="请核对部件编码",
                code=code,
            )
        units = units_by_id(conn, [row.supervising_unit_id, row.owner_unit_id, row.maintainer_unit_id])
        areas = areas_of(conn, [row.cell_code])
    facts = {
        "code": row.code,
        "version": row.id,
        "class": {"code": row.class_code, "name_zh": row.class_zh, "name_en": row.class_en},
        "name_zh": row.name_zh,
        "state": row.state,
        "cell_code": row.cell_code,
        "areas": areas.get(row.cell_code, []),
        "supervising": units.get(row.supervising_unit_id),
        "owner": units.get(row.owner_unit_id),
        "maintainer": units.get(row.maintainer_unit_id),
        "surveyed_on": None if row.surveyed_on is None else str(row.surveyed_on),
        "changed_on": None if row.changed_on is None else str(row.changed_on),
        "data_source": row.data_source,
        "attrs": row.attrs,
        "geometry": row.geometry,
        "lon": round(row.lon, 7),
        "lat": round(row.lat, 7),
        "simulated": house.city.simulated,
    }
    return tagged(request, Component, facts, private=house.reading == "accounts")


@router.get("/search", response_model=Hits)
def search(
    request: Request,
    house: InHouse,
    who: Who,
    q: Annotated[
        str,
        Query(
            min_length=1,
            max_length=60,
            description="a code from four digits on, or part of a name",
            examples=["6109020010"],
        ),
    ],
) -> Response:
    """What a code or a name means: cases, components, cells and areas by the beginning of their code; areas and streets
    by a part of their name in either language; doors, crossings and places as `GET /geocode` finds them. At most 20."""
    text = q.strip()
    with house.begin_reading() as conn:
        seen = who.reader(conn)
        items = [_hit(row) for row in _found(conn, text, seen)]
        if not (text.isascii() and text.replace(".", "").isdigit()):
            items = _with_places(items, conn, house, text)[:MOST_HITS]
        items = items[:MOST_HITS]
    return tagged(request, Hits, {"items": items}, private=house.reading == "accounts" or seen is not None)


def _found(conn: Connection, text: str, seen: tuple[int, ...] | None) -> list[Any]:
    """Rows of what matches, the most exact kinds first."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    digits = text.isascii() and text.isdigit()
    if digits and len(text) < 4:
        raise Invalid(
            "a code is looked for from four digits on",
            "编码至少输入四位",
            mend="type more digits",
            mend_zh="请继续输入",
            field="q",
        )
    most = {"most": MOST_HITS}
    names = {"part": "" if digits else f"%{escaped}%", "prefix": f"{text}%" if digits else ""}
    rows = list(conn.execute(query("grids", "find_areas"), {**names, **most}))
    if not digits:
        return rows + list(conn.execute(query("grids", "find_streets"), {**names, **most}))
    rows += conn.execute(query("grids", "find_cells"), {**names, **most})
    if len(text) <= 14:
        low, high = int(text.ljust(14, "0")), int(text.ljust(14, "9"))
        span = {"low": low, "high": high, "unit_ids": None if seen is None else list(seen)}
        rows += conn.execute(query("cases", "find_cases"), {**span, **most})
    if len(text) <= 17:
        rows += conn.execute(query("layers", "find_components"), {**names, **most})
    rows.sort(key=lambda row: (row.code != text, len(row.code)))  # within a kind in the order found: newest cases first
    return rows


def _with_places(items: list[dict[str, Any]], conn: Connection, house: House, text: str) -> list[dict[str, Any]]:
    """With the places that the text says, the sure ones first; an area or street that was found already stays once."""
    try:
        said = said_places(conn, house.city, text, 5)["items"]
    except (
        Invalid,
        UnfitCoordinates,
    ):  # nothing but signs, or numbers from elsewhere: the page tells these apart itself
        return items
    there = {item["title_zh"] for item in items}
    sure: list[dict[str, Any]] = []
    other: list[dict[str, Any]] = []
    for one in said:
        if one["kind"] == "coordinate" or one["name_zh"] in there or one["sure"] < LEAST_SURE:
            continue
        kind = {"road": "street", "area": "area"}.get(one["kind"], "place")
        code = (
            one["code"].removeprefix("area:")
            if kind == "area"
            else ""
            if kind == "street"
            else f"{one['lon']}, {one['lat']}"
        )
        names = {"title_zh": one["name_zh"], "title_en": one["name_en"] or one["name_zh"]}
        hit = {"kind": kind, "code": code, **names, **{name: one[name] for name in ("lon", "lat", "bounds")}}
        (sure if one["sure"] >= PLAIN else other).append(hit)
    return sure + items + other


def _hit(row: Any) -> dict[str, Any]:
    point = shapely.from_wkb(row.point)
    bounds = [round(side, 7) for side in shapely.from_wkb(row.box).bounds]
    place = {"lon": round(point.x, 7), "lat": round(point.y, 7), "bounds": bounds}
    title_zh = row.title_zh or row.title_en or row.code
    return {"kind": row.kind, "code": row.code, "title_zh": title_zh, "title_en": row.title_en or title_zh, **place}


@router.get("/city", response_model=CityFacts)
def city(request: Request, house: InHouse) -> Response:
    """What a map page needs to know once: where the city is, its catalogue, stages, sources, versions of its layers.

    Open to everybody: it is needed to log in, and holds no case and no component.
    """
    with house.begin_reading() as conn:
        facts = _facts(conn, house)
    return tagged(request, CityFacts, facts)


def _facts(conn: Connection, house: House) -> dict[str, Any]:
    profile = house.city.profile
    edition = {"edition": edition_in_force(conn)}
    first, last = conn.execute(query("cases", "period_of_cases")).one()
    days = None
    if first is not None:
        busy_on = conn.execute(query("cases", "busy_until"), {"timezone": house.city.timezone}).scalar_one()
        ends = {"first_on": first.astimezone(house.zone), "last_on": last.astimezone(house.zone)}
        days = {name: str(at.date()) for name, at in ends.items()} | {"busy_on": str(busy_on)}
    outside_map = {"tiles": house.outside_map, "attribution": house.outside_map_credit} if house.outside_map else None
    kept = ("id", "name_zh", "name_en", "code", "simulated", "srid", "timezone", "tolerance_m", "border_tolerance_m")
    return {
        **{name: getattr(house.city, name) for name in kept},
        "bounds": bounds_of(conn),
        "attribution_zh": profile.get("attribution_zh"),
        "attribution_en": profile.get("attribution_en"),
        "period": days,
        "reading": house.reading,
        "outside_map": outside_map,
        "majors": [dict(row) for row in conn.execute(query("layers", "majors"), edition).mappings()],
        "classes": [dict(row) for row in conn.execute(query("layers", "classes_with_conditions"), edition).mappings()],
        "stages": [dict(row) for row in conn.execute(query("cases", "stages")).mappings()],
        "sources": [{"code": code, "name_en": en, "name_zh": zh} for code, (en, zh) in SOURCES.items()],
        "roles": [{"code": code, "name_en": en, "name_zh": zh} for code, (en, zh) in ROLES.items()],
        "versions": house.versions(conn, at_least=-1),
    }
