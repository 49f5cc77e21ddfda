"""``GET /maps/heat``: kernel density of cases as a picture, as map tiles, as GeoTIFF, and what its colours mean.

One surface over the whole city is computed for each question (filters, bandwidth, version of the cases) and kept;
pictures and tiles are taken from it, so that one colour means one density wherever one looks, at every zoom.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Hashable
from dataclasses import dataclass
from datetime import date
from pathlib import Path as File
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Depends, Query, Request, Response
from scipy.ndimage import map_coordinates
from sqlalchemy import Connection

from api.answers import ASK_AGAIN, KEEP_A_DAY, digest, kept, tagged
from api.deps import BBox, Filter, Filters, House, InHouse, Who, parse_bbox
from api.shapes import HeatLegend
from api.tiles import Column, Row, Version, Zoom, bounds_of
from cases.reports import case_points
from gis.crs import GEODETIC, transform, transformer
from gis.db import query
from gis.errors import Invalid
from gis.layer import Bounds
from gis.raster import RasterGrid, colour, kernel_density, png, ramp, top_of_scale, write_geotiff
from gis.tiles import WEB, tile_bounds

router = APIRouter(tags=["maps"])
MOST_PIXELS = 2_000_000  #: of a surface: 16 MB, a tenth of a second
PER_BANDWIDTH = 8  #: pixels along the bandwidth, where there is room
SURFACES = 6  #: kept in a process
TILE_PX = 256
STRIP_PX = 128  #: rows of a large picture that are drawn at once
KNOTS = 17  #: positions per side that are brought to the city's system exactly; between them linearly (< 0.1 m)
KERNEL = "gaussian"

Bandwidth = Annotated[
    float,
    Query(
        ge=10,
        le=5000,
        allow_inf_nan=False,
        description="standard deviation of the Gaussian kernel, metres",
        examples=[150],
    ),
]
Width = Annotated[int, Query(ge=16, le=2048, description="width of the picture, pixels; its height follows from bbox")]


async def _turn() -> AsyncIterator[None]:
    yield


#: At most six requests for heat are worked on at once; the others wait without a thread, which all else goes on using.
Turn = Annotated[None, Depends(_turn, scope="function", max_concurrency=6)]
Format = Annotated[Literal["png", "tif", "json"], Query(description="picture, GeoTIFF, or what the colours mean")]


@dataclass(frozen=True)
class Surface:
    """Density in cases per km² over the period, on a grid in the city's system."""

    grid: RasterGrid
    values: npt.NDArray[np.float32]
    top: float  #: value of the darkest colour
    cases: int
    first_on: date | None
    last_on: date | None
    version: int
    tag: str


def surface_of(
    conn: Connection,
    house: House,
    asked: Filter,
    seen: tuple[int, ...] | None,
    bandwidth_m: float,
    at_least: int | None,
) -> Surface:
    """The surface of a question, computed once per version. Invalid when the bandwidth is too small for the city."""
    version = house.versions(conn, at_least=at_least, of="cases")["cases"]
    key: Hashable = (asked, seen, bandwidth_m, version)
    found: Surface | None = house.surfaces.get(key)
    if found is not None:
        return found
    with house.lock:  # whoever asks the same meanwhile waits for this one
        again: Surface | None = house.surfaces.get(key)
        if again is not None:
            return again
        given = asked.given(house.zone, seen)
        x, y = case_points(conn, house.city.srid, given)
        row = conn.execute(query("grids", "extent_of_city")).one()
        grid = _grid((row.west, row.south, row.east, row.north), bandwidth_m, house.city.srid)
        values = kernel_density(x, y, grid, bandwidth_m).astype(np.float32)
        first_on, last_on = _period(conn, house, asked)
        tag = digest(repr(key).encode())
        made = Surface(grid, values, top_of_scale(values), len(x), first_on, last_on, version, tag)
        house.surfaces[key] = made
        while len(house.surfaces) > SURFACES:
            house.surfaces.pop(next(iter(house.surfaces)), None)
        return made


def _grid(bounds: Bounds, bandwidth_m: float, srid: int) -> RasterGrid:
    """Square pixels over the city and its surroundings as far as the kernel reaches, as fine as there is room for."""
    west, south, east, north = bounds
    reach = 2 * bandwidth_m
    box = (west - reach, south - reach, east + reach, north + reach)
    room = ((box[2] - box[0]) * (box[3] - box[1]) / MOST_PIXELS) ** 0.5
    pixel_m = max(bandwidth_m / PER_BANDWIDTH, room)
    if bandwidth_m < 2 * pixel_m:
        raise Invalid(
            f"a bandwidth of {bandwidth_m:g} m is too small for a map of this whole city",
            f"带宽 {bandwidth_m:g} 米对全市范围过小",
            mend=f"take {2 * room:.0f} m or more",
            mend_zh=f"请使用不小于 {2 * room:.0f} 米的带宽",
            field="bandwidth_m",
        )
    return RasterGrid.over(box, pixel_m, srid)


