"""Vector tiles: what GDAL reads from them is what the layer holds; gathered numbers add up; no stale tile is kept."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyogrio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from api.layers import LAYERS
from gis.errors import Invalid
from gis.tiles import HALF_WORLD_M, Cache, city_bounds, draw_tile, tile_bounds
from grids.city import City
from tests.doorstep import Door, degrees, report
from tests.hamlet import SRID
from tests.test_http_errors import tile_of


def decoded(body: bytes, folder: Path, z: int, x: int, y: int) -> gpd.GeoDataFrame:
    """The features of a tile as GDAL reads them, in EPSG:3857."""
    if not body:
        return gpd.GeoDataFrame({"n": []}, geometry=[], crs=3857)
    file = folder / f"{y}.mvt"
    file.write_bytes(body)
    frame = pyogrio.read_dataframe(file, CLIP="NO")  # in units of the tile, y upwards from its lower edge
    west, south, east, _ = tile_bounds(z, x, y)
    scale = (east - west) / 4096
    placed = frame.geometry.affine_transform([scale, 0, 0, scale, west, south])
    return frame.set_geometry(placed.set_crs(3857, allow_override=True))


def around(z: int, reach: int = 1) -> list[tuple[int, int]]:
    """The tiles that cover the hamlet at a zoom, and those beside them."""
    corners = [tile_of(**degrees(east, north), z=z) for east in (-50, 450) for north in (-50, 450)]
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return [
        (x, y) for x in range(min(xs) - reach, max(xs) + reach + 1) for y in range(min(ys) - reach, max(ys) + reach + 1)
    ]


# ── the scheme ────────────────────────────────────────


def test_the_four_tiles_below_a_tile_are_that_tile() -> None:
    for z, x, y in [(0, 0, 0), (5, 25, 12), (15, 26307, 13232)]:
        west, south, east, north = tile_bounds(z, x, y)
        below = [tile_bounds(z + 1, 2 * x + i, 2 * y + j) for i in (0, 1) for j in (0, 1)]
        assert min(box[0] for box in below) == pytest.approx(west, abs=1e-6)
        assert min(box[1] for box in below) == pytest.approx(south, abs=1e-6)
        assert max(box[2] for box in below) == pytest.approx(east, abs=1e-6)
        assert max(box[3] for box in below) == pytest.approx(north, abs=1e-6)
    assert tile_bounds(0, 0, 0) == (-HALF_WORLD_M, -HALF_WORLD_M, HALF_WORLD_M, HALF_WORLD_M)


@pytest.mark.parametrize("place", [(-1, 0, 0), (23, 0, 0), (40, 1, 1), (3, 8, 0), (3, 0, 8), (3, -1, 0), (3, 0, -1)])
def test_a_tile_that_does_not_exist_is_refused(place: tuple[int, int, int]) -> None:
    with pytest.raises(Invalid):
        tile_bounds(*place)


@given(z=st.integers(0, 22), across=st.floats(0, 0.999), down=st.floats(0, 0.999), srid=st.sampled_from([4545, 26985]))
def test_the_box_in_the_citys_system_is_finite_or_none(z: int, across: float, down: float, srid: int) -> None:
    box = city_bounds(z, int(across * 2**z), int(down * 2**z), srid)
    assert box is None or (all(map(math.isfinite, box)) and box[0] <= box[2] and box[1] <= box[3])


# ── what is in them ────────────────────────────────────────


@pytest.mark.parametrize("z", [15, 16, 18])
def test_cells_come_out_of_tiles_as_they_went_in(conn: Connection, template: City, tmp_path: Path, z: int) -> None:
    truth = LAYERS["cells"].read(conn, SRID).set_index("code")
    found: dict[str, list[Any]] = {}
    for x, y in around(z):
        for row in decoded(draw_tile(conn, LAYERS["cells"], SRID, z, x, y, {}), tmp_path, z, x, y).itertuples():
            found.setdefault(row.code, []).append(row.geometry)
            assert row.community_code == row.code[:12]
    assert set(found) == set(truth.index)
    pixel_m = 2 * HALF_WORLD_M / 2**z / 4096
    for code, parts in found.items():
        whole = gpd.GeoSeries([truth.geometry[code]], crs=SRID).to_crs(3857).iloc[0]
        merged = gpd.GeoSeries(parts, crs=3857).buffer(pixel_m).union_all()
        assert whole.symmetric_difference(merged).area < 12 * whole.length * pixel_m + 1


@pytest.mark.parametrize("name", ["cases", "components"])
@pytest.mark.parametrize("z", [3, 9, 13, 14])
def test_gathered_numbers_of_all_tiles_add_up(
    conn: Connection, template: City, tmp_path: Path, name: str, z: int
) -> None:
    total = sum(
        decoded(draw_tile(conn, LAYERS[name], SRID, z, x, y, {}), tmp_path, z, x, y)["n"].sum()
        for x, y in around(z)
        if 0 <= x < 2**z and 0 <= y < 2**z
    )
    assert total == LAYERS[name].count(conn)


def test_a_row_that_lies_alone_keeps_its_facts_below_the_zoom(conn: Connection, template: City, tmp_path: Path) -> None:
    z = 14
    rows = [
        row
        for x, y in around(z)
        for row in decoded(draw_tile(conn, LAYERS["components"], SRID, z, x, y, {}), tmp_path, z, x, y).itertuples()
    ]
    assert sum(row.n for row in rows) == 3
    for row in rows:
        assert (row.n == 1) == isinstance(row.code, str)


def test_filters_narrow_tiles_as_they_narrow_lists(conn: Connection, template: City, tmp_path: Path) -> None:
    z = 16
    everything = LAYERS["cases"].count(conn)
    parts = []
    for classes in (("E0101",), ("E0102",), ("C",)):
        numbers = set()
        for x, y in around(z):
            frame = decoded(draw_tile(conn, LAYERS["cases"], SRID, z, x, y, {"class": classes}), tmp_path, z, x, y)
            numbers |= {row.no for row in frame.itertuples()} if len(frame) else set()
        parts.append(numbers)
    assert sum(map(len, parts)) == everything
    assert not parts[0] & parts[1]


def test_a_tile_far_away_is_empty_and_far_from_the_system_too(conn: Connection, template: City) -> None:
    for layer in LAYERS.values():
        for place in [(15, 0, 0), (15, 2**15 - 1, 2**15 - 1), (22, 0, 2**21)]:
            assert draw_tile(conn, layer, SRID, *place, {}) == b""


def test_values_of_a_filter_are_values_never_sql(conn: Connection, template: City) -> None:
    for value in ("'; drop table cases.case; --", "%", "_", "E%", "\\"):
        for name in ("class", "source", "stage", "area", "unit"):
            assert (
                draw_tile(conn, LAYERS["cases"], SRID, 12, *tile_of(**degrees(200, 200), z=12), {name: (value,)}) == b""
            )


# ── the cache ────────────────────────────────────────


def test_the_cache_keeps_what_was_used_last_within_its_room() -> None:
    cache = Cache(4000)
    for number in range(8):
        cache.put(number, bytes(300))
        cache.get(0)
    kept = [number for number in range(8) if cache.get(number) is not None]
    assert 0 in kept, "used again and again"
    assert kept[-1] == 7
    assert sum(600 for _ in kept) <= 4000
    cache.put(0, bytes(100))
    assert cache.get(0) == bytes(100)
    cache.put("large", bytes(5000))
    assert cache.get("large") is None, "what never fits is not kept"


def tile_path(layer: str, z: int = 16, east_m: float = 50, north_m: float = 150) -> str:
    x, y = tile_of(**degrees(east_m, north_m), z=z)
    return f"/tiles/{layer}/{z}/{x}/{y}.mvt"


def numbers_in(answer: Any, folder: Path, path: str) -> set[int]:
    z, x, y = (int(part) for part in path.removesuffix(".mvt").split("/")[-3:])
    frame = decoded(answer.content, folder, z, x, y)
    return set(frame["no"]) if len(frame) else set()


def test_a_case_that_was_just_reported_is_on_the_map_at_once(door: Door, tmp_path: Path) -> None:
    path = tile_path("cases")
    door.get(path)
    for _ in range(3):
        case = door.post("/cases", report(), "collector").json()
        shown = door.get(path, v=case["versions"]["cases"])
        assert case["no"] in numbers_in(shown, tmp_path, path)
        assert "immutable" in shown.headers["Cache-Control"]


def test_a_version_never_shows_less_than_it_says(door: Door, tmp_path: Path) -> None:
    """A case whose transaction is still open is neither counted nor shown; afterwards the version is another."""
    path = tile_path("cases", east_m=250, north_m=250)
    before = door.get("/city").json()["versions"]["cases"]
    with door.engine.begin() as conn:
        conn.execute(text("update cases.case set geom = geom where no = (select min(no) from cases.case)"))
        during = door.get("/city").json()["versions"]["cases"]
        door.get(path, v=during)
    after = door.get("/city").json()["versions"]["cases"]
    assert before == during < after


TABLES = {"grids.cell": "cells", "grids.area": "areas", "grids.barrier": "ground", "layers.component": "components"}


@pytest.mark.parametrize(("table", "layer"), [*TABLES.items(), ("cases.case", "cases")])
def test_every_write_makes_the_layers_version_grow(conn: Connection, table: str, layer: str) -> None:
    def version() -> int:
        return int(
            conn.execute(text("select sum(n) from gis.version where layer = :layer"), {"layer": layer}).scalar_one()
        )

    before = version()
    conn.execute(text(f"update {table} set geom = geom"))
    assert version() == before + 1


def test_tiles_are_packed_tagged_and_empty_where_nothing_is(door: Door) -> None:
    path = tile_path("cells")
    with door.client(**{"Accept-Encoding": "gzip"}) as client:
        packed = client.get(path)
    with door.client(**{"Accept-Encoding": "identity"}) as client:
        plain = client.get(path)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert packed.content == plain.content
    assert packed.headers["Content-Type"] == "application/vnd.mapbox-vector-tile"
    with door.client(**{"If-None-Match": packed.headers["ETag"]}) as client:
        assert client.get(path).status_code == 304
    assert door.get("/tiles/cells/16/0/0.mvt").status_code == 204


def test_tilejson_leads_to_tiles(door: Door) -> None:
    for entry in door.get("/tiles").json()["layers"]:
        described = door.get(entry["tilejson"]).json()
        assert described["tilejson"] == "3.0.0"
        assert described["vector_layers"][0]["id"] == entry["name"]
        z = max(15, described["minzoom"])
        x, y = tile_of(**degrees(30, 30), z=z)
        address = described["tiles"][0].format(z=z, x=x, y=y)
        with door.client() as client:
            assert client.get(address).status_code == 200, entry
        west, south, east, north = described["bounds"]
        assert west < degrees(30, 30)["lon"] < east
        assert south < degrees(30, 30)["lat"] < north


def test_gdal_opens_the_service_as_a_client_would(door: Door, tmp_path: Path) -> None:
    described = door.get("/tiles/cells").json()
    z = 16
    x, y = tile_of(**degrees(50, 150), z=z)
    frame = pyogrio.read_dataframe(f"MVT:/vsicurl/{described['tiles'][0].split('?')[0].format(z=z, x=x, y=y)}")
    assert "610999001001001" in set(frame["code"])
