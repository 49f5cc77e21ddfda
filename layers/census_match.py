"""Matching the rows of a census with the inventory, and comparing them: by code, by key, by place; field by field."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from sqlalchemy import Connection

from gis.crs import city_crs
from gis.db import query, read_columns
from gis.errors import unfit
from gis.formats import read_vector
from gis.layer import read_geoframe
from grids.areas import AREAS
from grids.city import City
from layers.census_mapping import CensusMapping
from layers.census_places import Classes, Places, Spots, near_in_file, near_in_inventory, nearest_pairs
from layers.census_rows import Known
from layers.census_rules import MOST_KEPT, Findings

Progress = Callable[[str, float], None]
SAME_M = 0.002  #: two steps of the lattice: not moved
FAR_M = 50.0
SHIFT_M, ALIKE = 0.5, 0.8  #: a shift is told when this share of the matched rows moved alike, by so much or more
SHIFT_ROWS = 20
HULL_M = 50.0
MOST_GONE = 0.5  #: share of a class from which on its end is told
ROOM = 1_000  #: serials that may lie free before a code


@dataclass
class Rows:
    """What is kept of every row outside of the database: 29 bytes each."""

    layer: NDArray[np.int16]
    row: NDArray[np.int64]
    kind: NDArray[np.int32]  #: number of the class, -1: none
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    keyed: NDArray[np.bool_]
    coded: NDArray[np.bool_]
    error: NDArray[np.bool_]


@dataclass
class Run:
    """One run over one file."""

    conn: Connection
    city: City
    mapping: CensusMapping
    edition: str
    table: pd.DataFrame  #: of the classes of the edition
    known: Known
    classes: Classes
    places: Places
    found: Findings
    progress: Progress
    codes: list[str] = field(default_factory=list)  #: of classes, by number
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, key: str) -> Iterator[None]:
        """Time a stage."""
        started = time.monotonic()
        yield
        self.seconds[key] = self.seconds.get(key, 0.0) + time.monotonic() - started


def match(run: Run, rows: Rows) -> None:
    """Match by code and by key; what is wrong with codes and keys as a whole."""
    conn = run.conn
    conn.execute(query("layers", "match_census_by_code"))
    conn.execute(query("layers", "match_census_by_key"))
    _refuse(run, rows, "code_retired", conn.execute(query("layers", "census_codes_retired")).scalars().all())
    _refuse(run, rows, "code_duplicate", conn.execute(query("layers", "census_codes_repeated")).scalars().all())
    _refuse(run, rows, "key_duplicate", conn.execute(query("layers", "census_keys_repeated")).scalars().all())
    _refuse(run, rows, "key_taken", conn.execute(query("layers", "census_keys_taken")).scalars().all())
    run.progress("matched by code and key | 已按编码与主键匹配", 0.65)


def _refuse(run: Run, rows: Rows, rule: str, ns: Any, en: list[str] | None = None, zh: list[str] | None = None) -> None:
    """The rows have an error that only the whole file shows."""
    if len(ns):
        rows.error[np.asarray(ns, np.int64)] = True
        run.conn.execute(query("layers", "refuse_census_rows"), {"ns": list(ns)})
        _tell(run, rule, ns, en, zh)


def _tell(run: Run, rule: str, ns: Any, en: list[str] | None = None, zh: list[str] | None = None) -> None:
    """Findings at rows that are staged already."""
    kept = [int(n) for n in ns[: run.found.room(rule)]]
    frame = read_geoframe(run.conn, query("layers", "census_rows"), run.city.srid, ns=kept)
    field = "code" if rule.startswith("code") else "key" if rule.startswith("key") else "geometry"
    values = frame["code" if field == "code" else "source_key"].tolist() if field != "geometry" else None
    run.found.keep(rule, frame, len(ns), field=field, values=values, en=en, zh=zh)


def near(run: Run, rows: Rows) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """What stands within its class's accuracy of another; each row's place in the inventory, and the inventory."""
    within = np.array([run.classes.accuracy_m[code] for code in run.codes])
    spots = Spots(x=rows.x, y=rows.y, kind=np.where(rows.error, -1, rows.kind).astype(np.int32))
    at, other, metres = near_in_file(spots, within)
    pairs = list(zip(metres[:MOST_KEPT].tolist(), other[:MOST_KEPT].tolist(), strict=True))
    names = [layer.name if len(run.mapping.layers) > 1 else None for layer in run.mapping.layers]
    of = [(f" of {name}", f"图层 {name} ") if name else ("", "") for name in names]
    words = [f"{m:.2f} m from row {rows.row[o]}{of[rows.layer[o]][0]}" for m, o in pairs]
    words_zh = [f"距{of[rows.layer[o]][1]}第 {rows.row[o]} 行 {m:.2f} 米" for m, o in pairs]
    _tell_if(run, "near_in_file", at, words, words_zh)
    run.progress("compared with each other | 已相互比对", 0.7)
    classes = [run.codes[kind] for kind in np.unique(rows.kind[rows.kind >= 0])]
    numbers = np.array([run.codes.index(code) for code in classes], dtype=np.int32)
    inventory = read_columns(run.conn, query("layers", "census_inventory"), classes=classes)
    inventory["kind"] = numbers[inventory["kind"].to_numpy(int)] if len(inventory) else inventory["kind"]
    own = np.full(len(rows.x), -1, dtype=np.int64)
    matches = read_columns(run.conn, query("layers", "census_matches"))
    ids = inventory["id"].to_numpy(np.int64)
    if len(ids) and len(matches):
        place = np.minimum(np.searchsorted(ids, matches["id"].to_numpy(np.int64)), len(ids) - 1)
        good = ids[place] == matches["id"].to_numpy(np.int64)
        own[matches["n"].to_numpy(np.int64)[good]] = place[good]
    return own, inventory


def _tell_if(run: Run, rule: str, ns: Any, en: list[str], zh: list[str]) -> None:
    if len(ns):
        _tell(run, rule, ns, en, zh)


def match_by_place(
    run: Run, rows: Rows, own: NDArray[np.int64], inventory: pd.DataFrame
) -> tuple[list[int], list[int]]:
    """Match the rest by nearness; the rows that stay undecided, and the components that they may mean."""
    # at the very place of one of its class it is that one: the same file again makes nothing new
    reach = np.array([SAME_M if layer.match_m is None else layer.match_m for layer in run.mapping.layers])
    there = Spots(
        x=inventory["x"].to_numpy(float), y=inventory["y"].to_numpy(float), kind=inventory["kind"].to_numpy(np.int32)
    )
    keyed = inventory["keyed"].to_numpy(bool)
    shared = run.conn.execute(query("layers", "census_keys_shared")).all()
    undecidable = np.unique(np.array([row.n for row in shared], dtype=np.int64))
    unsure: list[NDArray[np.int64]] = [undecidable]
    for with_key in (True, False):
        waiting = (own < 0) & ~rows.coded & (rows.keyed == with_key) & ~rows.error
        waiting[undecidable] = False
        free = np.ones(len(inventory), dtype=bool)
        free[own[own >= 0]] = False
        if with_key:
            free &= ~keyed  # of another key it is another thing
        within = np.where(waiting, reach[rows.layer], np.nan)
        kinds = np.where(free, there.kind, -1).astype(np.int32)
        spots = Spots(x=rows.x, y=rows.y, kind=np.where(waiting, rows.kind, -1).astype(np.int32))
        row, component, undecided = nearest_pairs(spots, Spots(x=there.x, y=there.y, kind=kinds), within)
        own[row] = component
        unsure.append(undecided)
        pairs = {"ns": row.tolist(), "ids": inventory["id"].to_numpy(np.int64)[component].tolist()}
        run.conn.execute(query("layers", "match_census_by_place"), pairs)
    run.conn.execute(query("layers", "stage_census_matches"))
    ambiguous = np.unique(np.concatenate(unsure))
    maybe: set[int] = set()
    if len(ambiguous):
        metres = reach[rows.layer[ambiguous]]
        tree = shapely.STRtree(np.asarray(shapely.points(there.x, there.y)))
        at, near = tree.query(shapely.points(rows.x[ambiguous], rows.y[ambiguous]), "dwithin", distance=metres)
        same = there.kind[near] == rows.kind[ambiguous[at]]
        maybe = set(inventory["id"].to_numpy(np.int64)[near[same]].tolist()) | {row.id for row in shared}
        many = np.bincount(at[same], minlength=len(ambiguous))
        said, by_key = list(zip(many.tolist(), metres.tolist(), strict=True)), set(undecidable.tolist())
        _tell(
            run,
            "ambiguous",
            ambiguous,
            [
                "several components have its key" if n in by_key else f"{count} components within {m:g} m"
                for n, (count, m) in zip(ambiguous[:MOST_KEPT].tolist(), said[:MOST_KEPT], strict=True)
            ],
            [
                "有多个部件使用该主键" if n in by_key else f"{m:g} 米内有 {count} 个部件"
                for n, (count, m) in zip(ambiguous[:MOST_KEPT].tolist(), said[:MOST_KEPT], strict=True)
            ],
        )
    within = np.array([run.classes.accuracy_m[code] for code in run.codes])
    fresh = np.where(rows.error | (own >= 0), -1, rows.kind).astype(np.int32)
    fresh[ambiguous] = -1
    at, component, metres = near_in_inventory(Spots(x=rows.x, y=rows.y, kind=fresh), there, own, within)
    if len(at):
        ids = inventory["id"].to_numpy(np.int64)[component[: run.found.room("near_in_inventory")]].tolist()
        found = {row.id: row.code for row in run.conn.execute(query("layers", "codes_of_components"), {"ids": ids})}
        pairs_said = list(zip((found[i] for i in ids), metres.tolist(), strict=False))
        words = [f"{m:.2f} m from {code}" for code, m in pairs_said]
        _tell(run, "near_in_inventory", at, words, [f"距 {code} {m:.2f} 米" for code, m in pairs_said])
    run.progress("matched by place | 已按位置匹配", 0.75)
    return ambiguous.tolist(), sorted(maybe)


# ── comparing ────────────────────────────────────────


def compare(run: Run, rows: Rows, path: Path, ambiguous: list[int], unsure: list[int], inventory: pd.DataFrame) -> Any:
    """Field by field against the inventory; what is gone inside the surveyed extent. Returns that extent or None."""
    conn = run.conn
    if any(layer.base is not None for layer in run.mapping.layers):
        conn.execute(query("layers", "match_census_bases"))
    conn.execute(query("layers", "compare_census"), {"same_m": SAME_M})
    conn.execute(query("layers", "stage_census_compared"))
    _refuse_edited(run, rows)
    beyond = conn.execute(query("layers", "census_codes_far"), {"room": ROOM}).scalars().all()
    if beyond:
        _tell(run, "code_far", beyond)
    far = conn.execute(query("layers", "census_moved_far"), {"far_m": FAR_M}).all()
    if far:
        metres = [row.moved_m for row in far]
        _tell(run, "moved_far", [row.n for row in far], [f"{m:.1f} m" for m in metres], [f"{m:.1f} 米" for m in metres])
    _tell_shifts(run)
    surveyed = _extent(run, rows, path)
    if surveyed is not None:
        classes = {run.codes[kind] for kind in np.unique(rows.kind[(rows.kind >= 0) & ~rows.error])}
        held = _held(run, classes)
        which = {"classes": sorted(classes - held), "surveyed": shapely.to_wkb(surveyed, include_srid=True)}
        conn.execute(query("layers", "find_census_gone"), {**which, "unsure": unsure})
        _tell_gone(run, which)
    run.progress("compared with the inventory | 已与现有部件比对", 0.85)
    return surveyed


def _refuse_edited(run: Run, rows: Rows) -> None:
    """Refuse rows that would take back what others have changed since the file was exported."""
    edited = run.conn.execute(query("layers", "census_edited")).all()
    zone = ZoneInfo(run.city.timezone)
    when = [f"{row.at.astimezone(zone):%Y-%m-%d %H:%M}" for row in edited]
    _refuse(
        run,
        rows,
        "edited_since",
        [row.n for row in edited],
        [f"by {row.actor}, {at}" for row, at in zip(edited, when, strict=True)],
        [f"{row.actor}，{at}" for row, at in zip(edited, when, strict=True)],
    )
    if edited:
        run.conn.execute(query("layers", "drop_census_edited"), {"ns": [row.n for row in edited]})


def _held(run: Run, classes: set[str]) -> set[str]:
    """Classes of which a refused row may be that matches nothing: it may be what seems to be gone."""
    named = set(run.conn.execute(query("layers", "census_refused_classes")).scalars())
    held = classes if None in named else classes & named
    if held:
        _tell_classes(run, "gone_unknown", {code: ("", "") for code in sorted(held)})
    return held


def _tell_gone(run: Run, which: dict[str, Any]) -> None:
    """Tell classes of which most would be gone."""
    gone = {row.class_code: row.rows for row in run.conn.execute(query("layers", "census_gone_counts"))}
    sizes = {row.class_code: row.components for row in run.conn.execute(query("layers", "census_class_sizes"), which)}
    many = {code: (gone[code], size) for code, size in sizes.items() if gone.get(code, 0) > max(MOST_GONE * size, 20)}
    _tell_classes(
        run,
        "gone_many",
        {code: (f"{n:,} of {size:,}", f"{size:,} 个中的 {n:,} 个") for code, (n, size) in many.items()},
    )


def _tell_classes(run: Run, rule: str, said: dict[str, tuple[str, str]]) -> None:
    """A finding about each class, with its words in English and Chinese."""
    if said:
        frame = pd.DataFrame({"row": None, "code": None, "class_code": list(said), "geometry": None, "layer": ""})
        words = list(said.values())
        run.found.keep(rule, frame, len(said), en=[en for en, _ in words], zh=[zh for _, zh in words])


def _tell_shifts(run: Run) -> None:
    """Whether nearly all matched rows of a layer are moved alike: a wrong system."""
    shifts = read_columns(run.conn, query("layers", "census_shifts"))
    for layer in shifts["layer"].unique().tolist():
        of = shifts[shifts["layer"] == layer]
        east, north = float(of["east_m"].median()), float(of["north_m"].median())
        off = np.hypot(of["east_m"] - east, of["north_m"] - north)
        size = float(np.hypot(east, north))
        if len(of) < SHIFT_ROWS or size < SHIFT_M or (off <= 0.1 * size).mean() < ALIKE:
            continue
        frame = pd.DataFrame({"row": [None], "code": None, "class_code": None, "geometry": None})
        name = run.mapping.layers[layer].name or ""
        en = f"{east:+.2f} m east, {north:+.2f} m north; a datum or GCJ-02 that was not declared?"
        zh = f"东 {east:+.2f} 米，北 {north:+.2f} 米；是否未声明基准面或 GCJ-02？"
        run.found.keep("shifted", frame.assign(layer=name), 1, field="geometry", en=en, zh=zh)


def _extent(run: Run, rows: Rows, path: Path) -> Any:
    """The surveyed extent as a MultiPolygon in the city's system; None when it is not stated."""
    wanted = run.mapping.extent
    if wanted is None:
        return None
    shape: Any
    if wanted == "hull":
        good = np.isfinite(rows.x) & ~rows.error
        shape = shapely.buffer(
            shapely.convex_hull(shapely.multipoints(np.column_stack([rows.x, rows.y])[good])), HULL_M
        )
    elif isinstance(wanted, Path):
        frame = read_vector(wanted)
        shapes = np.asarray(frame.to_crs(city_crs(run.city.srid)).geometry.array, dtype=object)
        broken = np.flatnonzero(~shapely.is_valid(shapes) & ~shapely.is_missing(shapes))
        if len(broken):
            raise unfit(
                wanted,
                f"is no extent: row {broken[0] + 1} crosses itself ({shapely.is_valid_reason(shapes[broken[0]])})",
                f"不能作为调查范围：第 {broken[0] + 1} 行自相交",
                mend="QGIS: Fix geometries",
                mend_zh="QGIS：修正几何图形",
                row=int(broken[0]) + 1,
                field="geometry",
            )
        shape = shapely.union_all(shapes[shapely.get_dimensions(shapes) == 2])
    else:
        areas = AREAS.read(run.conn, run.city.srid)
        codes = set(areas.loc[areas["code"].str.len() == 6, "code"]) if wanted == "areas" else set(wanted)
        strange = sorted(codes - set(areas["code"]))
        if strange:
            raise unfit(
                run.mapping.path,
                f"names an extent that is no area: {strange[0]}",
                f"中的调查范围 {strange[0]} 不是行政区划",
                mend="give codes of districts, streets or communities",
                mend_zh="请给出区、街道或社区的编码",
                field="extent",
            )
        shape = shapely.union_all(areas.geometry[areas["code"].isin(list(codes))])
    polygons = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]
    if not polygons:
        raise unfit(
            run.mapping.path,
            "names an extent without area",
            "中的调查范围没有面积",
            mend="name a file with polygons",
            mend_zh="请指定含面的文件",
            field="extent",
        )
    return shapely.set_srid(shapely.MultiPolygon(polygons), run.city.srid)
