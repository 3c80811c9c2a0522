"""The event feed: whoever watches, however often they leave, sees each event once; the store is read once for all."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from toprung.serve.http.feed import Feed
from toprung.serve.http.streams import event_stream
from toprung.serve.store import Store
from toprung.tuning.records import Sweep, SweepState
from toprung.tuning.spec import spec_from

SPEC = {
    "trainable": "train:train",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "budget": {"trials": 3},
}


@pytest.fixture
def sweep(store: Store) -> Sweep:
    made, _ = store.create_sweep(spec_from(SPEC), name="watched", num_trials=3)
    return store.set_sweep_state(made.id, SweepState.RUNNING)


async def watch(feed: Feed, sweep_id: str, stays: random.Random) -> list[int]:
    """Ids of the sweep's events, seen over many connections of a few pieces each, up to its last one."""
    seen: list[int] = []
    ended = False
    while not ended:
        stream = event_stream(feed, seen[-1] if seen else 0, sweep_id)
        left = stays.randint(2, 4)  # the first piece holds no events
        async with feed.watched():
            async for piece in stream.body_iterator:
                assert isinstance(piece, bytes)
                lines = piece.splitlines()
                seen.extend(int(line.removeprefix(b"id: ")) for line in lines if line.startswith(b"id: "))
                ended = b'"state":"succeeded"' in piece
                left -= 1
                if ended or not left:
                    break
    return seen


async def test_watchers_that_come_and_go_see_each_event_once(store: Store, sweep: Sweep) -> None:
    feed = Feed(store, tick_s=0.001, kept=20)  # so few that some must go to the store for what they missed
    stays = random.Random(0)
    watchers = [asyncio.create_task(watch(feed, sweep.id, stays)) for _ in range(20)]
    for number in range(100):
        await asyncio.to_thread(store.add_event, sweep.id, "warning", {"message": str(number)})
    await asyncio.to_thread(store.set_sweep_state, sweep.id, SweepState.SUCCEEDED)

    ids = [event.id for event in store.events_after(0, sweep_id=sweep.id)]
    assert len(ids) == 103
    assert await asyncio.gather(*watchers) == [ids] * 20


async def test_the_store_is_read_once_for_all(store: Store, sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Feed(store, tick_s=0.001)
    position = store.last_event_id()
    reads: list[int] = []
    events_after = store.events_after

    def counted(after: int, **options: Any) -> Any:
        found = events_after(after, **options)
        reads.append(len(found))
        return found

    monkeypatch.setattr(store, "events_after", counted)
    async with feed.watched():
        while feed._floor is None:
            await feed.news.wait()
        news = feed.news
        store.add_event(sweep.id, "warning", {"message": "one for all"})
        await news.wait()
        found = [(await feed.after(position, sweep.id))[0] for _ in range(50)]

    assert all(frames[0] is found[0][0] for frames in found)
    assert sum(reads) == 1


async def test_who_starts_with_the_newest_event_can_come_back_before_there_is_another(
    store: Store, sweep: Sweep
) -> None:
    newest = store.last_event_id()
    stream = event_stream(Feed(store), newest, None, named=True)
    async for piece in stream.body_iterator:
        assert piece == b"retry: 1000\nid: %d\n\n" % newest, "no event to a browser, but an id to come back with"
        break
