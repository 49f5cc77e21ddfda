"""A case over HTTP: through all seven stages, and every side way that the table has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from cases.clocks import Clockwork
from cases.upkeep import keep_up
from tests.doorstep import Door, report
from tests.hands import CLOCKWORK, back

PHOTO = "ab" * 32


@pytest.fixture(scope="module", autouse=True)
def photos(door: Door) -> None:
    """A photo that was sent before."""
    with door.engine.begin() as conn:
        conn.execute(
            text(
                "insert into cases.photo (sha256, media_type, width, height, bytes, uploaded_by) "
                "values (:sha, 'image/jpeg', 4, 3, 100, 'collector') on conflict do nothing"
            ),
            {"sha": PHOTO},
        )


def photo(kind: str) -> list[dict[str, str]]:
    return [{"kind": kind, "sha256": PHOTO}]


@pytest.fixture
def no(door: Door) -> int:
    """A case that was just reported by the hotline, in the west: its unit is WEST."""
    return opened(door)


def opened(door: Door, east_m: float = 50, north_m: float = 150, who: str = "channel-public", **more: Any) -> int:
    answer = door.post("/cases", report(east_m, north_m, **more), who)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["no"])


def act(door: Door, no: int, name: str, who: str, start: str, **body: Any) -> dict[str, Any]:
    """An act that must succeed."""
    answer = door.post(f"/cases/{no}/{name}", {"from": start, **body}, who)
    assert answer.status_code == 200, answer.text
    done: dict[str, Any] = answer.json()
    return done


def refused(door: Door, no: int, name: str, who: str, start: str, status: int, **body: Any) -> dict[str, Any]:
    """An act that must be refused, and then must not have written anything."""
    before = door.get(f"/cases/{no}").json()["events"]
    answer = door.post(f"/cases/{no}/{name}", {"from": start, **body}, who)
    assert answer.status_code == status, answer.text
    assert door.get(f"/cases/{no}").json()["events"] == before
    problem: dict[str, Any] = answer.json()
    assert problem["detail"]
    assert problem["detail_zh"]
    return problem


def to_dispatched(door: Door, no: int) -> dict[str, Any]:
    act(door, no, "accept", "acceptor", "reported", condition=1)
    act(door, no, "file", "duty_chief", "accepted")
    return act(door, no, "dispatch", "dispatcher", "filed")


def to_checked(door: Door, no: int) -> dict[str, Any]:
    act(door, no, "dispose", "unit", "dispatched", result="cleared", photos=photo("after"))
    act(door, no, "feed_back", "dispatcher", "disposed")
    act(door, no, "ask_check", "acceptor", "awaiting_check")
    return act(door, no, "report_check", "collector", "checking", verdict="same", photos=photo("check"))


def clock(case: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in case["clocks"] if c["kind"] == kind)
    return found


def test_seven_people_take_a_case_through_all_seven_stages(door: Door, no: int) -> None:
    asked = act(door, no, "ask_verification", "acceptor", "reported")
    assert asked["collector"] == "K1"  # who walks the cell
    assert clock(asked, "acceptance")["state"] == "paused"
    assert clock(asked, "verification")["state"] == "running"
    verified = act(door, no, "verify", "collector", "verifying", verdict="confirmed", photos=photo("before"))
    assert (verified["stage"], verified["collector"]) == ("reported", None)
    dispatched = to_dispatched(door, no)
    assert dispatched["unit"] == "WEST"
    running = [c["kind"] for c in dispatched["clocks"] if c["state"] == "running"]
    assert running == ["disposal"]
    assert clock(dispatched, "disposal")["allowed_s"] == 4 * 3600
    checked = to_checked(door, no)
    assert [a["act"] for a in checked["allowed"]] == []  # the collector is done
    closed = act(door, no, "close", "duty_chief", "checked")
    assert closed["stage"] == "closed"
    assert not [c for c in closed["clocks"] if c["state"] == "running"]
    case = door.get(f"/cases/{no}").json()
    way = "report ask_verification verify accept file dispatch dispose feed_back ask_check report_check close"
    assert [event["act"] for event in case["events"]] == way.split()
    assert {event["role"] for event in case["events"]} == {
        *("channel", "acceptor", "collector", "duty_chief", "dispatcher", "unit"),
    }
    assert case["closed_at"] is not None
    assert case["disposed_at"] <= case["due_at"]


def light(door: Door, no: int, kind: str) -> str:
    return str(clock(door.get(f"/cases/{no}").json(), kind)["light"])


def later(door: Door, no: int, hours: float) -> None:
    """Let hours pass for a case: by hand, as nobody else can."""
    with door.engine.begin() as conn:
        back(conn, no, hours / 24)


def test_a_case_fails_is_dispatched_again_suspended_extended_and_closed_with_the_right_lights(door: Door) -> None:
    no = opened(door, **{"class": "C0101"}, description="a cover")  # two urgent hours: they run round the clock
    assert light(door, no, "acceptance") == "green"
    later(door, no, 0.22)
    assert light(door, no, "acceptance") == "yellow"
    later(door, no, 0.1)
    assert light(door, no, "acceptance") == "red"
    act(door, no, "accept", "acceptor", "reported", condition=1)
    assert light(door, no, "acceptance") == "red"  # what was late stays so
    assert light(door, no, "filing") == "green"
    act(door, no, "file", "duty_chief", "accepted")
    act(door, no, "dispatch", "dispatcher", "filed", unit="WEST", reason="nobody else is there")
    later(door, no, 1)
    assert light(door, no, "disposal") == "green"
    to_checked(door, no)
    act(door, no, "fail", "duty_chief", "checked", reason="it still rocks")
    later(door, no, 5)  # in the centre: it costs the unit nothing
    act(door, no, "dispatch", "dispatcher", "filed")
    assert light(door, no, "disposal") == "green"
    later(door, no, 0.7)
    assert light(door, no, "disposal") == "yellow"
    ahead = (datetime.now(UTC) + timedelta(hours=10)).isoformat()
    act(door, no, "ask_suspension", "unit", "dispatched", reason="frost", until=ahead)
    act(door, no, "grant_suspension", "dispatcher", "dispatched")
    later(door, no, 9)
    assert light(door, no, "disposal") == "yellow"
    later(door, no, 1.1)
    assert [name for name, acted in keep_up(door.engine, held) if acted.case.no == no] == ["resume"]
    assert light(door, no, "disposal") == "yellow"
    act(door, no, "ask_extension", "unit", "dispatched", reason="parts")
    act(door, no, "grant_extension", "dispatcher", "dispatched")
    assert light(door, no, "disposal") == "green"
    later(door, no, 4)
    assert light(door, no, "disposal") == "red"
    assert "escalate" in [name for name, acted in keep_up(door.engine, held) if acted.case.no == no]
    assert no in [row["no"] for row in door.get("/desk", "leader", limit=500).json()["items"]]
    to_checked(door, no)
    act(door, no, "close", "duty_chief", "checked")
    case = door.get(f"/cases/{no}").json()
    assert case["disposed_at"] > case["due_at"]
    act(door, no, "appeal", "unit", "closed", reason="the parts came late")
    refused(door, no, "appeal", "unit", "closed", 409, reason="again")
    assert no in [row["no"] for row in door.get("/desk", "duty_chief", limit=500).json()["items"]]
    assert act(door, no, "grant_appeal", "duty_chief", "closed")["appeal"] == "granted"
    with door.engine.begin() as conn:  # what was done by hand is in no event
        conn.execute(text("delete from cases.attachment where case_no = :no"), {"no": no})
        conn.execute(text("alter table cases.event disable trigger append_only"))
        conn.execute(text("update cases.event set facts = null where case_no = :no and seq = 1"), {"no": no})
        conn.execute(text("alter table cases.event enable trigger append_only"))


def held(conn: Connection) -> Clockwork:
    return CLOCKWORK


def test_a_failed_check_is_dispatched_again_with_the_time_that_was_left(door: Door, no: int) -> None:
    to_dispatched(door, no)
    to_checked(door, no)
    failed = act(door, no, "fail", "duty_chief", "checked", reason="still there")
    assert (failed["stage"], failed["reworks"]) == ("filed", 1)
    used = clock(failed, "disposal")["used_s"]
    again = act(door, no, "dispatch", "dispatcher", "filed")
    assert clock(again, "disposal")["used_s"] == used
    assert clock(again, "disposal")["state"] == "running"


def test_another_unit_gets_the_whole_limit_and_the_first_one_its_rest(door: Door, no: int) -> None:
    to_dispatched(door, no)
    back = act(door, no, "turn_back", "unit", "dispatched", reason="not ours")
    assert back["turn_backs"] == 1
    used = clock(back, "disposal")["used_s"]
    other = act(door, no, "dispatch", "dispatcher", "filed", unit="WATER", reason="theirs")
    assert (clock(other, "disposal")["unit"], clock(other, "disposal")["used_s"]) == ("WATER", 0)
    assert clock(other, "disposal:WEST")["used_s"] == used
    act(door, no, "recall", "dispatcher", "dispatched", reason="our mistake")
    home = act(door, no, "dispatch", "dispatcher", "filed", unit="WEST")
    assert clock(home, "disposal")["used_s"] == used


def test_what_the_centre_recalls_does_not_count_against_the_unit(door: Door, no: int) -> None:
    to_dispatched(door, no)
    act(door, no, "recall", "dispatcher", "dispatched", reason="wrong street")
    again = act(door, no, "dispatch", "dispatcher", "filed")
    assert clock(again, "disposal")["used_s"] == 0


def test_after_the_third_turn_back_a_unit_is_decided_and_cannot_turn_back(door: Door, no: int) -> None:
    to_dispatched(door, no)
    refused(door, no, "decide_unit", "dispatcher", "dispatched", 409, unit="WEST", reason="x")
    for _ in range(2):
        act(door, no, "turn_back", "unit", "dispatched", reason="not ours")
        refused(door, no, "decide_unit", "dispatcher", "filed", 409, unit="WEST", reason="too early")
        act(door, no, "dispatch", "dispatcher", "filed")
    act(door, no, "turn_back", "unit", "dispatched", reason="not ours")
    refused(door, no, "dispatch", "dispatcher", "filed", 409)
    act(door, no, "decide_unit", "dispatcher", "filed", unit="WEST", reason="decided by the leaders")
    act(door, no, "dispatch", "dispatcher", "filed")
    refused(door, no, "turn_back", "unit", "dispatched", 409, reason="still not ours")


def test_two_extensions_each_of_the_original_limit(door: Door, no: int) -> None:
    to_dispatched(door, no)
    refused(door, no, "grant_extension", "dispatcher", "dispatched", 409)
    act(door, no, "ask_extension", "unit", "dispatched", reason="rain")
    act(door, no, "refuse_extension", "dispatcher", "dispatched", reason="no rain")
    for times in (2, 3):
        act(door, no, "ask_extension", "unit", "dispatched", reason="rain")
        refused(door, no, "ask_suspension", "unit", "dispatched", 409, reason="x", until="2026-12-31T00:00:00+08:00")
        granted = act(door, no, "grant_extension", "dispatcher", "dispatched")
        assert clock(granted, "disposal")["allowed_s"] == times * 4 * 3600
    refused(door, no, "ask_extension", "unit", "dispatched", 409, reason="rain")


def test_a_suspension_stops_the_clock_and_is_granted_once(door: Door, no: int) -> None:
    to_dispatched(door, no)
    ahead = (datetime.now(UTC) + timedelta(days=20)).isoformat()
    for until in ("2026-12-31T00:00:00", "2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"):
        refused(door, no, "ask_suspension", "unit", "dispatched", 422, reason="frost", until=until)
    act(door, no, "ask_suspension", "unit", "dispatched", reason="frost", until=ahead)
    granted = act(door, no, "grant_suspension", "dispatcher", "dispatched")
    assert granted["suspended_until"] is not None
    assert clock(granted, "disposal")["state"] == "paused"
    refused(door, no, "resume", "dispatcher", "dispatched", 404)  # the system's, at the end date
    refused(door, no, "ask_extension", "unit", "dispatched", 409, reason="x")
    done = act(door, no, "dispose", "unit", "dispatched", result="thawed", photos=photo("after"))
    assert done["suspended_until"] is None
    case = door.get(f"/cases/{no}").json()
    assert case["disposed_at"] <= case["due_at"]


def test_a_correction_renews_the_assignment_and_tells_what_was(door: Door, no: int) -> None:
    act(door, no, "correct", "acceptor", "reported", reason="a cover", **{"class": "C0101"})
    case = door.get(f"/cases/{no}").json()
    assert case["unit"]["code"] == "WATER"
    assert case["class"]["code"] == "C0101"
    assert case["events"][-1]["data"]["was"]["class_code"] == "E0102"
    refused(door, no, "accept", "acceptor", "reported", 422)  # no condition
    refused(door, no, "accept", "acceptor", "reported", 422, condition=7)
    refused(door, no, "correct", "acceptor", "reported", 422, reason="x", **{"class": "C9999"})
    refused(door, no, "correct", "acceptor", "reported", 422, reason="nothing")
    refused(door, no, "correct", "acceptor", "reported", 422, reason="place", lon=120.0, lat=10.0)
    moved = act(door, no, "correct", "acceptor", "reported", reason="place", **place(350, 50))
    assert moved["stage"] == "reported"
    assert door.get(f"/cases/{no}").json()["cell"]["code"].startswith("610999002001")


def place(east_m: float, north_m: float) -> dict[str, float]:
    body = report(east_m, north_m)
    return {"lon": body["lon"], "lat": body["lat"]}


def test_a_limit_corrected_after_the_dispatch_begins_in_full(door: Door, no: int) -> None:
    to_dispatched(door, no)
    same = act(door, no, "correct", "dispatcher", "dispatched", reason="address", address="1 Green Road")
    assert clock(same, "disposal")["allowed_s"] == 4 * 3600
    other = act(door, no, "correct", "dispatcher", "dispatched", reason="a square", condition=2)
    assert clock(other, "disposal")["allowed_s"] == 8 * 3600
    assert clock(other, "disposal")["used_s"] == 0
    assert other["unit"] == "WEST"  # who has it keeps it
    assert door.get(f"/cases/{no}").json()["events"][-1]["data"]["proposal"] == "WATER"


def test_who_reports_in_words_gets_a_case_that_waits_for_its_class(door: Door) -> None:
    body = {key: value for key, value in report(50, 150).items() if key != "class"}
    assert door.post("/cases", body, "channel-web").status_code == 422
    answer = door.post("/cases", {**body, "description": "it smells"}, "channel-web")
    assert answer.status_code == 201
    case = answer.json()
    assert (case["class"], case["unit"], case["reason"]["basis"]) == (None, None, "nobody")
    refused(door, case["no"], "accept", "acceptor", "reported", 422, condition=1)
    accepted = act(door, case["no"], "accept", "acceptor", "reported", condition=1, **{"class": "E0102"})
    assert accepted["unit"] == "WEST"
    assert door.post("/cases", body, "collector").status_code == 422


def test_what_a_collector_disposed_of_needs_both_photos_and_is_closed_or_refused(door: Door) -> None:
    body = report(50, 150, self_disposed=True, accuracy_m=5)
    assert door.post("/cases", body, "collector").status_code == 422
    both = photo("before") + photo("after")
    assert door.post("/cases", {**body, "photos": both}, "channel-web").status_code == 403
    for name, who, more in (("close", "duty_chief", {}), ("refuse", "acceptor", {"reason": "nothing to see"})):
        made = door.post("/cases", {**body, "photos": both}, "collector")
        assert made.status_code == 201, made.text
        case = made.json()
        assert case["stage"]["code"] == "self_disposed"
        assert [p["kind"] for p in case["events"][0]["photos"]] == ["before", "after"]
        act(door, case["no"], name, who, "self_disposed", **more)


def test_linked_cases_share_the_outcome_and_wait_for_it(door: Door) -> None:
    first, second, third = (opened(door) for _ in range(3))
    refused(door, second, "link", "acceptor", "reported", 422, case=second)
    refused(door, second, "link", "acceptor", "reported", 422, case=20200101000001)
    linked = act(door, second, "link", "acceptor", "reported", case=first)
    assert linked["same_as"] == first
    assert not [c for c in linked["clocks"] if c["state"] == "running"]
    assert act(door, third, "link", "acceptor", "reported", case=second)["same_as"] == first
    refused(door, first, "link", "acceptor", "reported", 422, case=second)
    refused(door, second, "accept", "acceptor", "reported", 409, condition=1)
    free = act(door, third, "unlink", "acceptor", "reported", reason="another heap")
    assert clock(free, "acceptance")["state"] == "running"
    act(door, third, "link", "acceptor", "reported", case=first)
    assert door.get(f"/cases/{first}").json()["linked"] == [second, third]
    to_dispatched(door, first)
    to_checked(door, first)
    closed = act(door, first, "close", "duty_chief", "checked")
    assert closed["ended"] == [second, third]
    for no in (second, third):
        case = door.get(f"/cases/{no}").json()
        assert (case["stage"]["code"], case["events"][-1]["act"]) == ("closed", "follow")


def test_void_needs_the_acceptors_proposal(door: Door, no: int) -> None:
    refused(door, no, "void", "duty_chief", "reported", 409, reason="a test")
    act(door, no, "propose_void", "acceptor", "reported", reason="a test")
    refused(door, no, "propose_void", "acceptor", "reported", 409, reason="again")
    act(door, no, "void", "duty_chief", "reported", reason="a test")
    refused(door, no, "accept", "acceptor", "void", 409, condition=1)


def test_a_proposal_falls_when_the_case_goes_on(door: Door, no: int) -> None:
    act(door, no, "propose_void", "acceptor", "reported", reason="a test")
    act(door, no, "accept", "acceptor", "reported", condition=1)
    refused(door, no, "void", "duty_chief", "accepted", 409, reason="a test")


def test_the_way_back_through_the_centres(door: Door, no: int) -> None:
    act(door, no, "accept", "acceptor", "reported", condition=1)
    refused(door, no, "hand_back", "duty_chief", "accepted", 422)
    back = act(door, no, "hand_back", "duty_chief", "accepted", reason="no condition met")
    assert clock(back, "acceptance")["state"] == "running"
    act(door, no, "accept", "acceptor", "reported")
    act(door, no, "file", "duty_chief", "accepted")
    filed = act(door, no, "hand_back", "dispatcher", "filed", reason="which one?")
    assert clock(filed, "filing")["state"] == "running"
    act(door, no, "file", "duty_chief", "accepted")
    act(door, no, "dispatch", "dispatcher", "filed")
    act(door, no, "dispose", "unit", "dispatched", result="done", photos=photo("after"))
    redone = act(door, no, "redo", "dispatcher", "disposed", reason="photo shows another place")
    assert redone["reworks"] == 1
    act(door, no, "dispose", "unit", "dispatched", result="done", photos=photo("after"))
    act(door, no, "feed_back", "dispatcher", "disposed")
    act(door, no, "hand_back", "acceptor", "awaiting_check", reason="no result")
    act(door, no, "feed_back", "dispatcher", "disposed")
    act(door, no, "ask_check", "acceptor", "awaiting_check")
    act(door, no, "recall", "acceptor", "checking", reason="too early")
    act(door, no, "ask_check", "acceptor", "awaiting_check", collector="K1")
    act(door, no, "report_check", "collector", "checking", verdict="not_found")
    act(door, no, "hand_back", "duty_chief", "checked", reason="look again")


def test_two_levels_of_dispatch_and_a_stand_in(door: Door, no: int) -> None:
    to_dispatched(door, no)
    act(door, no, "recall", "dispatcher", "dispatched", reason="to the district")
    act(door, no, "dispatch", "dispatcher", "filed", unit="DISTRICT")
    with door.engine.begin() as conn:
        conn.execute(text("update layers.account set unit_code = 'DISTRICT' where name = 'district-dispatcher'"))
    refused(door, no, "delegate", "district_dispatcher", "dispatched", 422, unit="CENTRE")
    down = act(door, no, "delegate", "district_dispatcher", "dispatched", unit="WEST")
    assert (down["unit"], clock(down, "disposal")["unit"]) == ("WEST", "WEST")
    stood = act(door, no, "stand_in", "dispatcher", "dispatched", unit="WATER", reason="a hazard", cost=1200.5)
    assert (stood["unit"], clock(stood, "disposal")["unit"]) == ("WATER", "WATER")
    assert door.get(f"/cases/{no}").json()["events"][-1]["data"]["cost"] == 1200.5


def test_an_appeal_needs_an_overdue_case_and_is_made_once(door: Door, no: int) -> None:
    to_dispatched(door, no)
    to_checked(door, no)
    act(door, no, "close", "duty_chief", "checked")
    refused(door, no, "appeal", "unit", "closed", 409, reason="we were in time")


def test_of_two_at_once_one_gets_the_case_as_it_is(door: Door, no: int) -> None:
    act(door, no, "accept", "acceptor", "reported", condition=1)
    problem = refused(door, no, "accept", "acceptor", "reported", 409, condition=1)
    assert problem["now"]["stage"] == "accepted"
    assert problem["now"]["no"] == no


def test_the_same_key_again_is_the_same_act(door: Door, no: int) -> None:
    body = {"from": "reported", "condition": 1}
    first = door.post(f"/cases/{no}/accept", body, "acceptor", **{"Idempotency-Key": "k1"}).json()
    second = door.post(f"/cases/{no}/accept", body, "acceptor", **{"Idempotency-Key": "k1"})
    assert second.status_code == 200
    assert (second.json()["again"], second.json()["seq"]) == (True, first["seq"])
    assert door.post(f"/cases/{no}/refuse", body, "acceptor", **{"Idempotency-Key": "k1"}).status_code == 409


def test_nobody_acts_in_a_role_or_for_a_unit_that_is_not_theirs(door: Door, no: int) -> None:
    refused(door, no, "accept", "dispatcher", "reported", 403, condition=1)
    refused(door, no, "sing", "acceptor", "reported", 404)
    refused(door, no, "accept", "acceptor", "reported", 422, condition=1, unit="WEST")
    refused(door, no, "accept", "acceptor", "reported", 422, reason="x" * 10_001)
    to_dispatched(door, no)
    act(door, no, "recall", "dispatcher", "dispatched", reason="mistake")
    act(door, no, "dispatch", "dispatcher", "filed", unit="WATER")
    answer = door.post(f"/cases/{no}/dispose", {"from": "dispatched", "result": "x", "photos": photo("after")}, "unit")
    assert answer.status_code == 404  # a unit sees its own cases only
    assert door.post(f"/cases/{no}/supervise", {"from": "dispatched", "reason": "hurry"}).status_code == 401


def test_when_it_was_seen_has_a_zone_and_does_not_lie_ahead(door: Door) -> None:
    now = datetime.now(UTC)
    for seen_at in (now.replace(tzinfo=None), now + timedelta(hours=1), now - timedelta(days=500)):
        body = report(50, 150, seen_at=seen_at.isoformat())
        assert door.post("/cases", body, "channel-web").status_code == 422
    assert door.post("/cases", report(50, 150, seen_at=now.isoformat()), "channel-web").status_code == 201


def test_desks_show_what_is_due_first(door: Door, no: int) -> None:
    mine = door.get("/desk", "acceptor", limit=500).json()
    assert mine["role"] == "acceptor"
    assert no in [row["no"] for row in mine["items"]]
    dues = [row["due_at"] or "9" for row in mine["items"]]
    assert dues == sorted(dues)
    found: list[int] = []
    after = None
    while True:
        page = door.get("/desk", "acceptor", limit=2, **({"after": after} if after else {})).json()
        found += [row["no"] for row in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert found == [row["no"] for row in mine["items"]]
    assert door.get("/desk", "planner").status_code == 403
    assert door.get("/desk", "acceptor", after="nonsense").status_code == 422
    to_dispatched(door, no)
    assert no in [row["no"] for row in door.get("/desk", "unit", limit=500).json()["items"]]
    assert no not in [row["no"] for row in door.get("/desk", "dispatcher", limit=500).json()["items"]]
    act(door, no, "ask_extension", "unit", "dispatched", reason="rain")
    assert no in [row["no"] for row in door.get("/desk", "dispatcher", limit=500).json()["items"]]


def test_a_collector_off_duty_gets_no_task(door: Door, no: int) -> None:
    assert door.post("/duty", {"on": False}, "collector").json()["on"] is False
    refused(door, no, "ask_verification", "acceptor", "reported", 409)
    assert door.post("/duty", {"on": True, **place(350, 350)}, "collector").status_code == 200
    act(door, no, "ask_verification", "acceptor", "reported")
    assert door.post("/duty", {"on": True}, "acceptor").status_code == 403


def test_every_case_is_told_anew_from_its_events(door: Door) -> None:
    with door.engine.connect() as conn:
        differing = conn.execute(
            text(
                "select c.no from cases.case c cross join lateral cases.replay(c.no) r "
                "where r.no is not null and to_jsonb(c) is distinct from to_jsonb(r)"
            )
        ).all()
        assert not differing
        assert conn.scalar(text("select count(*) from cases.event where facts is not null")) > 50
