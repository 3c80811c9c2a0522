"""Streams over a real connection: whoever leaves in the middle leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import uvicorn

from toprung.serve.http.app import create_app
from toprung.serve.store import Store
from toprung.tuning.records import Batch, SweepState, Trial, TrialState, utc_now
from toprung.tuning.spec import spec_from

SPEC = spec_from(
    {
        "trainable": "train:train",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
        "budget": {"trials": 1},
    }
)


@pytest.fixture
async def url(store: Store, tmp_path: Path) -> AsyncIterator[str]:
    config = uvicorn.Config(create_app(store, tmp_path), port=0, log_config=None, lifespan="off", timeout_keep_alive=0)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


async def test_clients_that_leave_in_the_middle_leave_no_task(url: str, store: Store, tmp_path: Path) -> None:
    sweep, _ = store.create_sweep(SPEC, name=None, num_trials=1)
    store.set_sweep_state(sweep.id, SweepState.RUNNING)
    trial = Trial(
        sweep_id=sweep.id,
        number=0,
        state=TrialState.RUNNING,
        attempt=1,
        params={},
        config={},
        created_at=utc_now(),
    )
    store.write(Batch(sweep_id=sweep.id, trials=[trial]))
    log = tmp_path / "logs" / sweep.id / "0-1.log"
    log.parent.mkdir()
    log.write_text("hello\n")
    before, pieces = asyncio.all_tasks(), []

    async with httpx.AsyncClient(base_url=url) as http, AsyncExitStack() as streams:
        of_sweep = f"/v1/sweeps/{sweep.id}"
        for path in ["/v1/events", f"{of_sweep}/events", f"{of_sweep}/trials/0/logs?follow=true"] * 3:
            answer = await streams.enter_async_context(http.stream("GET", path))
            assert answer.status_code == 200, await answer.aread()
            pieces.append(answer.aiter_raw())  # kept: one that is let go closes its connection
            assert await anext(pieces[-1])
        assert len(asyncio.all_tasks() - before) >= 9

    async with asyncio.timeout(60):
        while left := asyncio.all_tasks() - before:
            await asyncio.wait(left, timeout=0.1)
