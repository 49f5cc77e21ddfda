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
    now: dict[str, Any] | None = Field(None, description="of a 409: the case as it is")


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


class Stage(Named):
    """Where a case stands."""

    is_end: bool


class Condition(BaseModel):
    """A filing condition."""

    no: int
    condition_zh: str
    condition_en: str


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

    kind: Literal["case", "component", "cell", "area", "street", "place"]
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
