"""What is drawn on the map of a census report: findings and differences, one by one or gathered; what lies below."""

from __future__ import annotations

import json
from typing import Any

import geopandas as gpd
import numpy as np
import shapely

from gis.crs import GEODETIC, reproject, transform
from layers.census_report import CensusReport

Box = tuple[float, float, float, float]  #: west, south, east, north in the city's system
SQUARES = 48  #: along the longer side of the city: what lies in one is gathered
FINE_M = 0.5  #: lines are simplified by this much at most
PART = 400_000  #: letters that a layer below may take


def box_of(report: CensusReport, areas: gpd.GeoDataFrame | None) -> Box:
    """The box of the map in the city's system: what is known of the city, else what was found and differs."""
    frames = [frame for frame in (areas, report.surveyed) if frame is not None and len(frame)]
    shapes = [frame.geometry.to_numpy() for frame in frames or (report.findings, report.differences)]
    bounds = shapely.bounds(np.concatenate(shapes))
    bounds = bounds[np.isfinite(bounds).all(axis=1)]
    if not len(bounds):
        return 0.0, 0.0, 0.0, 0.0
    low, high = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def drawn(shapes: Any, srid: int, box: Box, *, most: int, listed: int) -> dict[str, Any]:
    """Geometries on the map: ``at`` (lat, lon of each, None where there is none), ``shapes`` (number and GeoJSON of
    what is no point), ``gathered`` (lat, lon and number of what lies together).

    More than ``most`` are gathered in squares; then only the first ``listed`` have a place of their own.
    """
    xy, degrees = _spots(shapes, srid)
    good = np.isfinite(degrees).all(axis=1)
    many = int(good.sum()) > most
    told = slice(listed if many else None)
    pairs = zip(degrees[told].tolist(), good[told], strict=True)
    return {
        "at": [[round(lat, 6), round(lon, 6)] if there else None for (lon, lat), there in pairs],
        "shapes": [] if many else _shapes(shapes, good, srid),
        "gathered": _gathered(xy[good], srid, box) if many else [],
    }


def _spots(shapes: Any, srid: int) -> tuple[Any, Any]:
    """The middle of each geometry in the city's system and in degrees; NaN where there is none, or none on Earth."""
    middle = shapely.centroid(shapes)
    there = ~shapely.is_missing(middle)
    there[there] = ~shapely.is_empty(middle[there])
    xy, degrees = np.full((len(shapes), 2), np.nan), np.full((len(shapes), 2), np.nan)
    xy[there] = shapely.get_coordinates(middle[there])
    there &= np.isfinite(xy).all(axis=1)
    degrees[there] = np.column_stack(transform(xy[there, 0], xy[there, 1], srid, GEODETIC))
    return xy, degrees


def _gathered(xy: Any, srid: int, box: Box) -> list[list[float]]:
    """Latitude, longitude and number of what lies together in a square; what lies far outside stands apart."""
    side = max(box[2] - box[0], box[3] - box[1], 1.0) / SQUARES
    squares = np.floor(np.clip((xy - np.asarray(box[:2])) / side, -4 * SQUARES, 5 * SQUARES))
    _, group, many = np.unique(squares, axis=0, return_inverse=True, return_counts=True)
    group = group.ravel()
    middle = np.column_stack([np.bincount(group, weights=xy[:, axis]) / many for axis in (0, 1)])
    degrees = np.column_stack(transform(middle[:, 0], middle[:, 1], srid, GEODETIC))
    good = np.isfinite(degrees).all(axis=1)
    return [[round(y, 5), round(x, 5), int(n)] for (x, y), n in zip(degrees[good], many[good], strict=True)]


def _shapes(shapes: Any, good: Any, srid: int) -> list[Any]:
    """Number of the row and GeoJSON of what is a line or a polygon."""
    where = np.flatnonzero((shapely.get_dimensions(shapes) > 0) & good)
    return [[int(at), one] for at, one in zip(where, _geojson(shapes[where], srid), strict=True)]


def _geojson(shapes: Any, srid: int, fine_m: float = FINE_M) -> list[Any]:
    """GeoJSON in degrees, simplified, 6 decimals (0.1 m)."""
    if not len(shapes):
        return []
    degrees = reproject(shapely.simplify(shapely.force_2d(shapes), fine_m), srid, GEODETIC)
    degrees = shapely.transform(degrees, lambda points: np.round(points, 6))
    return [json.loads(text) for text in shapely.to_geojson(degrees)]


def corners(box: Box, srid: int) -> list[list[float]] | None:
    """The corners as Leaflet takes them; None for a box of nothing."""
    if not any(box):
        return None
    west, south, east, north = (
        float(side) for side in shapely.bounds(reproject(shapely.box(box[0], box[1], box[2], box[3]), srid, GEODETIC))
    )
    return [[south, west], [north, east]]


def below(report: CensusReport, areas: gpd.GeoDataFrame | None, ground: gpd.GeoDataFrame | None) -> list[Any]:
    """What lies under the findings, from the ground up: style and GeoJSON. What would be too large is left out."""
    layers: list[tuple[dict[str, Any], Any]] = []
    if ground is not None:
        for kind, tone in (("green", "#dcead0"), ("water", "#b5d4e8")):
            shapes = shapely.get_parts(ground.geometry[ground["kind"] == kind].to_numpy())
            layers.append((_filled(tone), shapely.multipolygons(shapes[shapely.get_dimensions(shapes) == 2])))
        for grade in ("lane", "street", "arterial"):
            of = ground.geometry[(ground["kind"] == "street") & (ground["grade"].fillna("street") == grade)]
            shapes = shapely.get_parts(of.to_numpy())
            lines = shapely.multilinestrings(shapes[shapely.get_dimensions(shapes) == 1])
            layers.append((_line("#cfc6b8", 1.0 if grade == "lane" else 2.0), lines))
    if areas is not None:
        for digits, weight in ((12, 0.7), (9, 1.4), (6, 2.2)):
            of = areas.geometry[areas["code"].str.len() == digits]
            layers.append((_line("#8a7590", weight), shapely.union_all(shapely.boundary(of.to_numpy()))))
    if report.surveyed is not None:
        border = shapely.union_all(shapely.boundary(report.surveyed.geometry.to_numpy()))
        layers.append(({**_line("#0b1f33", 2.0), "dashArray": "7 5"}, border))
    made = []
    for style, shape in layers:
        geojson = [] if shape.is_empty else _geojson(np.array([shape], dtype=object), report.srid, 1.0)
        if geojson and len(json.dumps(geojson)) < PART:
            made.append([style, geojson[0]])
    return made


def _filled(tone: str) -> dict[str, Any]:
    return {"stroke": False, "fillColor": tone, "fillOpacity": 1.0}


def _line(tone: str, weight: float) -> dict[str, Any]:
    return {"color": tone, "weight": weight, "fill": False}
