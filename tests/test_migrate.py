"""Migrations: applied once, never edited, all or nothing; every table, column, index and query is accounted for."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text

import gis.migrate
from gis.db import PACKAGES, Access, ensure_database, queries
from gis.errors import Conflict, Invalid
from gis.migrate import migrate, migrations
from tests.conftest import copy_database
from tests.hamlet import SRID

HOME = Path(__file__).resolve().parents[1]


@pytest.fixture
def migrated(server: Access, blank: str, worker_id: str) -> Iterator[Engine]:
    """A database with the schema, which the test may spoil."""
    engine = server.engine(copy_database(server, blank, f"migrated_{worker_id}"))
    yield engine
    engine.dispose()


@pytest.fixture
def empty(server: Access) -> Iterator[Engine]:
    """A database with PostGIS and nothing else."""
    name = f"empty_{uuid.uuid4().hex[:8]}"
    engine = ensure_database(server, name)
    yield engine
    engine.dispose()
    with server.maintenance() as conn:
        conn.execute(text(f'drop database "{name}" with (force)'))


def change(engine: Engine, statement: str) -> None:
    with engine.begin() as conn:
        conn.execute(text(statement))


def test_the_second_time_nothing_is_applied(migrated: Engine) -> None:
    assert migrate(migrated, SRID) == []


def test_changed_functions_are_applied_again_and_nothing_else(migrated: Engine) -> None:
    change(migrated, "update gis.migration set checksum = 'of an older edition' where name = 'functions'")
    change(migrated, "drop view served.cell")
    assert migrate(migrated, SRID) == ["grids/functions.sql", "layers/functions.sql", "cases/functions.sql"]
    change(migrated, "select * from served.cell")
    assert migrate(migrated, SRID) == []


def test_two_at_once_apply_each_migration_once(empty: Engine, server: Access) -> None:
    other = server.engine(str(empty.url.database))
    applied: list[str] = []
    errors: list[BaseException] = []
    barrier = threading.Barrier(2)

    def run(engine: Engine) -> None:
        try:
            barrier.wait(10)
            applied.extend(migrate(engine, SRID))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(engine,)) for engine in (empty, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    other.dispose()
    assert errors == []
    assert len(applied) == len(set(applied))
    assert set(applied) >= {path.name for path in migrations()}


def test_a_failing_migration_leaves_nothing_and_the_next_run_carries_on(
    migrated: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "0099_more.sql"
    path.write_text("create table cases.half (id int); select 1 / 0;")
    known = migrations()
    monkeypatch.setattr(gis.migrate, "migrations", lambda: [*known, path])
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(migrated, SRID)
    with migrated.connect() as conn:
        assert conn.scalar(text("select to_regclass('cases.half')")) is None
    path.write_text(
        "create table cases.half (id int, geom geometry(Point, :srid), at timestamptz default '2026-01-01'::date);"
    )
    assert migrate(migrated, SRID)[0] == path.name
    with migrated.connect() as conn:
        assert conn.scalar(text("select find_srid('cases', 'half', 'geom')")) == SRID


@pytest.mark.parametrize(
    ("spoil", "srid", "words"),
    [
        ("update gis.migration set checksum = 'x' where name = '0002_grid.sql'", SRID, "0002_grid.sql was edited"),
        ("insert into gis.migration values ('0999_future.sql', 'x')", SRID, "newer Wanmi (it has 0999_future.sql)"),
        ("select 1", 4549, "the database is in EPSG:4545, the city's profile says EPSG:4549"),
    ],
    ids=["edited", "newer", "another system"],
)
def test_a_database_that_does_not_fit_is_refused_and_left_as_it_is(
    migrated: Engine, spoil: str, srid: int, words: str
) -> None:
    change(migrated, spoil)
    with migrated.connect() as conn:
        before = conn.execute(text("select * from gis.migration order by name")).all()
    with pytest.raises(Conflict) as caught:
        migrate(migrated, srid)
    assert words in caught.value.en
    assert caught.value.mend
    with migrated.connect() as conn:
        assert conn.execute(text("select * from gis.migration order by name")).all() == before


@pytest.mark.parametrize("srid", [0, -1, 910002, 10**9])
def test_a_number_that_is_no_system_is_refused_before_anything_is_done(migrated: Engine, srid: int) -> None:
    with pytest.raises((Invalid, Conflict)):
        migrate(migrated, srid)


def test_numbers_of_migrations_are_global_and_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


# ── the schema explains itself ────────────────────────────────────────

OURS = "n.nspname in ('gis', 'grids', 'layers', 'cases', 'served')"
TABLE = "c.relkind in ('r', 'p', 'v') and not c.relispartition"


def test_every_schema_table_and_view_has_a_comment(conn: Connection) -> None:
    silent = conn.execute(
        text(
            f"select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            f"where {OURS} and {TABLE} and obj_description(c.oid, 'pg_class') is null union all "
            f"select n.nspname from pg_namespace n where {OURS} and obj_description(n.oid, 'pg_namespace') is null"
        )
    )
    assert silent.scalars().all() == []


def test_every_column_of_every_table_has_a_comment(conn: Connection) -> None:
    silent = conn.execute(
        text(
            f"select c.oid::regclass || '.' || a.attname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            f"join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped "
            f"where {OURS} and {TABLE} and c.relkind <> 'v' and col_description(c.oid, a.attnum) is null order by 1"
        )
    )
    assert silent.scalars().all() == []


def test_every_index_that_no_constraint_made_and_every_function_has_a_comment(conn: Connection) -> None:
    silent = conn.execute(
        text(
            f"select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            f"where {OURS} and c.relkind in ('i', 'I') and not c.relispartition "
            f"and obj_description(c.oid, 'pg_class') is null "
            f"and not exists (select 1 from pg_constraint k where k.conindid = c.oid) union all "
            f"select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace "
            f"where {OURS} and obj_description(p.oid, 'pg_proc') is null"
        )
    )
    assert silent.scalars().all() == []


def test_columns_that_measure_say_the_unit_and_geometry_says_its_system(conn: Connection) -> None:
    rows = conn.execute(
        text(
            f"select c.relname || '.' || a.attname as name, col_description(c.oid, a.attnum) as said, "
            f"format_type(a.atttypid, a.atttypmod) as type from pg_class c "
            f"join pg_namespace n on n.oid = c.relnamespace "
            f"join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 where {OURS} and {TABLE} and c.relkind <> 'v'"
        )
    ).all()
    units = {"_m": "met", "_m2": "m²", "_at": "UTC"}
    for ending, word in units.items():
        assert [
            row.name for row in rows if row.name.endswith(ending) and word not in row.said.replace("Metres", "met")
        ] == []
    shapes = [row for row in rows if row.type.startswith("geometry")]
    assert len(shapes) == 11
    assert [row.name for row in shapes if str(SRID) not in row.type] == []


# ── named queries ────────────────────────────────────────

NAMES = [(package, name) for package in PACKAGES for name in queries(package)]
CODE = "\n".join(
    path.read_text(encoding="utf-8") for package in (*PACKAGES, "api") for path in (HOME / package).rglob("*.py")
)


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_every_named_query_can_be_planned(conn: Connection, package: str, name: str) -> None:
    for staging in ("stage_components", "stage_census", "stage_reports", "stage_what_if"):
        conn.execute(queries("cases" if staging in ("stage_reports", "stage_what_if") else "layers")[staging])
    if name.startswith("stage_"):
        return  # it makes the tables on which others work, and just has
    statement = queries(package)[name]
    conn.execute(text(f"explain {statement.text}"), dict.fromkeys(statement._bindparams))


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_every_named_query_is_used_by_its_name(package: str, name: str) -> None:
    assert re.search(rf'query\(\s*"{package}",\s*"{name}"\s*\)', CODE)


def test_every_name_that_code_asks_for_is_there() -> None:
    asked = re.findall(r'\bquery\(\s*"(\w+)",\s*"(\w+)"\s*\)', CODE)
    assert asked
    assert set(asked) <= set(NAMES)
