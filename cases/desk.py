"""The desk: reports come in, cases are opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from sqlalchemy import Connection, func, select

from gis.crs import snap, to_city
from gis.db import copy_frame, query
from gis.errors import Conflict, Invalid, NotFound
from gis.layer import Given, Layer
from gis.place import Place

FloatArray = npt.NDArray[np.float64]

CASES = Layer(
    name="cases",
    relation="case",
    key="no",
    geometry=("Point",),
    columns=(
        *("no", "channel", "class_code", "class_zh", "class_en", "condition_no", "component_code", "stage", "stage_zh"),
        *("stage_en", "is_end"),
        *("reported_at", "due_at", "disposed_at", "closed_at", "cell_code", "community_code"),
        *("unit_code", "unit_zh", "unit_en"),
        *("basis", "resolved_by", "rule_code", "placed", "border_m", "component_m", "data_source", "simulated"),
    ),
    title_zh="案件",
    title_en="Cases",
    min_zoom=16,
    gathered=True,
    tile_columns=("no", "class_code", "stage", "channel"),
    filters={
        "class": ("prefix", "class_code"),
        "source": ("among", "channel"),
        "stage": ("among", "stage"),
        "unit": ("among", "unit_code"),
        "area": ("prefix", "cell_code"),
        "cell": ("among", "cell_code"),
        "from": ("from", "reported_at"),
        "before": ("before", "reported_at"),
        "units": ("units", "unit_id"),
    },
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


@dataclass(frozen=True, kw_only=True)
class Report:
    """A problem as it was just reported, at a place that is known to lie in a coordinate system."""

    channel: str  #: collector, public, video, leader, web, other
    key: str  #: the sender's own: the same again is the same report
    class_code: str
    condition_no: int | None
    component_code: str | None
    x: float  #: as received, in the system srid
    y: float
    srid: int
    here: Place  #: the same in the city's system
    accuracy_m: float | None
    address: str | None
    description: str | None
    data_source: str


@dataclass(frozen=True)
class Reported:
    """What became of a report."""

    no: int | None  #: the case, None when the report is refused
    refusal: str | None  #: outside, unknown_class, unknown_condition
    was_there: bool  #: the key was seen before
    other_report: bool  #: with the key came something else before


def open_case(conn: Connection, report: Report, *, actor: str) -> Reported:
    """Open the case of a report: number, cell, areas, unit and reason, first event, in one round trip, by the
    edition of the catalogue in force.

    The caller commits; when the report is refused it must roll back.
    """
    row = {
        "channel": report.channel,
        "key": report.key,
        "class_code": report.class_code,
        "condition_no": report.condition_no,
        "component_code": report.component_code,
        "x": report.x,
        "y": report.y,
        "as_srid": report.srid,
        "city_x": report.here.x,
        "city_y": report.here.y,
        "srid": report.here.srid,
        "accuracy_m": report.accuracy_m,
        "address": report.address,
        "description": report.description,
        "data_source": report.data_source,
        "actor": actor,
    }
    return Reported(*conn.execute(query("cases", "open_case"), row).one())


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


def ensure_partition_of_today(conn: Connection) -> None:
    """Partitions for the cases of this year and the next, so that the first case of a year need not make them."""
    conn.execute(query("cases", "ensure_partition_of_today"))


def case_points(conn: Connection, srid: int, given: Given) -> tuple[FloatArray, FloatArray]:
    """Where the cases lie that the filters let through: x and y in the city's system, metres."""
    source = CASES.source(srid)
    together = select(func.ST_AsBinary(func.ST_Collect(source.c.geom))).where(*CASES.narrowing(source, given))
    points = shapely.get_coordinates(shapely.from_wkb(conn.execute(together).scalar_one()))  # one value, not a row each
    return points[:, 0], points[:, 1]


def choose_unit(conn: Connection, no: int, unit_code: str, *, actor: str, reason: str) -> bool:
    """A dispatcher decides for another unit than was proposed; the rule that is overruled stays named.

    Returns whether anything changed: the unit that leads already is no decision. Raises NotFound for a case or unit
    that is none, Conflict where the case stands at a stage at which no unit is chosen, Invalid without a reason.
    """
    if not reason.strip():
        raise Invalid(
            "a decision needs its reason",
            "改派须说明理由",
            mend="say why another unit is responsible",
            mend_zh="请说明为何由该单位负责",
            field="reason",
        )
    case = conn.execute(query("cases", "hold_case"), {"no": no}).one_or_none()
    unit = conn.execute(query("cases", "standing_unit"), {"code": unit_code}).one_or_none()
    if case is None:
        raise NotFound(f"there is no case {no}", f"没有案件 {no}", mend="check its number", no=no)
    if unit is None:
        raise NotFound(
            f"there is no unit {unit_code}",
            f"没有单位 {unit_code}",
            mend="give the code of a unit that was not dissolved",
            mend_zh="请填写现有单位的编码",
            field="unit",
        )
    if not case.may:
        raise Conflict(
            f"case {no} stands at {case.stage}: no unit is chosen there",
            f"案件 {no} 处于 {case.stage} 阶段，不能改派",
            mend="a unit is chosen before the dispatch",
            mend_zh="只能在派遣之前改派",
            no=no,
        )
    if unit.id == case.unit_id:
        return False
    row = {"no": no, "unit_id": unit.id, "actor": actor, "reason": reason.strip()}
    conn.execute(query("cases", "choose_unit"), row)
    return True
