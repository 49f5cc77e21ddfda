"""Heat maps over HTTP: what the picture shows is the kernel density of exactly the cases asked for, to scale."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from sqlalchemy import text

from api.deps import Filter
from api.heat import drawn, picture, surface_of
from gis.crs import transform
from gis.raster import colour, kernel_density
from gis.tiles import WEB, tile_bounds
from tests.doorstep import Door, degrees, report
from tests.hamlet import SRID, at
from tests.test_http_errors import tile_of

BOX = ",".join(str(side) for side in (*degrees(-100, -100).values(), *degrees(500, 500).values()))


def surface(door: Door, **filters: Any) -> Any:
    with door.engine.connect() as conn:
        return surface_of(conn, door.house, Filter(**filters), None, 40.0, None)


def test_the_surface_holds_every_case_once(door: Door) -> None:
    whole = surface(door)
    mass = float(whole.values.sum()) * whole.grid.pixel_m**2 / 1e6
    assert whole.cases == len(door.get("/cases", limit=1000).json()["items"])
    assert mass == pytest.approx(whole.cases, rel=0.08), "the kernel's tails reach beyond the hamlet's surroundings"
    parts = [surface(door, classes=(code,)) for code in ("C", "E")]
    assert sum(part.cases for part in parts) == whole.cases
    assert np.allclose(parts[0].values + parts[1].values, whole.values, atol=1e-2)


def test_a_tile_shows_the_density_of_its_pixels(door: Door) -> None:
    whole = surface(door)
    z = 15
    x, y = tile_of(**degrees(200, 200), z=z)
    answer = door.get(f"/maps/heat/{z}/{x}/{y}.png", bandwidth_m=40)
    image = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert image.shape == (256, 256, 4)
    west, south, east, north = tile_bounds(z, x, y)
    at_x = west + (np.arange(256) + 0.5) * (east - west) / 256
    at_y = north - (np.arange(256) + 0.5) * (north - south) / 256
    city_x, city_y = transform(*np.meshgrid(at_x, at_y), WEB, SRID)
    with door.engine.connect() as conn:
        points = conn.execute(text("select st_x(geom), st_y(geom) from cases.case")).all()
    truth = np.zeros(city_x.shape)
    for case_x, case_y in points:
        truth += (
            np.exp(-((city_x - case_x) ** 2 + (city_y - case_y) ** 2) / (2 * 40.0**2)) / (2 * np.pi * 40.0**2) * 1e6
        )
    wrong = np.abs(image.astype(int) - colour(truth, whole.top).astype(int)).max(axis=2)
    assert np.quantile(wrong, 0.99) <= 24, "bins, linear between pixels, and 4 standard deviations of reach"
    assert wrong.mean() < 4


def test_neighbouring_tiles_and_the_picture_use_one_scale(door: Door) -> None:
    whole = surface(door)
    z = 16
    x, y = tile_of(**degrees(200, 200), z=z)
    west, south, _, north = tile_bounds(z, x, y)
    east = tile_bounds(z, x + 1, y)[2]
    both = picture(whole, (west, south, east, north), 512, 256)
    left, right = picture(whole, tile_bounds(z, x, y), 256, 256), picture(whole, tile_bounds(z, x + 1, y), 256, 256)
    assert np.abs(np.hstack([left, right]).astype(int) - both).max() <= 2


def test_a_large_picture_drawn_in_strips_is_the_same_picture(door: Door) -> None:
    whole = surface(door)
    box = tile_bounds(14, *tile_of(**degrees(200, 200), z=14))
    at_once, strips = picture(whole, box, 300, 500), drawn(whole, box, 300, 500)
    assert np.abs(at_once.astype(int) - strips).max() <= 2


def test_the_geotiff_carries_its_numbers_system_and_words(door: Door) -> None:
    answer = door.get("/maps/heat", format="tif", bandwidth_m=40, **{"class": "E"})
    assert answer.headers["Content-Type"] == "image/tiff"
    whole = surface(door, classes=("E",))
    with rasterio.open(io.BytesIO(answer.content)) as file:
        assert file.crs.to_epsg() == SRID
        assert np.allclose(file.read(1), whole.values)
        tags = file.tags()
        assert (file.units, file.descriptions) == (("cases per km2 over the period",), ("density of cases",))
        assert file.bounds.left == whole.grid.west
    assert (tags["unit"], tags["bandwidth_m"], tags["kernel"]) == ("cases per km2 over the period", "40.0", "gaussian")
    assert tags["filter"] == "class=E"
    assert tags["simulated"] == "True"
    assert tags["cases"] == str(whole.cases)


def test_a_cut_geotiff_is_the_part_of_the_whole_that_it_names(door: Door) -> None:
    whole = surface(door)
    part = ",".join(str(side) for side in (*degrees(50, 50).values(), *degrees(250, 150).values()))
    with rasterio.open(io.BytesIO(door.get("/maps/heat", format="tif", bandwidth_m=40, bbox=part).content)) as file:
        values, bounds, pixel_m = file.read(1), file.bounds, file.res[0]
    column, row = round((bounds.left - whole.grid.west) / pixel_m), round((whole.grid.north - bounds.top) / pixel_m)
    assert np.array_equal(values, whole.values[row : row + values.shape[0], column : column + values.shape[1]])
    x, y = at(50, 50)
    assert bounds.left <= x + 0.01
    assert bounds.bottom <= y + 0.01
    assert bounds.left > x - 2 * pixel_m


def test_the_picture_has_the_size_asked_for_and_its_shape_from_the_box(door: Door) -> None:
    image = Image.open(io.BytesIO(door.get("/maps/heat", bbox=BOX, width=300, bandwidth_m=40).content))
    assert image.size[0] == 300
    assert abs(image.size[1] - 300) <= 3, "a square on the ground is one in Web Mercator"


def test_the_legend_says_what_the_colours_mean(door: Door) -> None:
    legend = door.get("/maps/heat", format="json", bandwidth_m=40).json()
    assert legend["top"] == surface(door).top
    assert legend["ramp"][0][0] == 0
    assert legend["ramp"][-1][0] == 1
    assert "km²" in legend["unit_en"]
    assert "平方公里" in legend["unit_zh"]
    assert legend["simulated"] is True
    month = door.get("/maps/heat", format="json", **{"from": "2026-03-01", "to": "2026-03-31"}).json()
    assert month["period"] == {"first_on": "2026-03-01", "last_on": "2026-03-31"}
    assert month["cases"] == 4


def test_a_new_case_makes_a_new_surface(door: Door) -> None:
    before = door.get("/maps/heat", format="json").json()
    case = door.post("/cases", report(), "collector").json()
    after = door.get("/maps/heat", format="json", v=case["versions"]["cases"]).json()
    assert after["cases"] == before["cases"] + 1
    assert after["version"] > before["version"]


def test_a_density_of_nothing_is_nothing(door: Door) -> None:
    legend = door.get("/maps/heat", format="json", source="web", **{"class": "C"}).json()
    assert legend["cases"] == 0
    x, y = tile_of(**degrees(200, 200), z=14)
    image = np.asarray(
        Image.open(io.BytesIO(door.get(f"/maps/heat/14/{x}/{y}.png", source="web", **{"class": "C"}).content))
    )
    assert not image[..., 3].any()


def test_the_density_of_the_fft_is_that_of_the_sum(door: Door) -> None:
    whole = surface(door)
    with door.engine.connect() as conn:
        points = np.array(conn.execute(text("select st_x(geom), st_y(geom) from cases.case")).all(), float)
    again = kernel_density(points[:, 0], points[:, 1], whole.grid, 40.0)
    assert np.allclose(again, whole.values, atol=1e-2)
