"""Files in bulk: Parquet to Parquet with cell, areas, unit and rule, beside SedonaDB's point in polygon; Dask.

    ./wanmi demo --once && ./wanmi python tests/bench/bulk.py [CITY] [--rows 5000000] [--killed-s 60]

On the city's own grid, rules and components. The reports are simulated: its cases repeated, moved by some metres
(seeded), with id, x, y and class. Written are id and cell_code, community_code, street_code, district_code, unit, rule,
as dictionaries. SedonaDB reads the same file and writes id and the code of the cell, which is less. Agreement with
PostGIS is checked on a hundredth of the rows. Dask: workers are processes of one thread; one is killed midway.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from distributed import LocalCluster
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url

from cases.bulk import Plan, alone, assign_file, prepare
from cases.bulk_read import Columns, columns_of, open_source
from cases.bulk_write import finish
from cases.cluster import assign_on_cluster
from cases.standing import Standing, read_standing
from gis.crs import snap
from gis.db import database_name
from gis.settings import read_settings
from grids.city import City, read_city
from tests.bench.calling import peers_environment

ANSWERED = ("cell_code", "community_code", "street_code", "district_code", "unit", "rule")


def write_reports(conn: Connection, path: Path, rows: int) -> None:
    """The city's cases, repeated and moved."""
    found = conn.execute(text("select st_x(geom), st_y(geom), class_code from cases.case order by no")).all()
    rng = np.random.default_rng(1)
    at = rng.integers(0, len(found), rows)
    x, y, classes = (np.array(column) for column in zip(*found, strict=True))
    names, number = np.unique(classes, return_inverse=True)
    table = pa.table(
        {
            "id": np.arange(rows),
            "x": snap(x[at] + rng.normal(0, 15, rows)),
            "y": snap(y[at] + rng.normal(0, 15, rows)),
            "class": pa.DictionaryArray.from_arrays(pa.array(number[at].astype(np.int32)), pa.array(names)),
        }
    )
    pq.write_table(table, path, row_group_size=500_000, compression="lz4")


def run(path: Path, out: Path, city: City, standing: Standing, work: Any = assign_file, **more: Any) -> Any:
    """One run, from the head of the file to the file that was asked for; seconds and report."""
    shutil.rmtree(out, ignore_errors=True)
    started = time.monotonic()
    source = open_source(path)
    columns = columns_of(source, Columns(srid=city.srid), city.srid)
    plan = Plan(columns=columns, keep=("id",), answers=ANSWERED, prefix="", folder="")
    plan = prepare(source, out, plan, "bench", overwrite=True)
    with alone(plan):
        report = work(source, plan, standing, **{"progress": lambda *_: None} | more)
        finish(plan, out, report, overwrite=True)
    return time.monotonic() - started, report


def agreement(conn: Connection, path: Path, out: Path, rows: int) -> None:
    """Compare with cases.assign."""
    asked = pq.read_table(path).slice(0, rows).to_pandas()
    said = pq.read_table(out, filters=[("id", "<", rows)]).to_pandas().set_index("id")
    answer = text(
        "select a.ord - 1 as id, a.cell_code, u.code as unit, r.code as rule from cases.assign("
        "array(select st_setsrid(st_makepoint(x, y), :srid) from unnest(cast(:x as float8[]), cast(:y as float8[])) "
        "with ordinality p (x, y, n) order by n), cast(:classes as text[]), array[]::int[], array[]::text[]) a "
        "left join layers.unit u on u.id = a.unit_id left join cases.rule r on r.id = a.rule_id"
    )
    srid = conn.execute(text("select st_srid(geom) from grids.cell limit 1")).scalar_one()
    differ = 0
    for start in range(0, rows, 5_000):
        part = asked.iloc[start : start + 5_000]
        values = {"x": part["x"].tolist(), "y": part["y"].tolist(), "classes": part["class"].astype(str).tolist()}
        for row in conn.execute(answer, {**values, "srid": srid}):
            number = start + row.id
            mine = said.loc[number] if number in said.index else None
            if mine is None:
                differ += row.cell_code is not None
            else:
                cell, unit, rule = (
                    None if not isinstance(mine[n], str) else mine[n] for n in ("cell_code", "unit", "rule")
                )
                differ += (cell, unit, rule) != (row.cell_code, row.unit, row.rule)
    print(f"  {differ} of {rows:,} rows answered otherwise than by PostGIS")


