"""The database: where it is, one engine a city, named queries, COPY of frames, locks.

Every function that touches the database takes ``conn`` first and never commits; doors open transactions.
Each city lives in a database ``wanmi_<city>`` of one server: a private one, or that of ``WANMI_DATABASE_URL``.
"""

from __future__ import annotations

import json
import os
import re
import select
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import shapely
from geopandas.array import GeometryArray
from sqlalchemy import Connection, Engine, TextClause, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool

from gis.errors import Conflict, Invalid, NotFound, Unavailable, UnfitSetting, WanmiError
from gis.packages import Say
from gis.postgis import EXTENSIONS, Programs, find_programs
from gis.server import Server, private_server
from gis.settings import Settings

PACKAGES = ("gis", "grids", "layers", "cases")
COPY_ROWS = 20_000


@dataclass(frozen=True, kw_only=True)
class Access:
    """A server that one may use while the block that got it runs."""

    address: URL
    server: Server | None  #: the private server, or None when the address was given
    find_programs: Callable[[], Programs]  #: pg_dump and pg_restore of the server's version

    def url(self, database: str) -> str:
        """libpq's address of a database, with the password."""
        return self.address.set(database=database, drivername="postgresql").render_as_string(hide_password=False)

    def engine(self, database: str) -> Engine:
        """The one connection pool of a database."""
        return self._engine(database, 5, 20, "-c timezone=UTC")

    def serving_engine(self, database: str, connections: int, timeout_s: float) -> Engine:
        """The pool of a process that answers requests: ``connections`` at most, no statement over ``timeout_s``.

        One request runs on one core: the others' requests want the rest. A private server that was started anew is
        found where it is now.
        """
        limits = f"-c timezone=UTC -c statement_timeout={int(timeout_s * 1000)} -c max_parallel_workers_per_gather=0"
        limits += (
            f" -c idle_in_transaction_session_timeout={int(timeout_s * 2000)} -c lock_timeout={int(timeout_s * 500)}"
        )
        engine = self._engine(database, connections, 0, limits)
        if self.server is not None:
            state = self.server.folder / "server.json"

            @event.listens_for(engine, "do_connect")
            def find_socket(dialect: object, record: object, arguments: object, parameters: dict[str, object]) -> None:
                with suppress(OSError, ValueError, KeyError):
                    parameters["host"] = json.loads(state.read_text())["socket"]

        return engine

    def _engine(self, database: str, size: int, overflow: int, options: str) -> Engine:
        engine = create_engine(
            self.address.set(database=database, drivername="postgresql+psycopg"),
            pool_size=size,
            max_overflow=overflow,
            connect_args={"connect_timeout": 10, "application_name": "wanmi", "options": options},
        )
        event.listen(engine, "checkout", _refuse_ended)
        return engine

    @contextmanager
    def maintenance(self) -> Iterator[Connection]:
        """A connection to the server's own database, each statement its own transaction: to make and drop databases."""
        engine = self.engine(str(self.address.database))
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
                yield conn
        finally:
            engine.dispose()


@contextmanager
def access(settings: Settings, say: Say, *, throwaway: bool = False) -> Iterator[Access]:
    """The server of the settings: the given one, else the private one of the data folder.

    Raises UnfitSetting for an address that is none, Unavailable when nobody answers there.
    """
    with ExitStack() as stack:
        if settings.database_url is None or throwaway:
            _forget_libpq_settings()
        if settings.database_url is not None and not throwaway:
            address, server = _given(settings.database_url.get_secret_value()), None
        else:
            server = stack.enter_context(private_server(settings.data, settings.cache, say, throwaway=throwaway))
            address = make_url(server.url("postgres"))
            _wait_until_it_answers(address)

        def programs() -> Programs:
            if server is not None:
                return server.programs
            with made.maintenance() as conn:
                version = conn.scalar(text("select current_setting('server_version_num')::int / 10000"))
            return find_programs(settings.cache, say, major=version)

        made = Access(address=address, server=server, find_programs=programs)
        try:
            yield made
        except (DBAPIError, psycopg.Error) as error:
            if server is not None and server.is_out_of_space():
                raise Unavailable(
                    f"the disk of the data folder {server.folder} is full",
                    f"数据目录 {server.folder} 所在磁盘已满",
                    mend="free some space there, then run the command again; nothing is half done",
                    folder=server.folder,
                ) from error
            raise


