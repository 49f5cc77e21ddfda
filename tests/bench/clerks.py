"""Two hundred clerks at work while the server and PostgreSQL are killed: what was answered is in the ledger, once.

    ./wanmi demo --once && ./wanmi python tests/bench/clerks.py [--seconds 300] [--clerks 200]

Each clerk (simulated) reports, or takes what lies at the desk of a role and does the next thing with it, each act with
a key of its own. After a third of the time ``wanmi serve`` is killed (SIGKILL) and started again, after two thirds
PostgreSQL is (the server starts it again). Who gets no answer sends the same again. All of it happens in a copy of the
city's database, which is dropped. In the end the ledger is compared with what was answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from typing import Any

from sqlalchemy import Engine, text

from tests.bench.calling import Answer, get, once, post, python
from tests.bench.workflow import COPY, PHOTO, in_a_copy, tokens

PORT = 8765
PATIENCE_S = 120.0
#: Of each role how many in ten, and what it does with a case that stands there.
SHARES = {"acceptor": 3, "duty_chief": 2, "dispatcher": 3, "unit": 2}
NEXT: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "acceptor": {"reported": ("accept", {"condition": 1}), "awaiting_check": ("supervise", {"reason": "hurry"})},
    "duty_chief": {"accepted": ("file", {})},
    "dispatcher": {"filed": ("dispatch", {}), "disposed": ("feed_back", {})},
    "unit": {"dispatched": ("dispose", {"result": "done", "photos": [{"kind": "after", "sha256": PHOTO}]})},
}
ACTS = text("select split_part(key, ':', 2), count(*) from cases.event where key is not null group by 1")
REPORTS = text("""
    select split_part(key, ':', 2), count(*) from cases.report
    where case_no is not null and received_at > now() - interval '1 day' group by 1
""")


class Office:
    """What all clerks share."""

    def __init__(self, made: dict[str, str], places: list[Any], end: float) -> None:
        self.made, self.places, self.end = made, places, end
        self.answered: list[tuple[str, int, str]] = []  #: (key, number of the case, act)
        self.counts: Counter[str] = Counter()
        self.longest_s = 0.0

    async def clerk(self, number: int) -> None:
        """One clerk's day."""
        rng = random.Random(number)
        role = rng.choices(list(SHARES), list(SHARES.values()))[0]
        headers = {"Authorization": f"Bearer {self.made[role]}"}
        while time.monotonic() < self.end:
            if role == "acceptor" and rng.random() < 0.4:
                await self.report(rng, headers)
                continue
            page = await self.until_answered(get("/desk?limit=50", **headers))
            items = json.loads(page.body)["items"] if page.status == 200 else []
            if not items:
                await asyncio.sleep(0.5)
                continue
            row = rng.choice(items)
            name, more = NEXT[role].get(row["stage"], ("", {}))
            if not name:
                await asyncio.sleep(0.1)
                continue
            key = uuid.uuid4().hex
            body = json.dumps({"from": row["stage"], **more}).encode()
            request = post(f"/cases/{row['no']}/{name}", body, **headers, **{"Idempotency-Key": key})
            answer = await self.until_answered(request)
            self.counts[f"{name} {answer.status}"] += 1
            if answer.status == 200:
                self.answered.append((key, row["no"], name))

    async def report(self, rng: random.Random, headers: dict[str, str]) -> None:
        """A report."""
        lon, lat = rng.choice(self.places)
        key = uuid.uuid4().hex
        body = json.dumps({"class": "E0102", "lon": lon, "lat": lat, "description": "simulated"}).encode()
        answer = await self.until_answered(post("/cases", body, **headers, **{"Idempotency-Key": key}))
        self.counts[f"report {answer.status}"] += 1
        if answer.status in (200, 201):
            self.answered.append((key, json.loads(answer.body)["no"], "report"))

    async def until_answered(self, request: bytes) -> Answer:
        """The answer to a request that is sent again while there is none, or only that the server is not there."""
        started = time.monotonic()
        while True:
            try:
                async with asyncio.timeout(30):
                    answer, _ = await once(PORT, request)
                if answer.status != 503:
                    return answer
                self.counts["sent again after 503"] += 1
            except (OSError, TimeoutError):
                self.counts["sent again without an answer"] += 1
            self.longest_s = max(self.longest_s, time.monotonic() - started)
            if self.longest_s > PATIENCE_S:
                raise SystemExit(f"no answer for {PATIENCE_S:.0f} s: {request[:60]!r}")
            await asyncio.sleep(0.2)


def start(home: str) -> subprocess.Popen[bytes]:
    """``wanmi serve`` on the port of the bench."""
    words = [*python("-m", "api"), "serve", "--city", COPY, "--port", str(PORT)]
    environment = {**os.environ, "WANMI_HOME": home, "WANMI_READING": "open"}
    return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def postmaster(engine: Engine) -> int:
    """The process of PostgreSQL."""
    with engine.connect() as conn:
        return int(str(conn.scalar(text("select pg_read_file('postmaster.pid')"))).split()[0])


async def day(office: Office, clerks: int, seconds: float, home: str, pid: int) -> None:
    """All clerks at once, and the two kills."""
    server = start(home)

    async def kill() -> None:
        nonlocal server
        await asyncio.sleep(seconds / 3)
        server.kill()
        print(f"  after {seconds / 3:.0f} s wanmi serve was killed")
        await asyncio.sleep(1)
        server = start(home)
        await asyncio.sleep(seconds / 3 - 1)
        os.kill(pid, signal.SIGKILL)
        print(f"  after {2 * seconds / 3:.0f} s PostgreSQL was killed")

    try:
        await asyncio.gather(kill(), *(office.clerk(number) for number in range(clerks)))
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """The day, and the comparison."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--seconds", type=float, default=300)
    words.add_argument("--clerks", type=int, default=200)
    said = words.parse_args()
    with in_a_copy(1, 1) as (_, engine, home, places):
        made = tokens(engine)
        pid = postmaster(engine)
        engine.dispose()
        print(f"{said.clerks} clerks (simulated), {said.seconds:.0f} s")
        office = Office(made, places, time.monotonic() + said.seconds)
        asyncio.run(day(office, said.clerks, said.seconds, home, pid))
        differs = compared(engine, office)
    sys.exit(differs)


def compared(engine: Engine, office: Office) -> int:
    """Print what the ledger says beside what was answered; 1 where they differ."""
    for name, many in sorted(office.counts.items()):
        print(f"  {name:<40}{many:>8,}")
    print(f"  longest wait for an answer {office.longest_s:.1f} s")
    for _ in range(100):
        try:
            with engine.connect() as conn:
                acts, reports = (Counter(dict(conn.execute(asked).all())) for asked in (ACTS, REPORTS))
                strange = conn.scalar(
                    text(
                        "select count(*) from cases.case c cross join lateral cases.replay(c.no) r "
                        "where c.acted_at > now() - interval '1 hour' and to_jsonb(c) is distinct from to_jsonb(r)"
                    )
                )
            break
        except Exception as error:
            print(f"  the database is not there yet: {str(error)[:80]}")
            time.sleep(1)
    wrong = [(key, no, name) for key, no, name in office.answered if (reports if name == "report" else acts)[key] != 1]
    print(f"  {len(office.answered):,} acts were answered; {len(wrong)} of them are not in the ledger exactly once")
    print(f"  {strange} cases are not what their events tell")
    return 1 if wrong or strange else 0


if __name__ == "__main__":
    main()
