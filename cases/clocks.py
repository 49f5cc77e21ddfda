"""The clocks of a case: how long each step may take, what was used of it, which light it shows.

Pure. A clock counts either all seconds or those of the work calendar. It is wound by the moves of the table
(cases/case.py); the disposal clock belongs to a unit: the same unit goes on with what was left, another one gets the
whole limit, and nothing that happens in the centres counts against either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection

from cases.calendar import held_calendar
from cases.case import Move
from cases.worktime import WorkCalendar
from gis.errors import Conflict
from grids.city import City

YELLOW = 0.8  #: share of the limit from which the light is yellow; red beyond all of it
SMALL_S = {"acceptance": 900, "verification": 1800, "filing": 900, "dispatch": 900, "check": 1800}
HOUR_S = 3600

Light = Literal["green", "yellow", "red"]


@dataclass(frozen=True, slots=True)
class Limit:
    """How long disposal may take: ``value`` in units of ``basis`` (cases/worktime.py)."""

    value: float
    basis: str

    def seconds(self, calendar: WorkCalendar) -> float:
        """In seconds, of working time where the basis says so."""
        day_s = calendar.day_hours * HOUR_S
        each = {"urgent_hour": HOUR_S, "urgent_day": 24 * HOUR_S, "work_hour": HOUR_S, "work_day": day_s}
        return round(self.value * each[self.basis], 6)

    @property
    def works(self) -> bool:
        """Whether it counts working time only."""
        return self.basis.startswith("work")


@dataclass(frozen=True, slots=True)
class Clock:
    """One clock. ``since`` is set while it runs; ``used_s`` is what was used before that."""

    state: Literal["running", "paused", "stopped"]
    allowed_s: float
    works: bool
    used_s: float = 0.0
    since: datetime | None = None
    unit: str | None = None  #: of a disposal clock: whose
    value: float | None = None  #: of a disposal clock: the limit, in units of basis
    basis: str | None = None
    grants: int = 0  #: extensions

    def used(self, at: datetime, calendar: WorkCalendar) -> float:
        """Seconds used up to an instant, in the clock's own time."""
        if self.since is None or at <= self.since:
            return self.used_s
        return self.used_s + (calendar.elapsed(self.since, at) if self.works else (at - self.since).total_seconds())

    def reaches(self, share: float, calendar: WorkCalendar) -> datetime | None:
        """When it will have used a share of its limit; None while it does not run. Used up already: since it runs."""
        if self.since is None:
            return None
        left = max(round(self.allowed_s * share - self.used_s, 6), 0.0)
        if self.works:
            return calendar.due_one(self.since, left)
        return self.since + timedelta(seconds=left)

    def light(self, at: datetime, calendar: WorkCalendar) -> Light:
        """Green below 80 % of the limit, yellow from there, red beyond 100 %."""
        used = self.used(at, calendar)
        return "red" if used > self.allowed_s else "yellow" if used >= YELLOW * self.allowed_s else "green"

    def runs(self, at: datetime) -> Clock:
        """The same clock, running from an instant."""
        return replace(self, state="running", since=at)

    def stands(self, at: datetime, calendar: WorkCalendar, state: Literal["paused", "stopped"]) -> Clock:
        """The same clock, standing still from an instant."""
        if self.since is None:
            return replace(self, state=state)
        return replace(self, state=state, used_s=round(self.used(at, calendar), 6), since=None)

    def as_json(self) -> dict[str, Any]:
        """As kept in the database, see :func:`read_clocks`."""
        facts = {"state": self.state, "allowed_s": self.allowed_s, "works": self.works, "used_s": self.used_s}
        further = {"unit": self.unit, "value": self.value, "basis": self.basis, "grants": self.grants or None}
        since = None if self.since is None else self.since.astimezone(UTC).isoformat()
        return {**facts, **{key: value for key, value in {"since": since, **further}.items() if value is not None}}


Clocks = dict[str, Clock]


def read_clocks(kept: Mapping[str, Mapping[str, Any]]) -> Clocks:
    """The clocks as the database keeps them: by kind; of units that had the case before as ``disposal:UNIT``."""
    return {
        kind: Clock(**{**facts, "since": datetime.fromisoformat(facts["since"]) if "since" in facts else None})
        for kind, facts in kept.items()
    }


def running(clocks: Clocks) -> tuple[str, Clock] | None:
    """The clock that runs; a case has at most one."""
    return next(((kind, clock) for kind, clock in clocks.items() if clock.since is not None), None)


