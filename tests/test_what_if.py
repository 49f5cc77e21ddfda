"""What if: a draft compared with what holds; what it says comes true, and nothing of it stays."""

from __future__ import annotations

import csv
from pathlib import Path

import geopandas as gpd
import pytest
from shapely import box
from sqlalchemy import Connection, text

from api.publishing import publish_grid
from api.whatif import WhatIf, lines_of, what_if, write_layer_file, write_map
from cases.what_if import by_units
from gis.errors import Invalid, NotFound, UnfitFile
from grids.areas import AREAS, CELLS
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


def test_a_border_of_communities_that_is_moved_cuts_cells_and_cases_follow(
    conn: Connection, template: City, tmp_path: Path
) -> None:
    held = AREAS.read(conn, SRID)
    west, east = "610999001001", "610999002001"
    ground = held.set_index("code").geometry
    line = ground[east].bounds[0] - 30.0  # the eastern community gains 30 m
    strip = box(line, -1e9, ground[east].bounds[0], 1e9) & ground[west]
    drawn = gpd.GeoDataFrame(
        {"code": [west, east]}, geometry=[ground[west] - strip, (ground[east] | strip).buffer(0)], crs=SRID
    )
    path = tmp_path / "areas.gpkg"
    drawn.to_file(path)
    before = everything(conn)
    found = compared(conn, template, str(path))
    assert everything(conn) == before
    assert found.areas is not None
    assert found.areas.communities == {"new": 0, "changed": 2, "gone": 0}
    cells = found.areas.cells
    assert cells.area.sum() == pytest.approx(
        sum(ground[west].intersection(box(line - 70, -1e9, 1e9, 1e9)).area for _ in "1")
    )
    taken = cells[cells["code"].str.startswith(east)]
    assert taken.area.sum() == pytest.approx(strip.area)
    assert all(code not in set(CELLS.read(conn, SRID)["code"]) for code in taken["code"])
    points = conn.execute(
        text("select no from cases.case where st_intersects(geom, st_geomfromtext(:strip, :srid)) order by no"),
        {"strip": strip.buffer(-0.01).wkt, "srid": SRID},
    )
    moved = found.compared.differing
    assert sorted(moved[moved["to_cell"].str.startswith(east)]["no"]) == list(points.scalars())
    words = " ".join(en for en, _ in lines_of(found))
    assert "0 new, 2 changed, 0 gone" in words
    write_layer_file(found, tmp_path / "out.gpkg", overwrite=False)
    assert len(gpd.read_file(tmp_path / "out.gpkg", layer="cells")) == len(cells)
    same = drawn.set_geometry([ground[west], ground[east]])
    same.to_crs(4326).to_file(tmp_path / "same.geojson")
    nothing = compared(conn, template, str(tmp_path / "same.geojson"))
    assert nothing.areas is not None
    assert (nothing.areas.cells.empty, nothing.compared.differing.empty) == (True, True)


@pytest.mark.parametrize(
    ("code", "reach_m", "words"),
    [
        ("610999001001", 5.0, "overlap"),
        ("61099900100", 0.0, "61099900100"),
        ("610999001001", None, "outside of the city"),
        ("610998001001", 0.0, "no community of a street"),
    ],
)
def test_communities_that_do_not_fit_are_refused_with_the_place(
    conn: Connection, template: City, tmp_path: Path, code: str, reach_m: float | None, words: str
) -> None:
    ground = AREAS.read(conn, SRID).set_index("code").geometry["610999001001"]
    ground = box(0, 0, 100, 100) if reach_m is None else ground.buffer(reach_m, join_style="mitre")
    gpd.GeoDataFrame({"code": [code]}, geometry=[ground], crs=SRID).to_file(tmp_path / "a.gpkg")
    with pytest.raises(Invalid, match=words):
        compared(conn, template, str(tmp_path / "a.gpkg"))
