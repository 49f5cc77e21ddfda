"""The border law: for 100 000 places at known distances from borders, who is told to be on one, and the shares.

    ./wanmi demo --once && ./wanmi python tests/bench/border.py [--places 100000]

Places lie beside borders of communities of the demo city, from a thousandth of a metre to 1.3 times the reach away on
either side. What is right is computed with shapely from the communities (cells joined) and circles of 2 048 corners.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import numpy as np
import shapely
from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import make_url

from api.jurisdiction import Asked, located
from cases.border import candidates
from gis.place import Place
from gis.settings import read_settings
from grids.areas import CELLS
from grids.city import read_city

REACHES_M = (10.0, 25.0, 60.0)
STEP_M = 1 / 1024


def places(communities: Any, many: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Places beside borders and the reach of each; snapped."""
    rings = shapely.get_parts(shapely.boundary(communities))
    lengths = shapely.length(rings)
    ring = rng.choice(len(rings), many, p=lengths / lengths.sum())
    along = rng.uniform(0, lengths[ring])
    foot = shapely.get_coordinates(shapely.line_interpolate_point(rings[ring], along))
    ahead = shapely.get_coordinates(
        shapely.line_interpolate_point(rings[ring], np.minimum(along + 0.01, lengths[ring]))
    )
    way = ahead - foot
    way /= np.maximum(np.hypot(*way.T), 1e-12)[:, None]
    reach = np.array(REACHES_M)[rng.integers(0, len(REACHES_M), many)]
    near = rng.random(many) < 0.5  # half of them within a few thousandths of a metre of the reach
    away = np.where(near, reach + rng.integers(-4, 5, many) * STEP_M, rng.uniform(0, 1.3, many) * reach)
    away *= rng.choice([-1, 1], many)
    at = foot + np.stack([-way[:, 1], way[:, 0]], axis=1) * away[:, None]
    return np.round(at / STEP_M) * STEP_M, reach


def measure(conn: Connection, srid: int, many: int) -> None:
    """Print how many are right and how far the shares are off."""
    cells = CELLS.read(conn, srid)
    joined = cells.assign(community=cells["code"].str[:12]).dissolve("community")
    codes, grounds = joined.index.to_numpy(), joined.geometry.to_numpy()
    tree = shapely.STRtree(grounds)
    city = shapely.union_all(grounds)
    rng = np.random.default_rng(1)
    at, reaches = places(grounds, many, rng)
    inside = shapely.intersects_xy(city, at[:, 0], at[:, 1])
    at, reaches = at[inside], reaches[inside]
    wrong, flagged, worst, spent = 0, 0, 0.0, 0.0
    for (x, y), reach in zip(at.tolist(), reaches.tolist(), strict=True):
        started = time.perf_counter()
        rows = located(conn, Place(x, y, srid), Asked(x=x, y=y, srid=srid, accuracy_m=reach)).rows
        found = candidates(rows[0], [row for row in rows if row.kind == "part"])
        spent += time.perf_counter() - started
        point = shapely.Point(x, y)
        near = tree.query(point, predicate="dwithin", distance=reach)
        edge = shapely.distance(shapely.boundary(city), point) <= reach
        expected = len(near) > 1 or edge
        wrong += (len(found) > 1) != expected
        if len(found) < 2 or not expected:
            continue
        flagged += 1
        circle = shapely.buffer(point, reach, quad_segs=512)
        shares: dict[str | None, float] = {}
        for one in found:
            key = one.cell_code and one.cell_code[:12]
            shares[key] = shares.get(key, 0.0) + one.share
        for n in near:
            share = shapely.area(shapely.intersection(grounds[n], circle)) / shapely.area(circle)
            worst = max(worst, abs(share - shares.get(codes[n], 0.0)))
    print(
        f"{len(at):,} places beside borders, reach {', '.join(f'{reach:g}' for reach in REACHES_M)} m: {wrong} wrong, "
        f"{flagged:,} on a border; shares differ by {worst:.5f} at most; {1e3 * spent / len(at):.2f} ms a place"
    )


def main() -> None:
    """Print the figures."""
    words = argparse.ArgumentParser()
    words.add_argument("--places", type=int, default=100_000)
    settings = read_settings()
    city = read_city(settings.home, settings.city)
    engine = create_engine(make_url(os.environ["WANMI_DATABASE_URL"]).set(drivername="postgresql+psycopg"))
    with engine.connect() as conn:
        measure(conn, city.srid, words.parse_args().places)


if __name__ == "__main__":
    main()
