"""Findings: what a check of a grid found, where, how large and how grave; and the rules it goes by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import pandas as pd
import shapely

from gis.formats import write_layers

Severity = Literal["error", "warning", "note"]
GRAVITY: Mapping[str, int] = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule: how grave a breach is at most, what it is called, what it asks for."""

    severity: Severity
    en: str
    zh: str
    asks_en: str
    asks_zh: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One breach of a rule."""

    rule: str  #: a name in RULES
    severity: Severity
    code: str | None  #: the cell, or the community where no cell is (a gap)
    other: str | None  #: the other cell, or the community that holds the place
    size: float | None
    unit: str | None  #: of the size: m, m2, cells; None for a bare number
    en: str
    zh: str
    place: Any  #: shapely geometry in the city's system, where it is; None only where there is no place at all


def _rule(severity: Severity, en: str, zh: str, asks_en: str, asks_zh: str) -> Rule:
    return Rule(severity=severity, en=en, zh=zh, asks_en=asks_en, asks_zh=asks_zh)


#: In the order of a report: what must be mended first. Sources: CJ/T 213 (seven drawing principles, codes),
#: GB/T 30428.1; odd areas, compactness and spikes are measures of work well done, not of the standard.
RULES: Mapping[str, Rule] = {
    "empty": _rule(
        "error", "no polygon", "无面几何", "every cell is one polygon on the ground", "每个单元网格是地面上的一个多边形"
    ),
    "invalid_ring": _rule(
        "error",
        "invalid ring",
        "边界自相交",
        "a border does not cross or touch itself",
        "边界不得自相交或自相接",
    ),
    "several_parts": _rule(
        "error", "several parts", "多部件", "a cell is in one piece", "单元网格应为一个整体，不得由多块组成"
    ),
    "hole": _rule(
        "error",
        "hole",
        "带洞",
        "a cell has no hole, unless its community has it",
        "单元网格不得带洞，社区本身带洞的除外",
    ),
    "code_malformed": _rule(
        "error",
        "malformed code",
        "编码格式错误",
        "district 6, street 3, community 3, serial 3 (2) digits",
        "编码由区县 6 位、街道 3 位、社区 3 位、序号 3 位（旧版 2 位）组成",
    ),
    "code_digits": _rule(
        "error",
        "wrong number of digits",
        "编码位数不符",
        "all codes of a city are of one edition",
        "全市编码应采用同一版本标准的位数",
    ),
    "code_duplicate": _rule(
        "error", "duplicate code", "编码重复", "a code belongs to one cell", "一个编码只对应一个单元网格"
    ),
    "code_retired": _rule(
        "error",
        "retired code used again",
        "重复使用已停用编码",
        "a number is never used twice",
        "已停用的编码不得再次使用",
    ),
    "code_place": _rule(
        "error",
        "code disagrees with place",
        "编码与位置不符",
        "the first 12 digits are the community that holds the cell",
        "编码前 12 位应为网格所在社区",
    ),
    "astride": _rule(
        "error",
        "astride two communities",
        "跨社区",
        "a cell lies in exactly one community",
        "单元网格应完全位于一个社区之内",
    ),
    "outside": _rule(
        "error",
        "outside every community",
        "不在任何社区内",
        "a cell lies in exactly one community",
        "单元网格应完全位于一个社区之内",
    ),
    "gap": _rule("error", "gap", "空隙", "the cells of a community cover it", "社区应被单元网格完全覆盖，无空隙"),
    "overlap": _rule("error", "overlap", "重叠", "no two cells overlap", "单元网格之间不得重叠"),
    "open_border": _rule(
        "error",
        "unclosed border",
        "边界未闭合",
        "neighbours share the nodes of their border",
        "相邻网格的公共边界节点应一致",
    ),
    "sliver": _rule("error", "sliver", "狭长碎片", "no cell is a strip or a scrap", "不得出现狭长条或碎小的单元网格"),
    "building_cut": _rule(
        "warning", "building cut", "边界穿过建筑物", "a border does not cut a building", "网格边界不得穿过建筑物"
    ),
    "odd_area": _rule(
        "warning",
        "odd area",
        "面积异常",
        "a cell is about 10 000 m², between half and twice that",
        "单元网格面积约 10 000 平方米，宜在其一半至两倍之间",
    ),
    "low_compactness": _rule(
        "warning",
        "low compactness",
        "形状不紧凑",
        "a cell has a sensible shape: 4πA/P² ≥ 0.2",
        "形状宜紧凑：4πA/P² ≥ 0.2",
    ),
    "spike": _rule("warning", "spike", "尖刺", "a border does not turn back on itself", "边界不应出现尖锐回折"),
    "unshared_node": _rule(
        "note",
        "node not shared",
        "节点未共用",
        "neighbours share the nodes of their border",
        "相邻网格的公共边界节点宜一致",
    ),
    "off_lattice": _rule(
        "note",
        "not on the lattice",
        "坐标未取整",
        "coordinates are multiples of 2⁻¹⁰ m",
        "坐标应为 2⁻¹⁰ 米的整数倍",
    ),
    "numbering": _rule(
        "note",
        "numbered out of order",
        "编号次序",
        "first numbers run west to east, north to south",
        "首次编号应自西向东、自北向南",
    ),
}


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """The findings by rule (as in RULES), then code, other and place: the same grid gives the same list."""
    rank = {name: number for number, name in enumerate(RULES)}

    def key(finding: Finding) -> tuple[object, ...]:
        corner = () if finding.place is None or finding.place.is_empty else finding.place.bounds
        return rank.get(finding.rule, len(rank)), finding.code or "", finding.other or "", corner, finding.en

    return sorted(findings, key=key)


def counts(findings: Iterable[Finding]) -> pd.DataFrame:
    """One row for each rule and severity met: rule, severity, findings, en, zh; the gravest first."""
    found: dict[tuple[int, int, str, str], int] = {}
    rank = {name: number for number, name in enumerate(RULES)}
    for finding in findings:
        key = (GRAVITY[finding.severity], rank.get(finding.rule, len(rank)), finding.rule, finding.severity)
        found[key] = found.get(key, 0) + 1
    rows = [
        {"rule": rule, "severity": severity, "findings": number, "en": RULES[rule].en, "zh": RULES[rule].zh}
        for (_, _, rule, severity), number in sorted(found.items())
    ]
    return pd.DataFrame(rows, columns=["rule", "severity", "findings", "en", "zh"])


def findings_frame(findings: Sequence[Finding], crs: Any) -> gpd.GeoDataFrame:
    """The findings as a frame in the city's system: rule, severity, code, other, size, unit, en, zh, geometry."""
    columns = ["rule", "severity", "code", "other", "size", "unit", "en", "zh"]
    rows = [[getattr(finding, name) for name in columns] for finding in findings]
    frame = pd.DataFrame(rows, columns=columns)
    frame["size"] = frame["size"].astype(float)
    return gpd.GeoDataFrame(frame, geometry=[finding.place for finding in findings], crs=crs)


