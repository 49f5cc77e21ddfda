"""The unit grid over HTTP: cells at an instant, where they came from; drafts, their acts, publishing them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path as FilePath
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import shapely
from fastapi import APIRouter, Body, Path, Query, Request, Response
from shapely import LineString
from sqlalchemy import Connection

from api.answers import problems, tagged
from api.deps import House, InHouse, Who, editor
from api.gridshapes import (
    CODE,
    CellCollection,
    CellPast,
    DraftList,
    DraftState,
    MergeCells,
    MoveBorder,
    NewDraft,
    PublishDraft,
    PublishReport,
    RecodeCell,
    SetClass,
    SplitCell,
)
from api.publishing import publish_grid
from api.redrawing import bring_back, write_draft
from gis.crs import GEODETIC, fits, reproject
from gis.errors import Invalid, NotFound, WanmiError
from grids import edit
from grids.editions import cell_history, read_cells
from grids.findings import Finding

router = APIRouter(tags=["grid"])
GEOPACKAGE = "application/geopackage+sqlite3"
MOST_FINDINGS = 500
FAULT = ("rule", "severity", "code", "other", "size", "unit", "en", "zh")
DECIMALS = 9  #: of degrees: a tenth of a millimetre
DraftNo = Annotated[int, Path(ge=1, le=2**62, description="number of the draft", examples=[3])]


# ── the grid ────────────────────────────────────────


@router.get("/grid/cells", response_model=CellCollection, responses=problems(404))
def cells_at(
    request: Request,
    house: InHouse,
    who: Who,
    community: Annotated[
        str, Query(pattern="^[0-9]{12}$", description="code of a community", examples=["610902001003"])
    ],
    at: Annotated[
        datetime | None,
        Query(description="instant with its offset; none: today", examples=["2026-03-02T12:00:00+08:00"]),
    ] = None,
) -> Response:
    """The cells of a community as they were at an instant, as GeoJSON in degrees."""
    with house.begin_reading() as conn:
        who.reader(conn)
        cells = read_cells(conn, at, [community])
        if cells.empty and read_cells(conn, None, [community]).empty:
            raise NotFound(
                f"there is no community {community} with cells",
                f"没有编码为 {community} 的社区,或其没有网格",
                mend="codes of communities have 12 digits; /search finds them",
                mend_zh="社区编码为 12 位,可用 /search 查询",
                community=community,
            )
    return tagged(request, CellCollection, _collection(house, cells), private=house.reading == "accounts")


@router.get("/grid/cells/{code}", response_model=CellPast)
def cell_past(
    request: Request,
    house: InHouse,
    who: Who,
    code: Annotated[str, Path(pattern=f"^{CODE}$", description="code of a cell", examples=["610902001003004"])],
) -> Response:
    """All versions of a cell, what each came from and what became of it; also of a code that is no more."""
    with house.begin_reading() as conn:
        who.reader(conn)
        versions, descent = cell_history(conn, code)
    facts = [
        {
            "id": version.id,
            "since": house.at(version.since),
            "until": house.at(version.until),
            "area_m2": round(version.area_m2, 2),
            "area_class": version.area_class,
            "reason": version.reason,
            "came_from": [_relative(row.old_code, row) for row in descent if row.new_id == version.id],
            "became": [_relative(row.new_code, row) for row in descent if row.old_id == version.id],
        }
        for version in versions
    ]
    data = {"code": code, "versions": facts}
    return tagged(request, CellPast, data, private=house.reading == "accounts")


# ── drafts ────────────────────────────────────────


@router.get("/grid/drafts", response_model=DraftList)
def list_drafts(
    request: Request,
    house: InHouse,
    who: Who,
    ended: Annotated[bool, Query(description="also those that were published or dropped")] = False,
) -> Response:
    """The open drafts. For GIS editors and administrators, as everything about drafts."""
    with house.begin_reading() as conn:
        editor(who, conn)
        rows = edit.list_drafts(conn, ended=ended)
    return tagged(request, DraftList, {"items": [_info(house, row) for row in rows]}, private=True)


@router.post("/grid/drafts", status_code=201, response_model=DraftState, responses=problems(409))
def open_draft(request: Request, house: InHouse, who: Who, new: NewDraft) -> Response:
    """Open a draft with today's cells of some communities; 409 when another draft holds one of them."""
    with house.begin_writing() as conn:
        actor = editor(who, conn)
        number = edit.open_draft(conn, new.communities, actor=actor.name, note=new.note)
        data = _state(conn, house, number, edit.check_draft(conn, number))
    answer = tagged(request, DraftState, data, status=201, private=True)
    answer.headers["Location"] = f"/grid/drafts/{number}"
    return answer


@router.get("/grid/drafts/{id}", response_model=DraftState)
def one_draft(request: Request, house: InHouse, who: Who, id: DraftNo) -> Response:
    """One draft and what its check finds now."""
    return _findings(request, house, who, id)


@router.get("/grid/drafts/{id}/findings", response_model=DraftState)
def draft_findings(request: Request, house: InHouse, who: Who, id: DraftNo) -> Response:
    """What the check of a draft finds, the gravest first; with an error it cannot be published."""
    return _findings(request, house, who, id)


