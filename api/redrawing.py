"""What the doors need around a draft: cut it anew, write and read its file, parse a line, tell a cell's history."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import geopandas as gpd
import numpy as np
import shapely
from shapely import LineString
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection

from gis.crs import GEODETIC
from gis.db import query
from gis.errors import Invalid, UnfitFile
from gis.formats import code_text, read_vector, write_vector
from gis.layer import read_geoframe
from grids.city import City
from grids.cut import cut_all
from grids.edit import city_srid, put_cells, read_draft, show_draft
from grids.editions import CellVersion, Descent
from grids.exchange import classes_of
from grids.findings import Finding

Pair = tuple[str, str]
MOST_POINTS = 2000  #: of a line


@dataclass(frozen=True)
class ToCut:
    """What a draft is cut from: its communities, the ground and the components in them, and its revision then."""

    draft: int
    revision: int
    areas: gpd.GeoDataFrame
    barriers: gpd.GeoDataFrame
    components: gpd.GeoSeries


def read_to_cut(conn: Connection, draft: int) -> ToCut:
    """Read it in one go; the cutting needs no connection."""
    about = show_draft(conn, draft)
    srid, here = city_srid(conn), {"communities": about.communities}
    areas = read_geoframe(conn, query("grids", "areas_around"), srid, **here)
    return ToCut(
        draft=draft,
        revision=about.revision,
        areas=areas[areas["code"].isin(about.communities)].reset_index(drop=True),
        barriers=read_geoframe(conn, query("grids", "barriers_around"), srid, **here),
        components=read_geoframe(conn, query("layers", "points_of_components"), srid, **here).geometry,
    )


def cut_again(
    given: ToCut,
    *,
    target_m2: float,
    tolerance_m: float = 1.0,
    area_class: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> gpd.GeoDataFrame:
    """The communities of a draft cut anew, for `grids.edit.put_cells`: cells much like old ones keep their codes there.

    Borders keep a metre from components where they can. ``area_class`` becomes that of all cells (C: blocks stay
    whole); None keeps the classes.
    """
    areas = given.areas if area_class is None else given.areas.assign(area_class=area_class)
    cells = cut_all(
        areas,
        given.barriers,
        components=given.components,
        target_m2=target_m2,
        tolerance_m=tolerance_m,
        progress=progress,
    )
    return cells[["geometry"] if area_class is None else ["area_class", "geometry"]].assign(code=None)


def write_draft(conn: Connection, draft: int, path: Path, *, replace: bool) -> int:
    """Write the cells of a draft with its number and revision, by which `bring_back` knows them; returns the cells."""
    about = show_draft(conn, draft)
    cells = read_draft(conn, draft)
    cells.insert(2, "area_m2", cells.geometry.area.round(1))
    cells.insert(3, "draft", about.id)
    cells.insert(4, "revision", about.revision)
    write_vector(cells, path, layer="cells" if path.suffix.lower() == ".gpkg" else None, overwrite=replace)
    return len(cells)


def bring_back(
    conn: Connection,
    draft: int,
    path: Path,
    *,
    layer: str | None = None,
    srid: int | None = None,
    force: bool = False,
    actor: str,
) -> list[Finding]:
    """Replace the cells of a draft by those of a file; returns the findings.

    A file that says another draft is refused, and so is one of an older revision unless ``force``. Raises UnfitFile
    when it lacks the codes.
    """
    cells = read_vector(path, layer=layer, srid=srid)
    if "code" not in cells:
        raise UnfitFile(
            f"{path.name} has no field code",
            f"{path.name} 没有 code 字段",
            mend="edit the file that 'wanmi grid draft export' wrote; new cells have an empty code",
            mend_zh="请编辑 wanmi grid draft export 导出的文件;新网格编码留空",
            file=path,
        )
    if "area_class" in cells:
        cells["area_class"] = classes_of(path, cells, "area_class")
    said = {name: _numbers(cells, name) for name in ("draft", "revision")}
    if not force and not (said["draft"] and said["revision"]):
        raise Invalid(
            f"{path.name} does not say which draft it is of, in which revision: its fields draft and revision are gone",
            f"{path.name} 缺少 draft 与 revision 字段,无法得知其来自哪个草稿、哪一版次",
            mend="edit a fresh export; or --force takes it over whatever was saved since",
            mend_zh="请在重新导出的文件上编辑;或用 --force 强制导入",
            file=path,
        )
    if said["draft"] - {draft}:
        raise Invalid(
            f"{path.name} is of draft {min(said['draft'] - {draft})}, not of {draft}",
            f"{path.name} 属于草稿 {min(said['draft'] - {draft})},而不是 {draft}",
            mend="name the draft that it was exported from",
            mend_zh="请指定其导出时的草稿",
            file=path,
        )
    cells["code"] = code_text(path, cells["code"])
    revision = None if force or not said["revision"] else min(said["revision"])
    return put_cells(conn, draft, cells, actor=actor, revision=revision)


def _numbers(cells: gpd.GeoDataFrame, name: str) -> set[int]:
    """The numbers in a column; those that are none (features drawn in QGIS) are left out."""
    if name not in cells:
        return set()
    values = np.asarray(cells[name].to_numpy(dtype=object))
    return {int(value) for value in values if isinstance(value, int | float | np.number) and np.isfinite(float(value))}


def parse_line(words: str) -> LineString:
    """A line as people type it: ``x y, x y, …``. Invalid for anything else."""
    try:
        points = [tuple(float(number) for number in point.split()) for point in words.split(",")]
        if len(points) < 2 or len(points) > MOST_POINTS or any(len(point) != 2 for point in points):
            raise ValueError(words)
    except ValueError:
        raise Invalid(
            f"{words[:80]!r} is no line",
            f"{words[:80]!r} 不是一条线",
            mend="two or more points with commas between: 'x y, x y'",
            mend_zh="两个或更多点,以逗号分隔:'x y, x y'",
            field="line",
        ) from None
    return LineString(points)


def read_line(path: Path, srid: int | None) -> tuple[BaseGeometry, int]:
    """The one line of a file, and its system."""
    frame = read_vector(path, srid=srid)
    shapes = np.asarray(frame.geometry, dtype=object)
    shapes = shapes[(shapely.get_dimensions(shapes) == 1) & np.isfinite(shapely.bounds(shapes)).all(axis=1)]
    line = shapely.line_merge(shapely.union_all(shapes)) if len(shapes) else None
    if line is None or line.geom_type not in ("LineString", "MultiLineString"):
        raise UnfitFile(
            f"{path.name} does not hold a line",
            f"{path.name} 中没有线",
            mend="save the dividing line as a layer of lines",
            mend_zh="请将分割线另存为线图层",
            file=path,
        )
    return line, frame.crs.to_epsg() or GEODETIC


def history_lines(versions: Sequence[CellVersion], descent: Sequence[Descent], city: City) -> Iterator[Pair]:
    """The versions of a cell and its lineage in words."""
    zone = ZoneInfo(city.timezone)
    for version in versions:
        since = "…" if version.since is None else version.since.astimezone(zone).isoformat(" ", "seconds")
        until = "…" if version.until is None else version.until.astimezone(zone).isoformat(" ", "seconds")
        text = f"{version.code}  {since} – {until}  {version.area_class}  {version.area_m2:,.0f} m²"
        why = f"{version.actor}: {version.reason}" + (f" ({version.source})" if version.source else "")
        yield f"{text}  {why}", f"{text}  {why}"
        for row in descent:
            if row.new_id == version.id:
                share = f"{row.share_of_new:.1%}"
                yield f"    from {row.old_code}: {share} of it", f"    来自 {row.old_code}:占本网格 {share}"
        for row in descent:
            if row.old_id == version.id:
                share = f"{row.share_of_old:.1%}"
                yield f"    became {row.new_code}: {share} of it", f"    变为 {row.new_code}:占本网格 {share}"
