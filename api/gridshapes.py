"""The shapes of what the addresses under /grid answer and take."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.shapes import Degrees, Instant, Words

CODE = "[0-9]{14,15}"
CellId = Annotated[str, Field(pattern=f"^{CODE}$", description="code of a cell", examples=["610902001003004"])]
CommunityId = Annotated[str, Field(pattern="^[0-9]{12}$", description="code of a community", examples=["610902001003"])]
Share = Annotated[float, Field(ge=0, le=1, description="share of the area, 0 to 1")]
Revision = Annotated[
    int | None,
    Field(ge=0, le=2_000_000_000, description="the revision that this was made on; 409 if somebody has saved since"),
]
LINE = "points of the line, [x, y] each: longitude and latitude in degrees unless crs says otherwise"
Points = Annotated[
    list[Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=2, max_length=2)]],
    Field(min_length=2, max_length=2000, description=LINE, examples=[[[109.0231, 32.6975], [109.0245, 32.6976]]]),
]
Crs = Annotated[int, Field(ge=1, le=999_999, description="EPSG code of the points; 910002 GCJ-02, 910009 BD-09")]


class _Taken(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewDraft(_Taken):
    """Which communities to redraw, and why."""

    communities: list[CommunityId] = Field(min_length=1, max_length=300)
    note: Words | None = Field(None, max_length=500, description="why, in words: it becomes the reason of the change")


class SplitCell(_Taken):
    """Split a cell by a line, which may end up to 2 m short of its border."""

    code: CellId
    line: Points
    crs: Crs = 4326
    revision: Revision = None


class MergeCells(_Taken):
    """Make one cell of neighbours of one community."""

    codes: list[CellId] = Field(min_length=2, max_length=100)
    revision: Revision = None


class MoveBorder(_Taken):
    """Make a line the border between two neighbours of one community."""

    code: CellId
    other: CellId
    line: Points
    crs: Crs = 4326
    revision: Revision = None


class RecodeCell(_Taken):
    """Give a cell another number of its community."""

    code: CellId
    to: CellId | None = Field(None, description="the new code, never used before; null: the next free one")
    revision: Revision = None


class SetClass(_Taken):
    """Give a cell another management class."""

    code: CellId
    area_class: Literal["A", "B", "C"]
    revision: Revision = None


class PublishDraft(_Taken):
    """Whether to publish, or only to say what would change."""

    dry: bool = Field(True, description="true: nothing is changed, the answer says what would be")
    revision: Revision = None


class DraftInfo(BaseModel):
    """A draft of the grid."""

    id: int
    state: Literal["draft", "published", "dropped"]
    communities: list[str]
    note: str | None
    cells: int
    revision: int = Field(description="how often its cells were saved")
    opened_by: str
    opened_at: Instant
    saved_by: str
    saved_at: Instant
    ended_by: str | None
    ended_at: Instant | None


class DraftList(BaseModel):
    """Drafts, newest first."""

    items: list[DraftInfo]


class FoundFault(BaseModel):
    """What the check found."""

    rule: str = Field(examples=["gap"])
    severity: Literal["error", "warning", "note"]
    code: str | None = Field(description="the cell, or the community where no cell is")
    other: str | None
    size: float | None
    unit: str | None = Field(description="of the size: m, m2, cells; null: a bare number")
    en: str
    zh: str
    lon: Degrees | None
    lat: Degrees | None


class DraftState(DraftInfo):
    """A draft and what its check found."""

    errors: int = Field(description="with any it cannot be published")
    findings: list[FoundFault]


class CellProperties(BaseModel):
    """What is known of a cell."""

    code: str
    area_class: Literal["A", "B", "C"]
    area_m2: float = Field(description="area in m², in the city's projection")
    since: Instant | None = Field(None, description="from when on it has held; null in a draft")


class CellFeature(BaseModel):
    """A cell as a GeoJSON feature."""

    type: Literal["Feature"] = "Feature"
    id: str
    geometry: dict[str, Any] = Field(description="GeoJSON polygon, degrees, EPSG:4326")
    properties: CellProperties


class CellCollection(BaseModel):
    """Cells as a GeoJSON collection."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: list[CellFeature]
    simulated: bool


class Relative(BaseModel):
    """A cell with which another shared ground."""

    code: str
    share_of_old: Share
    share_of_new: Share


class CellChange(BaseModel):
    """What an edition did to one cell."""

    what: Literal["new", "changed", "noded", "retired"] = Field(
        description="noded: its border got vertices of a neighbour, nothing else"
    )
    code: str
    old_id: int | None = Field(description="the version that ended")
    new_id: int | None = Field(description="the version that began; in a dry run its number is not kept")
    successors: list[Relative]


class ComponentMove(BaseModel):
    """A component that is in another cell than before."""

    code: str
    from_code: str | None
    to_code: str | None = Field(description="null: no cell covers it any more")


class CaseMove(BaseModel):
    """An open case that the change touched."""

    no: int
    from_code: str
    to_code: str | None
    from_unit: str | None
    to_unit: str | None
    noted: bool = Field(description="cell, unit, basis or rule are others: an event says so")
    lost: bool = Field(description="no cell is near any more; it keeps the one it had")


class Naming(BaseModel):
    """A rule or unit that names a cell which is no more."""

    code: str
    cell_code: str


class PublishReport(BaseModel):
    """What publishing a draft did, or would do."""

    draft: int
    committed: bool
    cells: list[CellChange]
    components: list[ComponentMove]
    cases: list[CaseMove]
    rules: list[Naming]
    units: list[Naming]
    components_before: int = Field(description="components with a cell")
    components_after: int
    open_cases_before: int
    open_cases_after: int


class CellVersionInfo(BaseModel):
    """How long one version of a cell held, who made it and why."""

    id: int
    since: Instant | None
    until: Instant | None = Field(description="null: it holds today")
    area_m2: float
    area_class: Literal["A", "B", "C"]
    reason: str
    came_from: list[Relative]
    became: list[Relative]


class CellPast(BaseModel):
    """A cell through time."""

    code: str
    versions: list[CellVersionInfo]
