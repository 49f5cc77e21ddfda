"""Checks of a grid, ours or a city's own: every fault with its rule, place, size and gravity. Pure: no database.

Cells and areas come in the city's projected metres. What is thinner than a tolerance (two millimetres) is noise of
the numbers, not a fault. A finding of severity "error" keeps a grid from being published; warnings and notes do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from gis.crs import in_metres
from gis.errors import Invalid
from grids import topology
from grids.codes import CellCode
from grids.coverage import STEPS_PER_METRE
from grids.findings import RULES, Finding, Rule, Severity, findings_frame, ordered, write_findings
from grids.measures import measures

__all__ = ["RULES", "Finding", "Rule", "Severity", "check", "errors_of", "findings_frame", "write_findings"]

Progress = Callable[[float], None]
Geometries = NDArray[np.object_]

TOLERANCE_M = 0.002  #: thinner than this is noise: two cells rounded to millimetres differ by as much
THIN_M = 2.0  #: a cell whose mean width 2A/P is below is a strip, not a place
SMALL_SHARE = 0.1  #: of the target area: below is a scrap
LOW_COMPACTNESS = 0.2
SPIKE_DEG = 4.0
WHOLE = 0.999  #: a cell that is so much of its community is all of it, and its size is not the drawer's choice


@dataclass(frozen=True)
class _Cells:
    """The columns of the grid as arrays, by row."""

    codes: list[str]  #: "" where there is none
    labels: list[str]  #: what a person calls the row
    geometry: Geometries  #: as given
    solid: Geometries  #: valid and polygonal, perhaps empty: what overlay works with
    classes: NDArray[np.str_]


def check(
    cells: gpd.GeoDataFrame,
    areas: gpd.GeoDataFrame,
    *,
    target_m2: float = 10_000,
    digits: int = 15,
    buildings: gpd.GeoDataFrame | gpd.GeoSeries | None = None,
    retired: Collection[str] = (),
    covered: Collection[str] | None = None,
    tolerance_m: float = TOLERANCE_M,
    progress: Progress | None = None,
) -> list[Finding]:
    """All faults of a grid, by rule (see RULES), code and place; no errors: fit to publish.

    cells       : code, geometry and, if known, area_class (A, B, C; A where missing)
    areas       : code (4, 6, 9 or 12 digits), geometry; those of 12 digits are the communities
    digits      : of the city's cell codes, 14 or 15
    buildings   : polygons that no border should cut, if known
    retired     : codes that may not be used again
    covered     : codes of the communities that the cells must cover; None: all of ``areas``
    tolerance_m : gaps, overlaps and strips thinner than this are no fault
    progress    : hears the share done, 0 … 1
    Both frames must be in the same projected system in metres; else UnfitCoordinates or Invalid.
    """
    step = progress or (lambda share: None)
    _same_system(cells, areas)
    grid = _columns(cells)
    communities = areas[areas["code"].str.len() == 12].sort_values("code", ignore_index=True)
    found = _codes(grid, digits, frozenset(retired))
    step(0.05)
    found += _rings(grid)
    step(0.15)
    cover = topology.Cover.of(
        grid.solid, grid.labels, communities["code"].tolist(), communities.geometry.to_numpy(), tolerance_m
    )
    found += cover.nesting(_well_formed(grid.codes))
    step(0.35)
    found += _holes(grid, cover)
    pieces = [*cover.overlaps(), *cover.gaps(communities["code"] if covered is None else covered)]
    found += pieces
    step(0.7)
    found += cover.nodes([finding.place for finding in pieces])
    step(0.8)
    found += _sizes(grid, cover, target_m2)
    found += _spikes(grid, tolerance_m)
    found += _lattice(grid)
    found += _numbering(grid, cover, target_m2)
    step(0.9)
    if buildings is not None and len(buildings):
        found += cover.buildings(np.asarray(buildings.geometry.array, dtype=object))
    step(1.0)
    return ordered(found)


def errors_of(findings: Collection[Finding]) -> list[Finding]:
    """The findings that keep a grid from being published."""
    return [finding for finding in findings if finding.severity == "error"]


def _same_system(cells: gpd.GeoDataFrame, areas: gpd.GeoDataFrame) -> None:
    in_metres(cells)
    in_metres(areas)
    if cells.crs != areas.crs:
        raise Invalid(
            f"the cells are in {cells.crs.name}, the areas in {areas.crs.name}",
            f"网格坐标系为 {cells.crs.name}，区域坐标系为 {areas.crs.name}",
            mend="bring both to the city's system first",
            mend_zh="请先转换到同一城市坐标系",
        )


def _columns(cells: gpd.GeoDataFrame) -> _Cells:
    codes = [code if isinstance(code, str) else "" for code in cells["code"]]
    labels = [code or f"#{row}" for row, code in enumerate(codes, start=1)]
    geometry = shapely.force_2d(np.asarray(cells.geometry.array, dtype=object))
    classes = (
        cells["area_class"].fillna("A").astype(str).to_numpy(dtype=str)
        if "area_class" in cells
        else np.full(len(cells), "A")
    )
    return _Cells(codes, labels, geometry, topology.solid(geometry), classes)


def _well_formed(codes: list[str]) -> list[str | None]:
    """The codes, None for those that are no cell's code."""
    return [code if _fault(code) is None else None for code in codes]