def write_findings(path: Path, findings: Sequence[Finding], crs: Any, *, overwrite: bool = True) -> None:
    """Write findings to a GeoPackage for QGIS: layers of points, lines and polygons, those that have rows.

    A finding whose place is of several kinds stands in the layer of the highest; one without a place has a row
    without geometry in the points. Without findings the layer of points is there and empty.
    """
    frame = findings_frame(findings, crs)
    kind = shapely.get_dimensions(frame.geometry.to_numpy())
    layers: dict[str, gpd.GeoDataFrame] = {}
    for name, dimension in (("findings_polygons", 2), ("findings_lines", 1), ("findings_points", 0)):
        rows = frame[kind <= 0] if dimension == 0 else frame[kind == dimension]
        if dimension == 0 and rows.empty and layers:
            continue
        if not rows.empty or dimension == 0:
            layers[name] = rows.set_geometry([_of_dimension(place, dimension) for place in rows.geometry], crs=crs)
    write_layers(layers, path, overwrite=overwrite)


_MULTI: Mapping[int, Any] = {0: shapely.MultiPoint, 1: shapely.MultiLineString, 2: shapely.MultiPolygon}


def _of_dimension(place: Any, dimension: int) -> Any:
    """The parts of a geometry that have this dimension, as one multi-part geometry."""
    if place is None or place.is_empty:
        return None
    parts = [part for part in _simple_parts(place) if shapely.get_dimensions(part) == dimension]
    return _MULTI[dimension](parts)


def _simple_parts(place: Any) -> list[Any]:
    if hasattr(place, "geoms"):
        return [piece for part in place.geoms for piece in _simple_parts(part)]
    if place.geom_type == "LinearRing":
        return [shapely.LineString(place.coords)]
    return [place]
