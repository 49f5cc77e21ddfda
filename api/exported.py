"""A layer as a file: which rows, which names, which system, what the format loses. What ``wanmi export`` does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import geopandas as gpd
import pandas as pd
import shapely
from sqlalchemy import Connection

from api.deps import city_box
from api.gridfiles import cells_at
from api.layers import LAYERS
from gis.crs import GEODETIC, SCRAMBLED
from gis.db import query
from gis.errors import Invalid, NotFound
from gis.layer import Bounds, read_geoframe
from gis.reference import Reference
from gis.written import LOSSY, encoding_named, shapefile_names, shapefile_stems, write_vector
from grids.city import City
from grids.exchange import our_fields, standard_fields
from layers.exchange import Fields, Names, component_fields, mapping_back

Pair = tuple[str, str]
ALWAYS = "infinity"  #: the instant at which everything holds that holds now
#: layers that are kept through time; of the others only today is known
VERSIONED = ("areas", "ground", "cells", "components")
_DRAWN = {"components": "class_code", "areas": "level", "ground": "kind", "cases": "class_code", "cells": "area_class"}
_READ_BACK = (".gpkg", ".parquet", ".fgb", ".geojson", ".shp", ".zip", ".csv")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be exported, and how."""

    layer: str
    classes: Collection[str] = ()  #: beginnings of class codes
    areas: Collection[str] = ()  #: codes of areas
    bbox: Bounds | None = None  #: in degrees
    at: datetime | None = None  #: None: now
    crs: Reference | None = None  #: None: the city's
    names: Names = "ours"
    encoding: str = "utf-8"
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written."""

    rows: int
    files: tuple[str, ...]  #: names of what was written, beside those that come with it
    beside: tuple[str, ...]  #: names of files that came with it
    losses: tuple[Pair, ...] = field(default=())  #: what the format cannot hold, English and Chinese


def export_layer(conn: Connection, city: City, path: Path, wanted: Wanted) -> Exported:
    """Write a layer to a file by its extension, the same bytes for the same state. Returns what was written and lost.

    Raises Invalid for what the layer cannot be narrowed by, NotFound when no row is left, and as write_vector.
    """
    reads: Mapping[str, Callable[[Connection, City, Wanted], gpd.GeoDataFrame]] = {
        "components": _components,
        "cells": _cells,
        "areas": _areas,
        "ground": _ground,
    }
    _want_narrowing(wanted)
    rows = reads.get(wanted.layer, _today)(conn, city, wanted)
    if rows.empty:
        raise NotFound(
            f"no row of {wanted.layer} is left",
            f"图层 {wanted.layer} 没有符合条件的记录",
            mend="widen --class, --area or --bbox, or name an instant since the city was loaded",
            mend_zh="请放宽 --class、--area 或 --bbox，或给出城市载入之后的时间",
        )
    suffix = path.suffix.lower()
    losses: list[Pair] = []
    made = None
    if wanted.layer == "components":
        made = component_fields(rows, wanted.names)
        frame = made.frame
        if made.rest:
            losses.append(
                (
                    "attributes that are nested, or text here and a number there, are JSON in attrs_json",
                    "嵌套的或类型不一的属性以 JSON 写入 attrs_json",
                )
            )
    elif wanted.names != "ours" and wanted.layer != "cells":
        raise Invalid(
            f"the standards name no fields of {wanted.layer}",
            f"标准没有规定图层 {wanted.layer} 的字段名",
            mend="use --names ours",
            mend_zh="请使用 --names ours",
            field="names",
        )
    else:
        frame = rows
    drawn_as = rows[_DRAWN[wanted.layer]].fillna("0") if wanted.layer in _DRAWN else None
    frame, system = _in_system(_zoned(frame, city, suffix), city, wanted.crs, suffix)
    losses += _lost(suffix, system)
    named = [str(name) for name in frame.columns.drop(frame.geometry.name)]
    if suffix in (".shp", ".zip"):
        short = shapefile_names(named, encoding_named(path, wanted.encoding))
        cut = ", ".join(f"{name} → {made}" for name, made in short.items() if made != name)
        losses += [(f"names of fields are cut to 10 bytes: {cut}", f"字段名截断为 10 字节：{cut}")] if cut else []
    files = [path.name]
    if suffix == ".shp":
        files = [f"{stem}.shp" for stem in shapefile_stems(path.stem, frame.geometry.to_numpy())]
    beside = _beside(path, made, frame, city, system, wanted) if made is not None else {}
    if drawn_as is not None and suffix == ".dxf":
        frame = frame.assign(drawn_as=drawn_as.astype(str).to_numpy())
    write_vector(
        frame,
        path,
        layer=wanted.layer,
        overwrite=wanted.overwrite,
        encoding=wanted.encoding,
        drawn_as="drawn_as" if drawn_as is not None and suffix == ".dxf" else None,
        beside=beside,
    )
    return Exported(rows=len(frame), files=tuple(files), beside=tuple(beside), losses=tuple(losses))


# ── rows ────────────────────────────────────────


def _want_narrowing(wanted: Wanted) -> None:
    if wanted.layer not in LAYERS:
        raise Invalid(
            f"there is no layer {wanted.layer!r}",
            f"没有图层 {wanted.layer!r}",
            mend=f"use one of {', '.join(LAYERS)}",
            mend_zh=f"请使用 {'、'.join(LAYERS)} 之一",
            field="layer",
        )
    filters = {"areas": ("area",), "cells": ("area",)}.get(wanted.layer, tuple(LAYERS[wanted.layer].filters))
    for name, given in (("class", wanted.classes), ("area", wanted.areas)):
        if given and name not in filters:
            raise _cannot(wanted.layer, f"--{name}")
    if wanted.at is not None and wanted.layer not in VERSIONED:
        raise _cannot(wanted.layer, "--at")


def _cannot(layer: str, option: str) -> Invalid:
    return Invalid(
        f"layer {layer} cannot be narrowed by {option}",
        f"图层 {layer} 不能用 {option} 限定",
        mend=f"leave out {option}",
        mend_zh=f"请去掉 {option}",
        field=option.strip("-"),
    )


def _components(conn: Connection, city: City, wanted: Wanted) -> gpd.GeoDataFrame:
    west, south, east, north = _box(wanted, city) or (None,) * 4
    rows = read_geoframe(
        conn,
        query("layers", "export_components"),
        city.srid,
        at=wanted.at or ALWAYS,
        classes=list(wanted.classes) or None,
        areas=list(wanted.areas) or None,
        west=west,
        south=south,
        east=east,
        north=north,
        box_srid=city.srid,
    )
    return rows.assign(simulated=city.simulated)


def _cells(conn: Connection, city: City, wanted: Wanted) -> gpd.GeoDataFrame:
    cells = _narrowed(cells_at(conn, city, wanted.at), city, wanted)
    if cells.empty:
        return cells
    fields = our_fields(cells) if wanted.names == "ours" else standard_fields(cells)
    return fields if wanted.names != "ours" else fields.assign(simulated=city.simulated)


def _areas(conn: Connection, city: City, wanted: Wanted) -> gpd.GeoDataFrame:
    rows = read_geoframe(conn, query("grids", "areas_at"), city.srid, at=wanted.at or ALWAYS)
    return _narrowed(rows, city, wanted)


def _ground(conn: Connection, city: City, wanted: Wanted) -> gpd.GeoDataFrame:
    rows = read_geoframe(conn, query("grids", "ground_at"), city.srid, at=wanted.at or ALWAYS)
    return _narrowed(rows, city, wanted)


def _today(conn: Connection, city: City, wanted: Wanted) -> gpd.GeoDataFrame:
    """The rows of a layer of which only today is known, from its view."""
    layer = LAYERS[wanted.layer]
    given = {"class": tuple(wanted.classes), "area": tuple(wanted.areas)}
    result = conn.execute(layer.select(city.srid, within=_box(wanted, city), given=given))
    frame = pd.DataFrame(result.all(), columns=list(result.keys()))
    geometry = shapely.from_wkb(frame.pop("geom").to_numpy(dtype=object))
    return gpd.GeoDataFrame(frame, geometry=geometry, crs=city.srid)


def _narrowed(rows: gpd.GeoDataFrame, city: City, wanted: Wanted) -> gpd.GeoDataFrame:
    if wanted.areas:
        rows = rows[rows["code"].str.startswith(tuple(wanted.areas))]
    box = _box(wanted, city)
    if box is not None:
        rows = rows[rows.geometry.intersects(shapely.box(*box))]
    return rows.reset_index(drop=True)


def _box(wanted: Wanted, city: City) -> Bounds | None:
    """The box in the city's system."""
    return None if wanted.bbox is None else city_box(wanted.bbox, city.srid)


