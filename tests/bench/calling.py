"""Servers as child processes and a load of HTTP/1.1 requests on them, for the benches.

The load comes from one event loop (uvloop, httptools) over connections that are kept alive: each sends its next
request when the answer to the last is there. An answer takes it 40 to 150 µs of a core (tried; the less, the more
come), and client, server and database share the cores of the machine: what is printed is what it does with all three.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import httptools
import uvloop

from gis.environment import make
from gis.settings import read_settings

START_S = 60.0  #: within this a server must answer
END_S = 20.0  #: and within this it must have ended
ANSWER_S = 60.0  #: no answer takes longer

# ── servers ────────────────────────────────────────


@dataclass(frozen=True)
class Served:
    """A server that runs while the block that got it does."""

    port: int
    pid: int

    def memory_mb(self) -> list[float]:
        """Proportional memory (PSS) of each process that answers, MB: its workers, or itself when it has none."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        workers = [pid for pid in map(int, children) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return [_pss_mb(pid) for pid in workers or [self.pid]]


def _pss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


@contextmanager
def serving(words: list[str], *, health: str, environment: dict[str, str] | None = None) -> Iterator[Served]:
    """Run a server (``words``, a free port added) until the block ends; SystemExit with what it said if it fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(
            [*words, "--port", str(port)],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the line of each request is written, but not kept
            stderr=said,
            preexec_fn=_end_with_parent,
        )
        healthy = False
        try:
            asyncio.run(_until_healthy(port, health, child))
            healthy = True
            yield Served(port, child.pid)
        except OSError:
            if healthy and child.poll() is None:
                raise  # another server, further out
            said.seek(0)
            ended = "" if child.poll() is None else f" (it has ended: {child.returncode})"
            raise SystemExit(f"{' '.join(words)} does not answer{ended}: {said.read()[-2000:]}") from None
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(END_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _end_with_parent() -> None:
    """Asked of the kernel (Linux): when the bench is killed, its servers end too."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


async def _until_healthy(port: int, health: str, child: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and child.poll() is None:
        with suppress(OSError):
            answer, _ = await once(port, get(health))
            if answer.status == 200:
                return
        await asyncio.sleep(0.1)
    raise TimeoutError


def peers_environment(lock: str) -> Path | None:
    """The environment of peers, made from a lock of this folder; None, said why, where it cannot be made."""
    path = Path(__file__).with_name(lock)
    version = ".".join(platform.python_version_tuple()[:2])
    place = read_settings().cache / f"{path.stem}-{version}-{zlib.crc32(path.read_bytes()):08x}"
    try:
        make(place, path)
    except (SystemExit, OSError) as error:
        print(f"  peers of {lock}: not measured; their environment could not be made: {error}")
        return None
    return place


# ── requests ────────────────────────────────────────


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: bytes


@dataclass(frozen=True)
class Load:
    """What a load did, medians of its repeats."""

    rate: float  #: answers a second
    p50_ms: float
    p99_ms: float
    mean_bytes: float  #: of the bodies, as sent
    answers: int  #: all of them, with those of the warm-up


def get(path: str, **headers: str) -> bytes:
    """The bytes of a GET."""
    lines = [f"GET {path} HTTP/1.1", "Host: bench", *(f"{name.replace('_', '-')}: {headers[name]}" for name in headers)]
    return "\r\n".join([*lines, "", ""]).encode()


def post(path: str, body: bytes, **headers: str) -> bytes:
    """The bytes of a POST of JSON."""
    lines = [f"POST {path} HTTP/1.1", "Host: bench", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *(f"{name}: {headers[name]}" for name in headers), "", ""]).encode() + body


def ask(port: int, request: bytes) -> tuple[Answer, float]:
    """One answer over a connection of its own, and the milliseconds that it took to come."""
    return asyncio.run(once(port, request))


async def once(port: int, request: bytes) -> tuple[Answer, float]:
    caller = await _connect(port)
    try:
        started = time.perf_counter()
        answer = await caller.ask(request)
        return answer, (time.perf_counter() - started) * 1e3
    finally:
        caller.hang_up()


class Meter:
    """A load on one server: a warm-up, then as often as ``again`` is called, a repeat; ``load`` is their median."""

    def __init__(
        self, server: Served, requests: Iterable[bytes], connections: int, fits: Callable[[Answer], bool]
    ) -> None:
        self._port, self._connections, self._fits = server.port, connections, fits
        self._requests = cycle(requests)
        self._repeats: list[tuple[float, list[float]]] = []
        self._bytes = self._answers = 0

    def again(self, seconds: float, *, keep: bool = True) -> None:
        """Ask for so many seconds. SystemExit with the first answer that does not fit."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            repeat = runner.run(self._repeat(seconds))
        if keep:
            self._repeats.append(repeat)

    async def _repeat(self, seconds: float) -> tuple[float, list[float]]:
        callers = [await _connect(self._port) for _ in range(self._connections)]
        took: list[float] = []
        started = time.perf_counter()
        end = started + seconds

        async def keep_asking(caller: _Caller) -> None:
            while (asked := time.perf_counter()) < end:
                request = next(self._requests)
                answer = await caller.ask(request)
                took.append(time.perf_counter() - asked)
                self._bytes += len(answer.body)
                if not self._fits(answer):
                    shown = f"{answer.status} {answer.body[:300]!r}"
                    raise SystemExit(f"an answer that does not fit: {request.splitlines()[0]!r}: {shown}")

        async with asyncio.timeout(seconds + ANSWER_S):
            await asyncio.gather(*(keep_asking(caller) for caller in callers))
        elapsed = time.perf_counter() - started
        for caller in callers:
            caller.hang_up()
        self._answers += len(took)
        return len(took) / elapsed, sorted(took)

    @property
    def load(self) -> Load:
        """The medians of the repeats."""
        rates, times = zip(*self._repeats, strict=True)
        p50, p99 = (statistics.median(took[int(len(took) * share)] for took in times) * 1e3 for share in (0.5, 0.99))
        return Load(statistics.median(rates), p50, p99, self._bytes / self._answers, self._answers)


def measure(meters: list[Meter], seconds: float, repeats: int) -> list[Load]:
    """A warm-up of each, then the repeats in turn, so that what else the machine does meets all of them alike."""
    for meter in meters:
        meter.again(seconds / 3, keep=False)
    for _ in range(repeats):
        for meter in meters:
            meter.again(seconds)
    return [meter.load for meter in meters]


class _Caller(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._answer: asyncio.Future[Answer] | None = None
        self._parser: Any = None
        self._body: list[bytes] = []

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        """The answer to come."""
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._body = []
        self._transport.write(request)
        return self._answer

    def hang_up(self) -> None:
        """No more requests."""
        self._answer = None
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """The server hung up."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server hung up"))

    def data_received(self, data: bytes) -> None:
        """A part of an answer."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """All of it."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(self._parser.get_status_code(), b"".join(self._body)))


async def _connect(port: int) -> _Caller:
    _, caller = await asyncio.get_running_loop().create_connection(_Caller, "127.0.0.1", port)
    return caller


def python(*words: str) -> list[str]:
    """The words that run this environment's Python."""
    return [sys.executable, "-P", *words]
