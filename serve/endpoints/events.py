"""Events, streamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from toprung.errors import Malformed
from toprung.serve.endpoints.sweeps import SweepName
from toprung.serve.problems import RESPONSES
from toprung.serve.requests import Parts, PartsDep
from toprung.serve.stream import is_final, stream
from toprung.tuning.records import Event

router = APIRouter(prefix="/v1", tags=["events"], responses=RESPONSES)

_SSE = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "id, event, data"},
    204: {"description": "The sweep has ended and there is nothing to come."},
}
_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}

LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", description="Go on after this event.")]
LastEventIdQuery = Annotated[str | None, Query(alias="last_event_id", description="The same, for the first request.")]


@router.get("/events", operation_id="stream_events", responses=_SSE, response_class=StreamingResponse)
async def all_events(parts: PartsDep, header: LastEventId = None, query: LastEventIdQuery = None) -> Response:
    """The events of all sweeps from now on, or after `Last-Event-ID`."""
    after = _after(header, query)
    if after is None:
        after = await run_in_threadpool(parts.store.last_event_id)
    return _stream(parts, after, None)


@router.get(
    "/sweeps/{sweep}/events", operation_id="stream_sweep_events", responses=_SSE, response_class=StreamingResponse
)
async def sweep_events(
    parts: PartsDep, sweep: SweepName, header: LastEventId = None, query: LastEventIdQuery = None
) -> Response:
    """The events of a sweep from its beginning, or after `Last-Event-ID`; ends with its final state."""
    record = await run_in_threadpool(parts.store.get_sweep, sweep)
    after = _after(header, query) or 0
    if record.state.finished and await run_in_threadpool(_told, parts, after, record.id):
        return Response(status_code=204)
    return _stream(parts, after, record.id)


def _told(parts: Parts, after: int, sweep_id: str) -> bool:
    """Whether the final event of a finished sweep was before `after`. Later ones (a tracking warning) don't count."""
    return not any(is_final(event) for event in _remaining(parts, after, sweep_id))


def _remaining(parts: Parts, after: int, sweep_id: str) -> Iterator[Event]:
    while events := parts.store.events_after(after, sweep_id=sweep_id):
        yield from events
        after = events[-1].id


def _stream(parts: Parts, after: int, sweep_id: str | None) -> Response:
    body = stream(parts.store, parts.broadcaster, after, sweep_id)
    return StreamingResponse(body, media_type="text/event-stream", headers=_HEADERS)


def _after(header: str | None, query: str | None) -> int | None:
    text = header or query
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise Malformed(f"Last-Event-ID must be the id of an event, a whole number, not {text[:80]!r}")
    return int(text)
