"""Rasters: the surface holds as many events as went in, equals direct summation, and files say what they are."""

from __future__ import annotations

import io
import warnings

import matplotlib.image
import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from gis.errors import Invalid
from gis.raster import NODATA, RasterGrid, colour, kernel_density, png, ramp, write_geotiff

grid = RasterGrid.over((1000.0, 2000.0, 2200.0, 2900.0), 20.0, 4545)
kernels = st.sampled_from(["gaussian", "quartic"])
middle = st.tuples(st.floats(1400, 1800), st.floats(2400, 2500), st.floats(0.1, 9))
anywhere = st.tuples(st.floats(500, 2700), st.floats(1500, 3400), st.floats(-2, 9))


@given(points=st.lists(middle, min_size=1, max_size=20), kernel=kernels)
def test_the_surface_adds_up_to_the_events(points, kernel) -> None:
    x, y, weight = np.array(points).T
    surface = kernel_density(x, y, grid, 80.0, weight, kernel)
    assert np.isclose(surface.sum() * 20.0**2 / 1e6, weight.sum(), rtol=1e-9)
    assert surface.min() >= 0
    assert surface.shape == (grid.height, grid.width) == (45, 60)


@given(points=st.lists(anywhere, max_size=8), kernel=kernels)
def test_it_equals_direct_summation(points, kernel) -> None:
    """Point by point: the kernel around the pixel the point lies in, points beyond the edge included."""
    x, y, weight = np.array(points).reshape(-1, 3).T
    bandwidth, direct = 70.0, np.zeros((grid.height, grid.width))
    reach = 280.0 if kernel == "gaussian" else 80.0
    offsets = np.arange(-reach, reach + 1, 20.0)

    def shape(east, north):
        square = (east**2 + north**2) / bandwidth**2
        within = (np.abs(east) <= reach) & (np.abs(north) <= reach)
        return within * (np.exp(-square / 2) if kernel == "gaussian" else np.clip(1 - square, 0, None) ** 2)

    total = shape(offsets[None, :], offsets[:, None]).sum()
    east = grid.west + 20.0 * (np.arange(grid.width) + 0.5)
    north = grid.north - 20.0 * (np.arange(grid.height) + 0.5)
    for at_x, at_y, mass in zip(x, y, weight, strict=True):
        column, row = np.floor((at_x - grid.west) / 20.0), np.floor((grid.north - at_y) / 20.0)
        centre_x, centre_y = grid.west + 20.0 * (column + 0.5), grid.north - 20.0 * (row + 0.5)
        direct += mass * shape(east[None, :] - centre_x, north[:, None] - centre_y) / total
    assert np.allclose(kernel_density(x, y, grid, bandwidth, weight, kernel), direct * 1e6 / 400, atol=1e-6)


def test_a_point_is_hottest_where_it_lies() -> None:
    surface = kernel_density([1511.0], [2733.0], grid, 50.0)
    row, column = np.unravel_index(surface.argmax(), surface.shape)
    x, y = rasterio.transform.xy(grid.affine, row, column)
    assert abs(x - 1511) <= 10
    assert abs(y - 2733) <= 10
    # the peak of a Gaussian is 1 / (2 π σ²)
    assert np.isclose(surface.max(), 1e6 / (2 * np.pi * 50.0**2), rtol=0.01)


def test_nothing_gives_nothing() -> None:
    surface = kernel_density([], [], grid, 50.0)
    assert not surface.any()
    assert not colour(surface)[..., 3].any()


@pytest.mark.parametrize("bandwidth", [0.0, -5.0, 19.9, np.nan, np.inf])
def test_unfit_bandwidths_are_refused(bandwidth) -> None:
    with pytest.raises(Invalid, match="bandwidth"):
        kernel_density([1500.0], [2500.0], grid, bandwidth)


def test_unfit_points_and_grids_are_refused() -> None:
    with pytest.raises(Invalid, match="a place"):
        kernel_density([np.nan], [2500.0], grid, 50.0)
    for bounds, pixel in (((0, 0, 0, 1), 1), ((0, 0, 1, 1), 0), ((0, 0, np.nan, 1), 1), ((0, 0, 1e6, 1e6), 1)):
        with pytest.raises(Invalid):
            RasterGrid.over(bounds, pixel, 4545)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(1, 500), st.floats(1, 500), st.floats(0.5, 50))
def test_a_grid_covers_its_box_and_no_more(west, south, width, height, pixel) -> None:
    box = (west, south, west + width, south + height)
    made = RasterGrid.over(box, pixel, 4545)
    low_x, low_y, high_x, high_y = made.bounds
    slack = 1e-6
    assert low_x <= box[0] + slack < low_x + pixel + 2 * slack
    assert low_y <= box[1] + slack < low_y + pixel + 2 * slack
    assert high_x >= box[2] - slack > high_x - pixel - 2 * slack
    assert high_y >= box[3] - slack > high_y - pixel - 2 * slack


def test_colours_are_in_order_of_lightness() -> None:
    colours = ramp(np.linspace(0, 1, 200)).astype(float)
    lightness = colours[:, :3] @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(lightness) <= 1).all()
    assert lightness[0] - lightness[-1] > 200
    assert colours[0, 3] == 0
    assert (np.diff(colours[:, 3]) >= 0).all()
    assert ramp(np.nan)[3] == 0
    assert ramp(7.0).tolist() == ramp(1.0).tolist()


def test_a_png_is_read_back_by_others() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (7, 5, 4), np.uint8)
    read = matplotlib.image.imread(io.BytesIO(png(pixels)))
    assert np.array_equal(np.rint(read * 255), pixels)
    with pytest.raises(Invalid):
        png(pixels[..., :3])


@pytest.mark.parametrize("cloud", [True, False])
def test_a_geotiff_says_what_it_is(tmp_path, cloud) -> None:
    surface = kernel_density([1511.0], [2733.0], grid, 50.0)
    surface[0, 0] = np.nan
    path = tmp_path / "heat.tif"
    tags = {"units": "cases per km2", "bandwidth_m": 50, "filter": "class C01; 2026-01-01/2026-12-31"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_geotiff(path, surface, grid, tags, cloud=cloud)
    with rasterio.open(path) as file:
        assert file.crs.to_epsg() == 4545
        assert file.transform == grid.affine
        assert file.nodata == NODATA
        assert file.tags()["units"] == "cases per km2"
        assert file.tags()["bandwidth_m"] == "50"
        assert file.read(1)[0, 0] == NODATA
        assert np.allclose(file.read(1)[1:], surface[1:].astype(np.float32))
        assert file.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == ("COG" if cloud else None)
    assert [each.name for each in tmp_path.iterdir()] == ["heat.tif"]
    with pytest.raises(Invalid, match="not of the grid"):
        write_geotiff(path, surface[1:], grid, {})
