"""What somebody brings to an act: checked against the table, and the things that it names looked up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from cases.acts import LONGEST_SUSPENSION, Case, Given, UnitThere
from cases.case import ACTS, VERDICTS, Move
from cases.clocks import Limit
from gis.db import query
from gis.errors import Conflict, Invalid, NotFound
from gis.place import Place

#: The photo that an act cannot do without.
PROOF = {"dispose": "after", "report_check": "check"}


@dataclass(frozen=True, kw_only=True)
class Brought:
    """What somebody brings to an act, as sent: cases.case.NEEDS and MAY_BRING name the fields of each act."""

    reason: str | None = None
    class_code: str | None = None
    condition_no: int | None = None
    component_code: str | None = None
    place: Place | None = None  #: the right place, in the city's system, snapped
    sent: Mapping[str, float] = field(default_factory=dict)  #: lon, lat, crs as sent
    accuracy_m: float | None = None
    address: str | None = None
    unit: str | None = None
    collector: str | None = None
    result: str | None = None
    verdict: str | None = None
    until: datetime | None = None
    cost: float | None = None
    case: int | None = None
    photos: tuple[tuple[str, str], ...] = ()  #: (kind, sha256)

    def fields(self) -> set[str]:
        """The names, as the table has them, of what is there."""
        there = {"reason", "unit", "collector", "result", "verdict", "until", "cost", "case", "accuracy_m", "address"}
        found = {name for name in there if getattr(self, name) is not None}
        found |= {"photos"} if self.photos else set()
        found |= {"lon", "lat", "crs"} if self.place is not None else set()
        named = {"class": self.class_code, "condition": self.condition_no, "component": self.component_code}
        return found | {name for name, value in named.items() if value is not None}


def refuse_unfit(move: Move, case: Case, brought: Brought, at: datetime) -> None:
    """Raise Invalid for what is missing, too much, or not what it must be."""
    there = brought.fields()
    for name in move.needs:
        if name not in there or (name in ("reason", "result") and not str(getattr(brought, name)).strip()):
            raise _unfit(name, f"{ACTS[move.act][0]} needs {name!r}", f"“{ACTS[move.act][1]}”须填写 {name!r}")
    surplus = sorted(there - set(move.brings))
    if surplus:
        raise _unfit(
            surplus[0],
            f"{ACTS[move.act][0]} takes no {surplus[0]!r}",
            f"“{ACTS[move.act][1]}”不接受 {surplus[0]!r}",
            mend=f"it takes: {', '.join(move.brings)}",
        )
    if move.act == "correct" and not there - {"reason"}:
        raise _unfit(
            "class", "a correction says what is right", "更正须给出正确内容", mend="give class, place, condition …"
        )
    if move.act in VERDICTS and brought.verdict not in VERDICTS[move.act]:
        known = ", ".join(VERDICTS[move.act])
        raise _unfit("verdict", f"{brought.verdict!r} is no verdict", f"{brought.verdict!r} 不是有效结论", mend=known)
    kind = PROOF.get(move.act)
    needs_proof = kind is not None and not (move.act == "report_check" and brought.verdict == "not_found")
    if needs_proof and kind not in {k for k, _ in brought.photos}:
        raise _unfit(
            "photos",
            f"{ACTS[move.act][0]} needs a photo of the kind {kind!r}",
            f"“{ACTS[move.act][1]}”须附 {kind!r} 照片",
            mend="POST /photos first, then name its sha256",
            mend_zh="请先 POST /photos 上传，再填写其 sha256",
        )
    if move.act == "dispatch" and brought.unit is None and case.unit_code is None:
        raise _unfit("unit", "no unit was found for it: the dispatcher names one", "未找到责任单位，请指定")
    if move.act == "link" and brought.case == case.no:
        raise _unfit("case", "a case is not linked to itself", "案件不能并入自身")
    until = brought.until
    if until is not None and (until <= at or until > at + LONGEST_SUSPENSION):
        raise _unfit(
            "until",
            f"until {until.isoformat()}: must lie ahead, within a year",
            f"挂账期限须在今后一年之内：{until.isoformat()}",
        )


def _unfit(name: str, en: str, zh: str, mend: str | None = None, mend_zh: str | None = None) -> Invalid:
    return Invalid(en, zh, mend=mend, mend_zh=mend_zh, field=name)


def resolved(conn: Connection, move: Move, case: Case, brought: Brought) -> Given:
    """The things that an act names, looked up: NotFound or Invalid for what is none, Conflict without a collector."""
    refuse_missing_photos(conn, brought.photos)
    given = Given(
        reason=(brought.reason or "").strip() or None,
        result=brought.result,
        verdict=brought.verdict,
        until=brought.until,
        cost=brought.cost,
        photos=brought.photos,
        collector=_collector(conn, move, case, brought),
        unit=_unit(conn, move, case, brought),
        link_to=_linked(conn, case, brought),
    )
    if move.act in ("accept", "correct", "turn_back"):
        given = _corrected(conn, move, case, brought, given)
    return given


def refuse_missing_photos(conn: Connection, photos: tuple[tuple[str, str], ...]) -> None:
    """Invalid for a photo that nobody sent."""
    asked = [sha256 for _, sha256 in photos]
    there = set(conn.scalars(query("cases", "photos_there"), {"sha256": asked})) if asked else set()
    for sha256 in asked:
        if sha256 not in there:
            raise _unfit(
                "photos",
                f"there is no photo {sha256}",
                f"没有照片 {sha256}",
                mend="POST /photos first",
                mend_zh="请先 POST /photos 上传",
            )


def _collector(conn: Connection, move: Move, case: Case, brought: Brought) -> str | None:
    if move.act not in ("ask_verification", "ask_check", "reassign"):
        return None
    if brought.collector is not None:
        row = conn.execute(query("cases", "collector_named"), {"code": brought.collector}).one_or_none()
        if row is None:
            raise _unfit("collector", f"there is no collector {brought.collector}", f"没有监督员 {brought.collector}")
        return str(row.code)
    not_code = case.collector_code if move.act == "reassign" else None
    place = {"x": case.x, "y": case.y, "srid": case.srid, "cell_code": case.cell_code, "not_code": not_code}
    row = conn.execute(query("cases", "collector_for"), place).one_or_none()
    if row is None:
        raise Conflict(
            "no collector is on duty who could go there",
            "没有在岗的监督员可派",
            mend="name one as 'collector'; 'wanmi collectors' lists them",
            mend_zh="请用 collector 指定一位",
            no=case.no,
        )
    return str(row.code)


def _unit(conn: Connection, move: Move, case: Case, brought: Brought) -> UnitThere | None:
    if brought.unit is None:
        return None
    row = conn.execute(query("cases", "standing_unit"), {"code": brought.unit, "of": case.unit_code}).one_or_none()
    if row is None:
        raise NotFound(
            f"there is no unit {brought.unit}",
            f"没有单位 {brought.unit}",
            mend="give the code of a unit that was not dissolved",
            mend_zh="请填写现有单位的编码",
            field="unit",
        )
    if move.act == "delegate" and (not row.below or row.id == case.unit_id):
        raise _unfit(
            "unit", f"{brought.unit} is not below {case.unit_code}", f"{brought.unit} 不是 {case.unit_code} 的下级"
        )
    return UnitThere(row.id, row.code, row.below)


def _linked(conn: Connection, case: Case, brought: Brought) -> int | None:
    if brought.case is None:
        return None
    row = conn.execute(query("cases", "linked_case"), {"no": brought.case}).one_or_none()
    if row is None or row.is_end or row.same_as == case.no:
        raise _unfit(
            "case",
            f"case {brought.case} is none, has ended, or follows this one itself",
            f"案件 {brought.case} 不存在、已了结或已并入本案",
            mend="link to a case that is open; one that ended is a reason to refuse",
            mend_zh="只能并入未了结的案件；已了结的可作为不予受理的理由",
        )
    return int(row.same_as or row.no)


def _corrected(conn: Connection, move: Move, case: Case, brought: Brought, given: Given) -> Given:
    """What is right from now on, and the assignment that follows from it."""
    columns: dict[str, Any] = {}
    if brought.class_code is not None:
        columns["class_code"] = brought.class_code
        if brought.class_code != case.class_code:
            columns["condition_no"] = None
    if brought.condition_no is not None:
        columns["condition_no"] = brought.condition_no
    named = {"component_code": brought.component_code, "accuracy_m": brought.accuracy_m, "address": brought.address}
    columns |= {name: value for name, value in named.items() if value is not None}
    x, y = case.x, case.y
    if brought.place is not None:
        x, y = brought.place.x, brought.place.y
        columns |= {"x": x, "y": y}
    right = replace(case, **{name: value for name, value in columns.items() if name != "address"})
    _refuse_unknown(conn, move, right)
    asked = {
        **{name: getattr(right, name) for name in ("class_code", "condition_no", "component_code", "accuracy_m")},
        "x": x,
        "y": y,
        "srid": case.srid,
    }
    if move.act == "accept" and case.basis == "decision" and not columns:
        return replace(given, corrected=columns)
    found: dict[str, Any] = conn.execute(query("cases", "renewed"), asked).scalar_one()
    if found["cell_id"] is None:
        raise _unfit("lon", "the right place lies outside the grid", "更正后的位置不在网格范围内")
    if brought.place is not None:
        columns["geom"] = found["geom"]
    area_class = found["area_class"]
    limit = conn.execute(
        query("cases", "limit_of"),
        {
            "edition": case.edition,
            "class_code": right.class_code,
            "condition_no": right.condition_no,
            "area_class": area_class,
        },
    ).one_or_none()
    renewed = {name: value for name, value in found.items() if name != "geom"}
    if case.stage == "dispatched" and move.act == "correct":
        # The unit that has it keeps it; whom it should have gone to is told.
        keep = ("unit_id", "unit_code", "assisting_ids", "basis", "resolved_by", "rule_id")
        renewed = {name: value for name, value in renewed.items() if name not in keep}
    renewed["area_class"] = area_class
    return replace(
        given,
        corrected=columns,
        renewed=renewed,
        proposal=found["unit_code"],
        limit=None if limit is None or limit.value is None else Limit(limit.value, limit.basis),
    )


def _refuse_unknown(conn: Connection, move: Move, right: Case) -> None:
    there = conn.execute(
        query("cases", "condition_there"),
        {"edition": right.edition, "class_code": right.class_code, "condition_no": right.condition_no},
    ).one()
    if right.class_code is not None and not there.class_there:
        raise _unfit("class", f"the catalogue has no class {right.class_code}", f"目录中没有类别 {right.class_code}")
    if right.condition_no is not None and not there.condition_there:
        raise _unfit(
            "condition",
            f"class {right.class_code} has no filing condition {right.condition_no}",
            f"类别 {right.class_code} 没有立案条件 {right.condition_no}",
        )
    if move.act == "accept" and (right.class_code is None or right.condition_no is None):
        what, zh = ("class", "类别") if right.class_code is None else ("condition", "立案条件")
        raise _unfit(
            what,
            f"a case is accepted with a class and a filing condition; it has no {what}",
            f"受理须有类别与立案条件，尚缺{zh}",
            mend="give it with the act; GET /classes lists them with their conditions",
            mend_zh="请在受理时一并填写；GET /classes 可查",
        )
