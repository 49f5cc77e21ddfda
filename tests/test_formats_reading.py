"""Opening files of strangers: every kind in batches, encodings found out, faults named, nothing lost in silence."""

from __future__ import annotations

import json
import shutil
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from gis import archives
from gis.dbf import cut_text, encoding_of
from gis.errors import UnfitFile
from gis.formats import Batch, layers_of, open_vector, write_vector
from gis.wkb import ARC_DEG, arc, flat, linear
from tests.conftest import SHARED
from tests.hamlet import SRID, square

ROWS = 7
ESRI = {"TARGET_ARCGIS_VERSION": "ARCGIS_PRO_3_2_OR_LATER"}  #: knows whole numbers of 64 bits
NAMES = ["检查井", "路灯", "Gasse ä", None, "行道树", "垃圾箱", "鬲"]


def frame() -> gpd.GeoDataFrame:
    """Seven points with a code, a text with gaps, a whole number with gaps, and a size."""
    columns = {
        "code": [f"610999010100000{n}" for n in range(ROWS)],
        "name": NAMES,
        "age": pd.array([None, *range(1, ROWS)], dtype="Int64"),
        "size_m": [n / 3 for n in range(ROWS)],
    }
    points = [shapely.Point(500_000 + n, 3_600_000 + n / 1024) for n in range(ROWS)]
    return gpd.GeoDataFrame(columns, geometry=points, crs=SRID)


def read(path: Path, rows: int = 3, **options: Any) -> tuple[pd.DataFrame, dict[str, list[bool]]]:
    """All of a layer through batches of ``rows``."""
    with open_vector(path, **options) as file:
        parts = list(file.batches(rows))
    assert all(len(part.frame) <= rows for part in parts) or path.suffix in (".kml", ".kmz")
    flags = {name: [bool(value) for part in parts for value in part.flags[name]] for name in parts[0].flags}
    return pd.concat([part.frame for part in parts]), flags


def texts(column: pd.Series) -> list[str | None]:
    return [None if pd.isna(value) else str(value) for value in column]


# ── every format ────────────────────────────────────────


def written(folder: Path, kind: str) -> Path:
    """The frame as a file (or folder) of a kind."""
    rows = frame()
    path = folder / f"parts.{kind}"
    if kind == "csv":
        rows.assign(wkt=rows.geometry.to_wkt()).drop(columns="geometry").to_csv(path, index=False)
    elif kind == "parquet":
        rows.to_parquet(path)
    elif kind == "arrow.parquet":
        rows.to_parquet(path, geometry_encoding="geoarrow", schema_version="1.1.0", write_covering_bbox=True)
    elif kind in ("kmz", "gdb.zip", "shp.zip", "folder"):
        inner = folder / "inner"
        inner.mkdir()
        if kind == "kmz":
            pyogrio.write_dataframe(rows.to_crs(4326), inner / "doc.kml", driver="KML")
        elif kind == "gdb.zip":
            pyogrio.write_dataframe(rows, inner / "parts.gdb", driver="OpenFileGDB", **ESRI)
        else:
            pyogrio.write_dataframe(rows, inner / "parts.shp")
        if kind == "folder":
            return inner
        made = shutil.make_archive(str(folder / "made"), "zip", inner)
        return Path(made).rename(folder / f"parts.{kind.split('.')[-1]}")
    else:
        drivers = {
            "kml": "KML",
            "gml": "GML",
            "gdb": "OpenFileGDB",
            "geojsonl": "GeoJSONSeq",
            "gpkg": "GPKG",
            "fgb": "FlatGeobuf",
            "geojson": "GeoJSON",
            "shp": "ESRI Shapefile",
        }
        degrees = kind in ("kml", "geojsonl")
        options = ESRI if kind == "gdb" else {}
        pyogrio.write_dataframe(rows.to_crs(4326) if degrees else rows, path, driver=drivers[kind], **options)
    return path