def wind(
    clocks: Clocks,
    move: Move,
    at: datetime,
    calendar: WorkCalendar,
    small_s: Mapping[str, float],
    disposal: Clock | None,
) -> Clocks:
    """The clocks after a move.

    small_s  : seconds of the clocks that are not the disposal's
    disposal : what a unit that gets the case has: unit, limit; None where the move starts none
    """
    after = dict(clocks)
    for what, kind in move.clocks:
        clock = after.get(kind)
        if what == "start" and kind == "disposal":
            if disposal is None:
                raise AssertionError("a dispatch without a limit")
            _hand_over(after, disposal, at)
        elif what == "start":
            after[kind] = Clock("running", float(small_s[kind]), False, since=at)
        elif clock is None:
            continue  # a case that was imported has clocks only where the data allowed it
        elif what == "resume":
            after[kind] = clock.runs(at)
        elif what == "void":
            del after[kind]
        else:
            after[kind] = clock.stands(at, calendar, "paused" if what == "pause" else "stopped")
    return after


def _hand_over(clocks: Clocks, new: Clock, at: datetime) -> None:
    """Start the disposal clock of a unit: with what was left if it had the case before under the same limit."""
    before = clocks.pop("disposal", None)
    if before is not None and before.unit != new.unit:
        clocks[f"disposal:{before.unit}"] = before
    own = before if before is not None and before.unit == new.unit else clocks.pop(f"disposal:{new.unit}", None)
    same = own is not None and (own.value, own.basis) == (new.value, new.basis)
    clocks["disposal"] = (own if own is not None and same else new).runs(at)


def to_unit(clocks: Clocks, new: Clock, at: datetime, calendar: WorkCalendar) -> Clocks:
    """The clocks when another unit gets a case that is dispatched already (a stand-in): the former's stands still."""
    after = dict(clocks)
    if "disposal" in after:
        after["disposal"] = after["disposal"].stands(at, calendar, "paused")
    _hand_over(after, new, at)
    return after


def disposal_clock(unit: str, limit: Limit | None, calendar: WorkCalendar) -> Clock:
    """A unit's disposal clock with its whole limit, not yet running. Conflict where the catalogue has no limit."""
    if limit is None:
        raise Conflict(
            "the catalogue has no limit for this class, filing condition and area class",
            "目录中没有该类别、立案条件和管理等级的处置时限",
            mend="correct class or condition, or add the limit to the catalogue",
            mend_zh="请更正类别或立案条件，或在目录中补充时限",
            field="condition",
        )
    return Clock("paused", limit.seconds(calendar), limit.works, unit=unit, value=limit.value, basis=limit.basis)


def extended(clock: Clock, limit: Limit, calendar: WorkCalendar) -> Clock:
    """With one more original limit."""
    return replace(clock, allowed_s=clock.allowed_s + limit.seconds(calendar), grants=clock.grants + 1)


def timed_facts(clocks: Clocks, calendar: WorkCalendar) -> dict[str, Any]:
    """The columns of a case that follow from its clocks: which runs, and when its light turns yellow and red."""
    facts: dict[str, Any] = {"clocks": {kind: clock.as_json() for kind, clock in clocks.items()}}
    found = running(clocks)
    if found is None:
        return {**facts, "clock": None, "clock_yellow_at": "infinity", "clock_due_at": "infinity"}
    kind, clock = found
    yellow, due = clock.reaches(YELLOW, calendar), clock.reaches(1.0, calendar)
    return {**facts, "clock": kind, "clock_yellow_at": iso(yellow), "clock_due_at": iso(due)}


def iso(at: datetime | None) -> str | None:
    """An instant as the database takes it."""
    return None if at is None else at.astimezone(UTC).isoformat()


@dataclass(frozen=True, kw_only=True)
class Clockwork:
    """What the clocks of a city go by."""

    calendar: WorkCalendar
    small_s: Mapping[str, float]  #: seconds of acceptance, filing, dispatch, verification, check


def read_clockwork(conn: Connection, city: City, *, hold: bool = False) -> Clockwork:
    """The city's calendar, and its small clocks: ``[clocks]`` of city.toml in minutes, or the practice's (SMALL_S).

    hold : keep the calendar as it is until the transaction ends (cases.calendar.calendar_mark)
    """
    own: Mapping[str, Any] = city.profile.get("clocks", {})
    small_s = {kind: float(own.get(f"{kind}_min", s / 60)) * 60 for kind, s in SMALL_S.items()}
    return Clockwork(calendar=held_calendar(conn, hold=hold).work, small_s=small_s)