def main() -> None:
    """Print all figures."""
    words = argparse.ArgumentParser()
    words.add_argument("city", nargs="?", default=os.environ.get("WANMI_CITY", "ankang"))
    words.add_argument("--rows", type=int, default=5_000_000)
    words.add_argument("--killed-s", type=float, default=60.0, help="about how long the job with a killed worker takes")
    said = words.parse_args()
    city = read_city(read_settings().home, said.city)
    url = make_url(os.environ["WANMI_DATABASE_URL"]).set(
        drivername="postgresql+psycopg", database=database_name(city.id)
    )
    with tempfile.TemporaryDirectory() as place, create_engine(url).connect() as conn:
        folder = Path(place)
        path, out = folder / "reports.parquet", folder / "out"
        write_reports(conn, path, said.rows)
        standing = read_standing(conn, city)
        facts = f"{len(standing.codes):,} cells, {len(standing.rules):,} rules"
        print(f"{city.id}: {facts}; {said.rows:,} rows of Parquet")
        run(path, out, city, standing)  # compiled, and the file in memory
        best = 0.0
        for threads in (1, 2):
            best = float(np.median([run(path, out, city, standing, threads=threads)[0] for _ in range(3)]))
            print(f"  Wanmi, threads {threads}: {best:6.2f} s, {said.rows / best / 1e6:6.2f} M rows/s")
        agreement(conn, path, out, said.rows // 100)
        sedona(standing, path, folder, said.rows, best)
        dask(path, out, city, standing, said.rows, best, said.killed_s, folder)


def sedona(standing: Standing, path: Path, folder: Path, rows: int, ours_s: float) -> None:
    """SedonaDB's join, from and to Parquet."""
    place = peers_environment("peers-locate.lock")
    if place is None:
        return
    shapes = pa.table({"code": standing.codes, "wkb": shapely.to_wkb(standing.cells.geometry.to_numpy())})
    pq.write_table(shapes, folder / "cells.parquet")
    program = (
        "import sys, time, sedonadb; sd = sedonadb.connect(); a, b, c = sys.argv[1:]; best = 1e9\n"
        "for n in range(3):\n"
        "    t = time.monotonic()\n"
        "    sd.read_parquet(a).to_view('p', overwrite=True); sd.read_parquet(b).to_view('s', overwrite=True)\n"
        "    sd.sql('select p.id, s.code from (select id, st_point(x, y) as geom from p) p join (select code, '\n"
        "           'st_geomfromwkb(wkb) as geom from s) s on st_intersects(s.geom, p.geom)').to_parquet(c)\n"
        "    best = min(best, time.monotonic() - t)\n"
        "print(best)"
    )
    command = [place / "bin" / "python", "-c", program, path, folder / "cells.parquet", folder / "sedona.parquet"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ""})
    if ran.returncode:
        print(f"  SedonaDB: not measured: {ran.stderr.strip().splitlines()[-1][:200]}")
        return
    seconds = float(ran.stdout)
    ratio = seconds / ours_s
    print(f"  SedonaDB: {seconds:6.2f} s, {rows / seconds / 1e6:6.2f} M rows/s; Wanmi is {ratio:.1f} times as fast")


def dask(
    path: Path, out: Path, city: City, standing: Standing, rows: int, local_s: float, killed_s: float, folder: Path
) -> None:
    """One worker, two workers, and one of two killed midway."""
    seconds = {}
    for workers in (1, 2):
        with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
            far = {"work": assign_on_cluster, "scheduler": cluster.scheduler_address}
            run(path, out, city, standing, **far)
            seconds[workers] = float(np.median([run(path, out, city, standing, **far)[0] for _ in range(3)]))
            print(f"  Dask, {workers} worker{'s' if workers > 1 else ''}: {seconds[workers]:6.2f} s")
    print(f"  two workers {seconds[1] / seconds[2]:.2f} × one; Dask {seconds[2] / local_s:.2f} × local")
    repeat = max(1, round(killed_s / seconds[2]))
    many = folder / "many"
    many.mkdir()
    for n in range(repeat):
        (many / f"{n:04}.parquet").symlink_to(path)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        far = {"work": assign_on_cluster, "scheduler": cluster.scheduler_address}
        whole, _ = run(many, out, city, standing, **far)
        total, struck = rows * repeat, []

        def strike(done: int, *_: Any) -> None:
            if done > total / 2 and not struck:
                struck.append(next(iter(cluster.workers.values())).pid)
                os.kill(struck[0], signal.SIGKILL)

        hurt, report = run(many, out, city, standing, progress=strike, **far)
        assert report.rows + report.refused == total
        more = 100 * (hurt / whole - 1)
        print(f"  {total:,} rows: {whole:.1f} s; with a worker killed midway {hurt:.1f} s, {more:+.0f} %")


if __name__ == "__main__":
    main()
