"""The inventory over HTTP: components by place, class and instant; differences of two instants; a census's progress."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

import numpy as np
import shapely
from fastapi import APIRouter, Query, Request, Response
from geopandas import GeoDataFrame

from api.answers import ASK_AGAIN, digest, kept, tagged
from api.censusprogress import communities, shares
from api.componentshapes import CommunityCollection, ComponentCollection, DifferenceCollection, ProgressTable
from api.deps import Areas, At, BBox, Classes, House, InHouse, Who, city_box, parse_bbox
from gis.crs import GEODETIC, reproject
from gis.db import query
from grids.areas import AREAS
from layers.difference import differences
from layers.progress import COUNTS, Progress, census_progress

router = APIRouter(tags=["components"])
MOST_ROWS = 1000
DECIMALS = 9  #: of degrees: a tenth of a millimetre
Most = Annotated[int, Query(ge=1, le=MOST_ROWS, description="rows of a page")]
After = Annotated[str, Query(max_length=17, pattern="^[0-9]*$", description="`next` of the page before")]


@router.get("/components", response_model=ComponentCollection)
def list_components(
    request: Request,
    house: InHouse,
    who: Who,
    classes: Classes,
    areas: Areas,
    bbox: BBox = None,
    at: At = None,
    limit: Most = 100,
    after: After = "",
) -> Response:
    """Components by place, class and area, today or as they were at an instant: GeoJSON, by code, in pages.

    `matched` counts all of them, on all pages; `next` is `after` of the next page.
    """
    asked: dict[str, Any] = {
        **_narrowed(house, bbox, classes, areas),
        "at": "infinity" if at is None else house.city.instant(at, "at"),
    }
    with house.begin_reading() as conn:
        who.reader(conn)
        matched = conn.execute(query("layers", "count_components_at"), asked).scalar_one()
        rows = (
            conn.execute(query("layers", "list_components"), {**asked, "after": after, "most": limit + 1})
            .mappings()
            .all()
        )
    features = [
        {
            "geometry": row["geometry"],
            "properties": {
                **{
                    name: row[name]
                    for name in row
                    if name not in ("geometry", "surveyed_on", "changed_on", "class_code")
                },
                **{name: _day(row[name]) for name in ("surveyed_on", "changed_on")},
                "class": row["class_code"],
                "since": house.at(row["since"]),
            },
        }
        for row in rows[:limit]
    ]
    facts = {"matched": matched, "features": features, "simulated": house.city.simulated}
    facts["next"] = rows[limit - 1]["code"] if len(rows) > limit else None
    return tagged(request, ComponentCollection, facts, private=house.reading == "accounts")


@router.get("/components/changes", response_model=DifferenceCollection)
def component_changes(
    request: Request,
    house: InHouse,
    who: Who,
    classes: Classes,
    areas: Areas,
    from_: Annotated[
        datetime, Query(alias="from", description="instant; a day is its first moment", examples=["2026-03-01"])
    ],
    to: At = None,
    bbox: BBox = None,
    limit: Most = 100,
    after: After = "",
) -> Response:
    """What differs between two instants: GeoJSON, by code, in pages; with the fields before and after, who, why.

    What came and went in between is no difference.
    """
    first = house.city.instant(from_, "from")
    last = datetime.now(house.zone) if to is None else house.city.instant(to, "to")
    asked = _narrowed(house, bbox, classes, areas)
    with house.begin_reading() as conn:
        who.reader(conn)
        found = differences(
            conn,
            first,
            last,
            srid=house.city.srid,
            classes=classes,
            areas=areas,
            bbox=None if bbox is None else (asked["west"], asked["south"], asked["east"], asked["north"]),
            after=after,
            most=limit + 1,
        )
    page = found.head(limit)
    facts = {
        "from": house.at(first),
        "to": house.at(last),
        "matched": int(found["matched"].iloc[0]) if len(found) else 0,
        "features": [_difference(house, row) for row in _in_degrees(page, house.city.srid)],
        "next": str(page["code"].iloc[-1]) if len(found) > limit else None,
        "simulated": house.city.simulated,
    }
    return tagged(request, DifferenceCollection, facts, private=house.reading == "accounts")


def _difference(house: House, row: dict[str, Any]) -> dict[str, Any]:
    before_after = {name: {"before": old, "after": new} for name, (old, new) in row["fields"].items()}
    names = ("code", "class_zh", "class_en", "fate", "old_cell", "new_cell", "actor", "reason")
    return {
        "geometry": row["geometry"],
        "properties": {
            **{name: row[name] for name in names},
            "class": row["class_code"],
            "fields": before_after,
            "moved_m": None if row["moved_m"] is None or np.isnan(row["moved_m"]) else round(row["moved_m"], 3),
            "at": house.at(row["at"]),
        },
    }


@router.get(
    "/census/progress",
    response_model=ProgressTable,
    responses={200: {"content": {"application/geo+json": {}}, "description": "the table, or GeoJSON of communities"}},
)
def progress(
    request: Request,
    house: InHouse,
    who: Who,
    classes: Classes,
    areas: Areas,
    since: Annotated[
        date | None, Query(description="first day of the census; else the profile's, or 1 January")
    ] = None,
    stale_months: Annotated[
        int | None, Query(ge=1, le=1200, description="months after which a visit is stale; else the profile's, or 24")
    ] = None,
    by: Annotated[
        Literal["community", "class", "both"], Query(description="a row for each community, class, or pair of them")
    ] = "community",
    format: Annotated[
        Literal["json", "geojson"], Query(description="geojson: the communities with their counts")
    ] = "json",
) -> Response:
    """How far a census is: surveyed (of these new, changed), to confirm, stale; what is gone.

    components = surveyed + to_confirm + stale. An empty community: components in no cell.
    """
    with house.begin_reading() as conn:
        who.reader(conn)
        found = census_progress(
            conn, house.city, since_on=since, stale_months=stale_months, classes=classes, areas=areas
        )
        places = AREAS.read(conn, house.city.srid)
    private = house.reading == "accounts"
    if format == "geojson":
        model = CommunityCollection.model_validate(_collection(found, communities(found, places), house))
        body = model.model_dump_json().encode()
        return kept(request, body, "application/geo+json", f'"{digest(body)}"', cache=ASK_AGAIN, private=private)
    return tagged(request, ProgressTable, _table(found, places, by, house), private=private)


def _table(found: Progress, places: GeoDataFrame, by: str, house: House) -> dict[str, Any]:
    area, kind = ["community"], ["class_code", "class_zh", "class_en"]
    columns = {"community": area, "class": kind, "both": area + kind}[by]
    rows = found.by(*columns)
    names = places.drop_duplicates("code").set_index("code")
    made = []
    for row, share in zip(rows.to_dict("records"), shares(rows), strict=True):
        one = {name: row[name] for name in COUNTS} | {"share": None if np.isnan(share) else round(float(share), 4)}
        if "community" in columns:
            known = row["community"] in names.index
            one |= {"community": row["community"]}
            one |= {name: names.at[row["community"], name] if known else None for name in ("name_zh", "name_en")}
        if by != "community":
            one |= {"class": row["class_code"], "class_zh": row["class_zh"], "class_en": row["class_en"]}
        made.append(one)
    return {**_head(found, house), "rows": made}


def _collection(found: Progress, places: GeoDataFrame, house: House) -> dict[str, Any]:
    features = [
        {
            "geometry": row["geometry"],
            "properties": {
                **{name: row[name] for name in ("code", "name_zh", "name_en", *COUNTS)},
                "share": None if np.isnan(row["share"]) else round(row["share"], 4),
            },
        }
        for row in _in_degrees(places, house.city.srid)
    ]
    return {**_head(found, house), "features": features}


def _head(found: Progress, house: House) -> dict[str, Any]:
    sums = found.by()
    share = shares(sums)[0]
    total = {name: int(sums.iloc[0][name]) for name in COUNTS} | {
        "share": None if np.isnan(share) else round(float(share), 4)
    }
    days = {"since": str(found.since_on), "stale_before": str(found.fresh_on), "stale_months": found.stale_months}
    return {**days, "total": total, "simulated": house.city.simulated}


def _in_degrees(frame: GeoDataFrame, srid: int) -> list[dict[str, Any]]:
    """The rows with their geometry as GeoJSON in degrees; None where there is none."""
    import json

    shapes = shapely.transform(reproject(frame.geometry.to_numpy(), srid, GEODETIC), lambda xy: np.round(xy, DECIMALS))
    texts = [None if shape is None else json.loads(shapely.to_geojson(shape)) for shape in shapes]
    rows = frame.drop(columns=frame.geometry.name).to_dict("records")
    return [{**row, "geometry": text} for row, text in zip(rows, texts, strict=True)]


def _narrowed(house: House, bbox: str | None, classes: tuple[str, ...], areas: tuple[str, ...]) -> dict[str, Any]:
    """The filters as the queries take them."""
    box = (None,) * 4 if bbox is None else city_box(parse_bbox(bbox), house.city.srid)
    named = dict(zip(("west", "south", "east", "north"), box, strict=True))
    return {"classes": list(classes) or None, "areas": list(areas) or None, "box_srid": house.city.srid, **named}


def _day(day: date | None) -> str | None:
    return None if day is None else str(day)
