"""What people do over HTTP: acts on a case, the desk of each role, a collector's duty."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from sqlalchemy import Connection

from api.actshapes import Act, CaseNow, Desk, Duty, OnDuty
from api.answers import problems, tagged
from api.deps import Areas, Classes, House, InHouse, Who
from api.jurisdiction import Asked, in_city
from cases import desk
from cases.acts import Case, Person, allowed
from cases.brought import Brought
from cases.case import ACTS, STAGES
from cases.desk import Acted
from cases.worktime import WorkCalendar
from gis.db import query
from gis.errors import Forbidden, Invalid
from layers.accounts import OF_A_UNIT, Actor, units_of

router = APIRouter(tags=["workflow"])
MOST_ROWS = 500
CaseNo = Annotated[
    int, Path(ge=19000101000000, le=29991231999999, description="number of the case", examples=[20260302000042])
]
#: What lies at the desk of a role: stages, and what waits there for its decision.
DESKS: dict[str, dict[str, Any]] = {
    "acceptor": {"stages": ["reported", "awaiting_check"]},
    "duty_chief": {"stages": ["accepted", "checked", "self_disposed"], "asked": ["void"], "appealed": True},
    "dispatcher": {"stages": ["filed", "disposed"], "asked": ["extension", "suspension"]},
    "unit": {},  # what is dispatched to it
    "district_dispatcher": {},
    "collector": {},  # the tasks of the collector
    "leader": {"overdue": True},
}


@router.post("/cases/{no}/{act}", response_model=CaseNow, responses=problems(409))
def act_on_case(
    request: Request,
    house: InHouse,
    who: Who,
    no: CaseNo,
    act: Annotated[
        str, Path(pattern="^[a-z_]{2,40}$", description="the act, see docs/workflow.md", examples=["accept"])
    ],
    brought: Act,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=200, description="The sender's own key: the same again is the same act."),
    ] = None,
) -> Response:
    """Do something with a case: a move to another stage, or an act that leaves it where it is.

    `from` names the stage at which its sender saw the case: of two people at once one gets 409, with the case as it is
    in `now`. Answered only when the event is on disk.
    """
    with house.begin_writing() as conn:
        actor = who.writer(conn)
        key = None if idempotency_key is None else f"{actor.name}:{idempotency_key}"
        clockwork = house.clockwork(conn, hold=True)
        done = desk.act(
            conn,
            no,
            act,
            _brought(conn, house, brought),
            from_stage=brought.from_,
            actor=actor,
            clockwork=clockwork,
            key=key,
        )
        data = case_now(house, done, clockwork.calendar)
    house.ring(done.case)
    return tagged(request, CaseNow, data, private=True)


def _brought(conn: Connection, house: House, body: Act) -> Brought:
    place, sent = None, {}
    if (body.lon is None) != (body.lat is None):
        raise Invalid(
            "a place has lon and lat", "位置须同时给出 lon 与 lat", field="lat" if body.lat is None else "lon"
        )
    if body.lon is not None and body.lat is not None:
        sent = {"lon": body.lon, "lat": body.lat, "crs": body.crs}
        place = in_city(conn, house.city, Asked(x=body.lon, y=body.lat, srid=body.crs))
    return Brought(
        reason=body.reason,
        class_code=None if body.class_ is None else body.class_.upper(),
        condition_no=body.condition,
        component_code=body.component,
        place=place,
        sent=sent,
        accuracy_m=body.accuracy_m,
        address=body.address,
        unit=body.unit,
        collector=body.collector,
        result=body.result,
        verdict=body.verdict,
        until=body.until,
        cost=body.cost,
        case=body.case,
        photos=tuple((photo.kind, photo.sha256) for photo in body.photos),
    )


def case_now(house: House, done: Acted, calendar: WorkCalendar) -> dict[str, Any]:
    """A case after an act (fields of CaseNow)."""
    case = done.case
    en, zh = STAGES[case.stage]
    return {
        "no": case.no,
        "stage": case.stage,
        "stage_zh": zh,
        "stage_en": en,
        "seq": case.last_seq,
        "at": house.at(done.at),
        "again": done.again,
        "unit": case.unit_code,
        "collector": case.collector_code,
        "waits_for": case.waits_for,
        "suspended_until": house.at(case.suspended_until),
        "same_as": case.same_as,
        "turn_backs": case.turn_backs,
        "reworks": case.reworks,
        "appeal": case.appeal,
        "ended": list(done.ended),
        "simulated": house.city.simulated,
        **clocks_and_acts(house, case, done.person, done.at, calendar),
    }


def clocks_and_acts(house: House, case: Case, person: Person, at: datetime, calendar: WorkCalendar) -> dict[str, Any]:
    """The clocks of a case with their lights, and what somebody may do with it."""
    kept = [
        {
            "kind": kind,
            "state": clock.state,
            "light": clock.light(at, calendar),
            "allowed_s": clock.allowed_s,
            "used_s": clock.used_s,
            "since": house.at(clock.since),
            "works": clock.works,
            "yellow_at": house.at(clock.reaches(0.8, calendar)),
            "due_at": house.at(clock.reaches(1.0, calendar)),
            "unit": clock.unit,
            "grants": clock.grants,
        }
        for kind, clock in case.clocks.items()
    ]
    acts = [
        {
            "act": move.act,
            "to": move.to_stage,
            "name_zh": ACTS[move.act][1],
            "name_en": ACTS[move.act][0],
            "needs": list(move.needs),
            "takes": list(move.brings),
        }
        for move in allowed(case, person, at, calendar)
    ]
    return {"clocks": kept, "allowed": acts}


# ── desks ────────────────────────────────────────


@router.get("/desk", response_model=Desk)
def read_desk(
    request: Request,
    house: InHouse,
    who: Who,
    classes: Classes,
    areas: Areas,
    role: Annotated[str | None, Query(pattern="^[a-z_]{1,40}$", description="whose desk, of several roles")] = None,
    source: Annotated[list[str] | None, Query(max_length=6, description="sources")] = None,
    light: Annotated[str | None, Query(pattern="^(green|yellow|red)$", description="of the clock that runs")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS, description="rows at most")] = 50,
    after: Annotated[str | None, Query(max_length=80, description="`next` of the page before")] = None,
) -> Response:
    """What waits at the asker's desk, what is due first; linked cases wait for the other and are not listed."""
    due_at, no = _after(after)
    with house.begin_reading() as conn:
        actor = who.writer(conn)
        desk_role = _desk_of(actor, role)
        units = None
        if desk_role in OF_A_UNIT:
            units = list(units_of(conn, _as(actor, desk_role)) or (0,))
        lies = DESKS[desk_role]
        row = {
            "stages": lies.get("stages", []),
            "unit_ids": units,
            "collector": (actor.collector_code or "") if desk_role == "collector" else None,
            "asked": lies.get("asked", []),
            "appealed": lies.get("appealed", False),
            "overdue": lies.get("overdue", False),
            "after_due_at": due_at,
            "after_no": no,
            "most": limit + 1,
            "classes": list(classes) or None,
            "areas": list(areas) or None,
            "sources": source or None,
            "light": light,
        }
        rows = conn.execute(query("cases", "queue"), row).mappings().all()
        now = conn.execute(query("gis", "now")).scalar_one()
    items = [_desk_row(house, found, now) for found in rows[:limit]]
    further = None
    if len(rows) > limit:
        last = rows[limit - 1]
        further = f"{last['clock_due_at'].isoformat() if last['clock_due_at'] else 'infinity'},{last['no']}"
    data = {"role": desk_role, "items": items, "next": further, "simulated": house.city.simulated}
    return tagged(request, Desk, data, private=True)


