"""The median stopping rule.

Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017, section 3.2.2: a trial is stopped at
step s if its best objective by then is strictly worse than the median of the running averages, over steps 1 to s, of
the other trials. Those are all that have reported at step s, also ones that still run or were stopped later: Vizier
takes completed trials alone, which with early stopping are few; Ray Tune's `MedianStoppingRule` takes those that we do,
but averages from the end of the grace period on.

Only stops are decisions. They do not hold the averages: a scheduler is brought back by `observe` with all results.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from dataclasses import dataclass

from toprung.tuning.records import Action, Decision, utc_now
from toprung.tuning.schedule.scheduler import Scheduler
from toprung.tuning.spec import Goal, MedianScheduler


@dataclass
class _Course:
    """What a trial has reported so far, as scores (lower is better)."""

    step: int
    count: int
    average: float
    best: float


class Median(Scheduler):
    """Stops a trial that is worse than the median of the others; see the module."""

    def __init__(self, config: MedianScheduler, goal: Goal) -> None:
        self._config = config
        self._sign = 1.0 if goal == "minimize" else -1.0
        self._courses: dict[int, _Course] = {}
        self._averages: dict[int, list[float]] = defaultdict(list)
        """By step, the running averages of the trials that have been there; lowest first."""

    def observe(self, number: int, step: int, value: float) -> None:
        """Takes note of a result. A step that comes again, after a restart, changes nothing."""
        score = self._sign * value
        course = self._courses.setdefault(number, _Course(0, 0, 0.0, score))
        if step <= course.step:
            return
        course.step = step
        course.count += 1
        course.average += (score - course.average) / course.count
        course.best = min(course.best, score)
        bisect.insort(self._averages[step], course.average)

    def decide(self, number: int, attempt: int, bracket: int, step: int, value: float) -> Decision | None:
        """The decision to stop the trial; None where it goes on."""
        if number in self._courses and step <= self._courses[number].step:
            return None
        others = list(self._averages[step])
        self.observe(number, step, value)
        if len(others) < self._config.min_samples or not self._config.grace_period <= step < self._config.max_t:
            return None
        best, median = self._courses[number].best, _median(others)
        if best <= median:
            return None
        return Decision(
            number=number,
            attempt=attempt,
            rung=step,
            bracket=0,
            action=Action.STOP,
            value=self._sign * best,
            cutoff=self._sign * median,
            rank=bisect.bisect_right(others, best) + 1,
            seen=len(others) + 1,
            places=bisect.bisect_right(others, median),
            decided_at=utc_now(),
        )

    def in_words(self, decision: Decision) -> str:
        """A decision as a user reads it."""
        return in_words(decision)


def in_words(decision: Decision) -> str:
    """A decision of the median rule as a user reads it."""
    return (
        f"stopped at step {decision.rung}: best {decision.value:.6g}, median {decision.cutoff:.6g} of the averages "
        f"of {decision.seen - 1} others, rank {decision.rank} of {decision.seen}"
    )


def _median(ranked: list[float]) -> float:
    middle = len(ranked) // 2
    return ranked[middle] if len(ranked) % 2 else (ranked[middle - 1] + ranked[middle]) / 2