def _period(conn: Connection, house: House, asked: Filter) -> tuple[date | None, date | None]:
    """The days that are asked for; where an end is open, that of the data."""
    row = conn.execute(query("cases", "period_of_cases")).one()
    first, last = (at.astimezone(house.zone).date() if at else None for at in row)
    return asked.first_on or first, asked.last_on or last


def picture(surface: Surface, web_box: Bounds, width: int, height: int) -> npt.NDArray[np.uint8]:
    """The surface in EPSG:3857 as RGBA (height, width, 4); transparent where nothing is, and outside the surface."""
    west, south, east, north = web_box
    knots = np.linspace(0.0, 1.0, KNOTS)
    x, y = transform(
        *np.meshgrid(west + knots * (east - west), north - knots * (north - south)), WEB, surface.grid.srid
    )
    grid = surface.grid
    across = (np.arange(width) + 0.5) / width * (KNOTS - 1)
    down = (np.arange(height) + 0.5) / height * (KNOTS - 1)
    column = _between((x - grid.west) / grid.pixel_m - 0.5, down, across)
    row = _between((grid.north - y) / grid.pixel_m - 0.5, down, across)
    values = map_coordinates(surface.values, [row, column], order=1, mode="constant", cval=0.0)
    return colour(values, surface.top)


def drawn(surface: Surface, web_box: Bounds, width: int, height: int) -> npt.NDArray[np.uint8]:
    """``picture``, a strip at a time: a large one at once takes over 100 bytes for each pixel."""
    west, south, east, north = web_box
    pixels = np.empty((height, width, 4), np.uint8)
    for first in range(0, height, STRIP_PX):
        last = min(first + STRIP_PX, height)
        top, bottom = (north - (north - south) * row / height for row in (first, last))
        pixels[first:last] = picture(surface, (west, bottom, east, top), width, last - first)
    return pixels


def _between(knots: npt.NDArray[np.float64], down: npt.NDArray[np.float64], across: npt.NDArray[np.float64]) -> Any:
    """Values at (down, across) between the knots, linear in both directions."""
    i, j = (np.minimum(at.astype(int), KNOTS - 2) for at in (down, across))
    s, t = (down - i)[:, None], (across - j)[None, :]
    upper = knots[np.ix_(i, j)] * (1 - t) + knots[np.ix_(i, j + 1)] * t
    lower = knots[np.ix_(i + 1, j)] * (1 - t) + knots[np.ix_(i + 1, j + 1)] * t
    return upper * (1 - s) + lower * s


@router.get(
    "/maps/heat",
    response_model=HeatLegend,
    responses={
        200: {"content": {"image/png": {}, "image/tiff": {}}, "description": "the picture, the file, or its legend"}
    },
)
def heat(
    request: Request,
    house: InHouse,
    who: Who,
    turn: Turn,
    asked: Filters,
    format: Format = "png",
    bbox: BBox = None,
    width: Width = 800,
    bandwidth_m: Bandwidth = 150.0,
    v: Version = None,
) -> Response:
    """Kernel density of the cases that the filters let through, in cases per km² over the period.

    `png`: Web Mercator (EPSG:3857) over bbox (default: the city). `tif`: 32-bit floats in the city's system, cut to
    bbox if given, with unit, bandwidth, kernel, filters and period as tags. `json`: the legend.
    """
    box = None if bbox is None else parse_bbox(bbox)
    with house.begin_reading() as conn:
        seen = who.reader(conn)
        surface = surface_of(conn, house, asked, seen, bandwidth_m, v)
        west, south, east, north = bounds_of(conn) if box is None else box
    private = house.reading == "accounts" or seen is not None
    if format == "json":
        return tagged(request, HeatLegend, legend(house, surface, bandwidth_m), private=private)
    asked_for = f"{surface.tag}-{format}-{bbox}-{width}"
    if format == "tif":
        body, media = _geotiff(house, surface, asked, box, bandwidth_m), "image/tiff"
    else:
        web = transformer(GEODETIC, WEB).transform_bounds(west, south, east, north)
        height = max(1, round(width * (web[3] - web[1]) / (web[2] - web[0])))
        if height > 4096:
            raise Invalid(
                "the picture is too tall",
                "图片过高",
                mend="use a wider bbox or a smaller width",
                mend_zh="请放宽范围或减小宽度",
                field="bbox",
            )
        body, media = png(drawn(surface, web, width, height), level=6), "image/png"
    answer = kept(request, body, media, f'"{digest(asked_for.encode())}"', cache=ASK_AGAIN, private=private)
    if format == "tif":
        answer.headers["Content-Disposition"] = f'attachment; filename="{house.city.id}-heat.tif"'
    return answer


