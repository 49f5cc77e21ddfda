"""What happened, from a city's open data: requests become imported history; and the whole city in one call.

Nothing is faked: a time, a place, a unit or an area that the source does not give stays unknown. Every defect
that is met is counted in a finding with what was done about it.

Which clock the stamps of a file show is said in ``city.toml`` (``clock``): "city" is the wall clock of the
city's time zone, with its gaps and overlaps; "-04:00" is a clock that stands at one offset all the year.
Whatever zone the file itself writes behind its stamps (a "Z" that is not true) is put aside.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj import Transformer

from cases.reports import REPORT_COLUMNS
from gis.errors import UnfitFile
from grids.opendata import Progress, build_areas, district_codes, read_ground, read_left_out
from grids.opendata_files import Finding, Profile, finding, read_layer, read_profile
from layers.opendata import read_catalogue, read_components

COLLECTOR_COLUMNS = ["code", "name_zh", "name_en", "unit_code"]
RESPONSIBILITY_COLUMNS = ["code", "name_zh", "name_en", "cell_code", "collector_code"]
NEVER_BEFORE = pd.Timestamp("1970-01-02", tz="UTC")  #: stamps of the first day of 1970 are empty values
STEADY_PART = 100  #: rows from which the first and last day of a source file tell its window


def read_city(folder: Path, source: Path, progress: Progress) -> dict[str, object]:
    """All frames of a city from its profile (``folder``) and its open data (``source``), and "findings".

    Keys: areas, barriers, units, collectors (empty), responsibility (empty), majors, classes, conditions,
    components, rules, reports (empty without ``[requests]``), findings; columns as the loader takes them; no "cells":
    they are cut later.
    progress(stage in words, fraction 0..1). Raises UnfitFile naming file, layer and column.
    """
    progress("profile | 城市配置", 0.0)
    profile = read_profile(folder)
    progress("areas | 区划", 0.02)
    areas, findings = build_areas(profile, source)
    progress("catalogue and rules | 目录与规则", 0.3)
    frames: dict[str, Any] = dict(read_catalogue(folder, profile, areas))
    types = frames.pop("types")
    progress("ground | 地物", 0.35)
    city = areas.loc[areas["code"] == str(profile["code"]), "geometry"].iloc[0]
    barriers, met = read_ground(profile, source, city)
    findings += met
    progress("components | 部件", 0.5)
    components, met = read_components(profile, source, areas, frames["classes"])
    findings += met
    progress("requests | 案件", 0.75)
    reports = pd.DataFrame(columns=REPORT_COLUMNS, dtype=object)
    if "requests" in profile:
        districts = district_codes(profile, source)
        reports, met = read_requests(profile, source, types, set(frames["units"]["code"]), districts)
        findings += met
    progress("what is left out | 未使用的数据", 0.95)
    findings += read_left_out(profile, source)
    findings += [
        finding(known["what_en"], known["what_zh"], known["rows"], known["done_en"], known["done_zh"])
        for known in profile.get("known", [])
    ]
    progress("read | 读取完成", 1.0)
    return {
        "areas": areas,
        "barriers": barriers,
        **frames,
        "collectors": pd.DataFrame(columns=COLLECTOR_COLUMNS, dtype=object),
        "responsibility": pd.DataFrame(columns=RESPONSIBILITY_COLUMNS, dtype=object),
        "components": components,
        "reports": reports,
        "findings": findings,
    }


def read_requests(
    profile: Profile, source: Path, types: pd.DataFrame, units: set[str], districts: dict[str, str]
) -> tuple[pd.DataFrame, list[Finding]]:
    """Requests as reports that keep x, y in the system of the file (``srid``), times in UTC.

    types: table of request types; units: known unit codes; districts: label in the source → area code.
    """
    spec = profile["requests"]
    raw = _raw(spec, source)
    found: list[Finding] = []
    text = {name: _text(raw[spec[name]]) for name in ("key", "type", "type_name", "agency", "district", "status")}
    keep = text["key"].notna() & ~text["key"].duplicated()
    blank = int(text["key"].isna().sum())
    _met(found, blank, "blank rows without a request number", "没有编号的空白记录", "dropped", "删除")
    again = int((text["key"].notna() & text["key"].duplicated()).sum())
    _met(found, again, "request numbers met again", "重复出现的编号", "the first is kept", "保留第一条")
    raw, text = raw[keep], {name: column[keep] for name, column in text.items()}

    out = pd.DataFrame({"key": text["key"], "channel": spec["channel"]}, index=raw.index)
    out["class_code"], out["condition_no"], out["description"] = _classed(spec, text, types, found)
    out["component_code"] = None
    out["x"], out["y"] = shapely.get_x(raw.geometry.array), shapely.get_y(raw.geometry.array)
    out["srid"] = raw.crs.to_epsg()
    out["accuracy_m"] = np.nan
    out["address"] = _text(raw[spec["address"]])
    _placed(spec, raw, found)
    _timed(profile, raw, out, found)
    out["stage"], out["note"] = _staged(spec, text["status"], found)
    _noted(spec, raw, out, found, profile["timezone"])
    out["unit_label"] = _labelled(text["agency"], {unit: unit for unit in units}, "agency", "承办单位", found)
    out["area_label"] = _labelled(text["district"], districts, "district label", "区标签", found)
    out["data_source"] = [spec["data_source"].format(part=part) for part in raw[spec["part"]]]
    _windows(spec, raw, out, found)
    return out[REPORT_COLUMNS].reset_index(drop=True), found


def _raw(spec: dict[str, Any], source: Path) -> gpd.GeoDataFrame:
    """The file of requests with the columns the profile names; times must be times, other columns text."""
    names = ("key", "type", "type_name", "agency", "district", "address", "status", "part")
    stamps = [spec[name] for name in ("reported_at", "due_at", "closed_at", "inspected") if name in spec]
    check = [spec["check"]["x"], spec["check"]["y"]] if "check" in spec else []
    columns = [spec[name] for name in names] + stamps + check
    raw = read_layer(source, spec["file"], spec.get("layer"), columns, frozenset({"Point"}))
    wrong = [c for c in stamps if not isinstance(raw[c].dtype, pd.DatetimeTZDtype) and raw[c].dtype.kind != "M"]
    wrong += [c for c in check if raw[c].dtype.kind not in "fi"]
    if wrong or raw.crs.to_epsg() is None:
        column = ", ".join(wrong) or "geometry"
        raise UnfitFile(
            f"{spec['file']}: column {column} is not of the type that is needed (time, number, EPSG system)",
            f"{spec['file']}：列 {column} 的类型不符（应为时间、数字或 EPSG 坐标系）",
            mend="use the edition that the README beside city.toml names, or change city.toml to fit this file",
            mend_zh="请使用 city.toml 旁 README 所述的版本，或修改 city.toml 使之与该文件相符",
            file=source / spec["file"],
            field=column,
        )
    return raw


def _text(column: pd.Series) -> pd.Series:
    """Text without blanks at its ends; empty and the word NULL are missing (None)."""
    plain = column.astype("string").str.strip()
    return plain.astype(object).where(plain.notna() & ~plain.isin(["", "NULL"]), None)


def _met(found: list[Finding], rows: int, en: str, zh: str, done_en: str, done_zh: str) -> None:
    """Add a finding, if there is any row."""
    if rows:
        found.append(finding(en, zh, rows, done_en, done_zh))


def _classed(
    spec: dict[str, Any], text: dict[str, pd.Series], types: pd.DataFrame, found: list[Finding]
) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Class, condition and words of each request by its type code; an unknown type goes to the other class."""
    table = types.set_index("code")
    known = text["type"].isin(table.index)
    code = text["type"].map(table["class_code"]).where(known, spec["other_class"])
    number = text["type"].map(table["condition_no"]).astype("Int64")
    words = text["type"].map(table["name_en"]).astype(object).where(known, text["type_name"])
    words = words.where(words.notna(), None)
    _met(
        found,
        int((~known).sum()),
        f"request types that types.csv does not know: {', '.join(sorted(set(text['type_name'][~known].dropna())))}",
        "types.csv 中没有的请求类型",
        f"put in the class {spec['other_class']} (other), without a condition",
        f"归入 {spec['other_class']}（其他），不带立案条件",
    )
    _met(
        found,
        int((code == spec["other_class"]).sum()),
        f"requests in the class {spec['other_class']} (other)",
        f"归入 {spec['other_class']}（其他）的请求",
        f"kept and visible as such; {(code != spec['other_class']).mean():.2%} have a specific class",
        f"保留并单独列示；{(code != spec['other_class']).mean():.2%} 有明确小类",
    )
    misspelt = table.index[table["misspelt"].notna()]
    _met(
        found,
        int(text["type"].isin(misspelt).sum()),
        f"misspelt type: {', '.join(table.loc[misspelt, 'description'])}",
        f"拼写有误的类型：{'、'.join(table.loc[misspelt, 'description'])}",
        "shown in the right spelling; matched by its code",
        "按正确拼写显示；以代码匹配",
    )
    return code, number, words


