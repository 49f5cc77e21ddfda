"""Exporting layers: a round trip loses nothing, the same state makes the same bytes, what a format loses is said."""

from __future__ import annotations

import json
import tomllib
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from api.exported import Exported, Wanted, export_layer
from gis.crs import snap
from gis.errors import Conflict, Invalid, NotFound, UnfitCoordinates, UnfitFile
from gis.formats import layers_of, open_vector
from gis.history import record_change
from gis.reference import Reference
from gis.written import LOSSY, WRITTEN, shapefile_names
from grids.city import City
from layers.components import load_components
from layers.exchange import FIELDS, component_fields, mapping_back
from tests.hamlet import SRID, at, square

SINCE = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def stocked(conn: Connection) -> Connection:
    """The hamlet with components of every dimension and kind of attribute beside its own three."""
    attrs: list[dict[str, Any]] = [
        {"材质": "铸铁", "height_m": 1 / 3, "lamps": 2, "led": True, "code": "own", "mixed": 5},
        {"height_m": 0.1, "mixed": "five", "nested": {"a": [1, None]}, "X": 1.5},
        {"lamps": 12, "led": False, "材质及规格说明文字": "长"},
        {},
    ]
    lines = shapely.LineString([at(10, 310), at(90, 330.5)])
    frame = pd.DataFrame(
        {
            "code": [f"610999013700009{n}" for n in range(4)],
            "class_code": "C0137",
            "name_zh": ["路灯", None, "灯", None],
            "supervising_unit": ["WATER", None, None, "WATER"],
            "owner_unit": [None, "POWER", None, None],
            "maintainer_unit": None,
            "state": ["intact", "damaged", "lost", "abandoned"],
            "surveyed_on": [date(2026, 1, 5), None, date(2025, 12, 31), None],
            "data_source": "made up",
            "attrs": attrs,
        }
    )
    shapes = [shapely.Point(at(60, 60)), lines, square(210, 210, 30), shapely.Point(at(5000, 5000))]
    version = record_change(conn, since=SINCE, actor="test", reason="more")
    load_components(conn, gpd.GeoDataFrame(frame, geometry=shapes, crs=SRID), "hamlet", version)
    conn.execute(text("update layers.component set source_key = 'K/' || code where owner_unit_id is not null"))
    return conn


def export(conn: Connection, city: City, path: Path, **wanted: Any) -> Exported:
    return export_layer(conn, city, path, Wanted(**{"layer": "components", **wanted}))


def inventory(conn: Connection) -> dict[str, dict[str, Any]]:
    """All fields of the components of today, by code, straight from the table."""
    rows = conn.execute(
        text("""select k.code, k.class_code, k.edition, k.name_zh, k.state, k.surveyed_on, k.changed_on, k.data_source,
          k.source_key, k.cell_code, k.attrs, s.code as supervising_unit, o.code as owner_unit,
          m.code as maintainer_unit, st_asbinary(k.geom) as geom
        from layers.component k left join layers.unit s on s.id = k.supervising_unit_id
        left join layers.unit o on o.id = k.owner_unit_id left join layers.unit m on m.id = k.maintainer_unit_id
        where upper_inf(k.valid)""")
    ).mappings()
    return {row["code"]: {**row, "geom": shapely.normalize(shapely.from_wkb(bytes(row["geom"])))} for row in rows}


