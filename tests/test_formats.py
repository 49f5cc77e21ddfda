"""Vector files: what is written is read again to the last bit, and whatever is wrong with a file is said."""

from __future__ import annotations

import codecs
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gis.crs import BD09, GCJ02, GEODETIC, reproject
from gis.dbf import encoding_of
from gis.errors import Conflict, UnfitCoordinates, UnfitFile
from gis.formats import WRITTEN, code_text, open_vector, read_vector, write_layers, write_vector
from tests.hamlet import SRID, square

NAMES = ["老城街道", "Gasse ä", None]


def frame() -> gpd.GeoDataFrame:
    """Three rows: a code of 15 digits, a text with Chinese, a number, a day."""
    columns = {
        "code": ["610999001001001", "610999001001002", "610999001001003"],
        "name": NAMES,
        "size_m2": [1.5, np.nan, 3.25],
        "since": [date(2026, 1, 1), date(2026, 2, 2), None],
    }
    shapes = [square(0, 0, 100), square(100, 0, 100.0009765625), square(0.3330078125, 100, 50)]
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=SRID)


def texts(column: pd.Series) -> list[str | None]:
    return [None if pd.isna(value) else str(value) for value in column]


# ── laws ────────────────────────────────────────


@pytest.mark.parametrize("suffix", WRITTEN)
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"网格{suffix}"
    write_vector(frame(), path)
    again = read_vector(path).sort_values("code", ignore_index=True)
    assert again.crs.to_epsg() == SRID
    assert list(again["code"]) == list(frame()["code"])
    assert texts(again["name"]) == NAMES
    assert shapely.equals_exact(
        shapely.normalize(np.asarray(again.geometry.array)), shapely.normalize(np.asarray(frame().geometry.array)), 0.0
    ).all()
    assert [name for name in tmp_path.iterdir() if name.name.startswith(".")] == []


coordinates = st.floats(-1e6, 5e6, allow_nan=False, allow_infinity=False).map(lambda x: round(x * 1024) / 1024)


@pytest.mark.parametrize("suffix", WRITTEN)
@given(st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=5))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_on_the_lattice_survive_every_format(
    tmp_path: Path, suffix: str, places: list[tuple[float, float]]
) -> None:
    rows = gpd.GeoDataFrame({"n": [str(n) for n in range(len(places))]}, geometry=shapely.points(places), crs=SRID)
    path = tmp_path / f"points{suffix}"
    write_vector(rows, path, overwrite=True)
    again = read_vector(path).sort_values("n")
    assert (shapely.get_coordinates(again.geometry.to_numpy()) == np.array(places)).all()


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet", ".shp", ".geojson"])
def test_rows_without_geometry_keep_their_place(tmp_path: Path, suffix: str) -> None:
    rows = frame()
    rows.loc[1, "geometry"] = None
    path = tmp_path / f"rows{suffix}"
    write_vector(rows, path)
    again = read_vector(path)
    assert list(again.index) == [0, 1, 2]
    assert list(again["code"]) == list(rows["code"])
    assert [shape is None or shape.is_empty for shape in again.geometry] == [False, True, False]


# ── attributes of shapefiles ────────────────────────────────────────


CHINESE = ["老城街道", "汉滨区", "鬲"]


def shapefile(folder: Path, encoding: str, cpg: str | None) -> Path:
    """A shapefile with Chinese texts and names in an encoding, with or without a .cpg; its header says nothing."""
    path = folder / "cells.shp"
    pyogrio.write_dataframe(gpd.GeoDataFrame({"名称": CHINESE}, geometry=frame().geometry), path, encoding=encoding)
    path.with_suffix(".cpg").unlink(missing_ok=True)
    if cpg is not None:
        path.with_suffix(".cpg").write_text(cpg)
    table = bytearray(path.with_suffix(".dbf").read_bytes())
    table[29] = 0
    path.with_suffix(".dbf").write_bytes(table)
    return path