def _placed(spec: dict[str, Any], raw: gpd.GeoDataFrame, found: list[Finding]) -> None:
    """Findings about places: none, stacked on one point, a second pair of coordinates in another datum."""
    points = np.asarray(raw.geometry.array)
    _met(
        found,
        int(shapely.is_missing(points).sum()),
        "requests without a place",
        "没有位置的请求",
        "kept without coordinates; they cannot be assigned by place",
        "保留但无坐标，不能按位置派遣",
    )
    here = pd.Series(shapely.to_wkb(points[~shapely.is_missing(points)]))
    stacked = int(here.duplicated(keep=False).sum())
    _met(
        found,
        stacked,
        f"requests that share their exact point with another ({stacked / max(len(here), 1):.1%}): address points",
        f"与其他请求坐标完全相同的请求（{stacked / max(len(here), 1):.1%}），坐标取自地址点",
        "kept as they are; the place of a request is that of its address",
        "原样保留；请求的位置即其地址点的位置",
    )
    if "check" not in spec:
        return
    check = spec["check"]
    move = Transformer.from_crs(raw.crs, check["srid"], always_xy=True)
    x, y = move.transform(shapely.get_x(points), shapely.get_y(points))
    apart_m = np.hypot(x - raw[check["x"]].to_numpy(float), y - raw[check["y"]].to_numpy(float))
    far = np.isfinite(apart_m) & (apart_m > 0.01)
    if far.any():
        low, mid, high = np.quantile(apart_m[far], [0, 0.5, 1])
        found.append(
            finding(
                f"{check['x']}/{check['y']} lie {mid:.3f} m ({low:.3f} to {high:.3f}) from the geometry: another datum",
                f"{check['x']}/{check['y']} 与几何坐标相差 {mid:.3f} 米（{low:.3f} 至 {high:.3f}）：基准不同",
                int(far.sum()),
                "the geometry is used, because the areas come in the same system; the columns are not",
                "采用几何坐标（与区划数据同一基准），不使用这两列",
            )
        )


