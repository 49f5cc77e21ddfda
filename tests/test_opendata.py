"""A city from open data: the engine on a small made city, and Washington's real files where they are at hand."""

import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer

from cases.opendata import read_city, to_utc
from cases.worktime import WorkCalendar
from gis.errors import UnfitFile
from grids.codes import AreaCode, ComponentCode
from grids.cut import cut
from grids.opendata import LATTICE_M, build_areas, owner_of, read_ground
from grids.opendata_files import read_profile
from layers.opendata import read_catalogue

ROOT = Path(__file__).resolve().parents[1]
WASHINGTON = ROOT / "data" / "washington"
REAL = ROOT.parent / "shared" / "data" / "washington"
FRAMES = "areas barriers units collectors responsibility majors classes conditions components rules reports findings"

PROFILE = """
id = "small"
code = "9999"
name_zh = "小城"
name_en = "Small"
srid = 26985
timezone = "America/New_York"

[areas]
file = "base.gpkg"
smallest_m2 = 10000
data_source = "made for a test"

[[areas.level]]
name = "district"
layer = "ward"
key = "W"
word_zh = "区"
name_zh = "{key}区"
name_en = "Ward {key}"
unit_kind = "district"
unit_zh = "{name}政府"
unit_en = "{name} office"

[[areas.level]]
name = "street"
layer = "anc"
key = "A"
word_zh = "街道"
name_zh = "{key}街道"
name_en = "Street {key}"

[[areas.level]]
name = "community"
layer = "smd"
key = "S"
parent = "A"
word_zh = "社区"
name_zh = "{key}社区"
name_en = "{key}"

[[ground]]
file = "base.gpkg"
layer = "park"
kind = "green"
data_source = "made for a test"

[[component]]
layer = "bin"
class = "C0305"
key = "N"
attrs = ["MAKE"]
state = "MAKE"
states = { "broken" = "damaged" }
supervising = "WORKS"
data_source = "made for a test"

[requests]
file = "requests.parquet"
data_source = "made for a test ({part})"
part = "part"
channel = "public"
key = "id"
type = "type"
type_name = "words"
other_class = "E2199"
agency = "agency"
district = "ward"
address = "address"
status = "status"
inspected = "seen"
clock = "city"
reported_at = "opened"
due_at = "due"
closed_at = "shut"

[requests.stages]
"OPEN" = { stage = "dispatched" }
"IN PROGRESS" = { stage = "dispatched" }
"CLOSED" = { stage = "closed" }
"VOIDED" = { stage = "void", note_en = "voided", note_zh = "作废" }
"DUPLICATE" = { stage = "refused", note_en = "duplicate", note_zh = "重复" }
"""

TABLES = {
    "majors": "code,name_zh,name_en\nC03,市容,city\nE21,其他,other\n",
    "classes": "code,name_zh,name_en,geometry_type,accuracy_class,source\nC0305,垃圾箱,bin,Point,B,test\n"
    "E2199,其他,other,,,test\n",
    "conditions": "class_code,no,condition_zh,condition_en,limit_value,limit_basis,closing_result_zh,roles,source\n"
    "C0305,1,满,full,2,work_day,清,unit:WORKS,test\n",
    "rules": "code,class_prefix,condition_no,area_prefix,roles,zone,source_document,source_on\n"
    "R1,C0305,1,,unit:WORKS,,test,2016-01-01\n",
    "units": "code,name_zh,name_en,kind,parent_code,area_code\nWORKS,工程局,Works,professional_department,,\n",
    "types": "code,description,name_zh,name_en,class_code,condition_no,misspelt\n"
    "T1,Bin ful,箱满,Bin full,C0305,1,yes\n",
}


def box(x0: float, y0: float, x1: float, y1: float) -> shapely.Polygon:
    return shapely.box(400_000 + x0, 130_000 + y0, 400_000 + x1, 130_000 + y1)


def utc(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)  # type: ignore[arg-type]


