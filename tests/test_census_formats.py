"""The same survey, in whatever format, encoding and system it comes, makes the same inventory."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyogrio
import pytest
from shapely import Point
from sqlalchemy import Connection, text

from gis.crs import BD09, GCJ02, reproject
from grids.city import City
from layers.census import import_census
from layers.census_mapping import parse_mapping
from tests.hamlet import SRID, at

ROWS = 12
MAPPING: dict[str, Any] = {
    "source": "普查",
    "class": "C0137",
    "key": "编号",
    "key_prefix": "lamps",
    "name_zh": "名称",
    "state": "状态",
    "surveyed_field": "日期",
    "owner_unit": "权属",
    "attributes": {"material": "材质"},
}
WANTED = text(
    "select source_key, name_zh, state, surveyed_on, owner_unit_id, attrs, cell_code, st_x(geom) as x, st_y(geom) as y "
    "from layers.component where upper_inf(valid) and source_key is not null order by source_key"
)


def lamps() -> gpd.GeoDataFrame:
    """Twelve lamps with Chinese fields."""
    number = range(ROWS)
    frame = {
        "编号": [f"路{n:03d}" for n in number],
        "名称": ["路灯"] * ROWS,
        "状态": ["完好", "破损"] * (ROWS // 2),
        "日期": ["2026-05-01"] * ROWS,
        "权属": ["POWER"] * ROWS,
        "材质": ["铸铁", "铝合金", None] * (ROWS // 3),
    }
    return gpd.GeoDataFrame(frame, geometry=[Point(at(5 + 30 * n, 20 + 30 * n)) for n in number], crs=SRID)


def ogr(driver: str, srid: int | None = SRID, **options: Any) -> Callable[[Path], dict[str, Any]]:
    def write(path: Path) -> dict[str, Any]:
        frame = lamps() if srid is None else lamps().to_crs(srid)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pyogrio.write_dataframe(frame, path, driver=driver, **options)
        return {}

    return write


def zipped(encoding: str, cpg: str | None) -> Callable[[Path], dict[str, Any]]:
    """A shapefile in a zip file, its .cpg as given."""

    def write(path: Path) -> dict[str, Any]:
        folder = path.parent / "parts"
        folder.mkdir()
        pyogrio.write_dataframe(lamps(), folder / "lamps.shp", encoding=encoding)
        (folder / "lamps.cpg").unlink(missing_ok=True)
        if cpg is not None:
            (folder / "lamps.cpg").write_text(cpg)
        with zipfile.ZipFile(path, "w") as archive:
            for part in sorted(folder.iterdir()):
                archive.write(part, f"普查/{part.name}")
        return {}

    return write


def table(encoding: str, srid: int) -> Callable[[Path], dict[str, Any]]:
    """A CSV file with 经度 and 纬度."""

    def write(path: Path) -> dict[str, Any]:
        frame = lamps()
        moved = reproject(frame.geometry.to_numpy(), SRID, srid)
        plain = frame.drop(columns="geometry").assign(经度=[p.x for p in moved], 纬度=[p.y for p in moved])
        plain.to_csv(path, index=False, encoding=encoding)
        return {"crs": {GCJ02: "gcj02", BD09: "bd09"}.get(srid, srid)}

    return write


def swapped(path: Path) -> dict[str, Any]:
    frame = lamps()
    frame["geometry"] = [Point(p.y, p.x) for p in frame.geometry]
    pyogrio.write_dataframe(frame, path)
    return {"crs": {"crs": SRID, "northing_first": True}}


def parquet(path: Path) -> dict[str, Any]:
    lamps().to_parquet(path)
    return {}


FORMATS: dict[str, tuple[str, Callable[[Path], dict[str, Any]]]] = {
    "geopackage": ("lamps.gpkg", ogr("GPKG")),
    "flatgeobuf": ("lamps.fgb", ogr("FlatGeobuf")),
    "geojson": ("lamps.geojson", ogr("GeoJSON", 4326, COORDINATE_PRECISION=12)),
    "cgcs2000 degrees": ("lamps.gpkg", ogr("GPKG", 4490)),
    "zone prefix": ("lamps.gpkg", ogr("GPKG", 4524)),
    "web mercator": ("lamps.gpkg", ogr("GPKG", 3857)),
    "file geodatabase": ("lamps.gdb", ogr("OpenFileGDB")),
    "gml": ("lamps.gml", ogr("GML")),
    "shapefile utf-8": ("lamps.zip", zipped("UTF-8", "UTF-8")),
    "shapefile gbk": ("lamps.zip", zipped("GBK", "GBK")),
    "shapefile gbk without cpg": ("lamps.zip", zipped("GBK", None)),
    "shapefile gbk with a wrong cpg": ("lamps.zip", zipped("GBK", "UTF-8")),
    "shapefile utf-8 with a wrong cpg": ("lamps.zip", zipped("UTF-8", "ISO-8859-1")),
    "geoparquet": ("lamps.parquet", parquet),
    "csv gbk gcj-02": ("lamps.csv", table("gbk", GCJ02)),
    "csv with a mark bd-09": ("lamps.csv", table("utf-8-sig", BD09)),
    "csv degrees": ("lamps.csv", table("utf-8", 4326)),
    "northing first": ("lamps.gpkg", swapped),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_makes_the_same_inventory(conn: Connection, template: City, tmp_path: Path, name: str) -> None:
    file, write = FORMATS[name]
    more = write(tmp_path / file)
    mapping = parse_mapping({**MAPPING, **more}, tmp_path / "mapping.toml")
    report = import_census(conn, template, tmp_path / file, mapping, actor="tester", commit=True)
    assert report.total("new") == ROWS, report.tally
    made = conn.execute(WANTED).mappings().all()
    plain = lamps()
    for row, wanted in zip(made, plain.itertuples(), strict=True):
        assert row["source_key"] == f"lamps/{wanted.编号}"
        assert row["state"] == {"完好": "intact", "破损": "damaged"}[wanted.状态]
        assert row["attrs"] == ({"material": wanted.材质} if isinstance(wanted.材质, str) else {})
        assert (row["name_zh"], str(row["surveyed_on"])) == ("路灯", "2026-05-01")
        assert row["owner_unit_id"] is not None
        assert row["cell_code"] is not None
        assert row["x"] == pytest.approx(wanted.geometry.x, abs=0.0015)
        assert row["y"] == pytest.approx(wanted.geometry.y, abs=0.0015)
    again = import_census(conn, template, tmp_path / file, mapping, actor="tester", commit=True)
    assert again.total("same") == ROWS
