"""Reports come in, cases are opened: one at a time as they are sent, and history by the thousand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from sqlalchemy import Connection, func, select

from gis.crs import snap, to_city
from gis.db import copy_frame, query
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
        *("same_as", "reworks", "turn_backs"),
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
    "dispatched_at",
    "inspected_at",
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
    class_code: str | None  #: None: told in words only
    condition_no: int | None = None
    component_code: str | None = None
    x: float  #: as received, in the system srid
    y: float
    srid: int
    here: Place  #: the same in the city's system
    accuracy_m: float | None = None
    address: str | None = None
    description: str | None = None
    data_source: str
    act: Literal["report", "self_dispose"] = "report"  #: self_dispose: removed on the spot
    verified: bool = False  #: its sender saw it: no verification is needed
    reporter: str | None = None  #: whom to call back
    device: str | None = None  #: the camera that showed it
    seen_at: datetime | None = None  #: when its sender saw it
    photos: tuple[tuple[str, str], ...] = ()  #: (kind, sha256) of photos in the store


@dataclass(frozen=True)
class Reported:
    """What became of a report."""

    no: int | None  #: the case, None when the report is refused
    refusal: str | None  #: outside, unknown_class, unknown_condition
    was_there: bool  #: the key was seen before
    other_report: bool  #: with the key came something else before


#: What a report of each source must bring; ``[sources]`` of city.toml may ask for more: class, accuracy_m, photos,
#: reporter, device; "words" is a class or a description.
DEMANDS: dict[str, tuple[str, ...]] = {
    "collector": ("class",),
    "video": ("class",),
    "public": ("words",),
    "leader": ("words",),
    "web": ("words",),
    "other": ("words",),
}
_MISSING = {
    "class": ("class", "a class", "类别"),
    "words": ("description", "a class or a description", "类别或文字描述"),
    "accuracy_m": ("accuracy_m", "the accuracy of its position", "定位精度"),
    "photos": ("photos", "a photo", "照片"),
    "reporter": ("reporter", "whom to call back", "举报人联系方式"),
    "device": ("device", "the camera", "摄像设备"),
}


def lacking(report: Report, own: Mapping[str, Sequence[str]]) -> tuple[str, str, str] | None:
    """What a report lacks that its source must bring: field, and the thing in English and Chinese; None: nothing.

    own : the city's demands by source, beside DEMANDS. What was disposed of on the spot brings photos before and after.
    """
    there = {
        "class": report.class_code,
        "words": report.class_code or report.description,
        "accuracy_m": report.accuracy_m,
        "photos": report.photos,
        "reporter": report.reporter,
        "device": report.device,
    }
    for thing in (*DEMANDS[report.channel], *own.get(report.channel, ())):
        if there[thing] is None or there[thing] == ():
            return _MISSING[thing]
    if report.act == "self_dispose" and {"before", "after"} - {kind for kind, _ in report.photos}:
        return "photos", "a photo before and one after", "处理前、后照片"
    return None


def open_case(conn: Connection, report: Report, *, actor: str, role: str, acceptance_s: float) -> Reported:
    """Open the case of a report: number, cell, areas, unit and reason, first event, the acceptance clock, in one round
    trip, by the edition of the catalogue in force.

    acceptance_s : how long acceptance may take (cases.clocks.small_clocks)
    The caller commits; when the report is refused it must roll back.
    """
    received = {name: getattr(report, name) for name in _RECEIVED}
    received["seen_at"] = None if report.seen_at is None else report.seen_at.isoformat()
    row = {
        "report": json.dumps(received),
        "city_x": report.here.x,
        "city_y": report.here.y,
        "city_srid": report.here.srid,
        "actor": actor,
        "role": role,
        "acceptance_s": acceptance_s,
        "photos": as_json(report.photos),
    }
    return Reported(*conn.execute(query("cases", "open_case"), row).one())


_RECEIVED = (
    *("channel", "key", "act", "class_code", "condition_no", "component_code", "x", "y", "srid", "accuracy_m"),
    *("address", "description", "verified", "reporter", "device", "data_source"),
)


def as_json(photos: tuple[tuple[str, str], ...]) -> str | None:
    """Photos as cases.attach takes them."""
    return json.dumps([{"kind": kind, "sha256": sha256} for kind, sha256 in photos]) if photos else None


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
