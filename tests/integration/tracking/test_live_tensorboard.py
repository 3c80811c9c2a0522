"""A real TensorBoard behind the real application: its data for a session, another when it dies, none at the end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest
from tests.integration.store.records import new_sweep, result, trial, write

from toprung.access import Scope
from toprung.serve.http.app import close, create_app
from toprung.serve.store import Store
from toprung.serve.tracking.live import TENSORBOARD
from toprung.serve.tracking.tracker import Tracker
from toprung.tuning.records import SweepState, TrialState


def boards() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if TENSORBOARD.module in child.cmdline()]


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The application with access control, over a store with a sweep that has ended."""
    store = Store(f"sqlite:///{tmp_path}/toprung.db")
    sweep = new_sweep(store, name="digits")
    ended = trial(sweep, state=TrialState.COMPLETED, step=2, value=0.25, best_step=2)
    write(store, sweep, trials=[ended], results=[result(step=1, val_loss=0.5), result(step=2, val_loss=0.25)])
    store.set_sweep_state(sweep.id, SweepState.SUCCEEDED)
    tracker = Tracker(store, tmp_path)
    tracker.drain(60)
    tracker.close()
    app = create_app(store, tmp_path, auth=True)
    token = store.create_token("alice", Scope.READ).token
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://head:8000", params={"sweep": sweep.id}, timeout=120
    ) as client:
        assert (await client.get("/tensorboard/", headers={"Accept": "text/html"})).status_code == 303
        assert boards() == [], "not before somebody may see it"
        ours = {"X-Toprung": "page", "Origin": "http://head:8000"}
        assert (await client.post("/session", json={"token": token}, headers=ours)).status_code == 200
        yield client
    close(app)
    assert boards() == []
    store.close()


async def loaded(http: httpx.AsyncClient, path: str, runs: set[str]) -> None:
    deadline = time.monotonic() + 60
    while set((await http.get(f"{path}data/runs")).json()) != runs:
        assert time.monotonic() < deadline


async def test_the_page_and_its_data(http: httpx.AsyncClient) -> None:
    sweep_id = http.params["sweep"]
    page = await http.get("/tensorboard/", headers={"Accept": "text/html"})
    assert (page.status_code, "<title>TensorBoard</title>" in page.text) == (200, True)
    assert "content-security-policy" in page.headers
    script = await http.get("/tensorboard/index.js", headers={"Accept-Encoding": "gzip"})
    assert (script.status_code, script.headers["content-encoding"]) == (200, "gzip")
    folder = f"digits-{sweep_id[-6:]}"
    await loaded(http, "/tensorboard/", {folder, f"{folder}/00000"})
    tag = {"run": f"{folder}/00000", "tag": "val_loss"}
    points = (await http.get("/tensorboard/data/plugin/scalars/scalars", params=tag)).json()
    assert [(step, value) for _, step, value in points] == [(1, 0.5), (2, 0.25)]

    (first,) = boards()
    os.kill(first.pid, signal.SIGKILL)
    first.wait(10)
    assert (await http.get("/tensorboard/data/environment")).status_code == 200
    assert [board.pid for board in boards()] != [first.pid]

    await loaded(http, f"/tensorboard/{sweep_id}/", {".", "00000"})
    assert len(boards()) == 2
    answer = await http.post(f"/tensorboard/{sweep_id}/data/plugin/hparams/experiment", json={"experimentName": ""})
    assert [metric["name"]["tag"] for metric in answer.json()["metricInfos"]] == ["final/val_loss"]
