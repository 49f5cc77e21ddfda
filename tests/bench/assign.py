"""How fast PostGIS assigns cases: the look-up alone, its growth, and with opening the cases.

    ./wanmi demo --once && ./wanmi python tests/bench/assign.py [CITY]

Look-up: cases.assign over n reports of the city in one call, nothing written. Opening: all reports of a copy of the
city's database, batch by batch as a load does it, each batch committed. Client and server share the machine.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from api.city import BATCH
from cases import reports
from gis.server import memory_bytes

LOOK_UP = text("""
    select count(*) as n, count(a.unit_id) as with_unit
    from (
      select array_agg(geom) as points, array_agg(class_code) as classes, array_agg(condition_no) as conditions,
        array_agg(component_code) as components
      from (select * from cases.report where geom is not null order by id limit :n) r) q,
      lateral cases.assign(q.points, q.classes, q.conditions, q.components) a
""")
WAITING_AGAIN = (
    "create temporary table kept as select * from cases.report",
    "update kept set case_no = null, refusal = null, refusal_en = null, refusal_zh = null",
    "truncate cases.report, cases.event, cases.case",
    "insert into cases.report overriding system value select * from kept",
    "analyze cases.report",
)


def main(city: str) -> None:
    """Print the figures of one city."""
    address = make_url(os.environ["WANMI_DATABASE_URL"]).set(drivername="postgresql+psycopg")
    engine = create_engine(address.set(database=f"wanmi_{city}"))
    with engine.connect() as conn:
        total = conn.scalar(text("select count(*) from cases.report where geom is not null"))
        edition = conn.scalar(text("select edition from cases.case limit 1"))
        print(f"{city}: {total:,} reports; look-up alone, median of 5")
        for n in sorted({1, 100, 1_000, 10_000, total}):
            times = []
            for _ in range(6):
                started = time.perf_counter()
                found = conn.execute(LOOK_UP, {"n": n}).one()
                times.append(time.perf_counter() - started)
            median = statistics.median(times[1:])
            rate = f"{n / median:10,.0f} a second"
            print(f"  {n:>7,} places  {median * 1e3:9.1f} ms  {rate}  ({found.with_unit:,} with a unit)")
    engine.dispose()
    copy = "bench_opening"
    maintenance = create_engine(address.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with maintenance.connect() as conn:
        conn.execute(text(f"drop database if exists {copy}"))
        conn.execute(text(f'create database {copy} template "wanmi_{city}"'))
    engine = create_engine(address.set(database=copy))
    with engine.begin() as conn:
        for statement in WAITING_AGAIN:
            conn.execute(text(statement))
    opened, started = 0, time.perf_counter()
    while True:
        with engine.begin() as conn:
            batch = reports.open_cases(conn, batch=BATCH, actor="bench", edition=edition)
        if batch.cases + batch.refused == 0:
            break
        opened += batch.cases + batch.refused
    seconds = time.perf_counter() - started
    print(f"  {opened:>7,} opened  {seconds:9.1f} s   {opened / seconds:10,.0f} a second, look-up and insert")
    postmaster = Path(str(address.query["host"])) / ".s.PGSQL.5432.lock"  # a private server's socket
    if postmaster.exists():
        print(f"  server memory after it: {memory_bytes(int(postmaster.read_text().split()[0])) / 1e6:,.0f} MB")
    engine.dispose()
    with maintenance.connect() as conn:
        conn.execute(text(f"drop database {copy}"))
    maintenance.dispose()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("WANMI_CITY", "ankang"))
