"""The database's door: COPY keeps every value, locks exclude, errors are translated, addresses are checked."""

from __future__ import annotations

import math
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime

import geopandas as gpd
import numpy as np
import pandas as pd
import psycopg
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from shapely import LineString, Point, Polygon
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from gis.db import Access, access, advisory_lock, copy_frame, ensure_database, read_frame, translated
from gis.errors import Conflict, Invalid, NotFound, Unavailable, UnfitSetting
from gis.settings import Settings, read_settings
from tests.conftest import silent

quick = hypothesis_settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)

# ── COPY ────────────────────────────────────────

TEXTS = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
ROWS = st.lists(
    st.tuples(
        TEXTS,
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.floats(width=64),
        st.none() | st.dictionaries(st.text("甲\"',\\\n", max_size=3), TEXTS | st.integers(-9, 9), max_size=3),
        st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
        st.booleans(),
        st.none() | st.dates(date(1900, 1, 1), date(2200, 1, 1)),
    ),
    max_size=6,
)


@pytest.fixture
def scratch(conn: Connection) -> Connection:
    """A connection with a table of every kind of column."""
    conn.execute(
        text(
            "create temporary table kinds (row_no integer, word text, number bigint, measure double precision, "
            "attrs jsonb, at timestamptz, flag boolean, day date) on commit drop"
        )
    )
    return conn


@quick
@given(rows=ROWS)
@example(
    rows=[
        (word, None, math.nan, None, None, True, None)
        for word in (
            "",
            None,
            "\\N",
            "\\.",
            "a,b",
            'say "hi"',
            "two\nlines",
            "a\rb",
            "\t",
            "\\",
            "NULL",
            "nan",
            " ",
            "'",
            "路灯",
        )
    ]
)
@example(
    rows=[
        ("two\n\\.\nlines", 1, -0.0, {"材质": "铸铁"}, datetime(2026, 3, 2, 4, 0, 0, 1, UTC), False, date(2026, 3, 2))
    ]
)
@example(
    rows=[(None, None, math.inf, None, None, True, None)] * 60
    + [(None, None, 0.1, {"after": "many"}, None, True, None)]
)
def test_a_copied_frame_comes_back_as_it_went(scratch: Connection, rows: list[tuple[object, ...]]) -> None:
    columns = ["word", "number", "measure", "attrs", "at", "flag", "day"]
    frame = pd.DataFrame(rows, columns=columns, dtype=object)
    frame = frame.assign(
        row_no=range(len(frame)),
        number=frame["number"].astype("Int64"),
        measure=frame["measure"].astype(float),
        at=pd.to_datetime(frame["at"], utc=True),
        flag=frame["flag"].astype(bool),
    )
    scratch.execute(text("truncate kinds"))
    assert copy_frame(scratch, frame, "kinds") == len(rows)
    back = scratch.execute(text(f"select {', '.join(columns)} from kinds order by row_no")).all()
    assert [tuple(row) for row in back] == [
        (*row[:2], None if math.isnan(row[2]) else row[2], *row[3:]) for row in rows
    ]


@pytest.mark.parametrize("word", ["", "\\N", "\\.", "\\", '"', "\n", "a\rb", "路灯", None])
def test_a_single_column_keeps_the_words_that_could_be_taken_for_something_else(
    scratch: Connection, word: str | None
) -> None:
    copy_frame(scratch, pd.DataFrame({"word": pd.Series([word, "next"], dtype=object)}), "kinds")
    assert scratch.execute(text("select word from kinds")).scalars().all() == [word, "next"]


def test_geometry_comes_back_with_its_system_and_a_missing_one_as_null(conn: Connection) -> None:
    conn.execute(text("create temporary table shapes (n integer, geom geometry) on commit drop"))
    shapes = [Point(1 / 3, 2**-10), LineString([(0, 0), (1, 1e-9)]), Polygon([(0, 0), (1, 0), (1, 1)]), None]
    copy_frame(conn, gpd.GeoDataFrame({"n": range(4), "geom": gpd.GeoSeries(shapes, crs=4545)}), "shapes")
    back = conn.execute(text("select st_srid(geom) as srid, st_asbinary(geom) as wkb from shapes order by n")).all()
    assert [row.srid for row in back] == [4545, 4545, 4545, None]
    assert [row.wkb and bytes(row.wkb) for row in back] == [shape and shape.wkb for shape in shapes]


