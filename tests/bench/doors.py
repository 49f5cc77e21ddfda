"""How fast the HTTP doors are: GET /locate, a case opened, vector tiles beside tipg, heat tiles; memory of a worker.

    ./wanmi demo --once && ./wanmi python tests/bench/doors.py [CITY] [--workers N] [--seconds S] [--repeats N]

It starts ``wanmi serve`` itself, on free ports, and ends it. Client, servers and PostgreSQL share the cores of the
machine. Rates and percentiles are medians of the repeats; a warm-up goes before. Cases are opened in a copy of the
city's database, which is dropped: the city is not changed.

Tiles "drawn" come from a server whose cache keeps nothing (uncached.py): each is read from PostGIS, made and zipped
when it is asked for, as tipg does it always; PostgreSQL's own buffers are warm for both. tipg lives in an environment
of its own (peers.lock), with uvloop and httptools as ours, and is asked for the columns and given the buffer, the
number of connections and of processes that ours has.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyogrio
import shapely
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError

from api.layers import LAYERS
from gis.db import database_name
from gis.server import memory_bytes
from gis.settings import read_settings
from gis.tiles import BUFFER, EXTENT
from grids.city import City, read_city
from layers.accounts import add_account, add_token
from tests.bench.calling import Answer, Meter, Served, ask, get, measure, peers_environment, post, python, serving

CONNECTIONS_LOCATE = (1, 8, 50)
CONNECTIONS_CASES = (1, 16)
CONNECTIONS_TILES = 8
#: (zoom, layer): below zoom 13 our cells are not drawn one by one, so that there the areas are compared
TILES = ((12, "areas"), (14, "cells"), (16, "cells"), (16, "components"))
DRAWN, KEPT, PEER = "Wanmi, each drawn", "Wanmi, kept", "tipg 1.6.1"  #: servers of tiles
MOST_TILES = 200  #: different ones that are asked for, of one zoom
COMPARED = 3  #: tiles of each whose features are counted in both answers
HEAT_TILES = 24  #: at zoom 14 and 15
COPY = "doors_copy"  #: the city of which is the copy: that database is made and dropped
SEED = text("select setseed(0.61)")
PLACES = text("""
    select st_x(p), st_y(p) from (
      select st_transform(q.geom, 4326) as p
      from (
        select st_setsrid(st_makepoint(st_xmin(b) + random() * (st_xmax(b) - st_xmin(b)),
          st_ymin(b) + random() * (st_ymax(b) - st_ymin(b))), st_srid(b)) as geom
        from (select st_setsrid(st_extent(geom), :srid) as b from served.cell) e, generate_series(1, 60000)) q
      where exists (select from served.cell c where st_covers(c.geom, q.geom)) limit 4000) placed
""")
NUMBERS = text("""
    select (select count(*) from served.cell) as cells, (select count(*) from served.component) as components,
      (select count(*) from served.case) as cases
""")
FACTS = text("""
    select current_setting('server_version') as postgresql, postgis_lib_version() as postgis,
      current_setting('fsync') as fsync, current_setting('synchronous_commit') as synchronous_commit,
      current_setting('full_page_writes') as full_page_writes
""")

Place = tuple[float, float]  #: longitude and latitude
Tile = tuple[int, int, int]  #: z, x, y


class Bench:
    """What all figures of one run share."""

    def __init__(self, city: City, address: URL, *, workers: int, seconds: float, repeats: int) -> None:
        self.city, self.address = city, address
        self.workers, self.seconds, self.repeats = workers, seconds, repeats

    @contextmanager
    def engine(self, database: str) -> Iterator[Engine]:
        """An engine on a database; no connection is left when the block ends."""
        engine = create_engine(self.address.set(database=database), pool_size=1)
        try:
            yield engine
        finally:
            engine.dispose()

    @contextmanager
    def connect(self, city: City) -> Iterator[Connection]:
        """A connection to a city's database."""
        with self.engine(database_name(city.id)) as engine, engine.connect() as conn:
            yield conn

    @contextmanager
    def wanmi(self, city: str, *, caching: bool = True, **environment: str) -> Iterator[Served]:
        """``wanmi serve`` of a city."""
        uncached = Path(__file__).with_name("uncached.py")
        program = python("-m", "api") if caching else python(str(uncached))
        words = [*program, "serve", "--city", city, "--workers", str(self.workers)]
        with serving(words, health="/health", environment={"WANMI_READING": "open", **environment}) as server:
            yield server

    def measure(self, *meters: Meter) -> Any:
        """The load of each, in turn."""
        return measure(list(meters), self.seconds, self.repeats)


