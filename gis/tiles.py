"""Vector tiles (Mapbox Vector Tile 2.1) of any Layer in the usual web scheme (EPSG:3857, z/x/y, y from the north).

The tile's envelope is brought into the city's system once, here, and the geometry of the few rows that meet it is
brought to the tile: the index on the stored geometry serves, whatever the zoom. Below its ``min_zoom`` a gathered
layer shows how many rows lie where: each bin of a lattice in the city's system belongs to the one tile that holds
the bin's middle, so that the numbers of all tiles of a zoom add up to the number of rows.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Hashable
from functools import lru_cache

from geoalchemy2 import Geometry
from geoalchemy2.functions import ST_MakeEnvelope
from sqlalchemy import ColumnElement, Connection, Select, and_, case, cast, func, select, text
from sqlalchemy.types import Float

from gis.crs import crs_of, transformer
from gis.errors import Invalid
from gis.layer import Bounds, Given, Layer

WEB = 3857
MAX_ZOOM = 22
EXTENT = 4096  #: units along a tile's side
BUFFER = 64  #: units beyond its sides, so that lines and circles do not end at the seam
BINS = (
    8  #: bins of a gathered layer along a tile's side, about: maps draw a tile 512 px wide, so one circle every 64 px
)
OVERHEAD_BYTES = 300  #: what an answer in the cache costs beside its bytes
#: How many rows a gathered tile has depends on its zoom: one plan for all of them takes up to 40 % longer.
PLAN_BY_ITSELF = text("set local plan_cache_mode = force_custom_plan")
HALF_WORLD_M = math.pi * 6378137.0  #: half the side of the square world of EPSG:3857


def tile_bounds(z: int, x: int, y: int) -> Bounds:
    """(min x, min y, max x, max y) of a tile in EPSG:3857, metres. Invalid for a tile that does not exist."""
    if not (0 <= z <= MAX_ZOOM and 0 <= x < 2**z and 0 <= y < 2**z):
        raise Invalid(
            f"there is no tile {z}/{x}/{y}",
            f"没有瓦片 {z}/{x}/{y}",
            mend=f"z is 0 … {MAX_ZOOM}, x and y 0 … 2^z - 1",
            mend_zh=f"z 为 0 至 {MAX_ZOOM},x、y 为 0 至 2^z - 1",
            field="z/x/y",
        )
    side = 2 * HALF_WORLD_M / 2**z
    west, north = x * side - HALF_WORLD_M, HALF_WORLD_M - y * side
    return west, north - side, west + side, north


@lru_cache(maxsize=4096)
def city_bounds(z: int, x: int, y: int, srid: int, margin: float = BUFFER / EXTENT) -> Bounds | None:
    """The box in the city's system around a tile and its buffer (``margin`` of its side), None far from the system."""
    west, south, east, north = tile_bounds(z, x, y)
    pad = (east - west) * margin
    box = transformer(WEB, srid).transform_bounds(west - pad, south - pad, east + pad, north + pad, errcheck=False)
    return tuple(float(side) for side in box) if all(map(math.isfinite, box)) else None  # type: ignore[return-value]


def draw_tile(conn: Connection, layer: Layer, srid: int, z: int, x: int, y: int, given: Given) -> bytes:
    """One tile of a layer as bytes, empty where it shows nothing. Invalid for a tile that does not exist."""
    tile_bounds(z, x, y)
    if z < layer.min_zoom and not layer.gathered:
        return b""
    gathered = z < layer.min_zoom
    statement = _gathered(layer, srid, z, x, y, given) if gathered else _single(layer, srid, z, x, y, given)
    if statement is None:
        return b""
    if gathered:
        conn.execute(PLAN_BY_ITSELF)
    rows = statement.subquery("rows")
    drawn = select(func.ST_AsMVT(rows.table_valued(), layer.name, EXTENT, "geom"))
    return bytes(conn.execute(drawn).scalar_one() or b"")


def _single(layer: Layer, srid: int, z: int, x: int, y: int, given: Given) -> Select[tuple[object, ...]] | None:
    """The rows that meet the tile, each with its columns."""
    box = city_bounds(z, x, y, srid)
    if box is None:
        return None
    source = layer.source(srid)
    carried = [source.c[name] for name in layer.tile_columns or layer.columns]
    if layer.gathered:
        carried.append(cast(1, Float).label("n"))
    shape = _on_tile(source.c.geom, z, x, y)
    statement = select(shape.label("geom"), *carried)
    statement = statement.where(source.c.geom.bool_op("&&")(ST_MakeEnvelope(*box, srid)))
    for zoom, name, values in layer.later:
        if z < zoom:
            statement = statement.where(func.coalesce(source.c[name], "").not_in(values))
    return statement.where(*layer.narrowing(source, given))


