"""Answers that go on for a while: server-sent events (WHATWG HTML, section 9.2) and followed logs."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from pathlib import Path

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from toprung.errors import NotFound, ToprungError
from toprung.serve.http.feed import PAGE, Feed, Frame
from toprung.serve.store import Store
from toprung.tuning.records import Trial, TrialState

logger = logging.getLogger(__name__)

PING_S = 15.0
LIFE_S = 15 * 60.0
"""A connection ends then and the client comes back: whatever has gone wrong with it unnoticed ends too."""
_RETRY_MS = 1_000
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

_LOG_POLL_S = 0.3
_LOG_CHUNK_BYTES = 256 * 1024
_LOG_GRACE_S = 1.0
"""An attempt's last lines may arrive a little after the news of its end."""


class LiveStream(StreamingResponse):
    """A stream that no proxy holds back, sent inside of a context that ends with it."""

    def __init__(
        self,
        content: AsyncIterator[bytes],
        media_type: str,
        *,
        within: AbstractAsyncContextManager[None] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(content, headers={**_HEADERS, **(headers or {})}, media_type=media_type)
        self._within = within or nullcontext()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._within:
            await super().__call__(scope, receive, send)


def event_stream(
    feed: Feed,
    after: int,
    sweep_id: str | None,
    *,
    named: bool = False,
    ping_s: float = PING_S,
    life_s: float = LIFE_S,
) -> LiveStream:
    """Events as they happen, until the sweep's last one.

    Args:
        feed: where they come from.
        after: the event after which to start.
        sweep_id: of this sweep alone.
        named: tell the caller which event that is, so that it can come back before there was another one.
        ping_s: how long it may be silent.
        life_s: when it ends, roughly.
    """
    life_s *= random.uniform(0.9, 1.0)  # not all at the same moment
    content = _live(feed, after, sweep_id, named, ping_s, life_s)
    return LiveStream(content, "text/event-stream", within=feed.watched())


def ended_stream(store: Store, sweep_id: str, first: list[Frame]) -> LiveStream:
    """The events of an ended sweep, which has no more to come: `first` and what follows it, up to its last one."""
    return LiveStream(_replay(store, sweep_id, first), "text/event-stream")


async def _live(
    feed: Feed, position: int, sweep_id: str | None, named: bool, ping_s: float, life_s: float
) -> AsyncIterator[bytes]:
    yield _preamble(position if named else None)
    now = time.monotonic()
    ends_at, ping_at = now + life_s, now + ping_s
    while now < ends_at:
        news = feed.news
        try:
            frames, position = await feed.after(position, sweep_id)
        except ToprungError as error:
            logger.warning("an event stream ends early, its client will come back: %s", error)
            return
        now = time.monotonic()
        if frames:
            data, final = _joined(frames, sweep_id)
            yield data
            if final:
                return
            ping_at = now + ping_s
        elif now >= ping_at:
            if sweep_id is not None and not await feed.has(sweep_id):
                return  # it was deleted, and its last event with it; the client is told when it comes back
            yield b": ping\n\n"
            ping_at = now + ping_s
        else:
            await _until(news, min(ping_at, ends_at) - now)
        now = time.monotonic()


async def _replay(store: Store, sweep_id: str, frames: list[Frame]) -> AsyncIterator[bytes]:
    yield _preamble()
    while frames:
        data, final = _joined(frames, sweep_id)
        yield data
        if final or len(frames) < PAGE:
            return
        frames = await read_page(store, frames[-1].id, sweep_id)


async def read_page(store: Store, after: int, sweep_id: str) -> list[Frame]:
    """A page of a sweep's events."""
    frames, _ = await Feed(store).after(after, sweep_id)
    return frames


def _preamble(named: int | None = None) -> bytes:
    """A browser takes the id of even an empty event for the last one that it has seen, and comes back with it."""
    return b"retry: %d\n%s\n" % (_RETRY_MS, b"" if named is None else b"id: %d\n" % named)


def _joined(frames: list[Frame], sweep_id: str | None) -> tuple[bytes, bool]:
    """The frames up to the sweep's last one, and whether that is among them."""
    if sweep_id is not None:
        for index, frame in enumerate(frames):
            if frame.final:
                return b"".join(each.data for each in frames[: index + 1]), True
    return b"".join(frame.data for frame in frames), False


async def _until(news: asyncio.Event, timeout_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):  # unlike wait_for it makes no task
            await news.wait()


def has_ended(trial: Trial, attempt: int) -> bool:
    """Whether an attempt of the trial is over."""
    waits_again = trial.state in (TrialState.PENDING, TrialState.PAUSED) and trial.attempt == attempt
    return trial.state.finished or trial.attempt > attempt or waits_again


def log_so_far(path: Path, offset: int) -> Iterator[bytes]:
    """A log from a byte on."""
    while data := _read(path, offset):
        offset += len(data)
        yield data


async def follow_log(store: Store, path: Path, offset: int, trial: Trial, attempt: int) -> AsyncIterator[bytes]:
    """A log from a byte on, and what is added to it until the attempt has ended."""
    ended_at: float | None = None
    while True:
        if ended_at is None:
            try:
                trial = await asyncio.to_thread(store.get_trial, trial.sweep_id, trial.number)
            except NotFound:  # its sweep was deleted
                return
            except ToprungError as error:
                logger.warning("cannot see whether trial %d goes on: %s", trial.number, error)
            if has_ended(trial, attempt):
                ended_at = time.monotonic()
        data = await asyncio.to_thread(_read, path, offset)
        if data:
            offset += len(data)
            yield data
        elif ended_at is not None and time.monotonic() >= ended_at + _LOG_GRACE_S:
            return
        else:
            await asyncio.sleep(_LOG_POLL_S)


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(_LOG_CHUNK_BYTES)
    except FileNotFoundError:  # it has said nothing yet
        return b""
