"""Logging in and out over HTTP."""

from __future__ import annotations

from typing import Any

import anyio
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from api.answers import tagged
from api.deps import COOKIE, House, InHouse, Who
from api.shapes import Login, Session
from gis.errors import NotAuthenticated
from layers.accounts import SESSION_S, Actor, log_in, log_out, login_turn

router = APIRouter(tags=["accounts"])
PATIENCE_S = 20.0  #: a try whose turn comes later than this is refused without a look
_hashing = anyio.Semaphore(2)  #: Argon2 wants 64 MiB and a core


@router.get("/session", response_model=Session, response_model_exclude_none=False)
def who_am_i(request: Request, house: InHouse, who: Who) -> Response:
    """Who is logged in in this browser, and the token that its writes must carry."""
    with house.begin_reading() as conn:
        actor = who.actor(conn)
        csrf = _csrf(house, conn, who.cookie) if actor is not None else None
    return tagged(request, Session, _session(actor, csrf), private=True)


@router.post("/session", response_model=Session)
async def enter(request: Request, house: InHouse, login: Login) -> Response:
    """Log in: sets a signed, http-only, same-site cookie for one shift.

    A wrong try makes the next one with that name wait; the answer does not say what was wrong.
    """
    client = request.client.host if request.client is not None else ""
    wait_s = await run_in_threadpool(_turn, house, login.name, client)
    await anyio.sleep(min(wait_s, PATIENCE_S))
    found = None
    if wait_s < PATIENCE_S:
        async with _hashing:
            found = await run_in_threadpool(_enter, house, login, client)
    if found is None:
        raise NotAuthenticated(
            "name and password do not belong together",
            "用户名或密码不正确",
            mend="try again, or ask the administrator for a new password",
            mend_zh="请重试,或请管理员重设密码",
        )
    actor, cookie, csrf = found
    answer = tagged(request, Session, _session(actor, csrf), private=True)
    answer.headers["Cache-Control"] = "no-store"
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, cookie, max_age=SESSION_S, httponly=True, samesite="strict", secure=secure, path="/")
    return answer


def _turn(house: House, name: str, client: str) -> float:
    with house.begin_writing() as conn:
        return login_turn(conn, name, client)


def _enter(house: House, login: Login, client: str) -> tuple[Actor, str, str] | None:
    with house.begin_writing() as conn:
        found = log_in(conn, login.name, login.password, client)
        if found is None:
            return None
        cookies = house.cookies(conn)
        return found[0], cookies.sign(found[1]), cookies.csrf(found[1])


@router.delete("/session", status_code=204, response_class=Response)
def leave(house: InHouse, who: Who) -> Response:
    """Log out: the session ends on the server, not only in the browser."""
    if who.cookie is not None:
        with house.begin_writing() as conn:
            token = house.cookies(conn).token(who.cookie)
            if token is not None and who.actor(conn) is not None:
                log_out(conn, token)
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


def _csrf(house: House, conn: Any, cookie: str | None) -> str | None:
    token = None if cookie is None else house.cookies(conn).token(cookie)
    return None if token is None else house.cookies(conn).csrf(token)


def _session(actor: Actor | None, csrf: str | None) -> dict[str, Any]:
    if actor is None:
        return {"account": None, "csrf": None}
    account = {
        "name": actor.name,
        "display_zh": actor.display_zh,
        "display_en": actor.display_en,
        "roles": sorted(actor.roles),
        "unit": actor.unit,
        "channels": list(actor.channels),
    }
    return {"account": account, "csrf": csrf}
