"""Loading a city: all or nothing, once, carried on after every interruption, whoever else is at it too."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from shapely import Polygon
from sqlalchemy import Connection, Engine, text

import api.city
from api.city import load_city
from api.progress import Stages
from cases import reports
from gis.crs import GCJ02, transform
from gis.db import Access, query, read_frame
from gis.errors import Conflict, Invalid, UnfitFile, UnfitSetting
from tests.conftest import copy_database, silent
from tests.hamlet import HOME, SRID, hamlet

NATIONAL = {
    name: len((HOME / "data" / "catalogue" / f"{name}.csv").read_text(encoding="utf-8").splitlines()) - 1
    for name in ("majors", "classes", "mapping")
}
COUNTS = {
    "grids.area": 8,
    "grids.barrier": 1,
    "grids.cell": 16,
    "grids.responsibility": 1,
    "grids.responsibility_cell": 2,
    "layers.edition": 4,
    "layers.edition_in_force": 1,
    "layers.major": 2 + NATIONAL["majors"],
    "layers.class": 4 + NATIONAL["classes"],
    "layers.class_mapping": NATIONAL["mapping"],
    "layers.condition": 3,
    "layers.time_limit": 9,
    "layers.unit": 8,
    "layers.collector": 1,
    "layers.component": 3,
    "cases.rule": 5,
    "cases.rule_role": 8,
    "cases.calendar": 1,
    "cases.report": 10,
    "cases.case": 4,
    "cases.event": 4,
    "gis.change": 1,
    "grids.city": 1,
}
REFUSALS = {
    "outside": "outside",
    "no-place": "no_place",
    "swapped": "no_place",
    "unknown-class": "unknown_class",
    "unknown-condition": "unknown_condition",
    "no-time": "no_time",
}


@pytest.fixture
def bare(server: Access, blank: str, worker_id: str) -> Iterator[Engine]:
    """A database with the schema and no city, the test's own."""
    engine = server.engine(copy_database(server, blank, f"load_{worker_id}"))
    yield engine
    engine.dispose()


def quiet() -> Stages:
    return Stages("en", Console(quiet=True))


def loaded(engine: Engine, frames: dict[str, Any] | None = None, **options: Any) -> bool:
    """Load the hamlet, with some of its frames changed if given."""
    city, those = hamlet()
    options = {"stages": quiet(), "say": silent, **options}
    return load_city(engine, city, frames={**those, **(frames or {})}, **options)


def counts(engine: Engine) -> dict[str, int]:
    with engine.connect() as conn:
        return {table: conn.scalar(text(f"select count(*) from {table}")) for table in COUNTS}


def every_row(engine: Engine) -> list[tuple[Any, ...]]:
    """Each row of each table with the transaction that wrote it."""
    with engine.connect() as conn:
        return [
            tuple(row)
            for table in COUNTS
            for row in conn.execute(
                text(f"select '{table}', t.xmin::text, t.tableoid, t::text from {table} t order by 4")
            )
        ]


def cases_by_key(engine: Engine) -> list[tuple[Any, ...]]:
    """What became of each report, without the numbers that depend on the run."""
    with engine.connect() as conn:
        return [
            tuple(row)
            for row in conn.execute(
                text(
                    "select r.channel, r.key, r.refusal, r.refusal_en, r.refusal_zh, c.no / 1000000, c.class_code, "
                    "c.stage, c.last_seq, st_astext(c.geom), k.code, c.placed, c.placed_m, c.border_m, c.border_code, "
                    "u.code, c.assisting_ids, c.basis, c.resolved_by, l.code, e.act, e.to_stage "
                    "from cases.report r left join cases.case c on c.no = r.case_no "
                    "left join cases.event e on e.case_no = c.no left join grids.cell k on k.id = c.cell_id "
                    "left join layers.unit u on u.id = c.unit_id left join cases.rule l on l.id = c.rule_id "
                    "order by 1, 2"
                )
            )
        ]


# ── once ────────────────────────────────────────


def test_all_of_the_hamlet_is_there(bare: Engine) -> None:
    assert loaded(bare) is True
    assert counts(bare) == COUNTS


def test_the_second_time_nothing_changes(bare: Engine) -> None:
    loaded(bare)
    before = every_row(bare)
    assert loaded(bare) is False
    assert every_row(bare) == before