KINDS = (
    *("gpkg", "shp", "shp.zip", "folder", "gdb", "gdb.zip", "kml", "kmz", "gml", "geojson", "geojsonl", "fgb"),
    *("parquet", "arrow.parquet", "csv"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_is_read_in_batches(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, kind)
    before = sorted(str(file) for file in tmp_path.rglob("*"))
    rows, flags = read(path)
    rows = rows.rename(columns={"Name": "name"})  # KML has a field of its own for it
    assert list(rows.index) == list(range(1, ROWS + 1))
    rows = rows.sort_values("code")  # FlatGeobuf keeps an order of its own
    assert texts(rows["code"]) == list(frame()["code"])
    assert [name or None for name in texts(rows["name"])] == NAMES
    assert [None if pd.isna(value) else int(value) for value in rows["age"]] == [None, *range(1, ROWS)]
    assert [float(value) for value in rows["size_m"]] == pytest.approx(list(frame()["size_m"]), abs=1e-6)
    assert not any(map(any, flags.values()))
    assert sorted(str(file) for file in tmp_path.rglob("*")) == before, "reading wrote something"
    with open_vector(path) as file:
        if file.crs is not None and file.crs.to_epsg() == SRID:
            apart = shapely.distance(rows.geometry.to_numpy(), frame().geometry.to_numpy())
            assert (apart <= (1e-3 if kind in ("gml", "gdb", "gdb.zip") else 0)).all()
        assert {name.lower() for name, _ in file.fields} >= {"code", "name", "age", "size_m"}
        assert file.rows in (ROWS, None)
        kinds = dict(file.fields)
        assert kinds["code"] == "text"
        assert kind == "csv" or kinds["size_m"] == "number"


def test_every_entity_of_a_drawing_has_its_layer(tmp_path: Path) -> None:
    path = tmp_path / "drawing.dxf"
    shapes = [shapely.Point(1, 2), shapely.LineString([(0, 0), (5, 5)])]
    pyogrio.write_dataframe(
        gpd.GeoDataFrame({"Layer": ["C0101", "C0205"]}, geometry=shapes, crs=SRID), path, driver="DXF"
    )
    rows, _ = read(path)
    assert list(rows["Layer"]) == ["C0101", "C0205"]
    with open_vector(path) as file:
        assert file.crs is None


@pytest.mark.parametrize("wanted", ["first", "second"])
def test_a_folder_of_shapefiles_is_one_layer_each(tmp_path: Path, wanted: str) -> None:
    for n, name in enumerate(("first", "second")):
        pyogrio.write_dataframe(frame().iloc[: n + 2], tmp_path / f"{name}.shp")
    assert [info.name for info in layers_of(tmp_path)] == ["first", "second"]
    with pytest.raises(UnfitFile, match="2 layers"):
        open_vector(tmp_path)
    assert len(read(tmp_path, layer=wanted)[0]) == {"first": 2, "second": 3}[wanted]


# ── texts ────────────────────────────────────────


def dbf(folder: Path, encoding: str, name: bytes, value: bytes, cpg: str | None) -> Path:
    """A shapefile of one row whose field name and text are these bytes."""
    path = folder / "a.shp"
    pyogrio.write_dataframe(
        gpd.GeoDataFrame({"n" * 10: ["v" * len(value)]}, geometry=[shapely.Point(1, 2)], crs=SRID), path
    )
    table = bytearray(path.with_suffix(".dbf").read_bytes())
    table[29] = 0
    table[32:43] = name[:10].ljust(11, b"\0")
    start = int.from_bytes(table[8:10], "little") + 1
    table[start : start + len(value)] = value
    path.with_suffix(".dbf").write_bytes(table)
    path.with_suffix(".cpg").unlink()
    if cpg is not None:
        path.with_suffix(".cpg").write_text(cpg)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "gbk"])
@pytest.mark.parametrize("cpg", [None, "right", "wrong"])
def test_names_and_texts_cut_within_a_character_lose_only_that_one(
    tmp_path: Path, encoding: str, cpg: str | None
) -> None:
    said = {None: None, "right": encoding.upper(), "wrong": {"utf-8": "GBK", "gbk": "UTF-8"}[encoding]}[cpg]
    name, value = "行政区划名称"[:6].encode(encoding)[:10], "安康市汉滨区老城街道".encode(encoding)[:-1]
    rows, flags = read(dbf(tmp_path, encoding, name, value, said))
    assert rows.columns[0] == cut_text(name, encoding)
    assert rows.iloc[0, 0] == "安康市汉滨区老城街"
    assert not any(flags["garbled"])


