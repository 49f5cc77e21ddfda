"""The whole application on one page: what it serves, in which order requests pass, how it starts and ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
from fastapi import Depends, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.middleware.gzip import GZipMiddleware

from api import (
    acts,
    cases,
    catalogues,
    components,
    console,
    events,
    geocode,
    glyphs,
    grids,
    health,
    heat,
    inventory,
    manyplaces,
    photos,
    places,
    sessions,
    tiles,
)
from api.answers import COMMON, SMALLEST, add_handlers, problems
from api.deps import House, read_stage_groups
from api.porch import Porch
from api.shapes import Problem
from cases.reports import ensure_partition_of_today
from gis.errors import Invalid

ABOUT = """Digital city management (数字城管): who is responsible where, cases, components, tiles, heat maps.

Lengths are metres, areas m², densities cases per km²; longitude and latitude are degrees in EPSG:4326 unless `crs` says
otherwise; instants carry their offset. Every error has one shape, in English and Chinese (Problem). Writes need an
account: a token (`Authorization: Bearer …`) or a session with its CSRF token (`X-CSRF-Token`)."""


def create_app(house: House, *, threads: int = 16, log: bool = True) -> FastAPI:
    """The application for one city; ``threads`` requests are worked on at once (the pool holds as many connections)."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = threads
        yield

    app = FastAPI(
        title="Wanmi 万米",
        version="1",
        description=ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=problems(*COMMON),
        dependencies=[Depends(refuse_unknown_parameters)],
        openapi_url="/openapi.json",
    )
    app.state.house = house
    with house.engine.begin() as conn:
        app.state.stage_groups = read_stage_groups(conn)
        ensure_partition_of_today(conn)
    # inventory first: /components/changes is no code
    for part in (
        console,
        inventory,
        places,
        manyplaces,
        geocode,
        components,
        cases,
        acts,
        events,
        photos,
        grids,
        catalogues,
        tiles,
        heat,
        glyphs,
        sessions,
        health,
    ):
        app.include_router(part.router)
    add_handlers(app)
    app.add_middleware(GZipMiddleware, minimum_size=SMALLEST, compresslevel=5)
    app.add_middleware(Porch, log=log, outside_map=house.outside_map)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


async def refuse_unknown_parameters(request: Request) -> None:
    """A mistyped filter must not answer as if it were none."""
    route = request.scope.get("route")
    if route is None or not request.query_params:
        return
    document = request.app.openapi()
    described = document["paths"].get(getattr(route, "path", ""), {}).get(request.method.lower(), {})
    known = {parameter["name"] for parameter in described.get("parameters", ()) if parameter["in"] == "query"}
    for name in request.query_params:
        if name not in known:
            raise Invalid(
                f"there is no parameter {name[:60]!r} here",
                f"没有参数 {name[:60]!r}",
                mend=f"these are taken: {', '.join(sorted(known)) or 'none'}",
                mend_zh=f"可用参数:{'、'.join(sorted(known)) or '无'}",
                field=name[:60],
            )


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the one shape of errors in it."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = document
    return app.openapi_schema
