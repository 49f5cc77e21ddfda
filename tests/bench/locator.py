"""The locator beside its peers: 5 000 000 points on 4 000 and on 100 000 polygons, with holes, on a real city; growth.

    ./wanmi python tests/bench/locator.py [--points 5000000] [--stream 100000000] [--sets small,large,holed,washington]

Each engine gets the same points and polygons, from memory, in its best form, and its answers are compared with ours.
The peers live in an environment of their own (peers-locate.lock; locator_peers.py runs there). PostGIS is asked for a
tenth of the points. Polygons are Voronoi cells of about 10 000 m², their borders bent, snapped to 2^-10 m; points are
even over their box. "Together" means in the order of a Hilbert curve.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from gis.crs import snap
from gis.db import database_name
from gis.locate import Locator
from gis.settings import read_settings
from grids.areas import CELLS
from grids.city import read_city
from tests.bench.calling import peers_environment

SRID = 4545
ORIGIN = np.array([500_000.0, 3_600_000.0])


def bent_cells(many: int, rng: np.random.Generator) -> Any:
    """A coverage of about 44 vertices a polygon."""
    side = 100.0 * np.sqrt(many)
    box = shapely.box(0, 0, side, side)
    seeds = shapely.multipoints(rng.uniform(0, side, (many, 2)))
    cells = shapely.intersection(shapely.get_parts(shapely.voronoi_polygons(seeds, extend_to=box)), box)
    cells = shapely.segmentize(cells, 10.5)

    def bend(xy: Any) -> Any:
        x, y = xy.T
        moved = np.column_stack([x + 1.4 * np.sin(y / 4.1) + 0.8 * np.sin(x / 7.3), y + 1.4 * np.sin(x / 4.7)])
        return np.round((moved + ORIGIN) * 1024) / 1024

    bent = shapely.transform(cells, bend)
    return bent[shapely.is_valid(bent)]


def holed(cells: Any, rng: np.random.Generator) -> Any:
    """Every eighth has a hole that an island fills; every other eighth is one with another far away."""
    made = []
    order = rng.permutation(len(cells))
    for n, at in enumerate(order.tolist()):
        cell = cells[at]
        if n % 8 == 0:
            middle = cell.representative_point()
            island = snap(middle.buffer(8, quad_segs=4))
            if cell.contains(island):
                made += [cell - island, island]
                continue
        if n % 8 == 1 and made:
            made.append(shapely.MultiPolygon([*shapely.get_parts(made.pop()).tolist(), cell]))
            continue
        made.append(cell)
    made = np.array(made, dtype=object)
    return made[shapely.is_valid(made)]


def hilbert_order(x: Any, y: Any) -> Any:
    """The order of the points along a Hilbert curve."""
    return gpd.GeoSeries(gpd.points_from_xy(x, y)).hilbert_distance(level=16).to_numpy().argsort(kind="stable")


def timed(work: Any, repeats: int = 3) -> tuple[float, Any]:
    """The median seconds, and the last result."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds)), result


