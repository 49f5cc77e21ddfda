"""Run by locator.py in the peers' environment: each library on the same points and polygons; a line of JSON each."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import shapely


def report(engine: str, work: Any, found: Any) -> None:
    """Run it twice, print its best rate and how many answers differ."""
    try:
        rates = []
        for _ in range(2):
            started = time.perf_counter()
            point, row, many = work()
            rates.append(many / (time.perf_counter() - started))
        said = np.full(many, np.iinfo(np.int64).max)
        np.minimum.at(said, np.asarray(point), np.asarray(row))
        said[said == np.iinfo(np.int64).max] = -1
        differ = int((said != found[:many]).sum())
        print(json.dumps({"engine": engine, "rate": max(rates), "differ": differ, "points": many}), flush=True)
    except Exception as error:
        print(json.dumps({"engine": engine, "error": str(error)[:200]}), flush=True)


def main() -> None:
    """All peers."""
    folder = Path(sys.argv[1])
    xy, found = np.load(folder / "xy.npy"), np.load(folder / "found.npy")
    polygons = shapely.from_wkb([bytes.fromhex(one) for one in json.loads((folder / "polygons.json").read_text())])
    points = shapely.points(xy)
    many = len(xy)

    def by_shapely() -> Any:
        return *shapely.STRtree(polygons).query(points, predicate="intersects"), many

    report("shapely STRtree", by_shapely, found)
    spots, areas = gpd.GeoDataFrame(geometry=points), gpd.GeoDataFrame(geometry=polygons)

    def by_geopandas() -> Any:
        joined = gpd.sjoin(spots, areas, predicate="intersects")
        return joined.index.to_numpy(), joined["index_right"].to_numpy(), many

    report("geopandas.sjoin", by_geopandas, found)
    shapes = pa.table({"row": np.arange(len(polygons)), "wkb": pa.array(shapely.to_wkb(polygons), pa.binary())})
    numbers = pa.table({"n": np.arange(many), "x": xy[:, 0], "y": xy[:, 1]})

    try:
        import duckdb

        con = duckdb.connect()
        package = Path(str(importlib.util.find_spec("duckdb_extension_spatial").origin)).parent
        con.load_extension(str(next(package.rglob("spatial.duckdb_extension"))))
        con.register("shapes", shapes)
        con.register("numbers", numbers)
        con.execute("create table shape as select row, st_geomfromwkb(wkb) as geom from shapes")
        con.execute("create table spot as select n, st_point(x, y) as geom from numbers")

        def by_duckdb() -> Any:
            out = con.execute("select p.n, s.row from spot p join shape s on st_intersects(s.geom, p.geom)").arrow()
            out = out.read_all() if hasattr(out, "read_all") else out
            return out.column(0).to_numpy(), out.column(1).to_numpy(), many

        report("DuckDB spatial", by_duckdb, found)
    except Exception as error:
        print(json.dumps({"engine": "DuckDB spatial", "error": str(error)[:200]}), flush=True)
    try:
        import sedonadb

        sd = sedonadb.connect()
        spots_table = pa.table({"n": np.arange(many), "wkb": pa.array(shapely.to_wkb(points), pa.binary())})
        sd.create_data_frame(spots_table).to_view("spots_raw")
        sd.create_data_frame(shapes).to_view("shapes_raw")
        sd.sql("select n, st_geomfromwkb(wkb) as geom from spots_raw").to_memtable().to_view("spot")
        sd.sql("select row, st_geomfromwkb(wkb) as geom from shapes_raw").to_memtable().to_view("shape")

        def by_sedona() -> Any:
            out = sd.sql("select p.n, s.row from spot p join shape s on st_intersects(s.geom, p.geom)").to_arrow_table()
            return out.column(0).to_numpy(), out.column(1).to_numpy(), many

        report("SedonaDB", by_sedona, found)
    except Exception as error:
        print(json.dumps({"engine": "SedonaDB", "error": str(error)[:200]}), flush=True)


if __name__ == "__main__":
    main()
