"""A made-up place of two streets, four communities and sixteen cells, small enough to check by eye.

The corner is at (500 000, 3 600 000) in EPSG:4545; x to the east. Each community is 200 m × 200 m with four cells
of 100 m × 100 m; streets 610999001 (west half) and 610999002 (east half). A zone lies over the north-east corner.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
from shapely import Point, box

from cases.calendar import read_calendar_file
from grids.city import City

WEST_M, SOUTH_M = 500_000.0, 3_600_000.0
SRID = 4545
COMMUNITIES = {"610999001001": (0, 0), "610999001002": (0, 200), "610999002001": (200, 0), "610999002002": (200, 200)}
HOME = Path(__file__).resolve().parents[1]


def at(east_m: float, north_m: float) -> tuple[float, float]:
    """The coordinates so many metres east and north of the hamlet's corner."""
    return WEST_M + east_m, SOUTH_M + north_m


def square(east_m: float, north_m: float, side_m: float, height_m: float | None = None) -> Any:
    """A rectangle with its corner so many metres from the hamlet's corner."""
    x, y = at(east_m, north_m)
    return box(x, y, x + side_m, y + (height_m or side_m))


def hamlet() -> tuple[City, dict[str, Any]]:
    """The hamlet's profile and the frames that a city's source hands to the loader."""
    city = City(
        id="hamlet",
        code="6109",
        name_zh="试验村",
        name_en="Hamlet",
        srid=SRID,
        timezone="Asia/Shanghai",
        edition="hamlet",
        simulated=True,
        tolerance_m=20.0,
        border_tolerance_m=10.0,
        folder=HOME / "data" / "hamlet",
        profile={"id": "hamlet", "valid_from": date(2026, 1, 1)},
    )
    frames = {
        "areas": _areas(),
        "barriers": _barriers(),
        "cells": _cells(),
        "responsibility": pd.DataFrame(
            {
                "code": "R1",
                "name_zh": "责任网格一",
                "name_en": "Beat 1",
                "cell_code": ["610999001001001", "610999001001002"],
                "collector_code": "K1",
            }
        ),
        "units": _units(),
        "collectors": pd.DataFrame(
            {
                "code": ["K1"],
                "name_zh": ["监督员甲"],
                "name_en": ["Collector A"],
                "unit_code": ["CENTRE"],
            }
        ),
        "majors": pd.DataFrame(
            {"code": ["C01", "E01"], "name_zh": ["公用设施", "市容环境"], "name_en": ["utilities", "appearance"]}
        ),
        "classes": pd.DataFrame(
            {
                "code": ["C0101", "C0137", "E0101", "E0102"],
                "name_zh": ["供水井盖", "路灯", "私搭乱建", "暴露垃圾"],
                "name_en": ["water cover", "street lamp", "illegal construction", "exposed refuse"],
                "geometry_type": ["Point", "Point", None, None],
                "accuracy_class": ["A", "A", None, None],
                "never_on": [[], [], [], []],
                "attribute_schema": [{}, {}, {}, {}],
                "source": "made up",
            }
        ),
        "conditions": pd.DataFrame(
            {
                "class_code": ["C0101", "E0102", "E0102"],
                "no": [1, 1, 2],
                "condition_zh": ["缺失", "道路两侧", "广场"],
                "condition_en": ["missing", "beside a street", "on a square"],
                "limit_value": [2.0, 4.0, 1.0],
                "limit_basis": ["urgent_hour", "work_hour", "work_day"],
                "closing_result_zh": ["恢复", "清除", "清除"],
                "roles": "",
                "source": "made up",
            }
        ),
        "components": _components(),
        "rules": _rules(),
        "calendar": read_calendar_file(HOME / "data" / "ankang" / "calendar.csv")[0],
        "reports": _reports(),
        "findings": [],
    }
    return city, frames


def _areas() -> gpd.GeoDataFrame:
    rows = [("6109", square(0, 0, 400)), ("610999", square(0, 0, 400))]
    rows += [("610999001", square(0, 0, 200, 400)), ("610999002", square(200, 0, 200, 400))]
    rows += [(code, square(east, north, 200)) for code, (east, north) in COMMUNITIES.items()]
    codes = [code for code, _ in rows]
    names = {"name_zh": [f"区域{code}" for code in codes], "name_en": [f"Area {code}" for code in codes]}
    frame = pd.DataFrame({"code": codes, **names, "data_source": "made up"})
    return gpd.GeoDataFrame(frame, geometry=[shape for _, shape in rows], crs=SRID)