def _fault(code: str) -> Invalid | None:
    try:
        CellCode(code)
    except Invalid as fault:
        return fault
    return None


def _inner_point(geometry: Any) -> Any:
    return None if geometry is None or geometry.is_empty else shapely.point_on_surface(geometry)


# ── codes ────────────────────────────────────────


def _codes(grid: _Cells, digits: int, retired: frozenset[str]) -> list[Finding]:
    found = []

    def add(rule: str, row: int, en: str, zh: str, other: str | None = None) -> None:
        place = _inner_point(grid.solid[row])
        code = grid.codes[row] or None
        found.append(
            Finding(
                rule=rule,
                severity=RULES[rule].severity,
                code=code,
                other=other,
                size=None,
                unit=None,
                en=en,
                zh=zh,
                place=place,
            )
        )

    first: dict[str, int] = {}
    for row, code in enumerate(grid.codes):
        fault = _fault(code)
        if not code:
            add("code_malformed", row, f"cell {grid.labels[row]} has no code", f"网格 {grid.labels[row]} 没有编码")
            continue
        if fault is not None:
            add("code_malformed", row, fault.en, fault.zh)
        elif len(code) != digits:
            add(
                "code_digits",
                row,
                f"{code} has {len(code)} digits, the city's codes have {digits}",
                f"{code} 为 {len(code)} 位，本市编码应为 {digits} 位",
            )
        elif code in retired:
            add("code_retired", row, f"{code} was retired and may not be used again", f"{code} 已停用，不得再次使用")
        if code in first:
            add(
                "code_duplicate",
                row,
                f"{code} is the code of rows {first[code] + 1} and {row + 1}",
                f"第 {first[code] + 1} 行与第 {row + 1} 行编码同为 {code}",
            )
        first.setdefault(code, row)
    return found


# ── rings ────────────────────────────────────────


def _finding(
    grid: _Cells,
    row: int,
    rule: str,
    en: str,
    zh: str,
    place: Any,
    size: float | None = None,
    unit: str | None = None,
    severity: Severity | None = None,
) -> Finding:
    return Finding(
        rule=rule,
        severity=severity or RULES[rule].severity,
        code=grid.codes[row] or None,
        other=None,
        size=None if size is None else float(size),
        unit=unit,
        en=f"cell {grid.labels[row]} {en}",
        zh=f"网格 {grid.labels[row]} {zh}",
        place=place,
    )


