"""The desk: one function by which people, and the clockwork, act on a case.

A case is held, the table and the rules are asked (cases/case.py, cases/acts.py), and the act is written with the facts
that it changes: two statements, in the caller's transaction. Role and stage are checked here and nowhere else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from cases.acts import Case, Given, Person, consequences, hindrance, may
from cases.brought import Brought, refuse_unfit, resolved
from cases.case import ACTS, ENDS, MOVES, STAGES, SYSTEM, TABLE, Move, moves_from
from cases.clocks import Clockwork, Limit, read_clocks
from cases.reports import as_json
from cases.worktime import WorkCalendar
from gis.db import query
from gis.errors import Conflict, Forbidden, NotFound
from layers.accounts import ROLES, Actor


@dataclass(frozen=True)
class Acted:
    """A case after an act."""

    case: Case
    at: datetime
    person: Person
    ended: tuple[int, ...] = ()  #: linked cases that ended with it
    again: bool = False  #: the key was seen before: nothing was done now


def act(
    conn: Connection,
    no: int,
    name: str,
    brought: Brought,
    *,
    from_stage: str,
    actor: Actor,
    clockwork: Clockwork,
    key: str | None = None,
) -> Acted:
    """Make one move or act, as an event with actor, time and reason.

    from_stage : where the actor saw the case stand
    key        : the sender's own; the same again does nothing and answers with the case
    Raises NotFound for a case that is none or of another unit, Forbidden for a role that may not, Conflict (with
    ``now``, the case as it is) where it stands elsewhere or a rule is against it, Invalid for what is missing or unfit.
    """
    case, person, seen, at = _held(conn, no, actor, key)
    if seen is not None:
        if seen != name:
            raise Conflict(
                f"with this Idempotency-Key the act {seen!r} was sent before",
                f"此 Idempotency-Key 已用于操作 {seen!r}",
                mend="send a new key with a new act",
                mend_zh="新的操作请使用新的键",
                no=no,
            )
        return Acted(case, at, person, again=True)
    move = _allowed(case, name, from_stage, person, at, clockwork)
    role = str(may(move, case, person))
    refuse_unfit(move, case, brought, at)
    if name == "choose_unit" and brought.unit == case.unit_code:
        return Acted(case, at, person, again=True)  # the unit that leads already is no decision
    given = resolved(conn, move, case, brought)
    return _written(conn, move, case, given, person, role, at, clockwork, key, _said(brought))


def act_by_clockwork(
    conn: Connection, no: int, name: str, *, clockwork: Clockwork, actor: str, reason: str, to_stage: str | None = None
) -> Acted | None:
    """What the system does by itself: resume, escalate, follow. None where that can no longer be done."""
    row = conn.execute(
        query("cases", "hold_case"), {"no": no, "unit_code": None, "key": None, "held": True}
    ).one_or_none()
    if row is None:
        return None
    case = _case_of(row)
    move = next(
        (
            m
            for m in TABLE
            if (m.from_stage, m.act) == (case.stage, name) and m.roles == (SYSTEM,) and to_stage in (None, m.to_stage)
        ),
        None,
    )
    if move is None or hindrance(move, case, row.now, clockwork.calendar) is not None:
        return None
    person = Person(name=actor, roles=frozenset({SYSTEM}))
    return _written(conn, move, case, Given(reason=reason), person, SYSTEM, row.now, clockwork, None, {})


def read_case(conn: Connection, no: int, actor: Actor | None) -> tuple[Case, Person, datetime]:
    """A case as the rules see it, who asks, and the instant; it is not held."""
    case, person, _, at = _held(conn, no, actor, None, held=False)
    return case, person, at


def _held(
    conn: Connection, no: int, actor: Actor | None, key: str | None, *, held: bool = True
) -> tuple[Case, Person, str | None, datetime]:
    unit_code = actor.unit["code"] if actor is not None and actor.unit is not None else None
    row = conn.execute(
        query("cases", "hold_case"), {"no": no, "unit_code": unit_code, "key": key, "held": held}
    ).one_or_none()
    unseen = row is not None and actor is not None and actor.sees_unit_only and not (row.leads or row.assists)
    if row is None or unseen:
        raise NotFound(
            f"there is no case {no}" + (" among those of your unit" if unseen else ""),
            f"没有案件 {no}" + ("(本单位范围内)" if unseen else ""),
            mend="check its number: yyyymmdd and six digits",
            mend_zh="请核对案件号:年月日加六位数字",
            no=no,
        )
    person = Person(
        name="nobody" if actor is None else actor.name,
        roles=frozenset() if actor is None else actor.roles,
        leads=row.leads,
        assists=row.assists,
        collector_code=None if actor is None else actor.collector_code,
    )
    return _case_of(row), person, row.seen_act, row.now


def _case_of(row: Any) -> Case:
    facts = {name: getattr(row, name) for name in Case.__dataclass_fields__ if name not in ("clocks", "limit")}
    facts["assisting_ids"] = tuple(row.assisting_ids)
    limit = None if row.limit_value is None else Limit(row.limit_value, row.limit_basis)
    return Case(**facts, clocks=read_clocks(row.clocks), limit=limit)


def as_it_is(case: Case) -> dict[str, Any]:
    """The case, for somebody who saw it otherwise."""
    return {"no": case.no, "stage": case.stage, "seq": case.last_seq, "unit": case.unit_code}


def _allowed(case: Case, name: str, from_stage: str, person: Person, at: datetime, clockwork: Clockwork) -> Move:
    """The row of the table, if this person may make it now."""
    roles = sorted(
        {role for move in MOVES.values() if move.act == name and move.from_stage != "none" for role in move.roles}
    )
    if not roles or roles == [SYSTEM]:
        raise NotFound(
            f"there is no act {name!r} that somebody makes on a case",
            f"没有操作 {name!r}",
            mend=f"choose of: {', '.join(sorted({m.act for s in STAGES for m in moves_from(s) if s != 'none'}))}",
            mend_zh="可用操作见 docs/workflow.md",
            act=name,
        )
    if not person.roles & set(roles):
        raise _forbidden(person, name, roles)
    en, zh = ACTS[name]
    if from_stage != case.stage:
        raise _conflict(
            case,
            f"case {case.no} stands at {case.stage}, not at {from_stage}: somebody was first",
            f"案件 {case.no} 现为“{STAGES[case.stage][1]}”，而非 {from_stage}，已有他人处理",
            mend="look at it as it is now",
            mend_zh="请查看案件现状后再操作",
        )
    move = MOVES.get((case.stage, name))
    if move is None:
        possible = [m.act for m in moves_from(case.stage)]
        raise _conflict(
            case,
            f"case {case.no} stands at {case.stage}: {en} is not possible there",
            f"案件 {case.no} 处于“{STAGES[case.stage][1]}”，不能“{zh}”",
            mend=f"possible: {', '.join(possible)}" if possible else "it has ended",
            mend_zh=f"可行的操作：{'、'.join(ACTS[a][1] for a in possible)}" if possible else "案件已了结",
        )
    if may(move, case, person) is None:
        raise _forbidden(person, name, list(move.roles))
    against = hindrance(move, case, at, clockwork.calendar)
    if against is not None:
        raise _conflict(case, f"case {case.no}: {against[0]}", f"案件 {case.no}：{against[1]}")
    return move


def _conflict(case: Case, en: str, zh: str, mend: str | None = None, mend_zh: str | None = None) -> Conflict:
    error = Conflict(en, zh, mend=mend, mend_zh=mend_zh, no=case.no, stage=case.stage)
    error.now = as_it_is(case)
    return error


def _forbidden(person: Person, name: str, roles: list[str]) -> Forbidden:
    en, zh = ACTS[name]
    people = [role for role in roles if role in ROLES]
    own = ""
    if person.roles & {"unit", "district_dispatcher"} & set(roles):
        own = "; it leads no such case"
    if "collector" in person.roles & set(roles):
        own = "; the task is not this collector's"
    return Forbidden(
        f"the account {person.name} ({', '.join(sorted(person.roles))}) may not {en}{own}",
        f"账号 {person.name} 无权“{zh}”",
        mend=f"may: {', '.join(people)}, for the cases of their unit and the tasks of their own",
        mend_zh=f"可操作的角色：{'、'.join(ROLES[role][1] for role in people)}（限本单位案件、本人任务）",
        act=name,
    )


def _said(brought: Brought) -> dict[str, Any]:
    """What the event keeps of a correction as it was sent."""
    return {"sent": dict(brought.sent)} if brought.sent else {}


def _written(
    conn: Connection,
    move: Move,
    case: Case,
    given: Given,
    person: Person,
    role: str,
    at: datetime,
    clockwork: Clockwork,
    key: str | None,
    said: dict[str, Any],
) -> Acted:
    """Write an act that was judged, and end what is linked to a case that ends."""
    done = consequences(move, case, given, at, clockwork.calendar, clockwork.small_s)
    worked = _worked(clockwork.calendar, case.acted_at, at)
    conn.execute(
        query("cases", "move_case"),
        {
            "no": case.no,
            "seq": case.last_seq + 1,
            "at": at,
            "actor": person.name,
            "role": role,
            "from_stage": move.from_stage,
            "act": move.act,
            "to_stage": move.to_stage,
            "note": given.reason,
            "worked_s": worked,
            "facts": json.dumps(done.facts),
            "data": json.dumps({**done.data, **said}),
            "key": key,
            "photos": as_json(given.photos),
        },
    )
    ended: list[int] = []
    if move.to_stage in ENDS and move.from_stage not in ENDS:
        for follower in conn.scalars(query("cases", "followers"), {"no": case.no}).all():
            reason = (
                f"case {case.no}, the same problem: {move.act} | 同一问题的案件 {case.no} 已{STAGES[move.to_stage][1]}"
            )
            followed = act_by_clockwork(
                conn, follower, "follow", clockwork=clockwork, actor=person.name, reason=reason, to_stage=move.to_stage
            )
            ended += [] if followed is None else [follower, *followed.ended]
    return Acted(done.case, at, person, tuple(ended))


def _worked(calendar: WorkCalendar, since: datetime | None, at: datetime) -> float | None:
    """Working seconds of a step; None where the calendar does not reach."""
    if since is None or not calendar.knows(since) or not calendar.knows(at):
        return None
    return float(calendar.elapsed(since, at))