@router.get("/maps/heat/{z}/{x}/{y}.png", response_class=Response, responses={200: {"content": {"image/png": {}}}})
def heat_tile(
    request: Request,
    house: InHouse,
    who: Who,
    turn: Turn,
    asked: Filters,
    z: Zoom,
    x: Column,
    y: Row,
    bandwidth_m: Bandwidth = 150.0,
    v: Version = None,
) -> Response:
    """A tile of 256 × 256 pixels of the same surface; its colours are those of the legend, on every tile."""
    web_box = tile_bounds(z, x, y)
    with house.begin_reading() as conn:
        seen = who.reader(conn)
        surface = surface_of(conn, house, asked, seen, bandwidth_m, v)
    key = ("heat", surface.tag, z, x, y)
    body = house.tiles.get(key)
    if body is None:
        body = house.tiles.put(key, png(picture(surface, web_box, TILE_PX, TILE_PX), level=6))
    private = house.reading == "accounts" or seen is not None
    cache = KEEP_A_DAY if v == surface.version else ASK_AGAIN
    return kept(request, body, "image/png", f'"{digest(repr(key).encode())}"', cache=cache, private=private)


def legend(house: House, surface: Surface, bandwidth_m: float) -> dict[str, Any]:
    """What the colours of a surface mean."""
    days = {"first_on": surface.first_on, "last_on": surface.last_on}
    shares = np.linspace(0.0, 1.0, 11)
    colours = [f"rgba({r}, {g}, {b}, {a / 255:.3f})" for r, g, b, a in ramp(shares).tolist()]
    return {
        "top": surface.top,
        "unit_en": "cases per km² over the period",
        "unit_zh": "统计期内每平方公里案件数",
        "bandwidth_m": bandwidth_m,
        "kernel": KERNEL,
        "cases": surface.cases,
        "period": None if None in days.values() else {name: str(day) for name, day in days.items()},
        "ramp": list(zip(shares.round(3).tolist(), colours, strict=True)),
        "version": surface.version,
        "simulated": house.city.simulated,
    }


def _geotiff(house: House, surface: Surface, asked: Filter, box: Bounds | None, bandwidth_m: float) -> bytes:
    """The surface, cut to a box in degrees, as the bytes of a cloud-optimised GeoTIFF."""
    grid, values = surface.grid, surface.values
    if box is not None:
        low_x, low_y, high_x, high_y = transformer(GEODETIC, grid.srid).transform_bounds(*box)
        ends = np.array([low_x - grid.west, high_x - grid.west, grid.north - high_y, grid.north - low_y]) / grid.pixel_m
        whole = np.floor(ends) + np.array([0, 1, 0, 1])
        columns = np.clip(whole[:2], 0, grid.width).astype(int)
        rows = np.clip(whole[2:], 0, grid.height).astype(int)
        if columns[0] >= columns[1] or rows[0] >= rows[1]:
            raise Invalid(
                "bbox does not meet the city",
                "bbox 与城市范围不相交",
                mend="GET /city tells its bounds",
                mend_zh="城市范围见 GET /city",
                field="bbox",
            )
        values = values[rows[0] : rows[1], columns[0] : columns[1]]
        west, north = grid.west + columns[0] * grid.pixel_m, grid.north - rows[0] * grid.pixel_m
        grid = RasterGrid(west, north, values.shape[1], values.shape[0], grid.pixel_m, grid.srid)
    tags = {
        "title": "density of cases",
        "unit": "cases per km2 over the period",
        "bandwidth_m": bandwidth_m,
        "kernel": KERNEL,
        "cases": surface.cases,
        "period": f"{surface.first_on} to {surface.last_on}",
        "filter": asked.words,
        "city": house.city.name_en,
        "simulated": house.city.simulated,
        "attribution": house.city.attribution or "",
    }
    with tempfile.TemporaryDirectory(prefix="wanmi-heat-") as folder:
        file = File(folder) / "heat.tif"
        write_geotiff(file, values, grid, tags)
        return file.read_bytes()