@given(st.lists(st.text("网格部件检查井路灯行道树联通 1", min_size=1, max_size=20), min_size=1, max_size=20))
@settings(max_examples=60)
def test_chinese_texts_are_told_apart_by_their_bytes(words: list[str]) -> None:
    for encoding in ("utf-8", "gbk"):
        table = _table([word.strip().encode(encoding) for word in words])
        known = encoding_of(table, None).name
        assert all(cut_text(word.strip().encode(encoding), known) == word.strip() for word in words)


def test_accents_beside_letters_are_utf8_not_gbk() -> None:
    assert encoding_of(_table(["Gasse ä".encode(), "Straße".encode()]), None).name == "utf-8"
    assert encoding_of(_table(["Gasse ä".encode("cp1252")]), b"1252").name == "cp1252"


def _table(values: list[bytes]) -> bytes:
    """A .dbf of one field of characters."""
    wide = 80
    head = struct.pack("<4BIHH20x", 3, 126, 1, 1, len(values), 65, wide + 1)
    field = b"t".ljust(11, b"\0") + b"C" + bytes(4) + bytes([wide, 0]) + bytes(14)
    return head + field + b"\r" + b"".join(b" " + value.ljust(wide) for value in values)


def test_bytes_of_no_encoding_are_flagged(tmp_path: Path) -> None:
    rows, flags = read(dbf(tmp_path, "gbk", b"name", b"\xff\xfe\xff\xff\xff\xffok", None))
    assert flags["garbled"] == [True]
    assert rows["name"].iloc[0].endswith("ok")


def test_a_person_can_say_the_encoding(tmp_path: Path) -> None:
    path = dbf(tmp_path, "gbk", b"name", "路".encode("gbk"), None)
    with open_vector(path, encoding="big5") as file:
        assert file.encoding_said[0] == "as you say"
        assert next(file.batches()).frame["name"].iloc[0] != "路"
    for word in ("klingon", "hex"):
        with pytest.raises(UnfitFile, match="no such encoding"):
            open_vector(path, encoding=word)
    path.with_suffix(".cpg").write_text("hex")
    with open_vector(path) as file:
        assert file.encoding == "gb18030"
    (tmp_path / "a.csv").write_bytes("x,y,名称\n1,2,路灯\n".encode("gbk"))
    with pytest.raises(UnfitFile, match="UTF-8"):
        open_vector(tmp_path / "a.csv", encoding="utf-8")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("heads", ["经度,纬度", "东坐标,北坐标", "POINT_X,POINT_Y"])
def test_tables_with_chinese_heads(tmp_path: Path, encoding: str, heads: str) -> None:
    text = f'编号,{heads},备注\r\n1,109.1,32.5,"两行\n文本"\r\n2,109.2,,\r\n3,109.3,三十二,x\r\n'
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    rows, flags = read(tmp_path / "t.csv", rows=2)
    assert texts(rows["备注"]) == ["两行\n文本", None, "x"]
    assert flags["unreadable"] == [False, True, True]
    assert rows.geometry.iloc[0] == shapely.Point(109.1, 32.5)
    with open_vector(tmp_path / "t.csv") as file:
        assert encoding == "utf-16" or file.rows == 3


# ── geometry ────────────────────────────────────────