def test_replace_loads_it_anew(bare: Engine) -> None:
    loaded(bare)
    before, cases = every_row(bare), cases_by_key(bare)
    with bare.begin() as conn:
        conn.execute(text("update layers.component set state = 'lost'"))
    assert loaded(bare, replace=True) is True
    assert counts(bare) == COUNTS
    assert cases_by_key(bare) == cases
    assert not {row[1] for row in every_row(bare)} & {row[1] for row in before}
    with bare.connect() as conn:
        assert set(conn.scalars(text("select state from layers.component"))) == {"intact"}


def test_a_source_for_a_city_that_is_there_is_refused_unless_it_is_to_replace_it(bare: Engine, tmp_path: Path) -> None:
    loaded(bare)
    before = every_row(bare)
    with pytest.raises(Conflict) as caught:
        loaded(bare, source=tmp_path)
    assert "loaded already" in caught.value.en
    assert "--replace" in (caught.value.mend or "")
    assert every_row(bare) == before


def test_a_city_of_files_asks_for_its_files(bare: Engine, tmp_path: Path) -> None:
    city = hamlet()[0]
    with pytest.raises(UnfitSetting) as caught:
        load_city(bare, city, stages=quiet(), say=silent)
    assert "wanmi load hamlet --from FOLDER" in (caught.value.mend or "")
    with pytest.raises(UnfitFile, match="there is no folder"):
        load_city(bare, city, source=tmp_path / "nowhere", stages=quiet(), say=silent)
    assert counts(bare)["grids.city"] == 0


# ── interrupted ────────────────────────────────────────


def interrupt(monkeypatch: pytest.MonkeyPatch, name: str, error: type[BaseException], *, after: int = 0) -> None:
    """Let ``api.city``'s function ``name`` fail once it has been called ``after`` times."""
    calls, real = [], getattr(api.city.reports if hasattr(api.city.reports, name) else api.city, name)

    def failing(*words: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) > after:
            raise error
        return real(*words, **options)

    monkeypatch.setattr(api.city.reports if hasattr(api.city.reports, name) else api.city, name, failing)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("insert_city", KeyboardInterrupt),
        ("load_cells", RuntimeError),
        ("load_rules", KeyboardInterrupt),
        ("receive_reports", SystemExit),
        ("ensure_partitions", KeyboardInterrupt),
    ],
)
def test_interrupted_in_the_middle_of_the_load_there_is_no_city_and_the_next_call_completes_it(
    bare: Engine, monkeypatch: pytest.MonkeyPatch, name: str, error: type[BaseException]
) -> None:
    with monkeypatch.context() as within:
        interrupt(within, name, error)
        with pytest.raises(error):
            loaded(bare)
    assert set(counts(bare).values()) == {0}
    assert loaded(bare) is True
    assert counts(bare) == COUNTS


