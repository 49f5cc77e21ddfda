"""The desk: reports come in, cases are opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from sqlalchemy import Connection

from gis.crs import snap, to_city
from gis.db import copy_frame, query
from gis.layer import Layer

CASES = Layer(
    name="cases",
    relation="case",
    key="no",
    geometry=("Point",),
    columns=(
        *("no", "channel", "class_code", "class_zh", "class_en", "condition_no", "component_code", "stage", "stage_zh"),
        *("reported_at", "due_at", "disposed_at", "closed_at", "cell_code", "community_code", "unit_zh", "unit_en"),
        *("basis", "resolved_by", "rule_code", "placed", "border_m", "component_m", "data_source", "simulated"),
    ),
    title_zh="案件",
    title_en="Cases",
    min_zoom=14,
)

#: What a report is, as its sender gave it; the columns of a frame of reports.
REPORT_COLUMNS = [
    "key",
    "channel",
    "class_code",
    "condition_no",
    "component_code",
    "x",
    "y",
    "srid",
    "accuracy_m",
    "address",
    "description",
    "reported_at",
    "due_at",
    "disposed_at",
    "closed_at",
    "stage",
    "note",
    "unit_label",
    "area_label",
    "data_source",
]


@dataclass(frozen=True)
class Opened:
    """What became of a batch of reports."""

    cases: int
    refused: int


def receive_reports(
    conn: Connection, reports: pd.DataFrame, srid: int, *, progress: Callable[[float], None] | None = None
) -> int:
    """Keep reports as received (REPORT_COLUMNS) with their place in the city's system ``srid``.

    A place that is none (missing, not a number, outside its system's range) is kept without a point: opening it is
    refused with the reason. A key that was received before is left as it is. Returns the new rows.
    """
    x, y = to_city(reports["x"], reports["y"], reports["srid"], srid)
    there = np.isfinite(x) & np.isfinite(y)
    points = np.full(len(reports), None, dtype=object)
    points[there] = shapely.points(snap(x[there]), snap(y[there]))
    frame = reports[REPORT_COLUMNS].copy()
    for column in ("condition_no", "srid"):
        frame[column] = frame[column].astype("Int64")
    frame["geom"] = gpd.GeoSeries(points, index=frame.index, crs=srid)
    conn.execute(query("cases", "stage_reports"))
    copy_frame(conn, frame, "staged_report", progress=progress)
    return conn.execute(query("cases", "keep_reports")).rowcount


def waiting(conn: Connection) -> int:
    """How many reports wait for a case."""
    return int(conn.execute(query("cases", "reports_waiting")).scalar_one())


def open_cases(conn: Connection, *, batch: int, actor: str, edition: str) -> Opened:
    """Assign and open the next ``batch`` reports that wait: cell, areas, unit and reason by spatial join in PostGIS.

    The caller commits; whatever happens before leaves the reports waiting.
    """
    row = conn.execute(query("cases", "open_reports"), {"batch": batch, "actor": actor, "edition": edition}).one()
    return Opened(row.opened, row.refused)


def ensure_partitions(conn: Connection) -> None:
    """Partitions for every year (and its neighbours, for zones) in which a report waits."""
    conn.execute(query("cases", "ensure_partitions"))