def to_utc(stamps: pd.Series, clock: str, timezone: str) -> tuple[pd.Series, int, int]:
    """Stamps read by a clock, as UTC, with how many wall times fell in a gap and how many in an overlap.

    stamps: datetimes; a zone written behind them is put aside, not applied. clock: "city" reads them as wall
    time of ``timezone``: a time in a gap (clocks put forward) moves to the end of the gap, a time that happened
    twice is taken as the first (summer time). "+HH:MM"/"-HH:MM": a clock at that offset all the year.
    """
    bare = stamps.dt.tz_localize(None) if isinstance(stamps.dtype, pd.DatetimeTZDtype) else stamps
    offset = re.fullmatch(r"([+-])(\d\d):(\d\d)", clock)
    if offset:
        minutes = int(offset[2]) * 60 + int(offset[3])
        east = pd.Timedelta(minutes=minutes if offset[1] == "+" else -minutes)
        return (bare - east).dt.tz_localize("UTC"), 0, 0
    if clock != "city":
        raise UnfitFile(
            f"city.toml: clock is {clock!r}",
            f"city.toml：clock 的值为 {clock!r}",
            mend='write "city" or an offset such as "-04:00"',
            mend_zh='应为 "city" 或 "-04:00" 这样的时差',
            field="clock",
        )
    zone = ZoneInfo(timezone)
    first = np.ones(len(bare), dtype=bool)
    local = bare.dt.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
    second = bare.dt.tz_localize(zone, ambiguous=~first, nonexistent="shift_forward")
    gap = int((local.dt.tz_localize(None) != bare)[bare.notna()].sum())
    return local.dt.tz_convert("UTC"), gap, int((local != second)[bare.notna()].sum())