def test_interrupted_while_replacing_the_old_city_stays(bare: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(bare)
    before = every_row(bare)
    with monkeypatch.context() as within:
        interrupt(within, "load_components", KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            loaded(bare, replace=True)
    assert every_row(bare) == before


@pytest.mark.parametrize("after", [0, 1, 2, 4])
@pytest.mark.parametrize("from_files", [False, True], ids=["made", "from files"])
def test_interrupted_between_batches_the_next_call_carries_on_to_the_same_result(
    bare: Engine, hamlet_engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, after: int, from_files: bool
) -> None:
    source = tmp_path if from_files else None
    monkeypatch.setattr(api.city, "BATCH", 2)
    with monkeypatch.context() as within:
        interrupt(within, "open_cases", KeyboardInterrupt, after=after)
        with pytest.raises(KeyboardInterrupt):
            loaded(bare, source=source)
    with bare.connect() as conn:
        assert reports.waiting(conn) == 10 - 2 * after
    assert loaded(bare, source=source) is False, "the city itself is there"
    assert counts(bare) == COUNTS
    assert cases_by_key(bare) == cases_by_key(hamlet_engine)


def test_a_batch_that_fails_half_way_leaves_its_reports_waiting(bare: Engine) -> None:
    loaded(bare)
    city, frames = hamlet()
    more = frames["reports"].assign(channel="web")
    with bare.begin() as conn:
        reports.receive_reports(conn, more, SRID)
    with bare.connect() as conn:
        assert reports.open_cases(conn, batch=5, actor="test", edition=city.edition) == reports.Opened(4, 1)
        conn.rollback()
    with bare.connect() as conn:
        assert reports.waiting(conn) == 10
        assert conn.scalar(text("select count(*) from cases.case")) == 4


# ── two at once ────────────────────────────────────────


class Held(Stages):
    """Progress that stops within the load until another command has said that it waits."""

    begun: threading.Event
    waits: threading.Event

    def __call__(self, text: str, fraction: float) -> None:
        self.begun.set()
        assert self.waits.wait(20), "the other command does not wait"


def test_of_two_loads_at_once_one_loads_and_the_other_waits_and_finds_it(bare: Engine, server: Access) -> None:
    other = server.engine(str(bare.url.database))
    held, said, results = Held("en", Console(quiet=True)), [], {}
    held.begun, held.waits = threading.Event(), threading.Event()

    def say(en: str, zh: str) -> None:
        said.append(en)
        held.waits.set()

    def first() -> None:
        results["first"] = loaded(bare, stages=held)

    def second() -> None:
        results["second"] = loaded(other, say=say)

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert held.begun.wait(20)
    threads[1].start()
    for thread in threads:
        thread.join(30)
    other.dispose()
    assert results == {"first": True, "second": False}
    assert said == ["another command is loading this city; waiting for it"]
    assert counts(bare) == COUNTS


# ── what is refused ────────────────────────────────────────


def test_each_bad_report_is_refused_with_its_reason_and_listed(conn: Connection) -> None:
    rows = conn.execute(
        text("select key, refusal, refusal_en, refusal_zh from cases.report where case_no is null")
    ).all()
    assert {row.key: row.refusal for row in rows} == REFUSALS
    assert all(row.refusal_en and row.refusal_zh for row in rows)
    assert (
        next(row.refusal_en for row in rows if row.key == "outside") == "outside the grid, 500 m from the nearest cell"
    )
    listed = read_frame(conn, query("cases", "unassigned"))
    assert dict(zip(listed["key"], listed["reason"], strict=True)) == REFUSALS
    assert listed["reason_en"].str.len().min() > 5
    assert listed["reason_zh"].str.contains("[\u4e00-\u9fff]").all()


def test_a_case_that_nobody_is_responsible_for_is_listed_and_so_is_a_report_that_still_waits(bare: Engine) -> None:
    frames = hamlet()[1]
    units = frames["units"].assign(area_code=None)
    nobody = frames["rules"].iloc[:1]
    loaded(bare, {"units": units, "rules": nobody})
    with bare.begin() as conn:
        reports.receive_reports(conn, frames["reports"].iloc[:1].assign(channel="web"), SRID)
        listed = read_frame(conn, query("cases", "unassigned"))
        reasons = listed.groupby("reason")["key"].apply(sorted).to_dict()
    assert reasons["no_unit"] == ["good-1", "good-1", "good-2", "good-4"]
    assert {reason for reason in reasons if reason != "no_unit"} == set(REFUSALS.values())


def test_the_same_reports_received_again_add_nothing(bare: Engine) -> None:
    loaded(bare)
    before = every_row(bare)
    city, frames = hamlet()
    with bare.begin() as conn:
        assert reports.receive_reports(conn, frames["reports"].assign(address="elsewhere"), SRID) == 0
        assert reports.open_cases(conn, batch=100, actor="test", edition=city.edition) == reports.Opened(0, 0)
    assert every_row(bare) == before


def test_reports_in_other_systems_fall_into_the_same_cells(conn: Connection) -> None:
    city, frames = hamlet()
    good = frames["reports"].iloc[:4]
    for channel, srid in (("web", 4490), ("video", GCJ02), ("leader", 4524)):
        x, y = transform(good["x"], good["y"], SRID, srid)
        assert reports.receive_reports(conn, good.assign(channel=channel, x=x, y=y, srid=srid), SRID) == 4
    opened = reports.open_cases(conn, batch=100, actor="test", edition=city.edition)
    assert opened == reports.Opened(12, 0)
    cells = conn.execute(
        text(
            "select r.key, count(distinct c.cell_id), count(*) from cases.report r "
            "join cases.case c on c.no = r.case_no group by r.key order by 1"
        )
    ).all()
    assert [tuple(row) for row in cells] == [(f"good-{n}", 1, 4) for n in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("frame", "column", "words"),
    [
        ("components", "owner_unit", "components: owner_unit 'GHOST' is no unit"),
        ("components", "maintainer_unit", "components: maintainer_unit 'GHOST' is no unit"),
        ("collectors", "unit_code", "collectors: unit_code 'GHOST' is no unit"),
        ("units", "parent_code", "units: parent_code 'GHOST' is no unit"),
    ],
)
def test_an_unknown_unit_is_refused_by_row_and_column(bare: Engine, frame: str, column: str, words: str) -> None:
    spoilt = hamlet()[1][frame].copy()
    spoilt[column] = spoilt[column].astype(object)
    spoilt.loc[spoilt.index[-1], column] = "GHOST"
    with pytest.raises(Invalid) as caught:
        loaded(bare, {frame: spoilt})
    assert words in caught.value.en
    assert caught.value.where["row"] == spoilt.index[-1]
    assert caught.value.where["field"] == column
    assert caught.value.mend
    assert set(counts(bare).values()) == {0}


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ("street|unit:GHOST", "rules: roles 'GHOST' is no unit"),
        ("street|mayor", "rule Z1: 'mayor' is no role"),
        ("unit:", "rule Z1: 'unit:' is no role"),
        ("street:WEST", "rule Z1: 'street:WEST' is no role"),
        ("", "rule Z1: '' is no role"),
    ],
)
def test_an_unknown_role_or_unit_of_a_rule_is_refused(bare: Engine, roles: str, words: str) -> None:
    rules = hamlet()[1]["rules"].copy()
    rules.loc[rules.index[-1], "roles"] = roles
    with pytest.raises(Invalid) as caught:
        loaded(bare, {"rules": rules})
    assert words in caught.value.en
    assert caught.value.mend


