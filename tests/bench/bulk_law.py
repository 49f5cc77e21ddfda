"""The law of the bulk path: SQL, frame, Locator and Dask give every place the same answer. Ends with 1 if one does not.

    ./wanmi demo --once && ./wanmi python tests/bench/bulk_law.py [CITY] [--random 1000000] [--nasty 100000]

Random places lie on the city's own grid. The nasty ones lie half on it and half on a grid of its own around x = 3.65e7:
vertices, edges, the lines of rows and columns through vertices, each also one ulp and one tick of the lattice beside;
slivers, fans of cells around one corner, bricks, cells twice, nearly parallel edges, holes; zones along all of these.
What is asked is snapped by each as it snaps what comes in. All is done in a transaction that is rolled back.

The Locator is asked for places that are not snapped, too. PostGIS decides these in doubles, so that where it says
otherwise exact arithmetic says who is right: the Locator must be.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from distributed import LocalCluster
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url

from cases.bulk import Plan, alone, prepare
from cases.bulk_read import Columns, columns_of, open_source
from cases.bulk_write import finish
from cases.cluster import assign_on_cluster
from cases.duty import load_rules
from cases.standing import COLUMNS, Standing, assign_frame, read_standing
from gis.crs import SNAP, snap
from gis.db import database_name
from gis.history import record_change
from gis.settings import read_settings
from grids.city import City, read_city

FAR = np.array([36_500_000.0, 3_600_000.0])
ANSWER = text("""
select a.ord - 1 as n, a.cell_code, a.placed, u.code as unit,
  (select string_agg(h.code, ';' order by h.code collate "C") from layers.unit h where h.id = any (a.assisting_ids)),
  a.basis, a.resolved_by, r.code as rule,
  (select string_agg(z.code, ';' order by z.code collate "C") from cases.rule z where z.id = any (a.zone_rule_ids))
from cases.assign(
  array(select st_snaptogrid(st_setsrid(st_makepoint(x, y), :srid), 1.0 / 1024)
    from unnest(cast(:x as float8[]), cast(:y as float8[])) with ordinality p (x, y, n) order by n),
  cast(:classes as text[]), cast(:conditions as integer[]), cast(:components as text[])) a
left join layers.unit u on u.id = a.unit_id left join cases.rule r on r.id = a.rule_id order by a.ord""")
SAID = ("cell_code", "placed", "unit", "assisting", "basis", "resolved_by", "rule", "zones")  #: by ANSWER
PIECE = 5_000  #: places in a call of cases.assign

# ── a world that is hard ────────────────────────────────────────


def nasty_cells(rng: np.random.Generator, blocks: int) -> Any:
    """Polygons, snapped; in blocks of 600 m, each of another kind."""
    made: list[Any] = []
    for block in range(blocks):
        corner = FAR + 700.0 * np.array([block % 8, block // 8])
        made += [shapely.transform(one, lambda xy, by=corner: xy + by) for one in KINDS[block % len(KINDS)](rng)]
    cells = np.array([snap(one) for one in made], dtype=object)
    return cells[(shapely.get_type_id(cells) == 3) & ~shapely.is_empty(cells) & shapely.is_valid(cells)]


def _fan(rng: np.random.Generator) -> list[Any]:
    """Triangles around one corner, their sides of any direction."""
    turns = np.sort(rng.uniform(0, 2 * np.pi, 40))
    rim = np.rint((300 + 280 * np.column_stack([np.cos(turns), np.sin(turns)])) * 1024) / 1024
    return [shapely.Polygon([(300, 300), a, b]) for a, b in pairwise([*rim, rim[0]])]


def _bricks(rng: np.random.Generator) -> list[Any]:
    """Boxes whose corners lie on the middles of others' sides."""
    return [
        shapely.box(x + shift, y, x + 60 + shift, y + 30)
        for y, shift in zip(range(0, 300, 30), [0.0, 30.0] * 5, strict=True)
        for x in range(0, 540, 60)
    ]