def write(layer: str, folder: Path, **columns: list[object]) -> None:
    frame = gpd.GeoDataFrame(columns, geometry="geometry", crs=26985)
    pyogrio.write_dataframe(frame, folder / "base.gpkg", layer=layer)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A profile and its files: two wards side by side, drawn half a metre apart from the communities."""
    profile, source = tmp_path_factory.mktemp("profile"), tmp_path_factory.mktemp("source")
    (profile / "city.toml").write_text(PROFILE, encoding="utf-8")
    for name, text in TABLES.items():
        (profile / f"{name}.csv").write_text(text, encoding="utf-8")
    write("ward", source, W=["2", "1"], geometry=[box(1000.5, 0, 2000, 1000), box(0, 0, 1000.5, 1000)])
    write("anc", source, A=["1A", "2A"], geometry=[box(0, 0, 1200, 1000), box(1200, 0, 2000, 1000)])
    write(
        "smd",
        source,
        S=["1A01", "1A02", "1A03", "2A01"],
        A=["1A", "1A", "1A", "2A"],
        geometry=[box(0, 0, 1000, 500), box(0, 500, 800, 1000), box(800, 500, 1200, 1000), EAST],
    )
    bow_tie = shapely.Polygon([(400_100, 130_100), (400_200, 130_200), (400_200, 130_100), (400_100, 130_200)])
    write("park", source, geometry=[bow_tie, box(5000, 5000, 5100, 5100)])
    bins = [shapely.Point(400_000 + x, 130_400) for x in (1500, 100, 100, 9000)]
    write("bin", source, N=[4, 1, 2, 3], MAKE=["broken", "x", " ", "x"], geometry=bins)
    requests().to_parquet(source / "requests.parquet")
    return profile, source


EAST = shapely.union_all([box(1000, 0, 1200, 500), box(1200, 0, 2000, 1000)])


def requests() -> gpd.GeoDataFrame:
    rows = [
        ("1", "T1", "2016-07-01 12:00", "2016-07-05 12:00", None, "OPEN", "1", "WORKS"),
        ("2", "T1", "2016-11-06 01:30", "2016-12-01 12:00", "2016-12-02 10:00", "CLOSED", "2", "WORKS"),
        ("3", "T9", "2016-03-13 02:30", None, "1970-01-01 00:00", "IN-PROGRESS", "NULL", "NOBODY"),
        ("4", "T1", "2016-07-01 12:00", "2016-06-01 12:00", "2016-06-30 12:00", "CLOSED", "", "WORKS"),
        ("5", "T1", "2016-07-01 12:00", None, None, "IN PROGRESS", "1", "WORKS"),
        ("6", "T1", "2016-07-01 12:00", None, None, "voided", "1", "WORKS"),
        ("7", "T1", "2016-07-01 12:00", None, None, "LOST", "1", None),
        ("7", "T1", "2016-07-01 12:00", None, None, "OPEN", "1", "WORKS"),
        (None, None, "2018-08-01 00:00", None, None, None, None, None),
    ]
    names = ["id", "type", "opened", "due", "shut", "status", "ward", "agency"]
    frame = pd.DataFrame(rows, columns=names, dtype=object)
    for stamp in ("opened", "due", "shut"):
        frame[stamp] = pd.to_datetime(frame[stamp]).dt.tz_localize("UTC").astype("datetime64[ms, UTC]")
    frame["seen"] = frame["due"].where(frame["id"] == "2")
    frame = frame.assign(words="Bin ful", address="1 Main St", part="file-a")
    points = [shapely.Point(400_100, 130_400)] * 7 + [shapely.Point(401_500, 130_400), None]
    return gpd.GeoDataFrame(frame, geometry=gpd.GeoSeries(points, crs=26985).to_crs(4326))


def progress(stage: str, fraction: float) -> None:
    assert 0 <= fraction <= 1
    assert stage


@pytest.fixture(scope="session")
def city(small: tuple[Path, Path]) -> dict[str, object]:
    return read_city(*small, progress)


@pytest.fixture(scope="session")
def washington() -> dict[str, object]:
    if not (REAL / "dc_base.gpkg").exists():
        pytest.skip("the real files are not at ../shared/data/washington")
    return read_city(WASHINGTON, REAL, progress)


@pytest.fixture(params=["city", "washington"])
def frames(request: pytest.FixtureRequest) -> dict[str, object]:
    return request.getfixturevalue(request.param)


def rows(frames: dict[str, object], words: str) -> int:
    return sum(found["rows"] for found in frames["findings"] if words in found["what_en"])


# ---- laws that hold for every city of this kind ---------------------------------------------------------------


def test_one_call_gives_every_frame_but_cells(frames):
    assert set(frames) == set(FRAMES.split())
    assert all(set(found) == {"what_en", "what_zh", "rows", "done_en", "done_zh"} for found in frames["findings"])


def test_every_level_tiles_and_is_the_union_of_the_level_below(frames):
    areas = frames["areas"].assign(parent=lambda f: f["code"].map(lambda code: AreaCode(code).parent))
    levels = {digits: areas[areas["code"].str.len() == digits] for digits in (4, 6, 9, 12)}
    for digits, below in ((4, 6), (6, 9), (9, 12)):
        assert shapely.coverage_is_valid(levels[below].geometry.array)
        for area in levels[digits].itertuples():
            parts = levels[below][levels[below]["parent"] == area.code]
            assert shapely.equals(shapely.coverage_union_all(parts.geometry.array), area.geometry)
    assert areas.geometry.is_valid.all()
    xy = shapely.get_coordinates(areas.geometry.array) / LATTICE_M
    assert (xy == np.rint(xy)).all()


def test_cells_add_up_to_their_community(frames):
    areas = frames["areas"][frames["areas"]["code"].str.len() == 12]
    for community in areas.sample(min(len(areas), 8), random_state=1).geometry:
        cells = cut(community, frames["barriers"]).array
        assert shapely.coverage_is_valid(cells)
        assert shapely.area(cells).sum() == pytest.approx(community.area, rel=1e-6)


def test_codes_are_unique_and_name_their_place(frames):
    for name in ("areas", "units", "majors", "classes", "rules", "components"):
        assert frames[name]["code"].is_unique
    districts = frames["areas"][frames["areas"]["code"].str.len() == 6]
    parts = frames["components"]
    assert (owner_of(np.asarray(parts.geometry.array), districts) == parts["code"].str[:6]).all()
    assert (parts["code"].str[6:10] == parts["class_code"].str[1:]).all()
    assert all(ComponentCode(code) for code in parts["code"].iloc[:100])


def test_reports_are_whole(frames):
    reports, classes = frames["reports"], set(frames["classes"]["code"])
    filed = set(zip(frames["conditions"]["class_code"], frames["conditions"]["no"], strict=True))
    assert reports["key"].is_unique
    assert set(reports["class_code"]) <= classes
    numbered = reports[reports["condition_no"].notna()]
    assert set(zip(numbered["class_code"], numbered["condition_no"], strict=True)) <= filed
    assert set(reports["unit_label"].dropna()) <= set(frames["units"]["code"])
    assert set(reports["area_label"].dropna()) <= set(frames["areas"]["code"])
    for column in ("reported_at", "due_at", "disposed_at", "closed_at"):
        assert str(reports[column].dt.tz) == "UTC"
    assert not (reports["closed_at"] < reports["reported_at"]).any()
    assert not (reports["due_at"] < reports["reported_at"]).any()


def test_missing_text_is_none(frames):
    for name in ("reports", "units", "barriers", "classes"):
        for column in [c for c, kind in frames[name].dtypes.items() if kind == "O"]:
            missing = frames[name][column][frames[name][column].isna()]
            assert all(value is None for value in missing), f"{name}.{column}"


# ---- areas ----------------------------------------------------------------------------------------------------


def test_a_community_that_straddles_is_cut_and_a_sliver_is_not_a_community(city):
    areas = city["areas"].set_index("code")
    communities = areas[areas.index.str.len() == 12]
    names = dict(zip(communities.index, communities["name_en"], strict=True))
    assert names == {
        "999901001001": "1A01",
        "999901001002": "1A02",
        "999901001003": "1A03 (Ward 1 part)",
        "999902001001": "1A03 (Ward 2 part)",
        "999902002001": "2A01",
    }
    assert areas.loc["999901001"]["name_zh"] == "1A街道（1区部分）"
    # the half metre between the outlines follows the ward's border
    assert areas.loc["999901001001"].geometry.area == 1000.5 * 500
    assert areas.loc["999901"].geometry.equals(box(0, 0, 1000.5, 1000))
    assert rows(city, "slivers") == 1
    assert rows(city, "straddle") == 1


def test_a_hole_in_the_finest_layer_is_refused(small, tmp_path):
    shutil.copytree(small[1], tmp_path / "files")
    frame = gpd.read_file(tmp_path / "files" / "base.gpkg", layer="smd")
    pyogrio.write_dataframe(frame[frame["S"] != "1A02"], tmp_path / "files" / "base.gpkg", layer="smd")
    with pytest.raises(UnfitFile, match="do not cover the same ground: 400000 m2"):
        build_areas(read_profile(small[0]), tmp_path / "files")


def test_owner_on_a_shared_border_is_the_lowest_code(city):
    districts = city["areas"][city["areas"]["code"].str.len() == 6]
    points = np.array([shapely.Point(401_000.5, 130_500), shapely.Point(0, 0), None], dtype=object)
    assert owner_of(points, districts.iloc[::-1]).tolist() == ["999901", None, None]


def test_ground_is_mended_and_what_lies_outside_is_left_away(city):
    ground = city["barriers"]
    assert ground["kind"].tolist() == ["green", "green"]  # the bow tie became two triangles
    assert ground.geometry.is_valid.all()
    assert rows(city, "invalid polygons in layer park") == 1


# ---- units and components -------------------------------------------------------------------------------------


def test_territorial_units(city):
    units = city["units"].set_index("code")
    assert units.loc["T999901"].to_dict() == {
        "name_zh": "1区政府",
        "name_en": "Ward 1 office",
        "kind": "district",
        "parent_code": None,
        "area_code": "999901",
    }


def test_components_are_numbered_by_district_class_and_key(city):
    parts = city["components"].set_index("code")
    assert parts.index.tolist() == ["9999010305000001", "9999010305000002", "9999020305000001"]
    assert parts["attrs"].tolist() == [{"N": 1, "MAKE": "x"}, {"N": 2}, {"N": 4, "MAKE": "broken"}]
    assert parts["state"].tolist() == ["intact", "intact", "damaged"]
    assert parts["surveyed_on"].isna().all()
    assert rows(city, "points of layer bin outside") == 1
    assert rows(city, "share their point with another of the same class") == 2


def test_components_keep_the_key_of_their_source(city):
    assert city["components"]["source_key"].tolist() == ["bin/1", "bin/2", "bin/4"]


def test_a_city_may_have_no_requests_no_components_and_no_middle_level(small, tmp_path):
    profile = shutil.copytree(small[0], tmp_path / "profile")
    text = (profile / "city.toml").read_text(encoding="utf-8")
    text = text[: text.index("[[component]]")].replace('layer = "anc"\nkey = "A"', 'key_value = "all"')
    text = text.replace('parent = "A"', "")
    (profile / "city.toml").write_text(text, encoding="utf-8")
    (profile / "types.csv").unlink()
    frames = read_city(profile, small[1], progress)
    assert (len(frames["components"]), len(frames["reports"])) == (0, 0)
    codes = [code for code in frames["areas"]["code"] if len(code) == 9]
    assert codes == ["999901001", "999902001"]


def test_grades_are_read_from_numbers_and_the_rest_is_of_the_grade_that_is_said(small, tmp_path):
    profile = read_profile(small[0])
    roads = {
        "M": [1.0, 2.0, None],
        "geometry": [shapely.LineString([(400_000, y), (400_900, y)]) for y in (130_100, 130_200, 130_300)],
    }
    pyogrio.write_dataframe(gpd.GeoDataFrame(roads, crs=26985), tmp_path / "roads.gpkg", layer="road")
    spec = {"file": "roads.gpkg", "layer": "road", "kind": "street", "data_source": "made for a test"}
    spec |= {"grade_column": "M", "grades": {"1": "arterial"}}
    city = box(0, 0, 2000, 1000)
    for more, grades in (({}, ["arterial"]), ({"grade": "lane"}, ["arterial", "lane", "lane"])):
        ground, _ = read_ground({**profile, "ground": [{**spec, **more}]}, tmp_path, city)
        assert ground["grade"].tolist() == grades


# ---- requests -------------------------------------------------------------------------------------------------


def test_every_defect_of_a_request_is_counted(city):
    reports = city["reports"].set_index("key")
    assert len(reports) == 7
    assert rows(city, "blank rows") == 1
    assert rows(city, "request numbers met again") == 1
    assert reports.loc["3", "class_code"] == "E2199"
    assert pd.isna(reports.loc["3", "condition_no"])
    assert reports.loc["3", "unit_label"] is None
    assert reports.loc["3", "area_label"] is None
    assert reports.loc["4", "area_label"] is None
    assert rows(city, "unknown agency: NOBODY") == 1
    assert rows(city, "requests without a district label") == 2
    assert rows(city, "1 January 1970") == 1
    assert pd.isna(reports.loc["3", "closed_at"])
    assert rows(city, "closed before it was opened") == 1
    assert rows(city, "due before it was opened") == 1
    assert pd.isna(reports.loc["4", "closed_at"])
    assert (
        rows(city, "2 spellings: IN PROGRESS, IN-PROGRESS") + rows(city, "2 spellings: IN-PROGRESS, IN PROGRESS") == 1
    )
    assert reports["stage"].tolist() == [
        "dispatched",
        "closed",
        "dispatched",
        "closed",
        "dispatched",
        "void",
        "reported",
    ]
    assert reports.loc["6", "note"] == "作废 / voided"
    assert reports.loc["7", "note"].endswith("LOST")
    assert reports.loc["2", "note"] == "现场检查 / inspected 2016-12-01"
    assert reports.loc["1", "description"] == "Bin full"
    assert rows(city, "misspelt type: Bin ful") == 6
    assert rows(city, "share their exact point") == 7
    assert reports["disposed_at"].isna().all()


def test_times_are_read_by_the_clock_of_the_city(city):
    reports = city["reports"].set_index("key")
    assert reports.loc["1", "reported_at"] == utc(2016, 7, 1, 16)
    assert reports.loc["2", "due_at"] == utc(2016, 12, 1, 17)
    assert reports.loc["2", "reported_at"] == utc(2016, 11, 6, 5, 30)  # 01:30 happened twice: the first
    assert reports.loc["3", "reported_at"] == utc(2016, 3, 13, 7)  # 02:30 did not happen: 03:00 EDT
    assert rows(city, "in the gap") == 1
    assert rows(city, "happened twice") == 1


@given(st.datetimes(datetime(1970, 1, 2), datetime(2037, 1, 1)), st.integers(-12, 14))
def test_a_fixed_clock_only_shifts(when, hours):
    stamps = pd.Series([when]).dt.tz_localize("UTC")
    at, gaps, overlaps = to_utc(stamps, f"{hours:+03d}:00", "America/New_York")
    assert (gaps, overlaps) == (0, 0)
    assert at[0] + pd.Timedelta(hours=hours) == stamps[0]


@given(st.datetimes(datetime(1970, 1, 2), datetime(2037, 1, 1)))
def test_the_wall_clock_comes_back_unless_it_fell_in_a_gap(when):
    at, gaps, overlaps = to_utc(pd.Series([when, pd.NaT]), "city", "America/New_York")
    wall = at.dt.tz_convert("America/New_York").dt.tz_localize(None)
    assert (wall[0] == pd.Timestamp(when)) == (gaps == 0)
    assert gaps + overlaps <= 1
    assert pd.isna(at[1])


def test_an_unknown_clock_is_refused():
    with pytest.raises(UnfitFile, match="clock is 'noon'"):
        to_utc(pd.Series([pd.NaT]), "noon", "UTC")


# ---- bad input ------------------------------------------------------------------------------------------------


def spoil_requests(change):
    def spoil(folder: Path) -> None:
        change(gpd.read_parquet(folder / "requests.parquet")).to_parquet(folder / "requests.parquet")

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "base.gpkg").unlink(), "no file base.gpkg"),
        (lambda f: (f / "requests.parquet").unlink(), "no file requests.parquet"),
        (lambda f: (f / "base.gpkg").write_bytes(b""), "0 bytes"),
        (lambda f: (f / "base.gpkg").write_text("hello"), "cannot be read as GeoPackage"),
        (lambda f: (f / "requests.parquet").write_text("hello, hello"), "cannot be read as GeoParquet"),
        (spoil_requests(lambda r: r.drop(columns="ward")), "has no column ward"),
        (spoil_requests(lambda r: r.assign(opened="today")), "column opened"),
        (spoil_requests(lambda r: pd.DataFrame(r.drop(columns="geometry")).assign(geometry="x")), "GeoParquet"),
        (spoil_requests(lambda r: r.iloc[:0]), "holds no rows"),
        (
            spoil_requests(lambda r: r.set_geometry(shapely.buffer(r.geometry.array, 1e-4), crs=4326)),
            "holds Polygon, not Point",
        ),
    ],
)
def test_unfit_files_are_refused_by_name(small, tmp_path, spoil, words):
    files = shutil.copytree(small[1], tmp_path / "files")
    spoil(files)
    with pytest.raises(UnfitFile, match=words) as refused:
        read_city(small[0], files, progress)
    assert refused.value.where["file"]
    assert refused.value.mend
    assert refused.value.mend_zh != refused.value.mend
    assert refused.value.zh != refused.value.en


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("city.toml", 'layer = "anc"', 'layer = "none"', "layer none of base.gpkg is not there"),
        ("city.toml", 'key = "A"', 'key = "B"', "has no column B"),
        ("city.toml", 'code = "9999"', "", "no entry 'code'"),
        ("city.toml", "[areas]", "[areas", "not valid TOML"),
        ("city.toml", 'supervising = "WORKS"', 'supervising = "X"', "units.csv, code: X is not known"),
        ("types.csv", ",C0305,1", ",C0305,2", "C0305/2 is no row of conditions.csv"),
        ("rules.csv", "unit:WORKS", "unit:GONE", "GONE is not known"),
        ("conditions.csv", ",2,work_day", ",two,work_day", "line 2: limit_value is not a number"),
        ("units.csv", "kind", "sort", "no column kind"),
    ],
)
def test_unfit_profiles_are_refused_by_name(small, tmp_path, name, old, new, words):
    profile = shutil.copytree(small[0], tmp_path / "profile")
    text = (profile / name).read_text(encoding="utf-8")
    assert old in text
    (profile / name).write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(UnfitFile, match=words):
        read_city(profile, small[1], progress)


def test_a_folder_that_is_not_there(small, tmp_path):
    with pytest.raises(UnfitFile, match="is not a folder"):
        read_city(small[0], tmp_path / "none", progress)
    with pytest.raises(UnfitFile, match=r"no city\.toml"):
        read_city(tmp_path, small[1], progress)


def test_an_unknown_parent_is_refused(small, tmp_path):
    files = shutil.copytree(small[1], tmp_path / "files")
    frame = gpd.read_file(files / "base.gpkg", layer="smd").assign(A="9Z")
    pyogrio.write_dataframe(frame, files / "base.gpkg", layer="smd")
    with pytest.raises(UnfitFile, match="names areas that layer anc does not have: 9Z"):
        build_areas(read_profile(small[0]), files)


# ---- the tables of Washington (in the repository) -------------------------------------------------------------


def test_tables_of_washington_fit_each_other():
    profile = read_profile(WASHINGTON)
    none = gpd.GeoDataFrame({"code": [], "name_zh": [], "name_en": []}, geometry=[], crs=profile["srid"])
    frames = read_catalogue(WASHINGTON, profile, none.astype({"code": str}))
    assert len(frames["types"]) == len(frames["rules"]) == len(frames["conditions"]) == 48
    assert len({spec["layer"] for spec in profile["component"]}) == 12
    limited = frames["conditions"]["limit_value"].notna()
    assert (limited == frames["conditions"]["limit_basis"].notna()).all()
    assert not profile["simulated"]
    components = frames["classes"]["code"].str.startswith("C")
    assert (frames["classes"]["geometry_type"].notna() == components).all()


def test_codes_of_washington_are_of_no_chinese_province():
    provinces = [*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66)]
    assert int(read_profile(WASHINGTON)["code"][:2]) not in {*provinces, 71, 81, 82}  # GB/T 2260


# ---- Washington itself (real files) ---------------------------------------------------------------------------


def test_washington_counts(washington):
    codes = washington["areas"]["code"].str.len().value_counts().to_dict()
    assert codes == {4: 1, 6: 8, 9: 42, 12: 299}
    city = washington["areas"].geometry.iloc[0]
    assert city.area == pytest.approx(177_456_222.7, abs=100)
    assert len(washington["components"]) == 50_619
    assert len(washington["reports"]) == 22_576
    assert rows(washington, "outside every area") == 50_630 - 50_619


def test_washington_defects_are_all_told(washington):
    told = {
        "stamps marked Z (UTC) that are local time": 22_576,
        "DUPLICATE (OPENED)": 332,
        "DUPLICATE (CLOSED)": 163,
        "VOIDED": 130,
        "CLOSED - INCOMPLETE INFORMATION": 18,
        "blank rows": 1,
        "one status in 2 spellings": 6,
        "misspelt type: Traffic Signal Maintanence": 377,
        "invalid polygons in layer national_parks": 1,
        "bridges is not used; 2 invalid": 520,
        "sat in two source files": 371,
        "share their exact point": 10_969,
        "each of 33 source files": 7_149,
        "XCOORD/YCOORD lie 0.887 m": 22_576,
        "without a deadline": 2,
        "requests without a district label": 149,
    }
    assert {words: rows(washington, words) for words in told} == told


def test_washington_classes_cover_the_requests(washington):
    other = washington["reports"]["class_code"] == "E2199"
    assert other.mean() < 0.05
    assert other.sum() == 111


def test_washington_wards_agree_with_their_labels(washington):
    reports = washington["reports"]
    to_city = Transformer.from_crs(4326, 26985, always_xy=True)
    x, y = to_city.transform(reports["x"].to_numpy(), reports["y"].to_numpy())
    points = shapely.points(np.rint(x / LATTICE_M) * LATTICE_M, np.rint(y / LATTICE_M) * LATTICE_M)
    wards = washington["areas"][washington["areas"]["code"].str.len() == 6]
    ward = owner_of(points, wards)
    assert not pd.isna(ward).any()
    labelled = reports["area_label"].notna().to_numpy()
    differs = labelled & (ward != reports["area_label"].to_numpy())
    assert labelled.sum() == 22_427
    assert 1 - differs.sum() / labelled.sum() >= 0.997
    # who differs stands on the border itself: one step of the lattice at most from the ward of the label
    outlines = wards.set_index("code").geometry
    away_m = [outlines[label].distance(points[row]) for row, label in reports["area_label"][differs].items()]
    assert max(away_m) <= LATTICE_M


def test_washington_rules_name_the_agency(washington):
    rules = washington["rules"].set_index(["class_prefix", "condition_no"])["roles"].str.removeprefix("unit:")
    reports = washington["reports"]
    by_rule = rules.reindex(pd.MultiIndex.from_frame(reports[["class_code", "condition_no"]])).to_numpy()
    assert (by_rule == reports["unit_label"].to_numpy()).all()


def test_washington_limits_give_the_deadlines_of_the_source(washington):
    """The clock at -04:00, office hours and limits together: what they compute is what the source says."""
    profile = read_profile(WASHINGTON)
    hours = [tuple(period) for period in profile["office_hours"]]
    calendar = WorkCalendar.read(WASHINGTON / "calendar.csv", hours=hours, timezone=profile["timezone"])
    limits = washington["conditions"].rename(columns={"no": "condition_no"})
    cases = washington["reports"].merge(limits, on=["class_code", "condition_no"])
    cases = cases[cases["due_at"].notna() & (cases["limit_basis"] == "work_day")]
    due = calendar.due(cases["reported_at"], cases["limit_value"].to_numpy(float) * 8 * 3600)
    apart = np.abs((pd.DatetimeIndex(due) - pd.DatetimeIndex(cases["due_at"])).total_seconds())
    assert len(cases) > 21_000
    assert (apart < 60).mean() > 0.99


def test_washington_survey_days_are_dates(washington):
    days = washington["components"]["surveyed_on"].dropna()
    assert all(type(day) is date for day in days)
    assert len(days) > 20_000
