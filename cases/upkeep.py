"""Keeping the clockwork going: what becomes due by itself.

Each act is a transaction of its own, and is judged anew when the case is held: what was missed is caught up, and two
processes that do it at once do nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlalchemy import Connection, Engine

from cases.clocks import Clockwork
from cases.desk import Acted, act_by_clockwork
from gis.db import query

ACTOR = "wanmi upkeep"
BATCH = 500
REASONS = {
    "resume": "the suspension has ended | 挂账到期，恢复计时",
    "escalate": "its clock ran out | 已超时，升级督办",
}


def keep_up(engine: Engine, read: Callable[[Connection], Clockwork]) -> Iterator[tuple[str, Acted]]:
    """Resume suspended cases whose end has come (from that end on), and escalate those whose clock ran out.

    read : what the clocks go by, held until the transaction ends (cases.clocks.read_clockwork)
    Yields each act, and the case after it, when it is committed.
    """
    tried: set[tuple[int, str]] = set()
    while True:
        with engine.begin() as conn:
            due = conn.execute(query("cases", "upkeep_due"), {"most": BATCH + len(tried)}).all()
        fresh = [row for row in due if (row.no, row.act) not in tried]
        if not fresh:
            return
        for row in fresh:
            tried.add((row.no, row.act))
            with engine.begin() as conn:
                done = act_by_clockwork(
                    conn, row.no, row.act, clockwork=read(conn), actor=ACTOR, reason=REASONS[row.act]
                )
            if done is not None:
                yield row.act, done
