"""Migrations: numbered SQL applied once, functions and views whenever they changed.

``<package>/sql/NNNN_name.sql``: the number is global; each runs in one transaction with its record and is never
edited afterwards (the checksum is compared). ``<package>/sql/functions.sql`` is applied again when it changes.
The one value substituted is the city's SRID, an ``int``.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from gis.db import PACKAGES, advisory_lock, query
from gis.errors import Conflict, Invalid

HOME = Path(__file__).resolve().parents[1]


def migrations() -> list[Path]:
    """All numbered migrations of all packages in the order of their numbers."""
    found = [path for package in PACKAGES for path in (HOME / package / "sql").glob("[0-9]*_*.sql")]
    return sorted(found, key=lambda path: path.name)


def functions() -> list[Path]:
    """The files of functions and views, in the order of imports."""
    return [path for package in PACKAGES if (path := HOME / package / "sql" / "functions.sql").exists()]


def migrate(engine: Engine, srid: int) -> list[str]:
    """Bring a database to the present schema; returns the names of what was applied.

    Raises Conflict when an applied migration was edited, when the database is newer than this program, or when it
    was made for another coordinate system.
    """
    srid = int(srid)
    if not 1024 <= srid <= 998_999:
        raise Invalid(f"{srid} is no EPSG code of a projected system", f"{srid} 不是可用的 EPSG 代码")
    applied = []
    with advisory_lock(engine, "migrate"), engine.connect() as conn:
        conn.execute(text("create schema if not exists gis"))
        conn.execute(
            text(
                "create table if not exists gis.migration (name text primary key, checksum text not null, "
                "applied_at timestamptz not null default clock_timestamp())"
            )
        )
        conn.commit()
        done = {row.name: row.checksum for row in conn.execute(text("select name, checksum from gis.migration"))}
        _refuse_strangers(done, srid)
        for path in migrations():
            source = path.read_text(encoding="utf-8")
            if path.name in done:
                if done[path.name] != _checksum(source):
                    raise Conflict(
                        f"{path.name} was edited after it had been applied to this database",
                        f"迁移文件 {path.name} 在应用之后被修改",
                        mend="restore the file; put the change into a new migration",
                        file=path.name,
                    )
                continue
            _apply(conn, source, srid)
            _record(conn, path.name, _checksum(source))
            conn.commit()
            applied.append(path.name)
        sources = [(path, path.read_text(encoding="utf-8")) for path in functions()]
        state = _checksum("".join(source for _, source in sources))
        if applied or done.get("functions") != state:
            for _, source in sources:
                _apply(conn, source, srid)
            _record(conn, "functions", state)
            _record(conn, "srid", str(srid))
            conn.commit()
            applied += [f"{path.parent.parent.name}/functions.sql" for path, _ in sources]
        conn.commit()
    return applied


def pending(conn: Connection) -> list[str]:
    """The migrations of this program that a database does not have yet."""
    done = {row.name for row in conn.execute(query("gis", "applied_migrations"))}
    return [path.name for path in migrations() if path.name not in done]


def made_for(engine: Engine) -> int | None:
    """The SRID for which a database was migrated, or None for one that was not."""
    with engine.connect() as conn:
        if conn.execute(text("select to_regclass('gis.migration')")).scalar_one() is None:
            return None
        srid = conn.execute(text("select checksum from gis.migration where name = 'srid'")).scalar_one_or_none()
        return None if srid is None else int(srid)


def _refuse_strangers(done: dict[str, str], srid: int) -> None:
    known = {path.name for path in migrations()} | {"functions", "srid"}
    newer = sorted(done.keys() - known)
    if newer:
        raise Conflict(
            f"the database was made by a newer Wanmi (it has {newer[-1]})",
            "数据库由更新版本的 Wanmi 创建",
            mend="update this checkout (git pull), or choose another folder with --data",
        )
    if done.get("srid") not in (None, str(srid)):
        raise Conflict(
            f"the database is in EPSG:{done['srid']}, the city's profile says EPSG:{srid}",
            f"数据库坐标系为 EPSG:{done['srid']},与城市配置 EPSG:{srid} 不符",
            mend="correct srid in the city's city.toml, or load the city under another id",
        )


def _apply(conn, source: str, srid: int) -> None:  # type: ignore[no-untyped-def]
    # Not through text(): migrations may hold colons and percent signs of their own.
    conn.connection.driver_connection.execute(re.sub(r"(?<!:):srid\b", str(srid), source))


def _record(conn, name: str, checksum: str) -> None:  # type: ignore[no-untyped-def]
    conn.execute(
        text(
            "insert into gis.migration (name, checksum) values (:name, :checksum) "
            "on conflict (name) do update set checksum = excluded.checksum, applied_at = clock_timestamp()"
        ),
        {"name": name, "checksum": checksum},
    )


def _checksum(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()
