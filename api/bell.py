"""The bell: desks hear at once that a case changed. Nothing depends on it: who misses it sees it when asking again.

Who changed a case rings after the commit; rings of a tenth of a second go to PostgreSQL together (NOTIFY makes commits
wait for each other, so it is not part of the act). One connection of each process listens and tells its listeners.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine

from gis.db import query
from gis.errors import Unavailable

log = logging.getLogger("wanmi")
CHANNEL = "wanmi_case"
GATHER_S = 0.1
MOST_AT_ONCE = 40  #: cases in one notification (8 000 bytes)
MOST_LISTENERS = 200
MOST_WAITING = 1000  #: rings kept for a listener that does not read; then the oldest go
BEAT_S = 15.0  #: a sign of life, so that proxies keep the line open

Ring = dict[str, Any]


class Bell:
    """Rings and listeners of one process."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._waiting: deque[Ring] = deque(maxlen=10_000)
        self._rung = threading.Event()
        self._listeners: dict[int, tuple[asyncio.AbstractEventLoop, asyncio.Queue[Ring]]] = {}
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def ring(self, ring: Ring) -> None:
        """Tell that a case changed (after the commit). Never waits and never fails."""
        self._waiting.append(ring)
        self._start("ring", self._send)
        self._rung.set()

    async def listen(self, unit_ids: Collection[int] | None) -> AsyncIterator[str]:
        """What is heard, as server-sent events; of the units given only, None: of all."""
        queue: asyncio.Queue[Ring] = asyncio.Queue(MOST_WAITING)
        with self._lock:
            if len(self._listeners) >= MOST_LISTENERS:
                raise Unavailable(
                    f"{MOST_LISTENERS} listen already",
                    f"已有 {MOST_LISTENERS} 个监听连接",
                    mend="ask the desk again now and then instead",
                    mend_zh="请改为定时刷新工作台",
                )
            self._listeners[id(queue)] = (asyncio.get_running_loop(), queue)
        self._start("listen", self._hear)
        try:
            yield "retry: 3000\n\n"
            while True:
                try:
                    ring = await asyncio.wait_for(queue.get(), BEAT_S)
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                if unit_ids is None or ring.get("unit_id") in unit_ids or ring.get("again"):
                    told = {name: ring[name] for name in ("no", "stage", "seq") if name in ring}
                    yield f"event: {'case' if told else 'again'}\ndata: {json.dumps(told)}\n\n"
        finally:
            with self._lock:
                self._listeners.pop(id(queue), None)

    def _start(self, name: str, work: Any) -> None:
        with self._lock:
            if not any(thread.name == f"bell-{name}" and thread.is_alive() for thread in self._threads):
                thread = threading.Thread(target=work, name=f"bell-{name}", daemon=True)
                self._threads = [*(t for t in self._threads if t.is_alive()), thread]
                thread.start()

    def _send(self) -> None:
        while self._rung.wait():
            time.sleep(GATHER_S)
            self._rung.clear()
            while self._waiting:
                together = [self._waiting.popleft() for _ in range(min(MOST_AT_ONCE, len(self._waiting)))]
                with suppress(Exception), self.engine.begin() as conn:
                    conn.execute(query("gis", "notify"), {"channel": CHANNEL, "payload": json.dumps(together)})

    def _hear(self) -> None:
        while True:
            try:
                borrowed = self.engine.raw_connection()
                line: Any = borrowed.driver_connection
                borrowed.detach()
                with line:
                    line.autocommit = True
                    line.execute(f"listen {CHANNEL}")
                    self._tell([{"again": True}])  # what was rung while nobody listened was missed
                    while self._listeners:
                        for heard in line.notifies(timeout=1.0):
                            self._tell(json.loads(heard.payload))
                    return
            except Exception as error:
                log.warning("the bell's line is gone, trying again: %s", error)
                time.sleep(1.0)

    def _tell(self, rings: list[Ring]) -> None:
        with self._lock:
            listeners = list(self._listeners.values())
        for loop, queue in listeners:
            for ring in rings:
                with suppress(RuntimeError):  # a loop that has ended
                    loop.call_soon_threadsafe(_put, queue, ring)


def _put(queue: asyncio.Queue[Ring], ring: Ring) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(ring)
