"""Redrawing cells: divide, unite, move a border, keep or give numbers. Pure geometry in the city's system, metres.

Numbers (CJ/T 213, standards 1.4): a code stays while its cell exists, also when its border moves; what a split or a
merge makes gets the next number that was never used in its community.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry import LineString, MultiLineString, Polygon
from shapely.geometry.base import BaseGeometry

from gis.crs import snap
from gis.errors import Invalid
from grids.codes import CellCode
from grids.coverage import noded

REACH_M = 2.0  #: a dividing line may end so far short of the border
SCRAP_M2 = 1.0  #: pieces below come from a line that runs along the border; they go to the piece beside them

Geometries = NDArray[np.object_]


def divide(cell: Polygon, line: BaseGeometry) -> list[Polygon]:
    """The pieces into which a line divides a cell, on the lattice; the largest first.

    The line may end REACH_M short of the border. Invalid when it does not divide the cell: it names where it ends.
    """
    cut = shapely.union_all([shapely.boundary(cell), _reaching(line)])
    pieces = [piece for piece in shapely.get_parts(shapely.polygonize([cut])) if _inside(piece, cell)]
    pieces = _without_scraps(pieces)
    if len(pieces) < 2:
        ends = "; ".join(f"{x:.2f} {y:.2f}" for x, y in shapely.get_coordinates(shapely.boundary(line))) or "?"
        raise Invalid(
            "the line does not divide the cell",
            "该线未能分割网格",
            mend=f"draw it from border to border; it may end up to {REACH_M:g} m short of it",
            mend_zh=f"请从边界画到边界;线端距边界不得超过 {REACH_M:g} 米",
            line_ends=ends,
        )
    return sorted((_tidy(piece) for piece in pieces), key=lambda piece: -piece.area)


def unite(cells: Sequence[Polygon]) -> Polygon:
    """One cell of several. Invalid when they do not lie side by side in one piece."""
    whole = shapely.union_all(list(cells))
    if not isinstance(whole, Polygon):
        parts = [f"{part.centroid.x:.1f} {part.centroid.y:.1f}" for part in shapely.get_parts(whole)]
        raise Invalid(
            "these cells do not touch along a border: together they would be several pieces",
            "这些网格之间没有公共边界,合并后不成一块",
            mend="name cells that lie side by side",
            mend_zh="请选择相邻的网格",
            pieces="; ".join(parts),
        )
    return _tidy(whole)


def move_border(one: Polygon, other: Polygon, line: BaseGeometry) -> tuple[Polygon, Polygon]:
    """Two neighbours with the line as the border between them: the ground of both is divided anew.

    Each keeps the side on which most of it lay. Invalid when the two are no neighbours, or the line does not make
    exactly two pieces of them.
    """
    pieces = divide(unite([one, other]), line)
    if len(pieces) != 2:
        raise Invalid(
            f"the line makes {len(pieces)} pieces of the two cells, not two",
            f"该线把两个网格分成 {len(pieces)} 块,应为两块",
            mend="draw a line that crosses both cells' common ground once",
            mend_zh="请画一条只穿过一次的线",
            pieces=len(pieces),
        )
    first, second = pieces
    straight = first.intersection(one).area + second.intersection(other).area
    crossed = first.intersection(other).area + second.intersection(one).area
    return (first, second) if straight >= crossed else (second, first)


def next_codes(community: str, cells: Sequence[Polygon], ever_used: Collection[str], *, digits: int = 15) -> list[str]:
    """Codes for new cells of a community, in the order given: after the highest number ever used, in reading order.

    Reading order is west to east within a row, the rows north to south from the northernmost cell; a row is half as
    high as the side of a usual one of them. Invalid when the numbers run out.
    """
    if not len(cells):
        return []
    first = CellCode.next_free(community, ever_used, digits=digits).serial
    shapes = np.asarray(cells, dtype=object)
    centre = shapely.get_coordinates(shapely.centroid(shapes))
    row_m = np.sqrt(np.median(shapely.area(shapes))) / 2
    row = np.floor((centre[:, 1].max() - centre[:, 1]) / row_m)
    order = np.lexsort((-centre[:, 1], centre[:, 0], row))
    serial = np.empty(len(cells), dtype=np.int64)
    serial[order] = np.arange(first, first + len(cells))
    return [CellCode.of(community, int(number), digits=digits) for number in serial]


def keep_codes(cells: gpd.GeoDataFrame, before: gpd.GeoDataFrame) -> list[str | None]:
    """The code of each cell, None for one that must get a new number.

    cells  : code ("" or None: not known), geometry
    before : code, geometry of the grid it was drawn from
    A given code stays. A code that several cells have is that of a cell that was split: none of them keeps it. A cell
    without code keeps the one of the cell of which it covers more than half, and which covers more than half of it,
    if no other cell has that code.
    """
    given = [str(code).strip() if isinstance(code, str) else "" for code in cells["code"]]
    split = {code for code in given if code and given.count(code) > 1}
    taken = set(given)
    shapes, old = np.asarray(cells.geometry), np.asarray(before.geometry)
    row, column = shapely.STRtree(old).query(shapes, predicate="intersects")
    shared = shapely.area(shapely.intersection(shapes[row], old[column]))
    mostly = (shared > shapely.area(shapes)[row] / 2) & (shared > shapely.area(old)[column] / 2)
    codes = before["code"].tolist()
    match = {int(i): codes[int(j)] for i, j in zip(row[mostly], column[mostly], strict=True)}
    kept: list[str | None] = []
    for number, code in enumerate(given):
        found = code or match.get(number)
        kept.append(None if found in split or (not code and found in taken) else found)
    return kept


def classes_from(cells: gpd.GeoDataFrame, before: gpd.GeoDataFrame) -> list[str]:
    """The area class of each cell: its own, else that of most of its ground before, else A."""
    own = list(cells["area_class"]) if "area_class" in cells else [None] * len(cells)
    if all(value in ("A", "B", "C") for value in own) or before.empty:
        return [value if value in ("A", "B", "C") else "A" for value in own]
    shapes, old = np.asarray(cells.geometry), np.asarray(before.geometry)
    row, column = shapely.STRtree(old).query(shapes, predicate="intersects")
    shared = shapely.area(shapely.intersection(shapes[row], old[column]))
    most: dict[int, tuple[float, str]] = {}
    for i, j, area in zip(row, column, shared, strict=True):
        most[int(i)] = max(most.get(int(i), (-1.0, "A")), (float(area), str(before["area_class"].iloc[int(j)])))
    return [value if value in ("A", "B", "C") else most.get(n, (0.0, "A"))[1] for n, value in enumerate(own)]


def noded_together(cells: gpd.GeoDataFrame, around: gpd.GeoDataFrame) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """The cells with the vertices of all others on their borders, and those cells around them that got one.

    Raises Invalid that names a cell which a vertex would make cross itself.
    """
    every = np.concatenate([np.asarray(cells.geometry, dtype=object), np.asarray(around.geometry, dtype=object)])
    shapes = noded(every)
    codes = [*cells["code"], *around["code"]]
    for code, shape in zip(codes, shapes, strict=True):
        refuse_unfit(code, shape)
    inside, outside = shapes[: len(cells)], shapes[len(cells) :]
    grown = shapely.get_num_coordinates(outside) != shapely.get_num_coordinates(every[len(cells) :])
    return (
        cells.set_geometry(gpd.GeoSeries(inside, index=cells.index, crs=cells.crs)),
        around.set_geometry(gpd.GeoSeries(outside, index=around.index, crs=around.crs))[grown],
    )


def refuse_unfit(code: str, shape: BaseGeometry | None) -> None:
    """Invalid, with the place, for a shape that cannot be a cell: none, several parts, a ring that crosses itself."""
    if shape is None or shape.is_empty:
        reason = "no polygon"
    elif shape.geom_type != "Polygon":
        reason = f"a {shape.geom_type}"
    elif not shape.is_valid:
        reason = shapely.is_valid_reason(shape)
    else:
        return
    raise Invalid(
        f"a cell cannot have this shape: {reason}",
        f"网格图形不合规:{reason}",
        mend="draw it as one polygon whose border does not cross itself (QGIS: Fix geometries)",
        mend_zh="请绘成一个边界不自相交的单部件面(QGIS:修正几何图形)",
        code=code or "(new)",
        place=reason.partition("[")[2].rstrip("]") or "?",
    )


def _tidy(piece: Polygon) -> Polygon:
    """On the lattice, without repeated points."""
    moved: Polygon = shapely.remove_repeated_points(snap(piece))
    refuse_unfit("", moved)
    return moved


def _inside(piece: Polygon, cell: Polygon) -> bool:
    return bool(shapely.covers(cell, shapely.point_on_surface(piece)))


def _reaching(line: BaseGeometry) -> BaseGeometry:
    """The line, each part made longer by REACH_M at both ends."""
    if isinstance(line, MultiLineString):
        line = shapely.line_merge(line)
        return shapely.union_all([_reaching(part) for part in shapely.get_parts(line)])
    points = shapely.get_coordinates(line)
    points = points[np.r_[True, (np.diff(points, axis=0) != 0).any(axis=1)]] if len(points) else points
    if not isinstance(line, LineString) or len(points) < 2 or not np.isfinite(points).all():
        raise Invalid(
            "this is no line",
            "这不是一条线",
            mend="give at least two different points, x y each, with commas between",
            mend_zh="请给出至少两个不同的点",
            line=line.wkt[:80],
        )
    for end, inner in ((0, 1), (-1, -2)):
        along = points[end] - points[inner]
        points[end] += along / np.hypot(*along) * REACH_M
    return LineString(points)


def _without_scraps(pieces: list[Polygon]) -> list[Polygon]:
    """Pieces under SCRAP_M2 united with the piece with which they share the longest border."""
    pieces = sorted(pieces, key=lambda piece: -piece.area)
    while len(pieces) > 1 and pieces[-1].area < SCRAP_M2:
        scrap = pieces.pop()
        shared = [shapely.length(shapely.intersection(scrap, piece)) for piece in pieces]
        best = int(np.argmax(shared))
        whole = shapely.union(pieces[best], scrap)
        if isinstance(whole, Polygon):
            pieces[best] = whole
    return pieces


def under_areas(cells: gpd.GeoDataFrame, communities: gpd.GeoDataFrame, ever_used: Collection[str]) -> gpd.GeoDataFrame:
    """The cells that would differ if the communities had other borders: each cut along them.

    cells       : code, area_class, geometry; communities: code, geometry, all of the city, in the same system
    ever_used   : codes of cells, which no new one gets
    Columns code (None: the cell, or this ground of it, would be in no community), area_class, from_code, geometry. The
    largest part that stays in its community keeps the code; the others get the next ones of theirs. Parts of less than
    SCRAP_M2 come from lines that are drawn a second time and are left where they are.
    """
    shapes, grounds = (np.asarray(frame.geometry.array, dtype=object) for frame in (cells, communities))
    row, ground = shapely.STRtree(grounds).query(shapes, predicate="intersects")
    codes, names = cells["code"].to_numpy(dtype=object), communities["code"].to_numpy(dtype=object)
    whole = shapely.covers(grounds[ground], shapes[row])
    kept = set(row[whole & (np.array([code[:12] for code in codes[row]], dtype=object) == names[ground])].tolist())
    digits = len(codes[0]) if len(codes) else 15
    parts: list[tuple[str | None, int, Polygon]] = []  # community, row of the cell, ground
    met: dict[int, list[int]] = {number: [] for number in range(len(cells)) if number not in kept}
    for number, at in zip(row.tolist(), ground.tolist(), strict=True):
        if number in met:
            met[number].append(at)
    for number, near in met.items():
        pieces = [
            (str(names[at]), part)
            for at in near
            for part in shapely.get_parts(shapely.intersection(shapes[number], grounds[at]))
            if shapely.area(part) >= SCRAP_M2
        ]
        rest = shapely.difference(shapes[number], shapely.union_all(grounds[near]))
        pieces += [(None, part) for part in shapely.get_parts(rest) if shapely.area(part) >= SCRAP_M2]  # type: ignore[misc]
        if [name for name, _ in pieces] != [codes[number][:12]]:
            parts += [(name, number, part) for name, part in pieces]
    given: list[str | None] = [None] * len(parts)
    own: dict[int, int] = {}
    for at, (name, number, part) in enumerate(parts):
        if name == codes[number][:12] and (number not in own or part.area > parts[own[number]][2].area):
            own[number] = at
    for number, at in own.items():
        given[at] = str(codes[number])
    for name in sorted({name for name, _, _ in parts if name is not None}):
        fresh = [at for at, part in enumerate(parts) if part[0] == name and given[at] is None]
        for at, code in zip(
            fresh, next_codes(name, [parts[at][2] for at in fresh], ever_used, digits=digits), strict=True
        ):
            given[at] = code
    rows = [number for _, number, _ in parts]
    frame = {
        "code": pd.Series(given, dtype=object),
        "area_class": cells["area_class"].to_numpy(dtype=object)[rows],
        "from_code": codes[rows],
    }
    return gpd.GeoDataFrame(frame, geometry=[part for _, _, part in parts], crs=cells.crs)
