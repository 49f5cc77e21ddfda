"""Coordinate systems: zones against PROJ's register, GCJ-02 and BD-09 both ways, snapping, readings."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Transformer
from pyproj.database import query_crs_info

from gis.crs import (
    BD09,
    GCJ02,
    GEODETIC,
    SNAP,
    Extent,
    city_crs,
    crs_of,
    diagnose,
    fits,
    gauss_krueger,
    gauss_krueger_zones,
    in_metres,
    number_bounds,
    reproject,
    snap,
    to_city,
    transform,
    zone_of,
)
from gis.errors import UnfitCoordinates
from gis.gcj import from_bd09, from_gcj02, to_bd09, to_gcj02
from gis.place import Place

ANKANG = Path(__file__).parents[2] / "shared" / "data" / "ankang" / "ankang_admin.gpkg"
CITY = 4545
lons = st.floats(73.7, 134.7)
lats = st.floats(3.9, 53.5)
zones = st.sampled_from(gauss_krueger_zones())
extent = Extent(108.9, 32.6, 109.1, 32.8, CITY)
inside = st.tuples(st.floats(108.91, 109.09), st.floats(32.61, 32.79))


# ── Gauss-Krüger ──


def test_zones_are_those_of_the_register() -> None:
    """Every CGCS2000 / Gauss-Krüger zone of PROJ's database between 4491 and 4554, read from its parameters."""
    register = {}
    for info in query_crs_info(auth_name="EPSG"):
        if "CGCS2000" in info.name and "Gauss-Kruger" in info.name and 4491 <= int(info.code) <= 4554:
            operation = CRS.from_epsg(int(info.code)).coordinate_operation
            assert operation is not None
            values = {parameter.name: parameter.value for parameter in operation.params}
            register[int(info.code)] = (
                values["Longitude of natural origin"],
                values["False easting"],
                3 if "3-degree" in info.name else 6,
                "zone" in info.name,
            )
    ours = {
        zone.srid: (zone.central_meridian, zone.false_easting_m, zone.width_deg, zone.prefixed)
        for zone in gauss_krueger_zones()
    }
    assert ours == register
    assert len(ours) == 64


@given(zone=zones, east=st.floats(-1.4, 1.4), north=st.floats(0.02, 0.98))
def test_a_zone_agrees_with_its_own_formula(zone, east, north) -> None:
    """The register's zone equals a transverse Mercator of our central meridian and false easting; and back."""
    area = crs_of(zone.srid).area_of_use
    lon, lat = zone.central_meridian + east, area.south + north * (area.north - area.south)
    lon = min(max(lon, area.west - 1.4), area.east + 1.4)  # China does not fill its outermost zones
    x, y = transform(lon, lat, GEODETIC, zone.srid)
    formula = Transformer.from_crs(
        "EPSG:4490",
        f"+proj=tmerc +lon_0={zone.central_meridian} +x_0={zone.false_easting_m} +k=1 +ellps=GRS80",
        always_xy=True,
    )
    assert np.allclose((x, y), formula.transform(lon, lat), rtol=0, atol=1e-3)
    assert np.allclose(transform(x, y, zone.srid, GEODETIC), (lon, lat), rtol=0, atol=1e-9)
    if zone.prefixed:
        assert zone_of(float(x), float(y)) == zone
    else:
        assert zone_of(float(x), float(y)) is None


def test_zone_numbers() -> None:
    assert gauss_krueger(4545) is not None
    assert gauss_krueger(4545).central_meridian == 108
    assert zone_of(36_512_345.0, 3_620_000.0) == gauss_krueger(4524)
    assert zone_of(19_412_345.0, 3_620_000.0) == gauss_krueger(4497)
    assert zone_of(3_620_000.0, 36_512_345.0) is None  # northing first is not repaired here
    assert gauss_krueger(4490) is None
    assert gauss_krueger(3857) is None


# ── systems ──


@pytest.mark.parametrize("srid", [0, -1, 123456, 4978, 5773, 4979])
def test_unfit_systems_are_refused(srid) -> None:
    with pytest.raises(UnfitCoordinates):
        crs_of(srid)


def test_a_city_is_in_metres() -> None:
    assert city_crs(CITY).to_epsg() == CITY
    for srid in (GEODETIC, GCJ02, 2263):  # degrees, scrambled, US feet
        with pytest.raises(UnfitCoordinates, match="not measured in metres"):
            city_crs(srid)
    points = gpd.GeoDataFrame(geometry=gpd.points_from_xy([0], [0]))
    assert in_metres(points.set_crs(CITY)).crs.to_epsg() == CITY
    for unfit in (points, points.set_crs(GEODETIC), points.set_crs(2263)):
        with pytest.raises(UnfitCoordinates):
            in_metres(unfit)


