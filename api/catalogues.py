"""The catalogue over HTTP: editions, their classes with conditions and limits, what corresponds to what."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from api.answers import tagged
from api.catalogueshapes import ClassContent, EditionContent, EditionList, MappingList
from api.deps import House, InHouse, Who
from layers.catalogue import (
    edition_in_force,
    editions,
    editions_in_force,
    mapped,
    read_class,
    read_edition,
    refuse_unknown_edition,
    rows_of,
)

router = APIRouter(tags=["catalogue"])
EDITION = {"min_length": 1, "max_length": 60, "pattern": r"^[^/\x00-\x1f]+$"}
EditionCode = Annotated[str, Path(**EDITION, description="code of an edition", examples=["GBT30428.2-2013"])]
ClassCode = Annotated[str, Path(pattern="^[CE][0-9]{4,5}$", description="kind and code of a class", examples=["C0101"])]


def _facts(house: House, row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "imported_at": house.at(row["imported_at"])}


@router.get("/catalogue", response_model=EditionList)
def list_editions(request: Request, house: InHouse, who: Who) -> Response:
    """The editions side by side, which of them is in force, and when which was."""
    with house.begin_reading() as conn:
        who.reader(conn)
        data = {
            "in_force": edition_in_force(conn),
            "items": [_facts(house, row) for row in editions(conn)],
            "history": [{**row, "since": house.at(row["since"])} for row in editions_in_force(conn)],
        }
    return tagged(request, EditionList, data, private=house.reading == "accounts")


@router.get("/catalogue/mapping", response_model=MappingList)
def mapping(
    request: Request,
    house: InHouse,
    who: Who,
    from_: Annotated[
        str, Query(alias="from", **EDITION, description="code of an edition", examples=["GBT30428.2-2013"])
    ],
    to: Annotated[str, Query(**EDITION, description="code of another", examples=["GBT47678.5-2026"])],
) -> Response:
    """Which class of one edition is which of another, from the written list, in either direction."""
    with house.begin_reading() as conn:
        who.reader(conn)
        for edition in (from_, to):
            refuse_unknown_edition(conn, edition)
        items = [row._asdict() for row in rows_of(mapped(conn, from_, to))]
    data = {"from_edition": from_, "to_edition": to, "items": items}
    return tagged(request, MappingList, data, private=house.reading == "accounts")


@router.get("/catalogue/{edition}", response_model=EditionContent)
def one_edition(request: Request, house: InHouse, who: Who, edition: EditionCode) -> Response:
    """An edition with all its majors and classes."""
    with house.begin_reading() as conn:
        who.reader(conn)
        tables = read_edition(conn, edition)
        row = next(row for row in editions(conn) if row["code"] == edition)
    parts = {
        "majors": [major._asdict() for major in rows_of(tables.majors)],
        "classes": [one._asdict() for one in rows_of(tables.classes)],
    }
    return tagged(request, EditionContent, {**_facts(house, row), **parts}, private=house.reading == "accounts")


@router.get("/catalogue/{edition}/classes/{code}", response_model=ClassContent)
def one_class(request: Request, house: InHouse, who: Who, edition: EditionCode, code: ClassCode) -> Response:
    """A class: shape, accuracy, attributes, filing conditions with limits, what it is in other editions."""
    with house.begin_reading() as conn:
        who.reader(conn)
        found = read_class(conn, edition, code)
    for one in found["conditions"]:
        one["limits"] = [
            {"area_class": area, **vars(limit), "zh": limit.zh, "en": limit.en} for area, limit in one["limits"].items()
        ]
    return tagged(request, ClassContent, found, private=house.reading == "accounts")
