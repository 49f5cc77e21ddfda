"""How fast a place is found by what people say, among 20 000 and 200 000 names; how many of a list come first.

    ./wanmi demo --once && ./wanmi python tests/bench/places.py

The names of the demo city and simulated ones (roads, doors, places of interest), in a transaction that is taken back.
"""

from __future__ import annotations

import csv
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url

from gis.history import record_change
from gis.settings import read_settings
from grids.city import read_city
from layers.places import find_places, load_places

LETTERS = (
    "新兴安平路正大学文化永和长青江山河湖春秋明德仁义礼智信福寿康宁金银玉石梅兰竹菊松柏桃李杏桂东西南北中华民富强友善"
)
ENDS = ("路", "街", "大道", "巷")
POI_ENDS = ("小区", "超市", "幼儿园", "医院", "公园", "大厦", "酒店", "花园", "市场", "派出所")


def simulated(rows: int, bounds: tuple[float, ...], srid: int, seed: int) -> gpd.GeoDataFrame:
    """Simulated names: one in twenty a road, three in four doors on these, the rest places of interest."""
    rng = np.random.default_rng(seed)
    letters = np.array(list(LETTERS))

    def words(many: int, ends: tuple[str, ...]) -> list[str]:
        stems = letters[rng.integers(0, len(letters), (many, 3))]
        tails = np.array(ends)[rng.integers(0, len(ends), many)]
        return ["".join(stem) + tail for stem, tail in zip(stems, tails, strict=True)]

    roads = list(dict.fromkeys(words(rows // 20, ENDS)))
    doors = rows * 3 // 4
    on = rng.integers(0, len(roads), doors)
    order = pd.Series(on).groupby(on).cumcount().to_numpy() + 1
    pois = words(rows - len(roads) - doors, POI_ENDS)
    frame = pd.DataFrame(
        {
            "kind": ["road"] * len(roads) + ["door"] * doors + ["poi"] * len(pois),
            "name_zh": [*roads, *(f"{roads[r]}{n}号" for r, n in zip(on, order, strict=True)), *pois],
            "road": [None] * len(roads) + [roads[r] for r in on] + [None] * len(pois),
            "number": pd.array([None] * len(roads) + order.tolist() + [None] * len(pois), dtype="Int64"),
        }
    )
    frame["code"] = [f"bench:{n}" for n in range(len(frame))]
    frame["other_names"] = [[] for _ in range(len(frame))]
    west, south, east, north = bounds
    points = shapely.points(rng.uniform(west, east, len(frame)), rng.uniform(south, north, len(frame)))
    frame = frame.assign(name_en=None, derived=False, data_source="simulated")
    return gpd.GeoDataFrame(frame, geometry=points, crs=srid)


def measure(conn: Connection, said: list[dict[str, str]], words: str) -> None:
    """Print what finding all of the list takes."""
    times, first = [], 0
    for row in said:
        started = time.perf_counter()
        _, found = find_places(conn, row["said"])
        times.append((time.perf_counter() - started) * 1e3)
        first += bool(found) and found[0].code == row["code"]
    p50, p95 = np.percentile(times, [50, 95])
    total = conn.scalar(text("select count(*) from layers.place"))
    print(f"{total:>9,} names  {words}: p50 {p50:.1f} ms, p95 {p95:.1f} ms; first {first} of {len(said)}", flush=True)


def main() -> None:
    """Print the figures."""
    settings = read_settings()
    city = read_city(settings.home, settings.city)
    engine = create_engine(make_url(os.environ["WANMI_DATABASE_URL"]).set(drivername="postgresql+psycopg"))
    with (Path(__file__).parents[1] / "places_said.csv").open(encoding="utf-8", newline="") as table:
        said = list(csv.DictReader(table))
    with engine.connect() as conn:
        extent = "select st_extent(geom) as b from grids.area"
        box = conn.execute(text(f"select st_xmin(b), st_ymin(b), st_xmax(b), st_ymax(b) from ({extent}) q")).one()
        measure(conn, said, "the list of tests/places_said.csv")
        for rows in (20_000, 200_000):
            version = record_change(conn, since=datetime.now(UTC), actor="bench", reason="simulated names")
            started = time.perf_counter()
            load_places(conn, simulated(rows, tuple(box), city.srid, rows), version)
            print(f"{rows:>9,} more, written in {time.perf_counter() - started:.1f} s")
            measure(conn, said, "the list of tests/places_said.csv")
            picked = conn.execute(
                text(
                    "select code, name_zh as said from layers.place where data_source = 'simulated' "
                    "order by md5(code) limit 300"
                )
            )
            rows_said = [dict(row) for row in picked.mappings()]
            measure(conn, rows_said, "300 simulated names in full")
            for row in rows_said:
                row["said"] = row["said"][:1] + "铁" + row["said"][2:]
            measure(conn, rows_said, "the same with a wrong letter")
            conn.execute(text("delete from layers.place where data_source = 'simulated'"))
        conn.rollback()


if __name__ == "__main__":
    main()