def _slivers(rng: np.random.Generator) -> list[Any]:
    """Between lines from one corner that part by a tick; and crossing each other at next to no angle."""
    ends = [(600, n * SNAP * int(rng.integers(1, 4))) for n in range(30)]
    found = [shapely.Polygon([(0, 0), a, b]) for a, b in pairwise(ends) if a[1] < b[1]]
    for n in range(10):
        y = 100.0 + 40 * n
        found.append(shapely.Polygon([(0, y), (600, y + SNAP), (600, y + 20), (0, y + 20)]))
        found.append(shapely.Polygon([(0, y + SNAP), (600, y), (600, y - 10), (0, y - 10)]))
    return found


def _cells_twice(rng: np.random.Generator) -> list[Any]:
    """A bent coverage, some of it there twice, some with a part of an edge in common only."""
    seeds = shapely.multipoints(rng.uniform(0, 600, (36, 2)))
    box = shapely.box(0, 0, 600, 600)
    cells = shapely.get_parts(shapely.voronoi_polygons(seeds, extend_to=box))
    cells = [snap(one) for one in shapely.intersection(cells, box)]
    return [*cells, *cells[::5], *(shapely.box(*one.bounds) for one in cells[::12])]


def _holes(rng: np.random.Generator) -> list[Any]:
    """Rings in rings that touch each other at corners; the innermost is filled."""
    found, around = [], None
    for n in range(10):
        half = 280.0 / 1.3**n
        inner = [(300 - half, 300), (300, 300 - half), (300 + half, 300), (300, 300 + half)]
        shape = snap(shapely.Polygon(inner) if n % 2 else shapely.box(300 - half, 300 - half, 300 + half, 300 + half))
        if around is not None:
            found.append(around - shape)
        around = shape
    return [*(part for one in found for part in shapely.get_parts(one).tolist()), around]


KINDS = (_fan, _bricks, _slivers, _cells_twice, _holes)


def put_cells(conn: Connection, city: City, rng: np.random.Generator, blocks: int) -> None:
    """Nasty cells instead of those of the city, in its communities."""
    found = "select distinct community_code from grids.cell where upper_inf(valid) order by 1"
    communities = conn.scalars(text(found)).all()
    cells = nasty_cells(rng, blocks)
    codes = [f"{communities[n % len(communities)]}{n // len(communities) + 1:03}" for n in range(len(cells))]
    conn.execute(text("update grids.cell set valid = tstzrange(lower(valid), now()) where upper_inf(valid)"))
    conn.execute(
        text(
            "insert into grids.cell (code, geom, valid, change_id) "
            "select code, st_setsrid(st_geomfromwkb(shape), :srid), tstzrange(now(), null), "
            "(select max(id) from gis.change) "
            "from unnest(cast(:codes as text[]), cast(:shapes as bytea[])) q (code, shape)"
        ),
        {
            "srid": city.srid,
            "codes": codes,
            "shapes": [shapely.to_wkb(cell) for cell in cells[rng.permutation(len(cells))]],
        },
    )


def put_rules(conn: Connection, city: City, rng: np.random.Generator, many: int) -> None:
    """Rules of every kind of class, area, condition and role; zones that are cells, several of them, or boxes."""
    rows = conn.execute(
        text("select code, st_asbinary(geom) from grids.cell where upper_inf(valid) order by code")
    ).all()
    codes, shapes = [row[0] for row in rows], shapely.from_wkb([bytes(row[1]) for row in rows])
    units = conn.scalars(text("select code from layers.unit order by code limit 6")).all()
    keys = [*(f"unit:{unit}" for unit in units), "maintainer", "owner", "cell", "community", "street", "district"]
    classes = _classes(conn)
    rules = []
    for n in range(many):
        row = int(rng.integers(0, len(codes)))
        near = shapely.STRtree(shapes).query(shapes[row], predicate="intersects")[: int(rng.integers(1, 6))]
        zone = [None, shapes[row], shapely.union_all(shapes[near]), shapely.box(*shapes[row].bounds)][n % 4]
        name = str(rng.choice(list(classes)))
        rules.append(
            {
                "code": f"LAW{n:03}",
                "class_prefix": str(rng.choice(["", name[:1], name[:3], name])),
                "condition_no": rng.choice([None, None, 1, 2]),
                "area_prefix": codes[row][: int(rng.choice([0, 4, 6, 9, 12, 15]))],
                "roles": "|".join(rng.choice(keys, int(rng.integers(1, 4)), replace=False).tolist()),
                "zone": zone,
                "source_document": "made up",
                "source_on": None,
            }
        )
    frame = pd.DataFrame(rules)
    frame["condition_no"] = frame["condition_no"].astype("Int64")
    version = record_change(conn, since=datetime(2026, 1, 1, tzinfo=UTC), actor="law", reason="a law")
    load_rules(conn, frame, city.srid, version)
    conn.execute(text("analyze grids.cell, cases.rule"))