def _desk_row(house: House, row: Any, now: datetime) -> dict[str, Any]:
    yellow, due = row["clock_yellow_at"], row["clock_due_at"]
    light = None if due is None or yellow is None else "red" if now > due else "yellow" if now >= yellow else "green"
    return {
        **row,
        "reported_at": house.at(row["reported_at"]),
        "suspended_until": house.at(row["suspended_until"]),
        "yellow_at": house.at(yellow),
        "due_at": house.at(due),
        "light": light,
        "lon": round(row["lon"], 7),
        "lat": round(row["lat"], 7),
    }


def _after(text: str | None) -> tuple[str, int]:
    """Where a page begins: the due instant and number of the row before."""
    if text is None:
        return "-infinity", 0
    due, _, no = text.replace(" ", "+").partition(",")
    try:
        if due != "infinity" and datetime.fromisoformat(due).tzinfo is None:
            raise ValueError(due)
        return due, int(no)
    except ValueError:
        raise Invalid(
            f"after: {text!r} is no place in a desk",
            f"after：{text!r} 无效",
            mend="give the `next` of the page before",
            mend_zh="请填写上一页的 next",
            field="after",
        ) from None


def _desk_of(actor: Actor, role: str | None) -> str:
    own = [name for name in DESKS if name in actor.roles]
    if role is not None and role in own:
        return role
    if role is None and own:
        return own[0]
    raise Forbidden(
        f"the account {actor.name} has no desk" + ("" if role is None else f" of the role {role!r}"),
        f"账号 {actor.name} 没有工作台" + ("" if role is None else f"（{role}）"),
        mend=f"desks: {', '.join(own or DESKS)}",
    )


def _as(actor: Actor, role: str) -> Actor:
    """The same person in one role only."""
    from dataclasses import replace

    return replace(actor, roles=frozenset({role}))


# ── duty ────────────────────────────────────────


@router.post("/duty", response_model=OnDuty)
def tell_duty(request: Request, house: InHouse, who: Who, duty: Duty) -> Response:
    """A collector goes on duty or off it, and tells the place: tasks go to who walks the cell, else to the nearest."""
    with house.begin_writing() as conn:
        actor = who.writer(conn)
        if actor.collector_code is None or "collector" not in actor.roles:
            raise Forbidden(
                f"the account {actor.name} is no collector's",
                f"账号 {actor.name} 未对应监督员",
                mend=f"wanmi account collector {actor.name} CODE says which collector it is",
                mend_zh=f"请用 wanmi account collector {actor.name} 编号 指定",
            )
        place = None
        if duty.lon is not None and duty.lat is not None:
            place = in_city(conn, house.city, Asked(x=duty.lon, y=duty.lat, srid=duty.crs))
        told = {
            "code": actor.collector_code,
            "on_duty": duty.on,
            "x": None if place is None else place.x,
            "y": None if place is None else place.y,
            "srid": house.city.srid,
        }
        row = conn.execute(query("layers", "set_duty"), told).one()
    data = {
        "collector": row.code,
        "name_zh": row.name_zh,
        "name_en": row.name_en,
        "on": row.on_duty,
        "seen_at": house.at(row.seen_at),
    }
    return tagged(request, OnDuty, data, private=True)
