"""Who may do what: passwords, sessions, tokens, roles; nothing forged is taken, nothing said that helps a guesser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from api.logins import account_lines, demo_accounts, new_password
from gis.errors import Conflict, Invalid, NotFound
from grids.city import City
from layers.accounts import (
    MOST_WAIT_S,
    ROLES,
    Cookies,
    actor_of_session,
    actor_of_token,
    add_account,
    add_token,
    disable_account,
    log_in,
    log_out,
    login_turn,
    set_password,
    units_of,
)
from tests.doorstep import PASSWORD, Door, opened_door, report
from tests.test_http_errors import refused

HOME = Path(__file__).resolve().parents[1]
MAY_REPORT = {"collector", "leader", "video_operator", "acceptor"}


# ── in the database ────────────────────────────────────────


def test_a_password_opens_only_its_own_account(conn: Connection) -> None:
    add_account(conn, "zhang", roles=["dispatcher"], password=PASSWORD)
    add_account(conn, "li", roles=["planner"], password=PASSWORD + "!")
    found = log_in(conn, "zhang", PASSWORD)
    assert found is not None
    assert found[0].name == "zhang"
    assert actor_of_session(conn, found[1]) == found[0]
    for name, password in [("li", PASSWORD), ("zhang", PASSWORD + "!"), ("zhang", ""), ("nobody", PASSWORD), ("", "")]:
        assert log_in(conn, name, password) is None


def test_neither_password_nor_token_nor_session_is_kept_in_the_clear(conn: Connection) -> None:
    add_account(conn, "zhang", roles=["dispatcher"], password=PASSWORD)
    token = add_token(conn, "zhang")
    found = log_in(conn, "zhang", PASSWORD)
    assert found is not None
    kept = str(conn.execute(text("select a.*::text, t.*::text from layers.account a, layers.token t")).all())
    for secret in (PASSWORD, token, found[1]):
        assert secret not in kept
        assert secret.encode().hex() not in kept
    hashes = list(conn.scalars(text("select password_hash from layers.account where password_hash is not null")))
    assert all(value.startswith("$argon2id$") for value in hashes)


def test_a_token_is_no_session_and_a_session_no_token(conn: Connection) -> None:
    add_account(conn, "zhang", roles=["dispatcher"], password=PASSWORD)
    token, session = add_token(conn, "zhang"), log_in(conn, "zhang", PASSWORD)
    assert session is not None
    assert actor_of_session(conn, token) is None
    assert actor_of_token(conn, session[1]) is None


def test_what_has_ended_is_taken_no_more(conn: Connection) -> None:
    add_account(conn, "zhang", roles=["dispatcher"], password=PASSWORD)
    session = log_in(conn, "zhang", PASSWORD)
    token, short = add_token(conn, "zhang"), add_token(conn, "zhang", days=1e-9)
    assert session is not None
    assert actor_of_token(conn, token) is not None
    conn.execute(text("select pg_sleep(0.001)"))
    assert actor_of_token(conn, short) is None
    log_out(conn, session[1])
    assert actor_of_session(conn, session[1]) is None


@pytest.mark.parametrize("act", [disable_account, lambda conn, name: set_password(conn, name, "another good password")])
def test_disabling_and_a_new_password_end_everything_that_was_open(conn: Connection, act: Any) -> None:
    add_account(conn, "zhang", roles=["dispatcher"], password=PASSWORD)
    session, token = log_in(conn, "zhang", PASSWORD), add_token(conn, "zhang")
    assert session is not None
    act(conn, "zhang")
    assert actor_of_session(conn, session[1]) is None
    assert actor_of_token(conn, token) is None
    assert log_in(conn, "zhang", PASSWORD) is None


def test_each_failure_makes_the_next_try_wait_longer_known_name_or_not(conn: Connection) -> None:
    add_account(conn, "zhang", roles=["dispatcher"], password=PASSWORD)
    waits: dict[str, list[float]] = {}
    for name in ("zhang", "nobody"):
        waits[name] = []
        for _ in range(8):
            waits[name].append(round(login_turn(conn, name), 2))
            assert log_in(conn, name, "wrong") is None
            conn.execute(text("update layers.failed_login set next_at = clock_timestamp()"))
    assert waits["zhang"][0] < 0.05, "the first try does not wait"
    assert waits["zhang"][1:] == sorted(waits["zhang"][1:])
    assert waits["zhang"][-1] == pytest.approx(MOST_WAIT_S, abs=0.1)
    assert waits["nobody"] == pytest.approx(waits["zhang"], abs=0.1)
    login_turn(conn, "zhang")
    assert log_in(conn, "zhang", PASSWORD) is not None
    assert login_turn(conn, "zhang") < 0.05, "a success wipes the slate"


def test_somebody_elsewhere_who_keeps_trying_does_not_keep_the_owner_out(conn: Connection) -> None:
    add_account(conn, "zhang", roles=["dispatcher"], password=PASSWORD)
    for _ in range(10):
        login_turn(conn, "zhang", "192.0.2.1")
    assert login_turn(conn, "zhang", "192.0.2.2") < 0.05
    assert log_in(conn, "zhang", PASSWORD, "192.0.2.2") is not None
    assert login_turn(conn, "zhang", "192.0.2.1") > 1, "his success does not free the other"


def test_tries_that_come_at_once_queue_up(conn: Connection) -> None:
    waits = [login_turn(conn, "zhang") for _ in range(6)]
    assert all(later > earlier for earlier, later in pairwise(waits))
    assert max(login_turn(conn, "zhang") for _ in range(50)) <= 30.01, "the queue has an end"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"name": "Z", "roles": ["planner"]}, "name"),
        ({"name": "a b", "roles": ["planner"]}, "name"),
        ({"name": "zhang", "roles": ["king"]}, "role"),
        ({"name": "zhang", "roles": []}, "role"),
        ({"name": "zhang", "roles": ["unit"]}, "unit"),
        ({"name": "zhang", "roles": ["unit"], "unit_code": "NOWHERE"}, "unit"),
        ({"name": "zhang", "roles": ["channel"]}, "channel"),
        ({"name": "zhang", "roles": ["channel", "administrator"], "channel": "web"}, "channel"),
        ({"name": "zhang", "roles": ["channel"], "channel": "radio"}, "channel"),
        ({"name": "zhang", "roles": ["planner"], "channel": "web"}, "channel"),
        ({"name": "zhang", "roles": ["planner"], "password": "short"}, "password"),
        ({"name": "zhang", "roles": ["planner"], "password": " " * 20}, "password"),
        ({"name": "zhang", "roles": ["planner"], "password": "x" * 201}, "password"),
    ],
)
def test_accounts_that_cannot_be_are_refused(conn: Connection, options: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        add_account(conn, **options)
    assert caught.value.where["field"] == field
    assert caught.value.mend


def test_a_name_is_never_given_twice(conn: Connection) -> None:
    add_account(conn, "zhang", roles=["dispatcher"], password=PASSWORD)
    disable_account(conn, "zhang")
    with pytest.raises(Conflict):
        add_account(conn, "zhang", roles=["administrator"])
    with pytest.raises(Conflict):
        add_token(conn, "zhang")
    for act in (
        lambda: add_token(conn, "wang"),
        lambda: disable_account(conn, "wang"),
        lambda: set_password(conn, "wang", PASSWORD),
    ):
        with pytest.raises(NotFound):
            act()


@pytest.mark.parametrize(
    "row",
    [
        "('x1', 'x', 'x', '{channel}', null, null, null)",
        "('x1', 'x', 'x', '{channel,administrator}', 'web', null, null)",
        "('x1', 'x', 'x', '{channel}', 'web', null, 'hash')",
        "('x1', 'x', 'x', '{}', null, null, null)",
        "('x1', 'x', 'x', '{king}', null, null, null)",
        "('x1', 'x', 'x', '{unit}', null, null, null)",
        "('X', 'x', 'x', '{planner}', null, null, null)",
    ],
)
def test_the_schema_refuses_such_accounts_too(conn: Connection, row: str) -> None:
    columns = "name, display_zh, display_en, roles, channel, unit_code, password_hash"
    with pytest.raises(DBAPIError):
        conn.execute(text(f"insert into layers.account ({columns}) values {row}"))


def test_a_units_people_see_its_work_and_that_of_the_units_below(conn: Connection) -> None:
    ids = {row.code: row.id for row in conn.execute(text("select code, id from layers.unit"))}
    seen = {}
    for code in ("WEST", "DISTRICT"):
        add_account(conn, f"of-{code.lower()}", roles=["unit"], unit_code=code)
        actor = actor_of_token(conn, add_token(conn, f"of-{code.lower()}"))
        seen[code] = set(units_of(conn, actor) or ())
    assert seen["WEST"] == {ids["WEST"]}
    assert seen["DISTRICT"] == {number for code, number in ids.items() if code != "CENTRE"}
    add_account(conn, "both", roles=["unit", "dispatcher"], unit_code="WEST")
    assert units_of(conn, actor_of_token(conn, add_token(conn, "both"))) is None, "a dispatcher sees everything"


def test_a_forged_or_cut_cookie_is_none(conn: Connection) -> None:
    cookies = Cookies.read(conn)
    signed = cookies.sign("token")
    assert cookies.token(signed) == "token"
    for forged in (
        "token",
        "token.",
        signed[:-1],
        signed[1:],
        signed + "x",
        Cookies(b"another key" * 3).sign("token"),
        "",
        "é",
    ):
        assert cookies.token(forged) is None
    assert cookies.csrf("token") != cookies.csrf("token2")
    assert Cookies(b"another key" * 3).csrf("token") != cookies.csrf("token")


def test_the_demo_makes_one_login_for_each_role_once(conn: Connection, template: City) -> None:
    lines = list(demo_accounts(conn, template))
    told = {line[0].split()[0]: line[0].split()[1] for line in lines[1:]}
    assert set(told) == {role.replace("_", "-") for role in ROLES if role != "channel"}
    for name, password in told.items():
        assert log_in(conn, name, password) is not None, name
    again = list(demo_accounts(conn, template))
    assert len(again) == 1, "shown once; then only how to get a new one"
    assert not any(password in again[0][0] for password in told.values())
    listed = [line[0] for line in account_lines(conn)]
    assert len(listed) == len(told) + 3
    assert not any(password in line for password in told.values() for line in listed)


def test_passwords_that_are_made_up_are_all_different() -> None:
    made = {new_password() for _ in range(1000)}
    assert len(made) == 1000
    assert all(len(password) >= 15 for password in made)


# ── over HTTP ────────────────────────────────────────


@contextmanager
def entered(door: Door, name: str, password: str = PASSWORD) -> Iterator[httpx.Client]:
    """A client with the session of a person, which sends its CSRF token."""
    with door.client() as client:
        answer = client.post("/session", json={"name": name, "password": password})
        assert answer.status_code == 200, answer.text
        client.headers["X-CSRF-Token"] = answer.json()["csrf"]
        yield client


def test_a_session_is_a_signed_cookie_that_scripts_and_other_sites_do_not_get(door: Door) -> None:
    with door.client() as client:
        answer = client.post("/session", json={"name": "collector", "password": PASSWORD})
        cookie = answer.headers["Set-Cookie"].lower()
        for word in ("httponly", "samesite=strict", "path=/", "max-age=43200"):
            assert word in cookie
        assert answer.headers["Cache-Control"] == "no-store"
        account = client.get("/session").json()["account"]
        assert (account["name"], account["roles"], account["channels"]) == ("collector", ["collector"], ["collector"])
    with door.client() as stranger:
        assert stranger.get("/session").json() == {"account": None, "csrf": None}


def test_behind_https_the_cookie_travels_only_encrypted(door: Door) -> None:
    with door.client(**{"X-Forwarded-Proto": "https"}) as client:
        answer = client.post("/session", json={"name": "collector", "password": PASSWORD})
    assert "secure" in answer.headers["Set-Cookie"].lower()


def test_a_write_with_a_session_needs_its_csrf_token(door: Door) -> None:
    with entered(door, "collector") as client:
        assert client.post("/cases", json=report()).status_code == 201
        right = client.headers.pop("X-CSRF-Token")
        refused(client.post("/cases", json=report()), 403, "Forbidden")
        client.headers["X-CSRF-Token"] = right[:-1] + ("0" if right[-1] != "0" else "1")
        refused(client.post("/cases", json=report()), 403, "Forbidden")
        with entered(door, "leader") as other:
            client.headers["X-CSRF-Token"] = other.headers["X-CSRF-Token"]
            refused(client.post("/cases", json=report()), 403, "Forbidden")


def test_after_leaving_the_cookie_is_worth_nothing(door: Door) -> None:
    with entered(door, "collector") as client:
        cookie, csrf = client.cookies["wanmi_session"], client.headers["X-CSRF-Token"]
        assert client.delete("/session").status_code == 204
        assert client.get("/session").json()["account"] is None
    with door.client(**{"Cookie": f"wanmi_session={cookie}", "X-CSRF-Token": csrf}) as thief:
        refused(thief.post("/cases", json=report()), 401, "NotAuthenticated")


def test_an_expired_session_and_a_forged_cookie_are_not_taken(door: Door) -> None:
    with entered(door, "leader") as client:
        with door.engine.begin() as conn:
            conn.execute(text("update layers.token set ends_at = clock_timestamp() where kind = 'session'"))
        refused(client.post("/cases", json=report()), 401, "NotAuthenticated")
        assert client.get("/cases").status_code == 200, "reading is open: an old cookie does not shut it"
    with door.client(**{"Cookie": "wanmi_session=AAAA.BBBB"}) as forger:
        refused(forger.post("/cases", json=report()), 401, "NotAuthenticated")


def test_wrong_logins_are_all_answered_alike(door: Door) -> None:
    tries = [("collector", "wrong"), ("nobody", PASSWORD), ("channel-web", PASSWORD), ("", ""), ("' or 1=1 --", "x")]
    answers = [refused(door.post("/session", {"name": name, "password": word}), 401) for name, word in tries]
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize("role", sorted(set(ROLES) - {"channel"}))
def test_only_those_who_report_may_report(door: Door, role: str) -> None:
    answer = door.post("/cases", report(), role)
    if role in MAY_REPORT:
        assert answer.status_code == 201
        assert answer.json()["channel"] == {"video_operator": "video", "acceptor": "public"}.get(role, role)
    else:
        problem = refused(answer, 403, "Forbidden")
        assert "collector" in problem["mend"]


def test_who_may_report_is_who_the_table_of_moves_says(conn: Connection) -> None:
    roles = set(
        conn.scalars(text("select role from cases.transition_role where from_stage = 'none' and act = 'report'"))
    )
    assert roles == MAY_REPORT | {"channel"}


@pytest.mark.parametrize("channel", ["public", "web", "video"])
def test_a_channel_may_report_as_itself_and_nothing_else(door: Door, channel: str) -> None:
    who = f"channel-{channel}"
    case = door.post("/cases", report(), who)
    assert (case.status_code, case.json()["channel"]) == (201, channel)
    refused(door.post("/cases", report(channel="leader"), who), 403, "Forbidden")
    for path in (
        "/cases",
        f"/cases/{case.json()['no']}",
        "/locate?lon=1&lat=1",
        "/tiles/cases/0/0/0.mvt",
        "/search?q=6109",
    ):
        with door.client(who) as client:
            refused(client.get(path), 403, "Forbidden")


def test_a_token_that_is_none_is_refused_also_where_reading_is_open(door: Door) -> None:
    with door.client(Authorization="Bearer nonsense") as client:
        refused(client.get("/cases"), 401, "NotAuthenticated")
    with door.client(Authorization="Basic dTpw") as client:
        assert client.get("/cases").status_code == 200, "another scheme says nothing about who asks"


def test_a_units_people_see_that_units_work_everywhere(door: Door) -> None:
    west = door.post("/cases", report(50, 150, **{"class": "E0101"}), "collector").json()
    east = door.post("/cases", report(250, 150, **{"class": "E0101"}), "collector").json()
    assert (west["unit"]["code"], east["unit"]["code"]) == ("WEST", "EAST")
    everybody = door.get("/cases", limit=1000).json()["items"]
    mine = door.get("/cases", "unit", limit=1000).json()["items"]
    assert {row["no"] for row in mine} < {row["no"] for row in everybody}
    assert west["no"] in {row["no"] for row in mine}
    for row in mine:
        case = door.get(f"/cases/{row['no']}", "unit").json()
        assert "WEST" in {unit["code"] for unit in [case["unit"], *case["assisting"]] if unit}
    refused(door.get(f"/cases/{east['no']}", "unit"), 404, "NotFound")
    assert door.get("/search", "unit", q=str(east["no"])).json()["items"] == []
    assert door.get("/search", q=str(east["no"])).json()["items"]
    counted = [door.get("/maps/heat", who, format="json").json()["cases"] for who in ("unit", None)]
    assert counted == [len(mine), len(everybody)]


def test_where_reading_needs_an_account_nothing_is_shown_without(door: Door) -> None:
    with opened_door(door.engine, door.house.city, "accounts") as closed:
        closed.tokens = door.tokens
        for path in ("/cases", "/cases/20260302000001", "/components/6109990101000001", "/search?q=6109", "/tiles",
                     "/tiles/cells", "/tiles/cells/15/1/1.mvt", "/maps/heat", "/maps/heat/9/1/1.png",
                     "/locate?lon=109&lat=32.5"):  # fmt: skip
            refused(closed.get(path), 401, "NotAuthenticated")
        assert closed.get("/cases", "planner").status_code == 200
        assert "private" in closed.get("/cases", "planner").headers["Cache-Control"]
        for path in ("/", "/health", "/city", "/session", "/openapi.json"):
            assert closed.get(path).status_code == 200, path
        with entered(closed, "planner") as client:
            assert client.get("/cases").status_code == 200
            client.cookies.set("wanmi_session", "forged")
            client.cookies.delete("wanmi_session")
        refused(closed.get("/cases"), 401, "NotAuthenticated")
