"""Vector tiles over HTTP: the layers, their TileJSON, their tiles, kept in memory per version."""

from __future__ import annotations

import gzip
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from api.answers import ASK_AGAIN, KEEP_A_DAY, digest, kept, tagged
from api.deps import Filters, InHouse, Who
from api.layers import LAYERS
from api.shapes import LayerList, TileJSON
from gis.db import query
from gis.errors import NotFound
from gis.layer import Layer
from gis.tiles import MAX_ZOOM, draw_tile, tile_bounds
from grids.city import City

router = APIRouter(tags=["tiles"])
MVT = "application/vnd.mapbox-vector-tile"
VERSION = "The layer's version (GET /city): makes the address unique, so that browsers may keep the tile."
Zoom = Annotated[int, Path(description=f"0 … {MAX_ZOOM}", examples=[15])]
Column = Annotated[int, Path(description="from the west, 0 … 2^z - 1", examples=[26307])]
Row = Annotated[int, Path(description="from the north, 0 … 2^z - 1", examples=[13232])]
LayerName = Annotated[str, Path(description=", ".join(LAYERS), examples=["cells"], max_length=40)]
Version = Annotated[int | None, Query(alias="v", description=VERSION, ge=0, le=2**62)]


def layer_of(name: str) -> Layer:
    """The layer of a name, or NotFound."""
    if name not in LAYERS:
        raise NotFound(
            f"there is no layer {name!r}",
            f"没有图层 {name!r}",
            mend=f"choose one of: {', '.join(LAYERS)}",
            mend_zh=f"可选:{'、'.join(LAYERS)}",
        )
    return LAYERS[name]


def bounds_of(conn: Any) -> list[float]:
    """west, south, east, north of the city in degrees."""
    row = conn.execute(query("grids", "bounds_of_city")).one()
    return [round(float(side), 6) for side in row]


def attribution(city: City) -> str | None:
    """The words that the data's licence asks for, and whether the city is simulated."""
    words = [city.attribution, "模拟数据 simulated" if city.simulated else None]
    return " ".join(word for word in words if word) or None


@router.get("/tiles", response_model=LayerList)
def list_layers(request: Request, house: InHouse, who: Who) -> Response:
    """All layers of tiles."""
    with house.begin_reading() as conn:
        who.reader(conn)
    rows = [
        {"name": layer.name, "title_zh": layer.title_zh, "title_en": layer.title_en, "tilejson": f"/tiles/{layer.name}"}
        for layer in LAYERS.values()
    ]
    return tagged(request, LayerList, {"layers": rows})


@router.get("/tiles/{layer}", response_model=TileJSON)
def describe_layer(request: Request, house: InHouse, who: Who, layer: LayerName) -> Response:
    """TileJSON 3.0 of a layer."""
    shown = layer_of(layer)
    with house.begin_reading() as conn:
        who.reader(conn)
        bounds = bounds_of(conn)
        version = house.versions(conn)[layer]
    fields = dict.fromkeys(shown.tile_columns or shown.columns, "") | (
        {"n": "rows at this place"} if shown.gathered else {}
    )
    data = {
        "tilejson": "3.0.0",
        "name": layer,
        "description": f"{shown.title_zh} {shown.title_en}",
        "tiles": [f"{str(request.base_url).rstrip('/')}/tiles/{layer}/{{z}}/{{x}}/{{y}}.mvt?v={version}"],
        "vector_layers": [{"id": layer, "fields": fields}],
        "minzoom": 0 if shown.gathered else shown.min_zoom,
        "maxzoom": 18,
        "bounds": bounds,
        "attribution": attribution(house.city),
    }
    return tagged(request, TileJSON, data)


@router.get(
    "/tiles/{layer}/{z}/{x}/{y}.mvt",
    response_class=Response,
    responses={200: {"content": {MVT: {}}}, 204: {"description": "nothing lies there"}},
)
def tile(
    request: Request,
    house: InHouse,
    who: Who,
    asked: Filters,
    layer: LayerName,
    z: Zoom,
    x: Column,
    y: Row,
    v: Version = None,
) -> Response:
    """One Mapbox Vector Tile (2.1); one layer of the same name inside. 204 where nothing lies.

    Components and cases are gathered below their zoom: `n` says how many rows lie there.
    """
    shown = layer_of(layer)
    tile_bounds(z, x, y)
    with house.begin_reading() as conn:
        seen = who.reader(conn)
        version = house.versions(conn, at_least=v, of=layer)[layer]
        narrowed = asked if shown.filters else None
        units = seen if "units" in shown.filters else None
        key = digest(repr((layer, z, x, y, narrowed, units, version)).encode())
        body = house.tiles.get(key)
        if body is None:
            given = {} if narrowed is None else narrowed.given(house.zone, units)
            drawn = draw_tile(conn, shown, house.city.srid, z, x, y, given)
            body = house.tiles.put(key, gzip.compress(drawn, 5, mtime=0) if drawn else b"")
    private = house.reading == "accounts" or units is not None
    cache = KEEP_A_DAY if v == version else ASK_AGAIN
    tag = f'"{key}"'
    return kept(request, body, MVT, tag, cache=cache, private=private, zipped=True)