def places_of(conn: Connection, city: City) -> tuple[list[Place], list[str]]:
    """Places that lie evenly over the cells of the city, the same in every run, and all classes of its catalogue."""
    conn.execute(SEED)
    places = [(round(lon, 7), round(lat, 7)) for lon, lat in conn.execute(PLACES, {"srid": city.srid})]
    codes = conn.scalars(text("select code from layers.class where edition = :edition order by code"), vars(city))
    return places, list(codes)


def locate(bench: Bench, city: City, growth: bool) -> None:
    """GET /locate; then heat tiles and the memory of the workers, unless it is for the growth only."""
    with bench.connect(city) as conn:
        places, classes = places_of(conn, city)
        numbers = conn.execute(NUMBERS).one()
    paths = [
        f"/locate?lon={lon}&lat={lat}&class={classes[i * 7 % len(classes)]}" for i, (lon, lat) in enumerate(places)
    ]
    asked = {"unit, reason, borders": "&nearby=false", "with what is near by": ""}
    counted = f"{numbers.cells:,} cells, {numbers.components:,} components, {numbers.cases:,} cases"
    print(f"\nGET /locate on {city.id} ({counted}): random places, with a class, each names its cell")
    with bench.wanmi(city.id) as server:
        for what, more in asked.items():
            print(f"  {what}")
            requests = [get(path + more) for path in paths]
            for connections in CONNECTIONS_LOCATE:
                (load,) = bench.measure(Meter(server, requests, connections, names_a_cell))
                name = f"{connections} connection{'s' if connections > 1 else ''}"
                _row(name, load.rate, load.p50_ms, load.p99_ms, load.mean_bytes)
        if not growth:
            heat(server, places, numbers.cases)
        print_memory(bench, server, "after these")


def names_a_cell(answer: Answer) -> bool:
    """Whether an answer of GET /locate says in which cell the place lies."""
    return answer.status == 200 and b'"cell":{"code":"' in answer.body


def heat(server: Served, places: list[Place], cases: int) -> None:
    """A tile of a surface that is not computed yet, and the next ones of it."""
    tiles = [tile for z in (14, 15) for tile in tiles_of(places, z)][:HEAT_TILES]
    first: list[float] = []
    after: list[float] = []
    for bandwidth in (150, 160, 170):  # each a surface of its own
        for number, (z, x, y) in enumerate(tiles):
            answer, ms = ask(server.port, get(f"/maps/heat/{z}/{x}/{y}.png?bandwidth_m={bandwidth}"))
            if answer.status != 200 or answer.body[1:4] != b"PNG":
                raise SystemExit(f"no heat tile: {answer.status} {answer.body[:300]!r}")
            (after if number else first).append(ms)
    _, again = ask(server.port, get(f"/maps/heat/{z}/{x}/{y}.png?bandwidth_m={bandwidth}"))
    print(
        f"\nheat tile, {cases:,} cases, bandwidth 150–170 m: first {statistics.median(first):,.0f} ms (the surface is "
        f"computed), next {statistics.median(after):,.1f} ms, the same again {again:,.1f} ms"
    )


def print_memory(bench: Bench, server: Served, when: str) -> None:
    """Memory of the workers, and that of PostgreSQL apart where it is private."""
    workers = " + ".join(f"{mb:,.0f}" for mb in server.memory_mb())
    postmaster = Path(str(bench.address.query.get("host", "/"))) / ".s.PGSQL.5432.lock"  # a private server's socket
    database = ""
    if postmaster.exists():
        database = (
            f"; PostgreSQL with all its processes {memory_bytes(int(postmaster.read_text().split()[0])) / 1e6:,.0f} MB"
        )
    print(f"memory {when}: {workers} MB a worker{database} (PSS)")


# ── cases ────────────────────────────────────────


