"""How fast files are read in batches, and in how much memory.

    ./wanmi python tests/bench/formats.py [GEOJSON_MB]

Points with a code and nine texts, written to a temporary folder: a million as GeoPackage, shapefile (GBK), FlatGeobuf
and CSV, and a GeoJSON of so many megabytes (default 400). Each is read by a process of its own, whose greatest memory
is shown.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import shapely

from gis.formats import open_vector, write_vector

ROWS = 1_000_000


def most_mb() -> float:
    """The greatest memory of this process so far (ru_maxrss would count that of the one that started it)."""
    said = Path("/proc/self/status").read_text(encoding="ascii")
    return int(said.partition("VmHWM:")[2].split()[0]) / 1024


BARE_MB = most_mb()


def read(path: Path) -> None:
    """Read all batches of a file; print what it took."""
    start = time.perf_counter()
    rows = 0
    with open_vector(path) as file:
        opened = time.perf_counter() - start
        for batch in file.batches():
            rows += len(batch.frame)
    took = time.perf_counter() - start
    size = path.stat().st_size / 2**20
    print(
        f"{path.suffix:<9}{size:>7,.0f} MB{rows:>11,} rows  opened {opened:5.1f} s  read {took:5.1f} s"
        f"  most memory {most_mb():,.0f} MB ({BARE_MB:,.0f} of it before)"
    )


def survey(rows: int) -> gpd.GeoDataFrame:
    """Made-up lamps."""
    random = np.random.default_rng(5)
    columns = {"code": [f"6109020137{n:06d}" for n in range(rows)]}
    for n in range(9):
        columns[f"text{n}"] = random.choice([f"文本 {kind} value {n}" for kind in range(2_000)], rows)
    return gpd.GeoDataFrame(columns, geometry=shapely.points(random.random((rows, 2)) * 2e4 + [5e5, 36e5]), crs=4545)


def write_geojson(path: Path, megabytes: int) -> None:
    """A GeoJSON file of about so many megabytes, feature by feature."""
    with path.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [\n')
        n = 0
        while file.tell() < megabytes * 2**20:
            for _ in range(1_000):
                words = {"code": f"6109020137{n % 10**6:06d}", "name": f"路灯 {n % 977}", "note": "x" * 120}
                shape = {"type": "Point", "coordinates": [109 + n * 1e-8, 32.7]}
                feature = {"type": "Feature", "properties": words, "geometry": shape}
                file.write((",\n" if n else "") + json.dumps(feature, ensure_ascii=False))
                n += 1
        file.write("\n]}\n")


def main(megabytes: int) -> None:
    """Write the files, and have each read by itself."""
    with tempfile.TemporaryDirectory() as folder:
        frame = survey(ROWS)
        for suffix in (".gpkg", ".shp", ".fgb", ".csv"):
            write_vector(frame, Path(folder) / f"lamps{suffix}", encoding="gbk")
            subprocess.run([sys.executable, __file__, "--read", f"{folder}/lamps{suffix}"], check=True)
        del frame
        write_geojson(Path(folder) / "lamps.geojson", megabytes)
        subprocess.run([sys.executable, __file__, "--read", f"{folder}/lamps.geojson"], check=True)


if __name__ == "__main__":
    print(f"GDAL {pyogrio.__gdal_version_string__}") if "--read" not in sys.argv else None
    if "--read" in sys.argv:
        read(Path(sys.argv[-1]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
