"""A sweep in virtual time: the real search and the real early stopping, with learning curves instead of training.

    for report in simulate(ToprungStrategy(spec), curve, workers=8, max_steps=810):
        ...

Everything that decides is the code that decides in a sweep; only the clock and the trials are made up. Thousands of
trials take seconds.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from toprung.tuning.plan import compared_at
from toprung.tuning.records import Action, TrialState
from toprung.tuning.schedule import scheduler_of
from toprung.tuning.search import Search
from toprung.tuning.spec import SweepSpec

Params = dict[str, Any]
Values = Sequence[float] | npt.NDArray[np.float64]
Curve = Callable[[int, Mapping[str, Any]], Values]
"""(number, params) -> the objective at steps 1, 2, …, as far as the trial would be trained."""


class Strategy(Protocol):
    """What decides: Toprung's search and scheduler, or another system's on the same footing."""

    def next_trial(self, number: int) -> tuple[int, Params | None] | None:
        """What a free worker does: (number, params) starts a trial, (a paused one's, None) resumes it; None: nothing.

        Args:
            number: of the trial, if it is a new one.
        """

    def report(self, number: int, step: int, value: float, last: bool) -> Action:
        """What becomes of a trial that reported; `last`: its curve ends here, and so does the trial."""


class ToprungStrategy:
    """The search and the scheduler of a spec."""

    def __init__(self, spec: SweepSpec) -> None:
        self.search = Search(spec.space, spec.metric.goal, spec.search, compared_at(spec.scheduler))
        self._scheduler = scheduler_of(spec.scheduler, spec.metric.goal, spec.search.seed)
        self._max_trials = spec.budget.trials or math.inf

    def next_trial(self, number: int) -> tuple[int, Params | None] | None:
        if (decision := self._scheduler.promote()) is not None:
            return decision.number, None
        params = self.search.ask(number) if number < self._max_trials else None
        if params is not None:
            return number, params
        self._scheduler.no_more_trials()
        decision = self._scheduler.promote()
        return None if decision is None else (decision.number, None)

    def report(self, number: int, step: int, value: float, last: bool) -> Action:
        self.search.observe(number, step, value)
        decision = self._scheduler.decide(number, 1, self._scheduler.bracket(number), step, value)
        if last:
            self.search.tell(number, TrialState.COMPLETED)
            return Action.STOP
        if decision is None:
            return Action.PROMOTE
        if decision.action is Action.STOP:
            self.search.tell(number, TrialState.PRUNED)
        return decision.action


@dataclass(frozen=True, slots=True)
class Report:
    """A result in virtual time.

    Attributes:
        time_s: when, in virtual seconds.
        steps: how many steps the sweep had made by then, this one included.
    """

    time_s: float
    steps: int
    number: int
    step: int
    value: float
    params: Params


def simulate(
    strategy: Strategy,
    curve: Curve,
    *,
    workers: int,
    max_steps: float = math.inf,
    step_s: Callable[[Mapping[str, Any]], float] = lambda _: 1.0,
    resume_s: float = 0.0,
) -> Iterator[Report]:
    """Every result of a sweep in the order of virtual time.

    Args:
        strategy: what decides.
        curve: what trials report.
        workers: trials at once.
        max_steps: the budget, over all trials; without one the sweep ends when the strategy has nothing more to do.
        step_s: virtual seconds that a step of a configuration takes.
        resume_s: virtual seconds that starting or resuming a trial takes.
    """
    due: list[tuple[float, int]] = []
    params: dict[int, Params] = {}
    curves: dict[int, Values] = {}
    at: dict[int, int] = {}
    pace_s: dict[int, float] = {}

    def occupy(now_s: float) -> bool:
        job = strategy.next_trial(len(params))
        if job is None:
            return False
        number, fresh = job
        if fresh is not None:
            params[number], curves[number], at[number] = fresh, curve(number, fresh), 0
            pace_s[number] = step_s(fresh)
        heapq.heappush(due, (now_s + resume_s + pace_s[number], number))
        return True

    idle = sum(not occupy(0.0) for _ in range(workers))
    steps = 0
    while due and steps < max_steps:
        now_s, number = heapq.heappop(due)
        steps += 1
        at[number] += 1
        value = float(curves[number][at[number] - 1])
        yield Report(now_s, steps, number, at[number], value, params[number])
        action = strategy.report(number, at[number], value, at[number] == len(curves[number]))
        if action is Action.PROMOTE:
            heapq.heappush(due, (now_s + pace_s[number], number))
        else:
            idle += 1
        while idle and occupy(now_s):
            idle -= 1
