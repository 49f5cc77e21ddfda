"""Cases over HTTP: report one, list them, read one."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from geoalchemy2 import Geometry
from geoalchemy2.functions import ST_MakeEnvelope
from sqlalchemy import Connection, func, select

from api.acts import clocks_and_acts
from api.answers import problems, tagged
from api.caseshapes import Case, CasePage, NewCase, OpenedCase
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
    undisputed,
    unknown_class,
)
from cases import acts, desk
from cases.brought import refuse_missing_photos
from cases.clocks import Clockwork
from cases.photo import remarks
from cases.reports import CASES, Report, lacking, open_case
from gis.crs import GEODETIC
from gis.db import query
from gis.errors import Conflict, Forbidden, Invalid, NotFound
from gis.place import Place
from layers.accounts import REPORTS_AS, ROLES, Actor

router = APIRouter(tags=["cases"])
MOST_ROWS = 1000
AHEAD, OLDEST = timedelta(minutes=5), timedelta(days=366)  #: a telephone's clock may be a little fast
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
        class_code=None if new.class_ is None else new.class_.upper(),
        condition_no=new.condition,
        component_code=new.component,
    )
    with house.begin_writing() as conn:
        actor = who.writer(conn)
        channel = _channel(actor, new.channel)
        here = in_city(conn, house.city, asked)
        refuse_unknown(conn, asked)
        photos = tuple((photo.kind, photo.sha256) for photo in new.photos)
        role = _reporting_role(actor, channel, new)
        report = Report(
            channel=channel,
            key=f"{actor.name}:{idempotency_key or secrets.token_urlsafe(16)}",
            class_code=asked.class_code,
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
            act="self_dispose" if new.self_disposed else "report",
            verified=new.verified,
            reporter=new.reporter,
            device=new.device,
            seen_at=_not_ahead(new.seen_at),
            photos=photos,
        )
        _refuse_lacking(house, report)
        refuse_missing_photos(conn, photos)
        clockwork = house.clockwork(conn)
        acceptance_s = clockwork.small_s["acceptance"]
        opened = open_case(conn, report, actor=actor.name, role=role, acceptance_s=acceptance_s)
        if opened.refusal == "unknown_class" and report.class_code is not None:
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
        facts, case = read_case(conn, house, opened.no, None, actor, clockwork)
        within_m = 0.0 if report.class_code is None else SIMILAR_M[report.class_code[0]]
        near = {"no": opened.no, "within_m": within_m, "days": SIMILAR_DAYS, "most": 5}
        facts["similar"] = [
            {
                "no": row.no,
                "distance_m": round(row.distance_m, 1),
                "reported_at": house.at(row.reported_at),
                "stage": row.stage,
            }
            for row in conn.execute(query("cases", "similar_cases"), near)
        ]
    house.ring(case)
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


def _event(house: House, event: dict[str, Any], accuracy_m: float | None) -> dict[str, Any]:
    at = datetime.fromisoformat(event["at"])
    photos = []
    for photo in event["photos"]:
        taken_at = None if photo["taken_at"] is None else datetime.fromisoformat(photo["taken_at"])
        said = remarks(taken_at=taken_at, distance_m=photo["distance_m"], at=at, accuracy_m=accuracy_m)
        words = {"remarks_en": [en for en, _ in said], "remarks_zh": [zh for _, zh in said]}
        photos.append({**photo, "taken_at": house.at(taken_at), **words})
    return {**event, "at": house.at(at), "photos": photos}


def _dispute(conn: Connection, house: House, row: Any) -> dict[str, Any]:
    """What could be meant beside the unit of a case, as of the instant at which it was last assigned.

    Most places are not disputed: that no border and no red line is within reach is seen by one look.
    """
    if row.undisputed_m is not None:
        return undisputed(house.city, row.undisputed_m, row.accuracy_m)
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
        actor = who.actor(conn)
        facts, _ = read_case(conn, house, no, seen, actor, house.clockwork(conn))
    return tagged(request, Case, facts, private=house.reading == "accounts" or actor is not None)


def _reporting_role(actor: Actor, channel: str, new: NewCase) -> str:
    """The role in which somebody reports through a channel; only collectors dispose of a problem themselves."""
    role = "channel" if actor.channel is not None else next(r for r, c in REPORTS_AS.items() if c == channel)
    if new.self_disposed and role != "collector":
        raise Forbidden(
            f"the account {actor.name} may not report what it disposed of itself",
            f"账号 {actor.name} 不能自处理上报",
            mend="collectors may",
            mend_zh="仅信息监督员可自处理",
            field="self_disposed",
        )
    return role


def _not_ahead(seen_at: datetime | None) -> datetime | None:
    """The instant, if it can be one at which something was seen that is reported now."""
    now = datetime.now(UTC)
    if seen_at is not None and not now - OLDEST < seen_at < now + AHEAD:
        raise Invalid(
            f"seen_at: {seen_at.isoformat()} lies ahead, or more than a year ago",
            f"seen_at：{seen_at.isoformat()} 在将来或早于一年前",
            mend="when it was seen, by a clock that goes right; history is brought by wanmi load",
            mend_zh="请填写实际发现时间；历史数据用 wanmi load 导入",
            field="seen_at",
        )
    return seen_at


def _refuse_lacking(house: House, report: Report) -> None:
    """Invalid where a report does not bring what its source must bring (``[sources]`` of city.toml)."""
    missing = lacking(report, house.city.profile.get("sources", {}))
    if missing is not None:
        field, en, zh = missing
        raise Invalid(
            f"a report of the source {report.channel!r} brings {en}",
            f"来源“{report.channel}”的上报须有{zh}",
            mend="docs/workflow.md says what each source must bring",
            mend_zh="docs/workflow.md 列出各来源须提供的内容",
            field=field,
        )


def read_case(
    conn: Connection,
    house: House,
    no: int,
    seen: tuple[int, ...] | None,
    actor: Actor | None,
    clockwork: Clockwork,
) -> tuple[dict[str, Any], acts.Case]:
    """The facts of a case (fields of shapes.Case), as an actor may see them; and the case as the rules see it.

    NotFound when there is none, or it is not of the units ``seen``.
    """
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
    case, person, now = desk.read_case(conn, no, actor)
    named = {"code": row.class_code, "name_zh": row.class_zh, "name_en": row.class_en}
    facts = {
        "no": row.no,
        "channel": row.channel,
        "class": None if row.class_code is None else named,
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
        "reporter": row.reporter if actor is not None and "acceptor" in actor.roles else None,
        "waits_for": case.waits_for,
        "suspended_until": house.at(case.suspended_until),
        "same_as": case.same_as,
        "linked": row.linked,
        "turn_backs": case.turn_backs,
        "reworks": case.reworks,
        "extensions": case.extensions,
        "forced": case.forced,
        "stood_in": case.stood_in,
        "appeal": case.appeal,
        "collector": case.collector_code,
        **clocks_and_acts(house, case, person, now, clockwork.calendar),
        "events": [_event(house, event, row.accuracy_m) for event in row.events],
        "simulated": house.city.simulated,
        "data_source": row.data_source,
    }
    return facts, case
