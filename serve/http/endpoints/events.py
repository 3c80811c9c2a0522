"""Events as they happen, by server-sent events."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from starlette.responses import Response

from toprung.errors import Malformed, Problem
from toprung.serve.http.context import Context, SweepRef
from toprung.serve.http.endpoints.documented import content, problems
from toprung.serve.http.feed import PAGE
from toprung.serve.http.streams import ended_stream, event_stream, read_page

router = APIRouter(tags=["events"])

_STREAM = content("text/event-stream", "id, event (the type) and data (the event as JSON)")
_ID = re.compile(r"[0-9]{1,18}")
_NEWEST = "newest"


@dataclass(frozen=True)
class Start:
    """Where a stream begins."""

    after: int
    """The event after which to start, 0 for the first."""
    newest: bool = False
    """The caller doesn't know which event that is."""


async def _start(
    context: Context,
    header: Annotated[str | None, Header(alias="Last-Event-ID", description="The last event seen.")] = None,
    query: Annotated[
        str | None,
        Query(
            alias="last_event_id", description="The same, where headers can't be set; or `newest`: none of the past."
        ),
    ] = None,
) -> Start:
    """Where to start.

    Raises:
        Malformed: it is none that this service gave out.
    """
    # a browser that reconnects sends the header, and the query of the first time
    given, pointer = (header, "/header/last-event-id") if header is not None else (query, "/query/last_event_id")
    if given is None:
        return Start(0)
    if given != _NEWEST and _ID.fullmatch(given) is None:
        raise _bad_id(given, pointer, "is not an event's id")
    newest = await asyncio.to_thread(context.store.last_event_id)
    if given == _NEWEST:
        return Start(newest, newest=True)
    if int(given) > newest:  # it would wait for ever in silence
        raise _bad_id(given, pointer, f"is beyond the newest event, {newest}: is it of another service?")
    return Start(int(given))


From = Annotated[Start, Depends(_start)]


@router.get(
    "/v1/events", operation_id="streamEvents", response_class=Response, responses={200: _STREAM, **problems(400)}
)
async def stream_events(context: Context, start: From) -> Response:
    """Events of all sweeps."""
    return event_stream(context.feed, start.after, None, named=start.newest)


@router.get(
    "/v1/sweeps/{sweep}/events",
    operation_id="streamSweepEvents",
    response_class=Response,
    responses={
        200: _STREAM,
        204: {"description": "The sweep has ended and its last event was seen: don't come back"},
        **problems(400, 404),
    },
)
async def stream_sweep_events(context: Context, sweep: SweepRef, start: From) -> Response:
    """Events of one sweep, until it has ended."""
    found = await asyncio.to_thread(context.store.get_sweep, sweep)
    if not found.state.finished:
        return event_stream(context.feed, start.after, found.id, named=start.newest)
    frames = await read_page(context.store, start.after, found.id)
    if len(frames) < PAGE and not any(frame.final for frame in frames):
        return Response(status_code=204)
    return ended_stream(context.store, found.id, frames)


def _bad_id(given: str, pointer: str, what: str) -> Malformed:
    message = f"{given[:50]!r} {what}; leave it out to start from the first event"
    return Malformed(f"Last-Event-ID {message}.", problems=[Problem(pointer, "bad_event_id", message)])
