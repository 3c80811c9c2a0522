"""Follows the store for tracking systems that have a run for each trial: W&B, MLflow.

What is to be told is read from a sweep's events, the position in which is kept as a cursor. An event only says which
trial has news; the results are those that the store has after the last step that the system has. So a step comes once,
also where the tracker is killed between a write and its cursor, and where the system lost what it was given.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Protocol

from toprung.errors import NotFound, Unauthorized, Unavailable
from toprung.serve.store import Store
from toprung.serve.tracking.sink import report_off
from toprung.tuning.records import BestTrial, Event, Result, Sweep, SweepState, Trial, TrialState

logger = logging.getLogger(__name__)

_EVENTS = 1_000
"""Events of a sweep per round, so that one sweep doesn't keep the others waiting."""
_ROWS = 1_000
"""Results that a system is given at once."""
PAUSES_S = (5.0, 15.0, 45.0, 120.0, 300.0)
"""Before a system that failed is tried again, from where it is; after the last it is switched off for the sweep."""
_LASTING = (ImportError, Unauthorized)
"""What no pause mends: a library that is missing, a key that is."""
_RECENT = 50
"""The newest sweeps are looked at when they have ended too: no tracker may have run then, or been busy with others."""


class RunSink(Protocol):
    """Takes the trials of one sweep as runs. After an exception another one goes on where the system is, or none."""

    live: bool
    """Whether it is told of trials while they run; else of each when it has ended."""

    def begin(self, sweep: Sweep) -> None:
        """Called once, before all others; the sweep may have been begun by an earlier tracker."""

    def open(self, trial: Trial) -> int:
        """Begins the run of a trial, or takes it up again. Returns the last step that it has, 0 where there is none."""

    def log(self, trial: Trial, results: Sequence[Result]) -> None:
        """Results of an open run, by step."""

    def leave(self, trial: Trial) -> None:
        """The trial waits; its run may be opened again."""

    def finish(self, trial: Trial) -> None:
        """The trial has ended. When this returns, all of it is on disk, or with the server."""

    def end(self, sweep: Sweep, best: BestTrial | None) -> None:
        """The sweep has ended. It may be extended one day, and end again."""

    def close(self) -> None:
        """Lets go of everything; trials that are open go on with the next tracker."""


RunSinks = dict[str, Callable[[], RunSink]]
"""What makes the sinks of a sweep, by name."""


@dataclass
class _Followed:
    """A sweep that is told to one system."""

    sink: RunSink
    cursor: int
    steps: dict[int, int] = field(default_factory=dict)
    """The last step of each open run."""


@dataclass(frozen=True)
class _Rest:
    """A system that failed, between two tries."""

    failed: int
    """How often, one time after the other."""
    until: float


