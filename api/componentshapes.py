"""The shapes of what the addresses under /components take and answer about versions."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.shapes import Instant, Words

GEOMETRY = "GeoJSON of a point, line or polygon; degrees unless crs says otherwise"
Geometry = Annotated[
    dict[str, Any], Field(description=GEOMETRY, examples=[{"type": "Point", "coordinates": [109.0231, 32.6975]}])
]
Crs = Annotated[int, Field(ge=1, le=999_999, description="EPSG code of the geometry; 910002 GCJ-02, 910009 BD-09")]
Reason = Annotated[Words, Field(max_length=500, description="why, in words: it stays in the history")]
UnitCode = Annotated[str, Field(max_length=100, description="code of a unit", examples=["PD02"])]
State = Literal["intact", "damaged", "lost", "abandoned", "removed"]
Attrs = Annotated[
    dict[str, Any],
    Field(max_length=200, description="attributes by name; null takes one away", examples=[{"lamps": 2}]),
]


class _Fields(BaseModel):
    """What an edit may set; what it does not name stays as it is."""

    model_config = ConfigDict(extra="forbid")

    name_zh: Words | None = Field(None, max_length=200, description="name in Chinese")
    state: State | None = Field(None, description="state of the component")
    supervising_unit: UnitCode | None = None
    owner_unit: UnitCode | None = None
    maintainer_unit: UnitCode | None = None
    surveyed_on: date | None = Field(None, description="day of the field visit", examples=["2026-05-01"])
    changed_on: date | None = Field(None, description="day on which it changed in the field", examples=["2026-05-01"])
    data_source: Words | None = Field(None, max_length=500, description="where the facts come from")
    source_key: Words | None = Field(None, max_length=200, description="what the source itself calls it")
    attrs: Attrs | None = None
    crs: Crs = 4326
    reason: Reason

    def given(self) -> dict[str, Any]:
        """The fields that were sent, geometry left out."""
        sent = self.model_dump(exclude_unset=True, exclude={"crs", "reason", "base", "class_", "geometry"})
        if sent.get("attrs", 0) is None:
            del sent["attrs"]
        return sent


class NewComponent(_Fields):
    """A component that was not there before."""

    class_: str = Field(alias="class", pattern="^C[0-9]{4,5}$", description="component class", examples=["C0101"])
    geometry: Geometry


class EditComponent(_Fields):
    """A change of a component, made on one of its versions."""

    base: int = Field(ge=1, le=2**62, description="the version that the edit started from", examples=[17])
    geometry: Geometry | None = None


class RetireComponent(BaseModel):
    """The end of a component."""

    model_config = ConfigDict(extra="forbid")

    base: int = Field(ge=1, le=2**62, description="the version that was seen", examples=[17])
    reason: Reason


class _Told(BaseModel):
    version: int
    code: str
    class_: str = Field(alias="class")
    cell_code: str | None
    name_zh: str | None
    state: str
    supervising_unit: str | None
    owner_unit: str | None
    maintainer_unit: str | None
    surveyed_on: str | None
    changed_on: str | None
    data_source: str
    attrs: dict[str, Any]
    since: Instant


class ComponentVersion(_Told):
    """A component from one instant to another: what it was, who wrote it and why."""

    source_key: str | None
    geometry: dict[str, Any] = Field(description="GeoJSON, degrees")
    until: Instant | None = Field(description="null while it holds")
    actor: str
    reason: str
    ended_by: str | None
    ended_why: str | None
    changed: list[str] = Field(description="fields in which it differs from the version before")
    simulated: bool


class ComponentPast(BaseModel):
    """All versions of a component, the oldest first."""

    code: str
    versions: list[ComponentVersion]


class ListedComponent(_Told):
    """A component in a list."""

    class_zh: str
    class_en: str | None


class ComponentFeature(BaseModel):
    """A component as GeoJSON."""

    type: Literal["Feature"] = "Feature"
    geometry: dict[str, Any]
    properties: ListedComponent


class ComponentCollection(BaseModel):
    """A page of components as GeoJSON, degrees."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    matched: int = Field(description="on all pages")
    next: str | None = Field(description="`after` of the next page; null: this is the last")
    features: list[ComponentFeature]
    simulated: bool


class BeforeAfter(BaseModel):
    """A field's two values."""

    before: Any
    after: Any


class Difference(BaseModel):
    """What became of a component between two instants."""

    code: str
    class_: str = Field(alias="class")
    class_zh: str
    class_en: str | None
    fate: Literal["new", "changed", "moved", "retired"]
    fields: dict[str, BeforeAfter] = Field(description="without the geometry; attributes as attrs.NAME")
    moved_m: float | None = Field(description="metres; of lines and polygons the Hausdorff distance")
    old_cell: str | None
    new_cell: str | None
    at: Instant = Field(description="when it became what it is")
    actor: str
    reason: str


class DifferenceFeature(BaseModel):
    """A difference as GeoJSON; of a retired component where it stood."""

    type: Literal["Feature"] = "Feature"
    geometry: dict[str, Any]
    properties: Difference


class DifferenceCollection(BaseModel):
    """A page of differences as GeoJSON, degrees."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    from_: Instant = Field(alias="from")
    to: Instant
    matched: int = Field(description="on all pages")
    next: str | None = Field(description="`after` of the next page; null: this is the last")
    features: list[DifferenceFeature]
    simulated: bool


class ProgressCounts(BaseModel):
    """Components by how far a census is with them: components = surveyed + to_confirm + stale."""

    components: int
    surveyed: int = Field(description="visited since the census began")
    new: int = Field(description="of these: not there when it began")
    changed: int = Field(description="of these: not what they were when it began")
    to_confirm: int = Field(description="visited before that")
    stale: int = Field(description="visited longer ago than stale_months, or never")
    gone: int = Field(description="stood when it began, and does not now")
    share: float | None = Field(description="surveyed of components; null: there are none")


class ProgressRow(ProgressCounts):
    """The counts of a community, a class, or both."""

    community: str | None = Field(None, description="12 digits; empty: in no cell")
    name_zh: str | None = None
    name_en: str | None = None
    class_: str | None = Field(None, alias="class")
    class_zh: str | None = None
    class_en: str | None = None


class _Progress(BaseModel):
    since: str = Field(description="first day of the census", examples=["2026-01-01"])
    stale_before: str = Field(description="last visited before this day: stale", examples=["2024-11-26"])
    stale_months: int
    total: ProgressCounts
    simulated: bool


class ProgressTable(_Progress):
    """How far a census is."""

    rows: list[ProgressRow]


class CommunityCounts(ProgressCounts):
    """The counts of a community."""

    code: str = Field(description="12 digits; empty: in no cell")
    name_zh: str | None
    name_en: str | None


class CommunityFeature(BaseModel):
    """A community as GeoJSON."""

    type: Literal["Feature"] = "Feature"
    geometry: dict[str, Any] | None
    properties: CommunityCounts


class CommunityCollection(_Progress):
    """Communities with how far a census is, as GeoJSON, degrees."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: list[CommunityFeature]


class ReviveComponent(RetireComponent):
    """The return of a component that was retired by mistake."""
