"""What an import must never do in silence: take back newer edits, retire by mistake, reuse a number, drop a value."""

from __future__ import annotations

import decimal
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from shapely import Point, Polygon
from sqlalchemy import Connection, text

from api.exported import Wanted, export_layer
from gis.errors import Conflict, Invalid, UnfitFile
from gis.formats import open_vector, read_vector, write_vector
from grids.city import City
from layers import edits
from layers.census import _array, import_census
from layers.census_log import undo_census
from layers.census_mapping import parse_mapping, read_mapping
from layers.edits import version_at, versions
from tests.hamlet import SRID, at
from tests.test_census import BASE, fates, inventory, row, run, survey

__all__ = ["run"]
LAMP = "6109990137000001"


def change(conn: Connection, code: str, actor: str = "li", **fields: Any) -> None:
    base = version_at(conn, code)
    edits.change(conn, code, fields, base_id=base.id, srid=SRID, actor=actor, reason="a test")


# ── a file that was exported before others edited ────────────────────────────────────────


@pytest.fixture
def exported(conn: Connection, template: City, tmp_path: Path) -> Path:
    path = tmp_path / "export.gpkg"
    export_layer(conn, template, path, Wanted(layer="components"))
    return path


def reimport(conn: Connection, city: City, path: Path, mapping: Path, **options: Any) -> Any:
    return import_census(conn, city, path, read_mapping(mapping), actor="wang", **options)


def test_an_old_export_takes_no_newer_edit_back(
    conn: Connection, template: City, exported: Path, tmp_path: Path
) -> None:
    mapping = exported.with_name(f"{exported.name}.census.toml")
    change(conn, LAMP, state="damaged", geometry=Point(at(12, 12)))
    untouched = reimport(conn, template, exported, mapping, commit=True)
    assert untouched.changes == 0
    assert version_at(conn, LAMP).fields["state"] == "damaged"
    frame = read_vector(exported)
    frame.loc[frame["code"] == LAMP, "name_zh"] = "改"
    edited = tmp_path / "edited.gpkg"
    write_vector(frame, edited)
    report = reimport(conn, template, edited, mapping)
    assert report.tally == {"edited_since": 1}
    assert report.findings["detail_en"].iloc[0].startswith("by li, ")
    assert fates(report)["refused"] == 1
    with pytest.raises(Invalid):
        reimport(conn, template, edited, mapping, commit=True)
    was = versions(conn, LAMP)[0].fields
    change(conn, LAMP, state=was["state"], geometry=was["geometry"])
    assert reimport(conn, template, edited, mapping).tally == {}  # it is again what it was


@pytest.mark.parametrize("field", ["changed_on", "data_source", "source_key"])
def test_every_field_of_an_exported_file_can_be_edited(
    conn: Connection, template: City, exported: Path, tmp_path: Path, field: str
) -> None:
    mapping = exported.with_name(f"{exported.name}.census.toml")
    frame = read_vector(exported)
    frame[field] = frame[field].astype(object)
    value = pd.Timestamp("2026-05-01").date() if field == "changed_on" else "另一个"
    frame.loc[frame["code"] == LAMP, field] = value
    write_vector(frame, tmp_path / "edited.gpkg")
    report = reimport(conn, template, tmp_path / "edited.gpkg", mapping, commit=True)
    assert fates(report)["changed"] == 1
    assert report.tally == {}
    assert version_at(conn, LAMP).fields[field] == value


# ── gone ────────────────────────────────────────


def test_a_refused_row_retires_no_class(conn: Connection, run: Any) -> None:
    run([*BASE, row(205, 205, "C0101", key="M1"), row(225, 205, "C0101", key="M2")])
    typo = [*BASE[:8], row(185, 30, "C0101", code="6109990137000011")]
    report = run(typo, mapping={"extent": "areas"}, skip_errors=True, commit=False)
    counts = report.counts.set_index("class_code")
    assert counts.loc["C0101", "gone"] == 0


def test_a_row_of_no_class_may_be_of_any(conn: Connection, run: Any) -> None:
    run(BASE)
    report = run([*BASE[:5], row(185, 30, "X", key="K9")], mapping={"extent": "areas"}, skip_errors=True, commit=False)
    assert report.total("gone") == 0


