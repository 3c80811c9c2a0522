"""What a sweep knows of earlier ones before it begins: `search.prior`.

Their trials are given to the search as observations, each at the steps that it has reached: never is a result at one
step taken for one at another. A trial that is no configuration of the new space is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from toprung.tuning.plan import compared_at
from toprung.tuning.records import Record, TrialState
from toprung.tuning.spec import SearchSpace, SweepSpec
from toprung.tuning.spec.space import allows, as_drawn, flat

if TYPE_CHECKING:
    from toprung.tuning.search import Params, Search

_LEARNING = ("auto", "tpe", "gp")
"""Algorithms with a model of all observations; CMA-ES has one of its own proposals alone."""


class PriorTrial(Record):
    """A trial of an earlier sweep, as the store knows it."""

    state: TrialState
    infeasible: bool
    """It failed, and not for the machine's sake."""
    params: dict[str, Any]
    config: dict[str, Any]
    step: int
    value: float | None
    """Best value of the objective over all its steps, and where that was."""
    best_step: int | None
    values: dict[int, float]
    """The objective at the steps that were asked for, as far as it came."""


class PriorSweep(Record):
    """An earlier sweep."""

    name: str
    spec: SweepSpec
    trials: list[PriorTrial]


def steps_of_interest(spec: SweepSpec) -> tuple[int, ...]:
    """The steps at which a sweep needs the results of earlier ones."""
    max_t = spec.scheduler.max_t
    return compared_at(spec.scheduler) or (() if max_t is None else (max_t,))


def learn(search: Search, spec: SweepSpec, priors: Iterable[PriorSweep]) -> str:
    """Gives the search what earlier sweeps found, and says how much that was.

    Args:
        search: of the new sweep, before its first trial.
        spec: of the new sweep.
        priors: with the objective at `steps_of_interest(spec)`.
    """
    names, count, taken = [], 0, 0
    reasons: Counter[str] = Counter()
    for prior in priors:
        names.append(prior.name)
        for trial in prior.trials:
            count += 1
            try:
                _learn(search, spec, prior.spec, trial)
                taken += 1
            except ValueError as reason:
                reasons[str(reason)] += 1
    told = [f"the search begins with {taken:,} of the {count:,} trials of {', '.join(names)} (search.prior)"]
    if spec.search.algorithm not in _LEARNING:
        told.append(f"{spec.search.algorithm} does not learn from them")
    if search.num_known:
        of_all = f"{search.num_known:,} of the {spec.space.size():,} configurations"
        told.append(f"{of_all} not tried again: the result is known")
    told += [f"{number:,} left out: {reason}" for reason, number in reasons.most_common()]
    return "; ".join(told)


def _learn(search: Search, spec: SweepSpec, prior: SweepSpec, trial: PriorTrial) -> None:
    """Raises:
    ValueError: the trial says nothing about the new sweep; the message says why.
    """
    params = _params(spec.space, trial)
    max_t = spec.scheduler.max_t
    # a failure after the steps of a full training here would not have come
    failed = trial.infeasible and (max_t is None or trial.step < max_t)
    final = _final(trial, prior, max_t, compared=bool(compared_at(spec.scheduler)))
    values = {step: trial.values[step] for step in compared_at(spec.scheduler) if step in trial.values}
    if not failed and not values and final is None:
        raise ValueError("no result at a step at which this sweep compares trials")
    search.learn(params, values, final=final, failed=failed)


def _params(space: SearchSpace, trial: PriorTrial) -> Params:
    """Its configuration in the new space. A constant there may be varied here, and the other way round."""
    values = flat(trial.config)
    params: Params = {}
    for parameter in space.parameters:
        name = parameter.name
        if not space.active(name, params):
            continue
        if name not in values:
            raise ValueError(f"{name} is missing")
        if not allows(parameter.distribution, values[name]):
            raise ValueError(f"{name} has a value that it cannot have here")
        params[name] = as_drawn(parameter.distribution, values[name])
    names = {parameter.name for parameter in space.parameters}
    for name in trial.params.keys() - names:
        if name not in space.constants:
            raise ValueError(f"{name} was varied there and is not a parameter here")
        if trial.params[name] != space.constants[name]:
            raise ValueError(f"{name} is a constant here, with another value")
    if not space.satisfied(params):
        raise ValueError("a constraint is not met")
    return params


def _final(trial: PriorTrial, prior: SweepSpec, max_t: int | None, *, compared: bool) -> float | None:
    """The best value of a full training as the new sweep means it, where the trial had one.

    Args:
        compared: whether the new sweep compares trials at steps, so that a result at `max_t` counts there already.
    """
    if trial.state is TrialState.COMPLETED and trial.value is not None:
        stopped = prior.scheduler.max_t is not None and trial.step >= prior.scheduler.max_t
        by_itself = not stopped and not prior.metric.reached(trial.value)
        if by_itself and (max_t is None or trial.step <= max_t):
            return trial.value
    if compared or max_t is None or trial.step < max_t:
        return None
    return trial.value if trial.best_step is not None and trial.best_step <= max_t else trial.values.get(max_t)
