"""The workflow under load: a case opened, a move, a page of a desk; with many open cases, and many that have ended.

    ./wanmi demo --once && ./wanmi python tests/bench/workflow.py [--open 1000000] [--ended 0,9000000] [--seconds S]

Everything happens in a copy of the city's database, which is filled with cases made up for this (stages, deadlines and
places drawn evenly) and dropped. The server is ``wanmi serve``, one worker; client, server and PostgreSQL share the
cores of the machine, and commits are durable. Rates and percentiles are medians of the repeats, a warm-up goes before.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from gis.db import database_name
from gis.settings import read_settings
from grids.city import read_city
from layers.accounts import add_account, add_token
from tests.bench.calling import Answer, Load, Meter, get, measure, post
from tests.bench.doors import Bench, Place, copied, places_of

COPY = "workflow_copy"
PHOTO = "ab" * 32
CHUNK = 200_000
CONNECTIONS = 16
OPEN_STAGES = ("reported", "accepted", "filed", "dispatched", "awaiting_check", "checked")
ROLES = ("acceptor", "duty_chief", "dispatcher", "unit", "collector")
#: A case made up: like one of the city's, at another hour, due at some time of the last and the next month.
FILL = text("""
    with drawn as (
      select n, (cast(:stages as text[]))[1 + n % cardinality(cast(:stages as text[]))] as stage,
        timestamptz '2026-01-01' + (n % 300) * interval '1 day' as at, random() as r
      from generate_series(cast(:first as bigint), cast(:last as bigint)) n),
    model as materialized (
      select row_number() over (order by no) - 1 as k, c.* from cases.case c
      where c.condition_no is not null and c.basis <> 'nobody' and c.data_source <> 'simulated for a bench'
      order by no limit 50000),
    made as (
      insert into cases.case (no, channel, edition, class_code, condition_no, geom, reported_at, stage, last_seq,
        acted_at, cell_id, placed, placed_m, unit_id, assisting_ids, basis, resolved_by, rule_id, data_source, clocks,
        clock, clock_yellow_at, clock_due_at, due_at, closed_at)
      select to_char(d.at, 'YYYYMMDD')::bigint * 1000000 + 100000 + d.n / 300, m.channel, m.edition, m.class_code,
        m.condition_no, m.geom, d.at, d.stage, 1, d.at,
        m.cell_id, m.placed, m.placed_m, m.unit_id, m.assisting_ids, m.basis, m.resolved_by, m.rule_id,
        'simulated for a bench',
        case when k.clock is not null then jsonb_build_object(k.clock, jsonb_build_object('state', 'running',
          'allowed_s', 14400, 'works', false, 'used_s', 0, 'since', d.at) || case k.clock when 'disposal' then
          jsonb_build_object('unit', u.code, 'value', 4, 'basis', 'urgent_hour') else '{}' end) else '{}' end,
        k.clock,
        case when k.clock is not null then now() + (d.r * 60 - 31) * interval '1 day' else 'infinity' end,
        case when k.clock is not null then now() + (d.r * 60 - 30) * interval '1 day' else 'infinity' end,
        case when k.clock = 'disposal' then now() + (d.r * 60 - 30) * interval '1 day' end,
        case when not :running then d.at end
      from drawn d join model m on m.k = d.n % (select count(*) from model)
      left join layers.unit u on u.id = m.unit_id
      cross join lateral (select case d.stage when 'reported' then 'acceptance' when 'accepted' then 'filing'
        when 'filed' then 'dispatch' when 'dispatched' then 'disposal' end as clock) k
      returning no, stage, acted_at)
    insert into cases.event (case_no, seq, at, actor, role, from_stage, act, to_stage)
    select no, 1, acted_at, 'bench', 'administrator', 'none', 'import', stage from made
