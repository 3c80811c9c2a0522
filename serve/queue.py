"""The queue: which sweeps run, which wait, and for how long."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from toprung.serve.settings import Settings
from toprung.tuning.records import QueuePlace, Sweep, SweepState

MAX_RUNNING = 8
"""Sweeps that run at once; each costs a process of about 300 MB. The others wait."""


def next_up(unfinished: Sequence[Sweep], settings: Settings) -> tuple[list[Sweep], list[Sweep]]:
    """Which sweeps of the queue can start, and which have to wait.

    Args:
        unfinished: all that run or wait, in the order in which they are served.
        settings: with the quotas. Who waits for the own quota holds up nobody else.
    """
    begun = [sweep for sweep in unfinished if sweep.state is SweepState.RUNNING]
    starting, waiting = [], []
    for sweep in unfinished:
        if sweep.state is not SweepState.QUEUED:
            continue
        if len(begun) < MAX_RUNNING and _is_in_quota(sweep, begun, settings):
            starting.append(sweep)
            begun.append(sweep)
        else:
            waiting.append(sweep)
    return starting, waiting


def with_places(sweeps: Iterable[Sweep], unfinished: Sequence[Sweep], now: datetime, settings: Settings) -> list[Sweep]:
    """The sweeps, those that have to wait with their places; one that can start is about to."""
    starting, waiting = next_up(unfinished, settings)
    begun = [sweep for sweep in unfinished if sweep.state is SweepState.RUNNING] + starting
    ends = iter(sorted(_left_s(sweep, now) for sweep in begun))
    places = {}
    for position, sweep in enumerate(waiting, 1):
        held = not _is_in_quota(sweep, begun, settings)
        if held:  # it waits for a sweep of its owner
            wait_s = min((_left_s(other, now) for other in begun if other.owner == sweep.owner), default=math.inf)
        else:  # the others take the places as they come free
            wait_s = next(ends, math.inf)
        at = _full_minute(now + timedelta(seconds=wait_s)) if math.isfinite(wait_s) else None
        places[sweep.id] = QueuePlace(position=position, expected_start_at=at, quota=held)
    return [sweep.model_copy(update={"queue": places[sweep.id]}) if sweep.id in places else sweep for sweep in sweeps]


def _is_in_quota(sweep: Sweep, begun: Sequence[Sweep], settings: Settings) -> bool:
    """Whether the owner of a sweep may have one more run, with a trial for each at least."""
    quota = settings.quota(sweep.owner)
    own = [other for other in begun if other.owner == sweep.owner]
    gpus = sum(other.spec.resources.gpus for other in [*own, sweep])
    return (quota.trials is None or len(own) < quota.trials) and (quota.gpus is None or gpus <= quota.gpus)


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