def test_columns_go_by_name_and_an_empty_frame_is_none(scratch: Connection) -> None:
    frame = pd.DataFrame({"number": [1, 2], "not_there": ["x", "y"], "word": ["a", "b"]})
    assert copy_frame(scratch, frame, "kinds", ["word", "number"]) == 2
    assert copy_frame(scratch, frame.iloc[:0], "kinds", ["word", "number"]) == 0
    found = read_frame(scratch, text("select word, number from kinds where number > :least order by 2"), least=0)
    assert found.to_dict("list") == {"word": ["a", "b"], "number": [1, 2]}


def test_long_frames_are_copied_in_parts_and_progress_grows_to_one(
    scratch: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gis.db.COPY_ROWS", 7)
    told: list[float] = []
    copy_frame(scratch, pd.DataFrame({"number": np.arange(30)}), "kinds", progress=told.append)
    assert scratch.scalar(text("select sum(number) from kinds")) == sum(range(30))
    assert told == sorted(told)
    assert (len(told), told[-1]) == (5, 1.0)


# ── locks ────────────────────────────────────────


@pytest.fixture
def other_engine(server: Access, hamlet_engine: Engine) -> Iterator[Engine]:
    """A second command's pool on the same database."""
    engine = server.engine(str(hamlet_engine.url.database))
    yield engine
    engine.dispose()


def held_meanwhile(engine: Engine, name: str, inside: list[str], waits: Callable[[], None]) -> threading.Thread:
    def hold() -> None:
        with advisory_lock(engine, name, wait=waits):
            inside.append("second")

    thread = threading.Thread(target=hold)
    thread.start()
    return thread


def test_a_lock_keeps_others_out_until_it_is_given_back(hamlet_engine: Engine, other_engine: Engine) -> None:
    inside, waits = [], threading.Event()
    with advisory_lock(hamlet_engine, "door"):
        thread = held_meanwhile(other_engine, "door", inside, waits.set)
        assert waits.wait(10), "the second one says once that it waits"
        with advisory_lock(other_engine, "another door", wait=pytest.fail):
            inside.append("first")
    thread.join(10)
    assert inside == ["first", "second"]


def test_a_lock_is_given_back_when_the_work_fails(hamlet_engine: Engine, other_engine: Engine) -> None:
    with pytest.raises(KeyboardInterrupt), advisory_lock(hamlet_engine, "door"):
        raise KeyboardInterrupt
    with advisory_lock(other_engine, "door", wait=pytest.fail):
        pass


def test_the_lock_of_a_dead_connection_is_free(hamlet_engine: Engine, server: Access) -> None:
    inside, waits = [], threading.Event()
    doomed = psycopg.connect(server.url(str(hamlet_engine.url.database)), autocommit=True)
    doomed.execute("select pg_advisory_lock(hashtextextended('wanmi:door', 0))")
    thread = held_meanwhile(hamlet_engine, "door", inside, waits.set)
    assert waits.wait(10)
    with server.maintenance() as conn:
        conn.execute(text("select pg_terminate_backend(:pid)"), {"pid": doomed.info.backend_pid})
    thread.join(10)
    assert inside == ["second"]
    doomed.close()


# ── errors of the database ────────────────────────────────────────


def raised(conn: Connection, statement: str) -> DBAPIError:
    with pytest.raises(DBAPIError) as caught, conn.begin_nested():
        conn.execute(text(statement))
    return caught.value


@pytest.mark.parametrize(("state", "kind"), [("WM404", NotFound), ("WM409", Conflict), ("WM422", Invalid)])
def test_an_error_raised_on_purpose_becomes_one_of_the_family_in_both_languages(
    conn: Connection, state: str, kind: type
) -> None:
    error = raised(conn, f"do $$ begin raise exception 'no such case | 没有该案卷' using errcode = '{state}'; end $$")
    for form in (error, error.orig):
        found = translated(form)
        assert type(found) is kind
        assert (found.en, found.zh) == ("no such case", "没有该案卷")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("53100", "out of room"),
        ("53200", "out of room"),
        ("53300", "out of room"),
        ("57P01", "is gone"),
        ("08006", "is gone"),
    ],
)
def test_trouble_of_the_machine_becomes_unavailable_with_what_to_do(conn: Connection, state: str, words: str) -> None:
    found = translated(raised(conn, f"do $$ begin raise exception 'trouble' using errcode = '{state}'; end $$"))
    assert type(found) is Unavailable
    assert words in found.en
    assert "trouble" in found.en
    assert "again" in (found.mend or "")


@pytest.mark.parametrize("statement", ["select 1 / 0", "select * from nowhere", "selec 1", "select 'x'::integer"])
def test_a_defect_of_ours_is_not_hidden(conn: Connection, statement: str) -> None:
    assert translated(raised(conn, statement)) is None


