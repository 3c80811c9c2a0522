"""Following a sweep until it ends: full-screen on a terminal, in lines elsewhere, as JSON lines with --json."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from toprung.cli.session import Session
from toprung.cli.tables import print_best
from toprung.cli.watching import plain
from toprung.cli.watching.view import SweepView
from toprung.cli.words import STATE_STYLES, duration, plural

if TYPE_CHECKING:
    from toprung.cli.watching.screen import WatchApp
    from toprung.client import SweepHandle

FROM_THE_START = 0
SUMMARY_TRIALS = 5
GOES_ON = "q leaves; the sweep goes on"


class Left(Exception):
    """The user has left before the sweep's end."""


def watch(session: Session, sweep: SweepHandle, *, lines: bool = False) -> bool:
    """Follow `sweep` to its end and print a summary.

    Args:
        lines: tell it in lines on a terminal too.

    Returns:
        Whether it ended: False means that the user left.
    """
    try:
        stream(session, sweep, lines=lines)
    except (KeyboardInterrupt, Left):
        if not session.as_json:
            session.err.print(f"The sweep goes on; come back with `toprung watch {sweep.name}`.")
        return False
    summarise(session, sweep)
    return True


def stream(session: Session, sweep: SweepHandle, leaving: str = GOES_ON, *, lines: bool = False) -> None:
    """Show what happens until the sweep has ended.

    Args:
        leaving: what it means to leave.
        lines: tell it in lines on a terminal too.

    Raises:
        Left: the user left, and the sweep hasn't ended.
        KeyboardInterrupt: it was Ctrl-C, or SIGTERM.
    """
    if session.as_json:
        _as_json(session, sweep)
    elif lines or not session.out.is_terminal or os.environ.get("TERM") == "dumb":
        _lines(session, sweep)
    else:
        _full_screen(session, sweep, leaving)


def summarise(session: Session, sweep: SweepHandle) -> None:
    """How the sweep ended and its best trials."""
    sweep.refresh()
    record, best = sweep.record, sweep.best_trials(SUMMARY_TRIALS)
    if session.as_json:
        dumped = {"sweep": record.model_dump(mode="json"), "best": [item.model_dump(mode="json") for item in best]}
        session.emit({"type": "summary", **dumped})
        return
    out = session.out
    took = ""
    if record.ended_at is not None:
        since_start = record.ended_at - (record.started_at or record.created_at)
        took = f" in {duration(since_start.total_seconds() - record.idle_s)}"
    total = plural(sum(record.trials.values()), "trial")
    out.print(f"{record.name}  [{STATE_STYLES[record.state]}]{record.state}[/]  {total}{took}", markup=True)
    if record.reason:
        out.print(record.reason)
    if best:
        out.print()
        print_best(out, record, best)


def _as_json(session: Session, sweep: SweepHandle) -> None:
    for event in sweep.events(after=FROM_THE_START):
        session.emit(event.model_dump(mode="json"))


def _lines(session: Session, sweep: SweepHandle) -> None:
    view = SweepView(sweep.record)
    out = session.out
    for event in sweep.events(after=FROM_THE_START):
        for change in view.apply(event):
            out.print(plain.line(view, change))


def _full_screen(session: Session, sweep: SweepHandle, leaving: str) -> None:
    from toprung.cli.watching.screen import Ending, WatchApp  # noqa: PLC0415 Textual takes a quarter of a second

    async def show() -> WatchApp:
        async with session.async_client() as client:
            app = WatchApp(await client.sweep(sweep.id), leaving)
            with _interrupted_by_sigterm(app):
                await app.run_async()
        return app

    app = asyncio.run(show())
    if app.failure is not None:
        raise app.failure
    if app.return_value is Ending.INTERRUPTED:
        raise KeyboardInterrupt
    sweep.refresh()
    if app.return_value is Ending.LEFT and not sweep.state.finished:
        raise Left


@contextmanager
def _interrupted_by_sigterm(app: WatchApp) -> Iterator[None]:
    """Leave by the front door, which gives the terminal back as it was."""
    before, loop = signal.getsignal(signal.SIGTERM), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, app.action_interrupt)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)