@pytest.mark.parametrize("frame", ["areas", "cells"])
def test_a_border_that_crosses_itself_is_refused_by_code(bare: Engine, frame: str) -> None:
    broken = hamlet()[1][frame].copy()
    broken.loc[broken.index[-1], "geometry"] = Polygon(
        [(500_000, 3_600_000), (500_100, 3_600_100), (500_100, 3_600_000), (500_000, 3_600_100)]
    )
    with pytest.raises(Invalid) as caught:
        loaded(bare, {frame: broken})
    assert str(broken["code"].iloc[-1]) in caught.value.en
    assert caught.value.mend


def test_what_the_source_found_is_kept_with_the_city(bare: Engine) -> None:
    findings = [{"what_en": "blank row", "what_zh": "空行", "rows": 1, "done_en": "dropped", "done_zh": "删除"}]
    loaded(bare, {"findings": findings})
    with bare.connect() as conn:
        row = conn.execute(query("grids", "read_city_row")).one()
    assert row.findings == findings
    assert (row.id, row.simulated) == ("hamlet", True)


def test_versions_hold_from_the_profiles_date_in_the_citys_zone(conn: Connection) -> None:
    since = conn.scalar(text("select distinct lower(valid) from grids.cell"))
    assert pd.Timestamp(since) == pd.Timestamp("2026-01-01T00:00+08:00")


def test_numbers_carry_the_citys_date_and_follow_the_time_of_report(bare: Engine) -> None:
    reports = hamlet()[1]["reports"].iloc[:4].copy()
    reports["reported_at"] = pd.to_datetime(
        ["2025-12-31T16:30Z", "2025-12-31T15:30Z", "2026-03-02T04:00Z", "2026-03-01T04:00Z"], utc=True
    )
    loaded(bare, {"reports": reports})
    with bare.connect() as conn:
        numbers = {row.key: row.case_no for row in conn.execute(text("select key, case_no from cases.report"))}
        assert {key: number // 10**6 for key, number in numbers.items()} == {
            "good-1": 20260101,
            "good-2": 20251231,
            "good-3": 20260302,
            "good-4": 20260301,
        }
        assert conn.scalar(text("select count(*) from cases.case_2025")) == 1
    assert sorted(numbers, key=lambda key: numbers[key] % 10**6) == ["good-2", "good-1", "good-4", "good-3"]
