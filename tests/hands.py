"""People at their desks, for tests that act on cases without HTTP."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from cases.brought import Brought
from cases.clocks import SMALL_S, Clockwork
from cases.desk import Acted, act
from cases.reports import Report, open_case
from cases.worktime import WorkCalendar
from gis.place import Place
from layers.accounts import Actor
from tests.hamlet import HOME, SRID, at

CLOCKWORK = Clockwork(
    calendar=WorkCalendar.read(
        HOME / "data" / "ankang" / "calendar.csv",
        hours=[("08:00", "12:00"), ("14:00", "18:00")],
        timezone="Asia/Shanghai",
    ),
    small_s=SMALL_S,
)


def person(role: str, unit: str | None = None, collector: str | None = None) -> Actor:
    """Somebody of one role, of a unit, or who is a collector."""
    named = None if unit is None else {"code": unit, "name_zh": unit, "name_en": unit, "kind": "street_office"}
    return Actor(
        id=0,
        name=role.replace("_", "-"),
        display_zh=role,
        display_en=role,
        roles=frozenset({role}),
        channel=None,
        unit=named,
        collector_code=collector,
    )


def reported(conn: Connection, key: str, *, class_code: str | None = "E0102", east_m: float = 50, **more: Any) -> int:
    """A case just reported in the hamlet, beside good-1."""
    x, y = at(east_m, more.pop("north_m", 150))
    given = Report(
        channel=more.pop("channel", "web"),
        key=key,
        class_code=class_code,
        x=x,
        y=y,
        srid=SRID,
        here=Place(x, y, SRID),
        data_source="made up",
        **more,
    )
    opened = open_case(conn, given, actor="test", role="channel", acceptance_s=900)
    assert opened.no is not None, opened
    return opened.no


def stage_of(conn: Connection, no: int) -> str:
    """Where a case stands."""
    return str(conn.scalar(text("select stage from cases.case where no = :no"), {"no": no}))


def do(conn: Connection, no: int, name: str, who: Actor, *, start: str | None = None, **brought: Any) -> Acted:
    """An act, from where the case stands if nothing else is said."""
    return act(
        conn,
        no,
        name,
        Brought(**brought),
        from_stage=start or stage_of(conn, no),
        actor=who,
        clockwork=CLOCKWORK,
    )


def choose_unit(conn: Connection, no: int, unit: str, reason: str = "r") -> Acted:
    """A dispatcher's decision."""
    return do(conn, no, "choose_unit", person("dispatcher"), unit=unit, reason=reason)


def back(conn: Connection, no: int, days: float) -> None:
    """Let a case have happened so many days earlier: its clocks, and what it waits for. By hand, as nobody else can."""
    clocks = conn.scalar(text("select clocks from cases.case where no = :no"), {"no": no})
    for clock in clocks.values():
        if "since" in clock:
            clock["since"] = (datetime.fromisoformat(clock["since"]) - timedelta(days=days)).isoformat()
    conn.execute(
        text(
            "update cases.case set clocks = cast(:clocks as jsonb), "
            "clock_due_at = clock_due_at - :days * interval '1 day', "
            "clock_yellow_at = clock_yellow_at - :days * interval '1 day', "
            "due_at = case when clock = 'disposal' then due_at - :days * interval '1 day' else due_at end, "
            "suspended_until = suspended_until - :days * interval '1 day' where no = :no"
        ),
        {"no": no, "clocks": json.dumps(clocks), "days": days},
    )
