"""Events as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

One poller per process reads the store's last event id; a stream reads its own events only when there is something new.
Two hundred idle watchers cost one query per tick.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool

from toprung.serve.store import Store
from toprung.tuning.records import Event, SweepState

TICK_S = 0.1
PING_S = 15.0
LIFE_S = 15 * 60.0
"""A connection ends by itself after that long, so that none is forgotten; the client comes back with its last id."""
_BATCH = 500


class Broadcaster:
    """Wakes streams when the store has new events. Polls only while somebody listens."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last = 0
        self._listeners = 0
        self._changed: asyncio.Condition | None = None
        self._task: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Keeps the poller going while a stream is open."""
        self._changed = self._changed or asyncio.Condition()
        self._listeners += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll(), name="event-poller")
        try:
            yield
        finally:
            self._listeners -= 1

    async def newer_than(self, event_id: int, timeout_s: float) -> bool:
        """Waits until there is an event with a larger id; False when the time is over first."""
        assert self._changed is not None, "call inside `listening`"
        async with self._changed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait_for(lambda: self._last > event_id)
        return self._last > event_id

    async def _poll(self) -> None:
        assert self._changed is not None
        while self._listeners:
            with contextlib.suppress(Exception):  # the store is away; the streams stay quiet until it is back
                last = await run_in_threadpool(self._store.last_event_id)
                if last != self._last:
                    self._last = last
                    async with self._changed:
                        self._changed.notify_all()
            await asyncio.sleep(TICK_S)


async def stream(
    store: Store, broadcaster: Broadcaster, after: int, sweep_id: str | None, *, life_s: float = LIFE_S
) -> AsyncIterator[str]:
    """The text of an event stream from `after` on; a sweep's ends with its final state."""
    last, seen = after, after
    ends_at = time.monotonic() + life_s
    yield "retry: 1000\n: connected\n\n"
    async with broadcaster.listening():
        while time.monotonic() < ends_at:
            if not await broadcaster.newer_than(seen, min(PING_S, max(0.0, ends_at - time.monotonic()))):
                yield ": ping\n\n"
                continue
            # everything up to here is looked at; events of other sweeps don't wake this stream again
            seen = await run_in_threadpool(store.last_event_id)
            while events := await run_in_threadpool(store.events_after, last, sweep_id=sweep_id, limit=_BATCH):
                for event in events:
                    yield _text(event)
                    last = event.id
                    if sweep_id is not None and is_final(event):
                        return


def is_final(event: Event) -> bool:
    """Whether an event is the last of its sweep."""
    return event.type == "sweep.state" and SweepState(event.data["state"]).finished


def _text(event: Event) -> str:
    return f"id: {event.id}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n"