class RunTracker:
    """Tells all sweeps that ask for it. Plain Python; `toprung.serve.tracking.actor` runs it in a thread of its own.

    Args:
        store: where trials and results come from.
        home: the service's folder.
        sinks: makes the sinks of a sweep, by name.
        pauses_s: before a system that failed is tried again.
    """

    def __init__(
        self,
        store: Store,
        home: Path,
        sinks: Callable[[Sweep, Path], RunSinks] | None = None,
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        self._store = store
        self._pauses_s = pauses_s
        self._rests: dict[tuple[str, str], _Rest] = {}
        self._home = home
        self._make = sinks or run_sinks_of
        self._followed: dict[tuple[str, str], _Followed] = {}
        self._off: set[tuple[str, str]] = set()
        self._seen = -1
        """The newest event of all when the last round with nothing left to tell began."""

    def step(self) -> bool:
        """One round over all sweeps. Returns whether anything was told."""
        newest = self._store.last_event_id()
        if newest == self._seen:
            return False
        recent = self._store.list_sweeps(limit=_RECENT).items
        running = self._store.sweeps_in([SweepState.RUNNING])
        sweeps = {sweep.id: sweep for sweep in (*recent, *running)}
        followed = {sweep_id: sweeps.get(sweep_id) for sweep_id, _ in (*self._followed, *self._rests)}
        rounds = [self._look(sweep_id, sweep) for sweep_id, sweep in {**sweeps, **followed}.items()]
        if not any(rounds) and not self._rests:
            self._seen = newest
        return any(rounds)

    def drain(self, deadline_s: float) -> None:
        """Goes on until nothing is left to tell, or the time is over."""
        ends_at = time.monotonic() + deadline_s
        while time.monotonic() < ends_at and self.step():
            pass

    def close(self) -> None:
        """Closes all runs."""
        for key in list(self._followed):
            self._close(key)

    def _look(self, sweep_id: str, sweep: Sweep | None) -> bool:
        """A round over a sweep; None: one that is followed, and may have been deleted since."""
        try:
            sweep = sweep or self._store.get_sweep(sweep_id)
            names = [name for name in self._make(sweep, self._home) if not self._rests_now((sweep_id, name))]
            rounds = [self._guarded(sweep, name) for name in names]
            return any(rounds)
        except NotFound:
            logger.info("%s was deleted and is not tracked any more", sweep_id)
            for key in [key for key in self._followed if key[0] == sweep_id]:
                self._close(key)
            self._rests = {key: rest for key, rest in self._rests.items() if key[0] != sweep_id}
            return False

    def _rests_now(self, key: tuple[str, str]) -> bool:
        rest = self._rests.get(key)
        return key in self._off or (rest is not None and time.monotonic() < rest.until)

    def _guarded(self, sweep: Sweep, name: str) -> bool:
        key = (sweep.id, name)
        try:
            told = self._round(sweep, name)
        except (NotFound, Unavailable):  # the sweep is deleted; the store is away
            raise
        except Exception as error:  # whatever a tracking system raises: it ends here
            self._close(key)
            failed = self._rests[key].failed if key in self._rests else 0
            if failed < len(self._pauses_s) and not isinstance(error, _LASTING):
                logger.warning("tracking %s in %s failed, and is tried again", sweep.id, name, exc_info=error)
                self._rests[key] = _Rest(failed + 1, time.monotonic() + self._pauses_s[failed])
                return False
            self._rests.pop(key, None)
            self._off.add(key)
            report_off(self._store, sweep.id, name, error)
            if sweep.state.finished:  # else the next start of the service tries again, from the cursor
                self._store.set_cursor(_cursor(*key), self._store.last_event_id())
            return True
        self._rests.pop(key, None)
        return told

    def _round(self, sweep: Sweep, name: str) -> bool:
        key = (sweep.id, name)
        followed = self._followed.get(key)
        cursor = followed.cursor if followed else self._store.get_cursor(_cursor(*key))
        events = self._store.events_after(cursor, sweep_id=sweep.id, limit=_EVENTS)
        if not events:
            if followed and sweep.state is not SweepState.RUNNING:
                self._close(key)
            return False
        if followed is None:
            sink = self._make(sweep, self._home)[name]()
            followed = self._followed[key] = _Followed(sink, cursor)
            sink.begin(sweep)
        for number, state in _news(events, live=followed.sink.live).items():
            self._tell(followed, self._store.get_trial(sweep.id, number), state)
        if any(_ends(event) for event in events):
            best = self._store.best_trials(sweep.id, 1)
            followed.sink.end(self._store.get_sweep(sweep.id), best[0] if best else None)
        followed.cursor = events[-1].id
        self._store.set_cursor(_cursor(*key), followed.cursor)
        return True

    def _tell(self, followed: _Followed, trial: Trial, state: TrialState | None) -> None:
        """What is new of a trial; its state where that changed to one in which it does not run."""
        sink, number = followed.sink, trial.number
        if number not in followed.steps:
            if trial.attempt == 0:  # it never ran
                return
            followed.steps[number] = sink.open(trial)
        while results := self._store.list_results(
            trial.sweep_id, number, after_step=followed.steps[number], limit=_ROWS
        ):
            sink.log(trial, results)
            followed.steps[number] = results[-1].step
        if state is not None:
            del followed.steps[number]
            if state.finished:
                sink.finish(trial)
            else:
                sink.leave(trial)

    def _close(self, key: tuple[str, str]) -> None:
        followed = self._followed.pop(key, None)
        if followed is not None:
            try:
                followed.sink.close()
            except Exception:
                logger.warning("%s of %s can't be closed", *reversed(key), exc_info=True)


def _news(events: Sequence[Event], *, live: bool) -> dict[int, TrialState | None]:
    """The trials that these events say something new of, with the last state in which they don't run."""
    news: dict[int, TrialState | None] = {}
    for event in events:
        if event.type == "trial.results" and live:
            news.setdefault(event.data["number"], None)
        elif event.type == "trial.state":
            state = TrialState(event.data["state"])
            if state.finished:
                news[event.data["number"]] = state
            elif live:
                number = event.data["number"]
                news[number] = None if state is TrialState.RUNNING else state
    return news


def _ends(event: Event) -> bool:
    return event.type == "sweep.state" and SweepState(event.data["state"]).finished


def run_sinks_of(sweep: Sweep, home: Path) -> RunSinks:
    """The sinks that a sweep's spec asks for. Each library is loaded when the first sweep needs it."""
    tracking = sweep.spec.tracking
    sinks: RunSinks = {}
    if tracking.wandb is not None and tracking.wandb.mode != "disabled":
        sinks["wandb"] = partial(_load, "wandb:WandbSink", home)
    if tracking.mlflow is not None:
        sinks["mlflow"] = partial(_load, "mlflow:MlflowSink", home)
    return sinks


def _load(place: str, home: Path) -> RunSink:
    module, name = place.split(":")
    sink: RunSink = getattr(import_module(f"toprung.serve.tracking.{module}"), name)(home)
    return sink


def _cursor(sweep_id: str, name: str) -> str:
    return f"tracker/{sweep_id}/{name}"
