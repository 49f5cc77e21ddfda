"""What every request passes before the application: a number, a patient but not endless ear, a line in the log.

Pure ASGI: nothing is held in a thread while a slow client speaks.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import anyio

from api.answers import answer_error
from gis.errors import TooLarge, TooSlow, WanmiError

BODY_S = 20.0  #: within this the whole body must have come
MOST_BODY_BYTES = 64 * 1024
MOST_FILE_BYTES = 32 * 1024 * 1024  #: of a file sent by somebody who says who they are
FILE_PATH = re.compile("^/(grid/drafts/[0-9]+/file|photos)$")
MOST_POINTS_BYTES = 4 * 1024 * 1024  #: of many points, which anybody who reads may send
FILE_S = 120.0


class Porch:
    """The outermost layer: security headers, a bound on how slowly a body may come, one line of JSON per request."""

    def __init__(self, app: Any, *, log: bool, outside_map: str | None) -> None:
        self.app, self.log = app, log
        outside = f" {urlsplit(outside_map).scheme}://{urlsplit(outside_map).netloc}" if outside_map else ""
        policy = (
            f"default-src 'self'; img-src 'self' data: blob:{outside}; connect-src 'self'{outside}; "
            "worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; "
            "form-action 'self'; object-src 'none'"
        )
        self.headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),
        ]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        told = {"status": 0, "bytes": 0}
        head_only = scope["method"] == "HEAD"  # GDAL asks so before it reads
        inner = {**scope, "method": "GET"} if head_only else scope

        async def counted_send(message: Any) -> None:
            if message["type"] == "http.response.start":
                told["status"] = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *self.headers]}
            elif message["type"] == "http.response.body":
                if head_only:
                    message = {**message, "body": b""}
                told["bytes"] += len(message.get("body", b""))
            await send(message)

        try:
            heard = await self._hear(scope, receive)
            if isinstance(heard, WanmiError):
                answer = answer_error(heard)
                answer.headers["Connection"] = "close"
                await answer(scope, receive, counted_send)
            else:
                await self.app(inner, heard, counted_send)
        finally:
            if self.log:
                self._write(scope, told, time.perf_counter() - started)

    async def _hear(self, scope: MutableMapping[str, Any], receive: Any) -> Any:
        """What hands the application the body, once it is there; or why it is refused: too large, too slow."""
        sent = dict(scope["headers"])
        length = sent.get(b"content-length", b"0")
        if b"transfer-encoding" not in sent and length == b"0":
            return receive
        file = bool(FILE_PATH.match(scope["path"])) and (b"authorization" in sent or b"cookie" in sent)
        most, seconds = (MOST_FILE_BYTES, FILE_S) if file else (MOST_BODY_BYTES, BODY_S)
        if scope["path"] == "/locate":
            most = MOST_POINTS_BYTES
        if length.isdigit() and int(length) > most:
            return _too_large(most)
        body = bytearray()
        with anyio.move_on_after(seconds):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > most:
                    return _too_large(most)
                if message["type"] != "http.request" or not message.get("more_body"):
                    break
            return _replay(
                message if message["type"] != "http.request" else {"type": "http.request", "body": bytes(body)}, receive
            )
        return TooSlow(
            f"the request's body did not arrive within {seconds:g} s",
            "请求内容未在规定时间内送达",
            mend="send it again",
            mend_zh="请重新发送",
        )

    def _write(self, scope: MutableMapping[str, Any], told: dict[str, int], seconds: float) -> None:
        client = scope.get("client") or ("", 0)
        line = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "client": client[0],
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode("latin-1"),
            "status": told["status"] or 499,
            "ms": round(seconds * 1000, 2),
            "bytes": told["bytes"],
        }
        try:
            sys.stdout.write(json.dumps(line) + "\n")  # ASCII: no sign of a path moves the reader's cursor
            sys.stdout.flush()
        except (OSError, ValueError):  # whoever read the log is gone: serving goes on
            self.log = False


def _replay(message: Any, receive: Any) -> Any:
    """A receive that hands out the whole body first."""
    waiting = [message]

    async def replay() -> Any:
        return waiting.pop() if waiting else await receive()

    return replay


def _too_large(most: int) -> TooLarge:
    return TooLarge(
        f"a body has {most // 1024} KiB at most",
        f"请求内容不得超过 {most // 1024} KiB",
        mend="send less at once",
        mend_zh="请分次发送",
    )
