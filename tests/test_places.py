"""Where a place is, however it is said: the grammar, names through time, answers with how sure they are."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from gis.crs import transform
from gis.errors import Invalid, UnfitFile
from grids.city import City
from layers.place_import import PlaceReport, derive_again, import_places
from layers.place_words import fold, initials_of, key, sound, sounds_of, take_apart
from layers.places import find_places, in_words
from tests.doorstep import Door
from tests.hamlet import SRID, at

AREAS = (
    ("6109", "安康市"),
    ("610902", "汉滨区"),
    ("610902001", "老城街道"),
    ("610902001005", "兴安路社区"),
    ("", "陕西省"),
)


@pytest.mark.parametrize(
    ("said", "names", "number", "areas"),
    [
        ("兴安路", ("兴安路",), None, ()),
        ("兴安路57号", ("兴安路",), 57, ()),
        ("兴安路 57 号院", ("兴安路",), 57, ()),
        ("兴安路五七号", ("兴安路",), 57, ()),
        ("兴安路57", ("兴安路",), 57, ()),
        ("兴安路三十八号", ("兴安路",), 38, ()),
        ("兴安路一百零六号院", ("兴安路",), 106, ()),
        ("兴安路十号", ("兴安路",), 10, ()),
        ("陕西省安康市汉滨区老城街道兴安路57号附近", ("兴安路",), 57, ("6109", "610902", "610902001")),
        ("汉滨区兴安路社区", ("兴安路社区",), None, ("610902",)),
        ("兴安路与金州路交叉口", ("兴安路", "金州路"), None, ()),
        ("兴安路和金州路路口", ("兴安路", "金州路"), None, ()),
        ("兴安路/金州路", ("兴安路", "金州路"), None, ()),
        ("兴安路金州路口", ("兴安路", "金州路"), None, ()),
        ("xinganlu57hao", ("xinganlu",), 57, ()),
        ("Xing'an Road", ("xinganroad",), None, ()),
        ("ＸＡＬ", ("xal",), None, ()),
        ("金州广场（南门）", ("金州广场南门",), None, ()),
    ],
)
def test_a_saying_is_taken_apart(said: str, names: tuple[str, ...], number: int | None, areas: tuple[str, ...]) -> None:
    saying = take_apart(said, AREAS)
    assert (saying.names, saying.number, saying.areas) == (names, number, areas)


@pytest.mark.parametrize(
    ("said", "direction", "distance_m"),
    [
        ("金州广场往南500米", "south", 500),
        ("金州广场以南约500米处", "south", 500),
        ("金州广场东北侧", "north east", None),
        ("金州广场南500m", "south", 500),
        ("金州广场", None, None),
        ("南环路", None, None),
        ("东大街", None, None),
    ],
)
def test_directions_and_distances_are_hints_and_leave_the_name(
    said: str, direction: str | None, distance_m: int | None
) -> None:
    saying = take_apart(said, AREAS)
    assert (saying.direction, saying.distance_m) == (direction, distance_m)
    assert saying.names == (said if direction is None else "金州广场",)


@given(st.text(max_size=300))
def test_any_text_can_be_taken_apart(said: str) -> None:
    saying = take_apart(said, AREAS)
    assert 1 <= len(saying.names) <= 2
    assert len("".join(saying.names)) <= 2 * 200
    assert saying.number is None or saying.number > 0


@given(st.text(alphabet="兴安路金州长行重朝阳abz019", min_size=1, max_size=12))
def test_what_a_name_sounds_like_holds_what_is_typed_for_it(name: str) -> None:
    assert sound(name) in sounds_of(name)
    assert fold(sound(name)) == fold(fold(sound(name))), "folding again changes nothing more than once"
    assert key(key(name)) == key(name)


def test_sounds_that_people_mix_up_are_one_and_other_readings_are_kept() -> None:
    assert sound("兴安路") == sound("新安路") == fold("xinganlu") == fold("xinanlu")
    assert sound("长岭路") in sounds_of("长岭路")
    assert {fold("changlinglu"), fold("zhanglinglu")} <= set(sounds_of("长岭路"))
    assert "xal2x" in initials_of("兴安路2巷")
    assert initials_of("Main Road") == []


# ── names through time ────────────────────────────────────────


def table(path: Path, *rows: tuple[Any, ...]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("编码", "名称", "类型", "东坐标", "北坐标", "别名", "英文名"), *rows])
    return path


def take(conn: Connection, city: City, path: Path, **more: Any) -> PlaceReport:
    return import_places(conn, city, path, actor="tester", reason="a test", **{"srid": SRID, "commit": True} | more)


def first(conn: Connection, said: str) -> Any:
    found = find_places(conn, said)[1]
    return found[0] if found else None


def test_a_renamed_place_is_found_by_its_former_name_and_says_so(
    conn: Connection, template: City, tmp_path: Path
) -> None:
    x, y = at(150, 50)
    row = ("P1", "人民剧院", "兴趣点", x, y, "大剧院;老戏院", "People's Theatre")
    path = table(tmp_path / "p.csv", row)
    dry = take(conn, template, path, commit=False)
    assert (dry.counts["new"], dry.committed) == (1, False)
    assert first(conn, "人民剧院") is None
    assert take(conn, template, path).counts["new"] == 1
    assert take(conn, template, path).counts == {**dry.counts, "new": 0, "same": 1}, "the same again changes nothing"
    for said in (
        "人民剧院",
        "大剧院",
        "老戏院",
        "renminjuyuan",
        "rmjy",
        "People's Theatre",
        "人民巨院",
        "区域610999人民剧院",
    ):
        assert first(conn, said).code == "P1", said
    renamed = take(conn, template, table(tmp_path / "q.csv", (row[0], "文化中心", *row[2:5], "", "")))
    assert renamed.counts["renamed"] == 1
    found = first(conn, "人民剧院")
    assert (found.code, found.name_zh, found.former) == ("P1", "文化中心", "人民剧院")
    assert first(conn, "文化中心").former is None
    assert found.sure < first(conn, "文化中心").sure
    assert (
        take(conn, template, table(tmp_path / "r.csv", ("P2", "别处", "兴趣点", x, y, "", "")), complete=True).counts[
            "ended"
        ]
        == 1
    )
    assert first(conn, "文化中心") is None, "a place that is no more is not offered"
    assert conn.execute(text("select count(*) from layers.place where code = 'P1'")).scalar_one() == 2


def test_doors_are_found_by_number_and_lie_between_their_neighbours(
    conn: Connection, template: City, tmp_path: Path
) -> None:
    rows = [(f"D{n}", f"柳巷{n}号", "门牌", *at(10.0 * n, 50 + n % 2), "", "") for n in (1, 2, 5, 6, 9)]
    take(conn, template, table(tmp_path / "p.csv", ("L", "柳巷", "道路", *at(50, 50), "", ""), *rows))
    exact = first(conn, "柳巷5号")
    assert (exact.code, exact.how) == ("D5", "door")
    between = first(conn, "柳巷7号")
    assert between.how == "between"
    assert between.sure < exact.sure
    assert (between.x, between.y) == (at(70, 51))
    beyond = first(conn, "柳巷99号")
    assert beyond.how == "road"
    assert beyond.sure < between.sure


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (("X", "", "兴趣点", *at(50, 50), "", ""), "name"),
        (("X", "某处", "天体", *at(50, 50), "", ""), "kind"),
        (("X", "某处", "兴趣点", 0, 0, "", ""), "geometry"),
        (("X", "某处", "兴趣点", "", "", "", ""), "geometry"),
        (("X", "无号", "门牌", *at(50, 50), "", ""), "road"),
        (("A", "某处", "兴趣点", *at(50, 50), "", ""), "code"),
    ],
)
def test_a_row_that_is_wrong_leaves_everything_as_it_was(
    conn: Connection, template: City, tmp_path: Path, row: tuple[Any, ...], field: str
) -> None:
    path = table(tmp_path / "p.csv", ("A", "好地方", "兴趣点", *at(50, 50), "", ""), row)
    report = take(conn, template, path)
    assert [(n, name) for n, name, *_ in report.faults] == [(2, field)]
    assert not report.committed
    assert first(conn, "好地方") is None


def test_a_file_without_names_or_a_system_is_refused(conn: Connection, template: City, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("a,x,y\n1,2,3\n", encoding="utf-8")
    with pytest.raises(UnfitFile, match="no column of names"):
        take(conn, template, path)
    with pytest.raises(UnfitFile, match="coordinate system"):
        take(conn, template, table(path, ("A", "好地方", "兴趣点", *at(50, 50), "", "")), srid=None)


def test_what_areas_and_ground_name_is_derived_and_derived_again_is_the_same(conn: Connection, template: City) -> None:
    assert first(conn, "区域610999001001").kind == "area"
    assert first(conn, "园").kind == "green"
    again = derive_again(conn, template, actor="tester")
    assert again.counts["same"] == again.rows > 5
    conn.execute(text("update grids.area set name_zh = '新名' where code = '610999001001'"))
    assert derive_again(conn, template, actor="tester").counts["renamed"] == 1
    assert first(conn, "区域610999001001").name_zh == "新名"


def test_nothing_to_look_for_is_refused(conn: Connection) -> None:
    for said in ("%", "___", "%%%%%%", "……", "  "):
        with pytest.raises(Invalid, match="nothing to look for"):
            find_places(conn, said)
    assert find_places(conn, "百分%_\\之百")[1] == []


def near(conn: Connection, x: float, y: float) -> list[dict[str, Any]]:
    point = text("select * from layers.places_near(st_setsrid(st_makepoint(:x, :y), :srid))")
    return [dict(row) for row in conn.execute(point, {"x": x, "y": y, "srid": SRID}).mappings()]


def test_a_place_in_words_names_the_door_and_a_landmark(conn: Connection, template: City, tmp_path: Path) -> None:
    x, y = at(150, 150)
    assert in_words(near(conn, *at(390, 390)), *at(390, 390)) is None
    rows = [("D", "柳巷8号", "门牌", x, y, "", ""), ("P", "钟楼", "兴趣点", x, y + 100, "", "Bell Tower")]
    take(conn, template, table(tmp_path / "p.csv", *rows))
    assert in_words(near(conn, x, y), x, y) == {
        "zh": "柳巷8号，钟楼以南约 100 米",
        "en": "柳巷8号, about 100 m south of Bell Tower",
    }


# ── over HTTP ────────────────────────────────────────


def test_geocode_answers_places_codes_and_coordinates_in_any_order(door: Door) -> None:
    x, y = at(50, 50)
    lon, lat = (float(axis) for axis in transform(x, y, SRID, 4326))
    minutes = ", ".join(f"{int(axis)}°{int(axis % 1 * 60)}′{axis * 60 % 1 * 60:.3f}″" for axis in (lon, lat))
    named = f"东经{lon:.7f} 北纬{lat:.7f}"
    for said in (f"{x}, {y}", f"{y} {x}", f"{lat:.7f},{lon:.7f}", named, minutes):
        answer = door.get("/geocode", q=said)
        assert answer.status_code == 200, said
        (one,) = answer.json()["items"]
        assert (one["kind"], one["sure"]) == ("coordinate", 1)
        assert one["areas"][0]["code"] == "610999001001"
    area = door.get("/geocode", q="610999001001").json()["items"][0]
    assert (area["kind"], area["how"]) == ("area", "code")
    cell = door.get("/geocode", q="610999001001003").json()["items"][0]
    assert (cell["kind"], cell["how"]) == ("cell", "code")
    lamp = door.get("/geocode", q="6109990137000001").json()["items"][0]
    assert (lamp["kind"], lamp["name_zh"]) == ("component", "路灯")
    area = door.get("/geocode", q="区域610999001001").json()
    assert area["items"][0]["code"] == "area:610999001001"
    assert area["simulated"]
    assert door.get("/geocode", q="没有这个地方吧").json()["items"] == []


@pytest.mark.parametrize(
    ("q", "error"), [("%%%", "Invalid"), ("a" * 10_000, "Invalid"), ("0 0", "UnfitCoordinates"), ("", "Invalid")]
)
def test_geocode_refuses_what_says_nothing(door: Door, q: str, error: str) -> None:
    answer = door.get("/geocode", q=q)
    assert answer.status_code == 422
    assert answer.json()["type"] == f"urn:wanmi:error:{error}"