def _findings(request: Request, house: House, who: Who, id: int) -> Response:
    with house.begin_reading() as conn:
        editor(who, conn)
        open_ = edit.show_draft(conn, id).state == "draft"  # one that has ended holds no cells to check
        data = _state(conn, house, id, edit.check_draft(conn, id) if open_ else [])
    return tagged(request, DraftState, data, private=True)


@router.delete("/grid/drafts/{id}", status_code=204, response_class=Response, responses=problems(409))
def drop_draft(house: InHouse, who: Who, id: DraftNo) -> Response:
    """End a draft; nothing comes of it."""
    with house.begin_writing() as conn:
        edit.drop_draft(conn, id, actor=editor(who, conn).name)
    return Response(status_code=204)


@router.get("/grid/drafts/{id}/cells", response_model=CellCollection)
def draft_cells(request: Request, house: InHouse, who: Who, id: DraftNo) -> Response:
    """The cells of a draft as GeoJSON in degrees."""
    with house.begin_reading() as conn:
        editor(who, conn)
        cells = edit.read_draft(conn, id)
    return tagged(request, CellCollection, _collection(house, cells), private=True)


@router.get(
    "/grid/drafts/{id}/file",
    response_class=Response,
    responses={200: {"content": {GEOPACKAGE: {"schema": {"type": "string", "format": "binary"}}}}},
)
def draft_file(house: InHouse, who: Who, id: DraftNo) -> Response:
    """The cells of a draft as a GeoPackage in the city's system, to be edited in QGIS and sent back."""
    with TemporaryDirectory() as folder, house.begin_reading() as conn:
        editor(who, conn)
        path = FilePath(folder) / f"draft-{id}.gpkg"
        write_draft(conn, id, path, replace=False)
        content = path.read_bytes()
    named = {"Content-Disposition": f'attachment; filename="draft-{id}.gpkg"', "Cache-Control": "no-store"}
    return Response(content, media_type=GEOPACKAGE, headers=named)


@router.put("/grid/drafts/{id}/file", response_model=DraftState, responses=problems(409, 413))
def draft_file_back(
    request: Request,
    house: InHouse,
    who: Who,
    id: DraftNo,
    file: Annotated[bytes, Body(media_type="application/octet-stream", description="the GeoPackage, 32 MiB at most")],
    force: Annotated[bool, Query(description="also over what was saved since the file was taken")] = False,
) -> Response:
    """Replace the cells of a draft by those of its GeoPackage; 409 when it was saved since, 422 for an unfit file."""

    def do(conn: Connection, actor: str) -> list[Finding]:
        with TemporaryDirectory() as folder:
            path = FilePath(folder) / f"draft-{id}.gpkg"
            path.write_bytes(file)
            try:
                return bring_back(conn, id, path, force=force, actor=actor)
            except WanmiError as error:
                if "file" in error.where:
                    error.where["file"] = path.name
                raise

    return _act(request, house, who, id, do)


@router.post("/grid/drafts/{id}/split", response_model=DraftState, responses=problems(409))
def split_cell(request: Request, house: InHouse, who: Who, id: DraftNo, act: SplitCell) -> Response:
    """Split a cell by a line; the pieces get new numbers, the old one is retired."""

    def do(conn: Connection, actor: str) -> list[Finding]:
        line = _line(act.line, act.crs)
        return edit.split(conn, id, act.code, line, srid=act.crs, actor=actor, revision=act.revision)

    return _act(request, house, who, id, do)


@router.post("/grid/drafts/{id}/merge", response_model=DraftState, responses=problems(409))
def merge_cells(request: Request, house: InHouse, who: Who, id: DraftNo, act: MergeCells) -> Response:
    """Merge neighbours of one community; the new cell gets a new number."""

    def do(conn: Connection, actor: str) -> list[Finding]:
        return edit.merge(conn, id, act.codes, actor=actor, revision=act.revision)

    return _act(request, house, who, id, do)


@router.post("/grid/drafts/{id}/border", response_model=DraftState, responses=problems(409))
def move_border(request: Request, house: InHouse, who: Who, id: DraftNo, act: MoveBorder) -> Response:
    """Make a line the border between two neighbours of one community; both keep their codes."""

    def do(conn: Connection, actor: str) -> list[Finding]:
        line = _line(act.line, act.crs)
        return edit.move_border(conn, id, act.code, act.other, line, srid=act.crs, actor=actor, revision=act.revision)

    return _act(request, house, who, id, do)


@router.post("/grid/drafts/{id}/recode", response_model=DraftState, responses=problems(409))
def recode_cell(request: Request, house: InHouse, who: Who, id: DraftNo, act: RecodeCell) -> Response:
    """Give a cell another number; 409 for one that was ever used."""

    def do(conn: Connection, actor: str) -> list[Finding]:
        return edit.recode(conn, id, act.code, act.to, actor=actor, revision=act.revision)

    return _act(request, house, who, id, do)


