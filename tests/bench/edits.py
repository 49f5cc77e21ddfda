"""One edit over HTTP, and the components of any instant beside those of today.

    ./wanmi python tests/bench/edits.py

Edits: the demo city served by uvicorn in a thread, one client, 400 edits of 100 components after 40 to warm up; each
is read again, so that its base is fresh. They stay in the history of that city. As-of: 100 000 components with ten
versions each, so 1 000 000 rows, in a transaction that is taken back; a box that holds about 10 000 of them, rows read
with their geometry; median of nine.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import uvicorn
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url

from api.app import create_app
from api.deps import House
from api.serve import PatientProtocol, bind
from cases.photo import PhotoStore
from gis.settings import read_settings
from grids.city import read_city
from layers.accounts import add_account, add_token

COLUMNS = "code, class_code, cell_code, state, attrs, st_asbinary(geom)"
VERSIONS = """
insert into layers.component (code, edition, class_code, cell_code, state, data_source, attrs, geom, valid, change_id,
  ended_change_id)
select '610902' || '0101' || lpad(i::text, 6, '0'), e.edition, 'C0101', '610902001001001', 'intact', 'simulated',
  '{"material": "铸铁", "diameter_mm": 700}',
  st_setsrid(st_makepoint(500000 + (i % 320) * 10 + :pass, 3600000 + (i / 320) * 10), :srid),
  tstzrange('2020-01-01'::timestamptz + make_interval(months => :pass),
    case when :pass < 9 then '2020-01-01'::timestamptz + make_interval(months => :pass + 1) end),
  c.id, case when :pass < 9 then c.id end
from (select i from generate_series(1, 100000) i order by md5(i::text)) q,
  (select layers.edition_at(null) as edition) e, (select min(id) as id from gis.change) c
"""


def as_of(conn: Connection, srid: int) -> None:
    """Print how long the components of a box take: today's, and those of past instants."""
    conn.execute(text("truncate layers.component"))
    for number in range(10):
        conn.execute(text(VERSIONS), {"pass": number, "srid": srid})
    conn.execute(text("analyze layers.component"))
    box = {"box": f"SRID={srid};POLYGON((500500 3600500,501500 3600500,501500 3601500,500500 3601500,500500 3600500))"}

    def median(statement: str, **more: object) -> tuple[int, float]:
        times, rows = [], 0
        for _ in range(9):
            started = time.perf_counter()
            rows = len(conn.execute(text(statement), {**box, **more}).all())
            times.append(time.perf_counter() - started)
        return rows, statistics.median(times)

    inside = "geom && cast(:box as geometry)"
    rows, today = median(f"select {COLUMNS} from layers.component where upper_inf(valid) and {inside}")
    print(f"{'today':<12}{rows:>8,} rows {today * 1000:8.1f} ms")
    for at in ("2020-01-15", "2020-05-15", "2020-09-15", "2026-01-01"):
        past = f"select {COLUMNS} from layers.components_at(cast(:at as timestamptz)) where {inside}"
        rows, then = median(past, at=at)
        print(f"{at:<12}{rows:>8,} rows {then * 1000:8.1f} ms   {then / today:.2f} x")


def edits(port: int, token: str, codes: list[str], said: Callable[[str], None]) -> None:
    """Print the median of an edit, answered over HTTP."""
    client = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(method: str, path: str, body: object = None) -> tuple[dict[str, int], float]:
        started = time.perf_counter()
        client.request(method, path, None if body is None else json.dumps(body), headers)
        answer = client.getresponse()
        content = json.loads(answer.read())
        assert answer.status == 200, content
        return content, time.perf_counter() - started

    times, reads = [], []
    for turn in range(440):
        path = f"/components/{codes[turn % len(codes)]}"
        seen, seconds = ask("GET", path)
        reads.append(seconds)
        edit = {"base": seen["version"], "attrs": {"bench": turn}, "reason": "bench"}
        times.append(ask("PATCH", path, edit)[1])
    kept = sorted(times[40:])
    p50, p95 = kept[len(kept) // 2] * 1000, kept[int(len(kept) * 0.95)] * 1000
    said(
        f"one edit over HTTP: p50 {p50:.1f} ms, p95 {p95:.1f} ms; reading one {statistics.median(reads) * 1000:.1f} ms"
    )


def main() -> None:
    """Print the figures."""
    settings = read_settings()
    city = read_city(settings.home, settings.city)
    engine = create_engine(make_url(os.environ["WANMI_DATABASE_URL"]).set(drivername="postgresql+psycopg"))
    name = f"bench-{time.time_ns() % 10**9}"
    with engine.begin() as conn:
        add_account(conn, name, roles=["gis_editor"])
        token = add_token(conn, name)
        codes = list(
            conn.scalars(text("select code from layers.component where upper_inf(valid) order by code limit 100"))
        )
    listening = bind("127.0.0.1", 0)
    house = House(city=city, engine=engine, reading="open", photos=PhotoStore(Path("photos")))
    app = create_app(house, threads=4, log=False)
    server = uvicorn.Server(uvicorn.Config(app, http=PatientProtocol, ws="none", log_config=None))
    threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    edits(listening.getsockname()[1], token, codes, print)
    server.should_exit = True
    with engine.connect() as conn:
        as_of(conn, city.srid)
        conn.rollback()


if __name__ == "__main__":
    main()
