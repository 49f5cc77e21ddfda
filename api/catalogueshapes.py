"""The shapes of what the addresses under /catalogue answer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from api.shapes import Instant, Named

Relation = Literal["same", "renamed", "split", "merged", "gone"]


class EditionFacts(Named):
    """An edition of the catalogue."""

    kind: Literal["national", "city"]
    source: str
    imported_at: Instant | None = Field(description="null: it came with Wanmi or with the city")
    imported_by: str | None
    components: int = Field(description="component classes")
    events: int = Field(description="event classes")
    conditions: int
    in_force: bool


class Period(BaseModel):
    """From when on an edition is in force, until the next one."""

    since: Instant
    edition: str
    actor: str
    reason: str


class EditionList(BaseModel):
    """The editions, national ones first, and when which was in force."""

    in_force: str = Field(examples=["ankang-2020-provisional"])
    items: list[EditionFacts]
    history: list[Period]


class ClassFacts(Named):
    """A component or event class."""

    kind: Literal["component", "event"]
    geometry_type: Literal["Point", "LineString", "Polygon"] | None
    accuracy_class: Literal["A", "B", "C"] | None = Field(description="mean error 0.5 m, 1 m, 10 m")
    never_on: list[Literal["building", "water"]]
    source: str | None


class EditionContent(EditionFacts):
    """An edition with its majors and classes."""

    majors: list[Named]
    classes: list[ClassFacts]


class LimitFacts(BaseModel):
    """How long disposal may take in an area class."""

    area_class: Literal["A", "B", "C"]
    value: float = Field(gt=0, description="in units of basis")
    basis: Literal["urgent_hour", "urgent_day", "work_hour", "work_day"]
    zh: str = Field(examples=["2紧急工作时"])
    en: str = Field(examples=["2 urgent hours"])


class ConditionFacts(BaseModel):
    """A filing condition with what must be found for closing."""

    no: int
    condition_zh: str
    condition_en: str
    closing_result_zh: str | None
    disposal_unit_zh: str | None = Field(description="as the city's sheet says it")
    supervising_unit_zh: str | None
    limits: list[LimitFacts] = Field(description="empty: no deadline is set")


class Alike(BaseModel):
    """What a class is in another edition."""

    edition: str
    code: str | None = Field(description="null: there is none")
    relation: Relation
    reviewed: bool = Field(description="false: found by likeness of names, nobody has looked yet")


class ClassContent(ClassFacts):
    """A class with its attributes, filing conditions and what it is in other editions."""

    edition: str
    attribute_schema: dict[str, Any] = Field(
        description="JSON Schema of the attributes of a component; others may be added"
    )
    conditions: list[ConditionFacts]
    mapping: list[Alike]


class MappedClass(BaseModel):
    """One class of an edition and what it is in the other."""

    from_code: str
    to_code: str | None
    relation: Relation
    reviewed: bool
    source: str


class MappingList(BaseModel):
    """Which class of one edition is which of another; a class that was split or merged has several lines."""

    from_edition: str
    to_edition: str
    items: list[MappedClass]
