"""One place, one answer in words; a wrong place is refused with how else its numbers could be read."""

from __future__ import annotations

import math
import re

import pytest
from sqlalchemy import Connection

from api.locate import answer
from gis.crs import BD09, GCJ02, transform
from gis.errors import Invalid, UnfitCoordinates
from grids.city import City
from tests.hamlet import SRID, at

CHINESE = re.compile("[\u4e00-\u9fff]")


def asked(
    conn: Connection, city: City, east_m: float, north_m: float, srid: int = SRID, **options: object
) -> list[tuple[str, str]]:
    """The answer about a place given in metres from the hamlet's corner, in another system if ``srid`` says so."""
    x, y = (float(axis) for axis in transform(*at(east_m, north_m), SRID, srid))
    return answer(conn, city, x, y, srid, **{"class_code": "E0102", **options})


def value(lines: list[tuple[str, str]], head: str) -> str:
    return next(en for en, _ in lines if en.startswith(head)).removeprefix(head).strip()


def test_the_answer_says_where_who_and_why_in_both_languages(conn: Connection, template: City) -> None:
    lines = asked(conn, template, 50, 250)
    assert value(lines, "cell") == "610999001002003"
    assert value(lines, "street") == "Area 610999001 (610999001)"
    assert value(lines, "unit") == "DISTRICT (example)"
    assert value(lines, "reason") == "rule G3: the district of the place (made up)"
    assert value(lines, "assisting") == "WEST (example)"
    assert any("模拟" in en for en, _ in lines), "a simulated city says so"
    for en, zh in lines:
        assert en
        assert CHINESE.search(zh) or re.search("[0-9]", zh)
    assert next(zh for _, zh in lines if zh.startswith("理由")).endswith("规则 G3:属地区级部门(依据:made up)")


@pytest.mark.parametrize("srid", [SRID, 4490, 4326, 4524, 3857, GCJ02, BD09])
def test_the_same_place_in_any_system_has_the_same_answer(conn: Connection, template: City, srid: int) -> None:
    lines = asked(conn, template, 350, 350, srid)
    assert value(lines, "cell") == "610999002002002"
    assert value(lines, "unit") == "STATION (example)"


def test_a_component_decides_before_all_rules(conn: Connection, template: City) -> None:
    lines = asked(conn, template, 150, 50, class_code="C0137", component_code="6109990137000001")
    assert value(lines, "unit") == "LAMPS (example)"
    assert value(lines, "reason") == "the maintainer of the component named in the report"


def test_near_another_community_and_outside_all_cells_it_says_so(conn: Connection, template: City) -> None:
    near = asked(conn, template, 205, 50)
    assert value(near, "border") == "5.0 m from cell 610999001001004, another street: check first"
    beside = asked(conn, template, 50, -15)
    assert value(beside, "cell") == "610999001001003, 15.0 m away: no cell covers the place"


def refusal(conn: Connection, city: City, x: float, y: float, srid: int) -> UnfitCoordinates:
    with pytest.raises(UnfitCoordinates) as caught:
        answer(conn, city, x, y, srid, class_code="E0102")
    assert CHINESE.search(caught.value.zh)
    return caught.value


def test_swapped_axes_are_named(conn: Connection, template: City) -> None:
    lon, lat = (float(axis) for axis in transform(*at(50, 50), SRID, 4326))
    assert "swapped" in (refusal(conn, template, lat, lon, 4326).mend or "")
    x, y = at(50, 50)
    error = refusal(conn, template, y, x, SRID)
    assert "northing comes first" in (error.mend or "")
    assert "北坐标在前" in (error.mend_zh or "")


@pytest.mark.parametrize(("srid", "name"), [(GCJ02, "GCJ-02"), (BD09, "BD-09")])
def test_numbers_in_a_scrambled_system_are_named(conn: Connection, template: City, srid: int, name: str) -> None:
    x, y = (float(axis) for axis in transform(*at(200, 200), SRID, srid))
    error = refusal(conn, template, x, y, 4326)
    assert "outside the grid" in error.en
    assert f"{name} degrees" in (error.mend or "")
    assert name in (error.mend_zh or "")


def test_metres_declared_as_degrees_and_degrees_declared_as_metres_are_named(conn: Connection, template: City) -> None:
    x, y = at(50, 50)
    assert f"metres in EPSG:{SRID}" in (refusal(conn, template, x, y, 4326).mend or "")
    lon, lat = (float(axis) for axis in transform(x, y, SRID, 4326))
    assert "degrees, not metres" in (refusal(conn, template, lon, lat, SRID).mend or "")


@pytest.mark.parametrize("north_m", [-20.5, -500, 5_000, -50_000])
def test_a_place_outside_is_refused_also_when_no_reading_puts_it_inside(
    conn: Connection, template: City, north_m: float
) -> None:
    error = refusal(conn, template, *at(50, north_m), SRID)
    assert "outside the grid of Hamlet" in error.en
    assert error.mend, "there is always something to do"


@pytest.mark.parametrize("numbers", [(math.nan, 32.5), (108.0, math.inf), (math.nan, math.nan)])
def test_numbers_that_are_none_are_refused(conn: Connection, template: City, numbers: tuple[float, float]) -> None:
    error = refusal(conn, template, *numbers, 4326)
    assert "two finite numbers" in error.en
    assert error.mend


def test_an_unknown_system_is_refused(conn: Connection, template: City) -> None:
    error = refusal(conn, template, 108.0, 32.5, 1)
    assert "EPSG:1 is not a coordinate system" in error.en
    assert "EPSG number" in (error.mend or "")


@pytest.mark.parametrize(
    ("class_code", "near"), [("E0103", "E0102 exposed refuse"), ("0102", "E0102"), ("C137", "C0137")]
)
def test_an_unknown_class_is_refused_with_those_that_are_near(
    conn: Connection, template: City, class_code: str, near: str
) -> None:
    with pytest.raises(Invalid) as caught:
        asked(conn, template, 50, 50, class_code=class_code)
    assert repr(class_code) in caught.value.en
    assert near in (caught.value.mend or "")
    assert caught.value.where == {"field": "class"}
