"""The shapes of acts on cases, desks and duty."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from api.shapes import Degrees, Instant, Words


class NamedPhoto(BaseModel):
    """A photo that was sent with POST /photos."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["before", "after", "check", "other"]
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class SentPhoto(BaseModel):
    """A photo that was sent."""

    sha256: str = Field(description="acts name it so")
    media_type: str
    width: int
    height: int
    bytes: int
    taken_at: Instant | None = Field(description="when, according to the camera")
    lon: Degrees | None = Field(description="where, according to the camera")
    lat: Degrees | None


class Act(BaseModel):
    """What somebody brings to an act. docs/workflow.md says which fields each act needs and takes."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"from": "reported", "class": "E0102", "condition": 1},
                {"from": "dispatched", "result": "已清除 cleared", "photos": [{"kind": "after", "sha256": "0" * 64}]},
            ]
        },
    )

    from_: Words = Field(alias="from", max_length=40, description="the stage at which its sender saw the case")
    reason: Words | None = Field(None, max_length=4000, description="reason or remark")
    class_: Words | None = Field(None, alias="class", max_length=8, description="the right class")
    condition: int | None = Field(None, ge=1, le=9999, description="number of the right filing condition")
    component: Words | None = Field(None, max_length=20, description="code of the right component")
    lon: float | None = Field(None, allow_inf_nan=False, description="the right place, in the system crs")
    lat: float | None = Field(None, allow_inf_nan=False)
    crs: int = Field(4326, ge=1, le=999_999, description="EPSG code; 910002 GCJ-02, 910009 BD-09")
    accuracy_m: float | None = Field(None, ge=0, le=100_000, allow_inf_nan=False)
    address: Words | None = Field(None, max_length=500)
    unit: Words | None = Field(None, max_length=40, description="code of the unit")
    collector: Words | None = Field(None, max_length=40, description="code of the collector; else the one of the place")
    result: Words | None = Field(None, max_length=4000, description="what was done")
    verdict: Literal["confirmed", "not_confirmed", "same", "not_same", "not_found"] | None = None
    until: AwareDatetime | None = Field(None, description="end of a suspension, with its offset")
    cost: float | None = Field(None, ge=0, le=1e12, allow_inf_nan=False, description="cost of a stand-in")
    case: int | None = Field(None, ge=19000101000000, le=29991231999999, description="the case of the same problem")
    photos: list[NamedPhoto] = Field([], max_length=20)


class AllowedAct(BaseModel):
    """Something that the asker may do with a case now."""

    act: str
    to: str = Field(description="where the case stands afterwards")
    name_zh: str
    name_en: str
    needs: list[str] = Field(description="fields that it cannot do without")
    takes: list[str] = Field(description="all fields that it takes")


class ClockNow(BaseModel):
    """A clock of a case, as of now."""

    kind: str
    state: Literal["running", "paused", "stopped"]
    light: Literal["green", "yellow", "red"]
    allowed_s: float = Field(description="its limit in seconds, of working time if works")
    used_s: float = Field(description="what was used of it before it began to run last")
    since: Instant | None = Field(description="since when it runs; null while it stands still")
    works: bool = Field(description="whether it counts working time only")
    yellow_at: Instant | None = Field(description="when 80 % will be used; null while it stands still")
    due_at: Instant | None = Field(description="when it runs out; null while it stands still")
    unit: str | None = Field(description="of a disposal clock: whose")
    grants: int = Field(description="extensions")


class CaseNow(BaseModel):
    """A case after an act."""

    no: int
    stage: str
    stage_zh: str
    stage_en: str
    seq: int = Field(description="number of its last event")
    at: Instant
    again: bool = Field(description="nothing was done: this act was done before")
    unit: str | None
    collector: str | None
    waits_for: str | None
    suspended_until: Instant | None
    same_as: int | None
    turn_backs: int
    reworks: int
    appeal: str | None
    clocks: list[ClockNow]
    allowed: list[AllowedAct] = Field(description="what the asker may do with it now")
    ended: list[int] = Field(description="linked cases that ended with it")
    simulated: bool


class DeskRow(BaseModel):
    """A case at a desk."""

    no: int
    stage: str
    channel: str
    class_code: str | None
    class_zh: str | None
    class_en: str | None
    condition_no: int | None
    address: str | None
    description: str | None
    cell_code: str
    unit_code: str | None
    unit_zh: str | None
    unit_en: str | None
    collector_code: str | None
    reported_at: Instant
    clock: str | None
    light: Literal["green", "yellow", "red"] | None = Field(description="of the clock that runs")
    yellow_at: Instant | None
    due_at: Instant | None = Field(description="when the clock that runs runs out")
    waits_for: str | None
    suspended_until: Instant | None
    appeal: str | None
    escalated: bool
    turn_backs: int
    reworks: int
    extensions: int
    lon: Degrees
    lat: Degrees


class Desk(BaseModel):
    """A page of a desk: what is due first."""

    role: str
    items: list[DeskRow]
    next: str | None = Field(description="give it as `after` for the next page; null: this was the last")
    simulated: bool


class Duty(BaseModel):
    """A collector tells duty and place."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"on": True, "lon": 109.02, "lat": 32.7}]}
    )

    on: bool
    lon: float | None = Field(None, allow_inf_nan=False)
    lat: float | None = Field(None, allow_inf_nan=False)
    crs: int = Field(4326, ge=1, le=999_999)


class OnDuty(BaseModel):
    """Duty and place as kept."""

    collector: str
    name_zh: str
    name_en: str
    on: bool
    seen_at: Instant