def _gathered(layer: Layer, srid: int, z: int, x: int, y: int, given: Given) -> Select[tuple[object, ...]] | None:
    """How many rows lie in each bin whose middle is in the tile, at their mean place."""
    box = city_bounds(z, x, y, srid, 2 / BINS)
    if box is None:
        return None
    west, south, east, north = tile_bounds(z, x, y)
    # the same side for all tiles of a zoom, a power of two: bins nest from zoom to zoom
    side = 2.0 ** round(math.log2(2 * HALF_WORLD_M / 2**z * _shrink(srid) / BINS))
    source = layer.source(srid)
    middle = source.c.geom if layer.geometry == ("Point",) else func.ST_Centroid(source.c.geom)
    at_x, at_y = func.ST_X(middle), func.ST_Y(middle)
    bin_x, bin_y = func.floor(at_x / side), func.floor(at_y / side)
    rows = (
        select(at_x.label("x"), at_y.label("y"), bin_x.label("bin_x"), bin_y.label("bin_y"))
        .add_columns(*(source.c[name] for name in layer.tile_columns or layer.columns))
        .where(source.c.geom.bool_op("&&")(ST_MakeEnvelope(*box, srid)))
        .where(*layer.narrowing(source, given))
        .subquery("rows")
    )
    alone = func.count() == 1
    carried = [case((alone, func.min(rows.c[name]))).label(name) for name in layer.tile_columns or layer.columns]
    bins = (
        select(
            func.avg(rows.c.x).label("x"),
            func.avg(rows.c.y).label("y"),
            *carried,
            cast(func.count(), Float).label("n"),
            *_middle_on_web(rows.c.bin_x, rows.c.bin_y, side, srid),
        )
        .group_by(rows.c.bin_x, rows.c.bin_y)
        .offset(0)  # keeps the planner from asking each row, before they are counted, where its bin's middle is
        .subquery("bins")
    )
    point = func.ST_SetSRID(func.ST_MakePoint(bins.c.x, bins.c.y), srid, type_=Geometry(srid=srid))
    return select(
        _on_tile(point, z, x, y, BUFFER + 2 * EXTENT // BINS).label("geom"),
        *(bins.c[name] for name in layer.tile_columns or layer.columns),
        bins.c.n,
    ).where(and_(bins.c.web_x >= west, bins.c.web_x < east, bins.c.web_y >= south, bins.c.web_y < north))


def _middle_on_web(
    bin_x: ColumnElement[float], bin_y: ColumnElement[float], side: float, srid: int
) -> tuple[ColumnElement[float], ColumnElement[float]]:
    point = func.ST_SetSRID(func.ST_MakePoint((bin_x + 0.5) * side, (bin_y + 0.5) * side), srid)
    web = func.ST_Transform(point, WEB)
    return func.ST_X(web).label("web_x"), func.ST_Y(web).label("web_y")


def _on_tile(geom: ColumnElement[object], z: int, x: int, y: int, buffer: int = BUFFER) -> ColumnElement[object]:
    envelope = ST_MakeEnvelope(*tile_bounds(z, x, y), WEB)
    return func.ST_AsMVTGeom(func.ST_Transform(geom, WEB), envelope, EXTENT, buffer, True)


@lru_cache(maxsize=16)
def _shrink(srid: int) -> float:
    """Metres on the ground for one metre of EPSG:3857 in the middle of the system's area of use, about."""
    area = crs_of(srid).area_of_use
    latitude = (area.south + area.north) / 2 if area is not None else 0.0
    return math.cos(math.radians(latitude))


class Cache:
    """The answers used last, up to so many bytes; safe to share between threads."""

    def __init__(self, most_bytes: int) -> None:
        self._most, self._held = most_bytes, 0
        self._answers: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> bytes | None:
        """The answer kept under the key, or None."""
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
            return self._answers.get(key)

    def put(self, key: Hashable, answer: bytes) -> bytes:
        """Keep an answer and return it; the least recently used ones go when there is no room."""
        with self._lock:
            self._held += len(answer) + OVERHEAD_BYTES - self._weight(key)
            self._answers[key] = answer
            self._answers.move_to_end(key)
            while self._held > self._most and self._answers:
                self._held -= len(self._answers.popitem(last=False)[1]) + OVERHEAD_BYTES
        return answer

    def _weight(self, key: Hashable) -> int:
        return len(self._answers[key]) + OVERHEAD_BYTES if key in self._answers else 0
