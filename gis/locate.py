"""Exact point in polygon for many points: pixels that are sure, and in the others the few edges that decide.

The ground is covered by square tiles, and a tile that edges meet by 2ᵏ × 2ᵏ pixels, more where edges are dense. A
pixel that no edge of a polygon touches lies inside or outside of it as a whole. In the others each polygon that has
edges there keeps just these, and one bit.

**Why a sure pixel is never wrong.** A coordinate is mapped to its pixel by ``floor((x − x₀) · c)``, whose rounded
operations never decrease with x; c is such that the scaling by 2ᵏ is exact. An edge is listed in every pixel that it,
widened by MARGIN of a pixel to all sides, meets; MARGIN is a thousand times the rounding of that mapping (pixels
are never so small that it is not). So a point and an edge that touches it always share a pixel, and a
pixel without edges of a polygon is not touched by its border: one point tells for all.

**Why the edges of a pixel are enough.** A point is inside when a ray to the west crosses an odd number of edges; an
edge (a, b) crosses the line of the point p when ``(a.y ≤ p.y) ≠ (b.y ≤ p.y)``. Let L be the edges listed in a pixel,
U the others of the polygon. An edge of U lies, within the pixel's rows, wholly west or wholly east of the pixel. East
it adds nothing. West it adds ``(a.y ≤ p.y) + (b.y ≤ p.y)``; an end within the rows has x < x₀ of the pixel, and for
an end beyond them the term is the same for all points of the pixel. So modulo 2, and up to a constant, U adds the sum
over its ends e of ``(e.y ≤ p.y)·(e.x < x₀)``. Every vertex is an end of two edges: that sum over U equals the one
over L. Hence ``inside(p) = constant + Σ over L of [crosses and is west of p] + (a.y ≤ p.y)(a.x < x₀) + (b.y ≤
p.y)(b.x < x₀)``, and the constant, the bit that is kept, comes from one point of the pixel. The same holds for tiles,
from which pixels are made.

**On a border.** On which side of an edge a point lies is the sign of a determinant: in doubles where their error
cannot change it, else computed exactly (Shewchuk 1997, expansions). A point of an edge is covered by its polygon. Of
several polygons that cover a point the lowest row owns it: on shared borders as in overlaps, the same as ``min(row)
where st_covers(…)`` in PostGIS.

**Many points at once.** A block of points goes through tile, pixel and records in step, so that what is read for one
does not wait for another; no answer depends on it.

**Which polygons need no test.** Where each edge of a pixel is listed twice (a border that two polygons share), the
number of polygons around a point is odd everywhere or nowhere: if odd, the last one has it whenever no other does.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from gis.errors import Invalid, UnfitFile
from gis.locate_kernels import MARGIN, by_tile, fill_tiles, grouped, judge_tiles, look_up

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

OUTSIDE = -1
FORMAT = 2  #: of a saved index
MIXED_SHARE = 0.12  #: of a tile's pixels that edges may meet, about
ROUNDING = 2.3e-16  #: of doubles, relative
FARTHEST = 1e12
FINEST = 6  #: at most 2⁶ × 2⁶ pixels a tile
MOST_TILES = 1 << 22
CHUNK = 1 << 16  #: points that a thread takes at once


@dataclass(frozen=True, kw_only=True, eq=False)
class Locator:
    """The index of a set of polygons. Made by :meth:`of`, kept by :meth:`save`, read again by :meth:`load`."""

    count: int  #: of the polygons
    crs: str | None  #: in which x and y are, as WKT
    x0: float
    y0: float
    per_tile: float  #: tiles a metre: the scale of the mapping
    columns: int
    rows: int
    tiles: NDArray[np.int64]  #: first pixel · 8 + k; without edges a tile is one pixel
    pixels: Ints  #: ≥ −1: the owner; else −2 − where its records begin; one more at the end, OUTSIDE
    records: Ints  #: of each candidate of a pixel row · 2 + bit, edges · 2 + is the last, and the edges: number of the
    #: first vertex · 4 + west of the pixel, first vertex · 2 + second
    xy: Floats  #: vertices of all rings, shape (n, 2)

    @classmethod
    def of(cls, polygons: gpd.GeoSeries, *, memory_mb: int = 700, threads: int | None = None) -> Locator:
        """The index of polygons (with holes, of many parts) in a projected system; a row each.

        memory_mb : about what the pixels may take; with less of it there are fewer, and look-ups are slower
        Raises Invalid that names the first polygon that is missing, empty, no polygon or invalid, and for degrees.
        """
        shapes = np.asarray(polygons.array, dtype=object)
        _refuse_unfit(polygons, shapes)
        xy, ring_ends, ring_rows = _rings(shapes)
        starts = np.ones(len(xy), dtype=bool)  # of an edge: every vertex but the last of its ring
        starts[ring_ends - 1] = False
        lengths = np.diff(np.concatenate([[0], ring_ends]))
        row_of = np.repeat(ring_rows, lengths)
        low, high = xy.min(axis=0), xy.max(axis=0)
        side = float(np.sqrt(np.median(shapely.area(shapes)))) / 1.6
        largest = _refuse_far(float(np.abs(xy).max()))
        side = max(side, largest * ROUNDING * 1000 / MARGIN * (1 << FINEST))
        extent = np.maximum(high - low, side)
        side = max(side, float(np.sqrt(extent[0] * extent[1] / MOST_TILES)), float(extent.max()) / 1e6)
        x0, y0 = (float(corner) - side / 2 for corner in low)
        columns, rows = (int(span / side) + 2 for span in extent)
        per_tile = 1.0 / side
        grid = (x0, y0, per_tile, columns, rows)
        edge = np.flatnonzero(starts).astype(np.int32)
        tile_firsts, tile_edges = by_tile(xy, edge, *grid)
        group_firsts, group_rows, group_edge_firsts = grouped(tile_firsts, tile_edges, row_of)
        bits, cover = judge_tiles(xy, edge, row_of, len(shapes), group_firsts, group_rows, *grid)
        lengths_m = np.hypot(*(xy[edge + 1] - xy[edge]).T) / np.bincount(tile_edges, minlength=len(xy))[edge]
        per_edge = np.zeros(len(xy))
        per_edge[edge] = lengths_m  # about what of it lies in each of its tiles
        fineness = _fineness(tile_firsts, per_edge[tile_edges], side, memory_mb)
        parts = (xy, tile_edges, group_firsts, group_rows, group_edge_firsts, bits, cover, fineness, *grid)
        busy = np.flatnonzero(np.diff(tile_firsts)).astype(np.int64)
        sizes = np.zeros(len(busy), dtype=np.int64)  # of the records of each tile
        nothing = np.empty(0, dtype=np.int32)

        def count(low: int, high: int) -> None:
            fill_tiles(busy[low:high], sizes[low:high], False, np.empty((0, 2), np.int64), nothing, nothing, *parts)

        _share_out(count, len(busy), 256, threads)
        pixel_firsts = np.concatenate([[0], np.cumsum(1 << 2 * fineness.astype(np.int64))])
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        if max(pixel_firsts[-1], offsets[-1], len(xy) * 4) >= 2**31 - 2:
            raise Invalid(
                f"an index of {len(shapes):,} polygons with {len(xy):,} vertices is too large",
                f"{len(shapes):,} 个面、{len(xy):,} 个顶点，索引过大",
                mend="take them in parts, or simplify them",
                mend_zh="请分批处理或简化面边界",
            )
        tiles = pixel_firsts[:-1] * 8 + fineness.astype(np.int64)
        pixels = np.empty(pixel_firsts[-1] + 1, dtype=np.int32)
        pixels[pixel_firsts[:-1]] = cover  # of tiles without edges
        pixels[-1] = OUTSIDE
        records = np.empty(offsets[-1], dtype=np.int32)
        where = np.column_stack([offsets[:-1], pixel_firsts[busy]])

        def fill(low: int, high: int) -> None:
            fill_tiles(busy[low:high], sizes[low:high], True, where[low:high], pixels, records, *parts)

        _share_out(fill, len(busy), 256, threads)
        return cls(
            count=len(shapes),
            crs=None if polygons.crs is None else polygons.crs.to_wkt(),
            x0=x0,
            y0=y0,
            per_tile=per_tile,
            columns=columns,
            rows=rows,
            tiles=tiles,
            pixels=pixels,
            records=records,
            xy=xy,
        )

    def locate(self, x: Floats, y: Floats, *, threads: int | None = None) -> Ints:
        """The row of the polygon that each point lies in, OUTSIDE where there is none; also for what is no number.

        x, y : of equal length, in the system of the polygons. ``threads``: None for as many as there are cores.
        """
        x, y = (np.ascontiguousarray(axis, dtype=np.float64) for axis in (x, y))
        if x.shape != y.shape or x.ndim != 1:
            raise ValueError("x and y must be of the same length")
        found = np.empty(len(x), dtype=np.int32)

        def work(low: int, high: int) -> None:
            look_up(x[low:high], y[low:high], found[low:high], *self._kernel)

        _share_out(work, len(x), CHUNK, threads)
        return found

    @property
    def _kernel(self) -> tuple[Any, ...]:
        grid = (self.x0, self.y0, self.per_tile, self.columns, self.rows)
        return *grid, *(getattr(self, name) for name in _ARRAYS)

    @property
    def nbytes(self) -> int:
        """Memory of the index."""
        return sum(getattr(self, name).nbytes for name in _ARRAYS)

    def save(self, folder: Path) -> None:
        """Write the index to a folder, which is there whole or not at all; one that is there is replaced."""
        folder = Path(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            for name in _ARRAYS:
                np.save(new / f"{name}.npy", getattr(self, name))
            facts = {name: getattr(self, name) for name in _FACTS}
            (new / "locator.json").write_text(json.dumps({"format": FORMAT, **facts}), encoding="utf-8")
            if folder.exists():
                shutil.rmtree(folder)
            new.rename(folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)

    @classmethod
    def load(cls, folder: Path) -> Locator:
        """A saved index; its arrays stay on disk and are shared by all processes that read them.

        Raises UnfitFile for a folder that holds none, or one of another format.
        """
        folder = Path(folder)
        try:
            facts = json.loads((folder / "locator.json").read_text(encoding="utf-8"))
            known = facts.pop("format") == FORMAT and facts.keys() == set(_FACTS)
            arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS} if known else {}
        except (OSError, ValueError, KeyError) as error:
            raise _no_index(folder, str(error)) from None
        if not known:
            raise _no_index(folder, "another format")
        return cls(**facts, **arrays)


_ARRAYS = ("tiles", "pixels", "records", "xy")
_FACTS = tuple(field.name for field in fields(Locator) if field.name not in _ARRAYS)


def _no_index(folder: Path, why: str) -> UnfitFile:
    return UnfitFile(
        f"{folder.name} is no index of polygons: {why}",
        f"{folder.name} 不是可用的面索引：{why}",
        mend="make it anew with Locator.of(…).save(…)",
        mend_zh="请重新生成",
        file=folder,
    )


def _share_out(work: Callable[[int, int], None], many: int, chunk: int, threads: int | None) -> None:
    """Call work(low, high) on all of ``range(many)``, on several threads where that is worth it.

    The kernels let go of Python's lock; a pool of Numba's own could not be entered by two requests at once.
    """
    threads = threads or len(os.sched_getaffinity(0))
    if threads == 1 or many <= chunk:
        work(0, many)
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, low, min(low + chunk, many)) for low in range(0, many, chunk)]:
            done.result()


# ── polygons ────────────────────────────────────────


def _refuse_unfit(polygons: gpd.GeoSeries, shapes: NDArray[np.object_]) -> None:
    if polygons.crs is not None and polygons.crs.is_geographic:
        raise Invalid(
            f"the polygons are in degrees ({polygons.crs.name})",
            f"面坐标为经纬度（{polygons.crs.name}）",
            mend="bring them into a projected system, in metres: polygons.to_crs(…)",
            mend_zh="请先转换到以米为单位的投影坐标系",
        )
    kinds = shapely.get_type_id(shapes)
    bad = np.flatnonzero(~np.isin(kinds, (3, 6)) | shapely.is_empty(shapes) | ~shapely.is_valid(shapes))
    if not len(shapes) or len(bad):
        row = int(bad[0]) if len(bad) else 0
        label = polygons.index[row] if len(bad) else ""
        why = "there are no polygons"
        if len(bad):
            shape = shapes[row]
            why = "is missing" if shape is None else "is empty" if shape.is_empty else f"is a {shape.geom_type}"
            why = shapely.is_valid_reason(shape) if kinds[row] in (3, 6) and not shape.is_empty else why
            why = f"row {row} ({label}): {why}" + (f"; {len(bad):,} such" if len(bad) > 1 else "")
        raise Invalid(
            f"no index can be made: {why}",
            f"无法建立索引：{why}",
            mend="leave such rows out, or mend them (shapely.make_valid; QGIS: Fix geometries)",
            mend_zh="请剔除或修复这些面（QGIS：修正几何图形）",
            row=row,
        )


def _refuse_far(largest: float) -> float:
    if not largest < FARTHEST:
        raise Invalid(
            f"coordinates of {largest:.3g} are too large to be metres",
            f"坐标值 {largest:.3g} 过大，不是以米为单位的坐标",
            mend="look at the system that the polygons are in",
            mend_zh="请检查面的坐标系",
        )
    return largest


def _rings(shapes: NDArray[np.object_]) -> tuple[Floats, NDArray[np.int64], Ints]:
    """Vertices of all rings, where each ring ends, and of which row it is."""
    parts, row = shapely.get_parts(shapes, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    xy = shapely.get_coordinates(rings)
    ends = np.cumsum(shapely.get_num_coordinates(rings))
    return np.ascontiguousarray(xy), ends.astype(np.int64), row[part].astype(np.int32)


def _fineness(tile_firsts: NDArray[np.int64], lengths_m: Floats, side: float, memory_mb: int) -> NDArray[np.int8]:
    """k of each tile: the more of it the edges take, the more pixels."""
    total = np.concatenate([[0.0], np.cumsum(lengths_m)])
    inside_m = total[tile_firsts[1:]] - total[tile_firsts[:-1]]
    share = MIXED_SHARE
    while True:
        # Each edge is listed by both its polygons, so that half of the length is that of borders.
        wanted = np.log2(np.maximum(inside_m / 2 * 1.3 / side / share, 1.0))
        k: NDArray[np.int8] = np.minimum(np.ceil(wanted), FINEST).astype(np.int8)
        k[np.diff(tile_firsts) == 0] = 0
        if (4.0 ** k[np.diff(tile_firsts) > 0]).sum() * 4 <= memory_mb * 1e6 / 2 or k.max() == 0:
            return k
        share *= 1.5
