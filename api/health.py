"""``GET /health``: whether the database answers, its schema is the program's, and the calendar reaches far enough."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection

from api.answers import tagged
from api.deps import House, InHouse
from api.shapes import Health
from cases.calendar import held_calendar
from gis.db import query
from gis.errors import WanmiError
from gis.migrate import pending

router = APIRouter(tags=["health"])
WARN_DAYS = 60  #: before the calendar's end


@router.get("/health", response_model=Health, responses={503: {"model": Health, "description": "something is missing"}})
def health(request: Request, house: InHouse) -> Response:
    """Database, migrations, calendar; 503 when one of them fails. Open to everybody: it tells no facts of the city."""
    with house.begin_reading() as conn:
        versions = conn.execute(query("gis", "server_version")).one()
        missing = pending(conn)
        calendar = (
            {"status": "failing", "detail": "not looked at while migrations are missing"}
            if missing
            else _calendar(conn, house)
        )
    database = {"status": "ok", "postgresql": versions.postgresql, "postgis": versions.postgis}
    migrations = {"status": "failing" if missing else "ok", "pending": missing}
    failing = "failing" in (migrations["status"], calendar["status"])
    data = {
        "status": "failing" if failing else "ok",
        "city": house.city.id,
        "simulated": house.city.simulated,
        "database": database,
        "migrations": migrations,
        "calendar": calendar,
    }
    answer = tagged(request, Health, data, status=503 if failing else 200)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _calendar(conn: Connection, house: House) -> dict[str, Any]:
    """Until when working time is known and published, and whether the end is soon."""
    try:
        calendar = held_calendar(conn)
    except WanmiError as error:
        return {"status": "failing", "detail": error.en}
    end = datetime.fromtimestamp(calendar.work.known_to / 1e6, UTC)
    days = (end - datetime.now(UTC)).days
    status = "failing" if days < 0 else "ends soon" if days < WARN_DAYS else "ok"
    published = calendar.published_to
    return {
        "status": status,
        "known_to": house.at(end),
        "days_left": days,
        "published_to": None if published is None else published.isoformat(),
    }