def _refuse_ended(dbapi_connection: psycopg.Connection[Any], record: object, proxy: object) -> None:
    """Let the pool make a new connection for one that the server has ended: its socket has something to read.

    Asking the server whether it is there (pool_pre_ping) would be a round trip before every request.
    """
    readable = select.poll()
    try:
        readable.register(dbapi_connection.fileno(), select.POLLIN)
        ended = bool(readable.poll(0))
    except (OSError, psycopg.Error):
        ended = True
    if ended:
        raise DisconnectionError("the server has ended this connection")


def _wait_until_it_answers(address: URL) -> None:
    """Wait while a server that one joins recovers from a crash, a minute at most."""
    engine = create_engine(address.set(drivername="postgresql+psycopg"), poolclass=NullPool)
    for left in range(600, -1, -1):
        try:
            with engine.connect():
                return
        except OperationalError:
            if not left:
                raise
            time.sleep(0.1)


def _forget_libpq_settings() -> None:
    """Take PGHOST, PGSERVICE and their like out of this process: they are meant for other servers."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def _given(address: str) -> URL:
    mend = "write it as postgresql://USER:PASSWORD@HOST:5432/postgres, or unset WANMI_DATABASE_URL for a private server"
    try:
        url = make_url(address).set(drivername="postgresql+psycopg")
        if make_url(address).get_backend_name() not in ("postgresql", "postgres"):
            raise ValueError("not PostgreSQL")
    except (ArgumentError, ValueError):
        raise UnfitSetting(
            "WANMI_DATABASE_URL is not the address of a PostgreSQL server",
            "WANMI_DATABASE_URL 不是 PostgreSQL 服务器地址",
            mend=mend,
            setting="WANMI_DATABASE_URL",
        ) from None
    if url.database is None:
        url = url.set(database="postgres")
    if "password" in url.query:  # where it would show: in messages, and among the words of pg_dump
        url = url.set(password=str(url.query["password"])).difference_update_query(["password"])
    engine = create_engine(url, connect_args={"connect_timeout": 10})
    try:
        with engine.connect():
            return url
    except (OperationalError, ProgrammingError) as error:  # the latter: an option that libpq does not know
        reason = str(error.orig).strip().splitlines()[0]
        shown = url.set(query={}).render_as_string(hide_password=True)
        raise Unavailable(
            f"no server answers at WANMI_DATABASE_URL ({shown}): {reason}",
            "按 WANMI_DATABASE_URL 无法连接数据库",
            mend=mend,
            setting="WANMI_DATABASE_URL",
        ) from None
    finally:
        engine.dispose()


def database_name(city: str) -> str:
    """The database in which a city lives."""
    return f"wanmi_{city}"


def list_databases(access: Access) -> list[str]:
    """The cities that have a database on the server."""
    with access.maintenance() as conn:
        names = conn.scalars(text("select datname from pg_database where datname like 'wanmi\\_%' order by 1"))
        return [name.removeprefix("wanmi_") for name in names]


def ensure_database(access: Access, database: str) -> Engine:
    """An engine on the database, made with its extensions if it is not there.

    Raises Unavailable with the line to type when the role may not make it or PostGIS is missing.
    """
    with access.maintenance() as conn:
        there = conn.scalar(text("select 1 from pg_database where datname = :name"), {"name": database})
        if not there:
            _execute_or_refuse(conn, f'create database "{database}" encoding utf8 template template0', database)
    engine = access.engine(database)
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            for name in EXTENSIONS:
                if not conn.scalar(text("select 1 from pg_extension where extname = :name"), {"name": name}):
                    _execute_or_refuse(conn, f"create extension if not exists {name}", database)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _execute_or_refuse(conn: Connection, statement: str, database: str) -> None:
    try:
        conn.execute(text(statement))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", "") in ("42P04", "23505", "42710"):
            return  # another start was faster
        reason = str(error.orig).strip().splitlines()[0]
        lines = "; ".join(f"create extension {name}" for name in EXTENSIONS)
        mend = f'as the server\'s administrator: create database "{database}"; then in it: {lines}'
        if getattr(error.orig, "sqlstate", "") in ("0A000", "58P01"):
            mend = "install PostGIS on that server (Debian: apt install postgresql-NN-postgis-3), then run it again"
        raise Unavailable(
            f"the server refuses: {statement}: {reason}",
            "数据库服务器拒绝创建数据库或扩展",
            mend=mend,
            database=database,
        ) from None


@contextmanager
def advisory_lock(engine: Engine, name: str, *, wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock ``name`` of a database on a connection of its own; the server frees it if this process dies.

    When somebody else has it, ``wait`` is called once, then it waits.
    """
    key = {"name": f"wanmi:{name}"}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        if not conn.scalar(text("select pg_try_advisory_lock(hashtextextended(:name, 0))"), key):
            if wait is not None:
                wait()
            conn.execute(text("select pg_advisory_lock(hashtextextended(:name, 0))"), key)
        try:
            yield
        finally:
            conn.execute(text("select pg_advisory_unlock(hashtextextended(:name, 0))"), key)


