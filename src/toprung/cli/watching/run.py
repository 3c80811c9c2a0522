"""Following a sweep until it ends: live on a terminal, in lines elsewhere, as JSON lines with --json."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING

from rich.live import Live

from toprung.cli.session import Session
from toprung.cli.tables import print_best
from toprung.cli.watching import plain
from toprung.cli.watching.live import render
from toprung.cli.watching.view import SWEEP_FINISHED, SweepView
from toprung.cli.words import STATE_STYLES, duration, plural

if TYPE_CHECKING:
    from toprung.client import SweepHandle
    from toprung.tuning.records import Event

REFRESH_PER_S = 4
FROM_THE_START = 0
SUMMARY_TRIALS = 5
GOES_ON = "Ctrl-C leaves; the sweep goes on"


def watch(session: Session, sweep: SweepHandle) -> bool:
    """Follow `sweep` to its end and print a summary.

    Returns:
        Whether it ended: False means that the user left with Ctrl-C.
    """
    try:
        stream(session, sweep)
    except KeyboardInterrupt:
        if not session.as_json:
            session.err.print(f"The sweep goes on; come back with `toprung watch {sweep.name}`.")
        return False
    summarise(session, sweep)
    return True


def stream(session: Session, sweep: SweepHandle, leaving: str = GOES_ON) -> None:
    """Show what happens until the sweep has ended; `leaving` says what Ctrl-C does."""
    if session.as_json:
        _as_json(session, sweep)
    elif session.out.is_terminal:
        _live(session, sweep, leaving)
    else:
        _lines(session, sweep)


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
    # told from the beginning, so it begins with nothing
    view = SweepView(sweep.record.model_copy(update={"trials": {}, "ended_at": None}))
    out = session.out
    for event in sweep.events(after=FROM_THE_START):
        for change in view.apply(event):
            out.print(plain.line(view, change))


def _live(session: Session, sweep: SweepHandle, leaving: str) -> None:
    sweep.refresh()
    view = SweepView(sweep.record, sweep.best_trials(20))
    view.leaving = leaving
    if view.state in SWEEP_FINISHED:
        return
    with _drawing(session, view) as lock:
        for event in sweep.events(after=FROM_THE_START):
            _apply(view, event, lock)


def _apply(view: SweepView, event: Event, lock: Lock) -> None:
    with lock:
        view.apply(event)


@contextmanager
def _drawing(session: Session, view: SweepView) -> Iterator[Lock]:
    """Redraw `view` a few times a second from a thread of its own; take the lock to change the view."""
    out, lock = session.out, Lock()

    def picture() -> object:
        with lock:
            return render(view, out.width, out.height - 1, datetime.now(UTC))

    live = Live(console=out, get_renderable=picture, refresh_per_second=REFRESH_PER_S, transient=True)  # type: ignore[arg-type]  # Text is renderable
    with live:
        yield lock