def cases(bench: Bench) -> None:
    """POST /cases on a copy of the city: each answer says 201, and as many rows are new as were answered so."""
    with ExitStack() as stack:
        maintenance = stack.enter_context(bench.engine("postgres")).execution_options(isolation_level="AUTOCOMMIT")
        try:
            stack.enter_context(copied(maintenance, database_name(bench.city.id), database_name(COPY)))
        except OperationalError as error:
            reason = str(error.orig).splitlines()[0]
            print(
                f"\nPOST /cases: not measured, the city cannot be copied: {reason}; end its other users and run again"
            )
            return
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wanmi-doors-")))
        (home / "data").mkdir()
        (home / "data" / COPY).symlink_to(bench.city.folder)
        with bench.engine(database_name(COPY)) as engine, engine.begin() as conn:
            add_account(conn, "doors", roles=["collector"])
            token = add_token(conn, "doors")
            facts = conn.execute(FACTS).one()
            before = conn.scalar(text("select count(*) from cases.case"))
            places, classes = places_of(conn, bench.city)
        requests = [
            post("/cases", json.dumps(body).encode(), Authorization=f"Bearer {token}")
            for i, (lon, lat) in enumerate(places)
            if (body := {"lon": lon, "lat": lat, "class": classes[i * 7 % len(classes)], "description": "bench 性能"})
        ]
        server = stack.enter_context(bench.wanmi(COPY, WANMI_HOME=str(home)))
        durable = ", ".join(f"{name} {getattr(facts, name)}" for name in FACTS_OF_DURABILITY)
        print(f"\nPOST /cases on a copy of {bench.city.id}: assigned, committed, read back; {durable}")
        answers = 0
        for connections in CONNECTIONS_CASES:
            (load,) = bench.measure(Meter(server, requests, connections, lambda answer: answer.status == 201))
            answers += load.answers
            name = f"{connections} connection{'s' if connections > 1 else ''}"
            _row(name, load.rate, load.p50_ms, load.p99_ms, load.mean_bytes)
        with bench.engine(database_name(COPY)) as engine, engine.connect() as conn:
            new = int(conn.scalar(text("select count(*) from cases.case")) or 0) - int(before or 0)
        if new != answers:
            raise SystemExit(f"{answers:,} answers said 201, but {new:,} cases are new")
        print(f"  {answers:,} answers, all 201; {new:,} new rows in cases.case")


FACTS_OF_DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")


@contextmanager
def copied(maintenance: Engine, database: str, copy: str) -> Iterator[None]:
    """A copy of a database until the block ends. OperationalError when somebody is connected to it."""
    with maintenance.connect() as conn:
        conn.execute(text(f'drop database if exists "{copy}" with (force)'))
        conn.execute(text(f'create database "{copy}" template "{database}"'))
    try:
        yield
    finally:
        with maintenance.connect() as conn:
            conn.execute(text(f'drop database if exists "{copy}" with (force)'))


# ── vector tiles ────────────────────────────────────────


