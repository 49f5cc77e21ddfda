"""Components over HTTP: their versions; adding, changing, moving, retiring one."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
import shapely
from fastapi import APIRouter, Header, Path, Query, Request, Response

from api.answers import problems, tagged
from api.componentshapes import (
    ComponentPast,
    ComponentVersion,
    EditComponent,
    NewComponent,
    RetireComponent,
    ReviveComponent,
)
from api.deps import House, InHouse, Who, editor
from gis.crs import GEODETIC, fits, reproject
from gis.errors import Invalid, UnfitCoordinates
from gis.reference import Reference
from layers import edits
from layers.edits import FIELDS, Version

router = APIRouter(tags=["components"])
DECIMALS = 9  #: of degrees: a tenth of a millimetre
Code = Annotated[str, Path(pattern="^[0-9]{16,17}$", description="16 or 17 digits", examples=["6109020101000001"])]
Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", max_length=200, description="the same key again answers what it made"),
]


@router.get("/components/{code}/versions", response_model=ComponentPast)
def component_versions(
    request: Request,
    house: InHouse,
    who: Who,
    code: Code,
    at: Annotated[
        datetime | None, Query(description="only the version that held then", examples=["2026-03-02T12:00:00+08:00"])
    ] = None,
) -> Response:
    """All versions of a component: what changed, who did it, when and why; also of one that was retired."""
    with house.begin_reading() as conn:
        who.reader(conn)
        past = edits.versions(conn, code)
        wanted = None if at is None else edits.version_at(conn, code, house.city.instant(at, "at"))
    facts = [
        _facts(house, version, past[n - 1] if n else None)
        for n, version in enumerate(past)
        if wanted is None or version.id == wanted.id
    ]
    data = {"code": code, "versions": facts}
    return tagged(request, ComponentPast, data, private=house.reading == "accounts")


@router.post(
    "/components",
    status_code=201,
    response_model=ComponentVersion,
    responses={
        200: {"model": ComponentVersion, "description": "the key was seen before: its component"},
        **problems(409),
    },
)
def add_component(request: Request, house: InHouse, who: Who, new: NewComponent, key: Key = None) -> Response:
    """Add a component: it gets the next code of its class in the district where it stands. For GIS editors."""
    with house.begin_writing() as conn:
        actor = editor(who, conn)
        fields = {**new.given(), "geometry": _shape(house, new.geometry, new.crs)}
        made, fresh = edits.add(
            conn, new.class_, fields, srid=house.city.srid, actor=actor.name, reason=new.reason, key=key or None
        )
    status = 201 if fresh else 200
    answer = tagged(request, ComponentVersion, _facts(house, made, None), status=status, private=True)
    answer.headers["Location"] = f"/components/{made.code}"
    return answer


@router.patch("/components/{code}", response_model=ComponentVersion, responses=problems(409))
def change_component(request: Request, house: InHouse, who: Who, code: Code, edit: EditComponent) -> Response:
    """Change fields of a component; what others have changed since is merged. For GIS editors.

    409 when somebody has given the same field another value since `base`: with both values and who wrote the other.
    An edit that went in already is answered with the version that holds.
    """
    with house.begin_writing() as conn:
        actor = editor(who, conn)
        fields = edit.given()
        if edit.geometry is not None:
            fields["geometry"] = _shape(house, edit.geometry, edit.crs)
        made = edits.change(
            conn, code, fields, base_id=edit.base, srid=house.city.srid, actor=actor.name, reason=edit.reason
        )
        past = edits.versions(conn, code)
    before = next((old for old, new in pairwise(past) if new.id == made.id), None)
    return tagged(request, ComponentVersion, _facts(house, made, before), private=True)


@router.post("/components/{code}/retire", response_model=ComponentVersion, responses=problems(409))
def retire_component(request: Request, house: InHouse, who: Who, code: Code, act: RetireComponent) -> Response:
    """End a component that stands no more; its code is not used again. For GIS editors."""
    with house.begin_writing() as conn:
        actor = editor(who, conn)
        gone = edits.retire(conn, code, base_id=act.base, actor=actor.name, reason=act.reason)
    return tagged(request, ComponentVersion, _facts(house, gone, None), private=True)


@router.post("/components/{code}/revive", response_model=ComponentVersion, responses=problems(409))
def revive_component(request: Request, house: InHouse, who: Who, code: Code, act: ReviveComponent) -> Response:
    """Bring back a component that was retired by mistake, as it was. For GIS editors."""
    with house.begin_writing() as conn:
        actor = editor(who, conn)
        back = edits.revive(conn, code, base_id=act.base, srid=house.city.srid, actor=actor.name, reason=act.reason)
    return tagged(request, ComponentVersion, _facts(house, back, None), private=True)


def _shape(house: House, given: dict[str, Any], crs: int) -> Any:
    """The geometry in the city's system. Invalid or UnfitCoordinates for what is none, or none in that system."""
    try:
        shape = shapely.force_2d(shapely.from_geojson(json.dumps(given)))
    except (shapely.GEOSException, ValueError, TypeError, RecursionError) as bad:
        raise _no_geometry() from bad
    points = shapely.get_coordinates(shape)
    if shape is None or not len(points):
        raise _no_geometry()
    good = fits(points[:, 0], points[:, 1], crs)
    if not good.all():
        x, y = points[int(np.flatnonzero(~good)[0])]
        raise UnfitCoordinates(
            f"({x:.10g}, {y:.10g}) cannot be a place in EPSG:{crs}",
            f"（{x:.10g}，{y:.10g}）不可能是 EPSG:{crs} 中的位置",
            mend="longitude before latitude; say in crs which system the numbers are in",
            mend_zh="经度在前、纬度在后；请用 crs 注明坐标系",
            field="geometry",
        )
    return Reference.parse(crs).to_city([shape], house.city.srid)[0]


def _no_geometry() -> Invalid:
    return Invalid(
        "geometry is no GeoJSON of a point, line or polygon",
        "geometry 不是有效的 GeoJSON",
        mend='write it as {"type": "Point", "coordinates": [109.02, 32.69]}',
        mend_zh='请写作 {"type": "Point", "coordinates": [109.02, 32.69]}',
        field="geometry",
    )


def _facts(house: House, version: Version, before: Version | None) -> dict[str, Any]:
    shape = reproject(version.fields["geometry"], house.city.srid, GEODETIC)
    rounded = shapely.transform(shape, lambda points: np.round(points, DECIMALS))
    fields = {name: version.fields[name] for name in FIELDS if name != "geometry"}
    days = {name: None if fields[name] is None else str(fields[name]) for name in ("surveyed_on", "changed_on")}
    return {
        **fields,
        **days,
        "version": version.id,
        "code": version.code,
        "class": version.class_code,
        "cell_code": version.cell_code,
        "geometry": json.loads(shapely.to_geojson(rounded)),
        "since": house.at(version.since),
        "until": None if version.until is None else house.at(version.until),
        "actor": version.actor,
        "reason": version.reason,
        "ended_by": version.ended_by,
        "ended_why": version.ended_why,
        "changed": [] if before is None else list(edits.changed_fields(before, version)),
        "simulated": house.city.simulated,
    }
