"""Events for streams: the store is read once a tick for all of them, however many watch.

The newest events are kept as ready-made frames. A stream asks for what comes after the last event that it has looked
at: from here where that is recent, from the store where it is not. Nothing is pushed into a stream, so a slow client
holds up nobody and fills no queue.
"""

from __future__ import annotations

import asyncio
import bisect
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from toprung.errors import NotFound, ToprungError
from toprung.serve.store import Store
from toprung.tuning.records import Event, SweepState

logger = logging.getLogger(__name__)

TICK_S = 0.2
"""How long the store is left alone after a look."""
PAGE = 500
"""Events that a stream takes from the store at once."""
_BATCH = 1_000
_KEPT = 5_000
"""Newest events that are kept in memory, about 2 MB."""


@dataclass(frozen=True, slots=True)
class Frame:
    """An event as it goes over the wire."""

    id: int
    sweep_id: str
    final: bool
    """Its sweep has ended with it."""
    data: bytes


def frame_of(event: Event) -> Frame:
    data = f"id: {event.id}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n"
    return Frame(event.id, event.sweep_id, _is_final(event), data.encode())


def _is_final(event: Event) -> bool:
    return event.type == "sweep.state" and SweepState(event.data["state"]).finished


class Feed:
    """The events of a store. Belongs to the event loop that its watchers are on."""

    def __init__(
        self,
        store: Store,
        *,
        tick_s: float = TICK_S,
        kept: int = _KEPT,
        on_news: Callable[[Sequence[Event]], None] | None = None,
    ) -> None:
        self._store = store
        self._on_news = on_news
        self._tick_s = tick_s
        self._kept = kept
        self._watchers = 0
        self._poller: asyncio.Task[None] | None = None
        self._reset()

    def _reset(self) -> None:
        self.news = asyncio.Event()
        """Set once when there is more; replaced by another then."""
        self._frames: list[Frame] = []
        self._floor: int | None = None
        """All events after this one, up to the head, are in `_frames`; None before the first look."""
        self._head = 0

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """The store is polled while somebody watches."""
        self._watchers += 1
        if self._poller is None:
            self._reset()
            self._poller = asyncio.create_task(self._poll())
        try:
            yield
        finally:
            self._watchers -= 1
            if self._watchers == 0:
                poller, self._poller = self._poller, None
                poller.cancel()
                with suppress(asyncio.CancelledError):
                    await poller

    async def after(self, position: int, sweep_id: str | None = None) -> tuple[list[Frame], int]:
        """Events after `position`, of one sweep or of all.

        Returns:
            Frames, and the position to ask from next. No frames: wait for `news`, taken before this was called.

        Raises:
            Unavailable: the store does not answer.
        """
        if self._floor is None or position < self._floor:
            return await self._read(position, sweep_id)
        start = bisect.bisect_right(self._frames, position, key=lambda frame: frame.id)
        found = [frame for frame in self._frames[start:] if sweep_id in (None, frame.sweep_id)]
        return found, max(position, self._head)

    async def has(self, sweep_id: str) -> bool:
        """Whether the sweep is there; where the store does not answer it may be."""
        try:
            await asyncio.to_thread(self._store.get_sweep, sweep_id)
        except NotFound:
            return False
        except ToprungError as error:
            logger.warning("cannot see whether sweep %s is there: %s", sweep_id, error)
        return True

    async def _read(self, position: int, sweep_id: str | None) -> tuple[list[Frame], int]:
        head = self._head  # as ids are committed in order, a read from now on sees all up to here
        events = await asyncio.to_thread(self._store.events_after, position, sweep_id=sweep_id, limit=PAGE)
        frames = [frame_of(event) for event in events]
        if len(frames) == PAGE:
            return frames, frames[-1].id
        return frames, max(position, head, frames[-1].id if frames else 0)

    async def _poll(self) -> None:
        while True:
            more = False
            try:
                more = await self._look()
            except ToprungError as error:  # locked, full: streams stay open, and go on when it is back
                logger.warning("the event feed cannot read the store: %s", error)
            except Exception:
                logger.exception("the event feed failed to read the store")
            if not more:
                await asyncio.sleep(self._tick_s)

    async def _look(self) -> bool:
        """Take in what is new. Returns whether there is more at once."""
        if self._floor is None:
            self._head = self._floor = await asyncio.to_thread(self._store.last_event_id)
            self._tell()
            return False
        events = await asyncio.to_thread(self._store.events_after, self._head, limit=_BATCH)
        if events:
            self._frames += [frame_of(event) for event in events]
            self._head = self._frames[-1].id
            if self._on_news is not None:
                self._on_news(events)
            self._trim()
            self._tell()
        return len(events) == _BATCH

    def _trim(self) -> None:
        if len(self._frames) > self._kept:
            dropped = len(self._frames) - self._kept
            self._floor = self._frames[dropped - 1].id
            self._frames = self._frames[dropped:]

    def _tell(self) -> None:
        news, self.news = self.news, asyncio.Event()
        news.set()
