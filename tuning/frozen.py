"""A trial of a sweep as Optuna's `FrozenTrial`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as State

from toprung.tuning.records import Trial, TrialState
from toprung.tuning.spec import SearchSpace
from toprung.tuning.spec.parameters import CategoricalParameter, Distribution, IntParameter

TRIALS = 2**21
"""More than a sweep has: a trial's id is its study's, times this, and its number. Both stay exact in JavaScript."""
_STATES = {
    TrialState.PENDING: State.WAITING,
    TrialState.RUNNING: State.RUNNING,
    TrialState.PAUSED: State.RUNNING,
    TrialState.COMPLETED: State.COMPLETE,
    TrialState.PRUNED: State.PRUNED,
    TrialState.FAILED: State.FAIL,
}


def distributions(space: SearchSpace) -> dict[str, Any]:
    """The space's parameters as Optuna has them."""
    return {parameter.name: _distribution(parameter.distribution) for parameter in space.parameters}


def _distribution(of: Distribution) -> BaseDistribution:
    if isinstance(of, CategoricalParameter):
        return CategoricalDistribution(of.choices)
    if isinstance(of, IntParameter):
        return IntDistribution(of.low, of.high, log=of.log, step=of.step or 1)
    if of.step is None:
        return FloatDistribution(of.low, of.high, log=of.log)
    # Optuna wants the last value for the end, by decimal numbers, and warns of any other
    low, high, width = (Decimal(str(number)) for number in (of.low, of.high, of.step))
    return FloatDistribution(of.low, float(low + (high - low) // width * width), step=of.step)


def frozen(study_id: int, space: SearchSpace, trial: Trial, values: Mapping[int, float]) -> Any:
    """A trial as Optuna has it.

    Args:
        values: the objective by step.
    """
    kinds = distributions(space)
    params = {name: value for name, value in trial.params.items() if name in kinds}
    state = _state(trial)
    told = state in (State.COMPLETE, State.PRUNED) and trial.value is not None
    return FrozenTrial(
        number=trial.number,
        trial_id=study_id * TRIALS + trial.number,
        state=state,
        value=None,
        values=[trial.value] if told else None,
        datetime_start=_local(trial.started_at or (None if state == State.WAITING else trial.created_at)),
        datetime_complete=_local(trial.ended_at) if state.is_finished() else None,
        params=params,
        distributions={name: kinds[name] for name in params},
        user_attrs=_attrs(trial),
        system_attrs={},
        intermediate_values=dict(sorted(values.items())),
    )


def _state(trial: Trial) -> Any:
    if trial.state is TrialState.CANCELLED:  # ended from outside; what it had reached still says something
        return State.FAIL if trial.value is None else State.PRUNED
    if trial.state is TrialState.COMPLETED and trial.value is None:
        return State.FAIL
    return _STATES[trial.state]


def _attrs(trial: Trial) -> dict[str, Any]:
    attrs: dict[str, Any] = {"state": str(trial.state), "attempt": trial.attempt, "step": trial.step}
    if trial.reason:
        attrs["reason"] = trial.reason
    if trial.failure:
        attrs["failure"] = trial.failure.message
    return attrs | {f"metrics/{name}": value for name, value in trial.metrics.items() if value is not None}


def _local(at: datetime | None) -> datetime | None:
    """As Optuna has times: of this machine's zone, without naming it."""
    return None if at is None else at.astimezone().replace(tzinfo=None)
