"""Cases over HTTP: report one, list them, read one."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from geoalchemy2 import Geometry
from geoalchemy2.functions import ST_MakeEnvelope
from sqlalchemy import Connection, func, select

from api.answers import problems, tagged
from api.caseshapes import Case, CasePage, ChosenUnit, NewCase, OpenedCase
from api.deps import BBox, Filters, House, InHouse, Who, city_box, parse_bbox
from api.jurisdiction import (
    SIMILAR_DAYS,
    SIMILAR_M,
    Asked,
    in_city,
    located,
    on_border,
    outside,
    reason,
    refuse_unknown,
    unknown_class,
)
from cases import desk
from cases.desk import CASES, Report, open_case
from gis.crs import GEODETIC
from gis.db import query
from gis.errors import Conflict, Forbidden, NotFound
from gis.place import Place
from layers.accounts import ROLES, Actor

router = APIRouter(tags=["cases"])
MOST_ROWS = 1000
SOURCE = "本系统上报 | reported here"
SOURCE_SIMULATED = "本系统上报（模拟城市） | reported here (simulated city)"
CaseNo = Annotated[
    int, Path(ge=19000101000000, le=29991231999999, description="number of the case", examples=[20260302000042])
]


@router.post(
    "/cases",
    status_code=201,
    response_model=OpenedCase,
    responses={200: {"model": OpenedCase, "description": "the key was seen before: its case"}, **problems(409)},
)
def report_case(
    request: Request,
    house: InHouse,
    who: Who,
    new: NewCase,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=200, description="The sender's own key: the same again is the same report."),
    ] = None,
) -> Response:
    """Report a problem: it becomes a case with its cell, areas, responsible unit and the reason, or is refused.

    For collectors, leaders, acceptors (what the hotline hears), video operators and channels. `similar` names open
    cases that may be the same problem. Answered only when the case is on disk.
    """
    asked = Asked(
        x=new.lon,
        y=new.lat,
        srid=new.crs,
        class_code=new.class_.upper(),
        condition_no=new.condition,
        component_code=new.component,
    )
    with house.begin_writing() as conn:
        actor = who.writer(conn)
        channel = _channel(actor, new.channel)
        here = in_city(conn, house.city, asked)
        refuse_unknown(conn, asked)
        report = Report(
            channel=channel,
            key=f"{actor.name}:{idempotency_key or secrets.token_urlsafe(16)}",
            class_code=str(asked.class_code),
            condition_no=new.condition,
            component_code=new.component,
            x=new.lon,
            y=new.lat,
            srid=new.crs,
            here=here,
            accuracy_m=new.accuracy_m,
            address=new.address,
            description=new.description,
            data_source=SOURCE_SIMULATED if house.city.simulated else SOURCE,
        )
        opened = open_case(conn, report, actor=actor.name)
        if opened.refusal == "unknown_class":
            raise unknown_class(conn, report.class_code)
        if opened.refusal is not None or opened.no is None:
            raise outside(conn, house.city, asked)
        if opened.other_report:
            raise Conflict(
                f"with this Idempotency-Key another report was sent before: it became case {opened.no}",
                f"此 Idempotency-Key 已用于另一上报(案件 {opened.no})",
                mend="send a new key with a new report",
                mend_zh="新的上报请使用新的键",
                no=opened.no,
            )
        facts = read_case(conn, house, opened.no, None)
        near = {"no": opened.no, "within_m": SIMILAR_M[report.class_code[0]], "days": SIMILAR_DAYS, "most": 5}
        facts["similar"] = [
            {
                "no": row.no,
                "distance_m": round(row.distance_m, 1),
                "reported_at": house.at(row.reported_at),
                "stage": row.stage,
            }
            for row in conn.execute(query("cases", "similar_cases"), near)
        ]
    with house.begin_asking() as conn:  # after the commit: the versions that show it
        facts["versions"] = house.versions(conn, at_least=-1)
    answer = tagged(request, OpenedCase, facts, status=200 if opened.was_there else 201, private=True)
    answer.headers["Location"] = f"/cases/{opened.no}"
    return answer


def _channel(actor: Actor, wanted: str | None) -> str:
    """The source that a report of this account comes in as. Forbidden for who may not report, or not through it."""
    if not actor.channels:
        able = ", ".join(role for role in ("collector", "leader", "acceptor", "video_operator", "channel"))
        words = "、".join(ROLES[role][1] for role in ("collector", "leader", "acceptor", "video_operator", "channel"))
        raise Forbidden(
            f"the account {actor.name} ({', '.join(sorted(actor.roles))}) may not report",
            f"账号 {actor.name} 无权上报",
            mend=f"these roles may: {able}",
            mend_zh=f"可上报的角色:{words}",
        )
    if wanted is not None and wanted not in actor.channels:
        raise Forbidden(
            f"the account {actor.name} may not report through {wanted!r}",
            f"账号 {actor.name} 不能以来源 {wanted!r} 上报",
            mend=f"it may through: {', '.join(actor.channels)}",
            mend_zh=f"可用来源:{'、'.join(actor.channels)}",
            field="channel",
        )
    return wanted or actor.channels[0]


def _dispute(conn: Connection, house: House, row: Any) -> dict[str, Any]:
    """What could be meant beside the unit of a case, as of the instant at which it was last assigned."""
    asked = Asked(
        x=row.x,
        y=row.y,
        srid=house.city.srid,
        class_code=row.class_code,
        condition_no=row.condition_no,
        component_code=row.component_code,
        accuracy_m=row.accuracy_m,
        at=row.assigned_at,
    )
    found = located(conn, Place(row.x, row.y, house.city.srid), asked)
    return on_border(conn, house.city, found, row.accuracy_m, row.assigned_at)


@router.get("/cases", response_model=CasePage)
def list_cases(
    request: Request,
    house: InHouse,
    who: Who,
    asked: Filters,
    cell: Annotated[str | None, Query(pattern="^[0-9]{14,15}$", description="code of a cell")] = None,
    bbox: BBox = None,
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS, description="rows at most")] = 100,
    after: Annotated[int | None, Query(ge=0, le=29991231999999, description="`next` of the page before")] = None,
) -> Response:
    """Cases, newest number first, a page at a time: `after` is the `next` of the page before."""
    srid = house.city.srid
    source = CASES.source(srid)
    degrees = func.ST_Transform(source.c.geom, GEODETIC, type_=Geometry(srid=GEODETIC))
    names = ("no", "class_code", "class_zh", "class_en", "stage", "stage_zh", "stage_en", "channel", "reported_at")
    columns = [source.c[name] for name in (*names, "cell_code", "unit_code", "unit_zh", "unit_en")]
    statement = select(*columns, func.ST_X(degrees).label("lon"), func.ST_Y(degrees).label("lat"))
    with house.begin_reading() as conn:
        seen = who.reader(conn)
        given = {**asked.given(house.zone, seen), "cell": () if cell is None else (cell,)}
        statement = statement.where(*CASES.narrowing(source, given))
        if bbox is not None:
            box = city_box(parse_bbox(bbox), srid)
            statement = statement.where(source.c.geom.bool_op("&&")(ST_MakeEnvelope(*box, srid)))
        if after is not None:
            statement = statement.where(source.c.no < after)
        rows = conn.execute(statement.order_by(source.c.no.desc()).limit(limit + 1)).mappings().all()
    items = [
        {**row, "reported_at": house.at(row["reported_at"]), "lon": round(row["lon"], 7), "lat": round(row["lat"], 7)}
        for row in rows[:limit]
    ]
    further = items[-1]["no"] if len(rows) > limit else None
    data = {"items": items, "next": further, "simulated": house.city.simulated}
    return tagged(request, CasePage, data, private=house.reading == "accounts" or seen is not None)


@router.get("/cases/{no}", response_model=Case)
def one_case(request: Request, house: InHouse, who: Who, no: CaseNo) -> Response:
    """All that is known of a case: place, class, unit, reason, and everything that happened to it."""
    with house.begin_reading() as conn:
        seen = who.reader(conn)
        facts = read_case(conn, house, no, seen)
    return tagged(request, Case, facts, private=house.reading == "accounts" or seen is not None)


@router.post("/cases/{no}/choose_unit", response_model=Case, responses=problems(409))
def choose_unit(request: Request, house: InHouse, who: Who, no: CaseNo, chosen: ChosenUnit) -> Response:
    """Let another unit lead than was proposed, with the reason; for dispatchers, before the dispatch.

    The decision is an event, and counted against the rule that proposed (`wanmi rules review`). Repeated it changes
    nothing.
    """
    with house.begin_writing() as conn:
        actor = who.writer(conn)
        if "dispatcher" not in actor.roles:
            raise Forbidden(
                f"the account {actor.name} ({', '.join(sorted(actor.roles))}) may not choose a unit",
                f"账号 {actor.name} 无权改派",
                mend="dispatchers may",
                mend_zh="仅派遣员可改派",
            )
        desk.choose_unit(conn, no, chosen.unit, actor=actor.name, reason=chosen.reason)
        facts = read_case(conn, house, no, None)
    return tagged(request, Case, facts, private=True)


def read_case(conn: Connection, house: House, no: int, seen: tuple[int, ...] | None) -> dict[str, Any]:
    """The facts of a case (fields of shapes.Case). NotFound when there is none, or it is not of the units ``seen``."""
    row = conn.execute(
        query("cases", "read_case"), {"no": no, "unit_ids": None if seen is None else list(seen)}
    ).first()
    if row is None:
        raise NotFound(
            f"there is no case {no}" + ("" if seen is None else " among those of your unit"),
            f"没有案件 {no}" + ("" if seen is None else "(本单位范围内)"),
            mend="check its number: yyyymmdd and six digits",
            mend_zh="请核对案件号:年月日加六位数字",
            no=no,
        )
    condition = {"no": row.condition_no, "condition_zh": row.condition_zh, "condition_en": row.condition_en}
    component = {"code": row.component_code, "distance_m": row.component_m}
    return {
        "no": row.no,
        "channel": row.channel,
        "class": {"code": row.class_code, "name_zh": row.class_zh, "name_en": row.class_en},
        "condition": None if row.condition_no is None else condition,
        "component_code": row.component_code,
        "lon": round(row.lon, 7),
        "lat": round(row.lat, 7),
        "accuracy_m": row.accuracy_m,
        "address": row.address,
        "description": row.description,
        **{name: house.at(getattr(row, name)) for name in ("reported_at", "due_at", "disposed_at", "closed_at")},
        "stage": {"code": row.stage, "name_zh": row.stage_zh, "name_en": row.stage_en, "is_end": row.is_end},
        "cell": {"code": row.cell_code, "placed": row.placed, "distance_m": round(row.placed_m, 2)},
        "areas": row.areas,
        "border": None if row.border_code is None else {"cell": row.border_code, "distance_m": round(row.border_m, 2)},
        "dispute": _dispute(conn, house, row),
        "component": None if row.component_m is None else component,
        "unit": row.unit,
        "assisting": row.assisting,
        "reason": reason(row),
        "events": [{**event, "at": house.at(datetime.fromisoformat(event["at"]))} for event in row.events],
        "simulated": house.city.simulated,
        "data_source": row.data_source,
    }
