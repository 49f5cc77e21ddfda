"""History from another system: the clocks of imported cases, where its data allow.

A case that was imported keeps what its source says (opened, due, inspected, disposed of, closed) in one ``import``
event. Here a further ``import`` event gives the open ones the clocks that follow from those times, so that desks show
them in their place, and the missing deadline to those of which dispatch and limit are known. Steps that the source does
not tell are not made up.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection

from cases.clocks import Clock, Clockwork, Limit, iso, timed_facts
from gis.db import query

NOTE = "clocks from the imported times | 按导入时间推算时钟"


def wind_imported(conn: Connection, clockwork: Clockwork, *, actor: str) -> int:
    """Give imported cases that have no clock the one that their times allow; how many got one.

    dispatched, with dispatch and limit known : the disposal clock, running since the dispatch
    dispatched, with the source's deadline    : a clock from the report to that deadline, in all seconds
    reported                                  : the acceptance clock, running since the report
    disposed of, without a deadline           : the deadline that dispatch and limit give
    """
    wound = [
        {"no": row.no, "actor": actor, "facts": json.dumps(facts), "note": NOTE}
        for row in conn.execute(query("cases", "imported_without_clock"))
        if (facts := _facts(row, clockwork))
    ]
    if wound:
        conn.execute(query("cases", "import_clocks"), wound)
    return len(wound)


def _facts(row: Any, clockwork: Clockwork) -> dict[str, Any]:
    calendar = clockwork.calendar
    dispatched, due, reported = row.dispatched_at, row.due_at, row.reported_at
    limit = None if row.limit_value is None else Limit(row.limit_value, row.limit_basis)
    if row.stage == "reported":
        clock = Clock("running", clockwork.small_s["acceptance"], False, since=reported)
        return timed_facts({"acceptance": clock}, calendar)
    if dispatched is not None and limit is not None and calendar.knows(dispatched):
        own = Clock(
            "running", limit.seconds(calendar), limit.works, 0.0, dispatched, row.unit_code, limit.value, limit.basis
        )
        runs_out = own.reaches(1.0, calendar)
        if row.stage != "dispatched":
            return {"due_at": iso(runs_out)} if due is None else {}
        facts = timed_facts({"disposal": own}, calendar)
        return {**facts, "due_at": facts["clock_due_at"]} if due is None else facts
    if row.stage == "dispatched" and due is not None and due > reported:
        clock = Clock("running", (due - reported).total_seconds(), False, since=reported, unit=row.unit_code)
        return timed_facts({"disposal": clock}, calendar)
    return {}
