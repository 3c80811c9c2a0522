"""What is known of a sweep when a runner takes it up: nothing of a new one, all of one whose last runner is gone.

Search and early stopping follow from what happened, told in its order, so they go on as if nothing had come between.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from toprung.tuning.plan import compared_at
from toprung.tuning.records import Decision, Record, Trial, TrialState
from toprung.tuning.spec import MedianScheduler, SweepSpec

if TYPE_CHECKING:
    from toprung.tuning.schedule import Scheduler
    from toprung.tuning.search import Search


class Reported(NamedTuple):
    """A result, as far as a sweep that is taken up needs it."""

    number: int
    step: int
    value: float | None
    """The objective; None where it is not finite."""
    at: datetime
    time_total_s: float


class Past(Record):
    """A sweep as the store knows it."""

    trials: list[Trial]
    """By number."""
    reported: list[Reported]
    """In their order, at `steps_needed` and at the steps whose checkpoints are kept for trials that have not ended."""
    decisions: list[Decision]
    """In their order."""
    elapsed_s: float
    """Since the sweep was started."""


def steps_needed(spec: SweepSpec) -> tuple[int, ...] | None:
    """The steps whose results bring search and early stopping back; None: all of them."""
    return None if isinstance(spec.scheduler, MedianScheduler) else compared_at(spec.scheduler)


def bring_back(past: Past, search: Search, rule: Scheduler) -> None:
    """Tells a new search and a new scheduler what happened."""
    for trial in past.trials:
        search.add(trial.number, trial.params)
    rule.replay(past.decisions)
    for event in _in_order(past):
        if isinstance(event, Trial):
            if event.value is not None and event.best_step is not None:
                search.observe(event.number, event.best_step, event.value)
            search.tell(event.number, told(event))
        elif event.value is not None:
            search.observe(event.number, event.step, event.value)
            rule.observe(event.number, event.step, event.value)


def told(trial: Trial) -> TrialState:
    """What the search is told of a trial that ended: a lost node says nothing about a configuration."""
    lost = trial.failure is not None and trial.failure.kind.lost
    return TrialState.CANCELLED if lost else trial.state


def _in_order(past: Past) -> Iterator[Reported | Trial]:
    """Results and ends of trials by time; a trial's end comes after its last result."""
    ended = [(trial.ended_at, trial) for trial in past.trials if trial.state.finished and trial.ended_at is not None]
    events: list[tuple[datetime, int, Reported | Trial]] = [
        *((result.at, 0, result) for result in past.reported),
        *((at, 1, trial) for at, trial in ended),
    ]
    return (event for _, _, event in sorted(events, key=lambda event: event[:2]))
