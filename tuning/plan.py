"""What a sweep will do before it does it: rungs, and how many steps they cost."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, TypeVar

from toprung.tuning.records import Forecast, RungPlan
from toprung.tuning.spec import AshaScheduler, MedianScheduler, NoScheduler, SweepSpec

N = TypeVar("N", int, float)


def bracket_rungs(scheduler: AshaScheduler, bracket: int = 0) -> tuple[int, ...]:
    """The rungs of a bracket, in steps: grace_period · η^(k + bracket) below max_t, then max_t.

    Li et al. 2020, algorithm 2: rung k of bracket s has resource r · η^(s + k).
    """
    first = scheduler.grace_period * scheduler.reduction_factor**bracket
    return _ladder(first, scheduler.reduction_factor, scheduler.max_t)


def compared_at(scheduler: AshaScheduler | MedianScheduler | NoScheduler) -> tuple[int, ...]:
    """The steps at which the search compares trials, rising, the last that of a full training; none without early
    stopping. The median rule may stop at any step: for the search each is twice the one before."""
    match scheduler:
        case AshaScheduler():
            return tuple(sorted({step for b in range(scheduler.brackets) for step in bracket_rungs(scheduler, b)}))
        case MedianScheduler():
            return _ladder(scheduler.grace_period, 2, scheduler.max_t)
        case NoScheduler():
            return ()


def _ladder(first: int, factor: int, top: int) -> tuple[int, ...]:
    steps = []
    while first < top:
        steps.append(first)
        first *= factor
    return (*steps, top)


def decided_at(scheduler: AshaScheduler | MedianScheduler | NoScheduler) -> Container[int]:
    """The steps before the last at which the scheduler may end or pause a trial."""
    if isinstance(scheduler, MedianScheduler):
        return range(scheduler.grace_period, scheduler.max_t)
    return frozenset(compared_at(scheduler)[:-1])


def num_trials(spec: SweepSpec) -> int | None:
    """How many trials a sweep has; None where only time or GPU-hours bound it."""
    # in a finite space no configuration comes twice
    bounds = [spec.budget.trials, spec.space.size()]
    return min((bound for bound in bounds if bound is not None), default=None)


def forecast(spec: SweepSpec, slots: int | None = None) -> Forecast:
    """What a sweep would cost.

    Args:
        spec: the sweep.
        slots: trials that fit the cluster at once, where a cluster was asked.
    """
    trials = num_trials(spec)
    rungs = _expected(spec, trials)
    full = None if trials is None or spec.scheduler.max_t is None else trials * spec.scheduler.max_t
    expected = full
    if isinstance(spec.scheduler, AshaScheduler) and trials is not None:
        reached = [0, *(plan.rung for plan in rungs)]
        expected = sum(plan.trials * (plan.rung - reached[i]) for i, plan in enumerate(rungs))
    elif isinstance(spec.scheduler, MedianScheduler):
        expected = None  # how many are stopped, and when, depends on how the curves lie
    return Forecast(
        spec=spec,
        num_trials=trials,
        rungs=rungs,
        expected_steps=_least(expected, spec.budget.steps) if expected is not None else None,
        # where trials are stopped at once, each may be the best so far when it arrives, and then runs to the top
        worst_case_steps=_least(full, spec.budget.steps),
        full_steps=full,
        slots=slots,
    )


def priced(
    forecast: Forecast, step_time: tuple[str, float] | None, price: float | None, currency: str | None
) -> Forecast:
    """A forecast in GPU-hours and money, as far as the budget lets it come.

    Args:
        forecast: in steps.
        step_time: an earlier sweep of the same trainable, and the seconds that a step took there.
        price: of a GPU-hour.
        currency: of the price.
    """
    if step_time is None:
        return forecast
    name, step_s = step_time
    spec = forecast.spec
    hours = [
        None if steps is None else _least(steps * step_s * spec.resources.gpus / 3600, spec.budget.gpu_hours)
        for steps in (forecast.expected_steps, forecast.worst_case_steps)
    ]
    costs = [None if h is None or price is None else _least(h * price, spec.budget.cost) for h in hours]
    known: dict[str, Any] = {"step_s": step_s, "step_s_from": name}
    if spec.resources.gpu:
        known |= {"expected_gpu_hours": hours[0], "worst_case_gpu_hours": hours[1]}
    if spec.resources.gpu and price is not None:
        known |= {"expected_cost": costs[0], "worst_case_cost": costs[1], "currency": currency}
    return forecast.model_copy(update=known)


def _least(*bounds: N | None) -> N | None:
    return min((bound for bound in bounds if bound is not None), default=None)


def _expected(spec: SweepSpec, trials: int | None) -> list[RungPlan]:
    """Trials that reach each rung of the first bracket if 1/η of them pass each, at least one."""
    if not isinstance(spec.scheduler, AshaScheduler) or trials is None:
        return []
    plans, count = [], trials
    for rung in bracket_rungs(spec.scheduler):
        plans.append(RungPlan(rung=rung, trials=count))
        count = max(1, count // spec.scheduler.reduction_factor)
    return plans
