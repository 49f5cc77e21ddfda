"""A first look at a file: encoding, system, extent, fields, and what they may mean."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pytest
import shapely

from gis.crs import GEODETIC, Extent
from gis.formats import write_layers, write_vector
from gis.look import SAMPLE, look
from gis.reference import Reference
from tests.hamlet import SRID, square

CITY = Extent(107.9, 32.4, 108.2, 32.6, SRID)


def survey(many: int = 30) -> gpd.GeoDataFrame:
    """Lamps with the fields of the 2013 standard and a key of their own."""
    columns = {
        "ObjID": [f"610999010100{n:04d}" for n in range(many)],
        "类别": ["C0101" if n % 2 else "C0205" for n in range(many)],
        "ObjState": ["完好" if n % 3 else "破损" for n in range(many)],
        "ORDate": [f"2026-05-{1 + n % 28:02d}" for n in range(many)],
        "PoleID": [f"P{n}" for n in range(many)],
        "DeptCode1": ["SU"] * many,
        "note": [None if n % 5 else " " for n in range(many)],
        "height": [n / 7 for n in range(many)],
    }
    points = [shapely.Point(500_000 + n, 3_600_000 + n) for n in range(many)]
    return gpd.GeoDataFrame(columns, geometry=points, crs=SRID)


def test_a_look_names_system_fields_samples_and_meanings(tmp_path: Path) -> None:
    write_vector(survey(), tmp_path / "a.zip", encoding="gbk")
    (seen,) = look(tmp_path / "a.zip", CITY).layers
    assert (seen.rows, seen.sampled, seen.encoding, seen.geometry) == (30, 30, "gb18030", {"Point": 30})
    assert seen.system_said is not None
    assert "4545" in seen.system_said[0]
    assert seen.proposals[0].reference == Reference(SRID)
    assert seen.bounds == (500_000, 3_600_000, 500_029, 3_600_029)
    fields = {one.name: one for one in seen.fields}
    assert {name: one.meanings[0] for name, one in fields.items() if one.meanings} == {
        "ObjID": "code",
        "类别": "class_code",
        "ObjState": "state",
        "ORDate": "surveyed_on",
        "PoleID": "source_key",
        "DeptCode1": "supervising_unit",
    }
    assert fields["类别"].values == {"C0205": 15, "C0101": 15}
    assert (fields["note"].empty, fields["note"].samples) == (30, ())
    assert fields["height"].type == "number"
    assert len(fields["ObjID"].samples) == 3


def test_a_file_that_does_not_say_its_system_gets_proposals(tmp_path: Path) -> None:
    degrees = survey().to_crs(GEODETIC)
    lines = ["编号,经度,纬度"] + [f"{n},{at.x},{at.y}" for n, at in enumerate(degrees.geometry)]
    (tmp_path / "a.csv").write_bytes("\n".join(lines).encode("gbk"))
    (seen,) = look(tmp_path / "a.csv", CITY).layers
    assert seen.system_said is None
    assert [one.reference for one in seen.proposals] == [Reference.parse(form) for form in (4326, "gcj02", "bd09")]
    assert look(tmp_path / "a.csv").layers[0].proposals == ()


def test_only_the_beginning_is_looked_at_but_all_rows_are_counted(tmp_path: Path) -> None:
    many = SAMPLE + 50
    rows = survey(many)
    rows.loc[many - 1, "height"] = None
    rows.to_crs(GEODETIC).to_file(tmp_path / "a.gml", driver="GML")  # a format that does not know its rows
    write_layers({"one": rows, "empty": rows.iloc[:0]}, tmp_path / "a.gpkg")
    for layer in (look(tmp_path / "a.gml", CITY).layers[0], look(tmp_path / "a.gpkg", CITY, layer="one").layers[0]):
        assert (layer.rows, layer.sampled) == (many, SAMPLE)
        assert next(one for one in layer.fields if one.name == "height").empty == 0
    empty = next(layer for layer in look(tmp_path / "a.gpkg", CITY).layers if layer.name == "empty")
    assert (empty.rows, empty.bounds, empty.proposals, empty.geometry) == (0, None, (), {})


@pytest.mark.parametrize("missing", [True, False])
def test_rows_without_geometry_are_counted(tmp_path: Path, missing: bool) -> None:
    shapes = [square(0, 0, 5), None if missing else square(9, 9, 5)]
    write_vector(gpd.GeoDataFrame({"n": [1, 2]}, geometry=shapes, crs=SRID), tmp_path / "a.gpkg")
    (seen,) = look(tmp_path / "a.gpkg").layers
    assert seen.geometry == ({"Polygon": 1, "None": 1} if missing else {"Polygon": 2})
