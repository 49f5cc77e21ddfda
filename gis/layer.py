"""Layers: what outside readers see, declared once by the package that owns the data.

A layer is a view of the schema ``served`` with a geometry column ``geom`` in the city's system. Each package
declares its own; ``api/layers.py`` joins them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import geopandas as gpd
import pandas as pd
import shapely
from geoalchemy2 import Geometry
from geoalchemy2.functions import ST_MakeEnvelope
from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    TextClause,
    cast,
    column,
    func,
    literal,
    or_,
    select,
    table,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import BigInteger

from gis.db import read_frame

Bounds = tuple[float, float, float, float]
How = Literal["among", "prefix", "from", "before", "units"]
Given = Mapping[str, "tuple[str, ...] | tuple[int, ...] | datetime | None"]  #: filters by name; None or () is no filter


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer: where it lies, what a row is called by, what it carries, how a map may narrow it."""

    name: str  #: in addresses and on the command line
    relation: str  #: the view, without its schema ``served``
    key: str  #: the column that names a row
    geometry: tuple[str, ...]  #: the geometry types that occur
    columns: tuple[str, ...]  #: without the geometry
    title_zh: str
    title_en: str
    min_zoom: int = 0  #: below this web zoom the single rows say nothing
    gathered: bool = False  #: below min_zoom tiles hold how many rows lie where, instead of nothing
    tile_columns: tuple[str, ...] | None = None  #: what a tile carries of a row; None: all columns
    #: filters by the name a person uses: how it narrows, and which column
    filters: Mapping[str, tuple[How, str]] = field(default_factory=dict)
    #: (zoom, column, values): rows with these values are left out of tiles below that zoom
    later: tuple[tuple[int, str, tuple[str, ...]], ...] = ()
    version: str | None = None  #: the layer whose version it shares; None: its own

    def source(self, srid: int) -> FromClause:
        """The view with its geometry and every column that it carries or can be narrowed by."""
        names = dict.fromkeys((*self.columns, *(name for _, name in self.filters.values())))
        if "unit_id" in names:
            names["assisting_ids"] = None
        return table(
            self.relation, *(column(name) for name in names), column("geom", Geometry(srid=srid)), schema="served"
        )

    def select(
        self, srid: int, *, within: Bounds | None = None, given: Given | None = None
    ) -> Select[tuple[object, ...]]:
        """The statement that reads the layer; ``within`` is a box (min x, min y, max x, max y) in EPSG:``srid``."""
        source = self.source(srid)
        statement = select(*(source.c[name] for name in self.columns), func.ST_AsBinary(source.c.geom).label("geom"))
        if within is not None:
            statement = statement.where(source.c.geom.intersects(ST_MakeEnvelope(*within, srid)))
        return statement.where(*self.narrowing(source, given or {})).order_by(source.c[self.key])

    def narrowing(self, source: FromClause, given: Given) -> list[ColumnElement[bool]]:
        """The conditions of the filters that are given; a name the layer does not have narrows nothing."""
        found: list[ColumnElement[bool]] = []
        for name, values in given.items():
            if name not in self.filters or values is None or values == ():
                continue
            how, of = self.filters[name]
            if isinstance(values, datetime):
                found.append(source.c[of] >= values if how == "from" else source.c[of] < values)
            elif how == "prefix":
                found.append(or_(*(source.c[of].startswith(str(value), autoescape=True) for value in values)))
            elif how == "units":  # a unit's work: what it leads and what it assists in
                ids = cast(literal(list(values), ARRAY(BigInteger)), ARRAY(BigInteger))
                assists = source.c["assisting_ids"].cast(ARRAY(BigInteger)).overlap(ids)
                found.append(or_(source.c[of].in_(values), assists))
            else:
                found.append(source.c[of].in_(values))
        return found

    def read(self, conn: Connection, srid: int, *, within: Bounds | None = None) -> gpd.GeoDataFrame:
        """The rows of today, those whose box meets ``within`` if given, in EPSG:``srid``, the city's system."""
        result = conn.execute(self.select(srid, within=within))
        frame = pd.DataFrame(result.all(), columns=list(result.keys()))
        geometry = shapely.from_wkb(frame.pop("geom").to_numpy(dtype=object))
        return gpd.GeoDataFrame(frame, geometry=geometry, crs=srid)

    def count(self, conn: Connection) -> int:
        """How many rows it has."""
        return int(conn.execute(select(func.count()).select_from(table(self.relation, schema="served"))).scalar_one())


def read_geoframe(conn: Connection, statement: TextClause, srid: int, **parameters: object) -> gpd.GeoDataFrame:
    """The rows of a named query that has a column ``geom``, as a GeoDataFrame in EPSG:``srid``."""
    frame = read_frame(conn, statement, **parameters)
    geometry = shapely.from_wkb(frame.pop("geom").to_numpy(dtype=object))
    return gpd.GeoDataFrame(frame, geometry=geometry, crs=srid)
