"""What differs between two instants, as a layer."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import geopandas as gpd
from sqlalchemy import Connection

from gis.db import query
from gis.errors import Invalid
from gis.layer import Bounds, read_geoframe

#: what may have become of a component, English and Chinese
FATES = {
    "new": ("new", "新增"),
    "changed": ("changed", "变更"),
    "moved": ("moved", "移位"),
    "retired": ("retired", "注销"),
}


def differences(
    conn: Connection,
    first_at: datetime,
    last_at: datetime,
    *,
    srid: int,
    classes: Collection[str] = (),
    areas: Collection[str] = (),
    bbox: Bounds | None = None,
    after: str = "",
    most: int | None = None,
) -> gpd.GeoDataFrame:
    """The components that are not at ``last_at`` what they were at ``first_at``, by code; in EPSG:``srid``, the city's.

    classes, areas : beginnings of codes;  bbox : in the city's system: what lies, or lay, in it
    after, most    : a page: codes after this one, so many rows
    Columns code, class_code, class_zh, class_en, fate (FATES; moved: the place or shape too), fields (by name: the
    value before and after), moved_m (of lines and polygons the Hausdorff distance), old_cell, new_cell, at (when it
    became what it is), actor, reason, matched (rows of all pages), geometry (of a retired one: where it stood).
    What came and went in between is no difference. Raises Invalid when the instants are in the wrong order.
    """
    if first_at >= last_at:
        raise Invalid(
            f"{first_at.isoformat()} is not before {last_at.isoformat()}",
            f"{first_at.isoformat()} 不早于 {last_at.isoformat()}",
            mend="exchange the two instants",
            mend_zh="请调换两个时间",
            field="from",
        )
    west, south, east, north = bbox or (None,) * 4
    return read_geoframe(
        conn,
        query("layers", "component_differences"),
        srid,
        first_at=first_at,
        last_at=last_at,
        classes=list(classes) or None,
        areas=list(areas) or None,
        west=west,
        south=south,
        east=east,
        north=north,
        box_srid=srid,
        after=after,
        most=most,
    )
