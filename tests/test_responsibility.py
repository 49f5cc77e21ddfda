"""Responsibility grids: the table goes out and comes back, faults are told, who walks where follows."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from shapely import box
from sqlalchemy import Connection, text

from api.jurisdiction import Asked, jurisdiction
from gis.errors import UnfitFile
from gis.written import write_vector
from grids.city import City
from layers.responsibility import (
    COLUMNS,
    FAULTS,
    Beats,
    check,
    errors_of,
    import_table,
    responsibility_polygons,
    responsibility_table,
    write_table,
)
from tests.hamlet import COMMUNITIES, SRID, at

CELLS = [f"{community}00{n}" for community in COMMUNITIES for n in (1, 2, 3, 4)]


def table(path: Path, *rows: tuple[str, str, str]) -> Path:
    """Rows: grid, cell, collector."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [list(COLUMNS), *([grid, f"网格{grid}", "", cell, collector] for grid, cell, collector in rows)]
        )
    return path


def take(conn: Connection, path: Path, **more: Any) -> Beats:
    return import_table(conn, SRID, path, **{"commit": True, "actor": "tester", "reason": "a test"} | more)


@pytest.mark.parametrize("name", ["beats.csv", "beats.xlsx"])
def test_what_was_written_changes_nothing_when_it_is_read_again(conn: Connection, tmp_path: Path, name: str) -> None:
    assert write_table(conn, tmp_path / name) == 2
    report = take(conn, tmp_path / name)
    assert (report.grids, report.cells, report.changed, report.ended, report.committed) == (1, 2, 0, 0, False)


def test_a_table_is_taken_over_as_a_whole_and_the_past_stays(conn: Connection, tmp_path: Path) -> None:
    path = table(
        tmp_path / "b.csv", *[("A", cell, "K1") for cell in CELLS[:8]], *[("B", cell, "") for cell in CELLS[8:]]
    )
    dry = take(conn, path, commit=False)
    assert (dry.changed, dry.ended, dry.committed) == (2, 1, False)
    assert take(conn, path).committed
    now = responsibility_table(conn)
    assert sorted(now["cell_code"]) == sorted(CELLS)
    assert set(now[now["code"] == "A"]["collector"]) == {"K1"}
    assert {fault.rule for fault in check(conn, SRID, now)} == {"nobody_walks"}
    shapes = responsibility_polygons(conn, SRID)
    assert shapes.area.sum() == pytest.approx(400 * 400)
    assert list(shapes["cells"]) == [8, 8]
    past = conn.execute(text("select code, upper_inf(valid) from grids.responsibility order by 1, 2")).all()
    assert [tuple(row) for row in past] == [("A", True), ("B", True), ("R1", False)]
    assert take(conn, path).changed == 0


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([("A", CELLS[0], ""), ("B", CELLS[0], "")], "cell_twice"),
        ([("A", "610999001001099", "")], "cell_unknown"),
        ([("A", CELLS[0], "NOBODY")], "collector_unknown"),
        ([("A", CELLS[0], "K1"), ("B", CELLS[1], "K1")], "collector_twice"),
        ([("A", CELLS[0], "K1"), ("A", CELLS[1], "K2")], "collectors_differ"),
        ([("A", CELLS[0], "K1")], "cell_left_out"),
        ([("A", CELLS[0], ""), ("A", CELLS[15], "")], "in_pieces"),
        ([("A", cell, "") for cell in CELLS[:14]] + [("B", CELLS[14], ""), ("C", CELLS[15], "")], "uneven"),
    ],
)
def test_a_fault_is_told_and_an_error_writes_nothing(
    conn: Connection, tmp_path: Path, rows: list[tuple[str, str, str]], fault: str
) -> None:
    report = take(conn, table(tmp_path / "b.csv", *rows))
    assert fault in {one.rule for one in report.faults}
    grave = FAULTS[fault][0] == "error"
    assert bool([one for one in errors_of(report.faults) if one.rule == fault]) == grave
    if grave:
        assert not report.committed
        assert list(responsibility_table(conn)["code"].unique()) == ["R1"]


def test_a_table_without_its_columns_is_refused(conn: Connection, tmp_path: Path) -> None:
    path = tmp_path / "b.csv"
    path.write_text("grid,name\nA,b\n", encoding="utf-8")
    with pytest.raises(UnfitFile, match="no column cell_code"):
        take(conn, path)


def test_polygons_that_were_written_change_nothing_and_a_line_through_a_cell_is_told(
    conn: Connection, tmp_path: Path
) -> None:
    take(
        conn, table(tmp_path / "b.csv", *[("A", cell, "K1") for cell in CELLS[:8]], *[("B", c, "") for c in CELLS[8:]])
    )
    shapes = responsibility_polygons(conn, SRID)
    write_vector(shapes, tmp_path / "b.gpkg")
    report = take(conn, tmp_path / "b.gpkg")
    assert (report.changed, report.ended, {fault.rule for fault in report.faults}) == (0, 0, {"nobody_walks"})
    west, _, east, _ = shapes.total_bounds
    shapes.geometry = [
        shapes.union_all() & box(west, -1e9, west + 130, 1e9),
        shapes.union_all() & box(west + 130, -1e9, east, 1e9),
    ]
    write_vector(shapes, tmp_path / "cut.geojson")
    report = take(conn, tmp_path / "cut.geojson", commit=False)
    assert report.changed == 2
    assert {fault.detail[-4:] for fault in report.faults if fault.rule == "cell_cut"} == {"70 %"}
    shapes.rename(columns={"code": "what"}).to_file(tmp_path / "no.gpkg")
    with pytest.raises(UnfitFile, match="no column code"):
        take(conn, tmp_path / "no.gpkg")


def test_of_the_past_who_walked_then_is_told(conn: Connection, template: City, tmp_path: Path) -> None:
    x, y = at(50, 150)
    asked = Asked(x=x, y=y, srid=SRID)
    before = conn.execute(text("select clock_timestamp()")).scalar_one()
    conn.execute(
        text(
            "insert into layers.collector (code, name_zh, name_en, unit_id) "
            "select 'K2', '乙', 'B', min(id) from layers.unit"
        )
    )
    take(conn, table(tmp_path / "b.csv", *[("R1", cell, "K2") for cell in CELLS]))
    walks = [
        jurisdiction(conn, template, replace(asked, at=when))["collector"]["collector"]["code"]
        for when in (before, None)
    ]
    assert walks == ["K1", "K2"]