def _timed(profile: Profile, raw: gpd.GeoDataFrame, out: pd.DataFrame, found: list[Finding]) -> None:
    """reported_at, due_at, closed_at in UTC into ``out``; empty values and impossible orders are taken away."""
    spec = profile["requests"]
    gaps = overlaps = wrong = empty = 0
    for name in ("reported_at", "due_at", "closed_at"):
        at, gap, overlap = to_utc(raw[spec[name]], spec["clock"], profile["timezone"])
        zero = at < NEVER_BEFORE
        gaps, overlaps, empty = gaps + gap, overlaps + overlap, empty + int(zero.sum())
        out[name] = at.where(~zero)
        marked = raw[spec[name]]
        if isinstance(marked.dtype, pd.DatetimeTZDtype):
            wrong = max(wrong, int((out[name].notna() & (at != marked)).sum()))
    for name in ("dispatched_at", "inspected_at", "disposed_at"):
        out[name] = pd.Series(pd.NaT, index=out.index, dtype=out["closed_at"].dtype)
    by = spec["clock"] if spec["clock"] != "city" else profile["timezone"]
    _met(
        found,
        wrong,
        "stamps marked Z (UTC) that are local time",
        "标记为 Z（UTC）而实为当地时间的时间戳",
        f"read by the clock {by} and kept as UTC",
        f"按 {by} 读取并换算为 UTC",
    )
    _met(
        found,
        gaps,
        "wall times in the gap of a clock change",
        "落入夏令时跳跃空档的时间",
        "moved to its end",
        "移至空档结束时刻",
    )
    _met(
        found,
        overlaps,
        "wall times that happened twice",
        "夏令时结束时出现两次的时间",
        "taken as the first",
        "取第一次",
    )
    _met(
        found,
        empty,
        "stamps of 1 January 1970: empty values",
        "1970-01-01 的时间戳（空值）",
        "taken as unknown",
        "视为未知",
    )
    late = out["closed_at"] < out["reported_at"]
    _met(
        found,
        int(late.sum()),
        "closed before it was opened",
        "结案早于上报",
        "closing time unknown",
        "结案时间视为未知",
    )
    early = out["due_at"] < out["reported_at"]
    _met(found, int(early.sum()), "due before it was opened", "时限早于上报", "deadline unknown", "时限视为未知")
    out["closed_at"], out["due_at"] = out["closed_at"].where(~late), out["due_at"].where(~early)
    _met(
        found,
        int(out["due_at"].isna().sum()),
        "requests without a deadline",
        "没有处置时限的请求",
        "deadline unknown: they cannot be late",
        "时限未知，不计超时",
    )


def _spelling(status: str) -> str:
    """A status without what spellings differ in: case, blanks, hyphens."""
    return re.sub(r"[\s\-]+", " ", status.upper()).strip()