def _barriers() -> gpd.GeoDataFrame:
    frame = {"kind": ["green"], "grade": [None], "name_zh": ["园"], "name_en": ["Green"], "width_m": [None]}
    return gpd.GeoDataFrame({**frame, "data_source": "made up"}, geometry=[square(10, 10, 30)], crs=SRID)


def _cells() -> gpd.GeoDataFrame:
    rows = []
    for code, (east, north) in COMMUNITIES.items():
        corners = [(0, 100), (100, 100), (0, 0), (100, 0)]
        rows += [(f"{code}{n:03}", square(east + e, north + s, 100)) for n, (e, s) in enumerate(corners, start=1)]
    frame = pd.DataFrame({"code": [code for code, _ in rows], "area_class": "A"})
    return gpd.GeoDataFrame(frame, geometry=[shape for _, shape in rows], crs=SRID)


def _units() -> pd.DataFrame:
    rows = [
        ("CENTRE", "supervision_centre", None, None),
        ("DISTRICT", "district", None, "610999"),
        ("WEST", "street_office", "DISTRICT", "610999001"),
        ("EAST", "street_office", "DISTRICT", "610999002"),
        ("WATER", "professional_department", "DISTRICT", None),
        ("LAMPS", "maintainer", "DISTRICT", None),
        ("POWER", "owner", "DISTRICT", None),
        ("STATION", "professional_department", "DISTRICT", None),
    ]
    frame = pd.DataFrame(rows, columns=["code", "kind", "parent_code", "area_code"])
    return frame.assign(name_zh=frame["code"] + "（示例）", name_en=frame["code"] + " (example)")


def _components() -> gpd.GeoDataFrame:
    frame = pd.DataFrame(
        {
            "code": ["6109990101000001", "6109990137000001", "6109990137000002"],
            "class_code": ["C0101", "C0137", "C0137"],
            "name_zh": ["供水井盖", "路灯", "路灯"],
            "supervising_unit": ["WATER", None, None],
            "owner_unit": [None, "POWER", "POWER"],
            "maintainer_unit": [None, "LAMPS", None],
            "state": "intact",
            "surveyed_on": [date(2025, 5, 1), None, None],
            "data_source": "made up",
            "attrs": [{"材质": "铸铁"}, {}, {}],
        }
    )
    return gpd.GeoDataFrame(frame, geometry=[Point(at(50, 50)), Point(at(150, 50)), Point(at(250, 50))], crs=SRID)


def _rules() -> pd.DataFrame:
    rows = [
        ("W1", "C01", None, "", "unit:WATER", None),
        ("G1", "E01", None, "", "street|district", None),
        ("G2", "E0102", 2, "", "unit:WATER|street", None),
        ("G3", "E0102", None, "610999001002", "district|street", None),
        ("Z1", "E", None, "", "unit:STATION", square(300, 300, 100)),
    ]
    frame = pd.DataFrame(rows, columns=["code", "class_prefix", "condition_no", "area_prefix", "roles", "zone"])
    return frame.assign(condition_no=frame["condition_no"].astype("Int64"), source_document="made up", source_on=None)


def _reports() -> pd.DataFrame:
    """Four good reports, and one of each kind that must be refused."""
    noon = pd.Timestamp("2026-03-02T04:00:00Z")
    rows = [
        ("good-1", "E0102", None, *at(50, 150), noon),
        ("good-2", "E0102", 2, *at(350, 350), noon),
        ("good-3", "C0137", None, *at(150, 50), noon),
        ("good-4", "E0101", None, *at(205, 50), noon),
        ("outside", "E0102", None, *at(50, -500), noon),
        ("no-place", "E0102", None, float("nan"), float("nan"), noon),
        ("swapped", "E0102", None, SOUTH_M, WEST_M, noon),
        ("unknown-class", "E9999", None, *at(50, 50), noon),
        ("unknown-condition", "E0102", 9, *at(50, 50), noon),
        ("no-time", "E0102", None, *at(50, 50), pd.NaT),
    ]
    frame = pd.DataFrame(rows, columns=["key", "class_code", "condition_no", "x", "y", "reported_at"])
    frame["condition_no"] = frame["condition_no"].astype("Int64")
    frame["component_code"] = [None, None, "6109990137000001", *[None] * 7]
    empty = dict.fromkeys(
        ("due_at", "dispatched_at", "inspected_at", "disposed_at", "closed_at"),
        pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us, UTC]"),
    )
    texts = dict.fromkeys(("address", "description", "note", "unit_label", "area_label"))
    return frame.assign(
        channel="collector", srid=SRID, accuracy_m=5.0, stage="closed", data_source="made up", **empty, **texts
    )
