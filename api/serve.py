"""Serving: the port, the workers, a private database that is started again when it is gone, a clean end.

One worker serves in this process; several are processes of their own that share the port. Each holds a lease of the
private server, so that it lives as long as anybody serves.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from api.app import create_app
from api.city import loaded_engine
from api.deps import House
from api.rounds import kept_up, photo_store
from gis.db import Access, access, database_name
from gis.errors import Unavailable, UnfitSetting, WanmiError
from gis.packages import Say
from gis.server import private_server
from gis.settings import Settings, read_settings
from grids.city import City, read_city

LOOPBACK = ("127.0.0.1", "::1", "localhost")
CONNECTIONS = 48  #: of the database, shared among the workers (a private server takes 80)
REQUEST_S = 15.0  #: no statement runs longer
HEAD_S = 15.0  #: within this a request's head must have come
MOST_HEAD_BYTES = 64 * 1024
KEEP_ALIVE_S = 30
GRACE_S = 10  #: for requests under way when the server ends
PLAN = "WANMI_SERVING"  #: environment variable by which workers learn what to serve


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What is served and where."""

    settings: Settings
    city: City
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    log: bool = True
    demo: bool = False

    @property
    def reading(self) -> Literal["open", "accounts"]:
        """Who may read: as set; else accounts, and in a demo on this machine everybody."""
        return self.settings.reading or ("open" if self.demo and self.host in LOOPBACK else "accounts")


def bind(host: str, port: int) -> socket.socket:
    """The listening socket. Unavailable when the port is taken, UnfitSetting for an address that is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen(2048)
    except (OSError, OverflowError) as error:
        made.close()
        taken = isinstance(error, OSError) and error.errno == 98
        kind = Unavailable if taken or isinstance(error, PermissionError) else UnfitSetting
        raise kind(
            f"port {port} of {host} is taken" if taken else f"cannot listen on {host} port {port}: {error}",
            f"{host} 的端口 {port} 已被占用" if taken else f"无法监听 {host} 端口 {port}",
            mend=f"end what uses it, or choose another: --port {port + 1 if port < 65535 else 8000}",
            mend_zh=f"请结束占用该端口的程序,或另选端口:--port {port + 1 if port < 65535 else 8000}",
        ) from None
    made.set_inheritable(True)
    return made


def serve(running: Access, serving: Serving, listening: socket.socket, say: Say) -> None:
    """Serve until told to end (SIGINT, SIGTERM); requests under way are finished first."""
    options: dict[str, Any] = {
        "http": PatientProtocol,
        "loop": "uvloop",
        "ws": "none",
        "lifespan": "on",
        "access_log": False,
        "log_config": _logging(),
        "server_header": False,
        "timeout_keep_alive": KEEP_ALIVE_S,
        "timeout_graceful_shutdown": GRACE_S,
    }
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a client that hangs up must not end the server
    with ExitStack() as stack:
        if running.server is not None:
            stack.enter_context(_kept_alive(running, serving.settings, say))
        with suppress(KeyboardInterrupt):
            if serving.workers == 1:
                engine = stack.enter_context(_serving_engine(running, serving))
                house = _house(serving, engine)
                stack.enter_context(kept_up(house))
                app = create_app(house, threads=_connections(serving), log=serving.log)
                uvicorn.Server(uvicorn.Config(app, **options)).run(sockets=[listening])
            else:
                os.environ[PLAN] = _plan(serving)
                config = uvicorn.Config(f"{__name__}:app_of_worker", factory=True, workers=serving.workers, **options)
                Multiprocess(config, sockets=[listening]).run()


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _connections(serving: Serving) -> int:
    return max(4, min(16, CONNECTIONS // serving.workers))


@contextmanager
def _serving_engine(running: Access, serving: Serving) -> Iterator[Any]:
    loaded_engine(running, serving.city).dispose()  # refuses a city that is not loaded, brings its schema up to date
    engine = running.serving_engine(database_name(serving.city.id), _connections(serving), REQUEST_S)
    try:
        yield engine
    finally:
        engine.dispose()


def _house(serving: Serving, engine: Any) -> House:
    return House(
        city=serving.city,
        engine=engine,
        reading=serving.reading,
        photos=photo_store(serving.settings, serving.city),
        outside_map=serving.settings.outside_map,
        outside_map_credit=serving.settings.outside_map_credit,
    )


# ── workers ────────────────────────────────────────


def _plan(serving: Serving) -> str:
    settings = serving.settings
    kept = {
        name: str(value)
        for name in ("data", "cache", "home", "language", "photos")
        if (value := getattr(settings, name))
    }
    plan = {"city": serving.city.id, "host": serving.host, "workers": serving.workers, "log": serving.log}
    return json.dumps({"settings": kept, **plan, "demo": serving.demo})


def app_of_worker() -> FastAPI:
    """The application of one of several workers; its lease ends with its process."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # when the first process is killed, the workers end too (Linux)
    plan = json.loads(os.environ[PLAN])
    settings = read_settings(**plan["settings"])
    city = read_city(settings.home, plan["city"])
    serving = Serving(
        settings=settings, city=city, host=plan["host"], workers=plan["workers"], log=plan["log"], demo=plan["demo"]
    )
    stack = ExitStack()  # never closed: the kernel gives the lease back
    running = stack.enter_context(access(settings, lambda en, zh: None))
    engine = stack.enter_context(_serving_engine(running, serving))
    house = _house(serving, engine)
    stack.enter_context(kept_up(house))
    app = create_app(house, threads=_connections(serving), log=serving.log)
    app.state.held = stack
    return app


# ── the database beneath ────────────────────────────────────────


@contextmanager
def _kept_alive(running: Access, settings: Settings, say: Say) -> Iterator[None]:
    """While the block runs, a private server that is gone is started again; requests meanwhile get 503."""
    ended = threading.Event()
    leases = ExitStack()

    def watch() -> None:
        while not ended.wait(0.5):
            if running.server is None or _lives(running.server.folder):
                continue
            say("the database is gone; starting it again", "数据库已停止,正在重新启动")
            with suppress(WanmiError, OSError):
                leases.enter_context(private_server(running.server.folder, settings.cache, say))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=30)
        leases.close()


def _lives(folder: Path) -> bool:
    """Whether the server of a data folder runs."""
    try:
        pid = int(json.loads((folder / "server.json").read_text())["pid"])
        return Path(f"/proc/{pid}").exists() or not Path("/proc/self").exists()
    except (OSError, ValueError, KeyError):
        return False


# ── connections and the log ────────────────────────────────────────


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, but a client that does not finish its request's head in time is hung up on."""

    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0  #: of a head that is not complete yet

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected: its head is awaited."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Bytes came: the parser itself takes a head of any size."""
        waiting = self._head_timer is not None
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if waiting and self._head_timer is not None else 0
        if self._head_bytes > MOST_HEAD_BYTES:
            self._hang_up()

    def on_message_begin(self) -> None:
        """The first byte of a request came."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._forget_timer()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._forget_timer()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._forget_timer()
        self._head_timer = self.loop.call_later(HEAD_S, self._hang_up)

    def _forget_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _hang_up(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()


class _JsonLines(logging.Formatter):
    """Our own and uvicorn's messages as lines of JSON, like those of requests."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {"at": self.formatTime(record), "level": record.levelname.lower(), "message": record.getMessage()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _logging() -> dict[str, Any]:
    """Warnings and errors to standard error, as JSON; requests are logged by api/porch.py."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": _JsonLines}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "json"}},
        "loggers": {
            "uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
            "wanmi": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        },
    }
