"""How the answer about a place grows: the demo city; with 100 000 cells, 10 000 rules, 1 000 000 components.

    ./wanmi demo --once && ./wanmi python tests/bench/locate.py

Without HTTP (tests/bench/doors.py has that), one connection, in a transaction that is taken back. The cells and
components are those of the demo city, repeated 20 km apart under other districts' codes; the rules are made up, for
classes and areas of the city. Then the set-based assignment of all cases of the city with 7 000 rules.
"""

from __future__ import annotations

import os
import time

import numpy as np
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url

from api.jurisdiction import Asked, jurisdiction
from gis.settings import read_settings
from grids.city import City, read_city

PLACES = text(
    "select st_x(p) as x, st_y(p) as y from (select (st_dump(st_generatepoints(geom, 1, 42))).geom as p "
    "from grids.cell where upper_inf(valid) and left(code, 6) = :district order by md5(code) limit 600) q"
)
MORE_CELLS = text(
    "insert into grids.cell (code, area_class, geom, valid, change_id) "
    "select lpad((700000 + n)::text, 6, '0') || right(code, -6), area_class, st_translate(geom, n * 20000, 0), valid, "
    "change_id from grids.cell cross join generate_series(1, :copies) n where upper_inf(valid) and left(code, 1) <> '7'"
)
MORE_COMPONENTS = text(
    "insert into layers.component (code, edition, class_code, name_zh, cell_code, maintainer_unit_id, state, "
    "data_source, attrs, geom, valid, change_id) select lpad((700000 + n)::text, 6, '0') || right(code, -6), "
    "edition, class_code, name_zh, cell_code, maintainer_unit_id, state, data_source, attrs, "
    "st_translate(geom, n * 20000, 0), valid, change_id "
    "from layers.component cross join generate_series(1, :copies) n where upper_inf(valid) and left(code, 1) <> '7'"
)
MORE_RULES = text(
    "with made as (insert into cases.rule (code, class_prefix, area_prefix, source_document, valid, change_id) "
    "select 'X' || row_number() over (), l.code, a.code, 'made up', c.valid, c.change_id "
    "from layers.class l cross join (select code from grids.area where length(code) = 12 union all "
    "(select code from grids.cell where upper_inf(valid) and left(code, 1) <> '7' order by md5(code) limit 60)) a "
    "cross join (select valid, change_id from cases.rule limit 1) c where l.edition = layers.edition_at(null) "
    "order by md5(l.code || a.code) limit :many returning id) "
    "insert into cases.rule_role (rule_id, rank, resolved_by) select id, 1, 'street' from made"
)


def measure(conn: Connection, city: City, words: str) -> float:
    """Print and return the median time of an answer in milliseconds."""
    classes = list(
        conn.scalars(text("select code from layers.class where edition = layers.edition_at(null) order by 1"))
    )
    places = conn.execute(PLACES, {"district": city.profile["districts"][0]}).all()
    times = []
    for n, place in enumerate(places):
        asked = Asked(x=place.x, y=place.y, srid=city.srid, class_code=classes[n * 7 % len(classes)])
        started = time.perf_counter()
        jurisdiction(conn, city, asked)
        times.append((time.perf_counter() - started) * 1e3)
    p50, p95 = np.percentile(times, [50, 95])
    counts = conn.execute(
        text(
            "select (select count(*) from grids.cell) as cells, (select count(*) from cases.rule) as rules, "
            "(select count(*) from layers.component) as components"
        )
    ).one()
    sizes = f"{counts.cells:,} cells, {counts.rules:,} rules, {counts.components:,} components"
    print(f"{words}: {sizes}: p50 {p50:.2f} ms, p95 {p95:.2f} ms", flush=True)
    return float(p50)


def assign_all(conn: Connection) -> None:
    """Print how fast all cases of the city are assigned, without writing."""
    statement = text(
        "select count(a.unit_id) as led, count(*) as n from (select array_agg(geom) as p, array_agg(class_code) as k, "
        "array_agg(condition_no) as c, array_agg(component_code) as m, array_agg(accuracy_m) as r "
        "from (select *, row_number() over () / 4000 as batch from cases.case) q group by batch) g "
        "cross join lateral cases.assign(g.p, g.k, g.c, g.m, g.r) a"
    )
    times = []
    for _ in range(3):
        started = time.perf_counter()
        row = conn.execute(statement).one()
        times.append(time.perf_counter() - started)
    rules = conn.execute(text("select count(*) from cases.rule")).scalar_one()
    print(
        f"assigned in sets of 4 000 with {rules:,} rules: {row.n:,} cases, {row.n / min(times):,.0f} a second",
        flush=True,
    )


def main() -> None:
    """Print the figures."""
    settings = read_settings()
    city = read_city(settings.home, settings.city)
    engine = create_engine(make_url(os.environ["WANMI_DATABASE_URL"]).set(drivername="postgresql+psycopg"))
    with engine.connect() as conn:
        measure(conn, city, "warm up")
        small = measure(conn, city, "as it is")
        assign_all(conn)
        conn.execute(MORE_RULES, {"many": 6_750})
        conn.execute(text("analyze cases.rule, cases.rule_role"))
        assign_all(conn)
        conn.execute(text("delete from cases.rule where code like 'X%'"))
        conn.execute(MORE_RULES, {"many": 9_750})
        conn.execute(MORE_CELLS, {"copies": 35})
        conn.execute(MORE_COMPONENTS, {"copies": 12})
        conn.execute(text("analyze cases.rule, cases.rule_role, grids.cell, layers.component"))
        large = measure(conn, city, "enlarged")
        print(f"{large / small:.2f} times")
        conn.rollback()


if __name__ == "__main__":
    main()
