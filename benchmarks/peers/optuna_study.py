"""Optuna alone: TPESampler with a pruner, as a user of ask and tell sets them up, with several trials open at once."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, SuccessiveHalvingPruner
from optuna.trial import TrialState

from toprung.tuning.records import Action
from toprung.tuning.spec import CategoricalParameter, FloatParameter, IntParameter, SearchSpace


class OptunaStudy:
    """A study in memory; TPESampler has its defaults."""

    def __init__(self, space: SearchSpace, pruner: BasePruner, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self._study = optuna.create_study(
            study_name=f"seed {seed}",  # HyperbandPruner draws brackets from the name: by default it is random
            sampler=optuna.samplers.TPESampler(seed=seed),
            pruner=pruner,
        )
        self._open: dict[int, optuna.Trial] = {}

    def next_trial(self, number: int) -> tuple[int, dict[str, Any]]:
        trial = self._open[number] = self._study.ask()
        return number, suggest(self._space, trial)

    def report(self, number: int, step: int, value: float, last: bool) -> Action:
        trial = self._open[number]
        trial.report(value, step)
        pruned = not last and trial.should_prune()
        if not (pruned or last):
            return Action.PROMOTE
        del self._open[number]
        if pruned:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, value)
        return Action.STOP


def tpe_hyperband(space: SearchSpace, max_t: int, grace: int, eta: int, seed: int) -> OptunaStudy:
    """TPESampler and HyperbandPruner, the pair that Optuna recommends."""
    return OptunaStudy(space, HyperbandPruner(min_resource=grace, max_resource=max_t, reduction_factor=eta), seed)


def tpe_successive_halving(space: SearchSpace, max_t: int, grace: int, eta: int, seed: int) -> OptunaStudy:
    """TPESampler and SuccessiveHalvingPruner, which is ASHA without promotions; it doesn't ask for `max_t`."""
    return OptunaStudy(space, SuccessiveHalvingPruner(min_resource=grace, reduction_factor=eta), seed)


def suggest(space: SearchSpace, trial: optuna.Trial) -> dict[str, Any]:
    """A configuration from a trial, define-by-run, so that a parameter's conditions are Python's."""
    params: dict[str, Any] = {}
    for parameter in space.parameters:
        if not space.active(parameter.name, params):
            continue
        name = parameter.name
        match parameter.distribution:
            case FloatParameter(low=low, high=high, log=log, step=step):
                params[name] = trial.suggest_float(name, low, high, log=log, step=step)
            case IntParameter(low=low, high=high, log=log, step=step):
                params[name] = trial.suggest_int(name, low, high, log=log, step=step or 1)
            case CategoricalParameter(choices=choices):
                params[name] = trial.suggest_categorical(name, choices)
    return params