def test_world_systems_hold_the_world() -> None:
    assert fits([-180, 180, 0], [-90, 90, 0], GEODETIC).all()
    assert not fits([np.nan, np.inf, 181], [0, 0, 0], GEODETIC).any()
    assert fits(*transform(109.02, 32.69, GEODETIC, 3857), 3857)
    assert number_bounds(2193)[0] < 1.6e6 < number_bounds(2193)[2]  # New Zealand lies across the date line


def test_threads_may_share_transformers() -> None:
    lon, lat = np.linspace(105, 111, 2000), np.linspace(25, 40, 2000)
    expected = transform(lon, lat, GEODETIC, CITY)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: transform(lon, lat, GEODETIC, CITY), range(64)):
            assert np.array_equal(found, expected)


# ── GCJ-02 and BD-09 ──


@given(lon=lons, lat=lats)
def test_scrambled_round_trips(lon, lat) -> None:
    for there, back in ((to_gcj02, from_gcj02), (to_bd09, from_bd09)):
        assert np.allclose(back(*there(lon, lat)), (lon, lat), rtol=0, atol=1e-11)
        assert np.allclose(there(*back(lon, lat)), (lon, lat), rtol=0, atol=1e-11)
    gcj = np.asarray(to_gcj02(lon, lat)) - (lon, lat)
    assert 0 < np.hypot(*gcj) < 0.02


@given(lon=st.floats(-180, 180), lat=st.floats(-90, 90))
def test_nothing_is_shifted_far_from_china(lon, lat) -> None:
    if 71.9 < lon < 137.9 and 0.7 < lat < 55.9:
        return
    for change in (to_gcj02, from_gcj02, to_bd09, from_bd09):
        assert np.array_equal(change(lon, lat), (lon, lat))


def test_known_points_of_the_public_code() -> None:
    """Numbers printed in the read-me files of coordtransform and of eviltransform's tests."""
    assert np.allclose(to_gcj02(116.404, 39.915), (116.41024449916938, 39.91640428150164), rtol=0, atol=1e-9)
    # coordtransform prints BD-09 of a GCJ-02 point:
    geodetic = from_gcj02(116.404, 39.915)
    assert np.allclose(to_bd09(*geodetic), (116.41036949371029, 39.92133699351021), rtol=0, atol=1e-9)


def test_infinite_and_missing_numbers_pass_quietly() -> None:
    for change in (to_gcj02, from_gcj02, to_bd09, from_bd09):
        lon, _ = change([np.inf, np.nan, -np.inf, 200.0], [np.inf, 30.0, 10.0, 1e300])
        assert np.array_equal(lon, [np.inf, np.nan, -np.inf, 200.0], equal_nan=True)


@pytest.mark.skipif(not ANKANG.exists(), reason=f"open data absent: {ANKANG.name} in ../shared/data/ankang")
def test_county_borders_of_ankang() -> None:
    """Someone else's inverse of the same polygons: vertex by vertex the same to 1e-8 degrees (1 mm)."""
    scrambled = gpd.read_file(ANKANG, layer="county_2016_gcj02").geometry
    expected = gpd.read_file(ANKANG, layer="county_2016_wgs84_derived").geometry
    ours = reproject(scrambled, GCJ02, GEODETIC)
    assert ours.crs.to_epsg() == GEODETIC
    found, wanted = ours.get_coordinates().to_numpy(), expected.get_coordinates().to_numpy()
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 1e-8
    back = reproject(ours, GEODETIC, GCJ02)
    assert back.crs is None
    assert np.abs(back.get_coordinates().to_numpy() - scrambled.get_coordinates().to_numpy()).max() < 1e-9


# ── snapping ──


@given(st.lists(st.floats(-5e7, 5e7), min_size=1, max_size=20))
def test_snapping_rounds_to_the_lattice_and_stays(numbers) -> None:
    snapped = snap(numbers)
    assert np.abs(snapped - numbers).max() <= SNAP / 2
    assert np.array_equal(snapped / SNAP, np.rint(snapped / SNAP))
    assert np.array_equal(snap(snapped), snapped)