@router.post("/grid/drafts/{id}/class", response_model=DraftState, responses=problems(409))
def set_class(request: Request, house: InHouse, who: Who, id: DraftNo, act: SetClass) -> Response:
    """Give a cell another management class."""

    def do(conn: Connection, actor: str) -> list[Finding]:
        return edit.set_area_class(conn, id, act.code, act.area_class, actor=actor, revision=act.revision)

    return _act(request, house, who, id, do)


@router.post("/grid/drafts/{id}/publish", response_model=PublishReport, responses=problems(409))
def publish_draft(request: Request, house: InHouse, who: Who, id: DraftNo, act: PublishDraft) -> Response:
    """Make a draft the grid, with components and open cases, at one instant.

    `dry` (the default) changes nothing: the answer says what would be.
    422 names the first error when its check finds any; 409 when its cells have changed since it was opened.
    """
    with house.begin_writing() as conn:
        actor = editor(who, conn)
        report = publish_grid(conn, id, actor=actor.name, commit=not act.dry, revision=act.revision)
    data = {
        "draft": report.edition.id,
        "committed": report.committed,
        "cells": [{**vars(cell), "successors": [vars(kin) for kin in cell.successors]} for cell in report.cells],
        "components": [vars(moved) for moved in report.components],
        "cases": [vars(moved) for moved in report.cases],
        "rules": [vars(rule) for rule in report.rules],
        "units": [vars(unit) for unit in report.units],
        "components_before": report.components_before,
        "components_after": report.components_after,
        "open_cases_before": report.open_cases_before,
        "open_cases_after": report.open_cases_after,
    }
    return tagged(request, PublishReport, data, private=True)


# ── what they share ────────────────────────────────────────


def _act(
    request: Request, house: House, who: Who, id: int, act: Callable[[Connection, str], list[Finding]]
) -> Response:
    """One act on a draft in one transaction: the draft after it and what its check found."""
    with house.begin_writing() as conn:
        actor = editor(who, conn)
        data = _state(conn, house, id, act(conn, actor.name))
    return tagged(request, DraftState, data, private=True)


def _line(points: Sequence[Sequence[float]], srid: int) -> LineString:
    """The line. UnfitCoordinates or Invalid for points that the system cannot hold."""
    x, y = np.asarray(points, dtype=np.float64).T
    good = fits(x, y, srid)
    if not good.all():
        first = int(np.flatnonzero(~good)[0])
        raise Invalid(
            f"point {first + 1} of the line ({x[first]}, {y[first]}) does not fit EPSG:{srid}",
            f"线的第 {first + 1} 点({x[first]}, {y[first]})不符合坐标系 EPSG:{srid}",
            mend="longitude before latitude; say in crs which system the numbers are in",
            mend_zh="经度在前、纬度在后;请用 crs 注明坐标系",
            field="line",
        )
    return LineString(np.column_stack([x, y]))


def _info(house: House, draft: edit.Draft) -> dict[str, Any]:
    times = {name: house.at(getattr(draft, name)) for name in ("opened_at", "saved_at", "ended_at")}
    return {**vars(draft), **times}


def _state(conn: Connection, house: House, id: int, findings: Sequence[Finding]) -> dict[str, Any]:
    weight = {"error": 0, "warning": 1, "note": 2}
    gravest = sorted(findings, key=lambda finding: weight[finding.severity])[:MOST_FINDINGS]
    spots = [None if found.place is None or found.place.is_empty else found.place.centroid for found in gravest]
    degrees = reproject(np.array([spot or shapely.Point() for spot in spots], dtype=object), house.city.srid, GEODETIC)
    faults = []
    for finding, spot, point in zip(gravest, spots, degrees, strict=True):
        known = {name: getattr(finding, name) for name in FAULT}
        there = spot is not None
        faults.append(
            {**known, "lon": round(point.x, 7) if there else None, "lat": round(point.y, 7) if there else None}
        )
    errors = sum(finding.severity == "error" for finding in findings)
    return {**_info(house, edit.show_draft(conn, id)), "errors": errors, "findings": faults}


def _collection(house: House, cells: Any) -> dict[str, Any]:
    degrees = reproject(np.asarray(cells.geometry, dtype=object), house.city.srid, GEODETIC)
    features = []
    for cell, shape in zip(cells.itertuples(), degrees, strict=True):
        rings = [shape.exterior, *shape.interiors]
        coordinates = [np.round(shapely.get_coordinates(ring), DECIMALS).tolist() for ring in rings]
        since = getattr(cell, "since", None)
        features.append(
            {
                "id": cell.code,
                "geometry": {"type": "Polygon", "coordinates": coordinates},
                "properties": {
                    "code": cell.code,
                    "area_class": cell.area_class,
                    "area_m2": round(cell.geometry.area, 2),
                    "since": house.at(since) if isinstance(since, datetime) else None,
                },
            }
        )
    return {"features": features, "simulated": house.city.simulated}


def _relative(code: str, row: Any) -> dict[str, Any]:
    return {"code": code, "share_of_old": row.share_of_old, "share_of_new": row.share_of_new}
