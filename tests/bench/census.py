"""The import of a census: 1 000 000 components checked, compared, promoted; its growth; its memory.

    ./wanmi python tests/bench/census.py [--rows 1000000] [--growth] [--keep FOLDER]

On the demo city, in transactions that are taken back. The rows are simulated: points in the city, every component class
drawn as a point, a key of the source, ten fields (attributes beside those of the schemas). Then a second file: of every
hundred rows one moved, one changed, one gone, one new. Memory is the greatest of this process; the database's own is
its shared buffers and work memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from gis.settings import read_settings
from grids.areas import CELLS
from grids.city import read_city
from layers.catalogue import class_table, edition_in_force
from layers.census import import_census
from layers.census_mapping import parse_mapping

MAPPING = {
    "source": "simulated survey",
    "class_field": "class",
    "key": "key",
    "name_zh": "name",
    "state": "state",
    "surveyed_field": "day",
    "maintainer_unit": "unit",
    "attributes": {"bench_a": "a", "bench_b": "b", "bench_c": "c", "bench_d": "d"},
}


def survey(cells: gpd.GeoDataFrame, classes: list[str], units: list[str], rows: int, seed: int) -> gpd.GeoDataFrame:
    """Simulated rows: points in cells, evenly by area."""
    rng = np.random.default_rng(seed)
    shapes = np.asarray(cells.geometry.array)
    at = rng.choice(len(cells), 2 * rows, p=cells.area / cells.area.sum())
    west, south, east, north = (side.to_numpy()[at] for _, side in cells.bounds.items())
    x, y = (np.round(rng.uniform(low, high) * 1024) / 1024 for low, high in ((west, east), (south, north)))
    shapely.prepare(shapes)
    inside = np.flatnonzero(shapely.contains_xy(shapes[at], x, y))[:rows]
    x, y = x[inside], y[inside]
    number = np.arange(rows)
    frame = {
        "class": np.array(classes)[rng.integers(0, len(classes), rows)],
        "key": [f"K{n:09d}" for n in number],
        "name": np.array(["井盖", "路灯", "垃圾箱", "行道树"])[number % 4],
        "state": np.array(["完好", "破损"])[(number % 50 == 0).astype(int)],
        "day": np.datetime64("2026-05-01") + (number % 90).astype("timedelta64[D]"),
        "unit": np.array(units)[number % len(units)],
        "a": np.array(["铸铁", "复合材料"])[number % 2],
        "b": [f"第 {n % 1000} 号" for n in number],
        "c": np.round(rng.uniform(0.1, 9.9, rows), 1),
        "d": np.array(["甲厂", "乙厂", "丙厂"])[number % 3],
    }
    return gpd.GeoDataFrame(frame, geometry=shapely.points(x, y), crs=cells.crs)


def changed(frame: gpd.GeoDataFrame, fresh: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Of every hundred rows one moved by 3 m, one changed, one gone, one new."""
    number = np.arange(len(frame)) % 100
    frame = frame.copy()
    moved = number == 1
    frame.loc[moved, "geometry"] = frame.geometry[moved].translate(3.0, 0.0)
    frame.loc[number == 2, "d"] = "丁厂"
    return pd.concat([frame[number != 3], fresh], ignore_index=True)


def write_files(paths: list[Path], cells: gpd.GeoDataFrame, classes: list[str], units: list[str], rows: int) -> None:
    """Write both files, a million rows at a time."""
    for start in range(0, rows, 1_000_000):
        many = min(1_000_000, rows - start)
        first = survey(cells, classes, units, many, 1 + start)
        fresh = survey(cells, classes, units, many // 100, 2 + start)
        first["key"], fresh["key"] = f"{start}-" + first["key"], f"{start}-N" + fresh["key"]
        for path, frame in zip(paths, (first, changed(first, fresh)), strict=True):
            pyogrio.write_dataframe(frame, path, layer="survey", append=start > 0)


def main() -> None:
    """Print the figures."""
    words = argparse.ArgumentParser()
    words.add_argument("--rows", type=int, default=1_000_000)
    words.add_argument("--growth", action="store_true", help="also a tenth and a hundredth of the rows")
    words.add_argument("--keep", type=Path, help="folder in which the files stay")
    said = words.parse_args()
    settings = read_settings()
    city = read_city(settings.home, settings.city)
    engine = create_engine(make_url(os.environ["WANMI_DATABASE_URL"]).set(drivername="postgresql+psycopg"))
    folder = said.keep or Path(tempfile.mkdtemp())
    sizes = [said.rows // 100, said.rows // 10, said.rows] if said.growth else [said.rows]
    print(f"{'rows':>10} {'file':<8} {'read':>7} {'check':>7} {'compare':>7} {'promote':>7} {'all s':>7}  peak MB")
    for rows in sizes:
        with engine.connect() as conn:
            cells = CELLS.read(conn, city.srid)
            table = class_table(conn, edition_in_force(conn))
            units = [row[0] for row in conn.exec_driver_sql("select code from layers.unit limit 20")]
        points = table[(table["kind"] == "component") & (table["geometry_type"] == "Point")]
        classes = sorted(points["code"])
        paths = [folder / f"survey-{rows}-{which}.gpkg" for which in ("first", "second")]
        if not all(path.exists() for path in paths):  # in a process of its own: its memory is not the import's
            maker = get_context("fork").Process(target=write_files, args=(paths, cells, classes, units, rows))
            maker.start()
            maker.join()
        with engine.connect() as conn:
            conn.exec_driver_sql("truncate layers.component")  # taken back with all the rest
            for path, which in zip(paths, ("first", "second"), strict=True):
                table = MAPPING if which == "first" else {**MAPPING, "extent": "areas"}
                mapping = parse_mapping(table, folder / "mapping.toml")
                started = time.monotonic()
                report = import_census(conn, city, path, mapping, actor="bench", commit=True, skip_errors=True)
                seconds = time.monotonic() - started
                stages = " ".join(f"{report.seconds[key]:7.1f}" for key in ("read", "check", "compare", "promote"))
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(f"{rows:>10,} {which:<8} {stages} {seconds:7.1f}  {peak:,.0f}", flush=True)
                fates = ", ".join(f"{fate} {report.total(fate):,}" for fate in report.counts.columns[4:])
                print(f"{'':>11}{fates}; findings {sum(report.tally.values()):,}", flush=True)
            conn.rollback()


if __name__ == "__main__":
    main()
