"""Follows the store and writes what is new to the tracking systems.

A sweep's place in the store's results is kept as a cursor, moved on after the sinks have flushed: after a restart at
most the last round comes twice. A sink that fails is switched off for its sweep and reported once; trials never notice.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path

from toprung.errors import NotFound
from toprung.serve.store import Store
from toprung.serve.tracking.sink import Sink, report_off
from toprung.tuning.records import Result, Sweep, SweepState, Trial

logger = logging.getLogger(__name__)

_ROWS = 2_000
"""Results of a sweep per round, so that one sweep doesn't keep the others waiting."""
_RECENT = 50
"""Finished sweeps looked at after a start: the last of them may have ended while no tracker ran."""
_DONE_BEFORE = -1
"""Cursor of a sweep that was written to its end by a version that did not know of extensions."""


Sinks = dict[str, Callable[[], Sink]]
"""What makes the sinks of a sweep, by name."""


@dataclass
class _Followed:
    """A sweep being written."""

    sinks: dict[str, Sink]
    cursor: int
    open: dict[int, Trial] = field(default_factory=dict)


class Tracker:
    """Writes TensorBoard's files of all sweeps that ask for it. Plain Python; `toprung.serve.tracking.actor` runs it.

    Args:
        store: where results come from.
        home: the service's folder; files go to `tensorboard/` in it.
        sinks: makes the sinks of a sweep, by name.
    """

    def __init__(self, store: Store, home: Path, sinks: Callable[[Sweep, Path], Sinks] | None = None) -> None:
        self._store = store
        self._home = home
        self._make = sinks or sinks_of
        self._followed: dict[str, _Followed] = {}
        self._missed = self._unfinished_business()

    def step(self) -> bool:
        """One round over all sweeps. Returns whether anything was written."""
        running = {sweep.id: sweep for sweep in self._store.sweeps_in([SweepState.RUNNING]) if _tracked(sweep)}
        missed, self._missed = {sweep.id: sweep for sweep in self._missed}, []
        rounds = [self._look(sweep_id, running.get(sweep_id)) for sweep_id in {**missed, **running, **self._followed}]
        return any(rounds)

    def _look(self, sweep_id: str, sweep: Sweep | None) -> bool:
        """A round over a sweep; None: one that has ended, or was deleted since."""
        try:
            return self._round(sweep or self._store.get_sweep(sweep_id))
        except NotFound:
            logger.info("%s was deleted and is not tracked any more", sweep_id)
            followed = self._followed.pop(sweep_id, None)
            if followed is not None:
                self._all(sweep_id, followed, lambda sink: sink.close())
            return False

    def drain(self, deadline_s: float) -> None:
        """Goes on until nothing is left to write, or the time is over."""
        ends_at = time.monotonic() + deadline_s
        while time.monotonic() < ends_at and self.step():
            pass

    def close(self) -> None:
        """Closes all files."""
        for sweep_id, followed in self._followed.items():
            for name in list(followed.sinks):
                self._guarded(sweep_id, followed, name, lambda sink: sink.close())
        self._followed.clear()

    def _unfinished_business(self) -> list[Sweep]:
        recent = self._store.list_sweeps(limit=_RECENT).items
        return [s for s in recent if s.state.finished and _tracked(s) and not self._is_done(s)]

    def _is_done(self, sweep: Sweep) -> bool:
        cursor = self._store.get_cursor(_cursor(sweep.id))
        if cursor == _DONE_BEFORE or cursor >= 0:
            return cursor == _DONE_BEFORE
        # one that was extended, and ended again while no tracker ran, has more
        return not self._store.results_after(_position(cursor), sweep_id=sweep.id, limit=1)

    def _round(self, sweep: Sweep) -> bool:
        followed = self._followed.get(sweep.id)
        if followed is None:
            cursor = self._store.get_cursor(_cursor(sweep.id))
            followed = self._followed[sweep.id] = _Followed(self._sinks(sweep), _position(cursor))
        # states first, results after: the results of a trial that is finished here are all there
        for number in followed.open:
            followed.open[number] = self._store.get_trial(sweep.id, number)
        rows = self._store.results_after(followed.cursor, sweep_id=sweep.id, limit=_ROWS)
        if rows:
            self._write(sweep, followed, [result for _, result in rows])
            followed.cursor = rows[-1][0]
        caught_up = len(rows) < _ROWS
        finished = [trial for trial in followed.open.values() if trial.state.finished] if caught_up else []
        for trial in finished:
            self._all(sweep.id, followed, lambda sink, trial=trial: sink.finish(trial))  # type: ignore[misc]
            del followed.open[trial.number]
        if rows or finished:
            self._all(sweep.id, followed, lambda sink: sink.flush())
            self._store.set_cursor(_cursor(sweep.id), followed.cursor)
        if sweep.state.finished and caught_up and not followed.open:
            self._end(sweep, followed)
        return bool(rows or finished)

    def _sinks(self, sweep: Sweep) -> dict[str, Sink]:
        sinks = {}
        for name, make in self._make(sweep, self._home).items():
            try:
                sinks[name] = make()
            except Exception as error:  # a library that can't be loaded, say
                report_off(self._store, sweep.id, name, error)
        return sinks

    def _write(self, sweep: Sweep, followed: _Followed, results: list[Result]) -> None:
        results.sort(key=lambda result: (result.number, result.step))
        for number, of_trial in groupby(results, key=lambda result: result.number):
            if number not in followed.open:
                trial = followed.open[number] = self._store.get_trial(sweep.id, number)
                self._all(sweep.id, followed, lambda sink, trial=trial: sink.start(sweep, trial))  # type: ignore[misc]
            trial, rows = followed.open[number], list(of_trial)
            self._all(sweep.id, followed, lambda sink, trial=trial, rows=rows: sink.write(trial, rows))  # type: ignore[misc]

    def _end(self, sweep: Sweep, followed: _Followed) -> None:
        self._all(sweep.id, followed, lambda sink: sink.end(sweep, self._trials(sweep.id)))
        self._all(sweep.id, followed, lambda sink: sink.close())
        self._store.set_cursor(_cursor(sweep.id), _done(followed.cursor))
        del self._followed[sweep.id]

    def _trials(self, sweep_id: str) -> Iterator[Trial]:
        cursor: str | None = None
        while True:
            page = self._store.list_trials(sweep_id, cursor=cursor)
            yield from page.items
            if (cursor := page.next_cursor) is None:
                return

    def _all(self, sweep_id: str, followed: _Followed, call: Callable[[Sink], None]) -> None:
        for name in list(followed.sinks):
            self._guarded(sweep_id, followed, name, call)

    def _guarded(self, sweep_id: str, followed: _Followed, name: str, call: Callable[[Sink], None]) -> None:
        try:
            call(followed.sinks[name])
        except Exception as error:  # whatever a tracking system raises: it ends here
            del followed.sinks[name]
            report_off(self._store, sweep_id, name, error)


def sinks_of(sweep: Sweep, home: Path) -> Sinks:
    """The sinks that a sweep's spec asks for. Each library is loaded when the first sweep needs it."""
    tracking = sweep.spec.tracking
    sinks: Sinks = {}
    if tracking.tensorboard:
        sinks["tensorboard"] = partial(_load, "tensorboard:TensorBoardSink", home)
    return sinks


def _load(place: str, root: Path) -> Sink:
    module, name = place.split(":")
    sink: Sink = getattr(importlib.import_module(f"toprung.serve.tracking.{module}"), name)(root)
    return sink


def _tracked(sweep: Sweep) -> bool:
    return sweep.spec.tracking.tensorboard


def _cursor(sweep_id: str) -> str:
    return f"tracker/{sweep_id}"


def _done(position: int) -> int:
    """The cursor of a sweep of which everything was written, up to a position: it may go on from there one day."""
    return -2 - position


def _position(cursor: int) -> int:
    """Where to go on; of a sweep that an earlier version was done with, from the beginning."""
    return cursor if cursor >= 0 else -2 - cursor