def _classes(conn: Connection) -> dict[str, list[int]]:
    """Classes of the catalogue and their conditions."""
    rows = conn.execute(
        text(
            "select c.code, array_agg(k.no) filter (where k.no is not null) from layers.class c "
            "left join layers.condition k on k.edition = c.edition and k.class_code = c.code "
            "where c.edition = layers.edition_at(null) group by c.code order by c.code"
        )
    )
    return {code: numbers or [] for code, numbers in rows}


# ── what is asked ────────────────────────────────────────


def random_places(shapes: Any, rng: np.random.Generator, many: int) -> Any:
    """Even over the ground, and some metres around it."""
    west, south, east, north = shapely.total_bounds(shapes)
    return np.column_stack([rng.uniform(west - 60, east + 60, many), rng.uniform(south - 60, north + 60, many)])


def nasty_places(shapes: Any, rng: np.random.Generator, many: int, tolerance_m: float) -> Any:
    """On vertices and edges, on the lines through vertices, a tolerance away; an ulp or a tick beside these, or not."""
    rings = shapely.get_rings(shapes)
    xy = shapely.get_coordinates(rings)
    ends = np.cumsum(shapely.get_num_coordinates(rings))
    starts = np.setdiff1d(np.arange(len(xy)), ends - 1)
    first = starts[rng.integers(0, len(starts), many)]
    a, b = xy[first], xy[first + 1]
    part = np.where(rng.random(many) < 0.5, rng.choice([0.25, 0.5, 0.75], many), rng.random(many))[:, None]
    other = xy[np.clip(first + rng.integers(-40, 40, many), 0, len(xy) - 1)]
    away = tolerance_m * np.array([[0, 1], [1, 0], [0, -1], [-1, 0], [0.6, 0.8], [-0.8, 0.6]])
    kinds = [
        a,
        a + part * (b - a),
        np.column_stack([a[:, 0], other[:, 1]]),
        np.column_stack([other[:, 0], a[:, 1]]),
        a + away[rng.integers(0, len(away), many)],
    ]
    places = np.stack(kinds)[rng.integers(0, len(kinds), many), np.arange(many)]
    step = rng.integers(-1, 2, places.shape)
    by_ulp = np.where(step == 0, places, np.nextafter(places, np.where(step > 0, np.inf, -np.inf)))
    beside = rng.integers(0, 3, (many, 1))
    return np.where(beside == 0, places, np.where(beside == 1, by_ulp, places + step * SNAP))


def asked_at(conn: Connection, places: Any, rng: np.random.Generator) -> pd.DataFrame:
    """A frame of reports at some places: classes of the catalogue or none, their conditions, components or none."""
    classes = _classes(conn)
    names = rng.choice(sorted(classes), min(40, len(classes)), replace=False).tolist()
    pairs = [(None, None), *((name, number) for name in names for number in [None, *classes[name][:2]])]
    chosen = rng.integers(0, len(pairs), len(places))
    known = conn.scalars(text("select code from layers.component where upper_inf(valid) order by code limit 400")).all()
    components = [None] * (3 * len(known) + 3) + ["nobody knows it", *known]
    drawn = rng.integers(0, len(components), len(places))
    return pd.DataFrame(
        {
            "x": places[:, 0],
            "y": places[:, 1],
            "class_code": pd.Categorical(np.array([name for name, _ in pairs], dtype=object)[chosen]),
            "condition_no": pd.array(np.array([number for _, number in pairs], dtype=object)[chosen], dtype="Int64"),
            "component_code": pd.Categorical(np.array(components, dtype=object)[drawn]),
        }
    )


# ── who says what ────────────────────────────────────────


