"""The full-screen view, driven by keys, against the real app; and in a real terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from tests.unit.cli.cli_served import Served, new_sweep, result, trial
from textual.pilot import Pilot
from textual.widgets import Log, Static

from toprung.cli.watching.reading import PAGE, Order
from toprung.cli.watching.screen import Ending, Trials, WatchApp
from toprung.client import AsyncClient
from toprung.tuning.records import Batch, SweepState

Driver = Pilot[Ending]
LEAVE_ALTERNATE_SCREEN = b"\x1b[?1049l"


@asynccontextmanager
async def watching(
    served: Served, name: str, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[WatchApp, Driver]]:
    async with AsyncClient(served.url) as client:
        app = WatchApp(await client.sweep(name), "q leaves")
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: bool(app.reading.trials) and bool(text(app, "#head")))
            yield app, pilot


async def until(pilot: Driver, condition: Callable[[], bool], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it has not come to that"
        await pilot.pause(0.02)


def text(app: WatchApp, selector: str) -> str:
    widget = app.screen_stack[-1].query_one(selector, Static)
    return str(widget.content)


def cells(app: WatchApp) -> list[list[str]]:
    table = app.screen_stack[0].query_one(Trials)
    return [[str(cell) for cell in table.get_row_at(row)] for row in range(table.row_count)]


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
async def test_the_view_of_a_sweep(served: Served, size: tuple[int, int]) -> None:
    async with watching(served, "digits-cnn", size) as (app, pilot):
        await until(pilot, lambda: len(cells(app)) == 3 and "trial 0" in text(app, "#curves"))
        assert "digits-cnn  succeeded  3/3 trials" in text(app, "#head")
        assert "best val_loss 0.0830 (trial 0, step 27)" in text(app, "#head")
        assert "rung  1 ▏2 seen 1 on  27 ▏1 finished" in text(app, "#head")
        assert [row[:4] for row in cells(app)] == [
            ["0", "completed", "27", "0.0830"],
            ["1", "pruned", "1", "0.4100"],
            ["2", "failed", "0", "–"],
        ]
        assert cells(app)[1][-1] == "rung 1: rank 2 of 2"
        assert max(map(len, text(app, "#curves").splitlines())) <= size[0]
        await pilot.press("q")
    assert app.return_value is Ending.LEFT


async def test_it_fits_a_terminal_that_changes(served: Served) -> None:
    async with watching(served, "digits-cnn", (140, 40)) as (app, pilot):
        await until(pilot, lambda: len(cells(app)) == 3)
        wide = len(cells(app)[0])
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: len(cells(app)[0]) < wide)
        assert app.query_one("#curves").display
        await pilot.resize_terminal(50, 12)
        await until(pilot, lambda: not app.query_one("#curves").display)
        assert max(map(len, text(app, "#head").splitlines())) <= 48
        await pilot.resize_terminal(140, 40)
        await until(pilot, lambda: app.query_one("#curves").display and len(cells(app)[0]) == wide)


async def test_one_trial_with_its_curve_log_and_reason(served: Served) -> None:
    async with watching(served, "digits-cnn") as (app, pilot):
        await until(pilot, lambda: len(cells(app)) == 3)
        await pilot.press("enter")
        await until(pilot, lambda: len(app.screen_stack) == 2 and "val_loss" in text(app, "#curve"))
        await until(pilot, lambda: "epoch 2" in app.screen_stack[-1].query_one(Log).lines)
        await pilot.press("q")
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: len(app.screen_stack) == 2 and "ValueError: bad shapes" in text(app, "#about"))
        assert 'File "train.py", line 41' in text(app, "#about")
        await pilot.press("escape")
        assert len(app.screen_stack) == 1


async def test_sorting(served: Served) -> None:
    running = [trial(served.running, n, "running", step=1, value=n / 10, best_step=1) for n in (0, 1)]
    served.store.write(Batch(sweep_id=served.running.id, trials=running))
    ended = [trial(served.running, n, "pruned", step=1, value=1 / n, best_step=1) for n in (2, 30)]
    served.store.write(Batch(sweep_id=served.running.id, trials=ended))
    expected = {Order.RUNNING: "0 1 30 2", Order.BEST: "0 30 1 2", Order.NUMBER: "0 1 2 30"}
    async with watching(served, "still-going") as (app, pilot):
        for order in Order:
            assert app.reading.order is order
            await until(pilot, lambda order=order: " ".join(row[0] for row in cells(app)) == expected[order])  # type: ignore[misc]  # the default binds it
            await pilot.press("s")
        assert app.reading.order is Order.RUNNING


async def test_the_cursor_stays_with_its_trial(served: Served) -> None:
    sweep = served.running
    known = [trial(sweep, n, "pruned", step=1, value=float(n), best_step=1) for n in (1, 2)]
    served.store.write(Batch(sweep_id=sweep.id, trials=known))
    async with watching(served, "still-going") as (app, pilot):
        await until(pilot, lambda: len(cells(app)) == 3)
        await pilot.press("down")
        better = trial(sweep, 3, "completed", step=1, value=0.01, best_step=1)
        served.store.write(Batch(sweep_id=sweep.id, trials=[better]))
        await until(pilot, lambda: cells(app)[1][0] == "3")
        assert cells(app)[app.query_one(Trials).cursor_row][0] == "1"


async def test_cancelling_asks_first(served: Served) -> None:
    async with watching(served, "still-going") as (app, pilot):
        await pilot.press("c")
        await until(pilot, lambda: len(app.screen_stack) == 2)
        await pilot.press("n")
        assert not served.store.get_sweep(served.running.id).cancel_requested
        await pilot.press("c")
        await until(pilot, lambda: len(app.screen_stack) == 2)
        await pilot.press("y")
        await until(pilot, lambda: served.store.get_sweep(served.running.id).cancel_requested)


async def test_pausing_and_resuming(served: Served) -> None:
    served.store.write(Batch(sweep_id=served.queued.id, trials=[trial(served.queued, 0, "pending")]))
    async with watching(served, "waiting") as (app, pilot):
        await pilot.press("p")
        await until(pilot, lambda: app.reading.sweep.state == "paused")
        await pilot.press("p")
        await until(pilot, lambda: app.reading.sweep.state == "queued")


async def test_it_ends_with_the_sweep(served: Served) -> None:
    async with watching(served, "still-going") as (app, pilot):
        served.store.set_sweep_state(served.running.id, SweepState.SUCCEEDED)
        await until(pilot, lambda: app.return_value is not None)
    assert app.return_value is Ending.ENDED


async def test_a_large_sweep_is_read_by_pages(served: Served) -> None:
    sweep = new_sweep(served.store, "large")
    served.store.set_sweep_state(sweep.id, SweepState.RUNNING)
    trials = [trial(sweep, n, "pruned", step=1, value=float(n), best_step=1) for n in range(3_000)]
    served.store.write(Batch(sweep_id=sweep.id, trials=trials, results=[result(n, 1, float(n)) for n in range(3_000)]))
    async with watching(served, "large") as (app, pilot):
        await until(pilot, lambda: len(cells(app)) == PAGE)
        await pilot.press("ctrl+end")
        await until(pilot, lambda: len(app.reading.trials) == 2 * PAGE)
        assert "200 of 3,000 trials" in text(app, "#said")


async def test_a_service_that_is_away_is_waited_for(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async with watching(served, "still-going") as (app, pilot):
        send = httpx.AsyncClient.send

        async def away(*args: object, **kwargs: object) -> httpx.Response:
            raise httpx.ConnectError("gone")

        monkeypatch.setattr(httpx.AsyncClient, "send", away)
        await until(pilot, lambda: "Trying again" in text(app, "#said"), within_s=40)
        monkeypatch.setattr(httpx.AsyncClient, "send", send)
        await until(pilot, lambda: "Trying again" not in text(app, "#said"), within_s=40)


async def test_a_sweep_that_is_deleted_ends_it(served: Served) -> None:
    async with watching(served, "digits-cnn") as (app, pilot):
        served.store.delete_sweep(served.done.id)
        await until(pilot, lambda: app.failure is not None)
        assert app.failure is not None
        assert app.failure.code == "not_found"


# -- a real terminal ------------------------------------------------------------------------------------------------


def in_terminal(served: Served, *args: str) -> tuple[subprocess.Popen[bytes], int]:
    ours, theirs = pty.openpty()
    env = os.environ | {"TOPRUNG_URL": served.url, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    command = [sys.executable, "-c", "from toprung.cli import main; main()", "watch", "still-going", *args]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True)
    os.close(theirs)
    return process, ours


def read_until(terminal: int, wanted: bytes, within_s: float = 60) -> bytes:
    seen, deadline = b"", time.monotonic() + within_s
    while wanted not in seen and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                seen += os.read(terminal, 65_536)
            except OSError:  # the other end is closed
                break
    return seen


@pytest.mark.parametrize("how", ["q", "ctrl-c", "SIGTERM"])
def test_the_terminal_is_given_back(served: Served, how: str) -> None:
    process, terminal = in_terminal(served)
    try:
        assert b"still-going" in read_until(terminal, b"still-going")
        if how == "SIGTERM":
            process.send_signal(signal.SIGTERM)
        else:
            os.write(terminal, {"q": b"q", "ctrl-c": b"\x03"}[how])
        rest = read_until(terminal, b"come back with")
        assert LEAVE_ALTERNATE_SCREEN in rest
        assert b"The sweep goes on; come back with" in rest
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def test_lines_on_a_terminal(served: Served) -> None:
    process, terminal = in_terminal(served, "--plain")
    try:
        served.store.set_sweep_state(served.running.id, SweepState.SUCCEEDED)
        seen = read_until(terminal, b"still-going  ")
        assert b"still-going: succeeded" in seen
        assert b"\x1b[?1049h" not in seen
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
