"""The shapes of what HTTP answers and takes: they make the OpenAPI document, with units and examples."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Degrees = Annotated[float, Field(description="degrees, EPSG:4326")]
Metres = Annotated[float, Field(description="metres")]
Instant = Annotated[str, Field(description="ISO 8601 with the city's offset", examples=["2026-03-02T12:00:00+08:00"])]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Problem(BaseModel):
    """What every error looks like (RFC 9457)."""

    type: str = Field(examples=["urn:wanmi:error:UnfitCoordinates"])
    title: str
    title_zh: str
    status: int
    detail: str = Field(description="what is wrong, in English")
    detail_zh: str
    where: dict[str, str] = Field(description="the field, file or row concerned")
    mend: str | None = Field(description="what would mend it")
    mend_zh: str | None


class Named(BaseModel):
    """A thing with a code and names in both languages."""

    code: str
    name_zh: str
    name_en: str


class Area(Named):
    """An administrative area."""

    level: Literal["city", "district", "street", "community"]


class Unit(Named):
    """An organisation."""

    kind: str = Field(examples=["street_office"])


class Reason(BaseModel):
    """Why this unit is responsible."""

    en: str
    zh: str
    basis: Literal["component", "rule", "zone", "territory", "nobody", "decision"]
    resolved_by: str | None
    rule: str | None = Field(description="code of the rule, if a rule decided")
    document: str | None = Field(description="the document the rule rests on")
    source_on: str | None = Field(description="date of that document")


class Sentence(BaseModel):
    """The same in both languages."""

    en: str
    zh: str


class Spot(BaseModel):
    """A place in degrees and in the city's system."""

    lon: Degrees
    lat: Degrees
    x: Annotated[float, Field(description="metres east in the city's system")]
    y: Annotated[float, Field(description="metres north in the city's system")]
    srid: int = Field(description="EPSG code of the city's system", examples=[4545])


class Cell(BaseModel):
    """The unit grid cell of a place."""

    code: str
    area_m2: float
    area_class: Literal["A", "B", "C"]
    placed: Literal["inside", "nearest"] = Field(description="nearest: no cell covers the place")
    distance_m: Metres


class Border(BaseModel):
    """The nearest place where another community begins, and what lies across."""

    distance_m: Metres
    within_reach: bool = Field(description="nearer than reach_m: somebody should look before dispatching")
    level: Literal["community", "street", "district"] = Field(description="the highest level that changes there")
    cell: str
    areas: list[Area]
    unit: Unit | None = Field(description="who would be responsible there for the same class")


class Candidate(BaseModel):
    """One of the answers that hold somewhere within reach of a place."""

    here: bool = Field(description="the answer at the place itself")
    distance_m: Annotated[float, Field(description="to the nearest ground with this answer, metres")]
    share: float = Field(description="of the area of the error circle; all shares add up to 1")
    cell: str | None = Field(description="the nearest cell with this answer; null: ground without a cell")
    areas: list[Area]
    unit: Unit | None
    assisting: list[Unit]
    reason: Reason


class Claim(BaseModel):
    """A responsibility polygon that claims the place with the same right as another."""

    rule: str
    document: str
    source_on: str | None
    unit: Unit | None


class Dispute(BaseModel):
    """Whether the answer is the same everywhere within reach of the place; if not, who else could be meant."""

    on_border: bool = Field(
        description="within reach another answer holds, or two polygons claim it, or no cell covers it"
    )
    reach_m: Annotated[float, Field(description="radius of the error circle: the accuracy, at least the tolerance")]
    accuracy_m: float | None = Field(description="as stated by the sender, metres")
    tolerance_m: Annotated[float, Field(description="the city's border tolerance, metres")]
    one_unit: bool = Field(description="whichever candidate it is, the same unit leads")
    candidates: list[Candidate] = Field(description="the answer here first, then by distance; empty when not on_border")
    claims: list[Claim] = Field(description="two or more when responsibility polygons overlap here")
    dispute: Sentence | None = Field(description="the candidates in a sentence")


class Distance(BaseModel):
    """The component named, and how far from the place it stands."""

    code: str
    distance_m: Metres
    reading: Sentence | None = Field(None, description="a system in which the numbers would lie beside it")


class NearComponent(BaseModel):
    """A component near a place."""

    code: str
    class_code: str
    class_zh: str
    class_en: str
    state: str
    distance_m: Metres
    lon: Degrees
    lat: Degrees


class Beat(BaseModel):
    """The responsibility grid (责任网格) of a place and the collector who walks it."""

    grid: Named
    collector: Named | None


class Stage(Named):
    """Where a case stands."""

    is_end: bool


class OpenCase(BaseModel):
    """An open case of the same class near a place: it may be the same problem."""

    no: int
    distance_m: Metres
    reported_at: Instant
    stage: Stage
    unit: Named | None


class Jurisdiction(Dispute):
    """Who must act at a place, and why."""

    place: Spot
    simulated: bool = Field(description="true: the city's geometry and cases are simulated (模拟)")
    class_: Named | None = Field(alias="class")
    cell: Cell
    areas: list[Area] = Field(description="community first")
    unit: Unit | None = Field(description="null: nobody found, the dispatcher decides")
    assisting: list[Unit]
    reason: Reason
    border: Border | None
    component: Distance | None
    in_words: Sentence | None = Field(description="the place by door, road and landmark; null: nothing named is near")
    collector: Beat | None = Field(description="who walks here; null: the cell is in no responsibility grid")
    nearest_components: list[NearComponent]
    open_cases: list[OpenCase] = Field(description="of the class asked for; 20 m for components, 50 m for events")


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

    class_: Words = Field(alias="class", max_length=8, description="class of the problem")
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


