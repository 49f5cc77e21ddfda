"""The shapes of cases: what is reported, a case with everything that happened to it, lists of them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.actshapes import AllowedAct, ClockNow, NamedPhoto
from api.dutyshapes import Dispute, Distance
from api.shapes import Area, Condition, Degrees, Instant, Metres, Named, Reason, Stage, Unit, Words


class NewCase(BaseModel):
    """A problem to be reported."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"class": "E0102", "lon": 109.0235, "lat": 32.698, "description": "路边垃圾 refuse by the road"}
            ]
        },
    )

    class_: Words | None = Field(
        None, alias="class", max_length=8, description="class of the problem; without one the description says it"
    )
    condition: int | None = Field(None, ge=1, le=9999, description="number of its filing condition, if known")
    component: Words | None = Field(None, max_length=20, description="code of the component concerned")
    lon: float = Field(allow_inf_nan=False, description="longitude in degrees, or east in metres if crs is projected")
    lat: float = Field(allow_inf_nan=False, description="latitude in degrees, or north in metres")
    crs: int = Field(4326, ge=1, le=999_999, description="EPSG code; 910002 GCJ-02, 910009 BD-09")
    accuracy_m: float | None = Field(
        None, ge=0, le=100_000, allow_inf_nan=False, description="error of the position, metres"
    )
    address: Words | None = Field(None, max_length=500)
    description: Words | None = Field(None, max_length=4000)
    channel: Words | None = Field(
        None, max_length=20, description="source, when the account may report through several"
    )
    self_disposed: bool = Field(False, description="a collector removed it on the spot: photos before and after")
    verified: bool = Field(False, description="a collector saw it: no verification is needed")
    reporter: Words | None = Field(None, max_length=200, description="whom to call back; shown to acceptors only")
    device: Words | None = Field(None, max_length=100, description="the camera that showed it")
    seen_at: AwareDatetime | None = Field(None, description="when it was seen, with its offset; not in the future")
    photos: list[NamedPhoto] = Field([], max_length=20, description="photos that were sent with POST /photos")


class CaseRow(BaseModel):
    """A case in a list."""

    no: int = Field(examples=[20260302000042], description="yyyymmdd × 10^6 + serial")
    class_code: str | None
    class_zh: str | None
    class_en: str | None
    stage: str
    stage_zh: str
    stage_en: str
    channel: str
    reported_at: Instant
    cell_code: str
    unit_code: str | None
    unit_zh: str | None
    unit_en: str | None
    lon: Degrees
    lat: Degrees


class CasePage(BaseModel):
    """Cases, newest first, and where the next page begins."""

    items: list[CaseRow]
    next: int | None = Field(description="give it as `after` for the next page; null: this was the last")
    simulated: bool


class PlacedCell(BaseModel):
    """The cell of a case."""

    code: str
    placed: Literal["inside", "nearest"]
    distance_m: Metres


class NearBorder(BaseModel):
    """The cell of another community that is within the tolerance of the place."""

    cell: str
    distance_m: Metres


class Photo(BaseModel):
    """A photo that an event brought."""

    kind: Literal["before", "after", "check", "other"]
    sha256: str
    taken_at: Instant | None = Field(description="when, according to the camera")
    distance_m: Metres | None = Field(description="from the case to where the camera says it was taken")
    remarks_en: list[str] = Field(description="taken far off, long before, in the future")
    remarks_zh: list[str]


class Event(BaseModel):
    """One thing that happened to a case."""

    seq: int
    at: Instant
    actor: str
    role: str | None = Field(description="in which role; null in events of older versions")
    act: str
    from_stage: str
    to_stage: str
    note: str | None
    unit_code: str | None = Field(description="the unit that leads from this event on, if the event says so")
    instead_of: str | None = Field(description="of a dispatcher's decision: the unit that led before")
    worked_s: float | None = Field(description="working seconds since the event before")
    passed_s: float | None = Field(description="seconds since the event before")
    data: dict[str, Any] | None = Field(description="what it brought besides: result, verdict, what was corrected …")
    photos: list[Photo]


class Case(BaseModel):
    """All that is known of a case."""

    no: int
    channel: str
    class_: Named | None = Field(alias="class", description="null while a report in words waits for one")
    condition: Condition | None
    component_code: str | None
    lon: Degrees
    lat: Degrees
    accuracy_m: Metres | None
    address: str | None
    description: str | None
    reported_at: Instant
    due_at: Instant | None
    disposed_at: Instant | None
    closed_at: Instant | None
    stage: Stage
    cell: PlacedCell
    areas: list[Area]
    border: NearBorder | None
    dispute: Dispute = Field(description="what else could be meant near by, as of the instant of the assignment")
    component: Distance | None
    unit: Unit | None
    assisting: list[Unit]
    reason: Reason
    reporter: str | None = Field(description="whom to call back; for acceptors only")
    waits_for: str | None = Field(description="what was asked or proposed and not decided yet")
    suspended_until: Instant | None
    same_as: int | None = Field(description="the case of the same problem whose outcome it shares")
    linked: list[int] = Field(description="cases that share its outcome")
    turn_backs: int
    reworks: int
    extensions: int
    forced: bool
    stood_in: bool
    appeal: str | None
    collector: str | None = Field(description="code of the collector who is asked to verify or check")
    clocks: list[ClockNow]
    allowed: list[AllowedAct] = Field(description="what the asker may do with it now")
    events: list[Event]
    simulated: bool
    data_source: str


class Similar(BaseModel):
    """An open case that may be the same problem: a hint, nothing is merged."""

    no: int
    distance_m: Metres
    reported_at: Instant
    stage: str


class OpenedCase(Case):
    """A case just opened."""

    similar: list[Similar]
    versions: dict[str, int]
