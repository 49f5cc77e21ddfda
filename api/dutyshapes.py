"""The shapes of jurisdiction: who must act at a place, why, and who else could be meant."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.shapes import Area, Degrees, Instant, Metres, Named, Reason, Stage, Unit


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
    collector: Named | None = Field(description="null: nobody")


class OpenCase(BaseModel):
    """An open case of the same class near a place: it may be the same problem."""

    no: int
    distance_m: Metres
    reported_at: Instant
    stage: Stage
    unit: Named | None


class Jurisdiction(Dispute):
    """Who must act at a place, and why."""

    at: Instant | None = Field(description="the instant asked about; null: now")
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