def test_curves_become_chords_heights_and_measures_go_and_all_is_flagged() -> None:
    circle = struct.pack("<BII6d", 1, 8, 3, 0, 0, 2, 0, 0, 0)
    wkbs = [
        shapely.to_wkb(shapely.Point(1, 2)),
        shapely.to_wkb(shapely.Point(1, 2, 3)),
        shapely.to_wkb(shapely.Point(1, 2, 0)),
        struct.pack("<BI4d", 1, 3001, 1, 2, 3, 4),
        circle,
        struct.pack("<BII", 1, 10, 1) + circle,
        struct.pack("<BII", 1, 15, 1) + struct.pack("<BIII8d", 1, 3, 1, 4, 0, 0, 1, 0, 1, 1, 0, 0),
        None,
        b"\x01\x01\x00",
        b"nothing of the kind",
        struct.pack("<BII", 1, 11, 4_000_000_000),
    ]
    made = flat(np.array(wkbs, dtype=object))
    assert list(np.flatnonzero(made.curved)) == [4, 5, 10]
    assert list(np.flatnonzero(made.z)) == [1, 3]
    assert list(np.flatnonzero(made.m)) == [3]
    assert list(np.flatnonzero(made.unreadable)) == [8, 9, 10]
    assert not shapely.has_z(made.geometry).any()
    assert made.geometry[7] is None
    assert made.geometry[5].area == pytest.approx(np.pi, rel=1e-3)
    assert made.geometry[6].geom_type == "MultiPolygon"


numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


@given(st.tuples(numbers, numbers), st.floats(0.1, 1e4), st.floats(0, 6.28), st.floats(-6.2, 6.2))
def test_an_arc_keeps_its_ends_and_its_circle(
    centre: tuple[float, float], radius: float, begin: float, turn: float
) -> None:
    if abs(turn) < 0.01:
        return
    angles = begin + turn * np.array([0, 0.5, 1])
    three = np.array(centre) + radius * np.column_stack([np.cos(angles), np.sin(angles)])
    points = arc(*three)
    assert (points[0] == three[0]).all()
    assert (points[-1] == three[2]).all()
    far = np.hypot(*(points - np.array(centre)).T)
    assert far == pytest.approx(radius, rel=1e-5, abs=1e-6)
    assert np.hypot(*np.diff(points, axis=0).T).max() <= radius * np.radians(ARC_DEG) * 1.01
    length = shapely.length(shapely.LineString(points))
    assert length == pytest.approx(abs(turn) * radius, rel=1e-3)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    made = flat(np.array([data, b"\x01" + data, struct.pack("<BI", 1, 7) + data], dtype=object))
    assert len(made.geometry) == 3


def test_plain_geometries_are_the_same_by_either_reader() -> None:
    shapes = [square(0, 0, 5), shapely.MultiPoint([(1, 2), (3, 4)]), shapely.LineString([(0, 0), (1, 1)])]
    shapes += [shapely.GeometryCollection(shapes), shapely.Point(), shapely.Polygon()]
    for shape in shapes:
        assert linear(shapely.to_wkb(shape)) == (shape, False)


# ── bad input ────────────────────────────────────────


def test_a_file_that_breaks_off_is_refused(tmp_path: Path) -> None:
    for kind in ("geojson", "geojsonl", "gml", "kml", "fgb", "gpkg", "parquet", "shp"):
        (tmp_path / kind).mkdir()
        path = written(tmp_path / kind, kind)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * 0.7)])
        with pytest.raises(UnfitFile):
            read(path)
    drawing = tmp_path / "a.dxf"
    pyogrio.write_dataframe(frame()[["geometry"]], drawing, driver="DXF")
    drawing.write_bytes(drawing.read_bytes()[:-20])
    with pytest.raises(UnfitFile, match="breaks off"):
        read(drawing)


@pytest.mark.parametrize("kind", ["gml", "dxf", "geojson", "geojsonl", "kml", "fgb", "gdb"])
def test_a_fault_in_the_middle_is_not_taken_for_the_end(tmp_path: Path, kind: str) -> None:
    rows = gpd.GeoDataFrame(geometry=shapely.points(np.arange(2000.0).reshape(1000, 2) / 1e4), crs=4326)
    rows = rows if kind == "dxf" else rows.assign(n=np.arange(1000, dtype=np.int32))
    path = tmp_path / f"a.{kind}"
    drivers = {"gml": "GML", "dxf": "DXF", "geojsonl": "GeoJSONSeq", "kml": "KML", "fgb": "FlatGeobuf"}
    pyogrio.write_dataframe(rows, path, driver={**drivers, "geojson": "GeoJSON", "gdb": "OpenFileGDB"}[kind])
    assert len(read(path, rows=1000)[0]) == 1000
    victim = max(path.glob("*.gdbtable"), key=lambda file: file.stat().st_size) if kind == "gdb" else path
    content = victim.read_bytes()
    middle = len(content) // 2
    victim.write_bytes(content[:middle] + b"<<<\xff&&nothing>>\n}}]]{{" + bytes(9) + content[middle + 34 :])
    with pytest.raises(UnfitFile):
        read(path, rows=1000)