# ── as the file has it ────────────────────────────────────────


def _zoned(frame: gpd.GeoDataFrame, city: City, suffix: str) -> gpd.GeoDataFrame:
    """Instants in the city's zone; where a format knows no zones, as they are on the city's clock."""
    zone = ZoneInfo(city.timezone)
    for name in frame.columns.drop(frame.geometry.name):
        if isinstance(frame[name].dtype, pd.DatetimeTZDtype):
            local = frame[name].dt.tz_convert(zone)
            frame = frame.assign(**{name: local.dt.tz_localize(None) if suffix in (".xlsx", ".shp", ".zip") else local})
    return frame


def _in_system(
    frame: gpd.GeoDataFrame, city: City, crs: Reference | None, suffix: str
) -> tuple[gpd.GeoDataFrame, Reference]:
    """The rows in the system wanted; KML knows only degrees, and GeoJSON is understood everywhere only in degrees."""
    wanted = crs or Reference(GEODETIC if suffix in (".kml", ".geojson") else city.srid)
    if suffix == ".kml" and wanted != Reference(GEODETIC):
        raise Invalid(
            "KML is always in degrees of WGS 84",
            "KML 只能为 WGS 84 经纬度",
            mend="leave out --crs, or write another format",
            mend_zh="请去掉 --crs，或改用其他格式",
            field="crs",
        )
    if wanted == Reference(city.srid):
        return frame, wanted
    moved = wanted.from_city(frame.geometry.to_numpy(), city.srid)
    named = None if wanted.srid in SCRAMBLED or not _plain(wanted) else wanted.crs
    table = pd.DataFrame(frame.drop(columns=frame.geometry.name))
    return gpd.GeoDataFrame(table, geometry=moved, crs=named), wanted


