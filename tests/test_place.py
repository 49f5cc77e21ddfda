"""Place: exact round trips, and refusal of numbers that cannot be meant."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gis.crs import BD09, GCJ02, gauss_krueger_zones
from gis.errors import Invalid, UnfitCoordinates
from gis.place import Place

systems = st.sampled_from([4326, 4490, 3857, GCJ02, BD09, 4545, 4524, 4508])


@settings(deadline=None)  # the first use of a system reads PROJ's database
@given(lon=st.floats(106.6, 111.0), lat=st.floats(20.0, 42.0), first=systems, second=systems)
def test_any_way_round_leads_back(lon, lat, first, second) -> None:
    start = Place(lon, lat, 4326)
    end = start.to(first).to(second).to(4326)
    assert math.isclose(end.x, lon, abs_tol=1e-9)
    assert math.isclose(end.y, lat, abs_tol=1e-9)
    assert start.to(first).srid == first


@settings(deadline=None)  # the first use of a system reads PROJ's database
@given(zone=st.sampled_from(gauss_krueger_zones()), lon=st.floats(73.7, 134.7), lat=st.floats(17, 53))
def test_a_zone_takes_what_is_near_it_and_refuses_the_rest(zone, lon, lat) -> None:
    """Nothing three zones away is ever taken; a place within half a degree of the zone's area always is."""
    place = Place(lon, lat, 4326)
    if abs(lon - zone.central_meridian) > zone.width_deg + 4:
        with pytest.raises(UnfitCoordinates):
            place.to(zone.srid)


@pytest.mark.parametrize(
    ("x", "y", "srid"),
    [
        (math.nan, 32.69, 4326),
        (109.02, math.inf, 4326),
        (32.69, 109.02, 4326),  # swapped
        (32.69, 109.02, GCJ02),
        (32.69, 109.02, 4490),
        (181.0, 0.0, 4326),
        (109.02, 32.69, 4545),  # degrees called metres
        (595656.0, 3618828.0, 4326),  # metres called degrees
        (3618828.0, 595656.0, 4545),  # northing first
        (36595656.0, 3618828.0, 4545),  # zone prefix in a system without
        (595656.0, 3618828.0, 4524),  # no zone prefix in a system with
        (0.0, 0.0, 4545),
        (109.02, 32.69, 999_999),
        (109.02, 32.69, 0),
    ],
)
def test_unfit_numbers_are_refused(x, y, srid) -> None:
    with pytest.raises(UnfitCoordinates) as refusal:
        Place(x, y, srid)
    problem = refusal.value.problem()
    assert problem["status"] == 422
    assert problem["detail"]
    assert problem["detail_zh"]
    assert isinstance(refusal.value, Invalid)


def test_the_east_of_ankang_is_taken_although_beyond_its_zone() -> None:
    """Baihe county reaches 110.2°E; the area of use of EPSG:4545 ends at 109.5°E."""
    far = Place(110.2, 32.8, 4326).to(4545)
    assert 700_000 < far.x < 710_000


def test_a_place_is_a_value() -> None:
    place = Place(109.02, 32.69, 4326)
    assert place.to(4326) is place
    assert pickle.loads(pickle.dumps(place)) == place
    with pytest.raises(AttributeError):
        place.x = 1.0  # type: ignore[misc]
