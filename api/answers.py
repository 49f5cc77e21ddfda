"""How an answer leaves: its tag, its compression, how long it may be kept; and every error in the one shape."""

from __future__ import annotations

import gzip
import hashlib
import logging
import math
from typing import Any

import psycopg
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from gis.db import translated
from gis.errors import (
    Defect,
    Forbidden,
    Invalid,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    TooLarge,
    TooSlow,
    Unavailable,
    WanmiError,
)

PROBLEM = "application/problem+json"
KEEP_A_DAY = "max-age=86400, immutable"  #: for an address that names the version of what it shows
ASK_AGAIN = "no-cache"  #: may be kept, but not shown without asking whether it still holds
SMALLEST = 1000  #: bytes below which nothing is compressed


def tagged(
    request: Request, model: type[BaseModel], data: dict[str, Any], *, status: int = 200, private: bool = False
) -> Response:
    """A JSON answer with a tag of its content; 304 when the asker has it already."""
    body = model.model_validate(data).model_dump_json(by_alias=True).encode()
    return kept(request, body, "application/json", f'"{digest(body)}"', cache=ASK_AGAIN, private=private, status=status)


def digest(body: bytes) -> str:
    """A short name of the content."""
    return hashlib.sha256(body).hexdigest()[:20]


def kept(
    request: Request,
    body: bytes,
    media: str,
    tag: str,
    *,
    cache: str,
    private: bool = False,
    status: int = 200,
    zipped: bool = False,
) -> Response:
    """An answer that has a version (its tag): 304 when the asker has it. ``zipped``: the body is gzip already.

    ``private``: what it shows depends on who asks.
    """
    headers = {
        "ETag": tag,
        "Cache-Control": f"{'private, ' if private else ''}{cache}",
        "Vary": "Accept-Encoding, Cookie, Authorization",
    }
    if status == 200 and request.method == "GET" and _has(request, tag):
        return Response(status_code=304, headers=headers)
    if not body:
        return Response(status_code=204, headers=headers)
    if zipped:
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
        else:
            body = gzip.decompress(body)
    return Response(body, status_code=status, media_type=media, headers=headers)


def _has(request: Request, tag: str) -> bool:
    asked = request.headers.get("If-None-Match", "")
    return asked.strip() == "*" or any(part.strip().removeprefix("W/") == tag for part in asked.split(","))


# ── errors ────────────────────────────────────────

#: What any answer may be instead of what was asked for.
COMMON = (401, 403, 404, 408, 413, 422, 500, 503)
MEANINGS = {
    401: "it is not known who asks",
    403: "this account may not do that",
    404: "there is no such thing",
    405: "this address does not take that method",
    408: "the request's body did not arrive in time",
    409: "it is not in the state in which this can be done; the same key came with another report; somebody was first",
    413: "more was sent than is taken",
    422: "a value is not what it must be; `where` names it, `mend` says what would do",
    500: "a defect of Wanmi",
    503: "the database is not there, or took too long; ask again later",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: these answers are errors in the one shape."""
    reference = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": MEANINGS[status], "content": {PROBLEM: {"schema": reference}}} for status in statuses
    }


def answer_error(error: WanmiError) -> Response:
    """An error in the one shape."""
    problem = error.problem()
    headers = {"Cache-Control": "no-store"}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status == 503:
        headers["Retry-After"] = "2"
    return _Problem(problem, error.status, headers)


class _Problem(Response):
    """A JSON body whose numbers are finite and whose text is whole, whatever was sent."""

    def __init__(self, problem: dict[str, Any], status: int, headers: dict[str, str]) -> None:
        import json

        body = json.dumps(problem, ensure_ascii=False).encode("utf-8", "replace")
        super().__init__(body, status_code=status, media_type=PROBLEM, headers=headers)


def add_handlers(app: FastAPI) -> None:
    """Every way to fail ends in the one shape."""

    def known(request: Request, error: Exception) -> Response:
        assert isinstance(error, WanmiError)
        return answer_error(error)

    def database(request: Request, error: Exception) -> Response:
        family = translated(error) if isinstance(error, DBAPIError | psycopg.Error) else None
        if isinstance(error, PoolTimeout):
            family = Unavailable(
                "too many requests wait for the database",
                "等待数据库的请求过多",
                mend="ask again later",
                mend_zh="请稍后重试",
            )
        return answer_error(family) if family is not None else defect(request, error)

    def defect(request: Request, error: Exception) -> Response:
        logging.getLogger("wanmi").exception("%s %s", request.method, request.url.path, exc_info=error)
        return answer_error(
            Defect(
                "a defect of Wanmi; its log says more",
                "程序缺陷,详见日志",
                mend="report it with the time and the address",
                mend_zh="请将发生时间与地址报告给维护人员",
            )
        )

    def malformed(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer_error(_invalid(error))

    def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return answer_error(_of_status(error.status_code, request, str(error.detail)))

    app.add_exception_handler(WanmiError, known)
    app.add_exception_handler(DBAPIError, database)
    app.add_exception_handler(psycopg.Error, database)
    app.add_exception_handler(PoolTimeout, database)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(Exception, defect)


def _invalid(error: RequestValidationError) -> Invalid:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    field = ".".join(place[1:]) or place[0]
    given = first.get("input")
    shown = f" (it is {str(given)[:80]!r})" if isinstance(given, str | int | float) and _finite(given) else ""
    mend = {"mend": "the OpenAPI document at /openapi.json says what is taken", "mend_zh": "可用内容见 /openapi.json"}
    if first["type"] == "json_invalid":
        return _no_json()
    if first["type"] == "extra_forbidden":
        return Invalid(f"there is no field {field!r}", f"没有字段 {field!r}", **mend, field=field)
    if first["type"] == "missing":
        return Invalid(f"{field} is missing", f"缺少 {field}", **mend, field=field)
    return Invalid(f"{field}: {first['msg']}{shown}", f"{field} 的值无效{shown}", **mend, field=field)


def _no_json() -> Invalid:
    mend, mend_zh = "send application/json, UTF-8", "请发送 UTF-8 编码的 application/json"
    return Invalid("the body is no JSON", "请求内容不是有效的 JSON", mend=mend, mend_zh=mend_zh, field="body")


def _finite(value: str | int | float) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _of_status(status: int, request: Request, detail: str) -> WanmiError:
    path = request.url.path
    if status == 404:
        return NotFound(
            f"there is nothing at {path}",
            f"地址 {path} 不存在",
            mend="/openapi.json lists all addresses",
            mend_zh="全部地址见 /openapi.json",
        )
    if status == 405:
        return NotAllowed(
            f"{path} does not take {request.method}",
            f"{path} 不支持 {request.method}",
            mend="/openapi.json says what each address takes",
            mend_zh="各地址支持的方法见 /openapi.json",
        )
    if status == 400:
        return _no_json()
    kinds: dict[int, type[WanmiError]]
    kinds = {401: NotAuthenticated, 403: Forbidden, 408: TooSlow, 413: TooLarge, 503: Unavailable}
    return kinds.get(status, Invalid)(
        detail, "请求无法处理", mend="/openapi.json says what is taken", mend_zh="可用内容见 /openapi.json"
    )