""")


def fill(engine: Engine, first: int, many: int, stages: tuple[str, ...], running: bool) -> None:
    """Make up cases, a chunk a transaction."""
    started = time.perf_counter()
    for at in range(first, first + many, CHUNK):
        row = {"stages": list(stages), "first": at, "last": min(at + CHUNK, first + many) - 1, "running": running}
        with engine.begin() as conn:
            conn.execute(FILL, row)
        done = at + CHUNK - first
        print(f"\r  {min(done, many):,} of {many:,} cases made up", end="", flush=True)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("vacuum analyze cases.case"))
        conn.execute(text("analyze cases.event"))
        conn.execute(text("checkpoint"))
    print(f" in {time.perf_counter() - started:.0f} s")


def tokens(engine: Engine) -> dict[str, str]:
    """An account of each role, with a token; the unit and the collector with the most work."""
    with engine.begin() as conn:
        unit = conn.scalar(
            text(
                "select u.code from cases.case c join layers.unit u on u.id = c.unit_id where c.stage = 'dispatched' "
                "group by u.code order by count(*) desc limit 1"
            )
        )
        made = {}
        for role in (*ROLES, "administrator"):
            name = f"bench-{role.replace('_', '-')}"
            of_unit = unit if role == "unit" else None
            collector = "bench" if role == "collector" else None
            if collector:
                conn.execute(
                    text(
                        "insert into layers.collector (code, name_zh, name_en, unit_id) "
                        "select 'bench', 'bench', 'bench', min(id) from layers.unit"
                    )
                )
            add_account(conn, name, roles=[role], unit_code=of_unit, collector_code=collector)
            made[role] = add_token(conn, name)
        conn.execute(
            text(
                "insert into cases.photo (sha256, media_type, width, height, bytes, uploaded_by) "
                "values (:sha, 'image/jpeg', 4, 3, 9, 'bench')"
            ),
            {"sha": PHOTO},
        )
    return made


def moves(engine: Engine, made: dict[str, str], most: int) -> list[bytes]:
    """Moves of different cases: accepted, filed, dispatched, disposed of in equal parts, in any order."""
    acts = {
        "reported": ("accept", "acceptor", {}),
        "accepted": ("file", "duty_chief", {}),
        "filed": ("dispatch", "dispatcher", {}),
        "dispatched": ("dispose", "unit", {"result": "done", "photos": [{"kind": "after", "sha256": PHOTO}]}),
    }
    unit = text(
        "select c.no from cases.case c where c.stage = :stage and (:stage <> 'dispatched' or c.unit_id = ("
        "select u.id from layers.account a join layers.unit u on u.code = a.unit_code where a.name = 'bench-unit')) "
        "and c.unit_id is not null and c.condition_no is not null and c.clock is not null limit :most"
    )
    asked = []
    with engine.connect() as conn:
        for stage, (name, role, more) in acts.items():
            for no in conn.scalars(unit, {"stage": stage, "most": most // 4}):
                body = json.dumps({"from": stage, **more}).encode()
                asked.append(post(f"/cases/{no}/{name}", body, Authorization=f"Bearer {made[role]}"))
    random.Random(61).shuffle(asked)
    return asked


def pages(made: dict[str, str]) -> dict[str, list[bytes]]:
    """First pages of each desk, and pages further on."""
    found = {}
    for role in ("acceptor", "duty_chief", "dispatcher", "unit"):
        headers = {"Authorization": f"Bearer {made[role]}"}
        further = [f"/desk?limit=50&after=2026-1{n % 3}-{1 + n % 27:02}T00:00:00%2B00:00,{n}" for n in range(200)]
        found[role] = [get("/desk?limit=50", **headers), *(get(path, **headers) for path in further)]
    return found


def fits(*statuses: int) -> Any:
    """Whether an answer has one of these statuses."""

    def judge(answer: Answer) -> bool:
        return answer.status in statuses

    return judge


def line(what: str, load: Load) -> None:
    """A figure."""
    print(f"  {what:<48}{load.rate:8.0f}/s   p50 {load.p50_ms:6.1f} ms   p99 {load.p99_ms:6.1f} ms")


def main() -> None:
    """Fill, measure, fill more, measure."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--open", type=int, default=1_000_000)
    words.add_argument("--ended", default="0")
    words.add_argument("--seconds", type=float, default=5)
    words.add_argument("--repeats", type=int, default=3)
    said = words.parse_args()
    with in_a_copy(said.seconds, said.repeats) as (bench, engine, home, places):
        with engine.connect() as conn:
            classes = list(
                conn.scalars(text("select code from layers.class where edition = :edition"), vars(bench.city))
            )
        measured(engine, bench, home, said, places, classes)


@contextmanager
def in_a_copy(seconds: float, repeats: int) -> Iterator[tuple[Bench, Engine, str, list[Place]]]:
    """A copy of the city until the block ends: the bench, an engine on it, WANMI_HOME of its server, places in it."""
    settings = read_settings()
    city = read_city(settings.home, settings.city)
    address = make_url(os.environ["WANMI_DATABASE_URL"]).set(drivername="postgresql+psycopg")
    bench = Bench(city, address, workers=1, seconds=seconds, repeats=repeats)
    with ExitStack() as stack:
        with bench.connect(city) as conn:
            places, _ = places_of(conn, city)
        maintenance = stack.enter_context(bench.engine("postgres")).execution_options(isolation_level="AUTOCOMMIT")
        stack.enter_context(copied(maintenance, database_name(city.id), database_name(COPY)))
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wanmi-workflow-")))
        (home / "data").mkdir()
        (home / "data" / COPY).symlink_to(city.folder)
        yield bench, stack.enter_context(bench.engine(database_name(COPY))), str(home), places


def measured(engine: Engine, bench: Bench, home: str, said: Any, places: list[Any], classes: list[str]) -> None:
    """All figures, at each number of ended cases."""
    fill(engine, 0, said.open, OPEN_STAGES, True)
    made = tokens(engine)
    there = 0
    numbers = itertools.count()
    for ended in (int(word) for word in said.ended.split(",")):
        fill(engine, said.open + there, ended - there, ("closed",), False)
        there = ended
        print(f"{said.open:,} open cases, {ended:,} ended, {CONNECTIONS} connections; pages at one connection")
        with bench.wanmi(COPY, WANMI_HOME=home) as server:
            for role, asked in pages(made).items():
                (load,) = measure([Meter(server, asked, 1, fits(200))], said.seconds / 2, said.repeats)
                line(f"desk of the {role}, 50 of its cases", load)
            headers = {"Authorization": f"Bearer {made['acceptor']}"}

            def opening(n: int, headers: dict[str, str] = headers) -> bytes:
                lon, lat = places[n % len(places)]
                body = {"class": classes[n % len(classes)], "lon": lon, "lat": lat, "description": "made up"}
                return post("/cases", json.dumps(body).encode(), **headers)

            opened = (opening(next(numbers)) for _ in range(200_000))
            (load,) = measure([Meter(server, opened, CONNECTIONS, fits(201))], said.seconds, said.repeats)
            line("a case opened", load)
            most = int(700 * said.seconds * (said.repeats + 1))
            (load,) = measure(
                [Meter(server, moves(engine, made, most), CONNECTIONS, fits(200))], said.seconds, said.repeats
            )
            line("a move", load)


if __name__ == "__main__":
    main()