def by_sql(conn: Connection, city: City, asked: pd.DataFrame) -> dict[str, Any]:
    """The columns SAID, as cases.assign gives them."""
    rows: list[Any] = []
    for start in range(0, len(asked), PIECE):
        part = asked.iloc[start : start + PIECE].astype(object)
        part = part.where(part.notna(), None)
        names = ("x", "y", "class_code", "condition_no", "component_code")
        values = dict(
            zip(("x", "y", "classes", "conditions", "components"), (part[n].tolist() for n in names), strict=True)
        )
        rows += [tuple(row)[1:] for row in conn.execute(ANSWER, {**values, "srid": city.srid})]
    return {name: _texts(column) for name, column in zip(SAID, zip(*rows, strict=True), strict=True)}


def by_frame(asked: pd.DataFrame, standing: Standing) -> dict[str, Any]:
    """The same columns, as assign_frame gives them."""
    frame = assign_frame(asked, standing).frame()
    return {name: _texts(frame[name].astype(object)) for name in SAID}


def by_dask(asked: pd.DataFrame, standing: Standing, folder: Path, scheduler: str) -> dict[str, Any]:
    """The same columns, as workers write them; of rows that are refused only where and why."""
    path, out = folder / "asked.parquet", folder / "answered"
    frame = asked.assign(id=np.arange(len(asked)))
    pq.write_table(pa.Table.from_pandas(frame), path, row_group_size=max(1000, len(frame) // 8))
    source = open_source(path, part_rows=max(1000, len(frame) // 8))
    columns = columns_of(source, Columns(srid=standing.srid), standing.srid)
    plan = Plan(columns=columns, keep=("id",), answers=COLUMNS, prefix="", folder="")
    plan = prepare(source, out, plan, standing.mark, overwrite=True)
    with alone(plan):
        report = assign_on_cluster(source, plan, standing, scheduler=scheduler, progress=lambda *_: None)
        finish(plan, out, report, overwrite=True)
    found = {name: np.full(len(asked), "", dtype=object) for name in SAID}
    said = pq.read_table(out).to_pandas()
    for name in SAID:
        found[name][said["id"]] = _texts(said[name].astype(object))
    rejected = out.with_name("answered.rejected.csv")
    if rejected.exists():
        refused = pd.read_csv(rejected)
        assert set(refused["reason"]) == {"outside"}, "what is asked is known to the catalogue"
        found["placed"][refused["row"] - 1] = "outside"
        found["basis"][refused["row"] - 1] = "nobody"
    return found


def _texts(column: Any) -> Any:
    series = pd.Series(list(column), dtype=object)
    return series.where(series.notna(), "").to_numpy()


def differing(one: dict[str, Any], other: dict[str, Any]) -> Any:
    """The rows of which two say otherwise."""
    return np.flatnonzero(np.any([one[name] != other[name] for name in SAID], axis=0))


def compare(
    conn: Connection, city: City, standing: Standing, asked: pd.DataFrame, folder: Path, scheduler: str
) -> dict[str, int]:
    """How many places each answers otherwise than SQL; the first of them are printed."""
    sql = by_sql(conn, city, asked)
    located = standing.locator.locate(*(snap(asked[axis].to_numpy()) for axis in ("x", "y")))
    inside = np.where(sql["placed"] == "inside", sql["cell_code"], "")
    apart = {
        "frame": differing(sql, by_frame(asked, standing)),
        "Locator": np.flatnonzero(np.append(standing.codes, "")[located] != inside),
        "Dask": differing(sql, by_dask(asked, standing, folder, scheduler)),
    }
    for name, rows in apart.items():
        for row in rows[:5].tolist():
            print(f"    {name}: {asked.iloc[row].to_dict()}, SQL: {[sql[one][row] for one in SAID]}")
    kinds = {"places": len(asked), "answers": len({tuple(row) for row in zip(*sql.values(), strict=True)})}
    counts = {name: int((sql["placed"] == name).sum()) for name in ("inside", "nearest", "outside")}
    return kinds | counts | {name: len(rows) for name, rows in apart.items()}


# ── places that are not snapped ────────────────────────────────────────


def covers_exactly(shape: Any, x: float, y: float) -> bool:
    """Whether a polygon covers a point, in rational numbers: nothing is rounded."""
    px, py, inside = Fraction(x), Fraction(y), False
    for ring in shapely.get_rings(shapely.get_parts(shape)):
        corners = [(Fraction(a), Fraction(b)) for a, b in shapely.get_coordinates(ring).tolist()]
        for (ax, ay), (bx, by) in pairwise(corners):
            side = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
            if side == 0 and min(ax, bx) <= px <= max(ax, bx) and min(ay, by) <= py <= max(ay, by):
                return True
            if (ay <= py) != (by <= py):
                inside ^= (side < 0) == (ay <= py)
    return inside


def raw(conn: Connection, city: City, standing: Standing, places: Any) -> dict[str, int]:
    """The Locator and PostGIS on places as they are: where they differ, how often each is wrong."""
    found = standing.locator.locate(*np.ascontiguousarray(places.T))
    covering = text(
        "select coalesce((select min(c.code) from grids.cell c "
        "where upper_inf(c.valid) and st_covers(c.geom, p.point)), '') "
        "from unnest(cast(:x as float8[]), cast(:y as float8[])) with ordinality q (x, y, n), "
        "lateral (select st_setsrid(st_makepoint(q.x, q.y), :srid) as point) p order by q.n"
    )
    said: list[str] = []
    for start in range(0, len(places), PIECE):
        x, y = places[start : start + PIECE].T.tolist()
        said += conn.scalars(covering, {"x": x, "y": y, "srid": city.srid})
    mine, theirs = np.append(standing.codes, "")[found], np.array(said, dtype=object)
    shapes = standing.cells.geometry.to_numpy()
    wrong = {"Locator": 0, "PostGIS": 0}
    rows = np.flatnonzero(mine != theirs)
    if len(rows):
        tree = shapely.STRtree(shapely.envelope(shapes))
        for row in rows.tolist():
            near = np.sort(tree.query(shapely.Point(places[row]), predicate="intersects"))
            covering_rows = [n for n in near.tolist() if covers_exactly(shapes[n], *places[row])]
            right = standing.codes[covering_rows[0]] if covering_rows else ""
            wrong["Locator"] += mine[row] != right
            wrong["PostGIS"] += theirs[row] != right
    return {"places": len(places), "differ": len(rows)} | {f"{name} wrong": count for name, count in wrong.items()}


# ── all ────────────────────────────────────────


def main() -> None:
    """Print what was compared and what differs."""
    words = argparse.ArgumentParser()
    words.add_argument("city", nargs="?", default=os.environ.get("WANMI_CITY", "ankang"))
    words.add_argument("--random", type=int, default=1_000_000)
    words.add_argument("--nasty", type=int, default=100_000)
    words.add_argument("--seed", type=int, default=1)
    said = words.parse_args()
    city = read_city(read_settings().home, said.city)
    url = make_url(os.environ["WANMI_DATABASE_URL"]).set(
        drivername="postgresql+psycopg", database=database_name(city.id)
    )
    rng, wrong = np.random.default_rng(said.seed), 0

    def tell(name: str, counts: dict[str, int]) -> None:
        nonlocal wrong
        wrong += sum(counts.get(one, 0) for one in ("frame", "Locator", "Dask", "Locator wrong"))
        print(f"  {name}: " + ", ".join(f"{one} {count:,}" for one, count in counts.items()), flush=True)

    print(f"{city.id}: places of each kind, and how many are answered otherwise than by SQL")
    with (
        tempfile.TemporaryDirectory() as place,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        create_engine(url).connect() as conn,
    ):
        for name, blocks in (("the city's grid", 0), ("the nasty grid", 30)):
            if blocks:
                put_cells(conn, city, rng, blocks)
            put_rules(conn, city, rng, 60)
            standing = read_standing(conn, city)
            shapes = standing.cells.geometry.to_numpy()
            hard = nasty_places(shapes, rng, said.nasty // 2, city.tolerance_m)
            plain = random_places(shapes, rng, said.random // (10 if blocks else 1))
            for kind, places in (("nasty", hard), ("random", plain)):
                asked = asked_at(conn, places, rng)
                tell(f"{name}, {kind}", compare(conn, city, standing, asked, Path(place), cluster.scheduler_address))
            tell(f"{name}, not snapped", raw(conn, city, standing, hard))
            conn.rollback()
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