@pytest.mark.parametrize(
    ("encoding", "cpg"),
    [
        *(("gbk", said) for said in (None, "GBK", "936", "CP936", "ANSI 936", "nonsense")),
        *(("utf-8", said) for said in (None, "UTF-8", "65001")),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_chinese_attributes_are_read_in_either_encoding(
    tmp_path: Path, encoding: str, cpg: str | None, zipped: bool
) -> None:
    path = shapefile(tmp_path, encoding, cpg)
    if zipped:
        (tmp_path / "in").mkdir()
        for part in tmp_path.glob("cells.*"):
            part.rename(tmp_path / "in" / part.name)
        path = Path(shutil.make_archive(str(tmp_path / "cells"), "zip", tmp_path / "in"))
    assert list(read_vector(path)["名称"]) == CHINESE


@pytest.mark.parametrize(("encoding", "cpg"), [("gbk", "UTF-8"), ("utf-8", "GBK"), ("gbk", "8859_1"), ("gbk", "1252")])
def test_a_cpg_that_lies_is_found_out_and_said(tmp_path: Path, encoding: str, cpg: str) -> None:
    path = shapefile(tmp_path, encoding, cpg)
    assert list(read_vector(path)["名称"]) == CHINESE
    with open_vector(path) as file:
        assert "but the bytes are" in file.encoding_said[0]
        assert codecs.lookup(file.encoding) == codecs.lookup("gb18030" if encoding == "gbk" else encoding)


def test_bytes_cut_at_the_end_of_a_field_are_still_utf8() -> None:
    from gis.dbf import _is_utf8

    assert _is_utf8("网格".encode()[:-1])
    assert not _is_utf8("网格".encode("gbk"))
    assert encoding_of(b"", None).name == "utf-8"


# ── codes ────────────────────────────────────────


def test_numbers_that_are_codes_become_text_exactly(tmp_path: Path) -> None:
    rows = frame().assign(code=[610999001001001, 610999001001002, 610999001001003])
    rows["half"] = [610999001001001.0, np.nan, 610999001001003.0]
    for suffix in (".gpkg", ".geojson", ".parquet"):
        write_vector(rows, tmp_path / f"codes{suffix}")
        again = read_vector(tmp_path / f"codes{suffix}")
        assert list(again["code"]) == list(frame()["code"])
        assert texts(again["half"]) == ["610999001001001", None, "610999001001003"]


@pytest.mark.parametrize("lost", ["6.10999E+14", 6.10999001001001e17, 0.5])
def test_codes_that_lost_digits_are_refused_with_their_row(lost: Any) -> None:
    with pytest.raises(UnfitFile) as caught:
        code_text(Path("a.csv"), pd.Series(["610999001001001", lost], name="BGCode", dtype=object))
    assert caught.value.where["row"] == 2
    assert caught.value.where["field"] == "BGCode"


# ── tables ────────────────────────────────────────


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table_with_wkt(tmp_path: Path, encoding: str, mark: str) -> None:
    rows = frame()
    lines = [f"编码{mark}WKT{mark}名称"]
    lines += [f'{r.code}{mark}"{r.geometry.wkt}"{mark}{r.name or ""}' for r in rows.assign(name=CHINESE).itertuples()]
    lines = [line.replace("Pandas", "") for line in lines]
    path = tmp_path / "cells.csv"
    path.write_bytes("\n".join(lines).encode(encoding))
    again = read_vector(path, srid=SRID)
    assert list(again["编码"]) == list(rows["code"])
    assert again.geometry.geom_equals_exact(rows.geometry, 0).all()


def test_a_table_with_two_numbers(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("code,经度,纬度\n1,109.0,32.7\n2,,\n", encoding="utf-8")
    again = read_vector(path, srid=GEODETIC)
    assert shapely.get_coordinates(again.geometry.to_numpy()).tolist() == [[109.0, 32.7]]
    assert again.geometry.iloc[1] is None


@pytest.mark.parametrize(
    ("text", "row", "field"),
    [("code,wkt\n1,POINT (0 0)\n2,POINT (\n", 2, "wkt"), ("code,x,y\n1,1,2\n2,1,here\n", 2, "y")],
)
def test_a_broken_row_of_a_table_is_named(tmp_path: Path, text: str, row: int, field: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UnfitFile) as caught:
        read_vector(path, srid=SRID)
    assert (caught.value.where["row"], caught.value.where["field"]) == (row, field)


# ── coordinate systems ────────────────────────────────────────


@pytest.mark.parametrize("suffix", [".gpkg", ".shp", ".parquet"])
def test_a_file_without_a_system_is_refused_until_it_is_said(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bare{suffix}"
    write_vector(frame().set_crs(None, allow_override=True), path)
    with pytest.raises(UnfitFile) as caught:
        read_vector(path)
    assert "--crs" in str(caught.value.mend)
    assert read_vector(path, srid=SRID).crs.to_epsg() == SRID


def test_a_system_that_contradicts_the_file_is_refused(tmp_path: Path) -> None:
    write_vector(frame(), tmp_path / "a.gpkg")
    assert read_vector(tmp_path / "a.gpkg", srid=SRID).crs.to_epsg() == SRID
    with pytest.raises(UnfitFile, match="EPSG:4545"):
        read_vector(tmp_path / "a.gpkg", srid=4546)


def test_geojson_without_a_system_takes_the_one_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    write_vector(frame().set_crs(None, allow_override=True)[["code", "geometry"]], path)
    assert '"crs"' not in path.read_text()
    assert read_vector(path).crs.to_epsg() == GEODETIC
    assert read_vector(path, srid=SRID).crs.to_epsg() == SRID


@pytest.mark.parametrize("datum", [GCJ02, BD09])
def test_scrambled_degrees_come_back_as_geodetic(tmp_path: Path, datum: int) -> None:
    degrees = frame().to_crs(GEODETIC)
    moved = reproject(degrees.geometry.to_numpy(), GEODETIC, datum)
    write_vector(degrees.set_geometry(gpd.GeoSeries(moved, crs=GEODETIC)), tmp_path / "a.gpkg")
    again = read_vector(tmp_path / "a.gpkg", srid=datum)
    assert again.crs.to_epsg() == GEODETIC
    assert (shapely.hausdorff_distance(again.geometry.to_numpy(), degrees.geometry.to_numpy()) < 1e-6).all()


def test_an_unknown_system_is_refused(tmp_path: Path) -> None:
    write_vector(frame().set_crs(None, allow_override=True), tmp_path / "a.gpkg")
    with pytest.raises(UnfitCoordinates):
        read_vector(tmp_path / "a.gpkg", srid=999_999)


# ── layers ────────────────────────────────────────


def test_of_several_layers_one_must_be_named(tmp_path: Path) -> None:
    path = tmp_path / "two.gpkg"
    write_layers({"old": frame(), "new": frame().iloc[:2]}, path)
    with pytest.raises(UnfitFile) as caught:
        read_vector(path)
    assert "old, new" in str(caught.value.mend)
    assert len(read_vector(path, layer="new")) == 2
    with pytest.raises(UnfitFile, match="newest"):
        read_vector(path, layer="newest")


@pytest.mark.parametrize("driver", ["KML", "DXF", "GML", "OpenFileGDB"])
def test_other_formats_are_read(tmp_path: Path, driver: str) -> None:
    suffix = {"KML": ".kml", "DXF": ".dxf", "GML": ".gml", "OpenFileGDB": ".gdb"}[driver]
    path = tmp_path / f"cells{suffix}"
    rows = frame()[["geometry"]] if driver == "DXF" else frame()[["code", "geometry"]]
    if driver == "KML":
        rows = rows.to_crs(GEODETIC)
    pyogrio.write_dataframe(rows, path, driver=driver)
    again = read_vector(path, srid=SRID if driver == "DXF" else None)
    assert len(again) == 3
    if driver != "DXF":
        assert sorted(again["code"]) == sorted(frame()["code"])
    assert (again.to_crs(SRID).length > 100).all()


# ── refusals ────────────────────────────────────────


@pytest.mark.parametrize("suffix", [".gpkg", ".shp", ".parquet", ".geojson", ".kml", ".dxf", ".zip", ".csv", ".fgb"])
@pytest.mark.parametrize("content", [None, b"", b"\x00\x01nothing of the kind\xff" * 9])
def test_no_file_is_read_as_what_it_is_not(tmp_path: Path, suffix: str, content: bytes | None) -> None:
    path = tmp_path / f"a{suffix}"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnfitFile) as caught:
        read_vector(path)
    assert caught.value.mend
    assert caught.value.where["file"] == path


@pytest.mark.parametrize("part", [".shx", ".dbf"])
def test_a_shapefile_that_lacks_a_part_is_refused(tmp_path: Path, part: str) -> None:
    write_vector(frame(), tmp_path / "a.shp")
    (tmp_path / f"a{part}").unlink()
    with pytest.raises(UnfitFile, match=part):
        read_vector(tmp_path / "a.shp")


def test_a_folder_and_an_empty_layer_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnfitFile, match="folder"):
        read_vector(tmp_path)
    write_vector(frame().iloc[:0], tmp_path / "none.gpkg")
    with pytest.raises(UnfitFile, match="no rows"):
        read_vector(tmp_path / "none.gpkg")


def test_nothing_is_overwritten_unless_said(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    write_vector(frame(), path)
    with pytest.raises(Conflict):
        write_vector(frame().iloc[:1], path)
    assert len(read_vector(path)) == 3
    write_vector(frame().iloc[:1], path, overwrite=True)
    assert len(read_vector(path)) == 1


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnfitFile, match="extension"):
        write_vector(frame(), tmp_path / "a.xyz")
    with pytest.raises(UnfitFile, match="row 2"):
        write_vector(frame().assign(name=["", "网" * 100, ""]), tmp_path / "a.shp")
    with pytest.raises(UnfitFile, match="no folder"):
        write_vector(frame(), tmp_path / "none" / "a.gpkg")
    assert list(tmp_path.iterdir()) == []


def test_long_names_of_fields_stay_apart_in_a_shapefile(tmp_path: Path) -> None:
    rows = frame().assign(perimeter_metres="a", perimeter_miles="b")
    write_vector(rows, tmp_path / "a.shp")
    again = read_vector(tmp_path / "a.shp")
    assert list(again.columns) == ["code", "name", "size_m2", "since", "perimeter_", "perimeter2", "geometry"]
    assert (tmp_path / "a.cpg").read_text().strip() == "UTF-8"


@pytest.mark.parametrize(
    "text",
    [
        "code,wkt\n1,CURVEPOLYGON(CIRCULARSTRING(0 0 4 0 4 4 0 4 0 0))\n".replace("(CIRC", "((CIRC"),
        'code,wkt\n1,"CURVEPOLYGON (CIRCULARSTRING (0 0, 4 0, 4 4, 0 4, 0 0))"\n',
        "code,wkt\n1,2,3,4\n5\n",
        "code,wkt\n1,POINT EMPTY,9\n",
    ],
)
def test_tables_with_curves_or_ragged_rows_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UnfitFile):
        read_vector(path, srid=SRID)


def test_a_system_that_is_not_tied_to_the_earth_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "local.gpkg"
    frame().set_crs('LOCAL_CS["x",UNIT["metre",1]]', allow_override=True).to_file(path)
    with pytest.raises(UnfitFile, match="not tied to the Earth"):
        read_vector(path)


def test_a_cpg_of_odd_bytes_is_as_good_as_none() -> None:
    assert encoding_of(b"", b"\xff\xfe\0")
