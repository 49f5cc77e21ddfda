"""Bringing a city into the database: its source's frames loaded at one instant, its reports opened as cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from shapely.errors import ShapelyError
from sqlalchemy import Connection, Engine, text

from api.progress import Stages
from cases import reports
from cases.calendar import calendar_mark, first_calendar
from cases.clocks import read_clockwork
from cases.duty import load_rules
from cases.history import wind_imported
from gis.db import Access, advisory_lock, database_name, ensure_database, list_databases, query
from gis.errors import Conflict, Invalid, NotFound, UnfitFile, UnfitSetting
from gis.history import record_change
from gis.migrate import made_for, migrate
from grids.areas import load_areas, load_cells, load_responsibility
from grids.city import City, insert_city, is_loaded
from grids.cut import cut_all, fitted
from grids.ground import load_ground
from layers.catalogue import edition_in_force, load_catalogue, load_mapping, load_national, put_in_force
from layers.components import load_components
from layers.places import derive_places, load_places
from layers.simulate_doors import simulate_doors
from layers.units import load_collectors, load_units

BATCH = 4_000
#: Written by a load, in the order in which a replacing load empties them.
TABLES = (
    "cases.attachment, cases.photo, cases.report, cases.event, cases.case, cases.rule_role, cases.rule_withdrawn, "
    "cases.rule, layers.edit_key, "
    "layers.census, layers.component, layers.place, layers.collector, layers.unit, layers.time_limit, "
    "layers.condition, layers.class_mapping, layers.edition_in_force, layers.class, layers.major, layers.edition, "
    "grids.responsibility_cell, grids.responsibility, grids.lineage, grids.draft_cell, grids.draft_community, "
    "grids.edition, grids.cell, grids.barrier, grids.area, grids.city, cases.calendar, "
    "gis.change"
)


def city_engine(access: Access, city: City) -> Engine:
    """The engine of a city's database, made and migrated if need be.

    A database that never got its city and was made for another coordinate system is made anew.
    """
    engine = ensure_database(access, database_name(city.id))
    try:
        if made_for(engine) not in (None, city.srid) and not _holds_a_city(engine):
            engine.dispose()
            with access.maintenance() as conn:
                conn.execute(text(f'drop database "{database_name(city.id)}" with (force)'))
            engine = ensure_database(access, database_name(city.id))
        migrate(engine, city.srid)
    except BaseException:
        engine.dispose()
        raise
    return engine


def loaded_engine(access: Access, city: City) -> Engine:
    """The engine of a city that is loaded. Raises NotFound that says how to load it; makes nothing."""
    if city.id in list_databases(access):
        engine = city_engine(access, city)
        if _holds_a_city(engine):
            _bring_calendar(engine, city)
            return engine
        engine.dispose()
    raise NotFound(
        f"{city.name_en} is not loaded",
        f"{city.name_zh}尚未载入",
        mend=f"wanmi demo --city {city.id}"
        if city.simulated
        else f"wanmi load {city.id} --from FOLDER; data/{city.id}/README.md says which files",
    )


def _holds_a_city(engine: Engine) -> bool:
    with engine.connect() as conn:
        there = conn.execute(text("select to_regclass('grids.city')")).scalar_one() is not None
        return there and is_loaded(conn)


def _bring_calendar(engine: Engine, city: City) -> None:
    """A database of before calendars were kept in it gets that of the city's folder; one that cannot be used stays
    away, and whoever needs it says so.
    """
    with engine.begin() as conn:
        if calendar_mark(conn) is None:
            with suppress(Invalid), conn.begin_nested():
                now = record_change(conn, since=datetime.now(UTC), actor="wanmi load", reason="work calendar")
                first_calendar(conn, city, now)


def load_city(
    engine: Engine,
    city: City,
    *,
    source: Path | None = None,
    frames: dict[str, Any] | None = None,
    replace: bool = False,
    stages: Stages,
    say: Callable[[str, str], None],
) -> bool:
    """Load a city in one transaction, then open a case for every report that waits, batch by batch.

    ``frames`` are those of the city's source; without them simulated cities make their own and others are read from
    ``source``. A city that is there is left as it is
    unless ``replace``. Interrupted anywhere, the next call carries on. Two at once: one waits. Returns whether it
    was loaded now. Raises UnfitSetting when a source is needed and none is given.
    """

    if source is not None and not source.is_dir():
        raise UnfitFile(f"there is no folder {source}", f"目录 {source} 不存在", mend="correct --from", file=source)

    def wait() -> None:
        say("another command is loading this city; waiting for it", "另一个命令正在载入该城市,请稍候")

    with advisory_lock(engine, "load", wait=wait):
        with engine.connect() as conn:
            there = is_loaded(conn)
            waiting = reports.waiting(conn)  # some do when an earlier call was interrupted: then this one carries on
        if there and source is not None and not replace and not waiting:
            raise Conflict(
                f"{city.name_en} is loaded already",
                f"{city.name_zh}已载入",
                mend="add --replace to load it anew (what was edited in it is lost; 'wanmi backup FILE' keeps a copy)",
            )
        if not there or replace:
            frames = read_frames(city, source, stages) if frames is None else frames
            with stages.stage("load", "loading into PostGIS", "载入 PostGIS"), engine.begin() as conn:
                if there:
                    conn.execute(text(f"truncate {TABLES} restart identity"))
                _write(conn, city, frames, stages, str(source) if source else None)
        elif not waiting:
            _bring_calendar(engine, city)
            with engine.begin() as conn:  # a database of before them gets the national editions
                if load_national(conn, city.folder.parent / "catalogue", city.edition):
                    load_mapping(conn, city.folder)
                if not conn.execute(query("layers", "places_are_there")).scalar_one():  # and names of places
                    now = record_change(conn, since=datetime.now(UTC), actor="wanmi load", reason="names of places")
                    load_places(conn, derive_places(conn, city.srid), now)
        open_waiting(engine, city, stages)
    return not there or replace


def read_frames(city: City, source: Path | None, stages: Stages) -> dict[str, Any]:
    """The frames of a city from its source, with the grid cut when the source brings none."""
    if "simulation" in city.profile:
        from cases.simulate import simulate_city  # here: a source is needed once in a database's life

        with stages.stage("generate", "generating the city (simulated)", "生成城市数据(模拟)"), _fitting(city):
            frames: dict[str, Any] = simulate_city(city.folder, stages)
    else:
        if source is None:
            raise UnfitSetting(
                f"{city.name_en} is read from files, and no folder was given",
                f"{city.name_zh}的数据需从文件读取,未指定目录",
                mend=f"wanmi load {city.id} --from FOLDER; data/{city.id}/README.md says where the files come from",
            )
        from cases import opendata

        with stages.stage("read", f"reading {city.name_en}", f"读取{city.name_zh}数据"), _fitting(city):
            frames = opendata.read_city(city.folder, source, stages)
    if "cells" not in frames:
        with stages.stage("cut", "cutting the unit grid", "划分单元网格"):
            target_m2 = float(city.profile.get("target_cell_m2", 10_000))
            frames["cells"] = cut_all(
                frames["areas"],
                frames["barriers"],
                target_m2=target_m2,
                digits=int(city.profile.get("cell_digits", 15)),
                progress=lambda share: stages("", share),
            )
            frames["areas"] = fitted(frames["areas"], frames["cells"])
    return frames


@contextmanager
def _fitting(city: City) -> Iterator[None]:
    """Files that can be read but do not fit together end in one message, not in a traceback."""
    try:
        yield
    except (ArithmeticError, LookupError, TypeError, ValueError, ShapelyError) as error:
        raise UnfitFile(
            f"the files of {city.name_en} do not fit together: {type(error).__name__}: {error}",
            f"{city.name_zh}的数据文件相互不符:{type(error).__name__}: {error}",
            mend=f"undo the last change in {city.folder} or in the files read from; the README there says what belongs",
            folder=city.folder,
        ) from error


def _write(conn: Connection, city: City, frames: dict[str, Any], stages: Stages, source: str | None) -> None:
    began = city.profile.get("valid_from")
    since = datetime.combine(began, time(), ZoneInfo(city.timezone)) if began else datetime.now(UTC)
    how = "simulated" if city.simulated else "read from files"
    reason = f"first load of {city.name_en}, {how}"
    version = record_change(conn, since=since, actor="wanmi load", reason=reason, source=source)
    again = int(frames["reports"].duplicated(["channel", "key"]).sum())
    repeated = {
        "what_en": "reports whose key repeats another's",
        "what_zh": "编号与其他上报重复的上报",
        "rows": again,
        "done_en": "only the first is kept",
        "done_zh": "仅保留第一件",
    }
    insert_city(conn, city, [*frames["findings"], *([repeated] if again else [])])
    stages("areas, ground and cells | 区域、地物与单元网格", 0.0)
    load_areas(conn, frames["areas"], version)
    load_ground(conn, frames["barriers"], version)
    load_cells(conn, frames["cells"], version)
    load_responsibility(conn, frames["responsibility"], version)
    conn.execute(text("analyze grids.area, grids.barrier, grids.cell"))
    stages("catalogue, units and rules | 目录、单位与规则", 0.2)
    load_national(conn, city.folder.parent / "catalogue", city.edition)
    catalogue = frames["majors"], frames["classes"], frames["conditions"]
    load_catalogue(conn, city.edition, *catalogue, source=f"data/{city.id}", change_id=version.change_id)
    load_mapping(conn, city.folder)
    put_in_force(conn, city.edition, version)
    load_units(conn, frames["units"])
    load_collectors(conn, frames["collectors"])
    load_rules(conn, frames["rules"], city.srid, version)
    first_calendar(conn, city, version, frames.get("calendar"))
    stages("names of places | 地名", 0.25)
    load_places(conn, derive_places(conn, city.srid), version)
    if "simulation" in city.profile:
        load_places(conn, simulate_doors(frames["barriers"]), version)
    stages("components | 部件", 0.3)
    load_components(
        conn, frames["components"], city.edition, version, progress=lambda part: stages("", 0.3 + 0.4 * part)
    )
    stages("reports | 上报案件", 0.7)
    reports.receive_reports(conn, frames["reports"], city.srid, progress=lambda part: stages("", 0.7 + 0.3 * part))
    reports.ensure_partitions(conn)
    # Not the tables of cases: statistics that call them empty would make every key check walk them as they fill.
    conn.execute(text("analyze layers.component, layers.unit, cases.rule, cases.rule_role, cases.report"))
    conn.execute(text("analyze grids.city, layers.class, layers.major, layers.condition, cases.stage"))


def open_waiting(engine: Engine, city: City, stages: Stages) -> reports.Opened:
    """Open cases for all reports that wait, one transaction a batch, in the order of their arrival."""
    with engine.connect() as conn:
        total = reports.waiting(conn)
    opened = refused = 0
    if not total:
        return reports.Opened(0, 0)
    with stages.stage("assign", "assigning cases by spatial join", "按空间关联确定案件归属"):
        while True:
            with engine.begin() as conn:
                batch = reports.open_cases(conn, batch=BATCH, actor="wanmi load", edition=edition_in_force(conn))
            opened, refused = opened + batch.cases, refused + batch.refused
            if batch.cases + batch.refused == 0:
                break
            stages("", (opened + refused) / total)
    rate = (opened + refused) / stages.seconds["assign"]
    stages.note(f"{rate:,.0f} cases a second assigned and opened", f"每秒确定归属并立案 {rate:,.0f} 件")
    with engine.begin() as conn:
        conn.execute(text("analyze cases.case, cases.event, cases.report"))
        wind_imported(conn, read_clockwork(conn, city), actor="wanmi load")
    return reports.Opened(opened, refused)