def _rings(grid: _Cells) -> list[Finding]:
    """Missing, invalid and many-part geometry."""
    found = []
    shape = grid.geometry
    kind = shapely.get_type_id(shape)
    bare = shapely.is_missing(shape) | shapely.is_empty(shape) | ~np.isin(kind, (3, 6))
    for row in np.flatnonzero(bare).tolist():
        place = shape[row] if shape[row] is not None and not shape[row].is_empty else None
        what = "no geometry" if place is None else f"a {place.geom_type}, not a polygon"
        what_zh = "没有几何数据" if place is None else f"几何类型为 {place.geom_type}，不是面"
        found.append(_finding(grid, row, "empty", f"has {what}", what_zh, place))
    invalid = ~bare & ~shapely.is_valid(shape)
    for row in np.flatnonzero(invalid).tolist():
        reason = str(shapely.is_valid_reason(shape[row]))
        spot = re.search(r"\[(\S+) (\S+)\]", reason)
        place = shapely.Point(float(spot[1]), float(spot[2])) if spot else _inner_point(grid.solid[row])
        what = reason.split("[")[0].strip()
        found.append(_finding(grid, row, "invalid_ring", f"has an invalid border: {what}", f"边界无效：{what}", place))
    parts = np.where(bare, 0, shapely.get_num_geometries(shape))
    for row in np.flatnonzero((parts > 1) & ~invalid).tolist():
        lesser = sorted(shape[row].geoms, key=lambda part: (part.area, part.bounds))[:-1]
        size = sum(part.area for part in lesser)
        en, zh = (
            f"has {parts[row]} parts; the lesser have {size:,.1f} m²",
            f"由 {parts[row]} 块组成，较小部分共 {size:,.1f} 平方米",
        )
        found.append(_finding(grid, row, "several_parts", en, zh, shapely.MultiPolygon(lesser), size, "m2"))
    return found


def _holes(grid: _Cells, cover: topology.Cover) -> list[Finding]:
    """Holes that are not the community's own."""
    found = []
    parts, row_of = shapely.get_parts(grid.solid, return_index=True)
    holed = np.flatnonzero(shapely.get_num_interior_rings(parts) > 0)
    for part in holed:
        row = int(row_of[part])
        home = cover.home[row]
        for ring in parts[part].interiors:
            hole = shapely.Polygon(ring)
            within = hole if home < 0 else shapely.intersection(hole, cover.communities[home])
            if topology.thick(np.array([within], dtype=object), cover.tolerance_m)[0] is not None:
                en, zh = f"has a hole of {hole.area:,.1f} m²", f"带有 {hole.area:,.1f} 平方米的洞"
                found.append(_finding(grid, row, "hole", en, zh, hole, hole.area, "m2"))
    return found


def _spikes(grid: _Cells, tolerance_m: float) -> list[Finding]:
    """Corners of a cell that are sharper than SPIKE_DEG."""
    shape = shapely.orient_polygons(grid.solid)
    parts, row_of_part = shapely.get_parts(shape, return_index=True)
    rings, part_of_ring = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    if not len(points):
        return []
    first = np.r_[True, ring[1:] != ring[:-1]]
    start = np.flatnonzero(first)[ring]  # of each point's ring
    last = np.r_[first[1:], True]
    end = np.flatnonzero(last)[ring]
    index = np.arange(len(points))
    before = points[np.where(first, end - 1, index - 1)] - points
    after = points[np.where(last, start + 1, index + 1) % len(points)] - points
    turn = before[:, 1] * after[:, 0] - before[:, 0] * after[:, 1]  # > 0 where the inside is the narrow side
    along = (before * after).sum(axis=1)
    sharp = ~last & (turn > 0) & (along > 0) & (turn < np.tan(np.radians(SPIKE_DEG)) * along)
    sharp &= (np.hypot(*before.T) > tolerance_m) & (np.hypot(*after.T) > tolerance_m)
    found = []
    for at in np.flatnonzero(sharp):
        row = int(row_of_part[part_of_ring[ring[at]]])
        angle = float(np.degrees(np.arctan2(turn[at], along[at])))
        en, zh = f"has a corner of {angle:.1f}°", f"有 {angle:.1f}° 的尖角"
        found.append(_finding(grid, row, "spike", en, zh, shapely.Point(points[at]), angle, "degrees"))
    return found


def _lattice(grid: _Cells) -> list[Finding]:
    """Cells with a coordinate that is no multiple of 2⁻¹⁰ m."""
    points, row = shapely.get_coordinates(grid.geometry, return_index=True)
    steps = points * STEPS_PER_METRE
    off = (steps != np.rint(steps)).any(axis=1)
    rows, first = np.unique(row[off], return_index=True)
    spots = points[off][first]
    en, zh = "has coordinates that are no multiples of 2⁻¹⁰ m", "的坐标不是 2⁻¹⁰ 米的整数倍"
    return [
        _finding(grid, int(at), "off_lattice", en, zh, shapely.Point(spot))
        for at, spot in zip(rows, spots, strict=True)
    ]


