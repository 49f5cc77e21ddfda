"""``GET /events``: desks hear when a case changed."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.answers import problems
from api.deps import InHouse, Who

router = APIRouter(tags=["workflow"])


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "server-sent events"}, **problems(503)},
)
async def hear_events(request: Request, house: InHouse, who: Who) -> StreamingResponse:
    """Server-sent events: `case` with number, stage and number of the last event, when a case changed.

    `again` comes when some may have been missed. Ask the desk again then; nothing else depends on it.
    """

    def sees() -> tuple[int, ...] | None:
        with house.begin_reading() as conn:
            return who.reader(conn)

    unit_ids = await run_in_threadpool(sees)
    told = house.bell.listen(unit_ids)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(told, media_type="text/event-stream", headers=headers)