class CaseRow(BaseModel):
    """A case in a list."""

    no: int = Field(examples=[20260302000042], description="yyyymmdd × 10^6 + serial")
    class_code: str
    class_zh: str
    class_en: str
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


class Condition(BaseModel):
    """A filing condition."""

    no: int
    condition_zh: str
    condition_en: str


class PlacedCell(BaseModel):
    """The cell of a case."""

    code: str
    placed: Literal["inside", "nearest"]
    distance_m: Metres


class NearBorder(BaseModel):
    """The cell of another community that is within the tolerance of the place."""

    cell: str
    distance_m: Metres


class Event(BaseModel):
    """One thing that happened to a case."""

    seq: int
    at: Instant
    actor: str
    act: str
    from_stage: str
    to_stage: str
    note: str | None


class Case(BaseModel):
    """All that is known of a case."""

    no: int
    channel: str
    class_: Named = Field(alias="class")
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
    events: list[Event]
    simulated: bool
    data_source: str


class ChosenUnit(BaseModel):
    """A dispatcher's decision for another unit than was proposed."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"unit": "PD02", "reason": "自建绿地"}]})

    unit: Words = Field(max_length=40, description="code of the unit that is to lead")
    reason: Words = Field(max_length=1000, description="why it is responsible")


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


class Component(BaseModel):
    """All that is known of a component."""

    code: str
    version: int = Field(description="number of this version: an edit says which one it started from")
    class_: Named = Field(alias="class")
    name_zh: str | None
    state: str
    cell_code: str | None
    areas: list[Area]
    supervising: Unit | None
    owner: Unit | None
    maintainer: Unit | None
    surveyed_on: str | None
    changed_on: str | None
    data_source: str
    attrs: dict[str, Any]
    geometry: dict[str, Any] = Field(description="GeoJSON, degrees")
    lon: Degrees
    lat: Degrees
    simulated: bool


class Hit(BaseModel):
    """Something found by its code or name."""

    kind: Literal["case", "component", "cell", "area", "street"]
    code: str
    title_zh: str
    title_en: str
    lon: Degrees
    lat: Degrees
    bounds: list[float] = Field(description="west, south, east, north in degrees")


class Hits(BaseModel):
    """What was found."""

    items: list[Hit]


class Login(BaseModel):
    """A name and its password."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=40)
    password: str = Field(max_length=200)


class Account(BaseModel):
    """Who is logged in."""

    name: str
    display_zh: str
    display_en: str
    roles: list[str]
    unit: Unit | None
    channels: list[str] = Field(description="sources that this account may report through")


class Session(BaseModel):
    """The session of this browser."""

    account: Account | None
    csrf: str | None = Field(None, description="to be sent as X-CSRF-Token with every write of this session")


class LayerEntry(BaseModel):
    """A layer of tiles."""

    name: str
    title_zh: str
    title_en: str
    tilejson: str


class LayerList(BaseModel):
    """All layers of tiles."""

    layers: list[LayerEntry]


class TileJSON(BaseModel):
    """TileJSON 3.0."""

    tilejson: str
    name: str
    description: str
    tiles: list[str]
    vector_layers: list[dict[str, Any]]
    minzoom: int
    maxzoom: int
    bounds: list[float]
    attribution: str | None


class HeatLegend(BaseModel):
    """What a heat map shows, and its colours."""

    top: float = Field(description="value of the darkest colour, in the unit; higher values have it too")
    unit_en: str
    unit_zh: str
    bandwidth_m: Metres
    kernel: str
    cases: int
    period: dict[str, str] | None = Field(description="first_on and last_on of the cases counted")
    ramp: list[list[float | str]] = Field(description="share of top, CSS colour")
    version: int
    simulated: bool


class Health(BaseModel):
    """Whether everything that serving needs is there."""

    status: Literal["ok", "failing"]
    city: str
    simulated: bool
    database: dict[str, Any]
    migrations: dict[str, Any]
    calendar: dict[str, Any]


class CityClass(Named):
    """A class of the catalogue."""

    kind: Literal["component", "event"]
    major_code: str
    geometry_type: str | None
    conditions: list[Condition]


class Major(Named):
    """A major class."""

    kind: Literal["component", "event"]


class CityFacts(BaseModel):
    """What a map page needs to know once."""

    id: str
    name_zh: str
    name_en: str
    code: str
    simulated: bool
    srid: int
    timezone: str
    bounds: list[float] = Field(description="west, south, east, north in degrees")
    tolerance_m: Metres
    border_tolerance_m: Metres
    attribution_zh: str | None
    attribution_en: str | None
    period: dict[str, str] | None = Field(
        description="first_on and last_on of all cases; busy_on: the end of the last week that is not nearly empty"
    )
    reading: Literal["open", "accounts"]
    outside_map: dict[str, str] | None
    majors: list[Major]
    classes: list[CityClass]
    stages: list[Stage]
    sources: list[Named]
    roles: list[Named]
    versions: dict[str, int]