def test_it_is_told_when_most_of_a_class_would_be_gone(conn: Connection, run: Any) -> None:
    many = [row(10 + 6 * (n % 14), 110 + 8 * (n // 14), key=f"Q{n}") for n in range(60)]
    run(many)
    report = run(many[:5], mapping={"extent": "areas"}, commit=False)
    assert report.tally["gone_many"] == 1
    assert report.total("gone") >= 55


# ── matching ────────────────────────────────────────


def test_rows_without_code_and_key_at_the_same_place_are_the_same(conn: Connection, run: Any) -> None:
    rows = [row(30 + n, 40) for n in range(5)]
    bare = {"key": None, "match_m": None}
    run(rows, mapping=bare)
    before = inventory(conn)
    assert fates(run(rows, mapping=bare)) == {"same": 5}
    assert fates(run(rows, mapping={**bare, "extent": "hull"}, commit=False)).get("new") is None
    assert inventory(conn) == before


def test_a_key_that_two_components_share_is_not_decided(conn: Connection, run: Any) -> None:
    run([row(30, 40, key="S"), row(60, 40, key="T")])
    conn.execute(text("update layers.component set source_key = 'S' where source_key = 'T'"))
    for _ in range(2):
        report = run([row(45, 40, key="S")])
        assert fates(report) == {"ambiguous": 1}
        assert report.census_id is None


def test_a_key_cannot_be_given_twice(conn: Connection, run: Any) -> None:
    run([row(30, 40, key="S")])
    report = run([row(60, 40, key="S", code="6109990137000077")], commit=False)
    assert report.tally == {"key_taken": 1}
    taken = conn.execute(text("select code from layers.component where source_key = 'S'")).scalar_one()
    with pytest.raises(Invalid, match=taken):
        change(conn, LAMP, source_key="S")


def test_a_polygon_with_the_same_vertices_has_moved(conn: Connection, run: Any) -> None:
    conn.execute(text("alter table layers.class disable trigger keep"))
    conn.execute(text("update layers.class set geometry_type = 'Polygon' where edition = 'hamlet' and code = 'C0137'"))
    conn.execute(text("delete from layers.component where class_code = 'C0137'"))
    x, y = at(20, 20)
    corners = [(0, 0), (20, 0), (20, 20), (0, 20)]
    notch = (10, 10)
    left = Polygon([(x + a, y + b) for a, b in [*corners, notch]])
    below = Polygon([(x + a, y + b) for a, b in [corners[0], notch, *corners[1:]]])
    run([row(0, 0, key="P", geometry=left)])
    assert fates(run([row(0, 0, key="P", geometry=below)], commit=False)) == {"moved": 1}


# ── numbers ────────────────────────────────────────


def test_serials_end_and_never_begin_anew(conn: Connection, run: Any) -> None:
    far = run([row(5, 5, code="6109990137999998")])
    assert far.tally == {"code_far": 1}
    with pytest.raises(Invalid, match="no serial is left"):
        run([row(15, 5, key="a"), row(25, 5, key="b")])
    run([row(15, 5, key="a")])
    assert conn.execute(text("select max(code) from layers.component")).scalar_one() == "6109990137999999"


# ── undo ────────────────────────────────────────


def test_imports_are_undone_in_reverse_order(conn: Connection, run: Any) -> None:
    start = inventory(conn)
    first = run(BASE)
    second = run([{**one, "state": "破损"} for one in BASE])
    third = run([{**one, "state": "丢失"} for one in BASE])
    assert None not in (first.census_id, second.census_id)
    with pytest.raises(Conflict):
        undo_census(conn, first.census_id or 0, actor="tester")
    for report in (third, second, first):
        assert undo_census(conn, report.census_id or 0, actor="tester") == 9
    assert inventory(conn) == start


def test_an_undone_file_with_codes_of_its_own_comes_back(conn: Connection, run: Any) -> None:
    rows = [row(5, 5, code="6109990137000051"), row(50, 5, code="6109990137000052")]
    report = run(rows)
    there = inventory(conn)
    undo_census(conn, report.census_id or 0, actor="tester")
    assert fates(run(rows)) == {"new": 2}
    assert inventory(conn) == there


# ── values ────────────────────────────────────────


def test_a_table_of_text_gives_numbers_where_the_class_wants_them(
    conn: Connection, template: City, tmp_path: Path
) -> None:
    schema = '{"type": "object", "properties": {"height_m": {"type": "number"}, "led": {"type": "boolean"}}}'
    conn.execute(
        text("update layers.class set attribute_schema = cast(:s as jsonb) where code = 'C0137'"), {"s": schema}
    )
    places = [at(30 + 9 * n, 40) for n in range(3)]
    lines = ["key,height_m,led,x,y"]
    values = (("A", "9", "是"), ("B", "7.5", "false"), ("C", "12m", "1"))
    lines += [f"{key},{high},{led},{x},{y}" for (key, high, led), (x, y) in zip(values, places, strict=True)]
    path = tmp_path / "lamps.csv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    table = {"class": "C0137", "crs": SRID, "key": "key", "attributes": {"height_m": "height_m", "led": "led"}}
    mapping = parse_mapping(table, tmp_path / "m.toml")
    report = import_census(conn, template, path, mapping, actor="t", commit=True, skip_errors=True)
    assert report.findings[["rule", "row", "value"]].to_numpy().tolist() == [["attribute", 3, "12m"]]
    found = conn.execute(text("select attrs from layers.component where source_key in ('A', 'B') order by source_key"))
    assert list(found.scalars()) == [{"height_m": 9, "led": True}, {"height_m": 7.5, "led": False}]


def test_one_odd_cell_spoils_no_column(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("n,x,y\n12,1,1\n12m,2,2\n6,3,3\n", "utf-8")
    (tmp_path / "t.csvt").write_text('"Integer","Real","Real"\n')
    with open_vector(tmp_path / "t.csv") as file:
        frame = next(file.batches()).frame
    assert frame["n"].tolist() == [12, "12m", 6]


def parquet(path: Path, **columns: Any) -> Path:
    """A GeoParquet file with the columns and three points."""
    points = [shapely.to_wkb(Point(at(30 + 20 * n, 60))) for n in range(3)]
    table = pa.table({**columns, "geometry": pa.array(points, pa.binary())})
    frame = gpd.GeoDataFrame(geometry=[Point(at(30, 60))], crs=SRID)
    frame.to_parquet(path)
    geo = pq.read_schema(path).metadata[b"geo"]
    pq.write_table(table.replace_schema_metadata({b"geo": geo}), path)
    return path


def test_codes_that_are_decimals_are_codes_and_others_are_faults(
    conn: Connection, template: City, tmp_path: Path
) -> None:
    codes = [6109990137000001, 6109990137000002, None]
    made = [None if code is None else decimal.Decimal(code) for code in codes]
    path = parquet(tmp_path / "d.parquet", code=pa.array(made, pa.decimal128(20, 0)))
    mapping = parse_mapping({"class": "C0137", "code": "code"}, tmp_path / "m.toml")
    report = import_census(conn, template, path, mapping, actor="t")
    assert fates(report) == {"moved": 2, "new": 1}
    for kind in (pa.array([[1], [2], [3]]), pa.array([True, False, True]), pa.array([b"1", b"2", b"3"])):
        parquet(path, code=kind)
        assert import_census(conn, template, path, mapping, actor="t").tally == {"code_form": 3}


LISTS = {
    "list": pa.array([["a"], ["b", "c"], None]),
    "nan": pa.array([[1.0, float("nan")], [float("inf")], [2.0]]),
    "nul": pa.array([["a\0b"], ["c"], []]),
    "fixed": pa.array([[1.0, 2.0], [3.0, 4.0], None], pa.list_(pa.float64(), 2)),
    "struct": pa.array([{"a\0": 1}, {"a\0": None}, None]),
    "large": pa.array([2**64 - 1, 1, 2], pa.uint64()),
    "far day": pa.array([10**15, 0, 1], pa.timestamp("s")),
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("key", ["attributes", "state", "name_zh", "surveyed_field", "key", "class_field"])
def test_values_that_no_field_can_hold_are_told_or_kept(
    conn: Connection, template: City, tmp_path: Path, name: str, key: str
) -> None:
    path = parquet(tmp_path / "l.parquet", odd=LISTS[name])
    table: dict[str, Any] = {"class": "C0137", key: {"odd": "odd"} if key == "attributes" else "odd"}
    if key == "class_field":
        del table["class"]
    mapping = parse_mapping(table, tmp_path / "m.toml")
    try:
        report = import_census(conn, template, path, mapping, actor="t", commit=True, skip_errors=True)
    except UnfitFile:
        return
    assert sum(fates(report).values()) == 3


def test_names_of_attributes_reach_the_database_as_they_are(conn: Connection) -> None:
    names = ["a\tb", 'say "x"', "back\\slash", "逗,号", "{}", "null"]
    assert conn.execute(text("select cast(:a as text[])"), {"a": _array(names)}).scalar_one() == names


def test_an_edit_between_yes_and_one_is_an_edit(conn: Connection) -> None:
    change(conn, LAMP, attrs={"a": True, "b": [1], "c": {"d": 1}})
    count = len(versions(conn, LAMP))
    change(conn, LAMP, attrs={"a": 1, "b": [True], "c": {"d": True}})
    assert len(versions(conn, LAMP)) == count + 1
    assert version_at(conn, LAMP).fields["attrs"] == {"a": 1, "b": [True], "c": {"d": True}}


def test_attributes_are_written_as_an_import_would(conn: Connection, template: City, tmp_path: Path) -> None:
    change(conn, LAMP, attrs={"e": "", "s": " x ", "n": None, "l": [" y ", None]})
    assert version_at(conn, LAMP).fields["attrs"] == {"s": "x", "l": ["y", None]}


def test_what_an_import_took_can_be_edited(conn: Connection, run: Any) -> None:
    run([row(30, 40, key="old", day="1899-01-01")])
    code = conn.execute(text("select code from layers.component where source_key = 'old'")).scalar_one()
    change(conn, code, state="damaged")
    assert version_at(conn, code).fields["state"] == "damaged"
    assert run([row(60, 40, key="long", name="长" * 201)], commit=False).tally == {"text_long": 1}


def test_a_key_of_nothing_is_no_key(conn: Connection, template: City, tmp_path: Path) -> None:
    path = parquet(tmp_path / "k.parquet", key=pa.array(["\0", " \0 ", "K"]))
    mapping = parse_mapping({"class": "C0137", "key": "key", "key_prefix": "p"}, tmp_path / "m.toml")
    report = import_census(conn, template, path, mapping, actor="t", commit=True)
    assert report.tally["key_missing"] == 2
    keys = conn.execute(text("select source_key from layers.component where source_key is not null")).scalars()
    assert "p/K" in set(keys)


MAPPINGS: dict[str, dict[str, Any]] = {
    "units": {"class": "C0137", "units": 5},
    "nul": {"class": "C0137", "source": "a\0b"},
    "nul in a table": {"class": "C0137", "attributes": {"a\0": "b"}},
    "empty name": {"class": "C0137", "attributes": {"": "b"}},
    "helmert": {"class": "C0137", "crs": {"crs": 2381, "helmert7": {"from": True}}},
}


@pytest.mark.parametrize("name", MAPPINGS)
def test_a_mapping_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnfitFile):
        parse_mapping(MAPPINGS[name], tmp_path / "m.toml")


@pytest.mark.parametrize("text", ["extent = " + "[" * 5000 + "]" * 5000, "match_m = " + "1" * 5000])
def test_a_mapping_that_breaks_its_reader_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(UnfitFile):
        read_mapping(tmp_path / "m.toml")


def test_where_may_name_what_json_cannot(conn: Connection, template: City, tmp_path: Path) -> None:
    path = survey(tmp_path / "s.gpkg", [row(30, 40)])
    table = {"class": "C0137", "where": {"field": "lamps", "among": [2, float("inf")]}}
    report = import_census(conn, template, path, parse_mapping(table, tmp_path / "m.toml"), actor="t", commit=True)
    assert fates(report) == {"new": 1}


def test_deep_collections_are_unreadable_not_fatal(conn: Connection, template: City, tmp_path: Path) -> None:
    deep = "GEOMETRYCOLLECTION(" * 3000 + "POINT(1 1)" + ")" * 3000
    x, y = at(30, 40)
    (tmp_path / "t.csv").write_text(f'wkt,n\n"{deep}",1\nPOINT({x} {y}),2\n')
    mapping = parse_mapping({"class": "C0137", "crs": SRID}, tmp_path / "m.toml")
    assert import_census(conn, template, tmp_path / "t.csv", mapping, actor="t").tally == {"geometry_unreadable": 1}


# ── workbooks ────────────────────────────────────────


def test_a_workbook_that_was_written_is_read(conn: Connection, template: City, tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    export_layer(conn, template, path, Wanted(layer="components"))
    table = {
        "class_field": "class_code",
        "code": "code",
        "state": "state",
        "surveyed_field": "surveyed_on",
        "crs": SRID,
    }
    report = import_census(conn, template, path, parse_mapping(table, tmp_path / "m.toml"), actor="t")
    assert set(fates(report)) <= {"same", "confirmed"}
    assert report.tally == {}
    broken = tmp_path / "broken.xlsx"
    broken.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UnfitFile), open_vector(broken):
        pass


def test_the_past_is_exported_with_the_cells_of_then(conn: Connection, template: City, tmp_path: Path) -> None:
    then = conn.execute(text("select clock_timestamp()")).scalar_one()
    old = conn.execute(text("select cell_code from layers.component where code = :c"), {"c": LAMP}).scalar_one()
    conn.execute(
        text("""
          with ended as (
            update grids.cell set valid = tstzrange(lower(valid), clock_timestamp())
            where code = :c and upper_inf(valid) returning *)
          insert into grids.cell (code, area_class, geom, valid, change_id)
          select left(code, 12) || '099', area_class, geom, tstzrange(upper(valid), null), change_id from ended"""),
        {"c": old},
    )
    conn.execute(
        text("update layers.component set cell_code = left(cell_code, 12) || '099' where cell_code = :c"), {"c": old}
    )
    for name, instant in (("now", None), ("then", then)):
        export_layer(conn, template, tmp_path / f"{name}.gpkg", Wanted(layer="components", at=instant))
        cells = read_vector(tmp_path / f"{name}.gpkg").set_index("code")["cell_code"]
        assert cells[LAMP] == (old if name == "then" else f"{old[:12]}099")