def test_xml_with_entities_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "gml")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("?>", '?><!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>', 1), encoding="utf-8")
    with pytest.raises(UnfitFile, match="DOCTYPE"):
        open_vector(path)


@pytest.mark.parametrize("part", [".dbf", ".shx", ".shp"])
def test_a_shapefile_with_an_empty_part_is_refused(tmp_path: Path, part: str) -> None:
    path = written(tmp_path, "shp")
    path.with_suffix(part).write_bytes(b"")
    with pytest.raises(UnfitFile, match="empty"):
        open_vector(path)


def zipped(path: Path, members: dict[str, bytes], **attributes: int) -> Path:
    """A zip file with these members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = attributes.get("mode", 0o644) << 16
            archive.writestr(member, content)
    return path


def shapefile_parts(folder: Path) -> Iterator[tuple[str, bytes]]:
    folder.mkdir()
    for part in written(folder, "shp").parent.iterdir():
        yield part.suffix, part.read_bytes()


@pytest.mark.parametrize("name", ["../a.shp", "/etc/a.shp", "..\\a.shp", "C:/a.shp", "a/../../b.shp"])
def test_a_path_out_of_the_zip_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / "a.zip", {name: b"x"})
    before = list(tmp_path.parent.iterdir())
    with pytest.raises(UnfitFile, match="outside"):
        open_vector(path)
    assert list(tmp_path.parent.iterdir()) == before


def test_bombs_links_and_zips_in_zips_are_refused(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", {"a.txt": b"x"}).read_bytes()
    with pytest.raises(UnfitFile, match="another archive"):
        open_vector(zipped(tmp_path / "outer.zip", {"inner.zip": inner}))
    with pytest.raises(UnfitFile, match="zip bomb"):
        open_vector(zipped(tmp_path / "bomb.zip", {"a.shp": bytes(archives._BOMB_BYTES + 1)}))
    with pytest.raises(UnfitFile, match="link"):
        open_vector(zipped(tmp_path / "link.zip", {"a.shp": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777))
    with pytest.raises(UnfitFile, match="without a shapefile"):
        open_vector(zipped(tmp_path / "none.zip", {"a.doc": b"x"}))


def test_names_in_a_zip_may_be_gbk(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for suffix, content in shapefile_parts(tmp_path / "in"):
            archive.writestr(f"xx{suffix}", content)
    path.write_bytes(path.read_bytes().replace(b"xx.", "井".encode("gbk") + b"."))
    assert [info.name for info in layers_of(path)] == ["井"]
    assert len(read(path)[0]) == ROWS


def test_nothing_that_was_unpacked_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "shp.zip")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with open_vector(path) as file:
        next(file.batches())
        assert len(list(scratch.iterdir())) == 1
    with pytest.raises(UnfitFile):
        open_vector(path, layer="none")
    assert list(scratch.iterdir()) == []


def test_a_file_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    target = written(tmp_path, "gpkg")
    lead = tmp_path / "lead.gml"
    lead.write_text(
        f"<OGRVRTDataSource><OGRVRTLayer name='parts'><SrcDataSource>{target}</SrcDataSource>"
        "</OGRVRTLayer></OGRVRTDataSource>"
    )
    with pytest.raises(UnfitFile, match="OGR_VRT"):
        open_vector(lead)


def test_odd_names_of_fields_stay_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    features = [{"type": "Feature", "properties": {"geometry": n, "list": [1, 2]}, "geometry": None} for n in range(2)]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    rows, flags = read(path)
    assert list(rows["geometry_2"]) == [0, 1]
    assert rows["geometry"].isna().all()
    assert not any(flags["unreadable"])
    assert rows["list"].iloc[0] == [1, 2]


def test_large_whole_numbers_are_exact(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    big = pd.array([2**53 + 1, None], dtype="Int64")
    write_vector(gpd.GeoDataFrame({"n": big}, geometry=[shapely.Point(0, 0)] * 2, crs=SRID), path)
    rows, _ = read(path)
    assert list(rows["n"]) == [2**53 + 1, None]


# ── the samples beside the project ────────────────────────────────────────

FORMATS = SHARED / "data" / "formats"
#: file → layer, rows, a field and its first value, EPSG number, flags that some rows have
SAMPLES: dict[str, tuple[str | None, int, tuple[str, Any] | None, int | None, set[str]]] = {
    "derived/shp_gbk_with_cpg.zip": (None, 10, ("行政区划名", "汉滨区"), 4326, set()),
    "derived/shp_gbk_ldid_only.zip": (None, 10, ("行政区划名", "汉滨区"), 4326, set()),
    "derived/shp_gbk_no_hint.zip": (None, 10, ("行政区划名", "汉滨区"), 4326, set()),
    "derived/towns_gcj02_gbk.csv": (None, 133, ("名称", "新城街道办事处"), None, set()),
    "derived/towns_gcj02_utf8bom.csv": (None, 133, ("名称", "新城街道办事处"), None, set()),
    "derived/county_cgcs2000_gk108.gpkg": (None, 10, ("name", "汉滨区"), 4545, set()),
    "derived/county_lines_gk108.dxf": (None, 12, ("Layer", "0"), None, set()),
    "derived/county_wgs84.kml": (None, 10, ("Name", "汉滨区"), 4326, set()),
    "derived/county_wgs84.fgb": (None, 10, ("Name", "镇坪县"), 4326, set()),
    "derived/towns_3857.gml": (None, 133, ("名称", "新城街道办事处"), 3857, set()),
    "upstream/coutwildrnp_shp.zip": (None, 67, ("NAME", "Mount Naomi Wilderness"), 4326, set()),
    "upstream/gre/gre.shp": (None, 1, ("name", "Grenada"), 4326, set()),
    "upstream/gre": (None, 1, ("name", "Grenada"), 4326, set()),
    "upstream/multicurve.gml": (None, 1, None, None, {"curved"}),
    "upstream/curve.gpkg": (None, 1, None, 4326, set()),  # compound curves, all of straight lines
    "upstream/curvepolygon.gpkg": (None, 1, None, 4326, set()),
    "upstream/multisurface.gpkg": (None, 1, None, 4326, set()),
    "upstream/line_zm.gpkg": (None, 1, None, 4326, set()),  # heights and measures of 0
    "upstream/test_gpkg_nulls.gpkg": (None, 4, ("col_int8", 1), 4326, set()),
    "upstream/2_polylines.dxf": (None, 86, ("Layer", "0"), None, {"curved"}),
    "upstream/5_us_states.dxf": (None, 5651, ("Layer", "BORDERS"), None, set()),
    "upstream/cambridge_neighborhoods.topojson": (None, 13, ("NAME", "The Port"), None, set()),
    "upstream/cambridge_street_sweeping_invalid_geoms.topojson": (None, 714, ("TYPE", "RD-TRAF-ISLAND"), None, set()),
    "upstream/sample.osm.pbf": ("points", 8, ("name", "Oaktree Close"), 4326, set()),
}


@pytest.mark.skipif(not FORMATS.exists(), reason="the samples are not in ../shared/data/formats")
def test_every_sample_reads_right_or_is_refused() -> None:
    known = {FORMATS / name for name in SAMPLES}
    for path in sorted(FORMATS.glob("*/*")):
        if path not in known:
            with pytest.raises(UnfitFile) as caught:
                open_vector(path)
            assert caught.value.mend
    for name, (layer, many, value, srid, flagged) in SAMPLES.items():
        with open_vector(FORMATS / name, layer=layer) as file:
            assert (file.crs.to_epsg() if file.crs else None) == srid, name
            parts: list[Batch] = list(file.batches(1000))
        rows = pd.concat([part.frame for part in parts])
        assert len(rows) == many, name
        assert value is None or rows[value[0]].iloc[0] == value[1], name
        assert {flag for part in parts for flag, mask in part.flags.items() if mask.any()} == flagged, name
        assert rows.geometry.notna().any(), name
