"""A whole simulated city from its folder: the frames that the loader takes, and the truth behind them.

The same folder gives the same city, bit for bit, whatever the machine has of cores. Everything invented says so in
its ``data_source`` or its name (模拟).
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from cases.simulate_reports import simulate_reports
from cases.worktime import WorkCalendar
from gis.errors import UnfitFile
from grids.cut import cut_all, fitted
from grids.simulate import simulate_ground
from grids.simulate_frame import density
from layers.simulate import simulate_layers

Progress = Callable[[str, float], None]

TABLES = (
    "areas",
    "streets",
    "classes",
    "majors",
    "conditions",
    "units",
    "duties",
    "placement",
    "demand",
    "rules",
    "calendar",
)


def read_profile(folder: Path) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """city.toml as a dict and the city's lists as frames of text, by file name without ending.

    Raises UnfitFile for a file that is missing or cannot be read.
    """
    for name in ["city.toml", *(f"{table}.csv" for table in TABLES)]:
        if not (folder / name).is_file():
            raise UnfitFile(
                f"The city's folder has no {name}.",
                f"城市数据目录缺少 {name}。",
                mend="Restore the file; the folder data/ of the project has it.",
                mend_zh="请恢复该文件（项目的 data/ 目录中有）。",
                file=folder / name,
            )
    try:
        profile = tomllib.loads((folder / "city.toml").read_text(encoding="utf-8"))
        tables = {name: pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False) for name in TABLES}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, pd.errors.ParserError) as fault:
        raise UnfitFile(
            f"A file of the city cannot be read: {fault}.", f"城市数据文件无法读取：{fault}。", file=folder
        ) from fault
    profile["simulation"]["street_names"] = tables["streets"][["name_zh", "name_en"]].to_numpy().tolist()
    return profile, tables


def simulate_city(folder: Path, progress: Progress) -> dict[str, Any]:
    """All frames of the simulated city in ``folder``, by name.

    progress : hears the stage, in words, and the share of the whole that is done, 0 … 1
    Returns areas, barriers, cells, units, collectors, responsibility, majors, classes, conditions, components, rules
    and reports as the loader wants them, "truth" (the planted hot spots) and "findings" (defects: none here beyond
    the bad places planted on purpose). Raises UnfitFile or Invalid for files no city can be made of.
    """
    profile, tables = read_profile(folder)
    plan = profile["simulation"]
    of_ground, of_layers, of_reports = np.random.default_rng(plan["seed"]).spawn(3)

    def part(low: float, high: float) -> Progress:
        return lambda stage, share: progress(stage, low + (high - low) * share)

    areas = tables["areas"].copy()
    for column in ("lon", "lat"):
        areas[column] = pd.to_numeric(areas[column])
    drawn, barriers = simulate_ground(profile, areas, of_ground, part(0.0, 0.4))
    progress("cells | 单元网格", 0.4)
    cells = cut_all(
        drawn,
        barriers,
        target_m2=profile["target_cell_m2"],
        digits=int(profile.get("cell_digits", 15)),
        progress=lambda share: progress("cells | 单元网格", 0.4 + 0.05 * share),
    )
    drawn = fitted(drawn, cells)
    cells["area_class"] = _area_classes(profile, cells)
    units, collectors, responsibility, components = simulate_layers(
        profile, tables, drawn, barriers, cells, of_layers, part(0.45, 0.75)
    )
    progress("reports | 案件", 0.75)
    calendar = WorkCalendar.read(
        folder / "calendar.csv",
        hours=[tuple(period) for period in profile["office_hours"]],
        timezone=profile["timezone"],
        day_hours=profile["working_day_hours"],
    )
    reports, truth = simulate_reports(profile, tables, drawn, barriers, components, calendar, of_reports)
    progress("done | 完成", 1.0)
    return {
        "areas": drawn,
        "barriers": barriers,
        "cells": cells,
        "units": _without_blanks(units),
        "collectors": collectors,
        "responsibility": responsibility,
        "majors": tables["majors"],
        "classes": _without_blanks(tables["classes"]),
        "conditions": _conditions(tables["conditions"]),
        "components": components,
        "rules": _rules(profile, tables["rules"], barriers, drawn),
        "reports": reports,
        "truth": truth,
        "findings": _findings(reports),
    }


def _without_blanks(frame: pd.DataFrame) -> pd.DataFrame:
    """Text columns with None where the list has nothing."""
    return frame.astype(object).where(frame != "", None)


def _conditions(table: pd.DataFrame) -> pd.DataFrame:
    frame = _without_blanks(table)
    return frame.assign(no=table["no"].astype("int64"), limit_value=pd.to_numeric(table["limit_value"]))


def _area_classes(profile: Mapping[str, Any], cells: gpd.GeoDataFrame) -> np.ndarray[Any, Any]:
    """A in the dense centres, B in the built-up city, C at its edge."""
    plan = profile["simulation"]["cells"]
    thick = density(profile, shapely.get_coordinates(shapely.centroid(np.asarray(cells.geometry.array))))
    return np.select([thick >= plan["class_a_from"], thick >= plan["class_b_from"]], ["A", "B"], default="C")


def _rules(
    profile: Mapping[str, Any], table: pd.DataFrame, barriers: gpd.GeoDataFrame, areas: gpd.GeoDataFrame
) -> gpd.GeoDataFrame:
    """The rules, with the ground of their zones: what lies within reach of the barrier the zone is named after."""
    city = areas.loc[areas["code"].str.len().idxmin()].geometry
    zones: dict[str, Any] = {"": None}
    for zone in profile["simulation"].get("rule_zone", []):
        named = barriers[(barriers["name_zh"] == zone["barrier_zh"]).to_numpy()]
        near = shapely.buffer(shapely.union_all(np.asarray(named.geometry.array)), zone["reach_m"])
        zones[zone["name"]] = shapely.intersection(near, city)
    unknown = sorted(set(table["zone"]) - set(zones))
    if unknown:
        raise UnfitFile(
            f"rules.csv names zones that city.toml does not have: {', '.join(unknown)}.",
            f"rules.csv 中的区域在 city.toml 中没有定义：{'、'.join(unknown)}。",
            file="rules.csv",
        )
    frame = table.assign(
        condition_no=pd.to_numeric(table["condition_no"].replace("", None)).astype("Int64"),
        zone=gpd.GeoSeries([zones[name] for name in table["zone"]], index=table.index, crs=profile["srid"]),
        source_on=pd.to_datetime(table["source_on"]).dt.date,
    )
    return gpd.GeoDataFrame(frame, geometry="zone", crs=profile["srid"])


def _findings(reports: pd.DataFrame) -> list[dict[str, Any]]:
    note = reports["note"].fillna("")
    outside, beyond = note.str.contains("outside of the city").sum(), note.str.contains("just beyond").sum()
    return [
        {
            "what_en": "reports with a place far outside the city",
            "what_zh": "坐标远在城区之外的上报",
            "rows": int(outside),
            "done_en": "kept as received and labelled in the note; no case",
            "done_zh": "原样保留，备注中标明，不立案",
        },
        {
            "what_en": "reports with a place just beyond the city's border",
            "what_zh": "坐标略超出城区边界的上报",
            "rows": int(beyond),
            "done_en": "kept as received and labelled in the note; a case only within the tolerance",
            "done_zh": "原样保留，备注中标明，仅容差以内立案",
        },
    ]
