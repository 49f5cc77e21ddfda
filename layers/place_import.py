"""Taking over a city's names of places (地名) from a file: read, compare, take over; a renamed one keeps its past."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from sqlalchemy import Connection

from gis.crs import snap
from gis.db import query
from gis.errors import UnfitFile
from gis.formats import read_vector
from gis.history import record_change
from gis.layer import read_geoframe
from grids.city import City
from layers.places import KINDS, derive_places, load_places

#: The columns of a file and how else people call them.
NAMES = {
    "code": ("code", "编码", "标识码", "id", "地名代码"),
    "kind": ("kind", "类型", "地名类别", "类别"),
    "name_zh": ("name_zh", "name", "名称", "地名", "标准名称", "门牌名称"),
    "name_en": ("name_en", "英文名", "英文名称"),
    "other_names": ("other_names", "别名", "曾用名", "简称"),
    "road": ("road", "道路", "所在道路", "街巷", "街巷名"),
    "number": ("number", "门牌号", "号码", "序号"),
    "data_source": ("data_source", "来源", "数据来源"),
}
KIND_WORDS = {
    word: kind
    for kind, words in {
        "area": ("区域",),
        "road": ("道路", "街巷", "路"),
        "crossing": ("路口", "交叉口"),
        "zone": ("地片", "区片", "小区"),
        "door": ("门牌", "门（楼）牌", "门楼牌"),
        "building": ("楼栋", "建筑物", "楼牌"),
        "poi": ("兴趣点", "单位", "设施"),
        "water": ("水系", "河流"),
        "green": ("绿地", "公园"),
        "rail": ("铁路",),
    }.items()
    for word in words
}
NEAR_M = 5_000.0  #: a place farther than this from the city is in another system or in another city
EXAMPLES = 12
LONGEST = 200  #: letters of a name
MOVED_M = 0.5  #: less is the same place
FIELDS = ("kind", "name_zh", "name_en", "other_names", "road", "number", "data_source")
_PARTED = re.compile(r"[;；,，、|]")


@dataclass(kw_only=True)
class PlaceReport:
    """What taking over a file of places would do, or did."""

    rows: int
    counts: dict[str, int] = field(default_factory=dict)  #: new, renamed, changed, moved, same, ended
    faults: list[tuple[int, str, str, str]] = field(default_factory=list)  #: row, field, English, Chinese
    examples: list[tuple[str, str, str]] = field(default_factory=list)  #: fate, code, what
    committed: bool = False


def import_places(
    conn: Connection,
    city: City,
    path: Path,
    *,
    complete: bool = False,
    commit: bool = False,
    actor: str,
    reason: str,
    srid: int | None = None,
) -> PlaceReport:
    """Compare a file of places with those of today and, with ``commit``, make them hold from now on.

    complete : imported places that the file does not name end (derived ones stay)
    srid     : of a file that does not say its system
    A fault in any row leaves everything as it was. Raises UnfitFile.
    """
    conn.execute(query("layers", "hold_places"))
    frame, faults = _read(conn, path, city, srid)
    report = PlaceReport(rows=len(frame), faults=faults)
    _take_over(conn, city, frame, report, complete, commit and not faults, actor, reason, path.name)
    return report


def derive_again(conn: Connection, city: City, *, actor: str) -> PlaceReport:
    """Take anew what areas and ground of today name; what they name no more ends, what is the same stays as it is."""
    conn.execute(query("layers", "hold_places"))
    frame = derive_places(conn, city.srid)
    report = PlaceReport(rows=len(frame))
    _take_over(conn, city, frame, report, True, True, actor, "places derived from areas and ground", None)
    return report


def _take_over(
    conn: Connection,
    city: City,
    frame: gpd.GeoDataFrame,
    report: PlaceReport,
    complete: bool,
    commit: bool,
    actor: str,
    reason: str,
    source: str | None,
) -> None:
    """Compare places with those of today; with ``commit`` end and begin versions at one instant."""
    now = read_geoframe(conn, query("layers", "places_now"), city.srid).to_dict("records")
    held = {row["code"]: row for row in now}
    fresh, touched = [], []
    counts = dict.fromkeys(("new", "renamed", "changed", "moved", "same", "ended"), 0)
    for row in frame.to_dict("records"):
        before = held.get(row["code"])
        if before is not None and row["derived"] and not before["derived"]:
            counts["same"] += 1  # what was imported under this name stays
            continue
        fate, what = ("new", row["name_zh"]) if before is None else _difference(before, row)
        counts[fate] += 1
        if fate != "same":
            fresh.append(row["code"])
            if before is not None:
                touched.append(row["code"])
            if len(report.examples) < EXAMPLES:
                report.examples.append((fate, row["code"], what))
    if complete and len(frame):
        derived, named = bool(frame["derived"].iloc[0]), set(frame["code"])
        gone = [code for code, row in held.items() if row["derived"] == derived and code not in named]
        counts["ended"] = len(gone)
        touched += gone
    report.counts = counts
    if commit and (fresh or touched):
        at = conn.execute(query("layers", "places_instant")).scalar_one()
        version = record_change(conn, since=at, actor=actor, reason=reason, source=source)
        conn.execute(query("layers", "end_places"), {"codes": touched, "at": at})
        load_places(conn, frame[frame["code"].isin(fresh)], version)
        report.committed = True


def _difference(before: dict[str, Any], row: dict[str, Any]) -> tuple[str, str]:
    if before["name_zh"] != row["name_zh"]:
        return "renamed", f"{before['name_zh']} → {row['name_zh']}"
    if before["geometry"] is None or row["geometry"] is None:
        return "changed", row["name_zh"]
    if shapely.hausdorff_distance(before["geometry"], row["geometry"]) > MOVED_M:
        return "moved", row["name_zh"]
    changed = [name for name in FIELDS if _same(before[name]) != _same(row[name])]
    return ("changed", f"{row['name_zh']}: {', '.join(changed)}") if changed else ("same", "")


def _same(value: Any) -> Any:
    if isinstance(value, list):
        return sorted(value)
    return None if value is None or value == "" or pd.isna(value) else value


def _read(
    conn: Connection, path: Path, city: City, srid: int | None
) -> tuple[gpd.GeoDataFrame, list[tuple[int, str, str, str]]]:
    """The rows as ``load_places`` takes them, and what is wrong with them."""
    shapes = read_vector(path, srid=srid)
    if shapes.crs is None:
        raise UnfitFile(
            f"{path.name} does not say its coordinate system",
            f"{path.name} 未说明坐标系",
            mend="give --crs, an EPSG number, 910002 for GCJ-02 or 910009 for BD-09",
            mend_zh="请用 --crs 指定：EPSG 编号，GCJ-02 为 910002，BD-09 为 910009",
            file=path,
        )
    shapes = shapes.to_crs(city.srid)
    plain = {str(name).strip().lower(): name for name in shapes.columns}
    found = {ours: next((plain[one] for one in names if one in plain), None) for ours, names in NAMES.items()}
    if found["name_zh"] is None:
        have = ", ".join(str(name) for name in shapes.columns if name != shapes.geometry.name)
        raise UnfitFile(
            f"{path.name} has no column of names; it has {have}",
            f"{path.name} 没有名称列；现有列：{have}",
            mend="call it name or 名称; docs/places.md lists the columns",
            mend_zh="请将名称列命名为 name 或 名称；docs/places.md 列出了各列",
            file=path,
            field="name",
        )
    faults: list[tuple[int, str, str, str]] = []
    rows, seen = [], set()
    ground = shapely.from_wkb(conn.execute(query("grids", "ground_of_city")).scalar_one())
    near = None if ground is None else shapely.buffer(shapely.box(*ground.bounds), NEAR_M)
    for n, (values, shape) in enumerate(zip(shapes.to_dict("records"), shapes.geometry, strict=True), start=1):
        said = {ours: None if name is None else _text(values[name]) for ours, name in found.items()}
        row = _row(n, said, shape, path, faults)
        if shape is not None and near is not None and not shape.is_empty and not shape.intersects(near):
            faults.append((n, "geometry", "lies outside of the city", "不在本市范围内"))
        if row["code"] in seen:
            faults.append((n, "code", f"the code {row['code']} occurs before", f"编码 {row['code']} 重复"))
        seen.add(row["code"])
        rows.append(row)
    frame = gpd.GeoDataFrame(rows, geometry="geometry", crs=city.srid)
    if len(frame) and frame.geometry.notna().all():
        frame["geometry"] = snap(frame.geometry)
    return frame, faults


def _row(
    n: int, said: dict[str, str | None], shape: Any, path: Path, faults: list[tuple[int, str, str, str]]
) -> dict[str, Any]:
    name = said["name_zh"] or ""
    if not name:
        faults.append((n, "name", "has no name", "没有名称"))
    if any(len(text or "") > LONGEST for text in said.values()):
        faults.append((n, "name", f"a text is longer than {LONGEST} letters", f"文字超过 {LONGEST} 个字"))
    if shape is None or shape.is_empty or not shape.is_valid:
        faults.append((n, "geometry", "has no valid geometry", "没有有效的几何"))
    kind = (said["kind"] or "").lower()
    kind = kind if kind in KINDS else KIND_WORDS.get(said["kind"] or "", "poi" if not said["kind"] else "")
    if not kind:
        known = ", ".join(KINDS)
        faults.append((n, "kind", f"{said['kind']} is no kind: {known}", f"{said['kind']} 不是有效类型：{known}"))
    number = None
    digits = re.search(r"\d{1,6}(?!\d)", said["number"] or "")
    road = said["road"]
    match = re.match(r"^(.*\D)(\d{1,5})号(?:院)?$", name)
    if kind == "door" and match and not (road and digits):
        road, number = road or match[1], int(match[2])
    elif digits:
        number = int(digits[0])
    if kind == "door" and (not road or not number):
        faults.append((n, "road", "a door needs its road and number", "门牌须有所在道路与号码"))
    return {
        "code": said["code"] or (f"door:{road}#{number}" if kind == "door" else f"{kind}:{name}"),
        "kind": kind,
        "name_zh": name,
        "name_en": said["name_en"],
        "other_names": [one.strip() for one in _PARTED.split(said["other_names"] or "") if one.strip()],
        "road": road if kind == "door" else None,
        "number": number if kind == "door" else None,
        "derived": False,
        "data_source": said["data_source"] or path.name,
        "geometry": None if shape is None else shapely.force_2d(shape),
    }


def _text(value: Any) -> str | None:
    if isinstance(value, list | tuple | np.ndarray):
        return ";".join(text for one in value if (text := _text(one))) or None
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return None
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return text.strip() or None