# ── sizes and numbers ────────────────────────────────────────


def _sizes(grid: _Cells, cover: topology.Cover, target_m2: float) -> list[Finding]:
    """Strips and scraps, odd areas, low compactness. A cell that is its whole community could be no other."""
    of = measures(gpd.GeoSeries(grid.solid))
    area, perimeter, compactness = (of[name].to_numpy() for name in ("area_m2", "perimeter_m", "compactness"))
    with np.errstate(divide="ignore", invalid="ignore"):
        width = np.where(perimeter > 0, 2 * area / perimeter, 0.0)
    home_area = np.append(shapely.area(cover.communities), np.inf)[cover.home]
    chosen = (area > 0) & (area < WHOLE * home_area)
    outer = grid.classes == "C"
    thin = chosen & (width < THIN_M)
    scrap = chosen & ~thin & (area < SMALL_SHARE * target_m2) & ~outer
    odd = chosen & ~thin & ~scrap & ((area < target_m2 / 2) | (area > target_m2 * 2))
    loose = chosen & ~thin & (compactness < LOW_COMPACTNESS)
    found = []
    for row in np.flatnonzero(thin).tolist():
        en, zh = f"is a strip {width[row]:.2f} m wide", f"是宽约 {width[row]:.2f} 米的狭长条"
        found.append(_finding(grid, row, "sliver", en, zh, grid.solid[row], width[row], "m"))
    for row in np.flatnonzero(scrap).tolist():
        en, zh = f"has only {area[row]:,.0f} m²", f"面积仅 {area[row]:,.0f} 平方米"
        found.append(_finding(grid, row, "sliver", en, zh, grid.solid[row], area[row], "m2", "warning"))
    for row in np.flatnonzero(odd).tolist():
        en, zh = f"has {area[row]:,.0f} m²", f"面积为 {area[row]:,.0f} 平方米"
        grave: Severity = "note" if outer[row] else "warning"
        found.append(_finding(grid, row, "odd_area", en, zh, grid.solid[row], area[row], "m2", grave))
    for row in np.flatnonzero(loose).tolist():
        en, zh = f"has a compactness of {compactness[row]:.2f}", f"紧凑度为 {compactness[row]:.2f}"
        found.append(_finding(grid, row, "low_compactness", en, zh, grid.solid[row], compactness[row]))
    return found


def _numbering(grid: _Cells, cover: topology.Cover, target_m2: float) -> list[Finding]:
    """Communities in which a cell has a later number than one that lies clearly to the south-east of it."""
    well = _well_formed(grid.codes)
    rows = np.flatnonzero(np.array([code is not None for code in well], dtype=bool) & ~shapely.is_empty(grid.solid))
    if not len(rows):
        return []
    centre = shapely.get_coordinates(shapely.centroid(grid.solid[rows]))
    frame = pd.DataFrame({"community": [grid.codes[row][:12] for row in rows], "x": centre[:, 0], "y": centre[:, 1]})
    frame["serial"] = [int(grid.codes[row][12:]) for row in rows]
    frame["row"] = rows
    clear = np.sqrt(target_m2) / 2
    found = []
    for community, cells in frame.groupby("community", sort=True):
        cells = cells.sort_values("serial")
        x, y = cells["x"].to_numpy(), cells["y"].to_numpy()
        late = (x[None] < x[:, None] - clear) & (y[None] > y[:, None] + clear)  # column lies north-west of row
        wrong = np.triu(late, 1).any(axis=0)
        if wrong.any():
            places = grid.solid[cells["row"].to_numpy()[wrong]]
            number = int(wrong.sum())
            found.append(
                Finding(
                    rule="numbering",
                    severity="note",
                    code=str(community),
                    other=None,
                    size=float(number),
                    unit="cells",
                    en=f"in community {community} {number} cells are numbered after cells to the south-east of them",
                    zh=f"社区 {community} 有 {number} 个网格的编号晚于其东南方向的网格",
                    place=shapely.MultiPoint(shapely.point_on_surface(places)),
                )
            )
    return found
