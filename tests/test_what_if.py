"""What if: a draft compared with what holds; what it says comes true, and nothing of it stays."""

from __future__ import annotations

import csv
from pathlib import Path

import geopandas as gpd
import pytest
from sqlalchemy import Connection, text

from api.publishing import publish_grid
from api.whatif import WhatIf, lines_of, what_if, write_layer_file, write_map
from cases.what_if import by_units
from gis.errors import Invalid, NotFound, UnfitFile
from grids.areas import AREAS
from grids.city import City
from grids.edit import merge, open_draft
from tests.hamlet import SRID

HEAD = ["code", "class_prefix", "condition_no", "area_prefix", "roles", "zone", "source_document", "source_on"]


def silent(_text: str, _part: float) -> None:
    pass


def rules(path: Path, *rows: tuple[str, ...]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEAD, *rows])
    return path


def everything(conn: Connection) -> list[tuple[str, int]]:
    tables = (
        "grids.cell",
        "cases.rule",
        "cases.rule_role",
        "cases.case",
        "cases.event",
        "layers.component",
        "gis.change",
    )
    return [
        (table, conn.execute(text(f"select coalesce(sum(hashtext(t::text)), 0) from {table} t")).scalar_one())
        for table in tables
    ]


def compared(conn: Connection, city: City, draft: str, **more: bool) -> WhatIf:
    return what_if(conn, city, draft, days=365, progress=silent, **{"complete": False} | more)


def test_rules_tried_out_say_which_cases_would_go_to_whom_and_change_nothing(
    conn: Connection, template: City, tmp_path: Path
) -> None:
    before = everything(conn)
    draft = rules(tmp_path / "r.csv", ("G3", "E0102", "", "610999001002", "unit:WATER", "", "tried out", ""))
    found = compared(conn, template, str(draft))
    assert everything(conn) == before
    assert found.compared.cases == 4
    inside = conn.execute(
        text(
            "select count(*) from cases.case c join grids.cell k on k.id = c.cell_id "
            "where c.class_code = 'E0102' and k.community_code = '610999001002'"
        )
    ).scalar_one()
    changed = found.compared.differing
    assert len(changed) == inside
    same = rules(tmp_path / "s.csv", ("G1", "E01", "", "", "street|district", "", "made up", ""))
    assert compared(conn, template, str(same)).compared.differing.empty
    everyone = rules(tmp_path / "t.csv", ("A", "", "", "", "unit:WATER", "", "tried out", ""))
    all_of_them = compared(conn, template, str(everyone), complete=True).compared.differing
    table = by_units(all_of_them)
    assert table["cases"].sum() == len(all_of_them) > 0
    assert set(table["to_unit"]) == {"WATER"}
    assert everything(conn) == before


def test_what_it_says_of_a_redrawn_grid_is_what_publishing_does(
    conn: Connection, template: City, tmp_path: Path
) -> None:
    west = "610999001001"
    edition = open_draft(conn, [west], actor="tester")
    merge(conn, edition, [f"{west}00{n}" for n in (1, 2, 3, 4)], actor="tester")
    before = everything(conn)
    found = compared(conn, template, str(edition))
    assert everything(conn) == before
    assert len(found.components) == 2, "the merged cell has a new number"
    told = {(row["no"], row["to_cell"]) for row in found.compared.differing.to_dict("records")}
    out, page = tmp_path / "w.gpkg", tmp_path / "w.html"
    write_layer_file(found, out, overwrite=False)
    assert len(gpd.read_file(out, layer="cases")) == len(told)
    assert len(gpd.read_file(out, layer="components")) == len(found.components)
    write_map(found, template, AREAS.read(conn, SRID), page)
    words = page.read_text(encoding="utf-8")
    assert "模拟数据" in words
    assert "http://" not in words.replace("http://www.w3.org", "")
    lines = list(lines_of(found))
    assert lines[-1] == ("nothing was changed", "未作任何更改")
    published = publish_grid(conn, edition, actor="tester")
    assert {one.code: one.to_code for one in published.components} == dict(
        zip(found.components["code"], found.components["to_cell"], strict=True)
    )


def test_a_draft_that_is_none_is_refused(conn: Connection, template: City, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no draft"):
        compared(conn, template, "999999")
    with pytest.raises(UnfitFile):
        compared(conn, template, str(tmp_path / "nothing.csv"))
    broken = rules(tmp_path / "b.csv", ("G3", "E0102", "", "", "unit:NOBODY", "", "tried out", ""))
    with pytest.raises(Invalid, match="the rules have errors"):
        compared(conn, template, str(broken))