def tiles_of(places: list[Place], z: int) -> list[Tile]:
    """The tiles in which the places lie, each once, in the order in which the places come."""
    found = {}
    for lon, lat in places:
        x = int((lon + 180) / 360 * 2**z)
        y = int((1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * 2**z)
        found[z, x, y] = True
    return list(found)


def tiles(bench: Bench) -> None:
    """Vector tiles of Wanmi, drawn and kept, and of tipg."""
    with bench.connect(bench.city) as conn:
        places, _ = places_of(conn, bench.city)
    print(f"\nvector tiles of {bench.city.id}, zipped, {CONNECTIONS_TILES} connections, tiles of random places")
    with ExitStack() as stack:
        servers = {
            DRAWN: stack.enter_context(bench.wanmi(bench.city.id, caching=False)),
            KEPT: stack.enter_context(bench.wanmi(bench.city.id)),
        }
        peer = stack.enter_context(tipg(bench))
        if peer is not None:
            servers[PEER] = peer
        for z, layer in TILES:
            asked = tiles_of(places, z)[:MOST_TILES]
            requests = {
                name: [get(path(name, layer, tile), Accept_Encoding="gzip") for tile in asked] for name in servers
            }
            for request in requests[KEPT]:
                ask(servers[KEPT].port, request)
            meters = [Meter(servers[name], requests[name], CONNECTIONS_TILES, is_a_tile) for name in servers]
            loads = bench.measure(*meters)
            same = "" if peer is None else f"; {agreement(servers, layer, asked[:COMPARED])}"
            print(f"  z{z} {layer}: {len(asked)} different tiles{same}")
            for name, load in zip(servers, loads, strict=True):
                _row(f"  {name}", load.rate, load.p50_ms, load.p99_ms, load.mean_bytes)
        print_memory(bench, servers[KEPT], f"of '{KEPT}' after these")
        if peer is not None:
            print(
                f"memory of tipg after these: {' + '.join(f'{mb:,.0f}' for mb in peer.memory_mb())} MB a worker (PSS)"
            )


def path(server: str, layer: str, tile: Tile) -> str:
    """Where a server has a tile of a layer, with the same columns."""
    z, x, y = tile
    if server != PEER:
        return f"/tiles/{layer}/{z}/{x}/{y}.mvt"
    shown = LAYERS[layer]
    columns = ",".join(shown.tile_columns or shown.columns)
    return f"/collections/served.{shown.relation}/tiles/WebMercatorQuad/{z}/{x}/{y}?properties={columns}"


def is_a_tile(answer: Answer) -> bool:
    """Whether it is a tile, be it one in which nothing lies."""
    return answer.status in (200, 204)


def agreement(servers: dict[str, Served], layer: str, compared: list[Tile]) -> str:
    """How many features the servers have in the same tiles. SystemExit when they are not the same ones.

    Compared is what meets the inside of the tile: which features meet only its buffer is each server's own affair.
    """
    features = 0
    for tile in compared:
        found = []
        inside = shapely.box(1, 1, EXTENT - 1, EXTENT - 1)
        for name, server in servers.items():
            answer, _ = ask(server.port, get(path(name, layer, tile), Accept_Encoding="gzip"))
            body = gzip.decompress(answer.body) if answer.body[:2] == b"\x1f\x8b" else answer.body
            frame = pyogrio.read_dataframe(body, CLIP="NO") if body else None
            found.append([] if frame is None else sorted(frame.loc[frame.intersects(inside), LAYERS[layer].key]))
        if any(keys != found[0] for keys in found):
            raise SystemExit(f"{layer} {tile}: the servers differ: {[len(keys) for keys in found]} features")
        features += len(found[0])
    return f"the same {features:,} features in {len(compared)} of them"


@contextmanager
def tipg(bench: Bench) -> Iterator[Served | None]:
    """tipg on the city's database, or None, said why, where its environment cannot be made."""
    place = peers_environment("peers.lock")
    if place is None:
        yield None
        return
    relations = sorted({f"served.{LAYERS[layer].relation}" for _, layer in TILES})
    address = bench.address.set(drivername="postgresql", database=database_name(bench.city.id))
    if not address.host:  # tipg takes no address without a host; asyncpg takes a socket's folder for one
        address = address.set(host=quote(str(address.query["host"]), safe=""), port=5432, query={})
    environment = {
        "DATABASE_URL": address.render_as_string(hide_password=False),
        "DB_MIN_CONN_SIZE": str(CONNECTIONS_TILES),
        "DB_MAX_CONN_SIZE": str(CONNECTIONS_TILES),
        "TIPG_DB_SCHEMAS": '["served"]',
        "TIPG_DB_TABLES": json.dumps(relations),
        "TIPG_TILE_BUFFER": str(BUFFER),
        "TIPG_CATALOG_TTL": "0",
        "PYTHONPATH": "",
    }
    words = [str(place / "bin" / "python"), "-m", "uvicorn", "tipg.main:app", "--log-level", "warning"]
    words += ["--workers", str(bench.workers)] if bench.workers > 1 else []
    with serving(words, health="/healthz", environment=environment) as server:
        yield server


# ── printing ────────────────────────────────────────


def _row(name: str, rate: float, p50_ms: float, p99_ms: float, mean_bytes: float) -> None:
    times = f"p50 {p50_ms:8.2f} ms   p99 {p99_ms:8.2f} ms"
    print(f"  {name:<22}{rate:9,.0f} a second   {times}   {mean_bytes / 1e3:7.1f} kB each")


def main() -> None:
    """Print all figures of a city."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("city", nargs="?", default=os.environ.get("WANMI_CITY", "ankang"))
    parser.add_argument("--workers", type=int, default=1, help="processes of each server")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each repeat")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit("ended"))  # with what was started and copied
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    address = make_url(os.environ["WANMI_DATABASE_URL"]).set(drivername="postgresql+psycopg")
    home = read_settings().home
    city = read_city(home, asked.city)
    bench = Bench(city, address, workers=asked.workers, seconds=asked.seconds, repeats=asked.repeats)
    started = time.monotonic()
    with bench.connect(city) as conn:
        facts = conn.execute(FACTS).one()
        loaded = conn.scalars(text("select datname from pg_database")).all()
    print(
        f"{len(os.sched_getaffinity(0))} cores for client, servers, database (load before: {os.getloadavg()[0]:.1f}), "
        f"Python {platform.python_version()}, PostgreSQL {facts.postgresql.split()[0]}, PostGIS {facts.postgis}; "
        f"{asked.workers} worker{'s' if asked.workers > 1 else ''}; medians of {asked.repeats} × {asked.seconds:g} s"
    )
    locate(bench, city, growth=False)
    if city.id != "washington" and database_name("washington") in loaded:
        locate(bench, read_city(home, "washington"), growth=True)
    cases(bench)
    tiles(bench)
    print(f"\n{time.monotonic() - started:.0f} s in all")


if __name__ == "__main__":
    main()
