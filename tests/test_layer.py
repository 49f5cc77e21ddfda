"""Layers: each is what it says, and every view served is one."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, text

from api.layers import LAYERS
from gis.layer import Layer
from tests.hamlet import SRID, at

each_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=lambda layer: layer.name)


@each_layer
def test_a_layer_has_the_columns_of_its_view(conn: Connection, layer: Layer) -> None:
    columns = conn.scalars(
        text("select column_name from information_schema.columns where table_schema = 'served' and table_name = :name"),
        {"name": layer.relation},
    )
    assert set(columns) == set(layer.source(SRID).c.keys())


@each_layer
def test_reading_gives_every_row_once_in_the_citys_system(conn: Connection, layer: Layer) -> None:
    frame = layer.read(conn, SRID)
    assert len(frame) == layer.count(conn) > 0
    assert frame.crs.to_epsg() == SRID
    assert frame[layer.key].is_unique
    assert set(frame.geom_type) <= set(layer.geometry)


@each_layer
def test_a_box_gives_the_rows_that_meet_it(conn: Connection, layer: Layer) -> None:
    box = (*at(0, 0), *at(120, 120))
    inside = layer.read(conn, SRID, within=box)
    everything = layer.read(conn, SRID)
    bounds = everything.bounds
    meets = (bounds.minx <= box[2]) & (bounds.maxx >= box[0]) & (bounds.miny <= box[3]) & (bounds.maxy >= box[1])
    assert list(inside[layer.key]) == list(everything[meets][layer.key])


def test_every_view_served_is_a_layer(conn: Connection) -> None:
    views = conn.scalars(text("select table_name from information_schema.views where table_schema = 'served'"))
    assert set(views) == {layer.relation for layer in LAYERS.values()}