def read_back(path: Path, mapping: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The components of an exported file, by code, under our names."""
    columns = {
        **{name: name for name in ("edition", "data_source", "cell_code")},
        **dict(
            zip(
                ("surveyed_on", "changed_on"),
                (mapping.get("surveyed_field"), mapping.get("changed_field")),
                strict=True,
            )
        ),
        **{name: mapping.get(name) for name in ("code", "name_zh", "state", "supervising_unit", "owner_unit")},
        **{"maintainer_unit": mapping.get("maintainer_unit"), "source_key": mapping.get("key")},
        "class_code": mapping["class_field"],
    }
    found: dict[str, dict[str, Any]] = {}
    for info in layers_of(path):
        with open_vector(path, layer=info.name) as file:
            frame = pd.concat([batch.frame for batch in file.batches()])
        for _, row in frame.iterrows():
            said = {name: _plain(row.get(column)) if column else None for name, column in columns.items()}
            attrs = {name: _plain(row[column]) for name, column in mapping["attributes"].items()}
            rest = _plain(row.get("attrs_json"))
            attrs = {**attrs, **(json.loads(rest) if rest else {})}
            shape = snap(Reference.parse(mapping.get("crs", SRID)).to_city([row.geometry], SRID))[0]
            if shape.geom_type.startswith("Multi"):
                shape = shape.geoms[0]
            found[str(said["code"])] = {**said, "attrs": attrs, "geom": shapely.normalize(shape)}
    return found


def _plain(value: Any) -> Any:
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, pd.Timestamp | datetime):
        return value.date()
    return value


def same(found: dict[str, Any], there: dict[str, Any], names: list[str]) -> None:
    for name in names:
        assert found[name] == there[name], (there["code"], name)
    assert {name: value for name, value in found["attrs"].items() if value is not None} == there["attrs"]
    assert shapely.equals_exact(found["geom"], there["geom"], 0)


OURS = [
    "class_code",
    "edition",
    "name_zh",
    "state",
    "surveyed_on",
    "changed_on",
    "data_source",
    "source_key",
    "cell_code",
]
UNITS = ["supervising_unit", "owner_unit", "maintainer_unit"]


# ── nothing is lost ────────────────────────────────────────


@pytest.mark.parametrize("suffix", [*WRITTEN, ".gbk.zip", ".csv", ".gbk.csv"])
def test_a_round_trip_loses_nothing(stocked: Connection, template: City, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"components{suffix}"
    done = export(stocked, template, path, encoding="gbk" if suffix.startswith(".gbk") else "utf-8")
    there = inventory(stocked)
    assert done.rows == len(there) == 7
    beside = tmp_path / (f"{path.name}.census.toml" if suffix != ".shp" else "components_lines.shp.census.toml")
    mapping = tomllib.loads(beside.read_text(encoding="utf-8"))
    layers = [info.name for info in layers_of(path)] if suffix != ".shp" else []
    files = [path] if suffix != ".shp" else sorted(tmp_path.glob("*.shp"))
    assert len(files) == (3 if suffix == ".shp" else 1)
    assert sorted(layer["name"] for layer in mapping.get("layer", [])) == (sorted(layers) if len(layers) > 1 else [])
    found = {code: row for file in files for code, row in read_back(file, mapping).items()}
    assert set(found) == set(there)
    for code, row in there.items():
        if suffix in (".shp", ".zip", ".gbk.zip"):  # names of other fields are cut, floats have 15 decimals
            short = ["class_code", "name_zh", "state", "surveyed_on", "source_key"]
            found[code]["attrs"] = {
                k: round(v, 15) if isinstance(v, float) else v for k, v in found[code]["attrs"].items()
            }
            row["attrs"] = {k: round(v, 15) if isinstance(v, float) else v for k, v in row["attrs"].items()}
            same(found[code], row, short + UNITS)
        else:
            same(found[code], row, OURS + UNITS)


def test_a_table_keeps_every_place_and_text(stocked: Connection, template: City, tmp_path: Path) -> None:
    import openpyxl

    there = inventory(stocked)
    for encoding in ("utf-8", "gbk"):
        done = export(stocked, template, tmp_path / f"{encoding}.csv", encoding=encoding)
        assert any(".csvt" in en for en, _ in done.losses)
        frame = pd.read_csv(
            tmp_path / f"{encoding}.csv", dtype=str, encoding="gb18030" if encoding == "gbk" else "utf-8-sig"
        )
        assert [
            shapely.equals_exact(shapely.normalize(shapely.from_wkt(row.wkt)), there[row.code]["geom"], 0)
            for row in frame.itertuples()
        ] == [True] * 7
    export(stocked, template, tmp_path / "a.xlsx", classes=["C0101"])
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx").active
    head, row = ([cell.value for cell in line] for line in sheet.iter_rows())
    values = dict(zip(head, row, strict=True))
    assert values["code"] == "6109990101000001"
    assert (values["x"], values["y"]) == at(50, 50)
    assert values["surveyed_on"] == datetime(2025, 5, 1)
    assert values["材质"] == "铸铁"


def test_a_drawing_has_the_class_as_its_layer_and_says_what_is_lost(
    stocked: Connection, template: City, tmp_path: Path
) -> None:
    done = export(stocked, template, tmp_path / "a.dxf")
    with open_vector(tmp_path / "a.dxf") as file:
        frame = next(file.batches()).frame
    assert sorted(frame["Layer"]) == ["C0101"] + ["C0137"] * 6
    assert any("other fields are lost" in en for en, _ in done.losses)
    assert any("EPSG:4545" in en for en, _ in done.losses)
    done = export(stocked, template, tmp_path / "a.kml")
    assert any("degrees" in en for en, _ in done.losses)
    with open_vector(tmp_path / "a.kml") as file:
        assert file.crs is not None
        assert file.rows == 7


# ── the standards ────────────────────────────────────────


def test_the_standards_names(stocked: Connection, template: City, tmp_path: Path) -> None:
    export(stocked, template, tmp_path / "a.gpkg", names="standard")
    with open_vector(tmp_path / "a.gpkg") as file:
        names = [name for name, _ in file.fields]
        frame = next(file.batches()).frame.set_index("ObjID")
    assert names[:13] == [
        *("ObjID", "ObjName", "DeptCode1", "DeptName1", "DeptCode2", "DeptName2", "DeptCode3", "DeptName3", "BGID"),
        *("ObjState", "ORDate", "CHDate", "DataSource"),
    ]
    row = frame.loc["6109990101000001"]
    assert (row["ObjState"], row["DeptCode1"], row["BGID"]) == ("完好", "WATER", "610999001001003")
    assert frame.loc["6109990137000091", "ObjName"] == "路灯"  # a standard wants a name: the class's
    mapping = tomllib.loads((tmp_path / "a.gpkg.census.toml").read_text(encoding="utf-8"))
    assert mapping["code"] == "ObjID"
    assert mapping["state"] == "ObjState"
    with pytest.raises(Invalid, match="17 digits"):
        export(stocked, template, tmp_path / "b.gpkg", names="standard-2026")


def test_the_names_of_2026() -> None:
    row = dict.fromkeys(FIELDS) | {
        "code": "61099901001000001",
        "class_code": "C01001",
        "class_zh": "供水井盖",
        "state": "damaged",
        "surveyed_on": date(2026, 5, 1),
        "cell_code": "610999001001003",
        "street_name": "街",
        "community_name": "社区",
        "attrs": {},
        "simulated": True,
    }
    made = component_fields(gpd.GeoDataFrame([row], geometry=[shapely.Point(0, 0)], crs=SRID), "standard-2026")
    first = made.frame.iloc[0]
    assert list(made.frame.columns[:13]) == [
        *("GLBJBSM", "GLBJMC", "ZGBMDM", "ZGBMMC", "QSDWDM", "QSDWMC", "YHDWDM", "YHDWMC", "SZDYWGBSM", "GLBJZT"),
        *("CSRQ", "BGRQ", "SJLY"),
    ]
    assert (first["GLBJZT"], first["CSRQ"], first["BGRQ"], first["GLBJMC"]) == ("破损", "20260501", None, "供水井盖")
    assert (first["SZJDDM"], first["SZSQDM"], first["SZSQMC"]) == ("610999001", "610999001001", "社区")
    assert first["simulated"]


# ── the same state, the same bytes ────────────────────────────────────────


def test_two_exports_of_one_state_are_the_same_bytes_and_tell_no_version(
    stocked: Connection, template: City, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def everything(folder: Path) -> dict[str, bytes]:
        folder.mkdir()
        for suffix in (*WRITTEN, *LOSSY):
            export(stocked, template, folder / f"a{suffix}")
        return {file.name: file.read_bytes() for file in folder.iterdir()}

    first = everything(tmp_path / "first")
    # every component gets a new version that says the same: what an undone import leaves behind
    columns = (
        "code, edition, class_code, name_zh, cell_code, supervising_unit_id, owner_unit_id, maintainer_unit_id, state"
    )
    columns += ", surveyed_on, changed_on, data_source, source_key, attrs, geom"
    change = record_change(stocked, since=SINCE + timedelta(days=9), actor="test", reason="undone").change_id
    stocked.execute(
        text(
            f"create temporary table kept on commit drop as select {columns} from layers.component k "
            "where upper_inf(k.valid)"
        )
    )
    stocked.execute(
        text("""update layers.component set valid = tstzrange(lower(valid), :at), ended_change_id = :change
          where upper_inf(valid)"""),
        {"at": SINCE + timedelta(days=9), "change": change},
    )
    stocked.execute(
        text(
            f"insert into layers.component ({columns}, valid, change_id) "
            f"select {columns}, tstzrange(:at, null), :change from kept order by code desc"
        ),
        {"at": SINCE + timedelta(days=9), "change": change},
    )
    second = everything(tmp_path / "second")
    assert set(first) == set(second)
    assert [name for name in first if first[name] != second[name]] == []


def test_the_past_is_exported_as_it_was(stocked: Connection, template: City, tmp_path: Path) -> None:
    assert export(stocked, template, tmp_path / "now.gpkg").rows == 7
    assert export(stocked, template, tmp_path / "then.gpkg", at=SINCE - timedelta(seconds=1)).rows == 3
    for layer, rows in (("areas", 8), ("cells", 16), ("ground", 1)):
        assert export(stocked, template, tmp_path / f"{layer}.gpkg", layer=layer, at=SINCE).rows == rows
        with pytest.raises(NotFound):
            export(stocked, template, tmp_path / f"{layer}.fgb", layer=layer, at=datetime(1999, 1, 1, tzinfo=UTC))


# ── narrowing, systems, refusals ────────────────────────────────────────


def test_an_export_is_narrowed_by_class_area_and_box(stocked: Connection, template: City, tmp_path: Path) -> None:
    from gis.crs import transform

    west, south = transform(*at(40, 40), SRID, 4326)
    east, north = transform(*at(70, 70), SRID, 4326)
    box = (float(west), float(south), float(east), float(north))
    for number, (wanted, rows) in enumerate(
        [
            ({"classes": ["C0101"]}, 1),
            ({"classes": ["C01"]}, 7),
            ({"areas": ["610999001"]}, 4),
            ({"areas": ["610999001002", "610999002"], "classes": ["C0137"]}, 3),
            ({"bbox": box}, 2),
            ({"layer": "cells", "areas": ["610999001001"]}, 4),
            ({"layer": "cells", "bbox": box}, 1),
            ({"layer": "areas", "areas": ["610999001"]}, 3),
            ({"layer": "cases", "classes": ["E0102"]}, 0),
        ]
    ):
        if rows:
            assert export(stocked, template, tmp_path / f"{number}.gpkg", **wanted).rows == rows, wanted
        else:
            with pytest.raises(NotFound):
                export(stocked, template, tmp_path / f"{number}.gpkg", classes=["E9"], layer="cases")


@pytest.mark.parametrize("layer", ["areas", "ground", "cells", "cases", "area_names"])
@pytest.mark.parametrize("suffix", [".gpkg", ".zip", ".csv", ".xlsx", ".kml", ".dxf"])
def test_every_layer_goes_into_every_kind_of_file(
    conn: Connection, template: City, tmp_path: Path, layer: str, suffix: str
) -> None:
    assert export(conn, template, tmp_path / f"a{suffix}", layer=layer).rows > 0


@pytest.mark.parametrize("crs", [4326, "gcj02", "bd09", 4524, {"crs": SRID, "northing_first": True}])
def test_an_export_in_another_system_comes_back(stocked: Connection, template: City, tmp_path: Path, crs: Any) -> None:
    done = export(stocked, template, tmp_path / "a.gpkg", crs=Reference.parse(crs))
    mapping = tomllib.loads((tmp_path / "a.gpkg.census.toml").read_text(encoding="utf-8"))
    reference = Reference.parse(mapping["crs"])
    assert reference == Reference.parse(crs)
    with open_vector(tmp_path / "a.gpkg") as file:
        assert (file.crs is None) == (not isinstance(crs, int))
        assert bool(done.losses) == (file.crs is None) or len(done.losses) > 0
        frame = next(file.batches()).frame.set_index("code")
    back = reference.to_city(frame.geometry.to_numpy(), SRID)
    there = np.array([inventory(stocked)[code]["geom"] for code in frame.index])
    assert shapely.hausdorff_distance(back, there).max() < 1e-6


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(
    stocked: Connection, template: City, tmp_path: Path
) -> None:
    refused: list[tuple[type[Exception], dict[str, Any], str]] = [
        (Invalid, {"layer": "clouds"}, "a.gpkg"),
        (Invalid, {"layer": "ground", "areas": ["6109"]}, "a.gpkg"),
        (Invalid, {"layer": "cells", "classes": ["C01"]}, "a.gpkg"),
        (Invalid, {"layer": "cases", "at": SINCE}, "a.gpkg"),
        (Invalid, {"layer": "areas", "names": "standard"}, "a.gpkg"),
        (Invalid, {"crs": Reference(4524)}, "a.kml"),
        (UnfitFile, {}, "a.doc"),
        (UnfitFile, {"encoding": "latin-1"}, "a.shp"),
        (UnfitFile, {}, "none/a.gpkg"),
        (NotFound, {"classes": ["C99"]}, "a.gpkg"),
        (UnfitCoordinates, {"crs": Reference(2437)}, "a.gpkg"),
    ]
    for error, wanted, name in refused:
        with pytest.raises(error):
            export(stocked, template, tmp_path / name, **wanted)
    assert list(tmp_path.iterdir()) == []
    export(stocked, template, tmp_path / "a.shp")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(Conflict):
        export(stocked, template, tmp_path / "a.shp", classes=["C0137"])
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    export(stocked, template, tmp_path / "a.shp", classes=["C0137"], overwrite=True)


# ── names in shapefiles ────────────────────────────────────────


@given(
    st.lists(st.text("长短名称abcAB_1", min_size=1, max_size=14), unique=True, max_size=30),
    st.sampled_from(["utf-8", "gb18030"]),
)
def test_names_in_a_shapefile_fit_and_stay_apart(names: list[str], encoding: str) -> None:
    short = shapefile_names(names, encoding)
    assert list(short) == names
    assert all(len(name.encode(encoding)) <= 10 for name in short.values())
    assert len({name.lower() for name in short.values()}) == len(names)


json_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["a", "code", "x", "编号", "geometry"]), json_values, max_size=4),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=80)
def test_attributes_come_back_from_their_fields(attrs: list[dict[str, Any]]) -> None:
    rows = [dict.fromkeys(FIELDS) | {"code": str(n), "attrs": one, "simulated": False} for n, one in enumerate(attrs)]
    made = component_fields(gpd.GeoDataFrame(rows, geometry=[shapely.Point(n, 0) for n in range(len(rows))], crs=SRID))
    assert len({str(name).lower() for name in made.frame.columns}) == len(made.frame.columns)
    mapping = tomllib.loads(mapping_back(made))
    for given_attrs, (_, row) in zip(attrs, made.frame.iterrows(), strict=True):
        back = {name: _plain(row[column]) for name, column in mapping["attributes"].items()}
        rest = _plain(row.get("attrs_json"))
        back |= json.loads(rest) if rest else {}
        assert {k: v for k, v in back.items() if v is not None} == {
            k: v for k, v in given_attrs.items() if v is not None
        }


def test_an_archive_tells_no_hour(stocked: Connection, template: City, tmp_path: Path) -> None:
    for name in ("a.zip", "a.xlsx"):
        export(stocked, template, tmp_path / name)
        with zipfile.ZipFile(tmp_path / name) as archive:
            assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
            tables = [archive.read(member) for member in archive.namelist() if member.endswith(".dbf")]
        assert {table[1:4] for table in tables} <= {bytes([100, 1, 1])}  # years since 1900