def _staged(spec: dict[str, Any], status: pd.Series, found: list[Finding]) -> tuple[pd.Series, pd.Series]:
    """Stage and note of each request by its status in the source."""
    stages = {_spelling(name): rule for name, rule in spec["stages"].items()}
    plain = status.map(_spelling, na_action="ignore")
    unknown = ~plain.isin(stages)
    stage = plain.map({name: rule["stage"] for name, rule in stages.items()}).astype(object)
    stage = stage.where(~unknown, "reported")
    notes = {name: f"{rule['note_zh']} / {rule['note_en']}" for name, rule in stages.items() if "note_en" in rule}
    note = plain.map(notes).astype(object)
    note = note.where(note.notna(), None)
    note = note.where(~unknown | status.isna(), "未知状态 / unknown status: " + status.astype(str))
    _met(
        found,
        int(unknown.sum()),
        f"unknown statuses: {', '.join(sorted(set(status[unknown].dropna()))) or 'none given'}",
        "未知的状态",
        "taken as reported",
        "按已上报处理",
    )
    for name, group in status.groupby(plain):
        spellings = group.value_counts()
        _met(
            found,
            int(spellings.iloc[1:].sum()),
            f"one status in {len(spellings)} spellings: {', '.join(spellings.index)}",
            f"同一状态有 {len(spellings)} 种写法：{'、'.join(spellings.index)}",
            "taken as one",
            "视为同一状态",
        )
        rule = stages.get(str(name), {})
        if rule.get("stage") in ("refused", "void"):
            _met(
                found,
                len(group),
                f"status {spellings.index[0]}",
                f"状态 {spellings.index[0]}",
                f"kept as {rule['stage']}, with a note; not an open or closed case",
                f"保留为 {rule['stage']} 并附说明，不计入在办或结案",
            )
    return stage, note


def _noted(spec: dict[str, Any], raw: gpd.GeoDataFrame, out: pd.DataFrame, found: list[Finding], timezone: str) -> None:
    """Put the day of the source's inspection, where it gives one, into the note."""
    if "inspected" not in spec:
        return
    day = raw[spec["inspected"]].dt.strftime("%Y-%m-%d")
    seen = day.notna()
    words = "现场检查 / inspected " + day[seen].astype(str)
    before = out.loc[seen, "note"].map(lambda note: f"{note}; " if isinstance(note, str) else "")
    out["note"] = out["note"].where(~seen, before + words)
    out["inspected_at"] = to_utc(raw[spec["inspected"]], spec["clock"], timezone)[0]
    _met(
        found,
        int((raw[spec["inspected"]] > raw[spec["closed_at"]]).sum()),
        "inspected after it was closed",
        "现场检查晚于结案",
        "kept: the day of the inspection is a note, it moves no stage",
        "保留：检查日期仅作说明，不影响阶段",
    )


def _labelled(label: pd.Series, known: dict[str, str], en: str, zh: str, found: list[Finding]) -> pd.Series:
    """The code that a label of the source stands for; what is missing or unknown is None and counted."""
    code = label.map(known).astype(object)
    code = code.where(code.notna(), None)
    strange = label.notna() & code.isna()
    done = ("label unknown", "标签视为未知")
    _met(found, int(label.isna().sum()), f"requests without a {en}", f"没有{zh}的请求", *done)
    names = ", ".join(sorted(set(label[strange])))
    _met(found, int(strange.sum()), f"requests with an unknown {en}: {names}", f"{zh}无法识别的请求：{names}", *done)
    return code


def _windows(spec: dict[str, Any], raw: gpd.GeoDataFrame, out: pd.DataFrame, found: list[Finding]) -> None:
    """A finding about source files that cover different days: rows outside the days all the large ones cover."""
    spans = out["reported_at"].groupby(raw[spec["part"]]).agg(["min", "max", "size"])
    large = spans[spans["size"] >= STEADY_PART]
    if large.empty:
        return
    start, end = large["min"].max(), large["max"].min()
    outside = int(((out["reported_at"] < start) | (out["reported_at"] > end)).sum())
    first, last = spans["min"].min(), spans["max"].max()
    _met(
        found,
        outside,
        f"each of {len(spans)} source files holds its own days ({first:%Y-%m-%d} to {last:%Y-%m-%d}); requests outside "
        f"the days that all large files share ({start:%Y-%m-%d} to {end:%Y-%m-%d})",
        f"{len(spans)} 个源文件的起止日期不同（{first:%Y-%m-%d} 至 {last:%Y-%m-%d}）；"
        f"不在共同时段（{start:%Y-%m-%d} 至 {end:%Y-%m-%d}）内的请求",
        "kept; counts per day or type compare only within the shared days",
        "保留；按日或按类型的数量只在共同时段内可比",
    )
