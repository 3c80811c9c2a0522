"""The queue: which sweeps run, which wait, and for how long."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from toprung.tuning.records import QueuePlace, Sweep, SweepState

MAX_RUNNING = 8
"""Sweeps that run at once; each costs a process of about 300 MB. The others wait."""


def with_places(sweeps: Iterable[Sweep], unfinished: Sequence[Sweep], now: datetime) -> list[Sweep]:
    """The sweeps, those that have to wait with their places; one that can start is about to.

    Args:
        sweeps: any.
        unfinished: all that run or wait, in the order in which they are served.
        now: the time.
    """
    running = [sweep for sweep in unfinished if sweep.state is SweepState.RUNNING]
    queued = [sweep.id for sweep in unfinished if sweep.state is SweepState.QUEUED]
    waiting = queued[max(0, MAX_RUNNING - len(running)) :]
    ends = sorted(_left_s(sweep, now) for sweep in running)
    places = {}
    for position, sweep_id in enumerate(waiting, 1):
        wait_s = ends[position - 1] if position <= len(ends) else math.inf
        at = _full_minute(now + timedelta(seconds=wait_s)) if math.isfinite(wait_s) else None
        places[sweep_id] = QueuePlace(position=position, expected_start_at=at)
    return [sweep.model_copy(update={"queue": places[sweep.id]}) if sweep.id in places else sweep for sweep in sweeps]


def _full_minute(at: datetime) -> datetime:
    """The next one: a guess that changes each time that it is looked at would look exact, and no ETag would hold."""
    return at.replace(second=0, microsecond=0) + timedelta(minutes=1)


def _left_s(sweep: Sweep, now: datetime) -> float:
    """Until a running sweep ends, as fast as its trials ended so far; infinity where that says nothing."""
    if sweep.started_at is None:
        return math.inf
    elapsed_s = (now - sweep.started_at).total_seconds() - sweep.idle_s
    over = sum(count for state, count in sweep.trials.items() if state.finished)
    left = math.inf if sweep.num_trials is None or not over else elapsed_s * (sweep.num_trials - over) / over
    wall_time_s = sweep.spec.budget.wall_time_s
    return max(0.0, min(left, math.inf if wall_time_s is None else wall_time_s - elapsed_s))
