"""Layers: what outside readers see, declared once by the package that owns the data.

A layer is a view of the schema ``served`` with a geometry column ``geom`` in the city's system. Each package
declares its own; ``api/layers.py`` joins them.
"""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import pandas as pd
import shapely
from geoalchemy2 import Geometry
from geoalchemy2.functions import ST_MakeEnvelope
from sqlalchemy import Connection, Select, TextClause, column, func, select, table

from gis.db import read_frame

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer: where it lies, what a row is called by, what it carries."""

    name: str  #: in addresses and on the command line
    relation: str  #: the view, without its schema ``served``
    key: str  #: the column that names a row
    geometry: tuple[str, ...]  #: the geometry types that occur
    columns: tuple[str, ...]  #: without the geometry
    title_zh: str
    title_en: str
    min_zoom: int = 0  #: below this web zoom the single rows say nothing

    def select(self, srid: int, *, within: Bounds | None = None) -> Select[tuple[object, ...]]:
        """The statement that reads the layer; ``within`` is a box (min x, min y, max x, max y) in EPSG:``srid``."""
        geometry = column("geom", Geometry(srid=srid))
        source = table(self.relation, *(column(name) for name in self.columns), geometry, schema="served")
        statement = select(*(source.c[name] for name in self.columns), func.ST_AsBinary(source.c.geom).label("geom"))
        if within is not None:
            statement = statement.where(source.c.geom.intersects(ST_MakeEnvelope(*within, srid)))
        return statement.order_by(source.c[self.key])

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