def _plain(reference: Reference) -> bool:
    """Whether a file's own word for the system says everything."""
    return not reference.northing_first and reference.helmert4 is None and reference.helmert7 is None


def _lost(suffix: str, system: Reference) -> list[Pair]:
    found = [LOSSY[suffix]] if suffix in LOSSY else []
    if system.srid in SCRAMBLED or not _plain(system) or suffix in (".csv", ".dxf"):
        en, zh = system.said()
        found.append((f"the file cannot say its system: it is {en}", f"文件无法说明坐标系：实际为 {zh}"))
    if suffix == ".geojson" and system != Reference(GEODETIC):
        found.append(("other programs take GeoJSON for degrees of WGS 84", "其他软件会将 GeoJSON 视为 WGS 84 经纬度"))
    return found


def _beside(
    path: Path, made: Fields, frame: gpd.GeoDataFrame, city: City, system: Reference, wanted: Wanted
) -> dict[str, str]:
    """The mapping by which a census import reads the file back, for formats from which it can."""
    suffix = path.suffix.lower()
    if suffix not in _READ_BACK:
        return {}
    names: Mapping[str, str] | None = None
    layers: tuple[str, ...] = ()
    stems: tuple[str, ...] = (path.stem,)
    if suffix in (".shp", ".zip"):
        stems = tuple(shapefile_stems(path.stem, frame.geometry.to_numpy()))
        layers = stems if suffix == ".zip" and len(stems) > 1 else ()
        encoding = encoding_named(path, wanted.encoding)
        names = shapefile_names([str(name) for name in frame.columns.drop(frame.geometry.name)], encoding)
    table: Any = system.table()
    crs = table["crs"] if set(table) == {"crs"} else table
    text = mapping_back(made, names, crs=crs, layers=layers)
    parts = stems if suffix == ".shp" else [path.stem]
    return {f"{part}{path.suffix}.census.toml": text for part in parts}