def measure(name: str, polygons: Any, x: Any, y: Any, folder: Path, peers: Path | None) -> None:
    """Print the figures of one set."""
    series = gpd.GeoSeries(polygons, crs=SRID)
    vertices = shapely.get_num_coordinates(polygons).mean()
    print(f"\n{name}: {len(polygons):,} polygons of {vertices:.0f} vertices, {len(x):,} points")
    build_s, locator = timed(lambda: Locator.of(series))
    one_s, _ = timed(lambda: Locator.of(series, threads=1), 1)
    locator.save(folder / "index")
    load_s, again = timed(lambda: Locator.load(folder / "index"))
    print(
        f"  index {build_s:.2f} s ({one_s:.2f} s on one core), {locator.nbytes / 1e6:,.0f} MB; loaded in {load_s:.3f} s"
    )
    order = hilbert_order(x, y)
    together = x[order], y[order]
    found = locator.locate(x, y)
    assert np.array_equal(found, again.locate(x, y))
    rates = {}
    for label, (px, py) in (("in random order", (x, y)), ("together", together)):
        for threads in (2, 1):
            seconds, _ = timed(lambda px=px, py=py, threads=threads: locator.locate(px, py, threads=threads), 5)
            rates[label, threads] = len(x) / seconds / 1e6
        two, one = rates[label, 2], rates[label, 1]
        print(f"  Wanmi {label:<16} {two:8.1f} M points/s on 2 cores, {one:6.1f} on one ({one / two:.2f})")
    if peers is None:
        return
    np.save(folder / "xy.npy", np.column_stack([x, y]))
    np.save(folder / "found.npy", found)
    (folder / "polygons.json").write_text(json.dumps([shape.hex() for shape in shapely.to_wkb(polygons)]))
    rows = [*_postgis(polygons, x, y, found)]
    ran = subprocess.run(
        [peers / "bin" / "python", Path(__file__).with_name("locator_peers.py"), folder],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )
    rows += [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    best = 0.0
    for row in rows:
        if "error" in row:
            print(f"  {row['engine']:<28} not measured: {row['error']}")
            continue
        best = max(best, row["rate"])
        ratio = rates["in random order", 2] * 1e6 / row["rate"]
        print(
            f"  {row['engine']:<28} {row['rate'] / 1e6:8.2f} M points/s   Wanmi is {ratio:6.0f} times as fast; "
            f"{row['differ']:,} of {row['points']:,} answers differ"
        )
    print(f"  beside the fastest peer: {rates['in random order', 2] * 1e6 / best:.0f} times")


def _postgis(polygons: Any, x: Any, y: Any, found: Any) -> list[dict[str, Any]]:
    engine = create_engine(make_url(os.environ["WANMI_DATABASE_URL"]).set(drivername="postgresql+psycopg"))
    many = min(len(x), len(x) // 10)
    with engine.connect() as conn:
        conn.execute(text("create temporary table shape (row int, geom geometry)"))
        conn.execute(text("create temporary table spot (n int, geom geometry)"))
        cursor = conn.connection.cursor()
        with cursor.copy("copy shape from stdin") as copy:
            for row, shape in enumerate(polygons):
                copy.write_row((row, shapely.to_wkb(shape, hex=True)))
        with cursor.copy("copy spot from stdin") as copy:
            for n, shape in enumerate(shapely.to_wkb(shapely.points(x[:many], y[:many]), hex=True)):
                copy.write_row((n, shape))
        conn.execute(text("create index on shape using gist (geom)"))
        conn.execute(text("analyze shape, spot"))
        owner = "select min(s.row) as row from shape s where st_covers(s.geom, p.geom)"
        join = f"from spot p left join lateral ({owner}) q on true"
        started = time.perf_counter()
        conn.execute(text(f"select count(q.row) {join}")).scalar_one()
        seconds = time.perf_counter() - started
        rows = conn.execute(text(f"select coalesce(q.row, -1) {join} order by p.n")).scalars().all()
    differ = int((np.array(rows) != found[:many]).sum())
    return [{"engine": "PostGIS", "rate": many / seconds, "differ": differ, "points": many}]


def stream(locator: Locator, west: float, side: float, most: int) -> None:
    """The same index over 10⁵ … ``most`` points, made and answered a piece at a time."""
    print("\ngrowth (random order, 2 cores; points are made between, not timed)")
    rng = np.random.default_rng(3)
    many = 100_000
    while many <= most:
        spent = 0.0
        for start in range(0, many, 2_000_000):
            piece = min(2_000_000, many - start)
            x, y = (rng.uniform(0, side, piece) + corner for corner in ORIGIN)
            started = time.perf_counter()
            locator.locate(x, y)
            spent += time.perf_counter() - started
        print(f"  {many:>12,} points: {many / spent / 1e6:8.1f} M points/s")
        many *= 10


def main() -> None:
    """Print all figures."""
    words = argparse.ArgumentParser()
    words.add_argument("--points", type=int, default=5_000_000)
    words.add_argument("--stream", type=int, default=100_000_000)
    words.add_argument("--sets", default="small,large,holed,washington")
    words.add_argument("--no-peers", action="store_true")
    said = words.parse_args()
    peers = None if said.no_peers else peers_environment("peers-locate.lock")
    rng = np.random.default_rng(1)
    wanted = said.sets.split(",")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, many in (("small", 4_000), ("large", 100_000), ("holed", 4_000)):
            if name not in wanted:
                continue
            polygons = bent_cells(many, rng)
            polygons = holed(polygons, rng) if name == "holed" else polygons
            side = 100.0 * np.sqrt(many)
            x, y = (rng.uniform(0, side, said.points) + corner for corner in ORIGIN)
            measure(name, polygons, x, y, folder, peers)
            if name == "small":
                stream(Locator.of(gpd.GeoSeries(polygons, crs=SRID)), 0.0, side, said.stream)
        if "washington" in wanted:
            _washington(said.points, folder, peers)


def _washington(points: int, folder: Path, peers: Path | None) -> None:
    city = read_city(read_settings().home, "washington")
    url = make_url(os.environ["WANMI_DATABASE_URL"]).set(
        drivername="postgresql+psycopg", database=database_name("washington")
    )
    try:
        with create_engine(url).connect() as conn:
            cells = CELLS.read(conn, city.srid)
            spots = np.array(conn.execute(text("select st_x(geom), st_y(geom) from cases.case order by no")).all())
    except Exception as error:
        print(f"\nwashington: not measured, its database is not there ({str(error).splitlines()[0]})")
        return
    again = np.tile(spots, (points // len(spots) + 1, 1))[:points]
    measure(
        "washington, its requests repeated", cells.geometry.to_numpy(), *np.ascontiguousarray(again.T), folder, peers
    )


if __name__ == "__main__":
    main()