@cache
def queries(package: str) -> dict[str, TextClause]:
    """The named queries of ``<package>/sql/queries.sql``: blocks that begin with ``-- name: NAME``."""
    path = Path(__file__).resolve().parents[1] / package / "sql" / "queries.sql"
    blocks = re.split(r"^-- name: (\w+)[^\n]*\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: text(body.strip().rstrip(";")) for name, body in zip(blocks[1::2], blocks[2::2], strict=True)}


def query(package: str, name: str) -> TextClause:
    """One named query."""
    return queries(package)[name]


def read_frame(conn: Connection, statement: TextClause, **parameters: object) -> pd.DataFrame:
    """The rows of a query as a frame with the query's column names (geometry, if any, as WKB in hex)."""
    result = conn.execute(statement, parameters)
    return pd.DataFrame(result.all(), columns=list(result.keys()))


def read_columns(conn: Connection, statement: TextClause, **parameters: object) -> pd.DataFrame:
    """The rows of a query as a frame, by COPY: for millions of rows of numbers and short texts, in bounded memory."""
    import pyarrow as pa  # here: commands that read no millions start without it
    from pyarrow import csv

    words = str(statement.compile(dialect=conn.dialect))
    cursor = conn.connection.driver_connection.cursor()  # type: ignore[union-attr]
    with cursor.copy(f"copy ({words}) to stdout (format csv, header)", parameters) as copy:
        content = pa.BufferReader(b"".join(bytes(part) for part in copy))
    true_false = csv.ConvertOptions(true_values=["t"], false_values=["f"], strings_can_be_null=True)
    frame: pd.DataFrame = csv.read_csv(content, convert_options=true_false).to_pandas()
    return frame


def copy_frame(
    conn: Connection,
    frame: pd.DataFrame,
    table: str,
    columns: list[str] | None = None,
    *,
    progress: Callable[[float], None] | None = None,
) -> int:
    """COPY the columns of a frame (by name) into a table; geometry becomes EWKB, dicts JSON. Returns the rows.

    ``columns`` are columns of both; geometry columns must carry a CRS with an EPSG code.
    """
    columns = list(frame.columns) if columns is None else columns
    names = ", ".join(f'"{name}"' for name in columns)
    cursor = conn.connection.driver_connection.cursor()  # type: ignore[union-attr]
    with cursor.copy(f"copy {table} ({names}) from stdin") as copy:
        for start in range(0, len(frame), COPY_ROWS):
            part = frame.iloc[start : start + COPY_ROWS]
            rows = zip(*(_copied(part[name]) for name in columns), strict=True)
            copy.write("".join("\t".join(row) + "\n" for row in rows))
            if progress is not None:
                progress(min(1.0, (start + COPY_ROWS) / len(frame)))
    return len(frame)


#: What COPY's text format would take for the end of a value, of a row, or of everything.
_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _copied(column: Any) -> list[str]:
    """The values of a column as COPY's text format wants them."""
    if isinstance(column.array, GeometryArray):
        geometry = shapely.set_srid(np.asarray(column.array), column.array.crs.to_epsg())
        values = shapely.to_wkb(geometry, hex=True, include_srid=True).tolist()
    else:
        values = column.tolist()
        if column.dtype == object:
            values = [
                json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value for value in values
            ]
    missing = pd.isna(column).tolist()
    return ["\\N" if gone else str(value).translate(_ESCAPED) for value, gone in zip(values, missing, strict=True)]


#: How an error that the database raises on purpose (its SQLSTATE) becomes one of the family.
RAISED: dict[str, type[WanmiError]] = {
    kind.sqlstate: kind for kind in (NotFound, Conflict, Invalid) if kind.sqlstate is not None
}


#: A value that does not fit: too long, out of range, no text, missing, without its key, twice, against a rule.
REFUSED_VALUES = frozenset({"22001", "22003", "22021", "23502", "23503", "23505", "23514", "23P01"})


def translated(error: DBAPIError | psycopg.Error) -> WanmiError | None:
    """The error of the family that a database error stands for, or None when it is a defect of ours."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(origin, "sqlstate", None) or ""
    said = (str(origin).strip().splitlines() or [""])[0]
    if state in RAISED:
        en, _, zh = said.partition(" | ")
        return RAISED[state](en, zh or en)
    if state.startswith(("08", "57P", "25P03")) or (isinstance(origin, psycopg.OperationalError) and not state):
        return Unavailable(
            f"the database is gone: {said}",
            "数据库连接中断",
            mend="run the command again; what was finished is kept",
            mend_zh="请稍后重试,已完成的内容均已保存",
        )
    if state.startswith("53"):
        return Unavailable(
            f"the database is out of room: {said}",
            "数据库空间或资源不足",
            mend="free some space on the disk of the data folder, then run the command again; nothing is half done",
            mend_zh="请清理数据目录所在磁盘后重试,没有留下未完成的内容",
        )
    if state in ("40001", "40P01", "55P03"):  # two at once, and this one gave way
        return Unavailable(
            "somebody else was at the same rows; this was given up",
            "与其他操作冲突,本次操作已放弃",
            mend="do it again; nothing is half done",
            mend_zh="请重试,没有留下未完成的内容",
        )
    if state == "57014":  # statement_timeout
        return Unavailable(
            "the database took longer than is allowed for one request",
            "数据库处理超时",
            mend="ask for less: a smaller area, a shorter period, fewer rows",
            mend_zh="请缩小范围、缩短统计期或减少行数",
        )
    if state == "22P05" or (isinstance(origin, psycopg.DataError) and not state):  # text that no text field can hold
        return Invalid(
            f"a text cannot be kept: {said if not state else 'it has a NUL character'}",
            "文本中含有无法保存的字符",
            mend="take the NUL character out",
            mend_zh="请去除 NUL 字符",
        )
    if state in REFUSED_VALUES:  # the data are at fault, not the program
        detail = getattr(getattr(origin, "diag", None), "message_detail", None)
        return Invalid(
            f"the database refuses a value: {said}" + (f" ({detail})" if detail else ""),
            f"数据库拒绝了一个数值:{said}",
            mend="correct the value in the file it comes from, then run the command again; nothing was changed",
        )
    return None
