"""The case: its stages, and every move and act that is allowed, as one table.

Pure. ``cases.transition`` and ``cases.transition_role`` in the database hold the same rows and refuse everything else
by their keys; a test compares both, and the tables and the diagram of docs/workflow.md are made from here.

Sources: the seven stages, the two field checks and the start of the clock are the command manual's; acts, grants and
clocks that it does not name are the practice of other cities (CJ/T 213, GB/T 30428).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: Where a case can stand, in the order of its way; "none" is before its first event.
STAGES = {
    "none": ("none", "（未建立）"),
    "reported": ("reported", "已上报"),
    "verifying": ("being verified", "核实中"),
    "accepted": ("accepted", "已受理"),
    "filed": ("filed", "已立案"),
    "dispatched": ("dispatched", "已派遣"),
    "disposed": ("disposed of", "已处理"),
    "awaiting_check": ("awaiting check", "待核查"),
    "checking": ("being checked", "核查中"),
    "checked": ("checked", "已核查"),
    "self_disposed": ("self-disposed", "已自处理"),
    "closed": ("closed", "已结案"),
    "refused": ("refused", "不予受理"),
    "void": ("void", "作废"),
}
ENDS = ("closed", "refused", "void")
OPEN = tuple(stage for stage in STAGES if stage not in (*ENDS, "none"))
BEFORE_DISPATCH = ("reported", "verifying", "accepted", "filed")
CLOCKS = ("acceptance", "verification", "filing", "dispatch", "disposal", "check")
SOURCES = ("collector", "public", "video", "leader", "web")
SYSTEM = "system"  #: the role of what nobody does by hand

#: What each act is called.
ACTS = {
    "report": ("report", "上报"),
    "self_dispose": ("self-dispose", "自处理"),
    "ask_verification": ("ask for verification", "下发核实"),
    "verify": ("report the verification", "核实反馈"),
    "recall": ("recall", "撤回"),
    "accept": ("accept", "受理"),
    "refuse": ("refuse", "不予受理"),
    "file": ("file", "立案"),
    "hand_back": ("hand back", "退回"),
    "dispatch": ("dispatch", "派遣"),
    "turn_back": ("turn back", "退单"),
    "delegate": ("delegate", "二级派遣"),
    "dispose": ("dispose", "处置完成"),
    "feed_back": ("feed back", "反馈"),
    "redo": ("have it redone", "返工"),
    "ask_check": ("ask for the check", "下发核查"),
    "report_check": ("report the check", "核查反馈"),
    "close": ("close", "结案"),
    "fail": ("fail the check", "核查不通过"),
    "void": ("declare void", "作废"),
    "correct": ("correct", "更正"),
    "reassign": ("give to another collector", "改派监督员"),
    "ask_extension": ("ask for an extension", "申请延期"),
    "grant_extension": ("grant the extension", "同意延期"),
    "refuse_extension": ("refuse the extension", "不同意延期"),
    "ask_suspension": ("ask for a suspension", "申请挂账"),
    "grant_suspension": ("grant the suspension", "同意挂账"),
    "refuse_suspension": ("refuse the suspension", "不同意挂账"),
    "resume": ("resume", "挂账到期恢复"),
    "supervise": ("supervise", "督办"),
    "choose_unit": ("choose the unit", "改派单位"),
    "decide_unit": ("decide the unit", "指定派遣"),
    "attach": ("attach", "补充附件"),
    "link": ("link", "并案"),
    "unlink": ("unlink", "撤销并案"),
    "follow": ("follow the linked case", "随并案办结"),
    "propose_void": ("propose to void", "建议作废"),
    "appeal": ("appeal", "申诉"),
    "grant_appeal": ("grant the appeal", "申诉成立"),
    "refuse_appeal": ("refuse the appeal", "申诉不成立"),
    "stand_in": ("send a stand-in", "代整治"),
    "assign": ("assign anew", "重新确定责任"),
    "escalate": ("escalate", "超时升级"),
    "reckon": ("reckon the deadline anew", "重新计算时限"),
    "import": ("import", "导入"),
}

#: What an act must bring, and what it may bring besides. A backward move needs its reason.
NEEDS: dict[str, tuple[str, ...]] = {
    "refuse": ("reason",),
    "hand_back": ("reason",),
    "turn_back": ("reason",),
    "recall": ("reason",),
    "redo": ("reason",),
    "fail": ("reason",),
    "void": ("reason",),
    "correct": ("reason",),
    "verify": ("verdict",),
    "delegate": ("unit",),
    "dispose": ("result", "photos"),
    "report_check": ("verdict",),
    "ask_extension": ("reason",),
    "refuse_extension": ("reason",),
    "ask_suspension": ("reason", "until"),
    "refuse_suspension": ("reason",),
    "supervise": ("reason",),
    "choose_unit": ("unit", "reason"),
    "decide_unit": ("unit", "reason"),
    "attach": ("photos",),
    "link": ("case",),
    "unlink": ("reason",),
    "propose_void": ("reason",),
    "appeal": ("reason",),
    "refuse_appeal": ("reason",),
    "stand_in": ("unit", "reason"),
}
MAY_BRING: dict[str, tuple[str, ...]] = {
    "accept": ("class", "condition"),
    "ask_verification": ("collector",),
    "verify": ("photos",),
    "ask_check": ("collector",),
    "reassign": ("collector",),
    "report_check": ("photos",),
    "dispatch": ("unit",),
    "grant_suspension": ("until",),
    "correct": ("class", "condition", "component", "lon", "lat", "crs", "accuracy_m", "address"),
    "stand_in": ("cost",),
}
VERDICTS = {"verify": ("confirmed", "not_confirmed", "not_found"), "report_check": ("same", "not_same", "not_found")}
MOST_GRANTS = 2  #: extensions of one case
DISPUTED_FROM = 3  #: turn-backs: from here on only a decided unit is dispatched to


@dataclass(frozen=True, slots=True)
class Move:
    """One row of the table: what may be done where, by whom, and what it does to the clocks."""

    from_stage: str
    act: str
    to_stage: str
    roles: tuple[str, ...]
    clocks: tuple[tuple[str, str], ...] = ()  #: (start, stop, pause, resume or void; which)

    @property
    def needs(self) -> tuple[str, ...]:
        """The fields that it must bring."""
        return NEEDS.get(self.act, ())

    @property
    def brings(self) -> tuple[str, ...]:
        """All fields that it may bring; each act takes a remark."""
        return tuple(dict.fromkeys((*self.needs, *MAY_BRING.get(self.act, ()), "reason")))


def _moves() -> Iterable[Move]:
    acceptance, filing, dispatch = "acceptance", "filing", "dispatch"
    reporters = ("collector", "leader", "channel", "acceptor", "video_operator")
    yield Move("none", "report", "reported", reporters, (("start", acceptance),))
    yield Move("none", "self_dispose", "self_disposed", ("collector",))
    yield Move("self_disposed", "close", "closed", ("duty_chief",))
    yield Move("self_disposed", "refuse", "refused", ("acceptor",))
    asked = (("pause", acceptance), ("start", "verification"))
    yield Move("reported", "ask_verification", "verifying", ("acceptor",), asked)
    back = (("stop", "verification"), ("resume", acceptance))
    yield Move("verifying", "verify", "reported", ("collector",), back)
    yield Move("verifying", "recall", "reported", ("acceptor",), back)
    yield Move("reported", "accept", "accepted", ("acceptor",), (("stop", acceptance), ("start", filing)))
    yield Move("reported", "refuse", "refused", ("acceptor",), (("stop", acceptance),))
    yield Move("accepted", "file", "filed", ("duty_chief",), (("stop", filing), ("start", dispatch)))
    yield Move("accepted", "hand_back", "reported", ("duty_chief",), (("stop", filing), ("resume", acceptance)))
    yield Move("filed", "dispatch", "dispatched", ("dispatcher",), (("stop", dispatch), ("start", "disposal")))
    yield Move("filed", "hand_back", "accepted", ("dispatcher",), (("stop", dispatch), ("resume", filing)))
    yield Move("dispatched", "turn_back", "filed", ("unit",), (("pause", "disposal"), ("start", dispatch)))
    yield Move("dispatched", "recall", "filed", ("dispatcher",), (("void", "disposal"), ("start", dispatch)))
    yield Move("dispatched", "delegate", "dispatched", ("district_dispatcher",))
    yield Move("dispatched", "dispose", "disposed", ("unit",), (("pause", "disposal"),))
    yield Move("disposed", "feed_back", "awaiting_check", ("dispatcher",))
    yield Move("disposed", "redo", "dispatched", ("dispatcher",), (("resume", "disposal"),))
    yield Move("awaiting_check", "ask_check", "checking", ("acceptor",), (("start", "check"),))
    yield Move("awaiting_check", "hand_back", "disposed", ("acceptor",))
    yield Move("checking", "report_check", "checked", ("collector",), (("stop", "check"),))
    yield Move("checking", "recall", "awaiting_check", ("acceptor",), (("stop", "check"),))
    yield Move("checked", "close", "closed", ("duty_chief",))
    yield Move("checked", "fail", "filed", ("duty_chief",), (("start", dispatch),))
    yield Move("checked", "hand_back", "awaiting_check", ("duty_chief",))
    for stage, clock in (("reported", acceptance), ("accepted", filing), ("filed", dispatch)):
        yield Move(stage, "void", "void", ("duty_chief",), (("stop", clock),))

    # Acts that leave the stage as it is.
    for stage in ("reported", "verifying", "accepted"):
        yield Move(stage, "correct", stage, ("acceptor",))
    for stage in ("filed", "dispatched"):
        yield Move(stage, "correct", stage, ("dispatcher",))
    for stage in ("verifying", "checking"):
        yield Move(stage, "reassign", stage, ("acceptor",))
    for thing, pause in (("extension", ()), ("suspension", (("pause", "disposal"),))):
        yield Move("dispatched", f"ask_{thing}", "dispatched", ("unit",))
        yield Move("dispatched", f"grant_{thing}", "dispatched", ("dispatcher",), pause)
        yield Move("dispatched", f"refuse_{thing}", "dispatched", ("dispatcher",))
    yield Move("dispatched", "resume", "dispatched", (SYSTEM,), (("resume", "disposal"),))
    yield Move("dispatched", "reckon", "dispatched", (SYSTEM,))
    for stage in BEFORE_DISPATCH:
        yield Move(stage, "choose_unit", stage, ("dispatcher",))
    yield Move("filed", "decide_unit", "filed", ("dispatcher",))
    for stage in ("reported", "accepted", "filed"):
        yield Move(stage, "propose_void", stage, ("acceptor",))
    yield Move("closed", "appeal", "closed", ("unit",))
    yield Move("closed", "grant_appeal", "closed", ("duty_chief",))
    yield Move("closed", "refuse_appeal", "closed", ("duty_chief",))
    yield Move("filed", "stand_in", "filed", ("dispatcher",))
    yield Move("dispatched", "stand_in", "dispatched", ("dispatcher",))
    for stage in OPEN:
        yield Move(stage, "supervise", stage, ("leader", "acceptor", "duty_chief", "dispatcher"))
        yield Move(stage, "attach", stage, ("collector", "acceptor", "duty_chief", "dispatcher", "unit"))
        yield Move(stage, "link", stage, ("acceptor",))
        yield Move(stage, "unlink", stage, ("acceptor",))
        yield Move(stage, "assign", stage, (SYSTEM,))
        yield Move(stage, "escalate", stage, (SYSTEM,))
    for stage in BEFORE_DISPATCH:
        for end in ENDS:
            yield Move(stage, "follow", end, (SYSTEM,))
    for stage in STAGES:
        if stage != "none":
            yield Move("none", "import", stage, ("administrator",))
            yield Move(stage, "import", stage, ("administrator",))


TABLE: tuple[Move, ...] = tuple(_moves())

#: What people and the clockwork do: (from, act) has one row. ``import`` and ``follow`` end where the facts say.
MOVES: Mapping[tuple[str, str], Move] = {
    (move.from_stage, move.act): move for move in TABLE if move.act not in ("import", "follow")
}


def moves_from(stage: str) -> list[Move]:
    """What people may do with a case that stands there, in the order of the table."""
    return [move for (start, _), move in MOVES.items() if start == stage and move.roles != (SYSTEM,)]


def diagram() -> str:
    """The moves between stages as a Mermaid state diagram (docs/workflow.md)."""
    lines = ["stateDiagram-v2"]
    lines += [f"    {stage}: {stage} {zh}" for stage, (_, zh) in STAGES.items() if stage != "none"]
    for move in TABLE:
        if move.from_stage != move.to_stage and move.act not in ("import", "follow"):
            start = "[*]" if move.from_stage == "none" else move.from_stage
            lines.append(f"    {start} --> {move.to_stage}: {move.act} {ACTS[move.act][1]}")
    lines += [f"    {stage} --> [*]" for stage in ENDS]
    return "\n".join(lines)
