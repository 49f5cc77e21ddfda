"""Systems of the numbers in a file: what is stated is read, moving agrees with PROJ, proposals are those that fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from gis.crs import BD09, GCJ02, GEODETIC, Extent, transform
from gis.errors import UnfitCoordinates
from gis.reference import Helmert4, Reference, propose
from tests.hamlet import SRID

FOUR = {"dx_m": 3_512_000.25, "dy_m": -421.5, "rotation_s": -78.25, "scale": 1.000_012_5}
SEVEN = {"dx_m": 115.2, "dy_m": -83.4, "dz_m": -41.7, "rx_s": 1.25, "ry_s": -2.5, "rz_s": 3.75, "scale_ppm": -1.9}
XIAN = 2379 + 2  #: Xian 1980, a zone of 3 degrees

FORMS: list[Any] = [
    SRID,
    "EPSG:4545",
    "4545",
    "gcj02",
    "GCJ-02",
    "bd09",
    "百度坐标",
    "ESRI:102025",
    {"crs": 4545},
    {"crs": "gcj02", "northing_first": True},
    {"crs": 4524, "northing_first": True},
    {"crs": SRID, "helmert4": FOUR},
    {"crs": SRID, "northing_first": True, "helmert4": FOUR},
    {"crs": XIAN, "helmert7": {**SEVEN, "convention": "position_vector"}},
    {"helmert7": {**SEVEN, "convention": "coordinate_frame", "from": 4610}},
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_comes_back_from_its_table_and_leads_there_and_back(form: Any) -> None:
    reference = Reference.parse(form)
    assert Reference.parse(reference.table()) == reference
    assert all(reference.said())
    city = np.array([shapely.Point(500_000.25, 3_600_000.5), None, shapely.box(510_000, 3_610_000, 510_001, 3_610_002)])
    there = reference.from_city(city, SRID)
    back = reference.to_city(there, SRID)
    assert back[1] is None
    apart = np.abs(shapely.get_coordinates(back) - shapely.get_coordinates(city))
    assert apart.max() < 1e-6
    if not (reference.srid == SRID and reference == Reference(SRID)):
        assert np.abs(shapely.get_coordinates(there) - shapely.get_coordinates(city)).max() > 1


east, north = st.floats(480_000, 620_000), st.floats(3_520_000, 3_750_000)


@given(east, north)
def test_four_parameters_agree_with_proj(x: float, y: float) -> None:
    reference = Reference.parse({"crs": SRID, "helmert4": FOUR})
    proj = Transformer.from_pipeline(
        f"+proj=helmert +x={FOUR['dx_m']} +y={FOUR['dy_m']} +theta={FOUR['rotation_s']} +s={FOUR['scale']}"
    )
    ours = reference.forward(np.array([x]), np.array([y]), SRID)
    assert np.abs(np.array(ours).ravel() - proj.transform(x, y)).max() < 1e-6


@pytest.mark.parametrize("convention", ["position_vector", "coordinate_frame"])
@given(x=east, y=north)
@settings(max_examples=30)
def test_seven_parameters_agree_with_a_pipeline_of_proj(convention: str, x: float, y: float) -> None:
    reference = Reference.parse({"crs": XIAN, "helmert7": {**SEVEN, "convention": convention}})
    numbers = {one.name: one.value for one in CRS.from_epsg(XIAN).coordinate_operation.params}
    middle, false_easting = numbers["Longitude of natural origin"], numbers["False easting"]
    proj = Transformer.from_pipeline(
        "+proj=pipeline "
        f"+step +inv +proj=tmerc +lat_0=0 +lon_0={middle} +k=1 +x_0={false_easting} +y_0=0 +a=6378140 +rf=298.257 "
        "+step +proj=cart +a=6378140 +rf=298.257 "
        f"+step +proj=helmert +x={SEVEN['dx_m']} +y={SEVEN['dy_m']} +z={SEVEN['dz_m']} +rx={SEVEN['rx_s']} "
        f"+ry={SEVEN['ry_s']} +rz={SEVEN['rz_s']} +s={SEVEN['scale_ppm']} +convention={convention} "
        "+step +inv +proj=cart +a=6378137 +rf=298.257222101 "
        "+step +proj=tmerc +lat_0=0 +lon_0=108 +k=1 +x_0=500000 +y_0=0 +a=6378137 +rf=298.257222101"
    )
    ours = np.array(reference.forward(np.array([x]), np.array([y]), SRID)).ravel()
    assert np.abs(ours - proj.transform(x, y)).max() < 1e-6


def test_the_two_conventions_differ_by_the_sign_of_the_rotations() -> None:
    turned = {**SEVEN, **{name: -SEVEN[name] for name in ("rx_s", "ry_s", "rz_s")}}
    at = np.array([500_000.0]), np.array([3_600_000.0])
    one = Reference.parse({"crs": XIAN, "helmert7": {**SEVEN, "convention": "position_vector"}})
    other = Reference.parse({"crs": XIAN, "helmert7": {**turned, "convention": "coordinate_frame"}})
    assert np.abs(np.subtract(one.forward(*at, SRID), other.forward(*at, SRID))).max() < 1e-6


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-6e5, 6e5), st.floats(0.6, 1.9), east, north)
def test_four_parameters_are_undone(dx: float, dy: float, turn: float, scale: float, x: float, y: float) -> None:
    four = Helmert4(dx, dy, turn, scale)
    back = four.undo(*four.apply(np.array([x]), np.array([y])))
    assert np.abs(np.array(back).ravel() - (x, y)).max() < 1e-6


def test_northing_first_and_zone_prefix() -> None:
    city = np.array([shapely.Point(512_345.5, 3_618_000.25)])
    swapped = Reference.parse({"crs": SRID, "northing_first": True}).to_city(
        shapely.points([[3_618_000.25, 512_345.5]]), SRID
    )
    prefixed = Reference.parse(4524).to_city(shapely.points([[36_512_345.5, 3_618_000.25]]), SRID)
    assert shapely.distance(swapped, city) == 0
    assert shapely.distance(prefixed, city) < 1e-6


@pytest.mark.parametrize(
    ("form", "word"),
    [
        (None, "no coordinate system"),
        (True, "no coordinate system"),
        ("", "no coordinate system"),
        ("somewhere", "no coordinate system"),
        (999_999, "not a coordinate system"),
        (4978, "flat"),
        ({}, "its crs"),
        ({"crs": 4545, "zone": 3}, "no key"),
        ({"crs": 4545, "northing_first": "yes"}, "true or false"),
        ({"crs": 4545, "helmert4": 3}, "table"),
        ({"crs": 4545, "helmert4": {"dx_m": 1}}, "dy_m"),
        ({"crs": 4545, "helmert4": {**FOUR, "dx_m": float("nan")}}, "dx_m"),
        ({"crs": 4545, "helmert4": {**FOUR, "scale": 1.2e-6}}, "scale_ppm"),
        ({"crs": 4545, "helmert4": {**FOUR, "rotation_deg": 1}}, "both"),
        ({"crs": 4326, "helmert4": FOUR}, "projected"),
        ({"crs": "gcj02", "helmert4": FOUR}, "shifted"),
        ({"crs": XIAN, "helmert7": SEVEN}, "convention"),
        ({"crs": XIAN, "helmert7": {**SEVEN, "convention": "position_vector", "from": 4214}}, "datum"),
        ({"crs": SRID, "helmert4": FOUR, "helmert7": {**SEVEN, "convention": "position_vector"}}, "both"),
    ],
    ids=str,
)
def test_what_is_no_system_is_refused(form: Any, word: str) -> None:
    with pytest.raises(UnfitCoordinates, match=word) as caught:
        Reference.parse(form)
    assert caught.value.mend
    assert caught.value.zh


@pytest.mark.parametrize("srid", [4610, 4214, XIAN, 2437])
def test_a_datum_to_which_no_public_way_leads_is_refused_not_guessed(srid: int) -> None:
    with pytest.raises(UnfitCoordinates, match="datum"):
        Reference.parse(srid).to_city(np.array([shapely.Point(108, 32)]), SRID)


# ── proposals ────────────────────────────────────────

CITY = Extent(108.8, 32.5, 109.3, 32.9, SRID, shapely.box(108.8, 32.5, 109.3, 32.9))
LON, LAT = np.array([108.9, 109.0, 109.2, 115.0]), np.array([32.6, 32.7, 32.8, 32.7])


@pytest.mark.parametrize(
    ("srid", "first"),
    [
        *((srid, first) for srid in (SRID, 4524, 4508, 4497, 3857) for first in (False, True)),
        *((srid, first) for srid in (GEODETIC, GCJ02, BD09) for first in (False, True)),
    ],
)
def test_the_true_system_is_among_the_proposals_and_the_first_of_its_kind(srid: int, first: bool) -> None:
    x, y = transform(LON, LAT, GEODETIC, srid)
    found = propose(None, *((y, x) if first else (x, y)), CITY)
    assert found[0].share == pytest.approx(0.75)
    best = [one.reference for one in found if one.share > 0.7]
    assert Reference(srid, northing_first=first) in best
    assert len(best) <= 3  # geodetic, GCJ-02 and BD-09 degrees cannot be told apart by numbers
    assert all(one.en and one.zh for one in found)


def test_what_the_file_says_comes_first_among_equals() -> None:
    x, y = transform(LON[:3], LAT[:3], GEODETIC, SRID)
    own = CRS.from_epsg(SRID)
    assert propose(own, x, y, CITY)[0].reference == Reference(SRID)
    assert propose(CRS.from_epsg(4546), x, y, CITY)[0].reference == Reference(SRID)
    assert propose(CRS.from_epsg(4490), LON[:3], LAT[:3], CITY)[0].reference == Reference(4490)


def test_nothing_is_proposed_where_nothing_fits() -> None:
    assert propose(None, [np.nan, 1e12], [3.0, 1e12], CITY) == []
    assert propose(None, [], [], CITY) == []
    abroad = Extent(-77.2, 38.8, -76.9, 39.0, 26985)
    found = propose(None, [-77.0], [38.9], abroad)
    assert [one.reference.srid for one in found] == [GEODETIC]
