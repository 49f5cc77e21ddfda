"""What each act does to a case beyond the table: what stands against it, and the facts that it changes.

Pure. The table of moves (cases/case.py) says who may do what where; here are the rules that hang on more than the
stage: questions that wait for an answer, grants that are counted, disputes, suspensions, appeals, links. Every act is
judged by :func:`hindrance` and carried out by :func:`consequences`; the desk (cases/desk.py) reads, asks these two, and
writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from cases import clocks
from cases.case import BEFORE_DISPATCH, DISPUTED_FROM, MOST_GRANTS, SYSTEM, Move, moves_from
from cases.clocks import Clocks, Limit
from cases.worktime import WorkCalendar

LONGEST_SUSPENSION = timedelta(days=366)
Words = tuple[str, str]  #: English, Chinese


@dataclass(frozen=True, kw_only=True)
class Case:
    """A case as the rules need to see it: the columns of ``cases.hold``."""

    no: int
    stage: str
    last_seq: int
    acted_at: datetime | None
    reported_at: datetime
    edition: str
    class_code: str | None
    condition_no: int | None
    component_code: str | None
    x: float
    y: float
    srid: int
    accuracy_m: float | None
    cell_code: str
    area_class: str
    unit_id: int | None
    unit_code: str | None
    assisting_ids: tuple[int, ...]
    basis: str
    rule_id: int | None
    clocks: Clocks
    collector_code: str | None
    turn_backs: int
    reworks: int
    extensions: int
    suspensions: int
    suspended_until: datetime | None
    waits_for: str | None
    asked_until: datetime | None
    forced: bool
    stood_in: bool
    appeal: str | None
    same_as: int | None
    escalated: bool
    due_at: datetime | None
    disposed_at: datetime | None
    limit: Limit | None  #: of its class, condition and area class


@dataclass(frozen=True, kw_only=True)
class Person:
    """Who acts, as far as a case can tell: roles, and what the case is to the unit and the collector."""

    name: str
    roles: frozenset[str]
    leads: bool = False  #: the unit that leads is the actor's, or below it
    assists: bool = False
    collector_code: str | None = None


@dataclass(frozen=True, kw_only=True)
class Given:
    """What an act brings; every field that it does not need may be left out."""

    reason: str | None = None
    unit: UnitThere | None = None
    collector: str | None = None
    result: str | None = None
    verdict: str | None = None
    until: datetime | None = None
    cost: float | None = None
    link_to: int | None = None
    photos: tuple[tuple[str, str], ...] = ()  #: (kind, sha256)
    corrected: Mapping[str, Any] | None = None  #: columns of the case with their right values
    renewed: Mapping[str, Any] | None = None  #: facts of ``cases.renewed`` where the assignment is renewed
    proposal: str | None = None  #: the unit that the renewed assignment proposes
    limit: Limit | None = None  #: of class, condition and ground as corrected


@dataclass(frozen=True, slots=True)
class UnitThere:
    """A unit that stands."""

    id: int
    code: str
    below: bool = False  #: below the one that leads


def may(move: Move, case: Case, who: Person) -> str | None:
    """The role in which somebody may make a move; None: in no role.

    A unit acts on what it leads (it may attach to what it assists), a collector on tasks of its own.
    """
    for role in move.roles:
        if role not in who.roles:
            continue
        if role == "unit" and not (who.leads or (who.assists and move.act == "attach")):
            continue
        if role == "district_dispatcher" and not who.leads:
            continue
        own = case.collector_code is not None and case.collector_code == who.collector_code
        if role == "collector" and move.from_stage != "none" and not own:
            continue
        return role
    return None


def hindrance(move: Move, case: Case, at: datetime, calendar: WorkCalendar) -> Words | None:
    """Why a move that the table allows cannot be made now; None: nothing stands against it."""
    act = move.act
    if case.same_as is not None and move.roles != (SYSTEM,):
        free = ("unlink", "attach", "supervise", "correct")
        if act not in free and case.stage in BEFORE_DISPATCH:
            return (
                f"it is linked to case {case.same_as} and shares its outcome",
                f"已并入案件 {case.same_as}，随其办结",
            )
    found = _ASKED.get(act, _nothing)(case, at, calendar)
    return found or _MORE.get(act, _nothing)(case, at, calendar)


def allowed(case: Case, who: Person, at: datetime, calendar: WorkCalendar) -> list[Move]:
    """What somebody may do with a case now."""
    return [
        move
        for move in moves_from(case.stage)
        if may(move, case, who) is not None and hindrance(move, case, at, calendar) is None
    ]


def _nothing(case: Case, at: datetime, calendar: WorkCalendar) -> Words | None:
    return None


def _asking(case: Case, at: datetime, calendar: WorkCalendar) -> Words | None:
    if case.waits_for is not None:
        return f"its {case.waits_for} waits for an answer", f"尚有未答复的申请（{case.waits_for}）"
    if case.suspended_until is not None:
        return "it is suspended", "案件处于挂账状态"
    return None


def _extending(case: Case, at: datetime, calendar: WorkCalendar) -> Words | None:
    if case.extensions >= MOST_GRANTS:
        return (
            f"it was extended {case.extensions} times; more than {MOST_GRANTS} are not granted",
            "延期已满两次，不得再延",
        )
    clock = case.clocks.get("disposal")
    if clock is not None and clock.used(at, calendar) > clock.allowed_s:
        return "its deadline has passed; an extension is asked for before", "已超过处置时限，须在到期前申请延期"
    return None


def _suspending(case: Case, at: datetime, calendar: WorkCalendar) -> Words | None:
    return ("it was suspended before; that is granted once", "已挂账一次，不得再次挂账") if case.suspensions else None


def _waiting(thing: str, zh: str) -> Any:
    def judge(case: Case, at: datetime, calendar: WorkCalendar) -> Words | None:
        return None if case.waits_for == thing else (f"no {thing} was asked for", f"没有待答复的{zh}")

    return judge


def _turning_back(case: Case, at: datetime, calendar: WorkCalendar) -> Words | None:
    if case.forced:
        return "the unit was decided after a dispute and may not turn it back", "该单位系指定派遣，不得退单"
    return None


def _dispatching(case: Case, at: datetime, calendar: WorkCalendar) -> Words | None:
    if case.turn_backs >= DISPUTED_FROM and not case.forced:
        return (
            f"units turned it back {case.turn_backs} times: a unit must be decided first (decide_unit)",
            f"已被退单 {case.turn_backs} 次，属推诿争议，须先指定派遣（decide_unit）",
        )
    return None


def _deciding(case: Case, at: datetime, calendar: WorkCalendar) -> Words | None:
    if case.turn_backs < DISPUTED_FROM:
        return (
            f"units turned it back {case.turn_backs} times; a unit is decided after the third",
            f"退单 {case.turn_backs} 次，第三次退单后方可指定派遣（此前用 choose_unit）",
        )
    return ("a unit was decided already", "已指定派遣") if case.forced else None


def _proposing(case: Case, at: datetime, calendar: WorkCalendar) -> Words | None:
    return ("it was proposed already", "已有作废建议") if case.waits_for is not None else None


def _appealing(case: Case, at: datetime, calendar: WorkCalendar) -> Words | None:
    if case.appeal is not None:
        return "an appeal was made already", "已申诉过，只能申诉一次"
    if case.due_at is None or case.disposed_at is None or case.disposed_at <= case.due_at:
        return "it was not overdue: there is nothing to appeal against", "未超时，无可申诉"
    return None


def _judging(case: Case, at: datetime, calendar: WorkCalendar) -> Words | None:
    return None if case.appeal == "asked" else ("no appeal waits for an answer", "没有待答复的申诉")


def _linking(case: Case, at: datetime, calendar: WorkCalendar) -> Words | None:
    return (
        None if case.same_as is None else (f"it is linked to case {case.same_as} already", f"已并入案件 {case.same_as}")
    )


def _unlinking(case: Case, at: datetime, calendar: WorkCalendar) -> Words | None:
    return ("it is not linked", "未并案") if case.same_as is None else None


def _resuming(case: Case, at: datetime, calendar: WorkCalendar) -> Words | None:
    if case.suspended_until is None:
        return "it is not suspended", "未挂账"
    return ("its suspension has not ended", "挂账尚未到期") if at < case.suspended_until else None


def _escalating(case: Case, at: datetime, calendar: WorkCalendar) -> Words | None:
    found = clocks.running(case.clocks)
    if case.escalated or found is None or found[1].light(at, calendar) != "red":
        return "no clock of it ran out that was not told", "没有未通报的超时"
    return None


_ASKED = {
    "ask_extension": _asking,
    "ask_suspension": _asking,
    "grant_extension": _waiting("extension", "延期申请"),
    "refuse_extension": _waiting("extension", "延期申请"),
    "grant_suspension": _waiting("suspension", "挂账申请"),
    "refuse_suspension": _waiting("suspension", "挂账申请"),
    "void": _waiting("void", "作废建议"),
}
_MORE = {
    "ask_extension": _extending,
    "ask_suspension": _suspending,
    "turn_back": _turning_back,
    "dispatch": _dispatching,
    "decide_unit": _deciding,
    "propose_void": _proposing,
    "appeal": _appealing,
    "grant_appeal": _judging,
    "refuse_appeal": _judging,
    "link": _linking,
    "unlink": _unlinking,
    "resume": _resuming,
    "escalate": _escalating,
}


@dataclass(frozen=True, slots=True)
class Consequences:
    """What an act changes: the case after it, the columns for the database, and what the event keeps besides."""

    case: Case
    facts: dict[str, Any]
    data: dict[str, Any]


def consequences(
    move: Move, case: Case, given: Given, at: datetime, calendar: WorkCalendar, small_s: Mapping[str, float]
) -> Consequences:
    """Carry out a move that is allowed.

    at       : the instant of the act; a suspension resumes at its end, whenever that is noticed
    small_s  : seconds of the small clocks (cases.clocks.small_clocks)
    Raises Conflict where a dispatch finds no limit in the catalogue.
    """
    act = move.act
    changed: dict[str, Any] = {}
    data: dict[str, Any] = {}
    disposal = None
    if move.from_stage != move.to_stage:
        changed["waits_for"] = changed["asked_until"] = changed["suspended_until"] = None
    if given.corrected:
        changed |= given.corrected
        data["was"] = {name: getattr(case, name, None) for name in given.corrected if name not in ("geom", "address")}
    if given.renewed is not None:
        changed |= given.renewed
        data["proposal"] = given.proposal
    if act in ("dispatch", "choose_unit", "decide_unit", "delegate", "stand_in"):
        changed |= _with_unit(act, case, given, data)
    if act == "dispatch" or (act == "stand_in" and case.stage == "dispatched"):
        code = given.unit.code if given.unit is not None else str(case.unit_code)
        disposal = clocks.disposal_clock(code, case.limit, calendar)
    if act in ("verify", "report_check"):
        data["verdict"] = given.verdict
    if act in ("verify", "report_check", "recall"):
        changed["collector_code"] = None
    if act in ("ask_verification", "ask_check", "reassign"):
        changed["collector_code"] = given.collector
    changed |= _SIMPLE.get(act, lambda case, given, at: {})(case, given, at)
    if act == "dispose":
        data["result"] = given.result
    if act == "stand_in" and given.cost is not None:
        data["cost"] = given.cost
    if act == "ask_suspension":
        data["until"] = clocks.iso(given.until)
    if act in ("link", "unlink"):
        data["case"] = given.link_to if act == "link" else case.same_as

    moment = case.suspended_until if act == "resume" and case.suspended_until is not None else at
    wound = _wound(move, case, given, moment, calendar, small_s, disposal)
    if wound is not None:
        changed["clocks"] = wound
        changed["escalated"] = False
    after = _after(case, move, changed)
    return Consequences(
        after, _facts(move, case, after, changed, at, calendar), {k: v for k, v in data.items() if v is not None}
    )


def _with_unit(act: str, case: Case, given: Given, data: dict[str, Any]) -> dict[str, Any]:
    """Which unit leads after an act that may name another one than leads now."""
    unit = given.unit
    if unit is None or (unit.id == case.unit_id and act == "dispatch"):
        return {}
    data["instead_of"] = case.unit_code
    data["basis"] = case.basis
    assisting = [there for there in case.assisting_ids if there != unit.id]
    if act == "delegate" and case.unit_id is not None:
        assisting.append(case.unit_id)  # who hands it down keeps seeing it
    changed: dict[str, Any] = {
        "unit_id": unit.id,
        "unit_code": unit.code,
        "assisting_ids": tuple(dict.fromkeys(assisting)),
        "basis": "decision",
        "resolved_by": None,
    }
    if act == "decide_unit":
        changed["forced"] = True
    if act == "stand_in":
        changed["stood_in"] = True
    return changed


_SIMPLE: dict[str, Any] = {
    "turn_back": lambda case, given, at: {"turn_backs": case.turn_backs + 1},
    "fail": lambda case, given, at: {"reworks": case.reworks + 1, "disposed_at": None, "due_at": None},
    "redo": lambda case, given, at: {"reworks": case.reworks + 1, "disposed_at": None},
    "dispose": lambda case, given, at: {"disposed_at": at},
    "close": lambda case, given, at: {"closed_at": at},
    "refuse": lambda case, given, at: {"closed_at": at},
    "void": lambda case, given, at: {"closed_at": at},
    "follow": lambda case, given, at: {"closed_at": at},
    "ask_extension": lambda case, given, at: {"waits_for": "extension"},
    "refuse_extension": lambda case, given, at: {"waits_for": None},
    "grant_extension": lambda case, given, at: {"waits_for": None, "extensions": case.extensions + 1},
    "ask_suspension": lambda case, given, at: {"waits_for": "suspension", "asked_until": given.until},
    "refuse_suspension": lambda case, given, at: {"waits_for": None, "asked_until": None},
    "grant_suspension": lambda case, given, at: {
        "waits_for": None,
        "asked_until": None,
        "suspensions": case.suspensions + 1,
        "suspended_until": given.until or case.asked_until,
    },
    "resume": lambda case, given, at: {"suspended_until": None},
    "propose_void": lambda case, given, at: {"waits_for": "void"},
    "appeal": lambda case, given, at: {"appeal": "asked"},
    "grant_appeal": lambda case, given, at: {"appeal": "granted"},
    "refuse_appeal": lambda case, given, at: {"appeal": "refused"},
    "link": lambda case, given, at: {"same_as": given.link_to},
    "unlink": lambda case, given, at: {"same_as": None},
    "escalate": lambda case, given, at: {"escalated": True},
}


def _wound(
    move: Move,
    case: Case,
    given: Given,
    at: datetime,
    calendar: WorkCalendar,
    small_s: Mapping[str, float],
    disposal: clocks.Clock | None,
) -> Clocks | None:
    """The clocks after a move; None: it touches none."""
    act, own = move.act, case.clocks.get("disposal")
    if act == "grant_extension" and own is not None and own.value is not None and own.basis is not None:
        return {**case.clocks, "disposal": clocks.extended(own, Limit(own.value, own.basis), calendar)}
    if act == "stand_in" and disposal is not None:
        return clocks.to_unit(case.clocks, disposal, at, calendar)
    if act == "delegate" and own is not None and given.unit is not None:
        return {**case.clocks, "disposal": replace(own, unit=given.unit.code)}
    if act == "correct" and case.stage == "dispatched" and given.limit is not None and own is not None:
        if (own.value, own.basis) == (given.limit.value, given.limit.basis):
            return None
        # Another limit than it was dispatched with: the centre's mistake, so it begins in full.
        fresh = clocks.disposal_clock(str(own.unit), given.limit, calendar)
        return {**case.clocks, "disposal": fresh if own.since is None else fresh.runs(at)}
    if act in ("link", "unlink") and case.stage in BEFORE_DISPATCH:
        # A linked case waits for another: nobody's clock runs meanwhile.
        if act == "link":
            return {
                kind: clock if clock.since is None else clock.stands(at, calendar, "paused")
                for kind, clock in case.clocks.items()
            }
        kind = {"reported": "acceptance", "verifying": "verification", "accepted": "filing", "filed": "dispatch"}[
            case.stage
        ]
        return {**case.clocks, kind: case.clocks[kind].runs(at)} if kind in case.clocks else None
    if not move.clocks:
        return None
    return clocks.wind(case.clocks, move, at, calendar, small_s, disposal)


def _after(case: Case, move: Move, changed: Mapping[str, Any]) -> Case:
    names = set(Case.__dataclass_fields__)
    known = {name: value for name, value in changed.items() if name in names}
    if "assisting_ids" in known:
        known["assisting_ids"] = tuple(known["assisting_ids"])
    return replace(case, stage=move.to_stage, last_seq=case.last_seq + 1, **known)


def _facts(
    move: Move, case: Case, after: Case, changed: Mapping[str, Any], at: datetime, calendar: WorkCalendar
) -> dict[str, Any]:
    """The columns of cases.case that change, as JSON takes them."""
    facts = {
        name: clocks.iso(value) if isinstance(value, datetime) else list(value) if isinstance(value, tuple) else value
        for name, value in changed.items()
        if name not in ("unit_code", "cell_code", "clocks", "area_class", "x", "y")
        and (not hasattr(case, name) or getattr(case, name) != value)
    }
    if "basis" in changed:  # an assignment is told whole, also where it is what it was
        facts |= {name: changed[name] for name in ("unit_id", "basis", "resolved_by", "rule_id") if name in changed}
        facts["assisting_ids"] = list(after.assisting_ids)
    if move.act == "dispose" and case.suspended_until is not None and "disposal" in case.clocks:
        facts["due_at"] = clocks.iso(case.clocks["disposal"].runs(at).reaches(1.0, calendar))  # done while suspended
    if "clocks" in changed:
        facts |= clocks.timed_facts(after.clocks, calendar)
        own = after.clocks.get("disposal")
        if own is not None and own.since is not None:
            facts["due_at"] = facts["clock_due_at"]
        elif after.stage == "dispatched" or (after.stage == "filed" and case.stage == "dispatched"):
            facts["due_at"] = None  # it stands still: when it will run out is not known
    return facts