def test_snapping_takes_what_frames_hold() -> None:
    ring = shapely.Polygon([(0.0001, 0), (10.00049, 0), (10, 9.9996), (0, 10)])
    frame = gpd.GeoDataFrame({"code": ["a", "b"]}, geometry=[ring, None], crs=CITY)
    for snapped in (snap(ring), snap([ring])[0], snap(np.array([ring]))[0], snap(frame).geometry.iloc[0]):
        assert np.array_equal(snapped.exterior.xy[0], [0, 10.0009765625, 10, 0, 0])
    assert snap(frame).crs == frame.crs
    assert snap(frame.geometry).isna().tolist() == [False, True]
    assert snap(1.00001) == 1.0


# ── frames of mixed systems ──


@given(
    st.lists(
        st.tuples(
            st.floats(-200, 200) | st.floats(-1e8, 1e8) | st.sampled_from([np.nan, np.inf, 109.02, 595_000.0]),
            st.floats(-100, 100) | st.floats(-1e7, 1e7) | st.sampled_from([np.nan, 32.69, 3_618_000.0]),
            st.sampled_from([GEODETIC, GCJ02, BD09, CITY, 4524, 4490, 3857, 999_999]),
        ),
        max_size=8,
    )
)
def test_a_frame_of_reports_is_as_its_places(rows) -> None:
    x, y, srid = (np.array(column) for column in zip(*rows, strict=True)) if rows else (np.zeros(0),) * 3
    city_x, city_y = to_city(x, y, srid, CITY)
    for row, (lon, lat, system) in enumerate(rows):
        try:
            place = Place(lon, lat, system).to(CITY)
        except UnfitCoordinates:
            assert np.isnan(city_x[row])
            assert np.isnan(city_y[row])
        else:
            assert (city_x[row], city_y[row]) == (place.x, place.y)


def test_missing_values_of_a_frame_give_missing_places() -> None:
    reports = pd.DataFrame(
        {
            "x": pd.array([109.02, 109.02, None], dtype="Float64"),
            "y": [32.69, 32.69, 32.69],
            "srid": pd.array([GCJ02, None, GEODETIC], dtype="Int64"),
        }
    )
    x, _ = to_city(reports.x, reports.y, reports.srid, CITY)
    assert np.isnan(x).tolist() == [False, True, True]
    assert to_city([109.02, 109.03], [32.69, 32.7], GEODETIC, CITY)[0].shape == (2,)


# ── readings ──


def codes(x, y, srid) -> list[str]:
    return [reading.code for reading in diagnose(float(x), float(y), srid, extent)]


@given(place=inside)
def test_wrong_readings_are_recognised(place) -> None:
    lon, lat = place
    assert codes(lon, lat, GEODETIC) == []
    assert codes(lat, lon, GEODETIC)[0] == "swapped_axes"
    assert codes(*reversed(to_bd09(lon, lat)), BD09)[0] == "swapped_axes"
    assert codes(lon, lat, CITY)[0] == "degrees"
    assert codes(lat, lon, CITY)[0] == "degrees_swapped"
    x, y = transform(lon, lat, GEODETIC, CITY)
    assert codes(x, y, CITY) == []
    assert codes(y, x, CITY) == ["northing_first"]
    assert codes(x, y, GEODETIC) == ["metres"]
    assert codes(x + 36e6, y, CITY) == ["zone_prefix"]
    assert codes(y, x + 36e6, CITY) == ["zone_prefix"]
    assert codes(x, y, 4524) == ["metres"]
    other = diagnose(*map(float, transform(lon, lat, GEODETIC, 4546)), CITY, extent)
    assert [reading.code for reading in other] == ["other_zone"]
    assert "EPSG:4546" in other[0].en
    assert codes(*transform(lon, lat, GEODETIC, 3857), CITY) == ["web_mercator"]


def test_scrambled_degrees_just_outside_are_recognised() -> None:
    true = (109.0999, 32.7)
    assert not extent.holds(*map(float, to_gcj02(*true)))
    assert "gcj02" in codes(*to_gcj02(*true), GEODETIC)
    assert "bd09" in codes(*to_bd09(*true), GEODETIC)
    assert "geodetic" in codes(108.9001, 32.7, GCJ02)


def test_the_outline_decides_where_it_is_known() -> None:
    triangle = gpd.GeoDataFrame(geometry=[shapely.Polygon([(108.9, 32.6), (109.1, 32.6), (109.1, 32.8)])], crs=GEODETIC)
    city = Extent.of(triangle.to_crs(CITY), CITY)
    assert city.holds(109.05, 32.65)
    assert not city.holds(108.95, 32.75)
    assert diagnose(108.95, 32.75, GEODETIC, city) == []  # no other reading would help
    assert diagnose(float("nan"), 1.0, GEODETIC, city) == []
    assert diagnose(32.65, 109.05, 999_999, city) != []  # an unknown system, but degrees: worth a word