def test_a_connection_cut_in_the_middle_is_unavailable(server: Access) -> None:
    with pytest.raises(psycopg.OperationalError) as caught, psycopg.connect(server.url("postgres")) as doomed:
        doomed.execute("select pg_terminate_backend(pg_backend_pid())")
    assert type(translated(caught.value)) is Unavailable


def test_no_server_at_all_is_unavailable() -> None:
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect("postgresql://127.0.0.1:1/postgres")
    assert type(translated(caught.value)) is Unavailable


# ── WANMI_DATABASE_URL ────────────────────────────────────────


def given_address(settings: Settings, address: str) -> Settings:
    return read_settings(database_url=address, data=settings.data, cache=settings.cache, language="en")


def test_a_given_server_is_used_as_it_is(server: Access, settings: Settings) -> None:
    for address in (server.url("postgres"), server.url("postgres").replace("postgresql:", "postgres:")):
        with access(given_address(settings, address), silent) as found:
            assert found.server is None
            with found.maintenance() as conn:
                assert conn.scalar(text("select 1")) == 1
            assert server.server is not None
            assert found.find_programs().major == server.server.programs.major


@pytest.mark.parametrize(
    "address",
    [
        "nonsense",
        "http://me:sesame@host/db",
        "mysql://me:sesame@host/db",
        "postgresql://me:sesame@host:door/db",
        "/tmp",
    ],
)
def test_an_address_that_is_none_is_refused(settings: Settings, address: str) -> None:
    with pytest.raises(UnfitSetting) as caught, access(given_address(settings, address), silent):
        pass
    assert "WANMI_DATABASE_URL" in caught.value.en
    assert "postgresql://USER:PASSWORD@HOST" in (caught.value.mend or "")
    assert "sesame" not in str(caught.value.problem())


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:sesame@127.0.0.1:1/postgres",
        "postgresql://me:sesame@/postgres?host=/nowhere",
        "postgresql:///postgres?host=/nowhere&user=me&password=sesame",
        "postgresql://me:sesame@/postgres?host=/nowhere&colour=red",
    ],
)
def test_a_server_that_does_not_answer_is_unavailable_and_no_password_is_shown(
    settings: Settings, address: str
) -> None:
    with pytest.raises(Unavailable) as caught, access(given_address(settings, address), silent):
        pass
    assert "WANMI_DATABASE_URL" in caught.value.en
    assert caught.value.mend
    assert "sesame" not in str(caught.value.problem())


def test_a_wrong_password_is_said_without_being_shown(server: Access, settings: Settings) -> None:
    assert server.server is not None
    address = server.url("postgres").replace(server.server.password, "sesame")
    with pytest.raises(Unavailable) as caught, access(given_address(settings, address), silent):
        pass
    assert "password authentication failed" in caught.value.en
    assert "sesame" not in str(caught.value.problem())


# ── databases ────────────────────────────────────────


@pytest.fixture
def unmade(server: Access) -> Iterator[str]:
    """The name of a database that is not there."""
    name = f"unmade_{uuid.uuid4().hex[:8]}"
    yield name
    with server.maintenance() as conn:
        conn.execute(text(f'drop database if exists "{name}" with (force)'))


def test_a_role_without_the_right_is_told_what_its_administrator_must_type(server: Access, unmade: str) -> None:
    role = f"poor_{uuid.uuid4().hex[:8]}"
    with server.maintenance() as conn:
        conn.execute(text(f"create role {role} login password 'sesame'"))
        try:
            poor = replace(server, address=server.address.set(username=role, password="sesame"))
            with pytest.raises(Unavailable) as caught:
                ensure_database(poor, unmade)
            assert "permission denied" in caught.value.en
            assert f'create database "{unmade}"' in (caught.value.mend or "")
            assert "create extension postgis" in (caught.value.mend or "")
            # After the administrator has made it, the same role gets on to the extensions, and no further.
            conn.execute(text(f'create database "{unmade}"'))
            with pytest.raises(Unavailable, match="create extension"):
                ensure_database(poor, unmade)
        finally:
            conn.execute(text(f"drop role {role}"))


def test_two_that_make_the_same_database_both_get_it(server: Access, unmade: str) -> None:
    errors: list[BaseException] = []
    barrier = threading.Barrier(3)

    def make() -> None:
        try:
            barrier.wait(10)
            ensure_database(server, unmade).dispose()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    engine = server.engine(unmade)
    with engine.connect() as conn:
        found = set(conn.scalars(text("select extname from pg_extension")))
    engine.dispose()
    assert {"postgis", "btree_gist"} <= found
