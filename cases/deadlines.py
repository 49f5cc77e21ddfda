"""When the calendar changes, the deadlines that run move with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection

from cases.case import SYSTEM
from cases.clocks import YELLOW, iso, read_clocks
from cases.worktime import WorkCalendar
from gis.db import query

NOTE = "the work calendar changed | 工作日历调整"


@dataclass(frozen=True, slots=True)
class Moved:
    """A deadline that moved."""

    no: int
    from_at: datetime
    to_at: datetime


def move_deadlines(conn: Connection, calendar: WorkCalendar, *, actor: str) -> list[Moved]:
    """Reckon anew, by a calendar, when the clocks that run in working time turn yellow and run out; each deadline that
    moves is an event ``reckon``. What clocks used before they began to run last stays.

    Raises Invalid where the calendar does not reach far enough for one of them.
    """
    rows = conn.execute(query("cases", "running_in_working_time")).all()
    if not rows:
        return []
    clocks = [read_clocks(row.clocks)[row.clock] for row in rows]
    since = pd.DatetimeIndex([clock.since for clock in clocks])
    left = np.array([max(clock.allowed_s - clock.used_s, 0.0) for clock in clocks])
    before_yellow = np.array([max(clock.allowed_s * YELLOW - clock.used_s, 0.0) for clock in clocks])
    due = calendar.due(since, np.round(left, 6))
    yellow = calendar.due(since, np.round(before_yellow, 6))
    moved: list[Moved] = []
    written: list[dict[str, Any]] = []
    for row, due_at, yellow_at in zip(rows, due.to_pydatetime(), yellow.to_pydatetime(), strict=True):
        if (due_at, yellow_at) == (row.clock_due_at, row.clock_yellow_at):
            continue
        facts: dict[str, Any] = {"clock_due_at": iso(due_at), "clock_yellow_at": iso(yellow_at)}
        if row.clock == "disposal":
            facts["due_at"] = iso(due_at)
        if row.escalated and due_at > row.now:
            facts["escalated"] = False
        data = {"from": iso(row.clock_due_at), "to": iso(due_at)}
        written.append(
            {"no": row.no, "actor": actor, "facts": json.dumps(facts), "data": json.dumps(data), "note": NOTE}
        )
        if due_at != row.clock_due_at:
            moved.append(Moved(row.no, row.clock_due_at, due_at))
    if written:
        conn.execute(query("cases", "reckon"), [{**row, "role": SYSTEM} for row in written])
    return moved
